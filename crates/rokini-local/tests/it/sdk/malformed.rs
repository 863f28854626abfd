//! Malformed, truncated, oversized and random bytes on every operation.

use bytes::Bytes;
use http_body_util::BodyExt;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rokini_local::LocalKinesis;
use rokini_local::wire::{Codec, ErrorCode, OPERATIONS, ServiceError};

use super::client::{Connection, connect, send};

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

/// The error, if it is one; then it is one of the documented shape.
async fn error(
    to: &mut Connection,
    operation: &str,
    codec: Codec,
    body: impl Into<Bytes>,
) -> Option<ServiceError> {
    let answer = send(to, operation, codec.content_type(), body).await;
    let status = answer.status();
    if status.is_success() {
        // A subscription would go on for long.
        return None;
    }
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    let error: Result<ServiceError, _> = codec.decode(&said);
    assert_eq!(status.as_u16(), 400, "{operation} {error:?}");
    let error = error.unwrap();
    assert!(!error.message.is_empty(), "{operation} {error:?}");
    Some(error)
}

const CODECS: [Codec; 2] = [Codec::Json, Codec::Cbor];

async fn serve() -> LocalKinesis {
    // What is counted as a call would hide what is wrong with it.
    LocalKinesis::builder().throughput_limits(false).stream("orders", 1).start().await.unwrap()
}

#[tokio::test]
async fn every_operation_answers_nonsense_with_an_error_of_the_documented_shape() {
    let local = serve().await;
    let mut client = connect(&local).await;
    let mut rng = SmallRng::seed_from_u64(7);
    assert_eq!(OPERATIONS.len(), 57);
    for &operation in OPERATIONS {
        for body in bodies(&mut rng) {
            for codec in CODECS {
                let refusal = error(&mut client, operation, codec, body.clone()).await;
                // Some ask for nothing, or for what an empty request names.
                let asks_nothing = [
                    "DescribeAccountSettings",
                    "DescribeLimits",
                    "ListChannels",
                    "ListQueues",
                    "ListStreams",
                ]
                .contains(&operation);
                assert!(refusal.is_some() || asks_nothing, "{operation} took {body:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_a_body_cut_short() {
    let local = serve().await;
    let mut client = connect(&local).await;
    let whole = CODECS.map(|codec| codec.encode(&everything()));
    for &operation in OPERATIONS {
        for (codec, whole) in CODECS.into_iter().zip(&whole) {
            for length in (1..whole.len()).step_by(37) {
                let body = Bytes::copy_from_slice(&whole[..length]);
                let refusal = error(&mut client, operation, codec, body).await.expect("an error");
                assert_eq!(refusal.code, ErrorCode::Serialization, "{operation} with {length} bytes");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_survives_bytes_that_were_changed() {
    let local = serve().await;
    let mut client = connect(&local).await;
    let mut rng = SmallRng::seed_from_u64(11);
    let whole = CODECS.map(|codec| codec.encode(&everything()));
    for &operation in OPERATIONS {
        for (codec, whole) in CODECS.into_iter().zip(&whole) {
            for _ in 0..30 {
                let mut body = whole.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..body.len());
                    body[at] = rng.random();
                }
                error(&mut client, operation, codec, body).await;
            }
        }
    }
    assert_eq!(error(&mut client, "ListStreams", Codec::Json, "{}").await, None);
}

#[tokio::test]
async fn every_operation_refuses_an_oversized_body() {
    let local = serve().await;
    let mut client = connect(&local).await;
    let body = Bytes::from(vec![b' '; 20 << 20]);
    for &operation in OPERATIONS {
        let refusal = error(&mut client, operation, Codec::Json, body.clone()).await.expect("an error");
        assert_eq!(refusal.code, ErrorCode::Serialization, "{operation}");
        assert!(refusal.message.contains("length limit exceeded"), "{operation}: {}", refusal.message);
    }
}
