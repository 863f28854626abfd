//! What becomes of records that fail too often.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{MemoryStore, SequenceNumber};
use rokini::{
    ConsumerBuilder, DeadLetter, DeadLetterSink, Error, ErrorKind, Event, EventKind, OnFailure, ShardState,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, after, builder, failure, leases, position, until_leases, until_position};
use crate::stream::{Stream, shard_id};

/// Fails calls with a record that begins with `bad`; the log has every call.
pub fn poisoned(building: ConsumerBuilder, log: &Log) -> ConsumerBuilder {
    let log = log.clone();
    building.for_each_batch(move |batch| {
        log.add(&batch);
        let fails = batch.iter().any(|record| record.data().starts_with(b"bad"));
        async move { if fails { failure("poison") } else { Ok(()) } }
    })
}

fn told(events: &mut Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn c1_skip_passes_the_poison_record_alone_counts_it_and_leaves_a_note() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b", "bad", "c", "d", "e"]);
    let building = builder(&stream, store.clone(), "w").on_failure(OnFailure::Skip).max_attempts(3);
    let running = Running::start(poisoned(building, &log)).await;
    let mut events = running.handle.events();
    until_position(&store, after(6)).await;
    let texts = log.texts();
    let alone = ["bad", "bad", "bad", "d", "e"].map(str::to_owned);
    assert!(texts.len() < 40 && texts.windows(3).any(|three| three == &alone[..3]), "{texts:?}");
    let last = |text: &str| texts.iter().rposition(|seen| seen == text).unwrap();
    assert!(
        last("a") < last("bad") && last("bad") < last("c") && last("c") < last("e"),
        "in order: {texts:?}"
    );
    assert_eq!(running.handle.status().shards[0].skipped, 1);
    let skipped: Vec<_> = told(&mut events)
        .into_iter()
        .filter_map(|event| match event {
            Event { kind: EventKind::Skipped { records, failures, failure, .. }, .. } => {
                Some((records, failures, failure.to_string()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [(vec![SequenceNumber::from(3)], 3, "poison".to_owned())]);
    let note = leases(&store).await.remove(0).metadata.skipped.unwrap();
    assert_eq!((note.count, note.last().collect::<Vec<_>>()), (1, vec![SequenceNumber::from(3)]));
    // The next hold counts on.
    assert!(running.stop().await.is_clean());
    stream.put(0, "bad again");
    let building = builder(&stream, store.clone(), "v").on_failure(OnFailure::Skip).max_attempts(1);
    let second = Running::start(poisoned(building, &log)).await;
    until_position(&store, after(7)).await;
    let note = leases(&store).await.remove(0).metadata.skipped.unwrap();
    assert_eq!(note.count, 2);
    assert!(note.last().eq([SequenceNumber::from(3), SequenceNumber::from(7)]));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a1_poison_record_of_a_large_batch_is_found_in_log_n_calls() {
    let (stream, store, calls) =
        (Stream::new(1).per_read(1_000), MemoryStore::new(), Arc::new(Mutex::new(0)));
    for number in 0..1_000 {
        stream.put(0, if number == 700 { "bad" } else { "good" });
    }
    let counted = Arc::clone(&calls);
    let building = builder(&stream, store.clone(), "w").on_failure(OnFailure::Skip).max_attempts(1);
    let running = Running::start(building.for_each_batch(move |batch| {
        *counted.lock().unwrap() += 1;
        let fails = batch.iter().any(|record| record.data() == b"bad");
        async move { if fails { failure("poison") } else { Ok(()) } }
    }))
    .await;
    let mut events = running.handle.events();
    let begun = Instant::now();
    until_position(&store, after(1_000)).await;
    assert!(*calls.lock().unwrap() <= 22, "{} calls", calls.lock().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let bisected =
        |event: &Event| matches!(event, Event { kind: EventKind::Bisecting { records: 1_000, .. }, .. });
    assert_eq!(told(&mut events).iter().filter(|event| bisected(event)).count(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_records_are_given_up_after_their_age_and_whole_batches_without_a_search() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "bad", "b"]);
    let age = Duration::from_secs(60);
    let building =
        builder(&stream, store.clone(), "w").on_failure(OnFailure::Skip).max_failure_age(age).bisect(false);
    let running = Running::start(poisoned(building, &log)).await;
    until_position(&store, after(3)).await;
    let seen = log.seen();
    let failing = seen.last().unwrap().at - seen[0].at;
    assert!(failing >= age && failing < age + Duration::from_secs(31), "{failing:?}");
    assert_eq!(running.handle.status().shards[0].skipped, 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_halt_stops_that_shard_only_visibly_and_stays_with_its_worker() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "bad", "b"]);
    let building = |name| builder(&stream, store.clone(), name).on_failure(OnFailure::Halt).max_attempts(2);
    let running = Running::start(poisoned(building("w"), &log)).await;
    let mut events = running.handle.events();
    let halted = loop {
        if let Event { kind: EventKind::Halted { first, failure, failures, .. }, .. } =
            events.recv().await.unwrap()
        {
            break (first, failure.to_string(), failures);
        }
    };
    assert_eq!(halted, (SequenceNumber::from(2), "poison".to_owned(), 2));
    let calls = log.texts().len();
    let owner = leases(&store).await[0].owner.clone();
    for round in 0..20 {
        stream.put(1, &round.to_string());
        stream.put(0, "more");
        log.until(|seen| seen.iter().any(|seen| seen.text == round.to_string())).await;
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(log.texts().len(), calls + 20, "no call of the halted shard");
    let status = running.handle.status().shards.remove(0);
    assert_eq!((status.state, status.done), (ShardState::Halted, after(1)));
    assert_eq!((status.last_error.as_deref(), status.failures), (Some("poison"), 2));
    assert_eq!(status.handling, Some(SequenceNumber::from(2)));
    let row = leases(&store).await.remove(0);
    assert_eq!((row.owner, row.position), (owner, after(1)));
    // Told to go on, it gets all its tries again.
    let tries = || log.seen().iter().filter(|seen| seen.text == "bad").count();
    let before = tries();
    assert!(running.handle.retry_halted(&shard_id(0)).unwrap());
    while !matches!(events.recv().await.unwrap(), Event { kind: EventKind::Halted { .. }, .. }) {}
    assert_eq!(tries(), before + 2);
    assert!(!running.handle.retry_halted(&shard_id(1)).unwrap());
    assert_eq!(running.handle.retry_halted(&shard_id(7)).unwrap_err().kind(), ErrorKind::Fenced);
    assert!(running.stop().await.is_clean(), "a halted shard does not hold up a stop");

    let mended = Running::logging(builder(&stream, store.clone(), "v"), &log).await;
    until_leases(&store, |rows| rows.first().is_some_and(|row| row.position > after(3))).await;
    mended.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c1_parked_key_waits_with_its_own_back_off_while_others_go_on() {
    let (stream, store, log) = (Stream::new(1).per_read(4), MemoryStore::new(), Log::default());
    let mend = Arc::new(Mutex::new(false));
    let (mended, calls, tries) = (Arc::clone(&mend), log.clone(), Log::default());
    let tried = tries.clone();
    let building =
        builder(&stream, store.clone(), "w").park(true).set(rokini::ConfigKey::MaxOutstandingRecords, "20");
    let running = Running::start(building.for_each_batch(move |batch| {
        let fails = batch.iter().any(|record| record.data() == b"bad") && !*mended.lock().unwrap();
        if fails {
            tried.add(&batch);
        } else {
            calls.add(&batch);
        }
        async move { if fails { failure("poison") } else { Ok(()) } }
    }))
    .await;
    let mut events = running.handle.events();
    for (key, text) in [("x", "1"), ("k", "bad"), ("y", "2"), ("k", "after"), ("z", "3")] {
        stream.put_keyed(0, key, text);
    }
    log.until_count(3).await;
    for round in 4..12 {
        stream.put_keyed(0, "x", &round.to_string());
        let put = Instant::now();
        log.until(|seen| seen.iter().any(|seen| seen.text == round.to_string())).await;
        assert!(put.elapsed() < Duration::from_secs(1), "others are not held up");
        sleep(Duration::from_secs(60)).await;
    }
    let before = log.texts();
    assert!(!before.iter().any(|text| text == "after"), "the key waits: {before:?}");
    assert_eq!(position(&store, &shard_id(0)).await, after(1));
    let status = running.handle.status().shards.remove(0);
    assert_eq!((status.parked, status.skipped, status.handling), (1, 0, Some(SequenceNumber::from(2))));
    let alone = tries.seen();
    assert!(alone.len() > 60 && alone.len() < 130, "about ten tries a minute: {}", alone.len());
    // What is parked, and all after it, is bounded: then the shard waits.
    for round in 12..60 {
        stream.put_keyed(0, "x", &round.to_string());
    }
    sleep(Duration::from_secs(60)).await;
    let count = log.texts().len();
    assert!(count <= 24, "{count}");
    *mend.lock().unwrap() = true;
    log.until_count(61).await;
    let texts = log.texts();
    let at = |text: &str| texts.iter().position(|seen| seen == text).unwrap();
    assert!(at("bad") < at("after"));
    until_position(&store, after(61)).await;
    let parked = told(&mut events).into_iter().filter_map(|event| match event {
        Event { kind: EventKind::Parked { key, first, .. }, .. } => Some((key, Some(first))),
        Event { kind: EventKind::Unparked { key, .. }, .. } => Some((key, None)),
        _ => None,
    });
    let expected = [("k".to_owned(), Some(SequenceNumber::from(2))), ("k".to_owned(), None)];
    assert_eq!(parked.collect::<Vec<_>>(), expected);
    assert_eq!(running.handle.status().shards[0].parked, 0);
    running.stop().await;
}

/// A sink that refuses so many times.
#[derive(Debug, Clone, Default)]
pub struct Sink(pub Arc<Mutex<(usize, Vec<DeadLetter>)>>);

#[async_trait]
impl DeadLetterSink for Sink {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        sleep(Duration::from_secs(1)).await;
        let mut sink = self.0.lock().unwrap();
        if sink.0 > 0 {
            sink.0 -= 1;
            return Err(Error::new(ErrorKind::Retry, "the sink is full"));
        }
        sink.1.push(letter.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a1_dead_letter_is_confirmed_before_the_position_passes() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "bad", "b"]);
    let sink = Sink::default();
    sink.0.lock().unwrap().0 = 6;
    let building = builder(&stream, store.clone(), "w").on_failure(OnFailure::DeadLetter).max_attempts(4);
    let running = Running::start(poisoned(building.dead_letter_sink(sink.clone()), &log)).await;
    let mut events = running.handle.events();
    let mut failed = Vec::new();
    while failed.len() < 6 {
        match events.recv().await.unwrap() {
            Event { kind: EventKind::DeadLetterFailed { first, error, failures, retry_in, .. }, .. } => {
                assert_eq!((first, failures), (SequenceNumber::from(2), failed.len() as u32 + 1));
                assert_eq!(error, "the sink is full");
                failed.push(retry_in);
            }
            Event { kind: EventKind::DeadLettered { .. }, .. } => panic!("too early"),
            _ => {}
        }
    }
    assert!(failed[5] > 4 * failed[0], "with back-off: {failed:?}");
    stream.put(1, "other");
    log.until(|seen| seen.iter().any(|seen| seen.text == "other")).await;
    let status = running.handle.status().shards.remove(0);
    assert_eq!(
        (status.state, status.last_error.as_deref()),
        (ShardState::BackingOff, Some("the sink is full"))
    );
    assert_eq!(position(&store, &shard_id(0)).await, after(1));
    assert!(!log.texts().contains(&"b".to_owned()) || log.seen().last().unwrap().text == "other");

    while !matches!(
        events.recv().await.unwrap(),
        Event { kind: EventKind::DeadLettered { failures: 4, .. }, .. }
    ) {}
    until_position(&store, after(3)).await;
    let letters = sink.0.lock().unwrap().1.clone();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.records.iter().map(|record| record.data()).collect::<Vec<_>>(), [b"bad"]);
    assert_eq!((letter.attempts, letter.failure.to_string()), (4, "poison".to_owned()));
    let failing_for = stream.now() - letter.first_failure_millis.unwrap();
    assert!((7_000..120_000).contains(&failing_for), "{failing_for} ms");
    assert_eq!((&letter.shard, letter.worker.name.to_string()), (&shard_id(0), "w".to_owned()));
    assert_eq!(running.handle.status().shards[0].dead_lettered, 1);
    running.stop().await;
}

/// A sink that panics, then hangs, then takes the letter.
#[derive(Debug, Default)]
struct Unsound(AtomicU32);

#[async_trait]
impl DeadLetterSink for Unsound {
    async fn put(&self, _: &DeadLetter) -> Result<(), Error> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("no disk"),
            1 => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a1_a_sink_that_panics_or_hangs_has_failed_and_the_letter_is_put_again() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "bad", "b"]);
    let building = builder(&stream, store.clone(), "w").on_failure(OnFailure::DeadLetter).max_attempts(1);
    let running = Running::start(poisoned(building.dead_letter_sink(Unsound::default()), &log)).await;
    let mut events = running.handle.events();
    let begun = Instant::now();
    until_position(&store, after(3)).await;
    let five = Duration::from_secs(300);
    assert!(
        begun.elapsed() > five && begun.elapsed() < five + Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    let told = told(&mut events);
    let failed = told.iter().filter_map(|event| match event {
        Event { kind: EventKind::DeadLetterFailed { error, failures, .. }, .. } => {
            Some((error.as_str(), *failures))
        }
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [("panic: no disk", 1), ("no return within 300s", 2)]);
    assert!(
        !told.iter().any(|event| matches!(event, Event { kind: EventKind::ShardRestarted { .. }, .. })),
        "{told:?}"
    );
    assert_eq!(running.handle.status().shards[0].dead_lettered, 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a1_worker_that_dies_before_the_sink_confirms_leaves_the_record_to_the_next() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["bad", "b"]);
    let sink = Sink::default();
    sink.0.lock().unwrap().0 = usize::MAX;
    let building = |name| {
        let building =
            builder(&stream, store.clone(), name).on_failure(OnFailure::DeadLetter).max_attempts(1);
        poisoned(building.dead_letter_sink(sink.clone()), &log)
    };
    let first = Running::start(building("w")).await;
    sleep(Duration::from_secs(30)).await;
    first.kill().await;
    sink.0.lock().unwrap().0 = 0;
    let second = Running::start(building("v")).await;
    until_position(&store, after(2)).await;
    assert_eq!(sink.0.lock().unwrap().1.len(), 1);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t3_policies_without_effect_are_refused() {
    let stream = Stream::new(1);
    let base = || poisoned(builder(&stream, MemoryStore::new(), "w"), &Log::default());
    type Change = fn(ConsumerBuilder) -> ConsumerBuilder;
    let wrong: [(Change, &str); 8] = [
        (
            |b| b.auto_checkpoint(false).concurrency(2),
            "`auto_checkpoint = false` does not go with `concurrency = 2`",
        ),
        (|b| b.auto_checkpoint(false).park(true), "`auto_checkpoint = false` does not go with `park = true`"),
        (|b| b.on_failure(OnFailure::Skip), "`on_failure = skip` never comes into effect"),
        (|b| b.max_attempts(3), "`max_attempts = 3` has no effect"),
        (|b| b.max_failure_age(Duration::from_secs(1)), "`max_failure_age = 1s` has no effect"),
        (|b| b.bisect(true), "`bisect = true` has no effect"),
        (|b| b.on_failure(OnFailure::DeadLetter).max_attempts(1), "no dead-letter sink"),
        (|b| b.dead_letter_sink(Sink::default()), "has no effect with `on_failure = retry`"),
    ];
    for (change, expected) in wrong {
        let error = change(base()).build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let right = base().on_failure(OnFailure::DeadLetter).max_attempts(1).dead_letter_sink(Sink::default());
    assert!(right.build().await.is_ok());
}
