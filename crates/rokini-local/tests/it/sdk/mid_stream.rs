//! Subscriptions that break in mid-stream, byte by byte.

use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rokini_local::wire::shapes::consumer::*;
use rokini_local::wire::{ShardIteratorType, Timestamp, cbor};
use rokini_local::{Fault, FaultRule, LocalKinesis};

use super::cbor::ask;
use super::client::{connect, send};

/// A subscription that has one record to push.
async fn subscribed(rule: Option<FaultRule>) -> (LocalKinesis, Incoming) {
    let start = Timestamp::from_secs(1_700_000_000);
    let local = LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap();
    let mut to = connect(&local).await;
    let stream_arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders".to_owned();
    let register = RegisterStreamConsumerRequest::new(stream_arn, "c");
    let consumer_arn = ask(&mut to, &register).await.unwrap().consumer.consumer_arn;
    local.put("orders", "k", "x").unwrap();
    if let Some(rule) = rule {
        local.faults().add(rule);
    }
    let kind = ShardIteratorType::TrimHorizon;
    let starting_position = StartingPosition::new(kind);
    let shard_id = "shardId-000000000000".to_owned();
    let subscribe = SubscribeToShardRequest::new(consumer_arn, shard_id, starting_position);
    let answer = send(&mut to, "SubscribeToShard", cbor::CONTENT_TYPE, cbor::encode(&subscribe)).await;
    assert!(answer.status().is_success());
    (local, answer.into_body())
}

/// The next bytes; an error when the stream broke, `None` when it ended well.
async fn piece(body: &mut Incoming) -> Option<Result<Vec<u8>, hyper::Error>> {
    Some(body.frame().await?.map(|frame| frame.into_data().unwrap().to_vec()))
}

#[tokio::test]
async fn a_subscription_breaks_after_so_many_bytes() {
    // The first frame, which says that the subscription is there, and the event.
    let (_local, mut body) = subscribed(None).await;
    let first = piece(&mut body).await.unwrap().unwrap();
    let event = piece(&mut body).await.unwrap().unwrap();
    let (begun, whole) = (first.len(), [first, event].concat());

    let (call, event) = ("SubscribeToShard", "SubscribeToShardEvent");
    let cases = [
        (call, Fault::HangAfter { bytes: 0 }, 0),
        (call, Fault::HangAfter { bytes: begun }, begun),
        (call, Fault::HangAfter { bytes: begun + 7 }, begun + 7),
        (call, Fault::CutAfter { bytes: 0 }, 0),
        (call, Fault::CutAfter { bytes: begun - 1 }, begun - 1),
        (call, Fault::CutAfter { bytes: begun + 7 }, begun + 7),
        (event, Fault::HangBefore, begun),
        (event, Fault::HangAfter { bytes: 0 }, begun),
        (event, Fault::HangAfter { bytes: 20 }, begun + 20),
        (event, Fault::CutAfter { bytes: 0 }, begun),
        (event, Fault::CutAfter { bytes: 20 }, begun + 20),
        (event, Fault::CutAfter { bytes: 1 << 20 }, whole.len()),
        (event, Fault::DropBefore, begun),
        (event, Fault::DropAfter, begun),
    ];
    for (operation, fault, bytes) in cases {
        let (local, mut body) = subscribed(Some(FaultRule::on(operation, fault.clone()))).await;
        let mut got = Vec::new();
        while got.len() < bytes {
            got.extend(piece(&mut body).await.expect("more bytes").expect("no break yet"));
        }
        // What hangs gives nothing until the server stops.
        if matches!(fault, Fault::HangBefore | Fault::HangAfter { .. }) {
            local.put("orders", "k", "more").unwrap();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let more = piece(&mut body).now_or_never();
            assert!(more.is_none(), "{operation} {fault:?}: {more:?}");
            local.shutdown().await;
        }
        let last = piece(&mut body).await;
        assert!(matches!(last, Some(Err(_))), "{operation} {fault:?}: {last:?}");
        assert_eq!(got, whole[..bytes], "{operation} {fault:?}");
    }
}
