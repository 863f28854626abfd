use std::io;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::{Client, config};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;
use crate::source::testing::{response, sdk_config};

#[derive(Debug, Clone, Copy)]
enum Canned {
    Answer(u16, &'static str),
    BreaksOff,
    HangsMidway,
    Refused,
    Silent,
}

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let canned = *self;
        HttpConnectorFuture::new(async move {
            match canned {
                Self::Answer(status, body) => Ok(response(status, body)),
                Self::BreaksOff => {
                    // Never yields a frame; the type only has to be some stream of frames.
                    let broken =
                        futures::stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
                    let frames = futures::TryStreamExt::map_ok(broken, |data: Bytes| Frame::data(data));
                    Ok(response(200, SdkBody::from_body_1_x(StreamBody::new(frames))))
                }
                Self::HangsMidway => {
                    let begun = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{"))]);
                    let rest = futures::stream::pending();
                    let frames = futures::StreamExt::chain(begun, rest);
                    let frames = futures::TryStreamExt::map_ok(frames, Frame::data);
                    Ok(response(200, SdkBody::from_body_1_x(StreamBody::new(frames))))
                }
                Self::Refused => Err(ConnectorError::io("connection refused".into())),
                Self::Silent => std::future::pending().await,
            }
        })
    }
}

fn client(canned: Canned) -> config::Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(10)).build();
    config::Builder::from(&sdk_config(canned)).retry_config(RetryConfig::disabled()).timeout_config(timeouts)
}

/// The error of GetRecords, or of DescribeStreamSummary where no shard is named.
async fn translated(config: config::Builder, shard: Option<&str>) -> Error {
    let stream = "orders".parse().unwrap();
    let shard = shard.map(|id| ShardId::new(id).unwrap());
    let mut call = ApiCall {
        action: "kinesis:GetRecords",
        stream: &stream,
        shard: shard.as_ref(),
        region: "eu-west-1",
        endpoint: Some("http://127.0.0.1:4567"),
    };
    let client = Client::from_conf(config.build());
    if shard.is_some() {
        let error = client.get_records().shard_iterator("i").send().await.unwrap_err();
        from_sdk(error, &call)
    } else {
        call.action = "kinesis:DescribeStreamSummary";
        let error = client.describe_stream_summary().stream_name("orders").send().await.unwrap_err();
        from_sdk(error, &call)
    }
}

const SHARD: &str = "shardId-000000000001";

