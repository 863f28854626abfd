//! Lag, health, events and metrics say the truth, and the same.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_parse::{Scrape, Value};
use rokini::lease::{
    FaultyStore, LeaseLostReason, LeaseStore, LeaseStoreExt, MemoryStore, StoreFault, StoreOperation,
};
use rokini::{
    Batch, ConfigKey, ConsumerBuilder, ErrorKind, Event, EventCode, EventKind, Handle, HandlerError, Metric,
    Monitoring, OnFailure, RecordProcessor, ShardContext, StallCause,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::delivery::policy::{Sink, poisoned};
use crate::harness::{Log, Running, builder, failure, group, until_leases};
use crate::stream::{Op, RETENTION, Stream, shard_id};

/// What Prometheus would see, by metric and shard (or stream, or code).
fn scrape(handle: &Handle) -> BTreeMap<(String, String), f64> {
    let text = handle.prometheus().unwrap();
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let samples = scrape.samples.iter().map(|sample| {
        let label = |name| sample.labels.get(name).map(str::to_owned);
        let of = label("shard").or_else(|| label("code")).or_else(|| label("stream")).unwrap_or_default();
        let value = match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(buckets) => buckets.last().unwrap().count,
            Value::Summary(_) => panic!("a summary"),
        };
        ((sample.metric.clone(), of), value)
    });
    samples.collect()
}

fn value(handle: &Handle, metric: Metric, of: impl Display) -> Option<f64> {
    scrape(handle).get(&(metric.name().to_owned(), of.to_string())).copied()
}

fn monitored(stream: &Stream, store: impl LeaseStore, name: &str) -> ConsumerBuilder {
    builder(stream, store, name).set(ConfigKey::Monitoring, "prometheus")
}

/// Waits until the looks at the consumer, one a second, show it.
async fn until(what: &str, holds: impl Fn() -> bool + Send + Sync) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(120), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn reasons(handle: &Handle) -> Vec<&'static str> {
    handle.health().reasons.iter().map(|reason| reason.code).collect()
}

