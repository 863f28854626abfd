//! Aggregates of the Kinesis Producer Library: their user records go the way of all records.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{MemoryStore, Position, Progress, SequenceNumber};
use rokini::{
    Batch, ConfigKey, DeadLetter, DeadLetterSink, Error, EventKind, KplHashRange, OnFailure, Record,
};
use rokini_wire::{AggregateBuilder, partition_key_hash};

use crate::harness::{
    BuildLogging, Log, Running, about_shard, after, builder, failure, position, until_leases, until_position,
};
use crate::stream::{Stream, shard_id};

fn through(sequence: SequenceNumber, sub: u64) -> Position {
    Position::Sequence(sequence, Progress::Through(sub))
}

/// Plain records and aggregates: the texts of all their user records, and the position after each.
fn mixed(stream: &Stream) -> (Vec<String>, Vec<Position>) {
    let (mut texts, mut positions) = (Vec::new(), Vec::new());
    let mut plain = |text: &str, sequence| {
        texts.push(text.to_owned());
        positions.push(Position::after(sequence));
    };
    plain("before", stream.put(0, "before"));
    for (name, count) in [("a", 7_u64), ("b", 1), ("c", 4)] {
        let of: Vec<String> = (0..count).map(|sub| format!("{name}{sub}")).collect();
        let sequence = stream.put_aggregate(0, &of.iter().map(String::as_str).collect::<Vec<_>>());
        for (sub, text) in (0..).zip(of) {
            texts.push(text);
            positions.push(if sub + 1 == count { Position::after(sequence) } else { through(sequence, sub) });
        }
    }
    let sequence = stream.put(0, "after");
    texts.push("after".to_owned());
    positions.push(Position::after(sequence));
    (texts, positions)
}

#[tokio::test(start_paused = true)]
async fn a3_a_kill_at_every_user_record_resumes_exactly() {
    let count = mixed(&Stream::new(1)).0.len();
    for done in 1..count {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let (texts, positions) = mixed(&stream);
        let consumer = builder(&stream, store.clone(), "a");
        let running = Running::until_text(consumer, &log, &texts[done]).await;
        until_position(&store, positions[done - 1]).await;
        running.kill().await;
        assert_eq!(log.texts(), texts[..done], "before the kill at {}", positions[done - 1]);
        log.clear();

        let running = builder(&stream, store.clone(), "b").build_logging(&log).await;
        log.until_count(count - done).await;
        until_position(&store, *positions.last().unwrap()).await;
        assert_eq!(log.texts(), texts[done..], "after the kill at {}", positions[done - 1]);
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a3_a_shard_is_handed_over_in_the_middle_of_an_aggregate() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let texts: Vec<String> = (0..40).map(|n| format!("r{n:02}")).collect();
    let sequence = stream.put_aggregate(0, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let slow = log.clone();
    let first = builder(&stream, store.clone(), "a").batch_max_records(3);
    let first = Running::start(first.for_each_batch(move |batch: Batch| {
        let slow = slow.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            slow.add(&batch);
            Ok(())
        }
    }))
    .await;
    log.until_count(7).await;
    let second = builder(&stream, store.clone(), "b").build_logging(&log).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    first.stop().await;
    let handed_over = position(&store, &shard_id(0)).await;
    assert!(handed_over > through(sequence, 5) && handed_over < after(1), "{handed_over}");
    log.until_count(40).await;
    until_position(&store, after(1)).await;
    assert_eq!(log.texts(), texts, "each once, in order");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a3_batches_and_limits_count_user_records_and_a_retry_brings_the_same_ones() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let calls = Arc::new(Mutex::new(Vec::<Vec<String>>::new()));
    stream.put_aggregate(0, &["0", "1", "2", "3", "4"]);
    stream.put(0, "5");
    stream.put_aggregate(0, &["6", "7"]);
    let noted = Arc::clone(&calls);
    let consumer = builder(&stream, store.clone(), "a").batch_max_records(3);
    let running = Running::start(consumer.for_each_batch(move |batch: Batch| {
        let texts = batch.iter().map(|record| String::from_utf8_lossy(record.data()).into_owned()).collect();
        noted.lock().unwrap().push(texts);
        let fails = batch.attempt() == 1 && batch.records()[0].data() == b"3";
        async move { if fails { failure("once") } else { Ok(()) } }
    }))
    .await;
    until_position(&store, after(3)).await;
    running.stop().await;
    assert_eq!(
        *calls.lock().unwrap(),
        [vec!["0", "1", "2"], vec!["3", "4", "5"], vec!["3", "4", "5"], vec!["6", "7"]]
    );
}

#[derive(Debug, Clone, Default)]
struct Letters(Arc<Mutex<Vec<Record>>>);

#[async_trait::async_trait]
impl DeadLetterSink for Letters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.0.lock().unwrap().extend(letter.records.iter().cloned());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn r4_one_user_record_is_given_up_and_its_neighbours_are_not() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let sequence = stream.put_aggregate(0, &["0", "1", "poison", "3"]);
    let (letters, seen) = (Letters::default(), log.clone());
    let consumer = builder(&stream, store.clone(), "a").on_failure(OnFailure::DeadLetter).max_attempts(2);
    let running =
        Running::start(consumer.dead_letter_sink(letters.clone()).for_each_batch(move |batch: Batch| {
            let seen = seen.clone();
            async move {
                if batch.iter().any(|record| record.data() == b"poison") {
                    return failure("poison");
                }
                seen.add(&batch);
                Ok(())
            }
        }))
        .await;
    until_position(&store, after(1)).await;
    running.stop().await;
    assert_eq!(log.texts(), ["0", "1", "3"]);
    let letters = letters.0.lock().unwrap();
    let facts: Vec<_> =
        letters.iter().map(|record| (record.sequence_number, record.sub_sequence_number)).collect();
    assert_eq!(facts, [(sequence, Some(2))]);
}

