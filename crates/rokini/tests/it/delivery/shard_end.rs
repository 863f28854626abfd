//! Closed shards, their children, and shards that are gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    FaultyStore, LeaseRow, LeaseStoreExt, LeaseUpdate, MemoryStore, Position, SequenceNumber, ShardId,
    StoreFault, StoreOperation, WorkerId, WriteOutcome,
};
use rokini::{
    AckToken, Batch, ErrorKind, Event, EventKind, HandlerCall, HandlerError, OnFailure, RecordProcessor,
    ShardContext, ShardState,
};
use tokio::time::{Instant, sleep};

use crate::delivery::policy::Sink;
use crate::harness::{
    BuildLogging, Log, Running, about_shard, builder, failure, group, leases, until_leases,
};
use crate::stream::{Op, Stream, shard_id};

fn ended(rows: &[LeaseRow], shard: usize) -> bool {
    rows.iter().any(|row| row.key.shard == shard_id(shard) && row.position.is_shard_end())
}

fn owned(rows: &[LeaseRow], shard: usize) -> bool {
    rows.iter().any(|row| row.key.shard == shard_id(shard) && row.owner.is_some())
}

#[tokio::test(start_paused = true)]
async fn r4_shard_end_needs_no_user_code() {
    // An empty shard, one with records, and one whose last record is checkpointed already.
    for automatic in [true, false] {
        let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
        stream.put_all(1, &["a", "b"]);
        stream.put(2, "c");
        let logging = |name: &str| {
            let log = log.clone();
            builder(&stream, store.clone(), name).auto_checkpoint(automatic).for_each_batch(move |batch| {
                log.add(&batch);
                async move { batch.checkpoint_at(&batch.records()[batch.len() - 1]).await.map_err(Into::into) }
            })
        };
        let first = Running::start(logging("w1")).await;
        log.until_count(3).await;
        first.stop().await;
        let kids: Vec<usize> = (0..3).flat_map(|shard| <[usize; 2]>::from(stream.split(shard))).collect();
        let begun = Instant::now();
        let second = Running::start(logging("w2")).await;
        for (index, kid) in kids.iter().enumerate() {
            stream.put(*kid, &index.to_string());
        }
        log.until_count(9).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let rows = leases(&store).await;
        for shard in 0..3 {
            let row = rows.iter().find(|row| row.key.shard == shard_id(shard)).unwrap();
            assert_eq!((row.position, &row.owner), (Position::ShardEnd, &None));
            assert_eq!(row.children, [shard_id(kids[2 * shard]), shard_id(kids[2 * shard + 1])]);
        }
        assert_eq!(log.seen().len(), 9, "nothing twice: {:?}", log.texts());
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn r5_children_come_after_all_records_of_every_parent() {
    // The slow one of a merge's parents is the first that the child names, or the second.
    for slow_first in [true, false] {
        let (stream, store, log) = (Stream::new(2).per_read(1), MemoryStore::new(), Log::default());
        stream.put_all(0, &["p", "p", "p"]);
        stream.put(1, "q");
        // A merge of a shard that is quickly done and of a child of one that is slow.
        let (low, high) = stream.split(0);
        stream.put(low, "low");
        stream.put(high, "high");
        let merged = if slow_first { stream.merge(high, 1) } else { stream.merge(1, high) };
        stream.put(merged, "merged");
        let calls = log.clone();
        let building = builder(&stream, store.clone(), "w").for_each_batch(move |batch| {
            calls.add(&batch);
            let slow = batch.shard().shard_id() == &shard_id(0);
            async move {
                if slow {
                    sleep(Duration::from_secs(20)).await;
                }
                Ok(())
            }
        });
        let running = Running::start(building).await;
        log.until_count(7).await;
        let texts = log.texts();
        let at = |wanted: &str| texts.iter().position(|text| text == wanted).unwrap();
        let last_p = texts.iter().rposition(|text| text == "p").unwrap();
        assert!(at("low") > last_p && at("high") > last_p, "{texts:?}");
        assert!(at("merged") > at("high") && at("merged") > at("q"), "{texts:?}");
        running.stop().await;
    }
}

/// Fails at the end so many times, and tells when it was called.
struct Ending {
    calls: Arc<Mutex<Vec<ShardId>>>,
    failures: usize,
}

impl RecordProcessor for Ending {
    async fn process(&mut self, _: Batch) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn shard_ended(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.calls.lock().unwrap().push(shard.shard_id().clone());
        if self.failures > 0 {
            self.failures -= 1;
            return failure("not flushed");
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn c1_shard_is_not_finished_before_the_processor_says_so() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put(0, "a");
    stream.split(0);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&calls);
    let building = builder(&stream, store.clone(), "w")
        .processor(move |_| Ending { calls: Arc::clone(&told), failures: 4 });
    let running = Running::start(building).await;
    let mut events = running.handle.events();
    sleep(Duration::from_millis(500)).await;
    assert!(!ended(&leases(&store).await, 0));
    until_leases(&store, |rows| ended(rows, 0)).await;
    assert_eq!(*calls.lock().unwrap(), vec![shard_id(0); 5]);
    let failed = std::iter::from_fn(|| events.try_recv().ok()).filter(|event| {
        matches!(event, Event { kind: EventKind::HandlerFailed { call: HandlerCall::ShardEnded, .. }, .. })
    });
    assert_eq!(failed.count(), 4);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c13_shard_end_whose_write_fails_or_whose_reply_is_lost_is_stored_in_the_end() {
    for fault in [StoreFault::FailBefore, StoreFault::LoseReply, StoreFault::Retry, StoreFault::Throttle] {
        for operation in
            [StoreOperation::Finish, StoreOperation::Insert, StoreOperation::Read, StoreOperation::Checkpoint]
        {
            let (stream, inner, log) = (Stream::new(1), MemoryStore::new(), Log::default());
            let store = FaultyStore::new(inner.clone(), 1);
            stream.put(0, "a");
            let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
            log.until_count(1).await;
            sleep(Duration::from_secs(1)).await;
            store.next(operation, fault, 1);
            stream.put(0, "b");
            let (low, high) = stream.split(0);
            stream.put(low, "c");
            stream.put(high, "d");
            let rows = until_leases(&inner, |rows| ended(rows, 0) && owned(rows, low) && owned(rows, high));
            rows.await;
            log.until_count(4).await;
            sleep(Duration::from_secs(30)).await;
            let texts = log.texts();
            assert_eq!(texts[..2], ["a", "b"], "{operation:?} {fault:?}");
            assert_eq!(texts.len(), 4, "{operation:?} {fault:?}: nothing twice: {texts:?}");
            assert!(running.stop().await.is_clean());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r8_a_listing_that_fails_delays_only_the_end_of_one_shard() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    until_leases(&store, |rows| owned(rows, 0) && owned(rows, 1)).await;
    // The end does not name its children, so the listing is asked.
    stream.silent_end();
    stream.fail(Op::List, ErrorKind::Throttled, 6);
    let (low, _) = stream.split(0);
    stream.put(1, "other");
    stream.put(low, "child");
    log.until_count(1).await;
    assert_eq!(log.texts(), ["other"]);
    log.until_count(2).await;
    assert_eq!(log.texts(), ["other", "child"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn r3_shard_that_aged_out_is_retired_with_an_event() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let first = Running::logging(builder(&stream, store.clone(), "w1"), &log).await;
    log.until_count(1).await;
    first.stop().await;
    let (low, _) = stream.split(0);
    stream.forget(0);
    stream.put(low, "b");
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    let mut events = second.handle.events();
    log.until_count(2).await;
    assert_eq!(log.texts(), ["a", "b"]);
    let position = Position::after(SequenceNumber::from(1));
    let gone = EventKind::ShardGone { position };
    let mut told = std::iter::from_fn(|| events.try_recv().ok());
    assert!(told.any(|event| about_shard(&event, &stream, 0) && event.kind == gone));
    until_leases(&store, |rows| ended(rows, 0)).await;
    second.stop().await;
}

/// As where a listing and a read are answered by what does not know a new shard yet.
#[tokio::test(start_paused = true)]
async fn r3_a_shard_that_is_missing_for_a_moment_is_not_at_its_end() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    until_leases(&store, |rows| owned(rows, 0)).await;
    for _ in 0..3 {
        stream.hide(0, true);
        stream.break_shard(0, Some(ErrorKind::Data));
        sleep(Duration::from_secs(7)).await;
        stream.hide(0, false);
        stream.break_shard(0, None);
        sleep(Duration::from_secs(60)).await;
    }
    stream.put(0, "a");
    log.until_count(1).await;
    assert!(!ended(&leases(&store).await, 0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c8_data_error_of_a_shard_that_is_still_listed_retires_nothing() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.break_shard(0, Some(ErrorKind::Data));
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    sleep(Duration::from_secs(120)).await;
    assert!(!ended(&leases(&store).await, 0));
    stream.break_shard(0, None);
    stream.put(0, "a");
    log.until_count(1).await;
    running.stop().await;
}

/// Keeps the first tokens it gets, acks later ones at once, and takes its time at the end.
struct Flushing {
    log: Log,
    kept: Arc<Mutex<Vec<AckToken>>>,
    /// How often the end fails.
    failures: usize,
    takes: Duration,
}

impl RecordProcessor for Flushing {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        let before = self.log.texts();
        self.log.add(&batch);
        let of_parent = *batch.shard().shard_id() == shard_id(0);
        for (record, token) in batch.into_acks() {
            let first = !before.iter().any(|text| text.as_bytes() == record.data());
            if first && of_parent { self.kept.lock().unwrap().push(token) } else { token.ack() }
        }
        Ok(())
    }

    async fn shard_ended(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        sleep(self.takes).await;
        if self.failures > 0 {
            self.failures -= 1;
            return failure("not flushed");
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_token_that_is_not_acked_while_shard_ended_runs_does_not_stop_the_shard() {
    for (lanes, how) in [1, 3]
        .into_iter()
        .flat_map(|lanes| ["fails", "is dropped", "is late", "becomes a dead letter"].map(|how| (lanes, how)))
    {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        stream.put_all(0, &["a", "b"]);
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (calls, tokens) = (log.clone(), Arc::clone(&kept));
        let mut building = builder(&stream, store.clone(), "w").concurrency(lanes);
        if how == "is late" {
            building = building.handler_timeout(Duration::from_secs(3));
        }
        if how == "becomes a dead letter" {
            building =
                building.on_failure(OnFailure::DeadLetter).max_attempts(1).dead_letter_sink(Sink::default());
        }
        let building = building.processor(move |_| Flushing {
            log: calls.clone(),
            kept: Arc::clone(&tokens),
            failures: 0,
            takes: Duration::from_secs(1),
        });
        let running = Running::start(building).await;
        let begun = Instant::now();
        log.until_count(2).await;
        sleep(Duration::from_millis(2_500)).await;
        let (low, _) = stream.split(0);
        stream.put(low, "c");
        sleep(Duration::from_millis(300)).await;
        let state = running.handle.status().shards[0].state;
        assert_eq!(state, ShardState::Handling, "{lanes} {how}: at the end");
        assert!(!ended(&leases(&store).await, 0), "{lanes} {how}");
        match how {
            "is late" => sleep(Duration::from_secs(1)).await,
            "is dropped" => kept.lock().unwrap().clear(),
            _ => kept.lock().unwrap().drain(..).for_each(|token| token.fail("no")),
        }
        let again = if how == "becomes a dead letter" { 1 } else { 3 };
        log.until_count(2 + again).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{lanes} {how}: {:?}", begun.elapsed());
        until_leases(&store, |rows| ended(rows, 0)).await;
        assert_eq!(log.texts().last().map(String::as_str), Some("c"), "{lanes} {how}: {:?}", log.texts());
        assert!(running.stop().await.is_clean());
    }
}

/// In a loop that never waits no time passes on a paused clock, so a watch outside of it has to tell.
#[test]
fn o5_a_token_that_fails_after_shard_ended_did_makes_no_busy_loop() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            for then in [OnFailure::Retry, OnFailure::Halt] {
                fail_after_a_failed_end(then).await;
                tell.send(()).unwrap();
            }
        });
    });
    for _ in 0..2 {
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(()), "the worker goes round without end");
    }
}

async fn fail_after_a_failed_end(then: OnFailure) {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (calls, tokens) = (log.clone(), Arc::clone(&kept));
    let mut building = builder(&stream, store.clone(), "w").on_failure(then);
    if then == OnFailure::Halt {
        building = building.max_attempts(1);
    }
    let building = building.processor(move |_| Flushing {
        log: calls.clone(),
        kept: Arc::clone(&tokens),
        failures: 1,
        takes: Duration::ZERO,
    });
    let running = Running::start(building).await;
    let mut events = running.handle.events();
    log.until_count(1).await;
    stream.split(0);
    while !matches!(
        events.recv().await.unwrap(),
        Event { kind: EventKind::HandlerFailed { call: HandlerCall::ShardEnded, .. }, .. }
    ) {}
    // The back-off of the end is over before that of the record.
    sleep(Duration::from_millis(40)).await;
    kept.lock().unwrap().remove(0).fail("no");
    sleep(Duration::from_secs(60)).await;
    if then == OnFailure::Halt {
        assert!(!ended(&leases(&store).await, 0));
        assert!(running.handle.retry_halted(&shard_id(0)).unwrap());
    }
    until_leases(&store, |rows| ended(rows, 0)).await;
    assert_eq!(log.texts(), ["a", "a"]);
    assert!(running.stop().await.is_clean());
}

/// As an answer without an iterator, taken for the end, leaves it.
#[tokio::test(start_paused = true)]
async fn a5_an_open_shard_that_is_stored_as_ended_is_read_again() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let audited = |name: &str| {
        builder(&stream, store.clone(), name).audit_interval(Duration::from_secs(5)).build_logging(&log)
    };
    let first = audited("w1").await;
    stream.put_each(2, "before");
    log.until_count(2).await;
    first.stop().await;
    let row = leases(&store).await.into_iter().find(|row| row.key.shard == shard_id(0)).unwrap();
    let arrived = row.metadata.record_arrival_millis.unwrap();
    let free = LeaseUpdate::Acquire {
        by: "x#0000000000000001".parse::<WorkerId>().unwrap(),
        seen: row.epoch,
        at_least: row.epoch,
        caught_up_millis: None,
    };
    let WriteOutcome::Applied { after: held, .. } =
        store.update_lease(&group(), &row.key, &free).await.unwrap()
    else {
        panic!("the lease is free");
    };
    let (owner, epoch) = (held.owner.unwrap(), held.epoch);
    let finish = LeaseUpdate::Finish { owner, epoch, children: Vec::new(), at: 0 };
    store.update_lease(&group(), &row.key, &finish).await.unwrap();
    assert!(ended(&leases(&store).await, 0));

    let second = audited("w2").await;
    let mut events = second.handle.events();
    stream.put_each(2, "after");
    let begun = Instant::now();
    log.until(|seen| seen.iter().filter(|seen| seen.text == "after").count() == 2).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let mut taken_back = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::EndTakenBack { position } = event.kind {
            taken_back.push(position);
        }
    }
    assert_eq!(taken_back, [Position::AtTimestamp(arrived)]);
    // A shard that ended in order stays ended.
    stream.split(1);
    until_leases(&store, |rows| ended(rows, 1)).await;
    sleep(Duration::from_secs(60)).await;
    assert!(ended(&leases(&store).await, 1));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t1_shards_that_fail_together_ask_once_what_became_of_their_stream() {
    let (stream, store, log) = (Stream::new(40), MemoryStore::new(), Log::default());
    let running = builder(&stream, store, "w").build_logging(&log).await;
    stream.put_each(40, "a");
    log.until_count(40).await;
    for shard in 0..40 {
        stream.break_shard(shard, Some(ErrorKind::Data));
    }
    let before = (stream.calls(Op::Describe), stream.calls(Op::List));
    sleep(Duration::from_secs(60)).await;
    let asked = (stream.calls(Op::Describe) - before.0, stream.calls(Op::List) - before.1);
    assert!((2..40).contains(&asked.0) && asked.1 < 40, "{asked:?}");
    running.stop().await;
}
