//! `application/x-amz-cbor-1.1` over HTTP/2 with prior knowledge, by hand: the SDK for Rust speaks JSON.

use bytes::Bytes;
use http_body_util::BodyExt;
use rokini_local::LocalKinesis;
use rokini_local::wire::events::Frame;
use rokini_local::wire::shapes::consumer::*;
use rokini_local::wire::shapes::record::*;
use rokini_local::wire::{ErrorCode, Operation, ServiceError, ShardIteratorType, Timestamp, cbor};

use super::client::{Connection, connect, send};

pub(crate) async fn ask<R: Operation>(to: &mut Connection, request: &R) -> Result<R::Response, ServiceError> {
    let answer = send(to, R::NAME, cbor::CONTENT_TYPE, cbor::encode(request)).await;
    assert_eq!(answer.headers()["content-type"], cbor::CONTENT_TYPE);
    assert!(answer.headers().contains_key("x-amzn-requestid"));
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    if status.is_success() { Ok(cbor::decode(&body).unwrap()) } else { Err(cbor::decode(&body).unwrap()) }
}

fn iterator_request(kind: ShardIteratorType, timestamp: Option<Timestamp>) -> GetShardIteratorRequest {
    let mut request = GetShardIteratorRequest::new("shardId-000000000000", kind).stream_name("orders");
    request.timestamp = timestamp;
    request
}

#[tokio::test]
async fn records_go_in_and_out_as_bytes_and_times_as_milliseconds() {
    let start = Timestamp::from_millis(1_700_000_000_123);
    let local = LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap();
    let mut to = connect(&local).await;
    // As clients in Java write it: lengths not told in advance.
    let body = b"\xbf\x6aStreamName\x66orders\x64Data\x44\x00\xff\x00\xff\x6cPartitionKey\x61k\xff";
    assert!(send(&mut to, "PutRecord", cbor::CONTENT_TYPE, body.to_vec()).await.status().is_success());

    for request in [
        iterator_request(ShardIteratorType::TrimHorizon, None),
        iterator_request(ShardIteratorType::AtTimestamp, Some(start)),
    ] {
        let shard_iterator = ask(&mut to, &request).await.unwrap().shard_iterator.unwrap();
        let request = GetRecordsRequest::new(shard_iterator);
        let answer = ask(&mut to, &request).await.unwrap();
        assert_eq!(&answer.records[0].data[..], b"\x00\xff\x00\xff");
        assert_eq!(answer.records[0].approximate_arrival_timestamp, Some(start));
    }
    let request = GetRecordsRequest::new("garbage");
    assert_eq!(ask(&mut to, &request).await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn malformed_bodies_are_answered_in_kind() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let mut to = connect(&local).await;
    for (name, body, expected) in [
        ("PutRecord", &b"\xff"[..], ErrorCode::Serialization),
        ("PutRecord", b"\xa0", ErrorCode::Validation),
        ("PutRecord", b"\xa1\x64Data\x63abc", ErrorCode::Serialization),
        ("Nothing", b"\xa0", ErrorCode::UnknownOperation),
        ("ListStreams", b"", ErrorCode::Validation),
    ] {
        let answer = send(&mut to, name, cbor::CONTENT_TYPE, body.to_vec()).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        if name == "ListStreams" {
            assert!(status.is_success(), "an empty body is a request without members");
            continue;
        }
        let error: ServiceError = cbor::decode(&body).unwrap();
        assert_eq!((status.as_u16(), error.code), (400, expected), "{name}");
    }
}

#[tokio::test]
async fn events_are_pushed_in_cbor_too() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let mut to = connect(&local).await;
    let stream_arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders".to_owned();
    let register = RegisterStreamConsumerRequest::new(stream_arn, "c");
    let consumer_arn = ask(&mut to, &register).await.unwrap().consumer.consumer_arn;
    let put = PutRecordRequest::new(Bytes::from_static(b"\x00\x01")).partition_key("k").stream_name("orders");
    ask(&mut to, &put).await.unwrap();
    let kind = ShardIteratorType::TrimHorizon;
    let starting_position = StartingPosition::new(kind);
    let shard_id = "shardId-000000000000".to_owned();
    let subscribe = SubscribeToShardRequest::new(consumer_arn, shard_id, starting_position);
    let answer = send(&mut to, "SubscribeToShard", cbor::CONTENT_TYPE, cbor::encode(&subscribe)).await;
    assert_eq!(answer.headers()["content-type"], "application/vnd.amazon.eventstream");
    let mut body = answer.into_body();
    let mut buffer = bytes::BytesMut::new();
    let mut frames = Vec::new();
    while frames.len() < 2 {
        buffer.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        let mut whole = buffer.split().freeze();
        while let Some(frame) = Frame::read(&mut whole).unwrap() {
            frames.push(frame);
        }
        buffer.extend_from_slice(&whole);
    }
    assert_eq!(frames[0].header(":event-type"), Some("initial-response"));
    assert_eq!(frames[1].header(":event-type"), Some("SubscribeToShardEvent"));
    assert_eq!(frames[1].header(":content-type"), Some(cbor::CONTENT_TYPE));
    let event: SubscribeToShardEvent = cbor::decode(&frames[1].payload).unwrap();
    assert_eq!(&event.records[0].data[..], b"\x00\x01");
}
