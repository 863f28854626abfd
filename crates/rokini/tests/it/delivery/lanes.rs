//! Several handler calls of one shard at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::lease::{LeaseLostReason, LeaseStoreExt, LeaseUpdate, MemoryStore, Position, SequenceNumber};
use rokini::{
    Batch, ConfigKey, ErrorKind, Event, EventKind, HandlerCall, HandlerError, RecordProcessor, ShardContext,
    ShardState,
};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, after, builder, failure, group, leases, position, until_leases};
use crate::stream::{Stream, shard_id};

async fn time_of(concurrency: usize, records: usize) -> Duration {
    let (stream, store) = (Stream::new(1).per_read(1_000), MemoryStore::new());
    for number in 0..records {
        stream.put(0, &number.to_string());
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let building = builder(&stream, store.clone(), "w").concurrency(concurrency).for_each(move |_| {
        let called = Arc::clone(&called);
        async move {
            sleep(Duration::from_millis(10)).await;
            called.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let begun = Instant::now();
    let running = Running::start(building).await;
    while calls.load(Ordering::Relaxed) < records {
        sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    assert!(running.stop().await.is_clean());
    assert_eq!(position(&store, &shard_id(0)).await, after(records as u128));
    took
}

#[tokio::test(start_paused = true)]
async fn p8_sixteen_lanes_are_fourteen_times_as_fast_with_a_handler_that_waits() {
    let (one, sixteen) = (time_of(1, 12_000).await, time_of(16, 12_000).await);
    let ratio = one.as_secs_f64() / sixteen.as_secs_f64();
    eprintln!("concurrency(1): {one:?}, concurrency(16): {sixteen:?}, {ratio:.2} times as fast");
    assert!(ratio >= 14.0, "{one:?} {sixteen:?} {ratio}");
}

/// Takes a random while, and sometimes fails.
struct Random {
    log: Log,
    rng: StdRng,
    lane: usize,
    keys: Arc<Mutex<BTreeMap<String, BTreeSet<usize>>>>,
}

impl RecordProcessor for Random {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        sleep(Duration::from_millis(self.rng.random_range(0..50))).await;
        if self.rng.random_bool(0.1) {
            return failure("sometimes");
        }
        for record in &batch {
            self.keys
                .lock()
                .unwrap()
                .entry(record.partition_key().unwrap().to_owned())
                .or_default()
                .insert(self.lane);
        }
        self.log.add(&batch);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn p8_order_per_key_holds_and_each_key_stays_in_its_lane() {
    let (stream, store, log) = (Stream::new(1).per_read(30), MemoryStore::new(), Log::default());
    let (made, keys) = (log.clone(), Arc::<Mutex<BTreeMap<_, _>>>::default());
    let seen = Arc::clone(&keys);
    let building =
        builder(&stream, store.clone(), "w").concurrency(8).batch_max_records(3).processor(move |shard| {
            Random {
                log: made.clone(),
                rng: StdRng::seed_from_u64(shard.lane() as u64),
                lane: shard.lane(),
                keys: Arc::clone(&seen),
            }
        });
    let running = Running::start(building).await;
    for number in 0..600 {
        stream.put_keyed(0, &format!("key-{}", number * 7 % 41), &number.to_string());
    }
    log.until_count(600).await;
    assert!(running.stop().await.is_clean());
    assert_eq!(position(&store, &shard_id(0)).await, after(600));
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for text in log.texts() {
        let number: u64 = text.parse().unwrap();
        let before = last.insert(format!("key-{}", number * 7 % 41), number);
        assert!(before.is_none_or(|before| before < number), "{before:?} {number}");
    }
    let lanes = keys.lock().unwrap();
    assert!(lanes.values().all(|lanes| lanes.len() == 1), "{lanes:?}");
    assert_eq!(lanes.values().flatten().collect::<BTreeSet<_>>().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn c11_failing_lane_changes_nothing_for_the_others_until_the_lookahead_is_full() {
    let (stream, store, log) = (Stream::new(1).per_read(10), MemoryStore::new(), Log::default());
    let calls = log.clone();
    let building = builder(&stream, store.clone(), "w").concurrency(4).for_each_batch(move |batch| {
        let poisoned = batch.iter().any(|record| record.data() == b"bad");
        if !poisoned {
            calls.add(&batch);
        }
        async move { if poisoned { failure("no") } else { Ok(()) } }
    });
    let running = Running::start(building.set(ConfigKey::MaxOutstandingRecords, "100")).await;
    stream.put_all(0, &["a", "bad"]);
    for number in 0..60 {
        stream.put(0, &number.to_string());
    }
    let others = 61;
    log.until(|seen| seen.len() > others / 2).await;
    sleep(Duration::from_secs(60)).await;
    let during = log.texts().len();
    assert!(during >= others * 5 / 8, "the three other lanes are done: {during}");
    assert_eq!(position(&store, &shard_id(0)).await, after(1));
    assert_eq!(running.handle.status().shards[0].handling, Some(SequenceNumber::from(2)));
    for number in 60..400 {
        stream.put(0, &number.to_string());
    }
    sleep(Duration::from_secs(60)).await;
    let full = log.texts().len();
    stream.put(0, "more");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.texts().len(), full, "nothing is read any more");
    assert!(full > during && full <= 120, "{full}");
    let status = running.handle.status().shards.remove(0);
    assert_eq!(status.state, ShardState::BackingOff);
    assert!(status.failures > 3 && status.last_error.is_some(), "{status:?}");
    assert!(running.stop().await.is_clean());
    assert_eq!(position(&store, &shard_id(0)).await, after(1));
}

/// Says what its methods are called for, with its lane.
struct Chatty(Arc<Mutex<Vec<String>>>, Duration);

impl Chatty {
    fn say(&self, what: &str, shard: &ShardContext) {
        self.0.lock().unwrap().push(format!("{what} {} {}", shard.shard_id(), shard.lane()));
    }
}

impl RecordProcessor for Chatty {
    async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.say("init", shard);
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        sleep(self.1).await;
        self.say("process", batch.shard());
        Ok(())
    }

    async fn lease_lost(&mut self, shard: &ShardContext, _: LeaseLostReason) {
        self.say("lost", shard);
    }

    async fn shard_ended(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.say("ended", shard);
        Ok(())
    }

    async fn shutdown_requested(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.say("shutdown", shard);
        Ok(())
    }
}

fn said(log: &Mutex<Vec<String>>, what: &str) -> Vec<String> {
    let mut said: Vec<_> =
        log.lock().unwrap().iter().filter(|said| said.starts_with(what)).cloned().collect();
    said.sort();
    said
}

fn each_lane(what: &str) -> Vec<String> {
    (0..3).map(|lane| format!("{what} {lane}")).collect()
}

#[tokio::test(start_paused = true)]
async fn g1_each_lane_has_a_processor_that_is_drained_and_told() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Arc::<Mutex<Vec<String>>>::default());
    for number in 0..30 {
        stream.put(0, &number.to_string());
    }
    let (low, high) = stream.split(0);
    for number in 30..60 {
        stream.put(low, &number.to_string());
    }
    let made = Arc::clone(&log);
    let building = builder(&stream, store.clone(), "w").concurrency(3);
    let handler_takes = Duration::from_secs(4);
    let running = Running::start(building.processor(move |_| Chatty(Arc::clone(&made), handler_takes))).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.position == Position::ShardEnd)).await;
    assert_eq!(said(&log, "init shard-0"), each_lane("init shard-0"));
    assert_eq!(said(&log, "ended"), each_lane("ended shard-0"));
    // The children's handlers have begun; the stop waits for all of them.
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let report = running.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert!(begun.elapsed() > Duration::from_secs(2) && begun.elapsed() < handler_takes);
    assert_eq!(said(&log, "process shard-1"), each_lane("process shard-1"));
    assert_eq!(said(&log, "shutdown shard-1"), each_lane("shutdown shard-1"));
    assert_eq!(said(&log, "shutdown shard-2"), each_lane("shutdown shard-2"));
    assert_eq!(position(&store, &shard_id(low)).await, after(60));
    assert_eq!(position(&store, &shard_id(high)).await, Position::TrimHorizon);
    assert!(said(&log, "lost").is_empty());
}

#[tokio::test(start_paused = true)]
async fn c6_every_lanes_processor_learns_that_the_lease_is_lost() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Arc::<Mutex<Vec<String>>>::default());
    for number in 0..30 {
        stream.put(0, &number.to_string());
    }
    let made = Arc::clone(&log);
    let building = builder(&stream, store.clone(), "w").concurrency(3);
    let running =
        Running::start(building.processor(move |_| Chatty(Arc::clone(&made), Duration::from_secs(3_600))))
            .await;
    let mut events = running.handle.events();
    sleep(Duration::from_secs(5)).await;
    let row = leases(&store).await.remove(0);
    // An operator moves it behind its back.
    let seek = LeaseUpdate::Seek { seen: row.epoch, to: Position::TrimHorizon, order: None };
    store.update_lease(&group(), &row.key, &seek).await.unwrap();
    while !matches!(events.recv().await.unwrap(), Event { kind: EventKind::LeaseLost { .. }, .. }) {}
    sleep(Duration::from_secs(1)).await;
    assert_eq!(said(&log, "lost shard-0"), each_lane("lost shard-0"));
    assert!(said(&log, "shutdown").is_empty(), "nothing is asked of those that lost it");
    running.kill().await;
}

