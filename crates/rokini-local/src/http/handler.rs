//! The seam between a server and what it serves.

use std::future::Future;

use crate::http::body::{Body, ConnectionCut};
use crate::http::entry::RequestBody;
use http::header::HeaderName;
use http::{HeaderMap, Request, Response};

/// Answers one request, or has the connection cut.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    fn handle(
        &self,
        request: Request<impl RequestBody>,
    ) -> impl Future<Output = Result<Response<Body>, ConnectionCut>> + Send;
}

/// The header that names the operation; empty if it is absent.
pub(crate) fn target_header(headers: &HeaderMap) -> &str {
    const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
    headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default()
}