#[tokio::test(start_paused = true)]
async fn o2_a_frozen_handler_shows_in_lag_event_metric_and_readiness_and_so_does_its_end() {
    let (stream, gate) = (Stream::new(2), Arc::new(Semaphore::new(0)));
    let handler = {
        let gate = Arc::clone(&gate);
        move |batch: Batch| {
            let gate = Arc::clone(&gate);
            async move {
                if *batch.shard().shard_id() == shard_id(0) {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(())
            }
        }
    };
    let running = Running::start(monitored(&stream, MemoryStore::new(), "w").for_each_batch(handler)).await;
    let (handle, mut events) = (running.handle.clone(), running.handle.events());
    until("ready", || handle.health().ready).await;
    stream.put_each(2, "a");
    let put = Instant::now();
    let stalled = loop {
        if let Event { shard: Some(shard), kind: EventKind::ShardStalled { cause, lag, .. }, .. } =
            events.recv().await.unwrap()
        {
            break (shard, cause, lag);
        }
    };
    assert!(put.elapsed() < Duration::from_secs(10), "{:?}", put.elapsed());
    assert_eq!((&stalled.0, stalled.1), (&shard_id(0), StallCause::Handler));
    sleep(Duration::from_secs(30)).await;
    let lag = |shard| value(&handle, Metric::Lag, shard_id(shard)).unwrap();
    let expected = put.elapsed().as_secs_f64();
    assert!((expected - 2.0..=expected).contains(&lag(0)), "{} after {expected}", lag(0));
    assert_eq!((lag(1), value(&handle, Metric::Stalled, shard_id(1))), (0.0, Some(0.0)));
    assert_eq!(value(&handle, Metric::Stalled, shard_id(0)), Some(1.0));
    assert_eq!(value(&handle, Metric::GroupLag, "orders"), Some(lag(0)));
    let left = value(&handle, Metric::UntilDataLoss, shard_id(0)).unwrap();
    assert!((left + lag(0) - RETENTION.as_secs_f64()).abs() < 0.01, "{left}");
    assert_eq!(value(&handle, Metric::UntilDataLoss, shard_id(1)), Some(RETENTION.as_secs_f64()));
    assert_eq!((reasons(&handle), handle.health().live), (vec!["shard-stalled"], true));
    assert_eq!((value(&handle, Metric::Ready, ""), value(&handle, Metric::Live, "")), (Some(0.0), Some(1.0)));
    assert!(handle.scale().lag > Duration::from_secs(30));

    gate.add_permits(1);
    let recovered = loop {
        if let Event { shard: Some(shard), kind: EventKind::ShardRecovered { lasted, .. }, .. } =
            events.recv().await.unwrap()
        {
            break (shard, lasted);
        }
    };
    assert!(recovered.0 == shard_id(0) && recovered.1 > Duration::from_secs(25), "{recovered:?}");
    until("ready again", || handle.health().ready).await;
    assert_eq!((lag(0), value(&handle, Metric::Stalled, shard_id(0))), (0.0, Some(0.0)));
    assert_eq!(value(&handle, Metric::Ready, ""), Some(1.0));
    assert_eq!(value(&handle, Metric::HandlerTime, shard_id(0)), Some(1.0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn o2_reading_that_is_stuck_shows_in_lag_event_metric_and_readiness() {
    let (stream, log) = (Stream::new(2), Log::default());
    let running = Running::logging(monitored(&stream, MemoryStore::new(), "w"), &log).await;
    let (handle, mut events) = (running.handle.clone(), running.handle.events());
    stream.put_each(2, "a");
    log.until_count(2).await;
    sleep(Duration::from_secs(60)).await;
    let lag = |shard| value(&handle, Metric::Lag, shard_id(shard)).unwrap();
    assert_eq!((lag(0), lag(1)), (0.0, 0.0), "caught up and idle");
    stream.break_shard(1, Some(ErrorKind::Retry));
    let broken = Instant::now();
    until("not ready", || !handle.health().ready).await;
    assert!(broken.elapsed() < Duration::from_secs(10), "{:?}", broken.elapsed());
    let told = std::iter::from_fn(|| events.try_recv().ok()).any(|event| {
        matches!(event, Event { kind: EventKind::ShardStalled { cause: StallCause::Reading, .. }, .. })
    });
    assert!(told && lag(1) > 5.0 && lag(0) == 0.0, "{} {}", lag(0), lag(1));
    assert!(value(&handle, Metric::ReadFailures, shard_id(1)).unwrap() > 5.0);
    stream.break_shard(1, None);
    until("ready again", || handle.health().ready).await;
    assert_eq!(lag(1), 0.0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn o2_records_that_come_faster_than_they_are_processed_show() {
    let (stream, log) = (Stream::new(1).per_read(1), Log::default());
    let pace = Arc::new(AtomicU64::new(2_000));
    let slow = {
        let (log, pace) = (log.clone(), Arc::clone(&pace));
        move |batch: Batch| {
            log.add(&batch);
            let pace = Duration::from_millis(pace.load(Ordering::SeqCst));
            async move {
                sleep(pace).await;
                Ok(())
            }
        }
    };
    let running = Running::start(monitored(&stream, MemoryStore::new(), "w").for_each_batch(slow)).await;
    let (handle, mut events) = (running.handle.clone(), running.handle.events());
    let producer = tokio::spawn({
        let stream = stream.clone();
        async move {
            for n in 0..60 {
                stream.put(0, &n.to_string());
                sleep(Duration::from_secs(1)).await;
            }
        }
    });
    loop {
        if let Event { kind: EventKind::ShardStalled { cause, .. }, .. } = events.recv().await.unwrap() {
            assert_eq!(cause, StallCause::Behind);
            break;
        }
    }
    assert_eq!(reasons(&handle), ["shard-stalled"]);
    assert_eq!(value(&handle, Metric::Stalled, shard_id(0)), Some(1.0));
    assert!(value(&handle, Metric::Lag, shard_id(0)).unwrap() > 5.0);
    assert!(value(&handle, Metric::Behind, shard_id(0)).unwrap() > 1.0);
    producer.await.unwrap();
    pace.store(500, Ordering::SeqCst);
    // It catches up: late, and moving.
    until("ready again", || handle.health().ready).await;
    assert!(value(&handle, Metric::Lag, shard_id(0)).unwrap() > 5.0);
    log.until_count(60).await;
    until("no lag", || value(&handle, Metric::Lag, shard_id(0)) == Some(0.0)).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_t2_metrics_count_what_was_done_failed_and_throttled() {
    let (stream, log) = (Stream::new(2).per_read(3), Log::default());
    let handler = {
        let log = log.clone();
        move |batch: Batch| {
            let first = !log.texts().iter().any(|text| text == "bad");
            log.add(&batch);
            let fails = first && batch.iter().any(|record| record.data() == b"bad");
            async move { if fails { failure("no") } else { Ok(()) } }
        }
    };
    stream.put_all(0, &["a", "b", "c", "bad", "d"]);
    stream.fail(Op::Read, ErrorKind::Throttled, 3);
    let running = Running::start(
        monitored(&stream, MemoryStore::new(), "w").heartbeat(Duration::from_secs(1)).for_each_batch(handler),
    )
    .await;
    let handle = running.handle.clone();
    log.until_count(7).await;
    sleep(Duration::from_secs(7)).await;
    let shard = |metric| value(&handle, metric, shard_id(0)).unwrap();
    assert_eq!((shard(Metric::RecordsProcessed), shard(Metric::BytesProcessed)), (5.0, 7.0));
    assert_eq!((shard(Metric::HandlerFailures), shard(Metric::HandlerTime)), (1.0, 3.0));
    assert_eq!(shard(Metric::Behind), 0.0, "read to the tip");
    assert_eq!(shard(Metric::Checkpoints), 2.0);
    let throttled = |number| value(&handle, Metric::Throttled, shard_id(number)).unwrap();
    assert_eq!(throttled(0) + throttled(1), 3.0);
    assert_eq!(value(&handle, Metric::Events, EventCode::HandlerFailed), Some(1.0));
    assert_eq!(
        value(&handle, Metric::Events, EventCode::StartResolved),
        Some(1.0),
        "told before the worker had a name"
    );
    assert_eq!(value(&handle, Metric::LeasesHeld, "orders"), Some(2.0));
    assert_eq!(value(&handle, Metric::LeasesGained, "orders"), Some(2.0));
    let beats = value(&handle, Metric::Heartbeats, "").unwrap();
    assert!((6.0..=9.0).contains(&beats), "{beats}");
    assert!(value(&handle, Metric::HeartbeatAge, "").unwrap() <= 1.5);
    assert_eq!(
        (value(&handle, Metric::Valid, ""), value(&handle, Metric::Workers, "")),
        (Some(1.0), Some(1.0))
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_metrics_count_what_was_given_up_and_what_was_tried_again() {
    for then in [OnFailure::Skip, OnFailure::DeadLetter] {
        let (stream, store, log) = (Stream::new(1), FaultyStore::new(MemoryStore::new(), 1), Log::default());
        stream.put_all(0, &["a", "bad", "b"]);
        store.next(StoreOperation::Checkpoint, StoreFault::FailBefore, 2);
        let mut building = monitored(&stream, store, "w").on_failure(then).max_attempts(3);
        if then == OnFailure::DeadLetter {
            let sink = Sink::default();
            sink.0.lock().unwrap().0 = 4;
            building = building.dead_letter_sink(sink);
        }
        let running = Running::start(poisoned(building, &log)).await;
        let handle = running.handle.clone();
        let shard = |metric| value(&handle, metric, shard_id(0)).unwrap_or(0.0);
        until("stored", || shard(Metric::Checkpoints) > 0.0 && log.texts().ends_with(&["b".to_owned()]))
            .await;
        let given_up = [Metric::Skipped, Metric::DeadLettered, Metric::DeadLetterFailures].map(shard);
        let expected = if then == OnFailure::Skip { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 4.0] };
        assert_eq!(given_up, expected);
        assert_eq!(shard(Metric::CheckpointFailures), 2.0);
        stream.split(0);
        until("its end", || value(&handle, Metric::ShardsEnded, "orders") == Some(1.0)).await;
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c12_an_outage_of_the_store_shows_in_metrics_events_and_readiness_and_so_does_its_end() {
    let (stream, store) = (Stream::new(1), FaultyStore::new(MemoryStore::new(), 1));
    let running = Running::logging(monitored(&stream, store.clone(), "w"), &Log::default()).await;
    let (handle, mut events) = (running.handle.clone(), running.handle.events());
    until("ready", || handle.health().ready).await;
    let worker = |metric| value(&handle, metric, "").unwrap();
    assert_eq!((worker(Metric::Valid), worker(Metric::HeartbeatFailures)), (1.0, 0.0));
    let mut told =
        move |code| std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.code() == code);
    store.outage(true);
    let begun = Instant::now();
    until("not ready", || !handle.health().ready).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((reasons(&handle), worker(Metric::Valid)), (vec!["no-heartbeat"], 0.0));
    assert!(worker(Metric::HeartbeatAge) > 5.0 && worker(Metric::HeartbeatFailures) > 2.0);
    assert!(told(EventCode::OutageBegan));
    store.outage(false);
    until("ready again", || handle.health().ready && worker(Metric::Valid) == 1.0).await;
    assert!(worker(Metric::HeartbeatAge) <= 2.0 && told(EventCode::OutageEnded));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn r1_a_hole_in_the_hash_range_shows_until_it_is_mended() {
    let (stream, store) = (Stream::new(2), MemoryStore::new());
    let running = Running::logging(monitored(&stream, store.clone(), "w"), &Log::default()).await;
    let handle = running.handle.clone();
    let rows =
        until_leases(&store, |rows| rows.len() == 2 && rows.iter().all(|row| row.owner.is_some())).await;
    until("ready", || handle.health().ready).await;
    assert_eq!(value(&handle, Metric::Holes, "orders"), Some(0.0));
    let mut events = handle.events();
    assert!(store.delete_lease(&group(), &rows[1].key, rows[1].epoch).await.unwrap());
    until("the hole", || value(&handle, Metric::Holes, "orders") == Some(1.0)).await;
    assert_eq!(reasons(&handle), ["hash-range-hole"]);
    until("mended", || value(&handle, Metric::Holes, "orders") == Some(0.0) && handle.health().ready).await;
    let lost = |event| {
        matches!(event, Event { kind: EventKind::LeaseLost { cause: LeaseLostReason::Deleted, .. }, .. })
    };
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(lost));
    assert_eq!(value(&handle, Metric::LeasesLost, "orders"), Some(1.0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn o2_lag_covers_shards_that_nobody_has() {
    let (stream, log) = (Stream::new(2), Log::default());
    let store = MemoryStore::new();
    let settings = monitored(&stream, store.clone(), "w").set(ConfigKey::MaxLeases, "1");
    let running = Running::logging(settings, &log).await;
    let handle = running.handle.clone();
    stream.put_each(2, "a");
    let put = Instant::now();
    log.until_count(1).await;
    let lag = || value(&handle, Metric::GroupLag, "orders").unwrap_or(0.0);
    until("the lag of the other shard", || lag() > 5.0).await;
    assert!(put.elapsed() < Duration::from_secs(10), "{:?}", put.elapsed());
    sleep(Duration::from_secs(60)).await;
    let expected = put.elapsed().as_secs_f64();
    assert!((expected - 2.0..=expected).contains(&lag()), "{} after {expected}", lag());
    assert_eq!(value(&handle, Metric::Unheld, "orders"), Some(1.0));
    assert!(handle.scale().lag > Duration::from_secs(60) && handle.scale().desired == 2);
    assert_eq!(value(&handle, Metric::DesiredWorkers, ""), Some(2.0));
    let second = Running::logging(monitored(&stream, store, "w2"), &log).await;
    log.until_count(2).await;
    until("no lag", || lag() == 0.0 && value(&handle, Metric::Unheld, "orders") == Some(0.0)).await;
    running.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn o2_lag_covers_shards_that_nobody_has_whichever_workers_read_their_stream() {
    let (orders, bills) = (Stream::new(1), Stream::new(2).named("bills"));
    let (store, log) = (MemoryStore::new(), Log::default());
    let settings = |name| monitored(&orders, store.clone(), name).set(ConfigKey::MaxLeases, "1");
    // Whatever the order of their names or ids.
    let mut others = Vec::new();
    for name in ["a", "c", "d", "e"] {
        others.push(Running::logging(settings(name), &log).await);
    }
    let reader = Running::logging(settings("b").source(bills.clone()), &log).await;
    bills.put_each(2, "b");
    let put = Instant::now();
    log.until_count(1).await;
    let lag = || value(&reader.handle, Metric::GroupLag, "bills").unwrap_or(0.0);
    until("the lag of the other shard", || lag() > 5.0).await;
    assert!(put.elapsed() < Duration::from_secs(10), "{:?}", put.elapsed());
    reader.stop().await;
    for running in others {
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn o2_leases_remember_what_was_done_and_when_nothing_was_behind() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let running = Running::logging(monitored(&stream, store.clone(), "w"), &log).await;
    sleep(Duration::from_secs(3)).await;
    stream.put(0, "a");
    let put = stream.now();
    log.until_count(1).await;
    sleep(Duration::from_secs(60)).await;
    let before = stream.now();
    running.stop().await;
    let metadata = until_leases(&store, |rows| rows[0].owner.is_none()).await[0].metadata;
    assert_eq!(metadata.record_arrival_millis, Some(put));
    assert!(metadata.caught_up_millis.is_some_and(|at| at + 3_000 > before), "{metadata:?} {before}");
}

#[tokio::test(start_paused = true)]
async fn c9_records_that_were_trimmed_unread_are_counted_in_the_metric() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let losses = |handle: &Handle| value(handle, Metric::DataLoss, shard_id(0)).unwrap_or(0.0);
    let first = Running::logging(monitored(&stream, store.clone(), "w1"), &log).await;
    stream.put(0, "a");
    log.until_count(1).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(losses(&first.handle), 0.0);
    first.stop().await;
    sleep(Duration::from_secs(3_600)).await;
    stream.put(0, "lost");
    sleep(RETENTION).await;
    stream.put(0, "kept");
    sleep(Duration::from_secs(3_600)).await;
    let second = Running::logging(monitored(&stream, store.clone(), "w2"), &log).await;
    log.until_count(2).await;
    assert_eq!(log.texts(), ["a", "kept"]);
    until("the loss", || losses(&second.handle) > 0.0).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(losses(&second.handle), 1.0, "counted once");
    assert_eq!(value(&second.handle, Metric::Events, "data-loss"), Some(1.0));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn gauges_leave_with_their_shard_and_counts_stay_for_a_while() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let first = Running::logging(monitored(&stream, store.clone(), "w1"), &log).await;
    stream.put_each(2, "a");
    log.until_count(2).await;
    let second = Running::logging(monitored(&stream, store.clone(), "w2"), &log).await;
    let lags =
        |handle: &Handle| (0..2).filter(|n| value(handle, Metric::Lag, shard_id(*n)).is_some()).count();
    until("spread", || lags(&first.handle) == 1 && lags(&second.handle) == 1).await;
    let counts = |handle: &Handle| {
        (0..2).filter(|n| value(handle, Metric::RecordsProcessed, shard_id(*n)).is_some()).count()
    };
    assert_eq!((counts(&first.handle), counts(&second.handle)), (2, 1));
    assert_eq!(value(&first.handle, Metric::LeasesHandedOver, "orders"), Some(1.0));
    sleep(Duration::from_secs(301)).await;
    assert_eq!((counts(&first.handle), counts(&second.handle)), (1, 1));
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c14_a_stream_made_again_keeps_its_metrics_and_its_worker_ready() {
    for label in ["true", "false"] {
        let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
        let settings = monitored(&stream, store.clone(), "w").set(ConfigKey::MetricsShardLabel, label);
        let running = Running::logging(settings.set(ConfigKey::AuditInterval, "2m"), &log).await;
        let handle = &running.handle;
        stream.put_each(2, "old");
        log.until_count(2).await;
        until("ready", || handle.health().ready).await;
        stream.recreate(2);
        stream.put_each(2, "new");
        log.until_count(4).await;
        // Past all that is kept of the old one.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(400) {
            sleep(Duration::from_secs(1)).await;
            assert!(!reasons(handle).contains(&"hash-range-hole"), "after {:?}", begun.elapsed());
        }
        stream.put_each(2, "newer");
        log.until_count(6).await;
        sleep(Duration::from_secs(7)).await;
        let sum = |metric: Metric| {
            let values: Vec<f64> = scrape(handle)
                .into_iter()
                .filter(|(key, _)| key.0 == metric.name())
                .map(|(_, v)| v)
                .collect();
            (!values.is_empty()).then(|| values.iter().sum())
        };
        let named = [Metric::LeasesHeld, Metric::LeasesGained, Metric::RecordsProcessed, Metric::Checkpoints];
        assert_eq!(named.map(sum), [2.0, 4.0, 6.0, 6.0].map(Some), "counts go on, shard label {label}");
        let named = [Metric::Lag, Metric::GroupLag, Metric::Stalled, Metric::Holes];
        assert_eq!(named.map(sum), [0.0; 4].map(Some), "shard label {label}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_shard_label_shards_are_one_series() {
    let (stream, log) = (Stream::new(3), Log::default());
    let settings = monitored(&stream, MemoryStore::new(), "w").set(ConfigKey::MetricsShardLabel, "false");
    let running = Running::logging(settings, &log).await;
    stream.put_each(3, "a");
    log.until_count(3).await;
    until("looked at", || value(&running.handle, Metric::Lag, "orders").is_some()).await;
    assert_eq!(value(&running.handle, Metric::RecordsProcessed, "orders"), Some(3.0));
    assert!(!running.handle.prometheus().unwrap().contains("shard="));
    stream.break_shard(2, Some(ErrorKind::Retry));
    until("the greatest lag", || value(&running.handle, Metric::Lag, "orders") > Some(5.0)).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_collected_unless_asked_for() {
    let running = Running::logging(builder(&Stream::new(1), MemoryStore::new(), "w"), &Log::default()).await;
    until("ready", || running.handle.health().ready).await;
    assert_eq!(running.handle.prometheus(), None);
    running.stop().await;
}

/// What the end of a shard does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Hangs,
    Fails,
    Stored,
}

/// The end of a shard takes a minute.
struct Ending(End, Instant);

impl RecordProcessor for Ending {
    async fn process(&mut self, _: Batch) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn shard_ended(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        match self.0 {
            End::Hangs => sleep(Duration::from_secs(60)).await,
            End::Fails if self.1.elapsed() < Duration::from_secs(60) => return failure("not flushed"),
            End::Fails | End::Stored => {}
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn o2_a_shard_that_does_not_come_to_its_end_is_told_by_its_cause_and_has_no_lag() {
    for (end, expected) in [
        (End::Hangs, StallCause::Handler),
        (End::Fails, StallCause::Failing),
        (End::Stored, StallCause::Ending),
    ] {
        let (stream, inner) = (Stream::new(1), MemoryStore::new());
        let store = FaultyStore::new(inner.clone(), 1);
        stream.put(0, "a");
        let begun = Instant::now();
        let building = monitored(&stream, store.clone(), "w").processor(move |_| Ending(end, begun));
        let running = Running::start(building).await;
        let (handle, mut events) = (running.handle.clone(), running.handle.events());
        sleep(Duration::from_secs(2)).await;
        if end == End::Stored {
            store.next(StoreOperation::Checkpoint, StoreFault::FailBefore, u32::MAX);
        }
        stream.put(0, "b");
        stream.split(0);
        let cause = async {
            loop {
                if let Event { kind: EventKind::ShardStalled { cause, .. }, .. } =
                    events.recv().await.unwrap()
                {
                    break cause;
                }
            }
        };
        let cause = timeout(Duration::from_secs(30), cause).await;
        assert_eq!(cause, Ok(expected), "{end:?}: {:?}", handle.status().shards);
        assert!(begun.elapsed() < Duration::from_secs(12), "{end:?} {:?}", begun.elapsed());
        while begun.elapsed() < Duration::from_secs(40) {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(value(&handle, Metric::Lag, shard_id(0)), Some(0.0), "{end:?}: everything is done");
            assert_eq!(reasons(&handle), ["shard-stalled"], "{end:?}");
        }
        store.heal();
        let others = std::iter::from_fn(|| events.try_recv().ok());
        let other = others.filter(|event| {
            matches!(
                event,
                Event { kind: EventKind::ShardStalled { .. }, .. }
                    | Event { kind: EventKind::ShardRecovered { .. }, .. }
            )
        });
        assert_eq!(other.collect::<Vec<_>>(), [], "{end:?}");
        until_leases(&inner, |rows| rows.iter().any(|row| row.position.is_shard_end())).await;
        until("ready again", || handle.health().ready).await;
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_the_shard_label_is_refused_where_nobody_gets_metrics() {
    let labelled = || {
        let building = builder(&Stream::new(1), MemoryStore::new(), "w").for_each(|_| async { Ok(()) });
        building.metrics_shard_label(false)
    };
    let error = labelled().build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().starts_with("`metrics_shard_label = false` (from the builder) has no effect"),
        "{error}"
    );
    labelled().monitoring([Monitoring::Prometheus]).build().await.unwrap();
    labelled().recorder(metrics::NoopRecorder).build().await.unwrap();
}
