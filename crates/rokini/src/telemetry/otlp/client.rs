//! The HTTP client: the one that calls AWS, so that there is one TLS stack, and proxies are for all.

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::aws::HttpOptions;
use crate::types::error::Error;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Sends from any thread: those of the OpenTelemetry SDK are not the runtime's.
#[derive(Debug, Clone)]
pub(super) struct Client {
    connector: SharedHttpConnector,
    runtime: Handle,
    tracker: TaskTracker,
}

impl Client {
    /// To be called in a runtime.
    pub(super) fn new(http: &HttpOptions) -> Result<Self, Error> {
        let connector = http.connector(CONNECT)?;
        Ok(Self { connector, runtime: Handle::current(), tracker: TaskTracker::new() })
    }
}

async fn exchange(
    connector: SharedHttpConnector,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let request: HttpRequest = request.map(SdkBody::from).try_into()?;
    let response = connector.call(request).await?;
    let (status, body) = (response.status().as_u16(), response.into_body());
    let body = body.collect().await?.to_bytes();
    Ok(Response::builder().status(status).body(body)?)
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = exchange(self.connector.clone(), request);
        // The timer, too, needs the runtime.
        let exchange = async { timeout(REQUEST, exchange).await };
        self.tracker.spawn_on(exchange, &self.runtime).await??
    }
}

/// The address of a signal under the collector's.
pub(super) fn endpoint(base: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", base.trim_end_matches('/'))
}
