//! Stands before the embedded DynamoDB: checks who asks, applies faults, answers what the database does not know, and gives ARNs the
//! region of the caller.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN,
};
use http::{Request, Response, StatusCode, request};
use rokini_wire::ErrorCode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::dynamo::arns::ArnPrefix;
use crate::dynamo::backups::Backups;
use crate::dynamo::upstream::Upstream;
use crate::faults::{Fault, FaultCall, Faults};
use crate::http::{
    Body, BodyBreak, ConnectionCut, Entry, Handler, RequestBody, full_body, full_or_broken_body, signature,
    target_header,
};
use crate::model::is_account;

/// Largest request of DynamoDB.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Checks the body, which is another one once its ARNs are replaced.
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-crc32");
/// Said of calls that would change something where nothing can be kept.
const UNWRITABLE: &str = "The file of the tables cannot be written, so nothing can be changed. Make room on its disk, then start anew.";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Passes requests on to a server.
#[derive(Debug, Clone)]
pub(super) struct DynamoHandler {
    pub(super) upstream: Upstream,
    pub(super) backups: Backups,
    pub(super) faults: Faults,
    pub(super) entry: Entry,
    /// Region and account of a caller who does not say.
    pub(super) home: (String, String),
    /// Whether calls that change something are refused, since it could not be kept.
    pub(super) refuses_changes: bool,
    /// Ends calls that hang.
    pub(super) stop: CancellationToken,
}

impl Handler for DynamoHandler {
    async fn handle(&self, request: Request<impl RequestBody>) -> Result<Response<Body>, ConnectionCut> {
        let (mut head, body) = request.into_parts();
        let asked = match self.entry.check(&head) {
            Ok((_, asked)) => asked,
            Err(why) => return Ok(error_response(&ErrorCode::AccessDenied, &why, Some(403))),
        };
        if let Some(answer) = asked.preflight::<Bytes>(&head) {
            return Ok(answer.map(full_body));
        }
        // What a browser wants to know is answered here.
        head.headers.remove(ORIGIN);
        let body = self.entry.read_body(body, MAX_BODY_BYTES).await.map_err(|_| ConnectionCut)?;
        let mut response = self.answer(head, body).await?;
        response.headers_mut().remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        asked.mark(response.headers_mut());
        Ok(response)
    }
}

impl DynamoHandler {
    async fn answer(&self, head: request::Parts, body: Bytes) -> Result<Response<Body>, ConnectionCut> {
        let signature = signature(&head.headers, &head.uri).unwrap_or_default().unwrap_or_default();
        let operation = target_header(&head.headers).rsplit('.').next().unwrap_or_default().to_owned();
        let key = Some(&*signature.access_key).filter(|key| !key.is_empty());
        let call = FaultCall { caller: key, ..FaultCall::new(&operation) };
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
        if self.refuses_changes && !only_reads(&operation) {
            let code = ErrorCode::Unknown("InternalServerError".to_owned());
            return Ok(error_response(&code, UNWRITABLE, Some(500)));
        }
        let region = signature.region.as_deref().unwrap_or(&self.home.0);
        let account = Some(&*signature.access_key).filter(|key| is_account(key)).unwrap_or(&self.home.1);
        let arns = ArnPrefix::new(region, account);
        let (mut head, body) = self.forward(head, arns.inwards(body), &operation).await?;
        if end == Some(Fault::DropAfter) {
            return Err(ConnectionCut);
        }
        let body = match arns.outwards(&body) {
            Some(changed) => {
                head.headers.remove(CHECKSUM);
                head.headers.insert(CONTENT_LENGTH, changed.len().into());
                changed
            }
            None => body,
        };
        let body = full_or_broken_body(body, end.and_then(|fault| BodyBreak::of(&fault, &self.stop)));
        Ok(Response::from_parts(head, body))
    }

    /// Carries a request out: by the database, or here, for a table that is there, what the database does not know.
    async fn forward(
        &self,
        mut head: request::Parts,
        mut body: Bytes,
        operation: &str,
    ) -> Result<(http::response::Parts, Bytes), ConnectionCut> {
        head.headers.insert(HOST, HeaderValue::from_static("localhost"));
        let asked: Option<Value> =
            Backups::knows(operation).then(|| serde_json::from_slice(&body).unwrap_or_default());
        if let Some(asked) = &asked {
            body = serde_json::json!({ "TableName": asked["TableName"] }).to_string().into();
            head.headers.insert(TARGET, HeaderValue::from_static("DynamoDB_20120810.DescribeTable"));
        }
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        let (mut head, body) = self.upstream.send(head, body).await?;
        let Some(asked) = asked else { return Ok((head, body)) };
        head.headers.remove(CHECKSUM);
        let body: Bytes = if head.status.is_success() {
            self.backups.answer(asked["TableName"].as_str().unwrap_or_default(), &asked).to_string().into()
        } else {
            // The error of these operations has a name of its own.
            String::from_utf8_lossy(&body)
                .replace("#ResourceNotFoundException", "#TableNotFoundException")
                .into()
        };
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        Ok((head, body))
    }
}

/// What is not known to read may change something: a statement of PartiQL for example.
fn only_reads(operation: &str) -> bool {
    let reads = ["Describe", "List", "GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"];
    reads.iter().any(|read| operation.starts_with(read))
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
