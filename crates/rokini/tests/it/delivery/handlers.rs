//! Handlers that fail, and what they do to positions and to other shards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    CountingStore, FaultyStore, LeaseStore, MemoryStore, Position, SequenceNumber, StoreFault, StoreOperation,
};
use rokini::{
    Batch, ConsumerBuilder, ErrorKind, Event, EventKind, HandlerCall, HandlerError, HandlerFailure, Record,
    RecordProcessor, ShardContext, ShardState,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, after, builder, failure, position, until_leases};
use crate::stream::{Op, Stream, shard_id};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Error,
    Panic,
    Timeout,
}

async fn fail(way: Way) -> Result<(), HandlerError> {
    match way {
        Way::Error => failure("no"),
        Way::Panic => panic!("oh"),
        Way::Timeout => {
            sleep(Duration::from_secs(86_400)).await;
            Ok(())
        }
    }
}

/// Logs each call, and fails those that have `text` so many times.
fn failing(
    builder: ConsumerBuilder,
    log: &Log,
    way: Way,
    text: &'static str,
    times: usize,
) -> ConsumerBuilder {
    let (log, left) = (log.clone(), Arc::new(AtomicUsize::new(times)));
    builder.handler_timeout(Duration::from_secs(7)).for_each_batch(move |batch| {
        log.add(&batch);
        let poisoned = batch.iter().any(|record| record.data() == text.as_bytes());
        let fails =
            poisoned && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        async move { if fails { fail(way).await } else { Ok(()) } }
    })
}

#[tokio::test(start_paused = true)]
async fn c1_failing_handler_gets_the_same_records_again_and_no_position_reaches_them() {
    for way in [Way::Error, Way::Panic, Way::Timeout] {
        let (stream, store, log) = (Stream::new(2).per_read(2), MemoryStore::new(), Log::default());
        stream.put_all(0, &["a", "b", "bad", "c", "d"]);
        stream.put(1, "x");
        let running =
            Running::start(failing(builder(&stream, store.clone(), "w"), &log, way, "bad", 5)).await;
        let mut events = running.handle.events();
        log.until(|seen| seen.iter().filter(|seen| seen.text == "bad").count() == 5).await;
        // Meanwhile the position stands before it, and the other shard goes on.
        stream.put(1, "y");
        log.until(|seen| seen.iter().any(|seen| seen.text == "y")).await;
        let before_it = after(2);
        until_leases(&store, |rows| rows[0].position == before_it).await;

        log.until(|seen| seen.iter().any(|seen| seen.text == "d")).await;
        assert!(running.stop().await.is_clean());
        let mine: Vec<_> = log.seen().into_iter().filter(|seen| seen.shard == shard_id(0)).collect();
        let texts: Vec<_> = mine.iter().map(|seen| seen.text.as_str()).collect();
        let again = ["bad", "c"].repeat(6);
        assert_eq!(texts, [&["a", "b"][..], &again, &["d"]].concat(), "{way:?}");
        // Back-off: each gap is longer than the one before would allow at its shortest.
        let calls: Vec<_> = mine.iter().filter(|seen| seen.text == "bad").map(|seen| seen.at).collect();
        let hang = if way == Way::Timeout { Duration::from_secs(7) } else { Duration::ZERO };
        for (failures, pair) in calls.windows(2).enumerate() {
            let longest = Duration::from_millis(100 << failures);
            let gap = pair[1] - pair[0] - hang;
            assert!(gap >= longest / 2 && gap <= longest + Duration::from_millis(2), "{way:?} {gap:?}");
        }
        let failed =
            std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event {
                Event {
                    kind:
                        EventKind::HandlerFailed {
                            call: HandlerCall::Process, failure, first, failures: 5, ..
                        },
                    ..
                } => Some((failure, first)),
                _ => None,
            });
        let expected = match way {
            Way::Error => HandlerFailure::Error("no".to_owned()),
            Way::Panic => HandlerFailure::Panic("oh".to_owned()),
            Way::Timeout => HandlerFailure::Timeout(Duration::from_secs(7)),
        };
        assert_eq!(failed, Some((expected, Some(SequenceNumber::from(3)))));
        assert_eq!(position(&store, &shard_id(0)).await, after(5));
    }
}

