//! Every option of the builder has an effect, and none that has none is taken.

use std::time::Duration;

use rokini::lease::{
    CountingStore, FaultyStore, LeaseStore, Listing, MemoryStore, Position, SequenceNumber, StoreOperation,
    WallClock,
};
use rokini::{ConfigKey, Consumer, ConsumerBuilder, ConsumerConfig, ErrorKind, EventKind, StartPosition};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, builder, group, leases, position, until_leases};
use crate::stream::{BEGIN, Op, Stream, shard_id};

async fn refused(builder: ConsumerBuilder) -> String {
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn t3_what_is_missing_or_wrong_is_told_before_anything_starts() {
    let stream = Stream::new(1);
    let store = MemoryStore::new;
    let ok = |builder: ConsumerBuilder| builder.for_each(|_| async { Ok(()) });
    let text = refused(ok(Consumer::builder().source(stream.clone()).store(store()))).await;
    assert!(text.contains("`group`"), "{text}");
    let text = refused(builder(&stream, store(), "w")).await;
    assert!(text.contains("handler") && text.contains("for_each"), "{text}");
    let text = refused(ok(Consumer::builder().group("g").store(store()))).await;
    assert!(text.contains("source"), "{text}");
    let text = refused(ok(Consumer::builder().group("g").source(stream.clone()))).await;
    assert!(text.contains("lease store"), "{text}");
    let text = refused(ok(builder(&stream, store(), "w").group("no#good"))).await;
    assert!(text.contains("no#good"), "{text}");
    let text = refused(ok(builder(&stream, store(), "w").max_leases(0))).await;
    assert!(text.contains("max_leases"), "{text}");
    let text = refused(ok(builder(&stream, store(), "w").heartbeat(Duration::from_secs(9)))).await;
    assert!(text.contains("heartbeat") && text.contains("failover"), "{text}");
    assert_eq!(stream.calls(Op::Describe), 0);
}

#[tokio::test(start_paused = true)]
async fn t3_settings_that_would_do_nothing_are_refused() {
    let stream = Stream::new(1);
    for (key, value) in [
        (ConfigKey::PollFloor, "300ms"),
        (ConfigKey::PollCeiling, "3s"),
        (ConfigKey::MaxRecords, "5"),
        (ConfigKey::Table, "leases"),
        (ConfigKey::CreateTable, "true"),
        (ConfigKey::TablePartitions, "4"),
    ] {
        let building = builder(&stream, MemoryStore::new(), "w").set(key, value);
        let text = refused(building.for_each(|_| async { Ok(()) })).await;
        assert!(text.contains(key.name()) && text.contains("no effect"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn t3_program_wins_over_environment_wins_over_file() {
    let stream = Stream::new(1);
    let file = ConsumerConfig::from_toml_str("worker = 'file'\ngroup = 'file'\nmax_leases = 3").unwrap();
    let env = [("ROKINI_WORKER", "env"), ("ROKINI_GROUP", "env")];
    let env = ConsumerConfig::from_env(env.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    let building = Consumer::builder()
        .group("g")
        .config(env)
        .config(file)
        .source(stream.clone())
        .store(MemoryStore::new());
    let running = Running::logging(building, &Log::default()).await;
    sleep(Duration::from_secs(1)).await;
    let status = running.handle.status();
    assert_eq!((status.group, status.worker.unwrap().name.as_str()), (group(), "env"));
    running.stop().await;
}

/// A running worker with this setting, after a minute in which a record came every second.
async fn after_a_minute(
    stream: &Stream,
    set: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
) -> (Running, CountingStore<MemoryStore>) {
    let store = CountingStore::new(MemoryStore::new());
    let building = set(builder(stream, store.clone(), "w"));
    let running = Running::logging(building, &Log::default()).await;
    for number in 0..60 {
        stream.put(0, &number.to_string());
        sleep(Duration::from_secs(1)).await;
    }
    (running, store)
}

#[tokio::test(start_paused = true)]
async fn t3_checkpoint_interval_has_an_effect() {
    for (interval, writes) in [(None, 12..=13), (Some(20), 3..=4), (Some(0), 59..=60)] {
        let set = |builder: ConsumerBuilder| match interval {
            Some(seconds) => builder.checkpoint_interval(Duration::from_secs(seconds)),
            None => builder,
        };
        let (running, store) = after_a_minute(&Stream::new(1), set).await;
        let count = store.snapshot().of(StoreOperation::Checkpoint);
        assert!(writes.contains(&count), "{interval:?}: {count}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_auto_checkpoint_has_an_effect() {
    for automatic in [true, false] {
        let (running, store) =
            after_a_minute(&Stream::new(1), |builder| builder.auto_checkpoint(automatic)).await;
        running.stop().await;
        let stored = position(&store, &shard_id(0)).await;
        let expected = Position::after(SequenceNumber::from(60));
        assert_eq!(stored, if automatic { expected } else { Position::TrimHorizon });
    }
}

#[tokio::test(start_paused = true)]
async fn t3_heartbeat_has_an_effect() {
    for (seconds, beats) in [(1, 59..=60), (2, 29..=30)] {
        let set = |builder: ConsumerBuilder| builder.heartbeat(Duration::from_secs(seconds));
        let (running, store) = after_a_minute(&Stream::new(1), set).await;
        let count = store.snapshot().of(StoreOperation::Heartbeat);
        assert!(beats.contains(&count), "{seconds} s: {count}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_audit_interval_has_an_effect() {
    for (seconds, listings) in [(60, 1..=2), (5, 10..=14)] {
        let stream = Stream::new(1);
        let set = |builder: ConsumerBuilder| builder.audit_interval(Duration::from_secs(seconds));
        let (running, _) = after_a_minute(&stream, set).await;
        let count = stream.calls(Op::List);
        assert!(listings.contains(&count), "{seconds} s: {count}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_max_leases_has_an_effect() {
    for (limit, held) in [(None, 3), (Some(2), 2)] {
        let set = |builder: ConsumerBuilder| match limit {
            Some(limit) => builder.max_leases(limit),
            None => builder,
        };
        let (running, store) = after_a_minute(&Stream::new(3), set).await;
        let owned = leases(&store).await.iter().filter(|row| row.owner.is_some()).count();
        assert_eq!(owned, held);
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_failover_and_unique_worker_names_have_an_effect() {
    // How long a killed worker's shard waits for a worker of another name, or of the same.
    for (successor, failover, vouched, limit) in [
        ("other", 10, false, 8.0..12.5),
        ("other", 4, false, 3.0..6.5),
        ("same", 10, false, 8.0..12.5),
        ("same", 10, true, 2.0..4.0),
    ] {
        let (stream, inner, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let link = FaultyStore::new(inner.clone(), 1);
        let set = |builder: ConsumerBuilder| {
            builder.failover(Duration::from_secs(failover)).unique_worker_names(vouched)
        };
        let first = Running::logging(set(builder(&stream, link.clone(), "same")), &log).await;
        until_leases(&inner, |rows| rows.iter().any(|row| row.owner.is_some())).await;
        link.outage(true);
        first.kill().await;
        stream.put(0, "a");
        let killed = Instant::now();
        let second = Running::logging(set(builder(&stream, inner, successor)).seed(77), &log).await;
        log.until_count(1).await;
        let waited = killed.elapsed().as_secs_f64();
        assert!(limit.contains(&waited), "{successor} {failover} {vouched}: {waited}");
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_shutdown_deadline_and_handler_timeout_have_an_effect() {
    for (deadline, timeout, expected) in [(None, None, 25), (Some(5), None, 5), (None, Some(3), 3)] {
        let (stream, log) = (Stream::new(1), Log::default());
        stream.put(0, "a");
        let mut building = builder(&stream, MemoryStore::new(), "w");
        if let Some(seconds) = deadline {
            building = building.shutdown_deadline(Duration::from_secs(seconds));
        }
        if let Some(seconds) = timeout {
            building = building.handler_timeout(Duration::from_secs(seconds));
        }
        let calls = log.clone();
        let running = Running::start(building.for_each_batch(move |batch| {
            calls.add(&batch);
            async {
                sleep(Duration::from_secs(86_400)).await;
                Ok(())
            }
        }))
        .await;
        log.until_count(1).await;
        let begun = Instant::now();
        running.handle.stop().await;
        let took = begun.elapsed();
        let expected = Duration::from_secs(expected);
        assert!(took <= expected && took >= expected - Duration::from_secs(1), "{took:?} for {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t3_seed_names_and_wall_clock_have_an_effect() {
    let worker = async |set: fn(ConsumerBuilder) -> ConsumerBuilder| {
        let (running, store) = after_a_minute(&Stream::new(1), set).await;
        let id = running.handle.status().worker.unwrap();
        let at = leases(&store).await[0].checkpointed_at.unwrap();
        running.stop().await;
        (id, at)
    };
    let (first, at) = worker(|builder| builder).await;
    let (same, _) = worker(|builder| builder).await;
    let (other, _) = worker(|builder| builder.seed(1)).await;
    assert_eq!(first, same, "one seed, one course");
    assert!(first.name == other.name && first.incarnation != other.incarnation);
    assert!((BEGIN..BEGIN + 60_000).contains(&at));
    let (named, at) = worker(|builder| {
        builder.worker("named").start(StartPosition::TrimHorizon).wall_clock(WallClock::from_fn(|| 77))
    })
    .await;
    assert_eq!((named.name.as_str(), at), ("named", 77));
}

#[tokio::test(start_paused = true)]
async fn t3_group_and_start_have_an_effect() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    sleep(Duration::from_secs(1)).await;
    let latest = builder(&stream, store.clone(), "w").group("late").start(StartPosition::Latest);
    let late = Running::logging(latest, &Log::default()).await;
    let mut events = late.handle.events();
    let oldest = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    log.until_count(1).await;
    sleep(Duration::from_secs(1)).await;
    let start = Position::AtTimestamp(BEGIN + 1_000);
    let resolved = EventKind::StartResolved { position: start };
    let mut told = std::iter::from_fn(|| events.try_recv().ok());
    assert!(told.any(|event| event.stream == Some(stream.id()) && event.kind == resolved));
    for (name, start) in [("g", Position::TrimHorizon), ("late", start)] {
        let view = store.list(&name.parse().unwrap(), Listing::All).await.unwrap();
        assert_eq!((view.streams[0].start, view.leases.len(), view.workers.len()), (start, 1, 1), "{name}");
    }
    late.stop().await;
    oldest.stop().await;
}
