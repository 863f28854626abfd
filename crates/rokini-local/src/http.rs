//! The model over HTTP: reads requests, lets faults befall them, answers as documented.

mod auth;
mod bend;
mod body;
mod codec;
mod control;
mod subscription;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use rokini_wire::shapes::consumer::SubscribeToShardRequest;
use rokini_wire::shapes::record::{GetRecordsResponse, PutRecordResponse, PutRecordsResponse};
use rokini_wire::{ErrorCode, Operation, ServiceError, TARGET_PREFIX, events};
use tokio_util::sync::CancellationToken;

use crate::clock::http_date;
use crate::faults::{Call, Fault, Faults};
use crate::journal::{CallRecord, Journal};
use crate::model::{Model, OperationVisitor, Place, Serve, Subject};
use crate::server::Handler;
use crate::service::Service;
pub(crate) use auth::caller;
pub(crate) use body::{Body, Break, Cut, unless_broken, whole};
use codec::Codec;
use subscription::Feed;

/// Largest request: 10 MB of PutRecords data in base64, 500 partition keys in escaped JSON, and names.
const MOST_BODY_BYTES: usize = 18 << 20;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Answers Kinesis requests.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) service: Service,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    /// Whether unsigned requests are refused.
    pub(crate) signed_only: bool,
    /// Ends subscriptions when the server stops.
    pub(crate) stop: CancellationToken,
    pub(crate) ids: Arc<Ids>,
}

/// A call that was carried out, or not.
struct Outcome {
    place: Place,
    records: usize,
    result: Result<Answer, ServiceError>,
    faults: Vec<Fault>,
}

enum Answer {
    Body(Bytes),
    Events(Box<crate::model::Subscription>),
}

impl Handler for Front {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let codec = Codec::of(&head.headers);
        let body = Limited::new(body, MOST_BODY_BYTES).collect().await.map_err(|error| {
            ServiceError::new(
                ErrorCode::Serialization,
                format!("The request body could not be read: {error}"),
            )
        });
        if let Some(path) = head.uri.path().strip_prefix(control::PREFIX) {
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Ok(control::answer(self, &head.method, path, &body));
        }
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) => return Ok(self.refuse(codec, &error)),
        };
        match self.admit(&head) {
            Ok((name, caller)) => self.answer(&name, caller, codec, &body).await,
            Err(error) => Ok(self.refuse(codec, &error)),
        }
    }
}

impl Front {
    /// The operation's name and the caller.
    fn admit(&self, head: &request::Parts) -> Result<(String, Option<String>), ServiceError> {
        let target = head.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
        let name = target.strip_prefix(TARGET_PREFIX).and_then(|rest| rest.strip_prefix('.'));
        let name = name.filter(|_| head.method == Method::POST).ok_or_else(|| unknown_operation(target))?;
        let caller = caller(&head.headers, &head.uri);
        let caller = if self.signed_only { caller? } else { caller.unwrap_or_default() };
        if self.signed_only && caller.is_none() {
            return Err(ServiceError::new(
                ErrorCode::MissingAuthenticationToken,
                "Missing Authentication Token",
            ));
        }
        Ok((name.to_owned(), caller))
    }

    async fn answer(
        &self,
        name: &str,
        caller: Option<String>,
        codec: Codec,
        body: &Bytes,
    ) -> Result<Response<Body>, Cut> {
        let prepare = Prepare { front: self, codec, body, caller: caller.as_deref() };
        let Some(prepared) = prepare.operation(name) else {
            return Ok(self.refuse(codec, &unknown_operation(name)));
        };
        let call = match prepared {
            Ok(call) => call,
            Err(error) => return Ok(self.refuse(codec, &error)),
        };
        for fault in call.faults() {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
                Fault::Jump { millis } => self.service.shift(*millis),
                _ => {}
            }
        }
        let outcome = call.carry_out(&self.service, codec);
        self.journal.add(CallRecord {
            at: self.service.now(),
            operation: name.to_owned(),
            caller: caller.clone(),
            stream: outcome.place.stream.clone(),
            shard: outcome.place.shard.clone(),
            records: outcome.records,
            error: outcome.result.as_ref().err().map(|error| error.code.clone()),
            fault: !outcome.faults.is_empty(),
        });
        self.send(outcome, caller, codec).await
    }

    async fn send(
        &self,
        outcome: Outcome,
        caller: Option<String>,
        codec: Codec,
    ) -> Result<Response<Body>, Cut> {
        let fault = outcome.faults.into_iter().next_back();
        match &fault {
            Some(Fault::DropBefore | Fault::DropAfter) => return Err(Cut),
            Some(Fault::HangBefore) => {
                // Until the caller gives up or the server stops.
                self.stop.cancelled().await;
                return Err(Cut);
            }
            _ => {}
        }
        let broken = fault.as_ref().and_then(|fault| Break::by(fault, &self.stop));
        let (mut status, body) = match outcome.result {
            Ok(Answer::Body(body)) => (StatusCode::OK, body),
            Ok(Answer::Events(subscription)) => {
                return Ok(self.subscribed(*subscription, caller, codec, broken));
            }
            Err(error) => (status_of(&error), codec.encode(&error)),
        };
        if let Some(Fault::Error { status: Some(wanted), .. }) = fault {
            status = StatusCode::from_u16(wanted).unwrap_or(status);
        }
        let length = body.len();
        let body = unless_broken(body, broken);
        let mut response = self.response(status, codec.content_type(), body);
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }

    fn subscribed(
        &self,
        subscription: crate::model::Subscription,
        caller: Option<String>,
        codec: Codec,
        broken: Option<Break>,
    ) -> Response<Body> {
        let frames = subscription::frames(Feed {
            service: self.service.clone(),
            subscription,
            codec,
            caller,
            faults: self.faults.clone(),
            journal: self.journal.clone(),
            stop: self.stop.clone(),
        });
        let body = match broken {
            Some(broken) => body::streamed(broken.apply(frames)),
            None => body::streamed(frames),
        };
        self.response(StatusCode::OK, events::CONTENT_TYPE, body)
    }

    fn refuse(&self, codec: Codec, error: &ServiceError) -> Response<Body> {
        self.response(status_of(error), codec.content_type(), whole(codec.encode(error)))
    }

    fn response(&self, status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let (id, extended) = self.ids.next();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in
            [(REQUEST_ID, id), (EXTENDED_ID, extended), (DATE, http_date(self.service.now()))]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn status_of(error: &ServiceError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn unknown_operation(name: &str) -> ServiceError {
    ServiceError::new(ErrorCode::UnknownOperation, format!("Unknown operation '{name}'."))
}

/// Decodes a request and learns what will befall it.
#[derive(Clone, Copy)]
struct Prepare<'a> {
    front: &'a Front,
    codec: Codec,
    body: &'a [u8],
    caller: Option<&'a str>,
}

impl Prepare<'_> {
    fn operation(self, name: &str) -> Option<Result<Box<dyn Prepared>, ServiceError>> {
        if name == SubscribeToShardRequest::NAME {
            return Some(
                self.decode::<SubscribeToShardRequest>().map(|call| Box::new(Subscribing(call)) as _),
            );
        }
        Model::visit_operation(name, self)
    }

    fn decode<R: Operation + Subject>(self) -> Result<Decoded<R>, ServiceError> {
        let request: R = self.codec.decode(self.body)?;
        let place = self.front.service.with_model(|model, _| model.place_of(&request));
        let faults = self.front.faults.decide(&Call {
            operation: R::NAME,
            stream: place.stream.as_deref(),
            shard: place.shard.as_deref(),
            caller: self.caller,
        });
        Ok(Decoded { request, place, faults })
    }
}

