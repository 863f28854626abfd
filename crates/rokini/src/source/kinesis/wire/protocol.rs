//! The protocol of the clients that ask for records. Signing, endpoints, credentials, retries, timeouts and interceptors
//! stay the SDK's; what is written into a request and read out of an answer is ours.

use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::http::{Headers, Request, Response};
use aws_smithy_schema::protocol::{ClientProtocolInner, ServiceShapeName, apply_http_endpoint};
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId, shape_id};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::{Builder as ErrorMetadataBuilder, ErrorMetadata};
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use rokini_wire::{Codec, ServiceError};

use super::request::RequestMembers;
use super::whole_body::WholeBody;

/// GetRecords and SubscribeToShard in one encoding. The answer to GetRecords comes as the data of a single record, to be read by
/// [`RecordsAnswer`](rokini_wire::RecordsAnswer); that to SubscribeToShard is taken before anybody reads it
/// ([`TakeBody`](super::TakeBody)).
#[derive(Debug)]
pub(in crate::source::kinesis) struct RecordsProtocol(pub(in crate::source::kinesis) Codec);

const ID: ShapeId<'static> = shape_id!("rokini", "records");

/// The operations of these clients.
const GET_RECORDS: &str = "GetRecords";
const SUBSCRIBE_TO_SHARD: &str = "SubscribeToShard";

fn operation(config: &ConfigBag) -> Option<&str> {
    config.load::<Metadata>().map(Metadata::name)
}

impl ClientProtocolInner for RecordsProtocol {
    type Request = Request;
    type Response = Response;

    fn protocol_id(&self) -> &ShapeId<'static> {
        &ID
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        schema: &Schema<'_>,
        _: &str,
        config: &ConfigBag,
    ) -> Result<Request, SerdeError> {
        let members = RequestMembers::of(input, schema)?;
        let (operation, body) = match operation(config) {
            Some(GET_RECORDS) => (GET_RECORDS, self.0.encode(&members.get_records()?)),
            Some(SUBSCRIBE_TO_SHARD) => (SUBSCRIBE_TO_SHARD, self.0.encode(&members.subscribe_to_shard()?)),
            other => return Err(SerdeError::custom(format!("{other:?} is no operation of this client"))),
        };
        let service =
            config.load::<ServiceShapeName>().map_or(rokini_wire::TARGET_PREFIX, ServiceShapeName::as_str);
        let length = body.len().to_string();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| SerdeError::custom(error.to_string()))?;
        request.set_uri("/").map_err(|error| SerdeError::custom(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert("Content-Type", self.0.content_type());
        headers.insert("Content-Length", length);
        headers.insert("X-Amz-Target", format!("{service}.{operation}"));
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a Response,
        _: &Schema<'_>,
        config: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let body = match operation(config) {
            // Whoever takes the body reads it; of an error it has been read for its code and message.
            Some(SUBSCRIBE_TO_SHARD) => Bytes::new(),
            _ => body(response)?,
        };
        Ok(Box::new(WholeBody(body)))
    }

    fn parse_error_metadata(
        &self,
        response: &Response,
        _: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        Ok(error_metadata(response.body().bytes().unwrap_or_default(), response.headers()))
    }

    fn update_endpoint(
        &self,
        request: &mut Request,
        endpoint: &Endpoint,
        config: &ConfigBag,
    ) -> Result<(), SerdeError> {
        apply_http_endpoint(request, endpoint, config)
    }
}

/// The body, which the SDK has read whole: another reference to it.
fn body(response: &Response) -> Result<Bytes, SerdeError> {
    let streaming = || SerdeError::custom("the body was not read whole");
    let mut body = response.body().try_clone().ok_or_else(streaming)?;
    match body.frame().now_or_never().ok_or_else(streaming)? {
        None => Ok(Bytes::new()),
        Some(frame) => frame.ok().and_then(|frame| frame.into_data().ok()).ok_or_else(streaming),
    }
}

/// Code and message of an error, in whichever encoding it came: servers answer JSON to those who ask in CBOR.
fn error_metadata(body: &[u8], headers: &Headers) -> ErrorMetadataBuilder {
    let codec = if matches!(body.first(), Some(0xa0..=0xbf)) { Codec::Cbor } else { Codec::Json };
    let mut metadata = ErrorMetadata::builder();
    let read: Option<ServiceError> = codec.decode(body).ok();
    let header = headers.get("x-amzn-errortype");
    let code = read.as_ref().map(|error| error.code.as_str()).or(header);
    // `com.amazonaws.kinesis#CodeException:http://...`
    let plain = code.and_then(|code| code.rsplit('#').next()).and_then(|code| code.split(':').next());
    if let Some(code) = plain.filter(|code| !code.is_empty()) {
        metadata = metadata.code(code);
    }
    match read {
        Some(error) if !error.message.is_empty() => metadata.message(error.message),
        _ => metadata,
    }
}
