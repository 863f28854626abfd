//! Answers Kinesis requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use rokini_wire::{AnyRequest, AnyResponse, Codec, ErrorCode, ServiceError, TARGET_PREFIX, events};

use crate::clock::http_date;
use crate::faults::{Fault, FaultCall};
use crate::http::auth::signature;
use crate::http::backend::Backend;
use crate::http::body::{Body, BodyBreak, ConnectionCut, full_body, full_or_broken_body, streaming_body};
use crate::http::control;
use crate::http::entry::{Entry, RequestBody};
use crate::http::garble::garbled;
use crate::http::handler::{Handler, target_header};
use crate::http::hosts::HostFacts;
use crate::http::long_poll;
use crate::http::long_work::LongWork;
use crate::http::page;
use crate::http::partial_faults;
use crate::http::read_request::read_request;
use crate::http::request_ids::RequestIds;
use crate::http::subscription::{EventStream, frames};
use crate::journal::CallRecord;
use crate::model::{Caller, ResolvedTarget, Scope, StreamKey, Subscription, iterator_position, target_of};

/// Largest request: 10 MB of PutRecords data in base64, 500 partition keys in escaped JSON, and names.
const MAX_BODY_BYTES: usize = 18 << 20;

/// Bytes that take about a millisecond to read or write.
const LARGE: usize = 256 << 10;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// Serves the model, and the control endpoint beside it.
#[derive(Debug, Clone)]
pub(crate) struct KinesisHandler {
    pub(crate) backend: Backend,
    pub(crate) entry: Entry,
    /// Whether unsigned requests are refused.
    pub(crate) signed_only: bool,
    /// Opens iterators and tokens.
    seed: u64,
    /// Where a caller is who does not say where.
    home: Scope,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) long_work: LongWork,
}

/// A request that was read, with the faults that are applied to it.
struct DecodedCall {
    request: AnyRequest,
    target: ResolvedTarget,
    faults: Vec<Fault>,
    /// Access key id of the caller.
    access_key: Option<String>,
    caller: Caller,
    codec: Codec,
}

/// What a call that succeeded is answered with.
#[allow(clippy::large_enum_variant, reason = "it lives for one call, and a box would be one more allocation")]
enum CallAnswer {
    Response(AnyResponse),
    Events(Box<Subscription>),
}

impl Handler for KinesisHandler {
    async fn handle(&self, request: Request<impl RequestBody>) -> Result<Response<Body>, ConnectionCut> {
        let (head, body) = request.into_parts();
        let codec = codec_of(&head.headers);
        let (facts, asked) = match self.entry.check(&head) {
            Ok(checked) => checked,
            Err(why) => return Ok(self.refuse(codec, why)),
        };
        if let Some(answer) = asked.preflight::<Bytes>(&head) {
            return Ok(answer.map(full_body));
        }
        let mut response = self.serve(&head, &facts, codec, body).await?;
        asked.mark(response.headers_mut());
        Ok(response)
    }
}

impl KinesisHandler {
    async fn serve(
        &self,
        head: &request::Parts,
        facts: &HostFacts,
        codec: Codec,
        body: impl RequestBody,
    ) -> Result<Response<Body>, ConnectionCut> {
        if let Some(answer) = page::answer(head) {
            return Ok(answer);
        }
        if let Some(path) = head.uri.path().strip_prefix(control::PREFIX) {
            return Ok(control::answer(&self.backend, &self.entry, head, path, body).await);
        }
        let body = self.entry.read_body(body, MAX_BODY_BYTES).await.map_err(|why| {
            let message = format!("The request body could not be read: {why}");
            ServiceError::new(ErrorCode::Serialization, message)
        });
        let decoded = body.and_then(|body| {
            self.long_work.run(body.len() > LARGE, || self.decode(head, facts, codec, &body))
        });
        match decoded {
            Ok(call) => self.answer(call).await,
            Err(error) => Ok(self.error_response(codec, &error)),
        }
    }

    pub(crate) fn new(backend: Backend, entry: Entry, signed_only: bool) -> Self {
        let (seed, home) = backend.service.with_model(|model, _| (model.settings().seed, model.home()));
        let ids = Arc::new(RequestIds::new(seed));
        Self { backend, entry, signed_only, seed, home, ids, long_work: LongWork::default() }
    }

    fn refuse(&self, codec: Codec, message: String) -> Response<Body> {
        let mut response = self.error_response(codec, &ServiceError::new(ErrorCode::AccessDenied, message));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    }