impl OperationVisitor for Prepare<'_> {
    type Output = Result<Box<dyn Prepared>, ServiceError>;

    fn visit<R: Operation + Subject>(self) -> Self::Output
    where
        Model: Serve<R>,
    {
        Ok(Box::new(self.decode::<R>()?))
    }
}

/// A request with its faults.
struct Decoded<R> {
    request: R,
    place: Place,
    faults: Vec<Fault>,
}

impl<R> Decoded<R> {
    /// The error that stands in for the outcome, if a fault wants one.
    fn error(&self) -> Option<ServiceError> {
        match self.faults.last()? {
            Fault::Error { code, message, .. } => Some(ServiceError::new(code.clone(), message.clone())),
            Fault::Throttle => {
                let (shard, stream) = (self.place.shard.as_deref(), self.place.stream.as_deref());
                let message = format!(
                    "Rate exceeded for shard {} in stream {}.",
                    shard.unwrap_or("shardId-000000000000"),
                    stream.unwrap_or_default()
                );
                Some(ServiceError::new(ErrorCode::ProvisionedThroughputExceeded, message))
            }
            // Never seen by the caller: nothing is carried out and nothing is answered.
            Fault::DropBefore | Fault::HangBefore => {
                Some(ServiceError::new(ErrorCode::InternalFailure, "Dropped by a fault."))
            }
            _ => None,
        }
    }
}

/// A request of any kind, ready to be carried out.
trait Prepared: Send {
    fn faults(&self) -> &[Fault];

    fn carry_out(self: Box<Self>, service: &Service, codec: Codec) -> Outcome;
}

impl<R: Operation + Subject> Prepared for Decoded<R>
where
    Model: Serve<R>,
{
    fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn carry_out(self: Box<Self>, service: &Service, codec: Codec) -> Outcome {
        let result = match (self.error(), self.faults.last()) {
            (Some(error), _) => Err(error),
            (None, Some(fault)) => bend::call(service, &self.request, fault),
            (None, None) => service.call(&self.request),
        };
        let records = result.as_ref().map_or(0, |response| records_in(response));
        let result = result.map(|response| Answer::Body(codec.encode(&response)));
        Outcome { place: self.place, records, result, faults: self.faults }
    }
}

/// SubscribeToShard is answered by a stream of events.
struct Subscribing(Decoded<SubscribeToShardRequest>);

impl Prepared for Subscribing {
    fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    fn carry_out(self: Box<Self>, service: &Service, _: Codec) -> Outcome {
        let Self(call) = *self;
        let result = match call.error() {
            Some(error) => Err(error),
            None => service.with_model(|model, now| model.subscribe_to_shard(now, &call.request)),
        };
        let result = result.map(|subscription| Answer::Events(Box::new(subscription)));
        Outcome { place: call.place, records: 0, result, faults: call.faults }
    }
}

fn records_in(response: &dyn Any) -> usize {
    if let Some(read) = response.downcast_ref::<GetRecordsResponse>() {
        read.records.len()
    } else if let Some(put) = response.downcast_ref::<PutRecordsResponse>() {
        put.records.iter().filter(|record| record.sequence_number.is_some()).count()
    } else {
        usize::from(response.is::<PutRecordResponse>())
    }
}

/// Request ids: unlike each other, alike from run to run.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    fn next(&self) -> (String, String) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ count.rotate_left(32));
        let (a, b, c, d) = (rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64());
        let (time, node) = (a >> 32, b & 0xffff_ffff_ffff);
        let id =
            format!("{time:08x}-{:04x}-{:04x}-{:04x}-{node:012x}", a >> 16 & 0xffff, a & 0xffff, b >> 48);
        (id, format!("{c:016x}{d:016x}"))
    }
}
