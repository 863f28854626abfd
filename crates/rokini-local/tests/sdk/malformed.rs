//! Malformed, truncated, oversized and random bytes on every operation.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rokini_local::LocalKinesis;
use rokini_local::wire::{ServiceError, cbor, json};

const OPERATIONS: [&str; 33] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeLimits",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForResource",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
];

/// Bodies that are no good request of any operation.
fn bodies(rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        &b"{"[..],
        b"[]",
        b"null",
        b"{\"StreamName\":5}",
        b"{\"StreamName\":\"\\ud800\"}",
        b"{\"StreamARN\":\"arn:aws:kinesis:::stream/\",\"ResourceARN\":\":stream/\",\"ConsumerARN\":\"/consumer/\"}",
        b"\xff\xff\xff",
        b"\xbf\x6aStreamName",
        b"\x9f\x9f\x9f\x9f\x9f\x9f\x9f\x9f",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    ]
    .map(<[u8]>::to_vec)
    .into();
    for _ in 0..6 {
        let mut random = vec![0; rng.random_range(1..200)];
        rng.fill_bytes(&mut random);
        bodies.push(random);
    }
    bodies.push(b"[".repeat(5_000));
    bodies.push(b"\x81".repeat(5_000));
    bodies
}

#[tokio::test]
async fn every_operation_answers_nonsense_with_an_error_of_the_documented_shape() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut to, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut rng = SmallRng::seed_from_u64(7);
    for operation in OPERATIONS {
        for body in bodies(&mut rng) {
            for content_type in [json::CONTENT_TYPE, cbor::CONTENT_TYPE] {
                let request = http::Request::post("http://local/")
                    .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
                    .header("content-type", content_type)
                    .body(Full::new(Bytes::from(body.clone())));
                let answer = to.send_request(request.unwrap()).await.unwrap();
                let status = answer.status();
                let said = answer.into_body().collect().await.unwrap().to_bytes();
                if status.is_success() {
                    // Some ask for nothing, or for what an empty request names.
                    assert!(
                        ["DescribeLimits", "ListStreams"].contains(&operation),
                        "{operation} took {body:?}"
                    );
                    continue;
                }
                let error: Result<ServiceError, _> = if content_type == json::CONTENT_TYPE {
                    json::decode(&said)
                } else {
                    cbor::decode(&said)
                };
                assert_eq!(status.as_u16(), 400, "{operation} {error:?}");
                assert!(!error.unwrap().message.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut to, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://local/")
        .header("x-amz-target", "Kinesis_20131202.PutRecords")
        .header("content-type", cbor::CONTENT_TYPE)
        .body(Full::new(Bytes::from(vec![0; 20 << 20])));
    let answer = to.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
}