    /// Reads a request, and decides which faults are applied to it.
    fn decode(
        &self,
        head: &request::Parts,
        facts: &HostFacts,
        codec: Codec,
        body: &[u8],
    ) -> Result<DecodedCall, ServiceError> {
        let target = target_header(&head.headers);
        let operation = target.strip_prefix(TARGET_PREFIX).and_then(|rest| rest.strip_prefix('.'));
        let operation =
            operation.filter(|_| head.method == Method::POST).ok_or_else(|| unknown_operation(target))?;
        let (access_key, caller) = self.check_caller(head, facts)?;
        let request = read_request(operation, codec, body).ok_or_else(|| unknown_operation(operation))??;
        let target = target_of(&request).resolve(self.seed, &caller.scope(&self.home));
        // A rule for a stream is for its queues too.
        let queue_arn = target.queue_arn();
        let stream = match queue_arn {
            Some(arn) => self.backend.service.with_model(|model, now| model.stream_of_queue(now, arn)),
            None => target.key.clone(),
        };
        let stream_arn = stream.as_ref().map(StreamKey::arn);
        let faults = self.backend.faults.decide(&FaultCall {
            operation: request.operation(),
            stream: stream.as_ref().map(|key| &*key.name),
            stream_arn: stream_arn.as_deref(),
            queue_arn,
            shard: target.shard.as_deref(),
            caller: access_key.as_deref(),
        });
        Ok(DecodedCall { request, target, faults, access_key, caller, codec })
    }

    /// The access key id, and who calls: by the signature, or else by the host name.
    fn check_caller(
        &self,
        head: &request::Parts,
        facts: &HostFacts,
    ) -> Result<(Option<String>, Caller), ServiceError> {
        let signature = signature(&head.headers, &head.uri);
        let signature = if self.signed_only {
            let missing =
                || ServiceError::new(ErrorCode::MissingAuthenticationToken, "Missing Authentication Token");
            Some(signature?.ok_or_else(missing)?)
        } else {
            signature.unwrap_or_default()
        };
        let signed_for = signature.as_ref().and_then(|signature| signature.region.clone());
        let access_key = signature.map(|signature| signature.access_key);
        let by_key = Caller::new().account(access_key.as_deref().unwrap_or_default()).account;
        let account = by_key.or_else(|| facts.account.clone());
        Ok((access_key, Caller { account, region: signed_for.or_else(|| facts.region.clone()) }))
    }

