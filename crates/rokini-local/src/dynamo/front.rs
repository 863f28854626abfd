//! Stands before the embedded DynamoDB and lets faults befall the calls that pass.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Version, request, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rokini_wire::ErrorCode;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::faults::{Call, Fault, Faults};
use crate::http::{Body, Break, Cut, caller, unless_broken, whole};
use crate::server::Handler;

/// Largest request of DynamoDB.
const MOST_BODY_BYTES: usize = 16 << 20;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Passes requests on to a server.
#[derive(Debug, Clone)]
pub(super) struct Front {
    server: SocketAddr,
    faults: Faults,
    /// Ends calls that hang.
    stop: CancellationToken,
}

impl Front {
    pub(super) fn new(server: SocketAddr, faults: Faults, stop: CancellationToken) -> Self {
        Self { server, faults, stop }
    }

    /// Carries a request out. A server that does not answer is a cut connection.
    async fn pass(&self, mut head: request::Parts, body: Bytes) -> Result<(response::Parts, Bytes), Cut> {
        let socket = TcpStream::connect(self.server).await.map_err(|_| Cut)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|_| Cut)?;
        head.version = Version::HTTP_11;
        let request = Request::from_parts(head, Full::new(body));
        let exchange = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        // The connection ends when the exchange lets go of its sender.
        let (answer, _) = future::join(exchange, connection).await;
        answer.map_err(|_| Cut)
    }
}

impl Handler for Front {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MOST_BODY_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
        let target = head.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
        let caller = caller(&head.headers, &head.uri).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let call = Call { operation, caller: caller.as_deref(), ..Call::default() };
        let mut end = None;
        for fault in self.faults.decide(&call) {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                fault => end = Some(fault),
            }
        }
        match end {
            Some(Fault::DropBefore) => return Err(Cut),
            Some(Fault::HangBefore) => {
                self.stop.cancelled().await;
                return Err(Cut);
            }
            Some(Fault::Error { code, message, status }) => return Ok(refusal(&code, &message, status)),
            Some(Fault::Throttle) => {
                let code = ErrorCode::ProvisionedThroughputExceeded;
                return Ok(refusal(
                    &code,
                    "The level of configured provisioned throughput was exceeded.",
                    None,
                ));
            }
            _ => {}
        }
        let (head, body) = self.pass(head, body).await?;
        if end == Some(Fault::DropAfter) {
            return Err(Cut);
        }
        let body = unless_broken(body, end.and_then(|fault| Break::by(&fault, &self.stop)));
        Ok(Response::from_parts(head, body))
    }
}

/// An error as DynamoDB answers it.
fn refusal(code: &ErrorCode, message: &str, status: Option<u16>) -> Response<Body> {
    let error = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message,
    });
    let body = Bytes::from(error.to_string());
    let length = body.len();
    let mut response = Response::new(whole(body));
    *response.status_mut() =
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}
