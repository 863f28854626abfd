//! Malformed, truncated, oversized and random bytes on every operation.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rokini_local::LocalKinesis;
use rokini_local::wire::{ErrorCode, ServiceError, cbor, json};

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

/// A body with every member that any operation takes.
fn everything() -> serde_json::Value {
    serde_json::json!({
        "StreamName": "orders", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
        "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders", "ShardCount": 2, "Limit": 5,
        "ResourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders", "MaxResults": 5,
        "ConsumerARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/c:1", "ConsumerName": "c",
        "ShardIterator": "AAAA", "PartitionKey": "k", "ExplicitHashKey": "5", "NextToken": "AAAA",
        "Tags": {"a": "b"}, "TagKeys": ["a"], "RetentionPeriodHours": 48, "ShardLevelMetrics": ["ALL"],
        "ShardToMerge": "shardId-000000000000", "AdjacentShardToMerge": "shardId-000000000001",
        "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "7", "EncryptionType": "KMS", "KeyId": "key",
        "StartingPosition": {"Type": "LATEST"}, "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"}, "MaxRecordSizeInKiB": 2048,
        "ShardFilter": {"Type": "AT_LATEST"}, "EnforceConsumerDeletion": true, "ExclusiveStartTagKey": "a",
    })
}

struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn of(local: &LocalKinesis) -> Self {
        let socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (to, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self(to)
    }

    /// The error, if it is one; then it is one of the documented shape.
    async fn send(&mut self, operation: &str, content_type: &str, body: Bytes) -> Option<ServiceError> {
        let request = http::Request::post("http://local/")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("content-type", content_type)
            .body(Full::new(body));
        let answer = self.0.send_request(request.unwrap()).await.unwrap();
        let status = answer.status();
        if status.is_success() {
            // A subscription would go on for long.
            return None;
        }
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        let error: Result<ServiceError, _> =
            if content_type == json::CONTENT_TYPE { json::decode(&said) } else { cbor::decode(&said) };
        assert_eq!(status.as_u16(), 400, "{operation} {error:?}");
        let error = error.unwrap();
        assert!(!error.message.is_empty(), "{operation} {error:?}");
        Some(error)
    }
}

const CODECS: [&str; 2] = [json::CONTENT_TYPE, cbor::CONTENT_TYPE];

async fn serve() -> LocalKinesis {
    // What is counted as a call would hide what is wrong with it.
    LocalKinesis::builder().throughput_limits(false).stream("orders", 1).start().await.unwrap()
}

#[tokio::test]
async fn every_operation_answers_nonsense_with_an_error_of_the_documented_shape() {
    let local = serve().await;
    let mut client = Client::of(&local).await;
    let mut rng = SmallRng::seed_from_u64(7);
    for operation in OPERATIONS {
        for body in bodies(&mut rng) {
            for codec in CODECS {
                let error = client.send(operation, codec, body.clone().into()).await;
                // Some ask for nothing, or for what an empty request names.
                let asks_nothing = ["DescribeLimits", "ListStreams"].contains(&operation);
                assert!(error.is_some() || asks_nothing, "{operation} took {body:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_a_body_cut_short() {
    let local = serve().await;
    let mut client = Client::of(&local).await;
    let whole = [json::encode(&everything()), cbor::encode(&everything())];
    for operation in OPERATIONS {
        for (codec, whole) in CODECS.into_iter().zip(&whole) {
            for length in (1..whole.len()).step_by(37) {
                let body = Bytes::copy_from_slice(&whole[..length]);
                let error = client.send(operation, codec, body).await.expect("an error");
                assert_eq!(error.code, ErrorCode::Serialization, "{operation} with {length} bytes");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_survives_bytes_that_were_changed() {
    let local = serve().await;
    let mut client = Client::of(&local).await;
    let mut rng = SmallRng::seed_from_u64(11);
    let whole = [json::encode(&everything()), cbor::encode(&everything())];
    for operation in OPERATIONS {
        for (codec, whole) in CODECS.into_iter().zip(&whole) {
            for _ in 0..30 {
                let mut body = whole.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..body.len());
                    body[at] = rng.random();
                }
                client.send(operation, codec, body.into()).await;
            }
        }
    }
    assert_eq!(client.send("ListStreams", json::CONTENT_TYPE, Bytes::from_static(b"{}")).await, None);
}

#[tokio::test]
async fn every_operation_refuses_an_oversized_body() {
    let local = serve().await;
    let mut client = Client::of(&local).await;
    let body = Bytes::from(vec![b' '; 20 << 20]);
    for operation in OPERATIONS {
        let error = client.send(operation, json::CONTENT_TYPE, body.clone()).await.expect("an error");
        assert_eq!(error.code, ErrorCode::Serialization, "{operation}");
        assert!(error.message.contains("length limit exceeded"), "{operation}: {}", error.message);
    }
}
