//! SubscribeToShard: the frames of one subscription, made as the connection takes them.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use rokini_wire::events::{Frame, INITIAL_RESPONSE, SUBSCRIBE_TO_SHARD_EVENT};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{Codec, ErrorCode, ServiceError};
use serde::Serialize;
use tokio::sync::watch;

use crate::faults::{Fault, FaultCall};
use crate::http::backend::Backend;
use crate::http::body::{ConnectionCut, cut_connection};
use crate::http::garble::garbled;
use crate::journal::CallRecord;
use crate::model::{Subscription, SubscriptionPoll};

/// Name under which faults and inspection know an event.
const EVENT: &str = SUBSCRIBE_TO_SHARD_EVENT;

/// What the frames of one subscription are made from, and how far it is.
pub(crate) struct EventStream {
    backend: Backend,
    subscription: Subscription,
    codec: Codec,
    caller: Option<String>,
    changes: watch::Receiver<()>,
    phase: Phase,
}

/// The body of the answer to SubscribeToShard. It is polled only while the connection takes bytes, so a slow reader holds
/// its subscription back.
pub(crate) fn frames(stream: EventStream) -> impl Stream<Item = Result<Bytes, ConnectionCut>> + Send {
    stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((piece, stream))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Running,
    /// The end has been said.
    Ended,
    /// Broken off in the middle.
    Cut,
    /// Nothing more comes until the server stops.
    Hung,
}

#[derive(Serialize)]
struct ExceptionBody<'a> {
    message: &'a str,
}

impl EventStream {
    pub(crate) fn new(
        backend: Backend,
        subscription: Subscription,
        codec: Codec,
        caller: Option<String>,
    ) -> Self {
        let changes = backend.service.changes_of_shard(subscription.key(), subscription.position().0);
        Self { backend, subscription, codec, caller, changes, phase: Phase::Start }
    }

    async fn next(&mut self) -> Option<Result<Bytes, ConnectionCut>> {
        match self.phase {
            Phase::Start => {
                self.phase = Phase::Running;
                let codec = self.codec;
                let payload = codec.encode(&EmptyResponse::new()).into();
                Some(Ok(Frame::event(INITIAL_RESPONSE, codec.content_type(), payload).to_bytes()))
            }
            Phase::Running => self.event().await,
            Phase::Ended => None,
            Phase::Cut => Some(cut_connection().await),
            Phase::Hung => self.hang().await,
        }
    }

    async fn event(&mut self) -> Option<Result<Bytes, ConnectionCut>> {
        let (event, faults) = loop {
            // Seen before the model is asked: a change after the question wakes the wait.
            self.changes.borrow_and_update();
            // Asked again, so the connection has taken what came before.
            let (shard, offset) = self.subscription.position();
            self.backend.readers.note(self.subscription.consumer(), self.subscription.key(), shard, offset);
            let subscription = &mut self.subscription;
            let (poll, now) = self
                .backend
                .service
                .with_model(|model, now| (model.poll_subscription(now, subscription), now));
            match poll {
                SubscriptionPoll::Event(event) => break (event, self.faults()),
                SubscriptionPoll::End => return None,
                SubscriptionPoll::Fail(error) => return Some(self.fail(&error)),
                SubscriptionPoll::Wait(until) => {
                    let wait = Duration::from_millis(until.millis_since(now).cast_unsigned().max(1));
                    tokio::select! {
                        () = self.backend.stop.cancelled() => return None,
                        _ = self.changes.changed() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        };
        // What is pushed must not be gone after a crash.
        if let Err(error) = self.backend.service.settled(EVENT).await {
            return Some(self.fail(&error));
        }
        let codec = self.codec;
        let mut payload = codec.encode(&event);
        if faults.contains(&Fault::Garble) {
            let choice = format!("{:?} {:?}", event.continuation_sequence_number, self.backend.service.now());
            payload = garbled(&payload, codec, &choice);
        }
        let frame = Frame::event(EVENT, codec.content_type(), payload.into()).to_bytes();
        self.record_call(event.records.len(), None, !faults.is_empty());
        for fault in faults {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                Fault::Jump { millis } => self.backend.service.shift(millis),
                Fault::Error { code, message, .. } => {
                    return Some(self.fail(&ServiceError::new(code, message)));
                }
                Fault::Throttle => {
                    let error = self.throttled();
                    return Some(self.fail(&error));
                }
                Fault::DropBefore | Fault::DropAfter => return Some(cut_connection().await),
                Fault::HangBefore => return self.hang().await,
                Fault::CutAfter { bytes } => return Some(Ok(self.partial_frame(&frame, bytes, Phase::Cut))),
                Fault::HangAfter { bytes } => {
                    return Some(Ok(self.partial_frame(&frame, bytes, Phase::Hung)));
                }
                Fault::Empty | Fault::FailRecords { .. } | Fault::Garble | Fault::Answer { .. } => {}
            }
        }
        Some(Ok(frame))
    }

    async fn hang(&self) -> Option<Result<Bytes, ConnectionCut>> {
        self.backend.stop.cancelled().await;
        Some(cut_connection().await)
    }

    /// The first bytes of a frame, at most all; then the subscription is in another phase.
    fn partial_frame(&mut self, frame: &Bytes, bytes: usize, then: Phase) -> Bytes {
        self.phase = then;
        frame.slice(..bytes.min(frame.len()))
    }

    fn throttled(&self) -> ServiceError {
        let subscription = &self.subscription;
        let message =
            format!("Rate exceeded for shard {} in stream {}.", subscription.shard(), subscription.stream());
        ServiceError::new(ErrorCode::LimitExceeded, message)
    }

    /// The exception, which is the last frame.
    fn fail(&mut self, error: &ServiceError) -> Result<Bytes, ConnectionCut> {
        self.phase = Phase::Ended;
        // The common error of every call is another one within a subscription, and clients know it by that name alone.
        let code = match &error.code {
            ErrorCode::InternalFailure => ErrorCode::InternalFailureException,
            code => code.clone(),
        };
        let payload = self.codec.encode(&ExceptionBody { message: &error.message }).into();
        let frame = Frame::exception(code.as_str(), self.codec.content_type(), payload).to_bytes();
        self.record_call(0, Some(code), false);
        Ok(frame)
    }

    fn faults(&self) -> Vec<Fault> {
        let (shard, arn) = (self.subscription.shard(), self.subscription.key().arn());
        self.backend.faults.decide(&FaultCall {
            operation: EVENT,
            stream: Some(self.subscription.stream()),
            stream_arn: Some(&arn),
            queue_arn: None,
            shard: Some(&shard),
            caller: self.caller.as_deref(),
        })
    }

    fn record_call(&self, records: usize, error: Option<ErrorCode>, fault: bool) {
        let Backend { service, journal, .. } = &self.backend;
        journal.add(CallRecord {
            at: service.now(),
            operation: EVENT.to_owned(),
            caller: self.caller.clone(),
            stream: Some(self.subscription.stream().to_owned()),
            stream_arn: Some(self.subscription.key().arn()),
            shard: Some(self.subscription.shard()),
            records,
            error,
            fault,
        });
    }
}
