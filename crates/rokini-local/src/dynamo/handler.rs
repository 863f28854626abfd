//! Stands before the embedded DynamoDB and applies faults to the calls that pass.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode, Version, request, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rokini_wire::ErrorCode;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::faults::{Fault, FaultCall, Faults};
use crate::http::{
    Body, BodyBreak, ConnectionCut, Handler, caller, full_body, full_or_broken_body, target_header,
};

/// Largest request of DynamoDB.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Passes requests on to a server.
#[derive(Debug, Clone)]
pub(super) struct DynamoHandler {
    pub(super) server: SocketAddr,
    pub(super) faults: Faults,
    /// Ends calls that hang.
    pub(super) stop: CancellationToken,
}

impl DynamoHandler {
    /// Carries a request out. A server that does not answer is a cut connection.
    async fn forward(
        &self,
        mut head: request::Parts,
        body: Bytes,
    ) -> Result<(response::Parts, Bytes), ConnectionCut> {
        let socket = TcpStream::connect(self.server).await.map_err(|_| ConnectionCut)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|_| ConnectionCut)?;
        head.version = Version::HTTP_11;
        let request = Request::from_parts(head, Full::new(body));
        let exchange = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        // The connection ends when the exchange lets go of its sender.
        let (answer, _) = future::join(exchange, connection).await;
        answer.map_err(|_| ConnectionCut)
    }
}

impl Handler for DynamoHandler {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, ConnectionCut> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|_| ConnectionCut)?.to_bytes();
        let caller = caller(&head.headers, &head.uri).unwrap_or_default();
        let operation = target_header(&head.headers).rsplit('.').next().unwrap_or_default();
        let call = FaultCall { caller: caller.as_deref(), ..FaultCall::new(operation) };
        let mut end = None;
        for fault in self.faults.decide(&call) {
            match fault {
                Fault::Delay { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                fault => end = Some(fault),
            }
        }
        match end {
            Some(Fault::DropBefore) => return Err(ConnectionCut),
            Some(Fault::HangBefore) => {
                self.stop.cancelled().await;
                return Err(ConnectionCut);
            }
            Some(Fault::Error { code, message, status }) => {
                return Ok(error_response(&code, &message, status));
            }
            Some(Fault::Throttle) => {
                let code = ErrorCode::ProvisionedThroughputExceeded;
                return Ok(error_response(
                    &code,
                    "The level of configured provisioned throughput was exceeded.",
                    None,
                ));
            }
            _ => {}
        }
        let (head, body) = self.forward(head, body).await?;
        if end == Some(Fault::DropAfter) {
            return Err(ConnectionCut);
        }
        let body = full_or_broken_body(body, end.and_then(|fault| BodyBreak::of(&fault, &self.stop)));
        Ok(Response::from_parts(head, body))
    }
}

/// An error as DynamoDB answers it.
fn error_response(code: &ErrorCode, message: &str, status: Option<u16>) -> Response<Body> {
    let error = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message,
    });
    let body = Bytes::from(error.to_string());
    let length = body.len();
    let mut response = Response::new(full_body(body));
    *response.status_mut() =
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}
