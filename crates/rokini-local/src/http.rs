//! The model over HTTP: reads requests, dispatches on their target, writes answers and errors as documented.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use rokini_wire::{DecodeError, ErrorCode, Operation, ServiceError, TARGET_PREFIX, Timestamp, json};

use crate::model::{Model, OperationVisitor, Serve};
use crate::server::{Body, Handler};
use crate::service::Service;

/// Largest request: 10 MB of PutRecords data in base64, 500 partition keys in escaped JSON, and names.
const MOST_BODY_BYTES: usize = 18 << 20;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Answers Kinesis requests.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    service: Service,
    ids: Arc<Ids>,
}

impl Front {
    pub(crate) fn new(service: Service, seed: u64) -> Self {
        Self { service, ids: Arc::new(Ids { seed, count: AtomicU64::new(0) }) }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Bytes, ServiceError> {
        let name = operation_name(&request)?;
        let body = Limited::new(request.into_body(), MOST_BODY_BYTES);
        let body = body.collect().await.map_err(|error| {
            ServiceError::new(
                ErrorCode::Serialization,
                format!("The request body could not be read: {error}"),
            )
        })?;
        let call = Call { service: &self.service, body: &body.to_bytes() };
        Model::visit_operation(&name, call).unwrap_or_else(|| Err(unknown_operation(&name)))
    }
}

impl Handler for Front {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (status, body) = match self.answer(request).await {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, json::encode(&error).into())
            }
        };
        let mut response = Response::new(Full::new(body).boxed_unsync());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let (id, extended) = self.ids.next();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
        for (name, value) in [(REQUEST_ID, id), (EXTENDED_ID, extended), (DATE, date(self.service.now()))] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn operation_name<B>(request: &Request<B>) -> Result<String, ServiceError> {
    let target = request.headers().get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    let name = target.strip_prefix(TARGET_PREFIX).and_then(|rest| rest.strip_prefix('.'));
    match name {
        Some(name) if request.method() == Method::POST => Ok(name.to_owned()),
        _ => Err(unknown_operation(target)),
    }
}

fn unknown_operation(name: &str) -> ServiceError {
    ServiceError::new(ErrorCode::UnknownOperation, format!("Unknown operation '{name}'."))
}

/// Decodes a body, calls the service, encodes the answer.
struct Call<'a> {
    service: &'a Service,
    body: &'a [u8],
}

impl OperationVisitor for Call<'_> {
    type Output = Result<Bytes, ServiceError>;

    fn visit<R: Operation>(self) -> Self::Output
    where
        Model: Serve<R>,
    {
        let request = json::decode::<R>(self.body).map_err(unreadable)?;
        Ok(json::encode(&self.service.call(&request)?).into())
    }
}

fn unreadable(error: DecodeError) -> ServiceError {
    match error {
        DecodeError::Missing(member) => {
            let mut letters = member.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            let member: String = first.into_iter().chain(letters).collect();
            let message = format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
            );
            ServiceError::new(ErrorCode::Validation, message)
        }
        other => ServiceError::new(ErrorCode::Serialization, other.to_string()),
    }
}

fn date(now: Timestamp) -> String {
    let since = Duration::from_secs(u64::try_from(now.secs()).unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// Request ids: unlike each other, alike from run to run.
#[derive(Debug)]
struct Ids {
    seed: u64,
    count: AtomicU64,
}

impl Ids {
    fn next(&self) -> (String, String) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ count.rotate_left(32));
        let (a, b, c, d) = (rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64());
        let id = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        (id, format!("{c:016x}{d:016x}"))
    }
}