#[tokio::test(start_paused = true)]
async fn c1_record_in_a_failing_handler_comes_to_the_successor() {
    let (stream, store, log) = (Stream::new(1).per_read(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "bad", "b"]);
    let first =
        Running::start(failing(builder(&stream, store.clone(), "w1"), &log, Way::Error, "bad", usize::MAX));
    let first = first.await;
    log.until(|seen| seen.iter().filter(|seen| seen.text == "bad").count() == 8).await;
    let begun = Instant::now();
    let report = first.stop().await;
    assert!(report.is_clean(), "a back-off does not hold up a shutdown: {report:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    log.clear();
    let second = Running::logging(builder(&stream, store, "w2"), &log).await;
    log.until_count(2).await;
    assert_eq!(log.texts(), ["bad", "b"]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_for_each_repeats_the_failing_record_only() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Arc::new(Mutex::new(Vec::new())));
    stream.put_all(0, &["a", "b", "bad", "c"]);
    let (calls, left) = (Arc::clone(&log), Arc::new(AtomicUsize::new(3)));
    let building = builder(&stream, store, "w").for_each(move |record: Record| {
        let text = String::from_utf8(record.data().to_vec()).unwrap();
        calls.lock().unwrap().push(text.clone());
        let fails = text == "bad"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        async move { if fails { failure("no") } else { Ok(()) } }
    });
    let running = Running::start(building).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*log.lock().unwrap(), ["a", "b", "bad", "bad", "bad", "bad", "c"]);
    running.stop().await;
}

/// Fails to be made, then to be initialised, so many times each.
struct Awkward(Log, Arc<Mutex<(usize, usize)>>);

