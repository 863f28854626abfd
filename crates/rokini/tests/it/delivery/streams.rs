//! Several streams in one consumer, and streams that come and go.

use std::time::Duration;

use rokini::lease::{LeaseRow, LeaseStoreExt, MemoryStore, Position, SequenceNumber};
use rokini::{ErrorKind, Event, EventKind, StartPosition};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Log, Running, Seen, builder, group, leases, until_leases};
use crate::stream::{Op, Stream, shard_id};

fn owned_by(rows: &[LeaseRow], stream: &Stream, name: &str) -> usize {
    let id = stream.id();
    let owned = |row: &&LeaseRow| {
        row.key.stream == id && row.owner.as_ref().is_some_and(|owner| owner.name.as_str() == name)
    };
    rows.iter().filter(owned).count()
}

fn sorted(log: &Log) -> Vec<String> {
    let mut texts = log.texts();
    texts.sort();
    texts
}

#[tokio::test(start_paused = true)]
async fn c14_streams_of_one_consumer_never_touch_each_other() {
    let (orders, bills) = (Stream::new(2), Stream::new(2).named("bills"));
    let (store, log) = (MemoryStore::new(), Log::default());
    let both = builder(&orders, store.clone(), "w").source(bills.clone());
    let running = Running::logging(both.stream("orders").stream("bills"), &log).await;
    let order = orders.put(0, "an order");
    bills.put(1, "a bill");
    let seen = log.until_count(2).await;
    for seen in seen {
        let (stream, shard) = if seen.text == "a bill" { (&bills, 1) } else { (&orders, 0) };
        assert_eq!((&seen.stream, &seen.shard), (&stream.id(), &shard_id(shard)));
    }
    let status = running.handle.status();
    let names: Vec<_> = status.streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!((names, status.shards.len()), (vec!["bills", "orders"], 4));

    // Both have a shard of this name; a position is the one of its stream.
    bills.put_all(0, &["one more", "another bill"]);
    let other = SequenceNumber::from(3);
    log.until_count(4).await;
    let ambiguous = running.handle.checkpoint(&shard_id(0), other).await.unwrap_err();
    assert_eq!(ambiguous.kind(), ErrorKind::Configuration);
    assert!(ambiguous.to_string().contains("bills@"), "{ambiguous}");
    running.handle.checkpoint_in(&bills.id(), &shard_id(0), other).await.unwrap();
    let rows = leases(&store).await;
    let of = |stream: &Stream| rows.iter().find(|row| row.key.stream == stream.id()).unwrap().position;
    assert_eq!((of(&bills), of(&orders)), (Position::after(other), Position::after(order)));
    let report = running.stop().await;
    assert!(report.is_clean());
    assert_eq!(report.shards.iter().filter(|shard| shard.stream == bills.id()).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn streams_are_added_and_removed_while_the_consumer_runs() {
    let (orders, bills) = (Stream::new(1), Stream::new(3).named("bills"));
    let (store, log) = (MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&orders, store.clone(), "w"), &log).await;
    orders.put(0, "a");
    log.until_count(1).await;
    let mut events = running.handle.events();

    bills.put_each(3, "b");
    let begun = Instant::now();
    running.handle.add_source(bills.clone()).await.unwrap();
    log.until_count(4).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    running.handle.add_source(bills.clone()).await.unwrap();
    assert_eq!(running.handle.status().streams.len(), 2, "once is enough");

    running.handle.remove_stream("bills").await.unwrap();
    bills.put_each(3, "not here");
    orders.put(0, "c");
    log.until_count(5).await;
    let status = running.handle.status();
    assert_eq!((status.streams.len(), status.shards.len()), (1, 1));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(log.seen().len(), 5);
    let stored = |row: &LeaseRow| matches!(row.position, Position::Sequence(..)) && row.owner.is_none();
    let rows = leases(&store).await;
    assert!(rows.iter().filter(|row| row.key.stream == bills.id()).all(stored), "{rows:?}");

    // Again: on from where it was.
    running.handle.add_source(bills.clone()).await.unwrap();
    log.until_count(8).await;
    assert_eq!(sorted(&log), ["a", "b", "b", "b", "c", "not here", "not here", "not here"]);
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let removed = |event: &&Event| event.stream == Some(bills.id()) && event.kind == EventKind::StreamRemoved;
    assert_eq!(told.iter().filter(removed).count(), 1);
    let unknown = running.handle.remove_stream("tills").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Configuration);
    let unsourced = running.handle.add_stream("tills").await.unwrap_err();
    assert!(unsourced.to_string().contains("tills"), "{unsourced}");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c14_two_streams_of_one_name_are_refused_wherever_they_are_named() {
    const HERE: &str = "arn:aws:kinesis:eu-west-1:111111111111:stream/orders";
    const THERE: &str = "arn:aws:kinesis:eu-west-1:222222222222:stream/orders";
    let (here, store, log) = (Stream::new(1).known_as(HERE), MemoryStore::new(), Log::default());
    sleep(Duration::from_secs(1)).await;
    let there = Stream::new(1).known_as(THERE);
    there.recreate(1);
    let refused = |error: rokini::Error| {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let said = error.to_string();
        assert!([HERE, THERE, "a group of its own each"].iter().all(|part| said.contains(part)), "{said}");
    };
    let both = builder(&here, store.clone(), "w").source(there.clone());
    refused(both.for_each(|_| async { Ok(()) }).build().await.map(drop).unwrap_err());

    let consumer = builder(&here, store.clone(), "w").for_each(|_| async { Ok(()) }).build().await.unwrap();
    refused(consumer.handle().add_source(there.clone()).await.unwrap_err());
    drop(consumer);

    let running = Running::logging(builder(&here, store.clone(), "w"), &log).await;
    here.put(0, "a");
    log.until_count(1).await;
    refused(running.handle.add_source(there.clone()).await.unwrap_err());
    refused(running.handle.add_stream(THERE).await.unwrap_err());
    running.handle.add_stream(HERE).await.unwrap();
    running.handle.add_source(here.clone()).await.unwrap();
    sleep(Duration::from_secs(180)).await;
    assert_eq!(there.calls(Op::Describe), 0, "it was not looked at");
    assert!(leases(&store).await.iter().all(|row| row.key.stream == here.id()));
    running.stop().await;
    let other = builder(&there, MemoryStore::new(), "w").stream(HERE);
    let told = other.for_each(|_| async { Ok(()) }).build().await.unwrap().run().await.unwrap_err();
    assert!(told.to_string().contains(THERE), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_added_before_or_during_the_start_is_read_too() {
    let (orders, bills, tills) =
        (Stream::new(1), Stream::new(1).named("bills"), Stream::new(1).named("tills"));
    let log = Log::default();
    let texts = log.clone();
    let consumer = builder(&orders, MemoryStore::new(), "w")
        .for_each_batch(move |batch| {
            texts.add(&batch);
            async { Ok(()) }
        })
        .build()
        .await
        .unwrap();
    let handle = consumer.handle();
    handle.add_source(bills.clone()).await.unwrap();
    orders.fail(Op::Describe, ErrorKind::Retry, 3);
    let run = tokio::spawn(consumer.run());
    sleep(Duration::from_millis(10)).await;
    handle.add_source(tills.clone()).await.unwrap();
    for stream in [&orders, &bills, &tills] {
        stream.put(0, "x");
    }
    log.until_count(3).await;
    handle.shutdown(Duration::from_secs(5)).await;
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn g3_shards_of_a_removed_stream_go_to_the_workers_that_still_read_it() {
    let (orders, bills) = (Stream::new(2), Stream::new(4).named("bills"));
    let (store, log) = (MemoryStore::new(), Log::default());
    let both = |name| builder(&orders, store.clone(), name).source(bills.clone());
    let first = Running::logging(both("w1"), &log).await;
    let second = Running::logging(both("w2"), &log).await;
    until_leases(&store, |rows| owned_by(rows, &bills, "w1") + owned_by(rows, &orders, "w1") == 3).await;
    first.handle.remove_stream("bills").await.unwrap();
    let begun = Instant::now();
    for shard in 0..4 {
        bills.put(shard, &shard.to_string());
    }
    let seen = log.until_count(4).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(seen.iter().all(|seen| seen.worker == "w2"));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(log.seen().len(), 4, "each once");
    assert_eq!(owned_by(&leases(&store).await, &bills, "w2"), 4);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rolling_deploy_in_which_only_some_workers_read_the_new_stream_works() {
    let (orders, bills) = (Stream::new(4), Stream::new(4).named("bills"));
    let (store, log) = (MemoryStore::new(), Log::default());
    let old = Running::logging(builder(&orders, store.clone(), "old"), &log).await;
    until_leases(&store, |rows| owned_by(rows, &orders, "old") == 4).await;
    let new = Running::logging(builder(&orders, store.clone(), "new").source(bills.clone()), &log).await;
    let begun = Instant::now();
    bills.put_each(4, "b");
    orders.put_each(4, "o");
    log.until_count(8).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut events = old.handle.events();
    sleep(Duration::from_secs(120)).await;
    let rows = leases(&store).await;
    assert_eq!(owned_by(&rows, &bills, "new"), 4, "{rows:?}");
    assert_eq!(owned_by(&rows, &orders, "old"), 4, "the load is even: 4 shards each");
    assert!(events.try_recv().is_err(), "at rest");
    // The deploy goes on.
    old.stop().await;
    bills.put_each(4, "c");
    orders.put_each(4, "p");
    let seen = log.until_count(16).await;
    assert!(seen[8..].iter().all(|seen: &Seen| seen.worker == "new"));
    new.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c14_a_stream_made_again_while_the_group_runs_is_read_from_its_oldest_record() {
    let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
    let latest = |name| builder(&stream, store.clone(), name).start(StartPosition::Latest);
    let first = Running::logging(latest("w1"), &log).await;
    let second = Running::logging(latest("w2"), &log).await;
    until_leases(&store, |rows| rows.len() == 3 && rows.iter().all(|row| row.owner.is_some())).await;
    stream.put_each(3, "old");
    log.until_count(3).await;
    sleep(Duration::from_secs(10)).await;
    let old = stream.id();
    let mut events = first.handle.events();
    stream.recreate(2);
    stream.put_each(2, "new");
    let begun = Instant::now();
    log.until_count(5).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    stream.put_each(2, "newer");
    log.until_count(7).await;
    assert_eq!(sorted(&log), ["new", "new", "newer", "newer", "old", "old", "old"]);
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let kind = EventKind::StreamReplaced { by: stream.id() };
    let replaced = |event: &Event| event.stream.as_ref() == Some(&old) && event.kind == kind;
    assert!(told.iter().any(replaced), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Event { stream: Some(stream), kind: EventKind::ShardGone { .. }, .. } if *stream == old)));
    assert!(
        !told.iter().any(|event| matches!(event, Event { kind: EventKind::ShardRestarted { .. }, .. })),
        "{told:?}"
    );
    // The leases of the deleted stream are removed by an audit.
    until_leases(&store, |rows| rows.len() == 2).await;
    let status = second.handle.status();
    assert_eq!((status.streams.len(), &status.streams[0].id), (1, &stream.id()));
    first.stop().await;
    second.stop().await;
}

/// An audit that has failed since the stream was deleted comes upon the new one first.
#[tokio::test(start_paused = true)]
async fn c14_an_audit_makes_no_leases_of_a_deleted_stream_for_the_shards_of_a_new_one() {
    for kind in [ErrorKind::Configuration, ErrorKind::Retry] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
        let old = stream.id();
        until_leases(&store, |rows| rows.iter().any(|row| row.owner.is_some())).await;
        // As long as an audit fails it is the audit that comes next.
        stream.fail(Op::List, kind, 100_000);
        sleep(Duration::from_secs(70)).await;
        stream.recreate(3);
        stream.put(1, "new");
        stream.put(2, "new");
        stream.fail(Op::List, kind, 0);
        log.until_count(2).await;
        sleep(Duration::from_secs(120)).await;
        assert_eq!(log.texts().len(), 2, "each once: {:?}", log.texts());
        let rows = leases(&store).await;
        assert!(rows.iter().all(|row| row.key.stream != old), "{rows:?}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c14_a_stream_made_again_while_nobody_ran_is_read_from_its_oldest_record() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let latest = |name| builder(&stream, store.clone(), name).start(StartPosition::Latest);
    let first = Running::logging(latest("w1"), &log).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.owner.is_some())).await;
    first.stop().await;
    sleep(Duration::from_secs(10)).await;
    stream.recreate(1);
    stream.put(0, "put while nobody ran");
    sleep(Duration::from_secs(10)).await;
    let second = Running::logging(latest("w2"), &log).await;
    log.until_count(1).await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c14_a_stream_that_is_deleted_and_not_made_again_does_not_stop_the_others() {
    let (orders, bills) = (Stream::new(1), Stream::new(1).named("bills"));
    let log = Log::default();
    let both = builder(&orders, MemoryStore::new(), "w").source(bills.clone());
    let running = Running::logging(both, &log).await;
    orders.put(0, "a");
    log.until_count(1).await;
    bills.break_shard(0, Some(ErrorKind::Data));
    bills.fail(Op::Describe, ErrorKind::Configuration, 100_000);
    sleep(Duration::from_secs(600)).await;
    orders.put(0, "b");
    log.until_count(2).await;
    assert!(running.handle.status().shards.iter().any(|shard| shard.last_error.is_some()));
    let stopping = timeout(Duration::from_secs(20), running.stop()).await.unwrap();
    assert!(stopping.is_clean());
}

#[tokio::test(start_paused = true)]
async fn r1_hashes_that_nobody_reads_are_found_and_mended_whatever_became_of_the_ancestors() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let (low, high) = stream.split(0);
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let rows = until_leases(&store, |rows| rows.iter().filter(|row| row.owner.is_some()).count() == 2).await;
    let mut events = running.handle.events();
    // Somebody removes a child and its parent: no ancestor with a lease leads to it any more.
    for row in rows.iter().filter(|row| row.key.shard != shard_id(low)) {
        assert!(store.delete_lease(&group(), &row.key, row.epoch).await.unwrap());
    }
    let begun = Instant::now();
    stream.put(high, "a");
    log.until_count(1).await;
    assert!(begun.elapsed() <= Duration::from_secs(67), "within one audit period: {:?}", begun.elapsed());
    let found = std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event {
        Event { kind: EventKind::HolesFound { holes, left, .. }, .. } => Some((holes.len(), left)),
        _ => None,
    });
    assert_eq!(found, Some((1, 0)));
    assert!(running.handle.status().streams[0].holes.is_empty());
    // What no open shard takes stays a hole, and is shown.
    stream.hide(low, true);
    let row = leases(&store).await.into_iter().find(|row| row.key.shard == shard_id(low)).unwrap();
    assert!(store.delete_lease(&group(), &row.key, row.epoch).await.unwrap());
    sleep(Duration::from_secs(180)).await;
    assert_eq!(running.handle.status().streams[0].holes.len(), 1);
    stream.hide(low, false);
    sleep(Duration::from_secs(180)).await;
    assert!(running.handle.status().streams[0].holes.is_empty());
    running.stop().await;
}
