//! Stopping: by the deadline, with a report, and with nothing lost or repeated.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    CountingStore, FaultyStore, LeaseStore, Listing, MemoryStore, Operator, Position, Scope, SequenceNumber,
    StoreFault, StoreOperation,
};
use rokini::{
    Batch, ConsumerPhase, ErrorKind, HandlerError, RecordProcessor, ShardContext, ShardStop, StartPosition,
};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, builder, clock_off_by, group, position, until_leases};
use crate::stream::{Op, Stream, shard_id};

/// A handler that takes this long.
async fn slow(stream: &Stream, store: impl LeaseStore, name: &str, log: &Log, takes: Duration) -> Running {
    let log = log.clone();
    Running::start(builder(stream, store, name).for_each_batch(move |batch| {
        log.add(&batch);
        async move {
            sleep(takes).await;
            Ok(())
        }
    }))
    .await
}

#[tokio::test(start_paused = true)]
async fn g1_shutdown_drains_and_reports_each_shard() {
    let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
    stream.put_all(1, &["a", "b"]);
    let running = slow(&stream, store.clone(), "w", &log, Duration::from_secs(3)).await;
    log.until_count(2).await;
    let begun = Instant::now();
    let report = running.stop().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(3), "as long as the handler takes");
    assert!(report.is_clean());
    let shards: Vec<_> = report.shards.iter().map(|shard| shard.shard.clone()).collect();
    assert_eq!(shards, [shard_id(0), shard_id(1), shard_id(2)]);
    let done = Position::after(SequenceNumber::from(2));
    assert_eq!((report.shards[1].done, report.shards[1].stored), (done, done));
    assert_eq!(report.shards[1].end, ShardStop::Drained { to: None });
    assert_eq!(position(&store, &shard_id(1)).await, done);
    // Nobody has anything, and the worker is gone.
    let view = store.list(&group(), Listing::All).await.unwrap();
    assert!(view.workers.is_empty() && view.leases.iter().all(|row| row.owner.is_none()));
}

#[tokio::test(start_paused = true)]
async fn g1_a_shutdown_may_wait_for_as_long_as_it_takes() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let running = slow(&stream, store.clone(), "w", &log, Duration::from_secs(3_600)).await;
    log.until_count(1).await;
    let report = running.handle.shutdown(Duration::MAX).await;
    assert!(report.is_clean());
    assert_eq!(report.took, Duration::from_secs(3_600));
}

#[tokio::test(start_paused = true)]
async fn g1_slow_handler_is_abandoned_at_the_deadline_and_what_is_done_is_stored() {
    let (stream, store, log) = (Stream::new(2).per_read(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "stuck"]);
    let calls = log.clone();
    let last = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&last);
    let building = builder(&stream, store.clone(), "w")
        .checkpoint_interval(Duration::from_secs(3_600))
        .for_each_batch(move |batch| {
            calls.add(&batch);
            let hangs = batch.records()[0].data() == b"stuck";
            seen.lock().unwrap().replace(batch);
            async move {
                if hangs {
                    sleep(Duration::from_secs(86_400)).await;
                }
                Ok(())
            }
        });
    let running = Running::start(building).await;
    log.until_count(2).await;
    let begun = Instant::now();
    let report = running.handle.shutdown(Duration::from_secs(8)).await;
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(8) && took >= Duration::from_secs(7), "{took:?}");
    assert!(!report.is_clean());
    let stuck = &report.shards[0];
    assert_eq!(stuck.end, ShardStop::Abandoned { handling: Some(SequenceNumber::from(2)) });
    let done = Position::after(SequenceNumber::from(1));
    assert_eq!((stuck.done, stuck.stored), (done, done), "what was done is stored");
    assert_eq!(position(&store, &shard_id(0)).await, done);
    assert_eq!(report.shards[1].end, ShardStop::Drained { to: None });
    assert!(!last.lock().unwrap().take().unwrap().is_current(), "the handler is told");
    assert_eq!(running.run.await.unwrap().unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn g1_shutdown_returns_by_the_deadline_when_the_store_hangs() {
    let (stream, log) = (Stream::new(2), Log::default());
    let store = FaultyStore::new(MemoryStore::new(), 1);
    stream.put(0, "a");
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    log.until_count(1).await;
    sleep(Duration::from_secs(1)).await;
    store.chance(rokini::lease::FaultTarget::All, StoreFault::Delay(Duration::from_secs(86_400)), 1.0);
    let begun = Instant::now();
    let report = running.handle.shutdown(Duration::from_secs(4)).await;
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(report.shards.len(), 2);
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn g1_shutdown_returns_at_once_without_leases_during_the_start_and_before_it() {
    // Before the run, and then the run itself.
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let consumer = builder(&stream, store.clone(), "w").for_each(|_| async { Ok(()) }).build().await.unwrap();
    let handle = consumer.handle();
    assert_eq!(handle.status().phase, ConsumerPhase::Created);
    assert!(handle.shutdown(Duration::from_secs(60)).await.shards.is_empty());
    assert!(consumer.run().await.unwrap().shards.is_empty());
    assert_eq!(stream.calls(Op::Read), 0);

    // During the start: the stream does not answer.
    stream.fail(Op::Describe, ErrorKind::Retry, 1_000);
    let running = Running::logging(builder(&stream, store.clone(), "w"), &Log::default()).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(running.handle.status().phase, ConsumerPhase::Starting);
    let begun = Instant::now();
    assert!(running.stop().await.shards.is_empty());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    stream.fail(Op::Describe, ErrorKind::Retry, 0);

    // While it waits for its predecessor's death.
    let first = FaultyStore::new(store.clone(), 1);
    let dead = Running::logging(builder(&stream, first.clone(), "w"), &Log::default()).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.owner.is_some())).await;
    first.outage(true);
    dead.kill().await;
    let second = Running::logging(builder(&stream, store.clone(), "w").seed(5), &Log::default()).await;
    sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    assert!(second.stop().await.shards.is_empty());
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());

    // Without leases: another worker has the only shard.
    sleep(Duration::from_secs(60)).await;
    let owner = Running::logging(builder(&stream, store.clone(), "w3"), &Log::default()).await;
    until_leases(&store, |rows| rows[0].owner.as_ref().is_some_and(|id| id.name.as_str() == "w3")).await;
    let idle = Running::logging(builder(&stream, store.clone(), "w4"), &Log::default()).await;
    sleep(Duration::from_secs(30)).await;
    let begun = Instant::now();
    assert!(idle.stop().await.shards.is_empty());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    owner.stop().await;
}