#[tokio::test(start_paused = true)]
async fn c11_lane_that_cannot_be_initialised_does_not_stop_the_others() {
    struct Picky(Log, usize);
    impl RecordProcessor for Picky {
        async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
            self.1 += 1;
            if shard.lane() == 1 && self.1 < 8 { failure("not yet") } else { Ok(()) }
        }

        async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
            self.0.add(&batch);
            Ok(())
        }
    }
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    for number in 0..40 {
        stream.put(0, &number.to_string());
    }
    let made = log.clone();
    let building = builder(&stream, store, "w").concurrency(2);
    let running = Running::start(building.processor(move |_| Picky(made.clone(), 0))).await;
    let mut events = running.handle.events();
    let seen = log.until_count(5).await;
    let first = seen[0].at;
    assert!(seen.len() < 40, "one lane is not ready yet");
    let seen = log.until_count(40).await;
    assert!(seen[39].at - first > Duration::from_secs(3), "{:?}", seen[39].at - first);
    let failed = std::iter::from_fn(|| events.try_recv().ok())
        .filter(|event| {
            matches!(event, Event { kind: EventKind::HandlerFailed { call: HandlerCall::Init, .. }, .. })
        })
        .count();
    assert_eq!(failed, 7);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c4_call_in_one_lane_cannot_checkpoint_past_what_others_have_not_done() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    for number in 0..30 {
        stream.put(0, &number.to_string());
    }
    let (calls, refused) = (log.clone(), Arc::<Mutex<Vec<ErrorKind>>>::default());
    let kinds = Arc::clone(&refused);
    let building = builder(&stream, store.clone(), "w").concurrency(2).for_each_batch(move |batch| {
        calls.add(&batch);
        let kinds = Arc::clone(&kinds);
        async move {
            if batch.shard().lane() == 0 {
                sleep(Duration::from_secs(3_600)).await;
            }
            if let Err(error) = batch.checkpoint_at(&batch.records()[batch.len() - 1]).await {
                kinds.lock().unwrap().push(error.kind());
            }
            Ok(())
        }
    });
    let running = Running::start(building).await;
    log.until_count(30).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*refused.lock().unwrap(), [ErrorKind::Data]);
    let first_of_other_lane = running.handle.status().shards[0].handling.unwrap();
    assert!(position(&store, &shard_id(0)).await < Position::after(first_of_other_lane));
    running.kill().await;
}
