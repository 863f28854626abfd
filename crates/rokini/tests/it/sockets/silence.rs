//! Reads of one shard that get no answer, or half of one.

use std::time::Duration;

use rokini::lease::{MemoryStore, Position};
use rokini::{ErrorKind, Event, EventKind, StreamSource};
use rokini_local::{Fault, FaultRule, LocalKinesis};
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use super::local::{consumer, in_time, kinesis, put, shard, source};
use crate::harness::{BuildLogging, Log, Running};

/// Where nothing comes any more: before the headers, after them, and midway in the body of an answer with a record.
const SILENCES: [Fault; 3] =
    [Fault::HangBefore, Fault::HangAfter { bytes: 0 }, Fault::HangAfter { bytes: 40 }];
/// Of the upper of two shards.
const UPPER: u128 = 1 << 127;

fn put_to(kinesis: &LocalKinesis, number: u32, text: &str) {
    let hash = if number == 0 { 0 } else { UPPER };
    assert_eq!(put(kinesis, text, hash, text), shard(number));
}

/// Waits for a replaced reader of the shard.
async fn restarted(events: &mut Receiver<Event>, number: u32) {
    loop {
        match events.recv().await.unwrap() {
            Event { shard: Some(id), kind: EventKind::ShardRestarted { .. }, .. } => {
                assert_eq!(id, shard(number));
                return;
            }
            Event { kind: EventKind::ShardGivenBack { .. }, .. }
            | Event { kind: EventKind::LeaseLost { .. }, .. } => panic!("there is nobody else"),
            _ => {}
        }
    }
}

async fn is_replaced(fault: Fault) {
    let (kinesis, log) = (kinesis(2).await, Log::default());
    let building = consumer(&kinesis, MemoryStore::new(), "w").await.stall_timeout(Duration::from_secs(1));
    let running = building.build_logging(&log).await;
    put_to(&kinesis, 0, "a0");
    put_to(&kinesis, 1, "a1");
    in_time("both shards", log.until_count(2)).await;
    let mut events = running.handle.events();
    let epochs = |running: &Running| {
        running
            .handle
            .status()
            .shards
            .iter()
            .map(|shard| (shard.shard.clone(), shard.epoch))
            .collect::<Vec<_>>()
    };
    let before = epochs(&running);

    let rule = kinesis.faults().add(FaultRule::on("GetRecords", fault.clone()).shard(shard(0).as_str()));
    put_to(&kinesis, 0, "b0");
    put_to(&kinesis, 1, "b1");
    in_time("the other shard", log.until(|seen| seen.iter().any(|seen| seen.text == "b1"))).await;
    in_time("another reader", restarted(&mut events, 0)).await;
    put_to(&kinesis, 1, "c1");
    in_time("the other shard", log.until(|seen| seen.iter().any(|seen| seen.text == "c1"))).await;
    assert!(!log.texts().contains(&"b0".to_owned()), "{fault:?} applied to nothing");

    assert!(kinesis.faults().remove(rule));
    put_to(&kinesis, 0, "c0");
    put_to(&kinesis, 1, "d1");
    let begun = Instant::now();
    in_time("the shard again", log.until_count(7)).await;
    // The watchdog ends the last call that hangs: its own time limit is 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{fault:?}: {:?}", begun.elapsed());
    for (number, expected) in [(0, &["a0", "b0", "c0"][..]), (1, &["a1", "b1", "c1", "d1"])] {
        let seen = log.seen();
        let of: Vec<_> =
            seen.iter().filter(|seen| seen.shard == shard(number)).map(|seen| &seen.text).collect();
        assert_eq!(of, expected, "{fault:?}: in order and once");
    }
    assert_eq!(epochs(&running), before, "{fault:?}: the same holds");
    while let Ok(event) = events.try_recv() {
        let of_other = matches!(&event, Event { shard: Some(id), kind: EventKind::ShardRestarted { .. }, .. } if *id != shard(0));
        assert!(
            !of_other && !matches!(event, Event { kind: EventKind::LeaseLost { .. }, .. }),
            "{fault:?}: {event:?}"
        );
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_a_black_hole_in_one_shard_costs_a_reader_and_the_others_do_not_notice() {
    let cases: Vec<_> = SILENCES.into_iter().map(|fault| tokio::spawn(is_replaced(fault))).collect();
    for case in cases {
        case.await.unwrap();
    }
}

async fn ends(fault: Fault) {
    let kinesis = kinesis(1).await;
    let mut reader = source(&kinesis).await.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    put(&kinesis, "a", 0, "a");
    kinesis.faults().add(FaultRule::on("GetRecords", fault.clone()).times(1));
    let begun = Instant::now();
    let error = in_time("an end of the call", reader.next()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{fault:?}: {error}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(12), "{fault:?}: {took:?}");
    let fetched = in_time("the next call", reader.next()).await.unwrap();
    assert_eq!(fetched.records.len(), 1, "{fault:?}");
    assert_eq!(kinesis.faults().list()[0].hits, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_read_that_stops_after_the_headers_or_midway_ends_within_ten_seconds() {
    let cases: Vec<_> = SILENCES.into_iter().map(|fault| tokio::spawn(ends(fault))).collect();
    for case in cases {
        case.await.unwrap();
    }
}
