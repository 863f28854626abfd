//! A consumer as a stream of records.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use rokini::lease::{FaultyStore, MemoryStore, Operator, Position, Scope, SequenceNumber};
use rokini::{
    ConfigKey, ConsumerBuilder, ConsumerPhase, Deliveries, ErrorKind, Event, EventKind, OnFailure, Record,
    ShardState,
};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Log, Running, after, builder, clock_off_by, group, leases, position, until_leases};
use crate::stream::{Op, Stream, shard_id};

fn text(record: &Record) -> String {
    String::from_utf8(record.data().to_vec()).unwrap()
}

async fn start(builder: ConsumerBuilder) -> Deliveries<Record> {
    builder.checkpoint_interval(Duration::ZERO).into_stream().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn c4_records_come_in_order_and_the_position_follows_their_acks() {
    let (stream, store) = (Stream::new(2).per_read(3), MemoryStore::new());
    for number in 0..20 {
        stream.put(number % 2, &number.to_string());
    }
    let mut records = start(builder(&stream, store.clone(), "w")).await;
    let mut held = Vec::new();
    let mut seen: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for _ in 0..20 {
        let record = records.try_next().await.unwrap().unwrap();
        assert!(record.is_current());
        assert_eq!(record.shard_id(), Some(record.shard().shard_id()));
        assert_eq!(Record::stream(&record), Some(&stream.id()));
        seen.entry(record.shard().shard_id().clone()).or_default().push(text(&record).parse().unwrap());
        held.push(record);
    }
    assert!(seen.values().all(|numbers| numbers.len() == 10 && numbers.is_sorted()), "{seen:?}");
    // All but the first of shard 0, the later before the earlier.
    let first = held.iter().position(|record| record.sequence_number == SequenceNumber::from(1)).unwrap();
    let first = held.remove(first);
    held.into_iter().rev().for_each(rokini::Delivered::ack);
    until_leases(&store, |rows| rows[1].position == after(20)).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::TrimHorizon);
    first.ack();
    until_leases(&store, |rows| rows[0].position == after(19)).await;
    assert!(records.close().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn p1_a_stream_that_is_not_read_holds_the_reading_up_and_keeps_the_shard() {
    let (stream, store) = (Stream::new(1).per_read(50), MemoryStore::new());
    for number in 0..2_000 {
        stream.put(0, &number.to_string());
    }
    let builder = builder(&stream, store, "w").set(ConfigKey::MaxOutstandingRecords, "200");
    let mut records = start(builder).await;
    sleep(Duration::from_secs(3600)).await;
    let read = stream.calls(Op::Read);
    assert!(read * 50 <= 400, "{read} reads of 50 records");
    let status = records.handle().status();
    assert!(status.valid && status.shards.len() == 1, "an hour later it is still there");
    for number in 0..2_000 {
        let record = records.try_next().await.unwrap().unwrap();
        assert_eq!(text(&record), number.to_string());
        record.ack();
    }
    assert!(records.close().await.unwrap().is_clean());
}

/// It would count against records that nobody has looked at yet.
#[tokio::test(start_paused = true)]
async fn t3_a_limit_for_handlers_is_refused_with_a_stream() {
    let building = || {
        let stream = Stream::new(1);
        builder(&stream, MemoryStore::new(), "w").handler_timeout(Duration::from_secs(5))
    };
    let records = building().into_stream().await.unwrap_err();
    let batches = building().into_batch_stream().await.unwrap_err();
    for error in [records, batches] {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let expected = "`handler_timeout = 5s` (from the builder) has no effect with a stream of records";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Whatever becomes of failures, what nobody looked at is none.
#[tokio::test(start_paused = true)]
async fn c1_dropping_the_stream_stops_in_order_and_the_rest_comes_to_the_successor() {
    for then in [OnFailure::Retry, OnFailure::Skip, OnFailure::Halt] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        for number in 0..150 {
            stream.put(0, &number.to_string());
        }
        let mut builder1 = builder(&stream, store.clone(), "w1").set(ConfigKey::OnFailure, then.to_string());
        if then != OnFailure::Retry {
            builder1 = builder1.set(ConfigKey::MaxAttempts, NonZeroU32::MIN.to_string());
        }
        let mut records = start(builder1).await;
        let handle = records.handle();
        let mut events = handle.events();
        let mut taken = Vec::new();
        for _ in 0..30 {
            taken.push(records.try_next().await.unwrap().unwrap());
        }
        let kept = taken.split_off(20);
        taken.into_iter().for_each(rokini::Delivered::ack);
        let begun = Instant::now();
        drop(records);
        while handle.status().shards[0].state != ShardState::Draining {
            tokio::task::yield_now().await;
        }
        // Held by the program while the shard leaves: dropped, they are no failures either.
        drop(kept);
        while handle.status().phase != ConsumerPhase::Stopped {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let failed = std::iter::from_fn(|| events.try_recv().ok()).find(|event| {
            matches!(
                event,
                Event { kind: EventKind::HandlerFailed { .. }, .. }
                    | Event { kind: EventKind::Skipped { .. }, .. }
                    | Event { kind: EventKind::Halted { .. }, .. }
            )
        });
        assert!(failed.is_none(), "{failed:?}");
        assert_eq!(position(&store, &shard_id(0)).await, after(20), "{then}");
        assert!(leases(&store).await[0].owner.is_none(), "handed over");

        let second = Running::logging(builder(&stream, store, "w2"), &log).await;
        log.until_count(130).await;
        let rest: Vec<_> = (20..150).map(|number| number.to_string()).collect();
        assert_eq!(log.texts(), rest);
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c1_a_record_that_fails_or_is_dropped_comes_again() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_all(0, &["a", "b", "c"]);
    let mut records = start(builder(&stream, store, "w")).await;
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    while times.get("a") < Some(&3) || times.len() < 3 {
        let record = records.try_next().await.unwrap().unwrap();
        let name = text(&record);
        let time = times.entry(name.clone()).or_default();
        *time += 1;
        match (name.as_str(), *time) {
            ("a", 1) => record.fail("no"),
            ("a", 2) => drop(record),
            _ => record.ack(),
        }
    }
    assert_eq!(times, BTreeMap::from([("a".into(), 3), ("b".into(), 1), ("c".into(), 1)]));
    assert!(records.close().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn c5_what_waits_in_a_stream_is_not_given_out_once_its_lease_is_lost() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    for number in 0..1_000 {
        stream.put(0, &number.to_string());
    }
    let mut records = start(builder(&stream, store.clone(), "w")).await;
    let mut events = records.handle().events();
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(records.try_next().await.unwrap().unwrap());
    }
    let operator = Operator::new(Arc::new(store.clone()), group(), clock_off_by(&stream, 0));
    operator.seek(&Scope::Group, after(1_000), false).await.unwrap();
    while !matches!(events.recv().await.unwrap().kind, EventKind::LeaseLost { .. }) {}
    let lost = Instant::now();
    stream.put(0, "new");
    let next = records.try_next().await.unwrap().unwrap();
    assert_eq!(text(&next), "new", "nothing of the lease that was lost");
    assert!(lost.elapsed() < Duration::from_secs(2), "{:?}", lost.elapsed());
    assert!(next.is_valid() && taken.iter().all(|old| !old.is_current() && !old.is_valid()));
    taken.into_iter().for_each(rokini::Delivered::ack);
    next.ack();
    until_leases(&store, |rows| rows[0].position == after(1_001)).await;
    assert!(records.close().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn c5_a_stream_gives_nothing_out_while_another_worker_may_have_it() {
    let (stream, store) = (Stream::new(1), FaultyStore::new(MemoryStore::new(), 1));
    for number in 0..1_000 {
        stream.put(0, &number.to_string());
    }
    let mut records = start(builder(&stream, store.clone(), "w")).await;
    records.try_next().await.unwrap().unwrap().ack();
    store.outage(true);
    sleep(Duration::from_secs(20)).await;
    assert!(records.try_next().now_or_never().is_none(), "some wait, and none may be begun");
    let resumed = Instant::now();
    store.outage(false);
    assert_eq!(text(&records.try_next().await.unwrap().unwrap()), "1", "the same lease goes on");
    assert!(resumed.elapsed() < Duration::from_secs(5), "{:?}", resumed.elapsed());
    assert!(records.close().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn batches_are_acked_whole() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    for number in 0..25 {
        stream.put(0, &number.to_string());
    }
    let builder = builder(&stream, store.clone(), "w").set(ConfigKey::BatchMaxRecords, "10");
    let mut batches = builder.checkpoint_interval(Duration::ZERO).into_batch_stream().await.unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 25 {
        let batch = batches.try_next().await.unwrap().unwrap();
        sizes.push(batch.len());
        batch.ack();
    }
    assert_eq!(sizes, [10, 10, 5]);
    until_leases(&store, |rows| rows[0].position == after(25)).await;
    assert!(batches.close().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn g1_a_shutdown_ends_the_stream_once_the_shards_have_left() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_all(0, &["a", "b", "c"]);
    let mut records = start(builder(&stream, store.clone(), "w")).await;
    let first = records.try_next().await.unwrap().unwrap();
    let handle = records.handle();
    let stopping = tokio::spawn(async move { handle.shutdown(Duration::from_secs(20)).await });
    // What waits is still given, and its acks count.
    let mut rest = 0;
    while let Some(record) = timeout(Duration::from_secs(1), records.next()).await.ok().flatten() {
        record.unwrap().ack();
        rest += 1;
    }
    assert_eq!(rest, 2);
    first.ack();
    assert!(records.next().await.is_none());
    assert!(stopping.await.unwrap().is_clean());
    assert_eq!(position(&store, &shard_id(0)).await, after(3));
    assert!(records.next().now_or_never().flatten().is_none(), "an ended stream stays ended");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_ends_the_consumer_is_the_last_item() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.fail(Op::Describe, ErrorKind::Permission, 1);
    let mut records = start(builder(&stream, store.clone(), "w")).await;
    let error = records.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(records.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn t3_two_handlers_are_refused() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let building = || builder(&stream, store.clone(), "w").for_each(|_| async { Ok(()) });
    let stream_too = building().into_stream().await.map(drop).unwrap_err();
    let batches_too = building().for_each_batch(|_| async { Ok(()) }).build().await.map(drop).unwrap_err();
    for error in [stream_too, batches_too] {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("two handlers"), "{error}");
    }
}