#[tokio::test(start_paused = true)]
async fn a3_a_malformed_aggregate_is_delivered_as_it_came_with_an_event() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let mut builder_of = AggregateBuilder::default();
    builder_of.push("k", None, b"data");
    let mut broken = builder_of.build();
    broken[8] ^= 1;
    let first = stream.put_bytes(0, &broken);
    stream.put_aggregate(0, &["good"]);
    stream.put_bytes(0, &broken[..4]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let consumer = builder(&stream, store.clone(), "a").for_each(move |record: Record| {
        noted.lock().unwrap().push((record.sub_sequence_number, record.data().to_vec()));
        async { Ok(()) }
    });
    let consumer = consumer.build().await.unwrap();
    let (handle, mut events) = (consumer.handle(), consumer.handle().events());
    let running = Running { handle, run: tokio::spawn(consumer.run()) };
    until_position(&store, after(3)).await;
    running.stop().await;
    assert_eq!(
        *seen.lock().unwrap(),
        [(None, broken.clone()), (Some(0), b"good".to_vec()), (None, broken[..4].to_vec())]
    );
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::AggregatesMalformed { first, reason, records } = &event.kind {
            assert!(about_shard(&event, &stream, 0));
            told.push((*first, reason.clone(), *records));
        }
    }
    assert_eq!(told, [(first, "its check sum is wrong".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a3_aggregates_stay_packed_where_that_is_wanted() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_aggregate(0, &["0", "1"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let consumer = builder(&stream, store.clone(), "a").deaggregate(false).for_each(move |record: Record| {
        noted.lock().unwrap().push((record.sub_sequence_number, record.data()[..4].to_vec()));
        async { Ok(()) }
    });
    let running = Running::start(consumer).await;
    until_position(&store, after(1)).await;
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [(None, vec![0xf3, 0x89, 0x9a, 0xc2])]);
}

/// Texts whose keys hash into the first and the second of two shards.
fn texts_of_two_shards() -> [String; 2] {
    let of =
        |high| (0..).map(|n| format!("t{n}")).find(|text| (partition_key_hash(text) > u128::MAX / 2) == high);
    [of(false).unwrap(), of(true).unwrap()]
}

/// What of three aggregates in the first shard, of which the second has a record of the other, reaches the handler, and
/// what is told of that: user records delivered, and left out.
async fn foreign(hash_range: KplHashRange, spreads: bool) -> (usize, Vec<u64>, Vec<u64>) {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let [own, other] = texts_of_two_shards();
    stream.put_aggregate(0, &[&own, &own]);
    stream.put_aggregate(0, &[&own, &other, &own]);
    stream.put_aggregate(0, &[&own]);
    if spreads {
        stream.spread_by_itself();
    }
    let consumer = builder(&stream, store.clone(), "a").kpl_hash_range(hash_range).for_each_batch({
        let log = log.clone();
        move |batch: Batch| {
            log.add(&batch);
            async { Ok(()) }
        }
    });
    let consumer = consumer.build().await.unwrap();
    let (handle, mut events) = (consumer.handle(), consumer.handle().events());
    let running = Running { handle, run: tokio::spawn(consumer.run()) };
    until_leases(&store, |rows| rows.iter().any(|row| row.position == after(3))).await;
    running.stop().await;
    let (mut delivered, mut dropped) = (Vec::new(), Vec::new());
    while let Ok(event) = events.try_recv() {
        match event.kind {
            EventKind::ForeignUserRecords { user_records } => delivered.push(user_records),
            EventKind::AggregatesDropped { user_records, .. } => dropped.push(user_records),
            _ => {}
        }
    }
    (log.seen().len(), delivered, dropped)
}

#[tokio::test(start_paused = true)]
async fn a4_user_records_of_another_shard_are_delivered_and_counted() {
    assert_eq!(foreign(KplHashRange::Deliver, false).await, (6, vec![1], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a4_the_rule_of_the_kcl_drops_whole_aggregates_and_never_in_silence() {
    assert_eq!(foreign(KplHashRange::Drop, false).await, (3, vec![], vec![3]));
}

#[tokio::test(start_paused = true)]
async fn a4_nothing_is_dropped_where_the_stream_spreads_records_by_itself() {
    assert_eq!(foreign(KplHashRange::Drop, true).await, (6, vec![], vec![]));
}

#[test]
fn t3_the_rule_for_foreign_user_records_needs_them_unpacked() {
    let mut config = rokini::ConsumerConfig::default();
    config.set(ConfigKey::KplHashRange, "drop").unwrap().set(ConfigKey::Deaggregate, "false").unwrap();
    let error = config.check(0).unwrap_err().to_string();
    assert!(error.contains("`kpl_hash_range = drop` has no effect with `deaggregate = false`"), "{error}");
}