impl RecordProcessor for Awkward {
    async fn init(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        let mut left = self.1.lock().unwrap();
        if left.1 > 0 {
            left.1 -= 1;
            return failure("not yet");
        }
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        self.0.add(&batch);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn c1_processor_that_cannot_be_made_or_initialised_at_first_misses_nothing() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let (made, left) = (log.clone(), Arc::new(Mutex::new((2_usize, 2_usize))));
    let building = builder(&stream, store, "w").processor(move |_| {
        let fails = {
            let mut left = left.lock().unwrap();
            let fails = left.0 > 0;
            left.0 = left.0.saturating_sub(1);
            fails
        };
        assert!(!fails, "cannot be made");
        Awkward(made.clone(), Arc::clone(&left))
    });
    let running = Running::start(building).await;
    let mut events = running.handle.events();
    log.until_count(2).await;
    assert_eq!(log.texts(), ["a", "b"]);
    let mut failed = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event { kind: EventKind::HandlerFailed { call, .. }, .. } = event {
            failed.push(call);
        }
    }
    assert_eq!(failed, [HandlerCall::Create, HandlerCall::Create, HandlerCall::Init, HandlerCall::Init]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c11_shard_that_cannot_be_read_changes_nothing_for_the_others() {
    let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
    stream.break_shard(1, Some(ErrorKind::Permission));
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let mut events = running.handle.events();
    for round in 0..20 {
        stream.put_each(3, &round.to_string());
        let before = Instant::now();
        log.until(|seen| seen.len() == 2 * (round + 1)).await;
        assert!(before.elapsed() <= Duration::from_millis(200), "{:?}", before.elapsed());
        sleep(Duration::from_secs(5)).await;
    }
    let mut pauses = BTreeSet::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event { shard: Some(shard), kind: EventKind::ReadFailed { retry_in, .. }, .. } => {
                assert_eq!(shard, shard_id(1));
                pauses.insert(retry_in);
            }
            Event { kind: EventKind::LeaseLost { .. }, .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    // To five seconds at most, so that it flows again soon after somebody allows it.
    let longest = *pauses.last().unwrap();
    assert!(
        Duration::from_secs(3) < longest && longest <= Duration::from_secs(5),
        "it backs off: {pauses:?}"
    );
    let status = running.handle.status();
    assert!(status.shards[1].last_error.is_some() && status.shards[0].last_error.is_none());
    stream.break_shard(1, None);
    log.until(|seen| seen.len() == 60).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c11_failing_checkpoint_is_tried_again_and_delivery_goes_on() {
    let (stream, inner, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let store = FaultyStore::new(inner.clone(), 1);
    store.next(StoreOperation::Checkpoint, StoreFault::FailBefore, 5);
    let running = Running::logging(builder(&stream, store, "w"), &log).await;
    let mut events = running.handle.events();
    for text in ["a", "b", "c"] {
        stream.put(0, text);
        log.until(|seen| seen.last().is_some_and(|seen| seen.text == text)).await;
    }
    until_leases(&inner, |rows| rows[0].position == after(3)).await;
    let failures = std::iter::from_fn(|| events.try_recv().ok())
        .filter(|event| matches!(event, Event { kind: EventKind::CheckpointFailed { .. }, .. }));
    assert_eq!(failures.count(), 5);
    assert_eq!(log.texts(), ["a", "b", "c"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn k1_positions_are_stored_at_most_once_an_interval() {
    let (stream, log) = (Stream::new(1), Log::default());
    let store = CountingStore::new(MemoryStore::new());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    for number in 0..600 {
        stream.put(0, &number.to_string());
        sleep(Duration::from_millis(100)).await;
    }
    log.until_count(600).await;
    let writes = store.snapshot().of(StoreOperation::Checkpoint);
    assert!((12..=13).contains(&writes), "{writes} writes in a minute at one each 5 s");
    // Idle: what is done is stored once, then nothing.
    sleep(Duration::from_secs(6)).await;
    let before = store.snapshot().of(StoreOperation::Checkpoint);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.snapshot().of(StoreOperation::Checkpoint), before);
    assert_eq!(position(&store, &shard_id(0)).await, after(600));
    running.stop().await;
    assert_eq!(
        store.snapshot().of(StoreOperation::Checkpoint),
        before,
        "a clean stop writes in the hand-over only"
    );
}

/// Keeps batches for a test to checkpoint by.
#[derive(Clone, Default)]
struct Keep(Log, Arc<Mutex<Vec<Batch>>>);

impl RecordProcessor for Keep {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        self.0.add(&batch);
        self.1.lock().unwrap().push(batch);
        Ok(())
    }
}

async fn keeping(stream: &Stream, store: impl LeaseStore, name: &str) -> (Running, Keep) {
    let keep = Keep::default();
    let made = keep.clone();
    let building = builder(stream, store, name).auto_checkpoint(false).processor(move |_| made.clone());
    (Running::start(building).await, keep)
}

#[tokio::test(start_paused = true)]
async fn c4_manual_checkpoint_is_stored_when_it_returns_and_never_goes_back() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_all(0, &["a", "b", "c", "d"]);
    let (running, keep) = keeping(&stream, store.clone(), "w1").await;
    keep.0.until_count(4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::TrimHorizon, "nothing by itself");
    let batch = keep.1.lock().unwrap()[0].clone();
    let third = after(3);
    batch.checkpoint_at(&batch.records()[2]).await.unwrap();
    assert_eq!(position(&store, &shard_id(0)).await, third);
    batch.checkpoint_at(&batch.records()[0]).await.unwrap();
    assert_eq!(position(&store, &shard_id(0)).await, third, "an earlier one is stored already");
    assert!(running.stop().await.is_clean());
    assert_eq!(position(&store, &shard_id(0)).await, third, "nor does the stop store more");

    let (second, kept) = keeping(&stream, store.clone(), "w2").await;
    kept.0.until_count(1).await;
    assert_eq!(kept.0.texts(), ["d"]);
    // By the hold that delivered it no more, and not by the one that did not.
    let late = batch.checkpoint_at(&batch.records()[3]).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
    let own = kept.1.lock().unwrap()[0].clone();
    let foreign = own.checkpoint_at(&batch.records()[3]).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Fenced, "{foreign}");
    assert_eq!(position(&store, &shard_id(0)).await, third);
    own.checkpoint_at(&own.records()[0]).await.unwrap();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c4_record_of_another_shard_is_refused() {
    let (stream, store) = (Stream::new(2), MemoryStore::new());
    stream.put(0, "a");
    stream.put(1, "b");
    let (running, keep) = keeping(&stream, store.clone(), "w").await;
    keep.0.until_count(2).await;
    let batches = keep.1.lock().unwrap().clone();
    let error = batches[0].checkpoint_at(&batches[1].records()[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let made_up = Record::new(SequenceNumber::from(1), "k", "a", 0);
    assert_eq!(batches[0].checkpoint_at(&made_up).await.unwrap_err().kind(), ErrorKind::Fenced);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_records_checkpointed_by_a_handler_that_then_fails_do_not_come_again() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c"]);
    let calls = log.clone();
    let building = builder(&stream, store, "w").for_each_batch(move |batch| {
        calls.add(&batch);
        async move {
            if batch.attempt() == 1 {
                batch.checkpoint_at(&batch.records()[1]).await?;
                return failure("after b");
            }
            Ok(())
        }
    });
    let running = Running::start(building).await;
    log.until_count(4).await;
    assert_eq!(log.texts(), ["a", "b", "c", "c"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c13_manual_checkpoint_waits_out_a_store_that_does_not_answer() {
    let (stream, inner) = (Stream::new(1), MemoryStore::new());
    let store = FaultyStore::new(inner.clone(), 1);
    stream.put(0, "a");
    let (running, keep) = keeping(&stream, store.clone(), "w").await;
    keep.0.until_count(1).await;
    let batch = keep.1.lock().unwrap()[0].clone();
    store.next(StoreOperation::Checkpoint, StoreFault::LoseReply, 1);
    store.next(StoreOperation::Checkpoint, StoreFault::FailBefore, 3);
    batch.checkpoint_at(&batch.records()[0]).await.unwrap();
    assert_eq!(position(&inner, &shard_id(0)).await, after(1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn checkpoint_by_the_handle() {
    let (stream, store) = (Stream::new(2), MemoryStore::new());
    stream.put_all(0, &["a", "b"]);
    let (running, keep) = keeping(&stream, store.clone(), "w").await;
    keep.0.until_count(2).await;
    let handle = &running.handle;
    let sequence = SequenceNumber::from;
    handle.checkpoint(&shard_id(0), sequence(1)).await.unwrap();
    assert_eq!(position(&store, &shard_id(0)).await, Position::after(sequence(1)));
    let ahead = handle.checkpoint(&shard_id(0), sequence(3)).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::Data, "{ahead}");
    let elsewhere = handle.checkpoint(&shard_id(7), sequence(1)).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Fenced, "{elsewhere}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c11_response_is_read_while_the_handler_runs_and_only_one() {
    let (stream, store, log) = (Stream::new(1).per_read(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c", "d", "e"]);
    let calls = log.clone();
    let building = builder(&stream, store, "w").for_each_batch(move |batch| {
        calls.add(&batch);
        async {
            sleep(Duration::from_secs(10)).await;
            Ok(())
        }
    });
    let running = Running::start(building).await;
    log.until_count(1).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stream.calls(Op::Read), 2, "the response in the handler and one more");
    let status = running.handle.status();
    assert_eq!(status.shards[0].state, ShardState::Handling);
    assert_eq!(status.shards[0].handling, Some(SequenceNumber::from(1)));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_never_wait_let_others_run() {
    let (stream, store) = (Stream::new(1).per_read(5_000), MemoryStore::new());
    for number in 0..5_000 {
        stream.put(0, &number.to_string());
    }
    let (calls, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    // The clock stands still, so it is the number of calls that ends their turn.
    let other = tokio::spawn({
        let (calls, first) = (Arc::clone(&calls), Arc::clone(&first));
        async move {
            first.notified().await;
            calls.load(Ordering::Relaxed)
        }
    });
    let called = Arc::clone(&calls);
    let building = builder(&stream, store, "w").for_each(move |_| {
        if called.fetch_add(1, Ordering::Relaxed) == 0 {
            first.notify_one();
        }
        async { Ok(()) }
    });
    let running = Running::start(building).await;
    let called_by_then = other.await.unwrap();
    assert!((1..=1_000).contains(&called_by_then), "{called_by_then} calls in one turn");
    while calls.load(Ordering::Relaxed) < 5_000 {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(running.stop().await.is_clean());
}
