//! From nothing to the first record.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    CountingStore, FaultyStore, LeaseKey, LeaseLostReason, LeaseRow, LeaseStore, LeaseStoreExt, Listing,
    MemoryStore, Position, RowKey, SequenceNumber, StoreFault, StoreOperation, StreamId,
};
use rokini::{ErrorKind, Event, EventKind, StartPosition};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, about_shard, builder, clock_off_by, group, leases, until_leases};
use crate::stream::{BEGIN, Op, Stream, shard_id};

#[tokio::test(start_paused = true)]
async fn p4_first_record_comes_without_a_sleep() {
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    stream.put(2, "a");
    let begun = Instant::now();
    let running = Running::logging(builder(&stream, store, "w"), &log).await;
    let seen = log.until_count(1).await;
    assert_eq!((seen[0].text.as_str(), &seen[0].shard), ("a", &shard_id(2)));
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing waits before the first record");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c7_start_position_and_leases_are_stored_before_the_first_record() {
    for (start, stored) in [
        (StartPosition::TrimHorizon, Position::TrimHorizon),
        (StartPosition::AtTimestamp(BEGIN - 5), Position::AtTimestamp(BEGIN - 5)),
    ] {
        let (stream, log) = (Stream::new(40), Log::default());
        // Leases are written in several waves, so a handler that starts early sees some missing.
        let store = FaultyStore::new(MemoryStore::new(), 1);
        store.chance(StoreOperation::Insert, StoreFault::Delay(Duration::from_secs(2)), 1.0);
        stream.put_each(40, "a");
        let found = Arc::new(Mutex::new(None));
        let (looked, rows, calls) = (Arc::clone(&found), store.clone(), log.clone());
        let building = builder(&stream, store, "w").start(start).for_each_batch(move |batch| {
            let (looked, rows, calls) = (Arc::clone(&looked), rows.clone(), calls.clone());
            async move {
                let view = rows.list(&group(), Listing::All).await?;
                looked.lock().unwrap().get_or_insert(view);
                calls.add(&batch);
                Ok(())
            }
        });
        let running = Running::start(building).await;
        log.until_count(1).await;
        let view = found.lock().unwrap().take().unwrap();
        assert_eq!(view.streams[0].start, stored, "stored when the first handler is called");
        assert_eq!(view.leases.len(), 40);
        assert!(view.leases.iter().all(|row| row.position == stored), "{:?}", view.leases);
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c7_latest_survives_the_death_of_every_worker_before_the_first_record() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put(0, "before");
    sleep(Duration::from_secs(1)).await;
    // The first worker gets as far as its leases and never reads.
    stream.fail(Op::Open, ErrorKind::Retry, 1_000);
    let link = FaultyStore::new(store.clone(), 1);
    let first =
        Running::logging(builder(&stream, link.clone(), "w1").start(StartPosition::Latest), &log).await;
    until_leases(&store, |rows| rows.len() == 2 && rows.iter().all(|row| row.owner.is_some())).await;
    link.outage(true);
    first.kill().await;
    stream.put_all(0, &["a", "b"]);
    stream.put(1, "c");
    sleep(Duration::from_secs(3_600)).await;

    stream.fail(Op::Open, ErrorKind::Retry, 0);
    let second = Running::logging(builder(&stream, store, "w2").start(StartPosition::Latest), &log).await;
    log.until_count(3).await;
    stream.put(0, "d");
    log.until_count(4).await;
    let mut texts = log.texts();
    texts.sort();
    assert_eq!(texts, ["a", "b", "c", "d"], "everything since the first start, nothing older");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c7_first_worker_decides_for_the_group_and_later_shards_start_at_their_oldest_record() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "old");
    sleep(Duration::from_secs(1)).await;
    let first =
        Running::logging(builder(&stream, store.clone(), "w1").start(StartPosition::Latest), &log).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.owner.is_some())).await;
    first.stop().await;
    // While nobody works the stream is split, and the children get records.
    sleep(Duration::from_secs(60)).await;
    stream.put(0, "a");
    let (low, high) = stream.split(0);
    stream.put(low, "b");
    stream.put(high, "c");
    let other = builder(&stream, store, "w2").start(StartPosition::TrimHorizon);
    let second = Running::logging(other, &log).await;
    log.until_count(3).await;
    sleep(Duration::from_secs(60)).await;
    let mut texts = log.texts();
    assert_eq!(texts[0], "a", "the parent first");
    texts.sort();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(second.handle.status().streams[0].start, Position::AtTimestamp(BEGIN + 1_000));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c7_children_of_a_shard_that_closed_before_the_start_time_bring_nothing_older() {
    // The listing does not say when shards were open, as with some emulators: all parents are offered.
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let (low, high) = stream.split(0);
    stream.put_all(low, &["old", "older"]);
    sleep(Duration::from_secs(100)).await;
    stream.put(high, "new");
    stream.all_at_start();
    let start = StartPosition::AtTimestamp(BEGIN + 50_000);
    let running = Running::logging(builder(&stream, store, "w").start(start), &log).await;
    log.until_count(1).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(log.texts(), ["new"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c12_one_failing_call_during_the_start_still_gives_a_working_worker() {
    for operation in StoreOperation::ALL {
        for fault in [StoreFault::FailBefore, StoreFault::LoseReply, StoreFault::Throttle] {
            let (stream, log) = (Stream::new(3), Log::default());
            let store = FaultyStore::new(MemoryStore::new(), 1);
            store.next(operation, fault, 1);
            stream.put_each(3, "a");
            let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
            log.until_count(3).await;
            sleep(Duration::from_secs(10)).await;
            assert_eq!(log.seen().len(), 3, "{operation:?} {fault:?}: nothing comes twice");
            assert!(running.stop().await.is_clean(), "{operation:?} {fault:?}");
        }
    }
    for op in [Op::Describe, Op::List, Op::Open, Op::Read] {
        let (stream, log) = (Stream::new(3), Log::default());
        stream.fail(op, ErrorKind::Throttled, 1);
        stream.put_each(3, "a");
        let running = Running::logging(builder(&stream, MemoryStore::new(), "w"), &log).await;
        log.until_count(3).await;
        assert!(running.stop().await.is_clean(), "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c12_what_cannot_pass_is_a_fatal_error_of_its_kind() {
    for (op, kind) in [
        (Op::Describe, ErrorKind::Permission),
        (Op::Describe, ErrorKind::Configuration),
        (Op::List, ErrorKind::Permission),
    ] {
        let stream = Stream::new(1);
        stream.fail(op, kind, 1);
        let running = Running::logging(builder(&stream, MemoryStore::new(), "w"), &Log::default()).await;
        let error = running.run.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{op:?}");
        assert_eq!(stream.calls(Op::Open), 0);
        // A handle still answers.
        assert!(running.handle.shutdown(Duration::from_secs(5)).await.shards.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn c12_an_unreachable_store_is_told_after_a_minute() {
    let (stream, store) = (Stream::new(1), FaultyStore::new(MemoryStore::new(), 1));
    store.outage(true);
    store.next(StoreOperation::Init, StoreFault::FailBefore, u32::MAX);
    let begun = Instant::now();
    let running = Running::logging(builder(&stream, store, "w"), &Log::default()).await;
    let error = running.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    let waited = begun.elapsed();
    assert!((Duration::from_secs(50)..=Duration::from_secs(60)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn c12_bad_starts_say_what_to_do() {
    let stream = Stream::new(1);
    let future = builder(&stream, MemoryStore::new(), "w").start(StartPosition::AtTimestamp(BEGIN + 60_000));
    let error = future.for_each(|_| async { Ok(()) }).build().await.unwrap_err();
    assert!(error.to_string().contains("future"), "{error}");

    // By a clock that is ahead the time has passed; the stream knows better.
    let ahead = builder(&stream, MemoryStore::new(), "w")
        .wall_clock(clock_off_by(&stream, 600_000))
        .start(StartPosition::AtTimestamp(BEGIN + 60_000));
    let error = Running::logging(ahead, &Log::default()).await.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("future"), "{error}");

    let other = builder(&stream, MemoryStore::new(), "w").stream("bills");
    let error = Running::logging(other, &Log::default()).await.run.await.unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("bills") && text.contains("orders"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn l7_second_live_worker_of_one_name_refuses_to_run() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let first = Running::logging(builder(&stream, store.clone(), "same"), &Log::default()).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.owner.is_some())).await;
    let second = builder(&stream, store, "same").seed(99);
    let error = Running::logging(second, &Log::default()).await.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("same"), "{error}");
    assert!(first.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn r1_audit_finds_and_mends_a_hole() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let owned = |rows: &[LeaseRow]| rows.iter().filter(|row| row.owner.is_some()).count() == 2;
    let rows = until_leases(&store, owned).await;
    let mut events = running.handle.events();
    let begun = Instant::now();
    assert!(store.delete_lease(&group(), &rows[1].key, rows[1].epoch).await.unwrap());
    let lost = EventKind::LeaseLost { cause: LeaseLostReason::Deleted };
    let is_lost = |event: Event| about_shard(&event, &stream, 1) && event.kind == lost;
    while !is_lost(events.recv().await.unwrap()) {}
    stream.put(1, "a");
    let created = EventKind::LeasesCreated { shards: vec![shard_id(1)] };
    let is_created = |event: Event| event.stream == Some(stream.id()) && event.kind == created;
    while !is_created(events.recv().await.unwrap()) {}
    log.until_count(1).await;
    assert!(begun.elapsed() <= Duration::from_secs(67), "within one audit period: {:?}", begun.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t1_audits_cost_one_listing_an_interval_whatever_the_number_of_workers() {
    let (stream, store) = (Stream::new(2), MemoryStore::new());
    let mut fleet = Vec::new();
    for number in 0..8 {
        let name = format!("w{number}");
        fleet.push(Running::logging(builder(&stream, store.clone(), &name), &Log::default()).await);
    }
    until_leases(&store, |rows| rows.iter().all(|row| row.owner.is_some())).await;
    sleep(Duration::from_secs(60)).await;
    let before = stream.calls(Op::List);
    sleep(Duration::from_secs(3_600)).await;
    let listings = stream.calls(Op::List) - before;
    assert!((50..=70).contains(&listings), "{listings} listings in 60 intervals");
    // Once per worker at its start, once an interval on duty, once in ten intervals by each of the seven others.
    let described = stream.calls(Op::Describe) - 8;
    assert!((80..=125).contains(&described), "{described} descriptions in 60 intervals");
    for running in fleet {
        running.stop().await;
    }
}

/// The longest time between two listings of the stream.
async fn longest_gap(stream: &Stream, during: Duration) -> Duration {
    let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut seen = stream.calls(Op::List);
    while begun.elapsed() < during {
        sleep(Duration::from_secs(1)).await;
        if stream.calls(Op::List) > seen {
            seen = stream.calls(Op::List);
            last = Instant::now();
        }
        longest = longest.max(last.elapsed());
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn r1_an_audit_follows_an_audit_within_an_interval_and_a_tenth_whatever_the_workers_clocks_say() {
    let (stream, store) = (Stream::new(2), MemoryStore::new());
    let mut fleet = Vec::new();
    for (number, name) in ["a", "b", "c", "d", "e", "f", "g"].into_iter().enumerate() {
        let clock = clock_off_by(&stream, 95_000 * number as i64);
        let way = FaultyStore::new(store.clone(), number as u64);
        let worker = builder(&stream, way.clone(), name).wall_clock(clock);
        fleet.push((Running::logging(worker, &Log::default()).await, way));
        sleep(Duration::from_secs(11)).await;
    }
    sleep(Duration::from_secs(150)).await;
    let gap = longest_gap(&stream, Duration::from_secs(3_600)).await;
    assert!(gap <= Duration::from_secs(67), "{gap:?}");
    // Whoever audits, one audit at most is late when it stops, or is as good as dead.
    let mut dead = Vec::new();
    while fleet.len() > 1 {
        let (worker, way) = fleet.remove(0);
        let during = longest_gap(&stream, Duration::from_secs(300));
        let (gap, most) = if fleet.len() % 2 == 0 {
            (tokio::join!(during, worker.stop()).0, 2 * 66 + 1)
        } else {
            way.outage(true);
            dead.push(worker);
            (during.await, 2 * 66 + 11)
        };
        assert!(gap <= Duration::from_secs(most), "{gap:?}");
    }
    fleet.remove(0).0.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c14_a_recreated_stream_never_meets_old_positions() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let first = Running::logging(builder(&stream, store.clone(), "w1"), &log).await;
    log.until_count(2).await;
    first.stop().await;
    sleep(Duration::from_secs(10)).await;
    stream.recreate(1);
    stream.put(0, "c");
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    log.until_count(3).await;
    assert_eq!(log.texts(), ["a", "b", "c"]);
    // The leases of the deleted stream are retired.
    until_leases(&store, |rows| rows.len() == 1).await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c14_lease_of_a_stream_that_is_not_read_is_left_alone() {
    let (stream, store, log) = (Stream::new(1), CountingStore::new(MemoryStore::new()), Log::default());
    let foreign = LeaseKey::new(StreamId::new("bills@5").unwrap(), shard_id(0));
    store.insert_lease(&group(), &LeaseRow::new(foreign.clone(), Position::TrimHorizon)).await.unwrap();
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    stream.put(0, "a");
    log.until_count(1).await;
    sleep(Duration::from_secs(300)).await;
    let row = store.lease(&group(), &foreign).await.unwrap().unwrap();
    assert_eq!(row, LeaseRow::new(foreign, Position::TrimHorizon));
    assert_eq!(store.snapshot().of(StoreOperation::Acquire), 1, "its own");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c7_start_at_or_after_a_record_is_exact_in_its_shard_and_its_time_in_the_others() {
    for after in [false, true] {
        let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
        stream.put_each(3, "old");
        sleep(Duration::from_secs(10)).await;
        // In one millisecond: only the sequence number tells them apart.
        stream.put(1, "just before");
        let record = stream.put(1, "the record");
        stream.put(1, "just after");
        stream.put(0, "same time");
        sleep(Duration::from_secs(10)).await;
        let (low, _) = stream.split(2);
        stream.put(low, "later");
        let start = match after {
            false => StartPosition::AtSequence(record),
            true => StartPosition::AfterSequence(record),
        };
        // A later worker is told otherwise, but the first one decided.
        let first = Running::logging(builder(&stream, store.clone(), "w1").start(start), &log).await;
        let expected: usize = if after { 3 } else { 4 };
        log.until_count(expected).await;
        first.stop().await;
        let second = builder(&stream, store.clone(), "w2").start(StartPosition::TrimHorizon);
        let second = Running::logging(second, &log).await;
        sleep(Duration::from_secs(120)).await;
        let mut texts = log.texts();
        texts.sort();
        let all = ["just after", "later", "same time", "the record"];
        assert_eq!(texts, all[..expected]);
        second.stop().await;
    }
    // A record that nobody has.
    let stream = Stream::new(2);
    stream.put_each(2, "a");
    let missing = StartPosition::AtSequence(SequenceNumber::from(99));
    let building = builder(&stream, MemoryStore::new(), "w").start(missing);
    let error = Running::logging(building, &Log::default()).await.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("99") && error.to_string().contains("give the time"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn r3_thousands_of_closed_shards_lead_to_the_open_ones_in_seconds() {
    // 40 lineages, each split and merged 25 times: 3,000 closed shards, all of which have to be gone through.
    let (stream, log) = (Stream::new(40), Log::default());
    for mut shard in 0..40 {
        for _ in 0..25 {
            let (low, high) = stream.split(shard);
            shard = stream.merge(low, high);
        }
        stream.put(shard, "open");
    }
    for start in [StartPosition::TrimHorizon, StartPosition::AtTimestamp(BEGIN - 500)] {
        log.clear();
        let begun = Instant::now();
        let store = MemoryStore::new();
        let running = Running::logging(builder(&stream, store.clone(), "w").start(start), &log).await;
        log.until_count(40).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{start}: {:?}", begun.elapsed());
        assert!(running.stop().await.is_clean());
    }
    // With what is put from now on only the open shards get leases.
    let store = MemoryStore::new();
    sleep(Duration::from_secs(5)).await;
    let latest = builder(&stream, store.clone(), "w").start(StartPosition::Latest);
    let running = Running::logging(latest, &log).await;
    until_leases(&store, |rows| rows.len() == 40 && rows.iter().all(|row| row.owner.is_some())).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn p4_a_cold_start_of_a_hundred_shards_owns_all_within_five_seconds() {
    let (stream, store) = (Stream::new(100), MemoryStore::new());
    let begun = Instant::now();
    let mut fleet = Vec::new();
    for number in 0..4 {
        let name = format!("w{number}");
        fleet.push(Running::logging(builder(&stream, store.clone(), &name), &Log::default()).await);
    }
    until_leases(&store, |rows| rows.len() == 100 && rows.iter().all(|row| row.owner.is_some())).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for running in fleet {
        running.stop().await;
    }
}

/// A row of a newer version, or one that somebody edited by hand.
#[tokio::test(start_paused = true)]
async fn c15_a_lease_that_cannot_be_read_stops_neither_start_nor_growth_nor_audit_of_the_others() {
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    let first = Running::logging(builder(&stream, store.clone(), "w1"), &log).await;
    stream.put_each(4, "a");
    log.until_count(4).await;
    first.stop().await;
    let damaged = leases(&store).await[0].key.clone();
    store.damage(&group(), &RowKey::Lease(damaged.clone()), true);

    let audits = Duration::from_secs(30);
    let second = Running::logging(builder(&stream, store.clone(), "w2").audit_interval(audits), &log).await;
    let mut events = second.handle.events();
    stream.put_each(4, "b");
    log.until_count(7).await;
    // One of the others grows, and one ends together with the one that cannot be read.
    let (low, high) = stream.split(1);
    stream.put(low, "c");
    stream.put(high, "c");
    log.until_count(9).await;
    let third = Running::logging(builder(&stream, store.clone(), "w3"), &log).await;
    until_leases(&store, |rows| {
        rows.iter().any(|row| row.owner.as_ref().is_some_and(|id| id.name.as_str() == "w3"))
    })
    .await;
    sleep(Duration::from_secs(300)).await;
    while let Ok(event) = events.try_recv() {
        let bad = matches!(event.kind, EventKind::AuditFailed { .. } | EventKind::HolesFound { .. });
        assert!(!bad, "{event:?}");
    }
    assert!(!log.seen().iter().any(|seen| seen.shard == damaged.shard && seen.text == "b"));
    store.damage(&group(), &RowKey::Lease(damaged), false);
    log.until(|seen| seen.iter().filter(|seen| seen.text == "b").count() == 4).await;
    second.stop().await;
    third.stop().await;
}
