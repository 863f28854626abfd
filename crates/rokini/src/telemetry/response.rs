//! Answers of the monitoring listener.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// A body that is whole, or goes on.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) fn response(status: StatusCode, content: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    with_body(status, content, Full::new(body.into()).boxed_unsync())
}

pub(super) fn with_body(status: StatusCode, content: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
