//! Answers that are not what they should be, and the encodings they come in.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::tests::{bounded, data, next_data, open};
use super::*;
use crate::config::ConfigKey;
use crate::source::stream_source::StreamSource;
use crate::source::testing::{Bench, EPOCH_MILLIS, Instead, shard};

fn instead(bench: &Bench, body: impl Into<String>) {
    bench.instead("GetRecords", Instead::Http(200, body.into()));
}

fn record(number: impl fmt::Display, text: &str) -> String {
    let data = aws_smithy_types::base64::encode(text);
    format!(
        r#"{{"SequenceNumber":"{number}","Data":"{data}","PartitionKey":"k","ApproximateArrivalTimestamp":1700000000.5}}"#
    )
}

/// What says that nothing follows.
const ENDS: [&str; 5] = [
    r#"{"Records":[],"MillisBehindLatest":0}"#,
    r#"{"Records":[],"NextShardIterator":null,"MillisBehindLatest":0}"#,
    r#"{"Records":[],"NextShardIterator":""}"#,
    r#"{"Records":[],"NextShardIterator":null,"ChildShards":[]}"#,
    r#"{"Records":[],"ChildShards":[{"ShardId":"x","ParentShards":["other"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#,
];

#[tokio::test(start_paused = true)]
async fn a5_no_answer_ends_an_open_shard() {
    for end in ENDS {
        for times in [1, 2, 3, 7] {
            let bench = Bench::new(1);
            let mut reader = open(&bench, Position::TrimHorizon).await;
            bench.put(0, "a");
            assert_eq!(next_data(&mut *reader).await, ["a"]);
            let mut refuted = 0;
            for _ in 0..times {
                instead(&bench, end);
                let fetched = bounded(reader.next()).await.unwrap();
                assert_eq!((fetched.end, fetched.records.len()), (None, 0), "{end}");
                refuted += usize::from(fetched.notice == Some(SourceEvent::EndRefuted));
            }
            assert_eq!(refuted, times / 2, "{end}, {times} times");
            bench.put(0, "b");
            let started = Instant::now();
            assert_eq!(next_data(&mut *reader).await, ["b"], "{end}, {times} times");
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a5_answers_that_are_none_end_nothing() {
    for body in
        ["", "{}", r#"{"Records":null}"#, r#"{"NextShardIterator":"x"}"#, "<html>", "<Error/>", "[]", "null"]
    {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        instead(&bench, body);
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{body}");
        assert!(
            error.to_string().contains("GetRecords") && error.to_string().contains("cannot be read"),
            "{error}"
        );
        assert_eq!(next_data(&mut *reader).await, ["a"], "{body}");
    }
}

/// A server that tells no children, or an answer that lost them.
#[tokio::test(start_paused = true)]
async fn a5_an_end_without_children_is_one_when_it_is_read_twice_and_listed() {
    let bench = Bench::new(1);
    bench.put(0, "a");
    bench.split("shardId-000000000000", "5");
    let mut reader = open(&bench, Position::TrimHorizon).await;
    // A record is left behind the first of these.
    instead(&bench, ENDS[0]);
    assert_eq!(bounded(reader.next()).await.unwrap().end, None);
    let fetched = bounded(reader.next()).await.unwrap();
    assert_eq!(data(&fetched), ["a"]);
    let children =
        |end: Option<ShardEnd>| end.map(|end| end.children.into_iter().map(|c| c.id).collect::<Vec<_>>());
    let both = Some(vec![shard(1), shard(2)]);
    if fetched.end.is_none() {
        assert_eq!(children(bounded(reader.next()).await.unwrap().end), both);
    } else {
        assert_eq!(children(fetched.end), both);
    }

    let mut reader = open(&bench, Position::after(u128::MAX.into())).await;
    bench.instead("GetShardIterator", Instead::Http(200, r#"{"ShardIterator":"x"}"#.to_owned()));
    bench.instead("GetShardIterator", Instead::Http(200, r#"{"ShardIterator":"x"}"#.to_owned()));
    instead(&bench, ENDS[1]);
    instead(&bench, ENDS[1]);
    assert_eq!(bounded(reader.next()).await.unwrap().end, None);
    assert_eq!(children(bounded(reader.next()).await.unwrap().end), both);
}

#[tokio::test(start_paused = true)]
async fn a5_an_end_that_cannot_be_confirmed_waits() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    for _ in 0..4 {
        instead(&bench, ENDS[0]);
    }
    bounded(reader.next()).await.unwrap();
    for _ in 0..3 {
        for _ in 0..3 {
            bench.instead("ListShards", Instead::refusal(500, "InternalFailure"));
        }
        assert_eq!(bounded(reader.next()).await.unwrap_err().kind(), ErrorKind::Retry);
    }
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_returned_does_not_come_again_whoever_repeats_it() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    let (a, again) = (bench.put(0, "a").sequence_number, bench.iterator("TRIM_HORIZON"));
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    instead(
        &bench,
        format!(r#"{{"Records":[{}],"NextShardIterator":"{again}","MillisBehindLatest":0}}"#, record(a, "a")),
    );
    assert_eq!(bounded(reader.next()).await.unwrap().records, []);
    bench.put(0, "b");
    assert_eq!(next_data(&mut *reader).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn records_out_of_order_or_twice_are_asked_for_again() {
    for order in [[1, 0], [0, 0], [1, 1]] {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        let records = ["a", "b"].map(|text| record(bench.put(0, text).sequence_number, text));
        let [first, second] = order.map(|at: usize| &records[at]);
        let next = bench.iterator("LATEST");
        instead(&bench, format!(r#"{{"Records":[{first},{second}],"NextShardIterator":"{next}"}}"#));
        assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Retry);
        assert_eq!(next_data(&mut *reader).await, ["a", "b"], "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn iterators_that_are_none_are_asked_for_again() {
    for body in ["{}", r#"{"ShardIterator":null}"#, r#"{"ShardIterator":""}"#, "<html></html>", ""] {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        bench.instead("GetShardIterator", Instead::Http(200, body.to_owned()));
        assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Retry, "{body}");
        assert_eq!(next_data(&mut *reader).await, ["a"], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn e1_a_record_without_a_partition_key_is_read() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    let keyless = record(7, "a").replace(r#""PartitionKey":"k","#, "");
    let next = bench.iterator("LATEST");
    instead(&bench, format!(r#"{{"Records":[{keyless}],"NextShardIterator":"{next}"}}"#));
    let fetched = reader.next().await.unwrap();
    assert_eq!((data(&fetched), fetched.records[0].partition_key()), (vec!["a".to_owned()], None));
}

/// When an upgrade of the SDK takes the hook away, or its schema changes, this says so.
#[tokio::test(start_paused = true)]
async fn p11_records_are_asked_for_in_cbor_through_the_sdk() {
    for (wire, expected) in [("auto", Codec::Cbor), ("cbor", Codec::Cbor), ("json", Codec::Json)] {
        let bench = Bench::new(1);
        let source = bench.source_with(&[(ConfigKey::Wire, wire), (ConfigKey::MaxRecords, "7")]);
        let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
        let mut arrivals = Vec::new();
        for offset in [0, 1, 2, 7, 123, 866] {
            advance(Duration::from_millis(offset)).await;
            arrivals.push(EPOCH_MILLIS + bench.service.now().millis() as u64 % EPOCH_MILLIS);
            bench.put(0, offset.to_string());
            let fetched = bounded(reader.next()).await.unwrap();
            assert_eq!(fetched.records[0].arrival_millis, *arrivals.last().unwrap(), "{wire}");
            assert_eq!(data(&fetched), [offset.to_string()]);
            assert_eq!(fetched.records[0].partition_key(), Some("key"));
        }
        assert!(bench.codecs("GetRecords").iter().all(|codec| *codec == expected), "{wire}");
        let asked = bench.bodies().into_iter().filter(|body| body.contains("Limit")).collect::<Vec<_>>();
        assert!(asked.len() >= 6 && asked.iter().all(|body| body.contains(r#""Limit":7"#)), "{asked:?}");
        // Errors are the modelled ones, in either encoding.
        sleep(Duration::from_secs(301)).await;
        bench.put(0, "after");
        assert_eq!(next_data(&mut *reader).await, ["after"]);
        assert_eq!(bench.calls("GetShardIterator").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_cbor_is_asked_in_json_after_one_try() {
    let bench = Bench::new(1).json_only(true);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    reader.next().await.unwrap_err();
    let fetched = bounded(reader.next()).await.unwrap();
    let told = Some(SourceEvent::AskedInJson { reason: "HTTP 415".to_owned() });
    assert_eq!((data(&fetched), fetched.notice), (vec!["a".to_owned()], told));
    for _ in 0..20 {
        assert_eq!(bounded(reader.next()).await.unwrap().notice, None);
    }
    let codecs = bench.codecs("GetRecords");
    assert_eq!(codecs.iter().filter(|codec| **codec == Codec::Cbor).count(), 1, "{codecs:?}");

    // The setting is kept to.
    let bench = bench.json_only(true);
    let source = bench.source_with(&[(ConfigKey::Wire, "cbor")]);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    for _ in 0..3 {
        reader.next().await.unwrap_err();
    }
    // Later it is another server.
    let bench = bench.json_only(false);
    bench.put(0, "b");
    bounded(async { while reader.next().await.is_err() {} }).await;
}
