//! Ack tokens: records that are done when user code says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{MemoryStore, Position, SequenceNumber};
use rokini::{
    AckToken, Batch, ConsumerBuilder, Event, EventKind, HandlerError, RecordProcessor, ShardContext,
    ShardState, ShardStop,
};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, after, builder, failure, position, until_leases, until_position};
use crate::stream::{Op, Stream, shard_id};

/// The tokens that are out, by the texts of their records.
#[derive(Debug, Clone, Default)]
struct Tokens(Arc<Mutex<BTreeMap<String, AckToken>>>);

impl Tokens {
    fn take(&self, text: &str) -> AckToken {
        self.0.lock().unwrap().remove(text).unwrap_or_else(|| panic!("no token of {text}"))
    }

    fn keep(&self, batch: Batch) {
        for (record, token) in batch.into_acks() {
            self.0.lock().unwrap().insert(String::from_utf8(record.data().to_vec()).unwrap(), token);
        }
    }
}

/// Logs records and keeps their tokens.
fn keeping(building: ConsumerBuilder, log: &Log) -> (ConsumerBuilder, Tokens) {
    let (log, tokens) = (log.clone(), Tokens::default());
    let kept = tokens.clone();
    let building = building.for_each_batch(move |batch| {
        kept.keep(batch.clone());
        log.add(&batch);
        async { Ok(()) }
    });
    (building, tokens)
}

#[tokio::test(start_paused = true)]
async fn c4_acks_in_any_order_store_the_end_of_the_contiguous_done_prefix() {
    let (stream, store, log) = (Stream::new(1).per_read(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c", "d", "e"]);
    let (building, tokens) = keeping(builder(&stream, store.clone(), "w"), &log);
    let running = Running::start(building).await;
    log.until_count(5).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::TrimHorizon, "nothing is done");
    let shown = || running.handle.status().shards.swap_remove(0);
    assert_eq!((shown().state, shown().handling), (ShardState::AwaitingAcks, Some(SequenceNumber::from(1))));
    for text in ["e", "c", "b"] {
        tokens.take(text).ack();
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::TrimHorizon);
    tokens.take("a").ack();
    until_position(&store, after(3)).await;
    tokens.take("d").ack();
    until_position(&store, after(5)).await;
    assert_eq!(log.texts(), ["a", "b", "c", "d", "e"], "nothing comes twice");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c4_dropped_and_failed_tokens_bring_their_records_again_before_new_ones() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c"]);
    let (building, tokens) = keeping(builder(&stream, store.clone(), "w"), &log);
    let running = Running::start(building).await;
    let mut events = running.handle.events();
    log.until_count(3).await;
    drop(tokens.take("c"));
    tokens.take("a").fail("not now");
    sleep(Duration::from_millis(1)).await;
    stream.put(0, "d");
    log.until_count(6).await;
    assert_eq!(log.texts(), ["a", "b", "c", "a", "c", "d"]);
    let failures = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event {
        Event { kind: EventKind::HandlerFailed { failure, first, failures: 1, .. }, .. } => {
            Some((first, failure.to_string()))
        }
        _ => None,
    });
    assert_eq!(
        failures.collect::<Vec<_>>(),
        [
            (Some(SequenceNumber::from(3)), "an ack token was dropped without an ack".to_owned()),
            (Some(SequenceNumber::from(1)), "not now".to_owned())
        ]
    );
    for text in ["a", "b", "c", "d"] {
        tokens.take(text).ack();
    }
    until_position(&store, after(4)).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c4_tokens_that_are_out_hold_back_reading_and_an_ack_lets_it_go_on() {
    let (stream, store, log) = (Stream::new(1).per_read(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let building = builder(&stream, store, "w").set(rokini::ConfigKey::MaxOutstandingRecords, "4");
    let (building, tokens) = keeping(building, &log);
    let running = Running::start(building).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.texts(), ["a", "b", "c", "d"], "no more than the window");
    assert_eq!(stream.calls(Op::Read), 3, "two responses out and one read ahead");
    tokens.take("b").ack();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.texts().len(), 4, "the window begins at the first that is not done");
    tokens.take("a").ack();
    log.until_count(6).await;
    drop(tokens);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn g1_drain_waits_for_tokens_and_a_deadline_does_not() {
    for in_time in [true, false] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        stream.put_all(0, &["a", "b", "c"]);
        let (building, tokens) = keeping(builder(&stream, store.clone(), "w"), &log);
        let running = Running::start(building).await;
        log.until_count(3).await;
        tokens.take("a").ack();
        let begun = Instant::now();
        let late = tokens.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(if in_time { 5 } else { 30 })).await;
            // One fails: nothing comes again at a stop.
            late.take("b").ack();
            late.take("c").fail("no");
        });
        let report = running.stop().await;
        if in_time {
            assert_eq!(begun.elapsed(), Duration::from_secs(5));
            assert!(report.is_clean(), "{report:?}");
            assert_eq!(position(&store, &shard_id(0)).await, after(2));
        } else {
            assert!(matches!(report.shards[0].end, ShardStop::Abandoned { .. }), "{report:?}");
            assert!(begun.elapsed() <= Duration::from_secs(20));
            assert_eq!(position(&store, &shard_id(0)).await, after(1), "what is done is stored");
            sleep(Duration::from_secs(60)).await;
            assert_eq!(position(&store, &shard_id(0)).await, after(1), "a late token does nothing");
        }
        assert_eq!(log.texts().len(), 3);
    }
}