#[tokio::test(start_paused = true)]
async fn g1_shutdown_with_shards_that_wait_for_their_parents_is_clean_and_leaves_them_to_the_successor() {
    let (stream, store, log) = (Stream::new(2).per_read(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    stream.put(1, "c");
    let (low, high) = stream.split(0);
    stream.put(low, "low");
    stream.put(high, "high");
    let merged = stream.merge(high, 1);
    stream.put(merged, "merged");
    let three = Duration::from_secs(3);
    // The first time the children have no leases yet; the second time they have, which were set back with their parents.
    for again in [false, true] {
        let first = slow(&stream, store.clone(), "w1", &log, three).await;
        if again {
            until_leases(&store, |rows| rows.iter().filter(|row| row.owner.is_some()).count() == 2).await;
            let operator = Operator::new(Arc::new(store.clone()), group(), clock_off_by(&stream, 0));
            operator.seek(&Scope::Group, Position::TrimHorizon, false).await.unwrap();
        }
        log.until(|seen| ["a", "c"].iter().all(|text| seen.iter().any(|seen| seen.text == *text))).await;
        let begun = Instant::now();
        let report = first.stop().await;
        assert!(begun.elapsed() <= three, "{again}: {:?}", begun.elapsed());
        assert!(report.is_clean(), "{again}: {report:?}");
        let mut seen = log.texts();
        seen.sort();
        assert_eq!(seen, ["a", "c"], "{again}: no child");
        let view = store.list(&group(), Listing::All).await.unwrap();
        assert!(view.workers.is_empty());
        // Leases that were set back may still name the worker that left, which holds nobody up.
        assert!(again || view.leases.iter().all(|row| row.owner.is_none()), "{view:?}");
        assert_eq!(view.leases.len(), if again { 5 } else { 2 });

        let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
        let begun = Instant::now();
        log.until_count(6).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{again}: {:?}", begun.elapsed());
        sleep(Duration::from_secs(60)).await;
        let texts = log.texts();
        let at = |wanted: &str| texts.iter().position(|text| text == wanted).unwrap();
        assert!(at("b") < at("low").min(at("high")) && at("high") < at("merged"), "{again}: {texts:?}");
        assert_eq!(texts.len(), 6, "{again}: each once: {texts:?}");
        second.stop().await;
        log.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn g1_earliest_of_several_deadlines_counts() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let running = slow(&stream, store, "w", &log, Duration::from_secs(3_600)).await;
    log.until_count(1).await;
    let begun = Instant::now();
    let (patient, hurried) = (running.handle.clone(), running.handle.clone());
    let patient = tokio::spawn(async move { patient.shutdown(Duration::from_secs(600)).await });
    sleep(Duration::from_secs(1)).await;
    let report = hurried.shutdown(Duration::from_secs(2)).await;
    assert_eq!(patient.await.unwrap(), report);
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn g3_successor_goes_on_after_a_clean_stop_without_duplicates() {
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    let first = slow(&stream, store.clone(), "w1", &log, Duration::from_millis(300)).await;
    until_leases(&store, |rows| rows.iter().filter(|row| row.owner.is_some()).count() == 4).await;
    let second = slow(&stream, store.clone(), "w2", &log, Duration::from_millis(300)).await;
    let balanced = |rows: &[rokini::lease::LeaseRow]| {
        let of = |name: &str| {
            let named = |row: &&rokini::lease::LeaseRow| {
                row.owner.as_ref().is_some_and(|id| id.name.as_str() == name)
            };
            rows.iter().filter(named).count()
        };
        (of("w1"), of("w2")) == (2, 2)
    };
    until_leases(&store, balanced).await;
    let producer = stream.clone();
    let producing = tokio::spawn(async move {
        for number in 0..600 {
            producer.put(number % 4, &number.to_string());
            sleep(Duration::from_millis(50)).await;
        }
    });
    sleep(Duration::from_secs(10)).await;
    let begun = Instant::now();
    let report = first.stop().await;
    assert!(report.is_clean());
    assert_eq!(report.shards.len(), 2);
    let to_second =
        |end: &ShardStop| matches!(end, ShardStop::Drained { to: Some(id) } if id.name.as_str() == "w2");
    assert!(report.shards.iter().all(|shard| to_second(&shard.end)), "straight to a live worker: {report:?}");
    // How long each moved shard was silent.
    for moved in &report.shards {
        let seen =
            log.until(|seen| seen.iter().any(|s| s.shard == moved.shard && s.at > begun && s.worker == "w2"));
        let seen = seen.await;
        let last = seen.iter().rfind(|s| s.shard == moved.shard && s.worker == "w1").unwrap().at;
        let next =
            seen.iter().find(|s| s.shard == moved.shard && s.at > last && s.worker == "w2").unwrap().at;
        assert!(next - last < Duration::from_secs(2), "{} silent for {:?}", moved.shard, next - last);
    }
    producing.await.unwrap();
    log.until_count(600).await;
    sleep(Duration::from_secs(20)).await;
    let mut numbers: Vec<u32> = log.texts().iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>(), "each once");
    second.stop().await;
}

/// Tells what it was called for, and checkpoints when asked to stop.
struct Told(Arc<Mutex<Vec<String>>>, Option<Batch>);

impl RecordProcessor for Told {
    async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(format!("init {}", shard.position()));
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(format!("process {}", batch.len()));
        self.1 = Some(batch);
        Ok(())
    }

    async fn shutdown_requested(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        if let Some(batch) = &self.1 {
            shard.checkpoint_at(&batch.records()[0]).await?;
        }
        self.0.lock().unwrap().push("shutdown_requested".to_owned());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g1_processor_can_checkpoint_when_asked_to_stop() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_all(0, &["a", "b"]);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&calls);
    let building = builder(&stream, store.clone(), "w")
        .auto_checkpoint(false)
        .start(StartPosition::TrimHorizon)
        .processor(move |_| Told(Arc::clone(&told), None));
    let running = Running::start(building).await;
    sleep(Duration::from_secs(1)).await;
    assert!(running.stop().await.is_clean());
    assert_eq!(*calls.lock().unwrap(), ["init TRIM_HORIZON", "process 2", "shutdown_requested"]);
    assert_eq!(position(&store, &shard_id(0)).await, Position::after(SequenceNumber::from(1)));
}

#[tokio::test(start_paused = true)]
async fn g3_clean_stop_costs_one_write_a_shard() {
    let (stream, log) = (Stream::new(3).per_read(1), Log::default());
    let store = CountingStore::new(MemoryStore::new());
    let calls = log.clone();
    let running = Running::start(builder(&stream, store.clone(), "w").for_each_batch(move |batch| {
        calls.add(&batch);
        let slow = batch.records()[0].data() == b"slow";
        async move {
            // Longer than the checkpoint interval, with a position that is done and not stored.
            sleep(Duration::from_secs(if slow { 15 } else { 0 })).await;
            Ok(())
        }
    }))
    .await;
    log_all(&stream, &log).await;
    sleep(Duration::from_secs(1)).await;
    stream.put_all(1, &["done", "slow"]);
    log.until_count(5).await;
    let before = store.snapshot();
    assert!(running.stop().await.is_clean());
    let after = store.snapshot();
    let count = |operation| after.of(operation) - before.of(operation);
    assert_eq!(
        (count(StoreOperation::HandOver), count(StoreOperation::Checkpoint), count(StoreOperation::Delete)),
        (3, 0, 1)
    );
    assert_eq!(position(&store, &shard_id(1)).await, Position::after(SequenceNumber::from(5)));
}

async fn log_all(stream: &Stream, log: &Log) {
    stream.put_each(3, "a");
    log.until_count(3).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_run_stops_all_work_at_once() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    log.until_count(1).await;
    running.run.abort();
    assert!(running.run.await.unwrap_err().is_cancelled());
    assert_eq!(running.handle.status().phase, ConsumerPhase::Stopped);
    let begun = Instant::now();
    assert!(running.handle.shutdown(Duration::from_secs(9)).await.shards.is_empty());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    stream.put(0, "b");
    let reads = stream.calls(Op::Read);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((log.texts(), stream.calls(Op::Read)), (vec!["a".to_owned()], reads));
}