#[tokio::test]
async fn answers_of_the_service() {
    use Canned::Answer;
    use ErrorKind::{Bug, Configuration, Data, Permission, Retry, Throttled};
    for (answer, shard, kind, expected) in [
        (
            Answer(
                400,
                r#"{"__type":"ResourceNotFoundException","message":"Stream orders under account 123456789012 not found."}"#,
            ),
            None,
            Configuration,
            "stream `orders` does not exist in region `eu-west-1`: check the name, the region and the account of the credentials, or create the stream",
        ),
        (
            Answer(
                400,
                r#"{"__type":"ResourceNotFoundException","message":"Shard shardId-000000000001 in stream orders under account 123456789012 does not exist"}"#,
            ),
            Some(SHARD),
            Data,
            "shard `shardId-000000000001` of stream `orders` in region `eu-west-1` is gone: its records are past the retention, or the stream was deleted",
        ),
        (
            Answer(
                400,
                r#"{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::123456789012:user/u is not authorized to perform: kinesis:GetRecords on resource: arn:aws:kinesis:eu-west-1:123456789012:stream/orders"}"#,
            ),
            Some(SHARD),
            Permission,
            "kinesis:GetRecords on shard `shardId-000000000001` of stream `orders` in region `eu-west-1` is not allowed: allow the action in the IAM policy of these credentials",
        ),
        (
            Answer(
                400,
                r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
            ),
            None,
            Permission,
            "the credentials were refused for kinesis:DescribeStreamSummary on stream `orders` in region `eu-west-1` (UnrecognizedClientException): renew them, and check the clock of this host",
        ),
        (
            Answer(
                400,
                r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
            ),
            None,
            Permission,
            "(ExpiredTokenException): renew them",
        ),
        (
            Answer(
                400,
                r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired: 20231114T221320Z is now earlier than 20231114T222000Z"}"#,
            ),
            Some(SHARD),
            Permission,
            "(InvalidSignatureException): renew them, and check the clock of this host",
        ),
        (
            Answer(
                400,
                r#"{"__type":"ProvisionedThroughputExceededException","message":"Rate exceeded for shard shardId-000000000001 in stream orders under account 123456789012."}"#,
            ),
            Some(SHARD),
            Throttled,
            "is throttled (ProvisionedThroughputExceededException): it is tried again more slowly",
        ),
        (
            Answer(
                400,
                r#"{"__type":"LimitExceededException","message":"Rate exceeded for stream orders under account 123456789012."}"#,
            ),
            None,
            Throttled,
            "is throttled (LimitExceededException)",
        ),
        (
            Answer(400, r#"{"__type":"KMSThrottlingException","message":"Rate exceeded"}"#),
            Some(SHARD),
            Throttled,
            "(KMSThrottlingException)",
        ),
        (
            Answer(
                400,
                r#"{"__type":"KMSAccessDeniedException","message":"The ciphertext refers to a customer master key that does not exist"}"#,
            ),
            Some(SHARD),
            Permission,
            "cannot be decrypted for kinesis:GetRecords on shard `shardId-000000000001` of stream `orders` in region `eu-west-1` (KMSAccessDeniedException): enable the stream's KMS key and allow `kms:Decrypt` on it to these credentials",
        ),
        (
            Answer(400, r#"{"__type":"KMSDisabledException","message":"is disabled."}"#),
            Some(SHARD),
            Permission,
            "(KMSDisabledException)",
        ),
        (
            Answer(400, r#"{"__type":"KMSInvalidStateException","message":"is pending deletion."}"#),
            Some(SHARD),
            Permission,
            "(KMSInvalidStateException)",
        ),
        (
            Answer(400, r#"{"__type":"KMSNotFoundException","message":"not found"}"#),
            Some(SHARD),
            Permission,
            "(KMSNotFoundException)",
        ),
        (
            Answer(400, r#"{"__type":"KMSOptInRequired","message":"x"}"#),
            Some(SHARD),
            Permission,
            "(KMSOptInRequired)",
        ),
        (
            Answer(
                400,
                r#"{"__type":"ResourceInUseException","message":"Stream orders under account 123456789012 is CREATING."}"#,
            ),
            None,
            Retry,
            "is being changed",
        ),
        (
            Answer(500, r#"{"__type":"InternalFailure","message":"Internal service failure"}"#),
            Some(SHARD),
            Retry,
            "failed inside the service: it is tried again",
        ),
        (Answer(503, "<html><body>503 Service Unavailable</body></html>"), Some(SHARD), Retry, "(HTTP 503)"),
        (
            Answer(400, r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#),
            None,
            Configuration,
            "http://127.0.0.1:4567 does not know kinesis:DescribeStreamSummary: check that `AWS_ENDPOINT_URL_KINESIS` or `AWS_ENDPOINT_URL` names a Kinesis endpoint",
        ),
        (Answer(429, ""), None, Throttled, "is throttled (HTTP 429): it is tried again more slowly"),
        (
            Answer(404, "404 page not found"),
            None,
            Configuration,
            "with HTTP 404 and no error of the API: check that `AWS_ENDPOINT_URL_KINESIS`",
        ),
        (
            Answer(200, "no JSON"),
            Some(SHARD),
            Retry,
            "the answer to kinesis:GetRecords on shard `shardId-000000000001` of stream `orders` in region `eu-west-1` from http://127.0.0.1:4567 cannot be read",
        ),
        (
            Answer(200, r#"{"Records":[{"Data":"%%%","SequenceNumber":"1"}]}"#),
            Some(SHARD),
            Retry,
            "cannot be read",
        ),
        (
            Answer(400, r#"{"__type":"ValidationException","message":"1 validation error detected"}"#),
            Some(SHARD),
            Bug,
            "was refused (ValidationException), which should not happen",
        ),
    ] {
        let error = translated(client(answer), shard).await;
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
        // What the service said is not lost.
        assert!(error.source().is_some(), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p7_no_answer_or_half_of_one() {
    for (canned, expected) in [
        (Canned::Silent, "no answer in time from http://127.0.0.1:4567 to kinesis:GetRecords"),
        (Canned::HangsMidway, "no answer in time from http://127.0.0.1:4567 to kinesis:GetRecords"),
        (Canned::Refused, "http://127.0.0.1:4567 cannot be reached for kinesis:GetRecords"),
        (Canned::BreaksOff, "the answer of http://127.0.0.1:4567 to kinesis:GetRecords"),
    ] {
        let error = translated(client(canned), Some(SHARD)).await;
        assert_eq!(error.kind(), ErrorKind::Retry, "{canned:?}: {error}");
        assert!(error.to_string().contains(expected), "{canned:?}: {error}");
    }
}

#[derive(Debug)]
struct Without(fn() -> CredentialsError);

impl ProvideCredentials for Without {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had() {
    let cases: [(fn() -> CredentialsError, _, _); 3] = [
        (
            || CredentialsError::not_loaded("none"),
            ErrorKind::Permission,
            "there are no credentials for kinesis:DescribeStreamSummary on stream `orders` in region `eu-west-1`: \
             set `AWS_ACCESS_KEY_ID`",
        ),
        (|| CredentialsError::provider_error("STS says 503"), ErrorKind::Retry, "could not be fetched"),
        (
            || CredentialsError::invalid_configuration("loop"),
            ErrorKind::Configuration,
            "check the AWS profile",
        ),
    ];
    for (error, kind, expected) in cases {
        let config =
            client(Canned::Silent).credentials_provider(SharedCredentialsProvider::new(Without(error)));
        let error = translated(config, None).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