/// Keeps batches of records until it has three, or until the shard leaves or ends.
struct Bundle(Log, Vec<AckToken>);

impl Bundle {
    fn flush(&mut self) {
        self.1.drain(..).for_each(AckToken::ack);
    }
}

impl RecordProcessor for Bundle {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        self.0.add(&batch);
        self.1.extend(batch.into_acks().map(|(_, token)| token));
        if self.1.len() >= 3 {
            self.flush();
        }
        Ok(())
    }

    async fn shard_ended(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        self.flush();
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        self.flush();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g1_processor_that_keeps_tokens_can_ack_them_at_the_end_of_a_shard_and_at_a_stop() {
    let (stream, store, log) = (Stream::new(1).per_read(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c", "d"]);
    let made = log.clone();
    let running = Running::start(
        builder(&stream, store.clone(), "w").processor(move |_| Bundle(made.clone(), Vec::new())),
    );
    let running = running.await;
    log.until_count(4).await;
    let (low, _) = stream.split(0);
    stream.put(low, "e");
    log.until_count(5).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::ShardEnd);
    assert!(running.stop().await.is_clean());
    assert_eq!(position(&store, &shard_id(low)).await, after(5));
}

#[tokio::test(start_paused = true)]
async fn r4_end_of_a_shard_is_stored_when_its_last_token_is_acked() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let (building, tokens) = keeping(builder(&stream, store.clone(), "w"), &log);
    let running = Running::start(building).await;
    log.until_count(2).await;
    let (low, _) = stream.split(0);
    stream.put(low, "c");
    tokens.take("a").ack();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(position(&store, &shard_id(0)).await, after(1));
    // It comes again after the end was told.
    tokens.take("b").fail("again");
    log.until_count(3).await;
    assert_eq!(log.texts(), ["a", "b", "b"]);
    sleep(Duration::from_secs(60)).await;
    tokens.take("b").ack();
    log.until_count(4).await;
    tokens.take("c").ack();
    assert_eq!(position(&store, &shard_id(0)).await, Position::ShardEnd);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c4_token_of_an_earlier_hold_does_nothing() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let (building, tokens) = keeping(builder(&stream, store.clone(), "w1"), &log);
    let first = Running::start(building).await;
    log.until_count(2).await;
    first.kill().await;
    let (building, own) = keeping(builder(&stream, store.clone(), "w2"), &log);
    let second = Running::start(building).await;
    log.until_count(4).await;
    for text in ["a", "b"] {
        let token = tokens.take(text);
        assert!(!token.is_current());
        token.ack();
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::TrimHorizon);
    let token = own.take("a");
    assert!(token.is_current());
    token.ack();
    until_position(&store, after(1)).await;
    own.take("b").ack();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_handler_that_fails_after_taking_tokens_gets_again_what_is_not_acked() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "c"]);
    let calls = log.clone();
    let building = builder(&stream, store.clone(), "w").for_each_batch(move |batch| {
        calls.add(&batch);
        let first = batch.attempt() == 1;
        let mut acks = batch.into_acks();
        async move {
            let (_, token) = acks.next().unwrap();
            token.ack();
            if first {
                return failure("after the first");
            }
            acks.for_each(|(_, token)| token.ack());
            Ok(())
        }
    });
    let running = Running::start(building).await;
    log.until_count(5).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.texts(), ["a", "b", "c", "b", "c"]);
    assert_eq!(position(&store, &shard_id(0)).await, after(3));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_token_kept_for_longer_than_a_handler_may_take_counts_as_failed() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let building = builder(&stream, store.clone(), "w").handler_timeout(Duration::from_secs(7));
    let calls = log.clone();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let running = Running::start(building.for_each_batch(move |batch| {
        keep.lock().unwrap().push(batch.ack_token());
        calls.add(&batch);
        async { Ok(()) }
    }))
    .await;
    let seen = log.until_count(2).await;
    let gap = seen[1].at - seen[0].at;
    assert!(gap >= Duration::from_millis(7_050) && gap <= Duration::from_millis(7_102), "{gap:?}");
    // The token of the first try still says that the record is done.
    kept.lock().unwrap().remove(0).ack();
    until_position(&store, after(1)).await;
    drop(kept);
    running.stop().await;
}

/// Acks that do not come: whoever asked for the shard waits in vain, and so would the shard.
#[tokio::test(start_paused = true)]
async fn l14_a_shard_is_read_on_although_acks_hold_up_its_hand_over() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let (building, tokens) = keeping(builder(&stream, store.clone(), "w1"), &log);
    let first = Running::start(building).await;
    let put = |text: &str| {
        for shard in 0..2 {
            stream.put(shard, &format!("{text}{shard}"));
        }
    };
    put("a");
    log.until_count(2).await;
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    // One of the two shards drains until the failover time is over.
    sleep(Duration::from_secs(20)).await;
    put("b");
    let begun = Instant::now();
    let seen = log.until_count(4).await;
    assert!(begun.elapsed() < Duration::from_secs(2) && seen.iter().all(|seen| seen.worker == "w1"));
    for text in ["a0", "a1", "b0", "b1"] {
        tokens.take(text).ack();
    }
    let both = |rows: &[rokini::lease::LeaseRow]| rows[0].owner != rows[1].owner;
    until_leases(&store, both).await;
    put("c");
    let seen = log.until_count(6).await;
    assert_eq!(seen.iter().filter(|seen| seen.worker == "w2").count(), 1, "{seen:?}");
    drop(tokens);
    first.stop().await;
    second.stop().await;
}