    async fn answer(&self, call: DecodedCall) -> Result<Response<Body>, ConnectionCut> {
        let Backend { service, journal, .. } = &self.backend;
        for fault in &call.faults {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
                Fault::Jump { millis } => service.shift(*millis),
                _ => {}
            }
        }
        let result = match long_poll::waits_for(&call.request) {
            None => self.carry_out(&call),
            Some(wait) => {
                let empty = |answer: &CallAnswer| match answer {
                    CallAnswer::Response(response) => long_poll::is_empty(response),
                    CallAnswer::Events(_) => false,
                };
                self.backend.ask_until(wait, empty, || self.carry_out(&call)).await
            }
        };
        if call.faults.is_empty() {
            self.note_position(&call, &result);
        }
        let settled = service.settled(call.request.operation()).await;
        let result = settled.and(result);
        journal.add(CallRecord {
            at: service.now(),
            operation: call.request.operation().to_owned(),
            caller: call.access_key.clone(),
            stream: call.target.name().map(str::to_owned),
            stream_arn: call.target.arn.clone(),
            shard: call.target.shard.clone(),
            records: result.as_ref().map_or(0, records_in),
            error: result.as_ref().err().map(|error| error.code.clone()),
            fault: !call.faults.is_empty(),
        });
        self.send(call, result).await
    }

    /// Remembers how far a reader is that polls.
    fn note_position(&self, call: &DecodedCall, result: &Result<CallAnswer, ServiceError>) {
        let AnyRequest::GetRecords(request) = &call.request else { return };
        let Ok(CallAnswer::Response(AnyResponse::GetRecords(read))) = result else { return };
        if let Some((stream, shard, asked)) = iterator_position(&request.shard_iterator, self.seed) {
            let offset = if read.next_shard_iterator.is_none() { u64::MAX } else { asked };
            self.backend.readers.note(call.access_key.as_deref().unwrap_or_default(), &stream, shard, offset);
        }
    }

    fn carry_out(&self, call: &DecodedCall) -> Result<CallAnswer, ServiceError> {
        let fault = call.faults.last();
        if let Some(error) = fault.and_then(|fault| fault_error(fault, &call.target)) {
            return Err(error);
        }
        let service = &self.backend.service;
        match &call.request {
            AnyRequest::SubscribeToShard(request) => service
                .subscribe_as(&call.caller, request)
                .map(|subscription| CallAnswer::Events(Box::new(subscription))),
            request => {
                partial_faults::carry_out(service, &call.caller, request, fault).map(CallAnswer::Response)
            }
        }
    }

    async fn send(
        &self,
        call: DecodedCall,
        result: Result<CallAnswer, ServiceError>,
    ) -> Result<Response<Body>, ConnectionCut> {
        let DecodedCall { mut faults, access_key, codec, .. } = call;
        let (stop, fault) = (&self.backend.stop, faults.pop());
        match &fault {
            Some(Fault::DropBefore | Fault::DropAfter) => return Err(ConnectionCut),
            Some(Fault::HangBefore) => {
                // Until the caller gives up or the server stops.
                stop.cancelled().await;
                return Err(ConnectionCut);
            }
            _ => {}
        }
        if let Some(Fault::Answer { status, body }) = &fault {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            return Ok(self.response(status, "text/html", full_body(body.clone().into())));
        }
        let broken = fault.as_ref().and_then(|fault| BodyBreak::of(fault, stop));
        let (mut status, body) = match result {
            Ok(CallAnswer::Response(response)) => {
                (StatusCode::OK, self.long_work.run(is_large(&response), || response.encode(codec)))
            }
            Ok(CallAnswer::Events(subscription)) => {
                let backend = self.backend.clone();
                let frames = frames(EventStream::new(backend, *subscription, codec, access_key));
                let body = match broken {
                    Some(broken) => streaming_body(broken.apply(frames)),
                    None => streaming_body(frames),
                };
                return Ok(self.response(StatusCode::OK, events::CONTENT_TYPE, body));
            }
            Err(error) => (status_of(&error), codec.encode(&error)),
        };
        if let Some(Fault::Error { status: Some(wanted), .. }) = fault {
            status = StatusCode::from_u16(wanted).unwrap_or(status);
        }
        let body = match fault {
            Some(Fault::Garble) => garbled(&body, codec, &self.ids.next().0),
            _ => body,
        };
        let length = body.len();
        let body = full_or_broken_body(body.into(), broken);
        let mut response = self.response(status, codec.content_type(), body);
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }

    fn error_response(&self, codec: Codec, error: &ServiceError) -> Response<Body> {
        let body: Bytes = codec.encode(error).into();
        self.response(status_of(error), codec.content_type(), full_body(body))
    }

    fn response(&self, status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let (id, extended) = self.ids.next();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in
            [(REQUEST_ID, id), (EXTENDED_ID, extended), (DATE, http_date(self.backend.service.now()))]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// The error that a fault puts in place of the outcome.
fn fault_error(fault: &Fault, target: &ResolvedTarget) -> Option<ServiceError> {
    match fault {
        Fault::Error { code, message, .. } => Some(ServiceError::new(code.clone(), message.clone())),
        Fault::Throttle if target.queue_arn().is_some() => {
            Some(ServiceError::new(ErrorCode::Throttling, "Rate exceeded for the queue."))
        }
        Fault::Throttle => {
            let shard = target.shard.as_deref().unwrap_or("shardId-000000000000");
            let stream = target.name().unwrap_or_default();
            let message = format!("Rate exceeded for shard {shard} in stream {stream}.");
            Some(ServiceError::new(ErrorCode::ProvisionedThroughputExceeded, message))
        }
        // Never seen by the caller: nothing is carried out, and nothing or something else is answered.
        Fault::DropBefore | Fault::HangBefore | Fault::Answer { .. } => {
            Some(ServiceError::new(ErrorCode::InternalFailure, "Dropped by a fault."))
        }
        _ => None,
    }
}

/// Records that were written or read.
fn records_in(answer: &CallAnswer) -> usize {
    match answer {
        CallAnswer::Response(AnyResponse::GetRecords(read)) => read.records.len(),
        CallAnswer::Response(AnyResponse::PutRecords(put)) => {
            put.records.iter().filter(|record| record.sequence_number.is_some()).count()
        }
        CallAnswer::Response(AnyResponse::PutRecord(_)) => 1,
        _ => 0,
    }
}

/// Whether it takes long to write.
fn is_large(response: &AnyResponse) -> bool {
    /// Bytes that a record or shard has beside its data.
    const ABOUT: usize = 300;
    match response {
        AnyResponse::GetRecords(read) => {
            read.records.iter().map(|record| record.data.len() + ABOUT).sum::<usize>() > LARGE
        }
        AnyResponse::ListShards(list) => list.shards.as_ref().map_or(0, Vec::len) * ABOUT > LARGE,
        _ => false,
    }
}

fn codec_of(headers: &HeaderMap) -> Codec {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Codec::from_content_type(content_type.unwrap_or_default())
}

fn status_of(error: &ServiceError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn unknown_operation(name: &str) -> ServiceError {
    ServiceError::new(ErrorCode::UnknownOperation, format!("Unknown operation '{name}'."))
}
