//! SubscribeToShard: the frames of one subscription, made as the connection takes them.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use rokini_wire::events::{Frame, INITIAL_RESPONSE, SUBSCRIBE_TO_SHARD_EVENT};
use rokini_wire::shapes::stream::Empty;
use rokini_wire::{ErrorCode, ServiceError};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::body::{Cut, cut};
use super::codec::Codec;
use crate::faults::{Call, Fault, Faults};
use crate::journal::{CallRecord, Journal};
use crate::model::{Push, Subscription};
use crate::service::Service;

/// Name under which faults and inspection know an event.
const EVENT: &str = SUBSCRIBE_TO_SHARD_EVENT;

/// What a subscription's frames are made from.
pub(crate) struct Feed {
    pub(crate) service: Service,
    pub(crate) subscription: Subscription,
    pub(crate) codec: Codec,
    pub(crate) caller: Option<String>,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    /// The server stops: the stream ends as if its time were over.
    pub(crate) stop: CancellationToken,
}

/// The body of the answer to SubscribeToShard. It is polled only while the connection takes bytes, so a slow reader holds
/// its subscription back.
pub(crate) fn frames(feed: Feed) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    let changes = feed.service.changes();
    stream::unfold(State { feed, changes, phase: Phase::Start }, |mut state| async move {
        let piece = state.next().await?;
        Some((piece, state))
    })
}

struct State {
    feed: Feed,
    changes: watch::Receiver<u64>,
    phase: Phase,
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
struct Message<'a> {
    message: &'a str,
}

impl State {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        match self.phase {
            Phase::Start => {
                self.phase = Phase::Running;
                let codec = self.feed.codec;
                let payload = codec.encode(&Empty::default());
                Some(Ok(bytes(&Frame::event(INITIAL_RESPONSE, codec.content_type(), payload))))
            }
            Phase::Running => self.event().await,
            Phase::Ended => None,
            Phase::Cut => Some(cut().await),
            Phase::Hung => self.hang().await,
        }
    }

    async fn event(&mut self) -> Option<Result<Bytes, Cut>> {
        let (event, faults) = loop {
            // Seen before the model is asked: a change after the question wakes the wait.
            self.changes.borrow_and_update();
            let subscription = &mut self.feed.subscription;
            let (push, now) =
                self.feed.service.with_model(|model, now| (model.poll_subscription(now, subscription), now));
            match push {
                Push::Event(event) => break (event, self.faults()),
                Push::End => return None,
                Push::Fail(error) => return Some(self.fail(&error)),
                Push::Wait(until) => {
                    let wait = Duration::from_millis(until.millis_since(now).cast_unsigned().max(1));
                    tokio::select! {
                        () = self.feed.stop.cancelled() => return None,
                        _ = self.changes.changed() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        };
        let codec = self.feed.codec;
        let frame = bytes(&Frame::event(EVENT, codec.content_type(), codec.encode(&event)));
        self.note(event.records.len(), None, !faults.is_empty());
        for fault in faults {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                Fault::Jump { millis } => self.feed.service.shift(millis),
                Fault::Error { code, message, .. } => {
                    return Some(self.fail(&ServiceError::new(code, message)));
                }
                Fault::Throttle => {
                    let error = self.throttled();
                    return Some(self.fail(&error));
                }
                Fault::DropBefore | Fault::DropAfter => return Some(cut().await),
                Fault::HangBefore => return self.hang().await,
                Fault::CutAfter { bytes } => return Some(Ok(self.part(&frame, bytes, Phase::Cut))),
                Fault::HangAfter { bytes } => return Some(Ok(self.part(&frame, bytes, Phase::Hung))),
                Fault::Empty | Fault::FailRecords { .. } => {}
            }
        }
        Some(Ok(frame))
    }

    async fn hang(&self) -> Option<Result<Bytes, Cut>> {
        self.feed.stop.cancelled().await;
        Some(cut().await)
    }

    /// The first bytes of a frame, at most all; then the subscription is in another phase.
    fn part(&mut self, frame: &Bytes, bytes: usize, then: Phase) -> Bytes {
        self.phase = then;
        frame.slice(..bytes.min(frame.len()))
    }

    fn throttled(&self) -> ServiceError {
        let subscription = &self.feed.subscription;
        let message =
            format!("Rate exceeded for shard {} in stream {}.", subscription.shard(), subscription.stream());
        ServiceError::new(ErrorCode::LimitExceeded, message)
    }

    /// The exception, which is the last frame.
    fn fail(&mut self, error: &ServiceError) -> Result<Bytes, Cut> {
        self.phase = Phase::Ended;
        self.note(0, Some(error.code.clone()), false);
        let payload = self.feed.codec.encode(&Message { message: &error.message });
        Ok(bytes(&Frame::exception(error.code.as_str(), self.feed.codec.content_type(), payload)))
    }

    fn faults(&self) -> Vec<Fault> {
        let Feed { subscription, caller, faults, .. } = &self.feed;
        let shard = subscription.shard();
        faults.decide(&Call {
            operation: EVENT,
            stream: Some(subscription.stream()),
            shard: Some(&shard),
            caller: caller.as_deref(),
        })
    }

    fn note(&self, records: usize, error: Option<ErrorCode>, fault: bool) {
        let Feed { subscription, caller, journal, service, .. } = &self.feed;
        journal.add(CallRecord {
            at: service.now(),
            operation: EVENT.to_owned(),
            caller: caller.clone(),
            stream: Some(subscription.stream().to_owned()),
            shard: Some(subscription.shard()),
            records,
            error,
            fault,
        });
    }
}

fn bytes(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    frame.write(&mut out);
    out.into()
}
