//! Clients as the tests want them: those of the SDK without retries and with any credentials, and HTTP/2 by hand.

use aws_credential_types::Credentials;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_http_client::Builder as HttpClient;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rokini_local::{LocalDynamo, LocalKinesis};

/// An HTTP/2 connection with prior knowledge.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

pub(crate) async fn connect(local: &LocalKinesis) -> Connection {
    let socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// One request of an operation, with any body.
pub(crate) async fn send(
    to: &mut Connection,
    operation: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> http::Response<Incoming> {
    let request = http::Request::post("http://localhost/")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .header("content-type", content_type)
        .body(Full::new(body.into()));
    to.send_request(request.unwrap()).await.unwrap()
}

pub(crate) fn kinesis(local: &LocalKinesis) -> aws_sdk_kinesis::Client {
    kinesis_at(&local.endpoint_url())
}

pub(crate) fn kinesis_at(url: &str) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .retry_config(RetryConfig::disabled())
        .http_client(HttpClient::new().build_http())
        .build();
    aws_sdk_kinesis::Client::from_conf(config)
}

pub(crate) fn dynamo(local: &LocalDynamo) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(local.endpoint_url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .http_client(HttpClient::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// An iterator at the oldest record of a shard of `orders`.
pub(crate) async fn iterator(client: &aws_sdk_kinesis::Client, shard: &str) -> String {
    let request = client.get_shard_iterator().stream_name("orders").shard_id(shard);
    let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    answer.shard_iterator.unwrap()
}
