//! Several workers, workers that die, stores that lose replies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    CountingStore, FaultTarget, FaultyStore, LeaseLostReason, LeaseRow, LeaseStore, LeaseStoreExt,
    LeaseUpdate, Listing, MemoryStore, Position, SequenceNumber, StoreFault, StoreOperation, WorkerUpdate,
};
use rokini::{Batch, Event, EventKind, HandlerError, RecordProcessor, ShardContext, ShardState, ShardStop};
use tokio::time::{Instant, advance, sleep};

use crate::harness::{Log, Running, builder, clock_off_by, group, leases, position, until_leases};
use crate::stream::{Op, Stream, shard_id};

fn held_by(rows: &[LeaseRow], name: &str) -> usize {
    rows.iter().filter(|row| row.owner.as_ref().is_some_and(|id| id.name.as_str() == name)).count()
}

/// Puts a number into each shard in turn, every 100 ms.
fn produce(stream: &Stream, shards: usize, count: usize) -> tokio::task::JoinHandle<()> {
    let stream = stream.clone();
    tokio::spawn(async move {
        for number in 0..count {
            stream.put(number % shards, &number.to_string());
            sleep(Duration::from_millis(100)).await;
        }
    })
}

fn missing(log: &Log, count: usize) -> Vec<usize> {
    let seen: BTreeSet<usize> = log.texts().iter().map(|text| text.parse().unwrap()).collect();
    (0..count).filter(|number| !seen.contains(number)).collect()
}

#[tokio::test(start_paused = true)]
async fn l2_only_worker_is_replaced_within_two_seconds_after_a_stop_and_failover_plus_two_after_a_kill() {
    for (killed, limit) in [(false, 2), (true, 12)] {
        let (stream, inner, log) = (Stream::new(4), MemoryStore::new(), Log::default());
        let producing = produce(&stream, 4, 600);
        let link = FaultyStore::new(inner.clone(), 1);
        let first = Running::logging(builder(&stream, link.clone(), "w1"), &log).await;
        sleep(Duration::from_secs(20)).await;
        let ended = Instant::now();
        if killed {
            link.outage(true);
            first.kill().await;
        } else {
            assert!(first.stop().await.is_clean());
        }
        let second = Running::logging(builder(&stream, inner.clone(), "w2"), &log).await;
        for shard in 0..4 {
            let seen =
                log.until(|seen| seen.iter().any(|s| s.shard == shard_id(shard) && s.worker == "w2")).await;
            let first = seen.iter().find(|s| s.shard == shard_id(shard) && s.worker == "w2").unwrap();
            let silent = first.at - ended;
            assert!(silent <= Duration::from_secs(limit), "killed={killed}: {silent:?}");
        }
        producing.await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert!(missing(&log, 600).is_empty(), "lost: {:?}", missing(&log, 600));
        let twice = log.texts().len() - 600;
        // Four shards, at most one checkpoint interval each of 2.5 records a second and shard.
        assert!(twice <= if killed { 4 * 15 } else { 0 }, "killed={killed}: {twice} twice");
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn l10_wall_clocks_ten_minutes_apart_change_nothing() {
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    let producing = produce(&stream, 4, 1_200);
    let mut fleet = Vec::new();
    for (name, off) in [("w1", -600_000), ("w2", 0), ("w3", 600_000)] {
        let building = builder(&stream, store.clone(), name).wall_clock(clock_off_by(&stream, off));
        let running = Running::logging(building, &log).await;
        let events = running.handle.events();
        fleet.push((running, events));
    }
    let balanced = |rows: &[LeaseRow]| {
        let held: Vec<_> = ["w1", "w2", "w3"].iter().map(|name| held_by(rows, name)).collect();
        held.iter().sum::<usize>() == 4 && held.iter().all(|held| *held >= 1)
    };
    let rows = until_leases(&store, balanced).await;
    producing.await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let after = leases(&store).await;
    for (before, after) in rows.iter().zip(&after) {
        assert_eq!((&before.owner, before.epoch), (&after.owner, after.epoch), "no lease moves");
    }
    let mut numbers: Vec<u32> = log.texts().iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_200).collect::<Vec<_>>(), "each once");
    for (running, mut events) in fleet {
        while let Ok(event) = events.try_recv() {
            let bad = matches!(
                event,
                Event { kind: EventKind::LeaseLost { .. }, .. }
                    | Event { kind: EventKind::Fenced, .. }
                    | Event { kind: EventKind::OutageBegan { .. }, .. }
            );
            assert!(!bad, "{event:?}");
        }
        running.stop().await;
    }
}

/// Notes the order of its callbacks per hold.
struct Order {
    log: Log,
    began: bool,
    over: bool,
}

impl RecordProcessor for Order {
    async fn init(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        assert!(!self.began && !self.over);
        self.began = true;
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        assert!(self.began && !self.over, "a call out of order");
        self.log.add(&batch);
        Ok(())
    }

    async fn lease_lost(&mut self, _: &ShardContext, _: LeaseLostReason) {
        assert!(!self.over);
        self.over = true;
    }

    async fn shutdown_requested(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        assert!(!self.over);
        self.over = true;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn c13_lost_replies_lose_no_lease_and_put_no_callback_out_of_order() {
    let faults = [StoreFault::LoseReply, StoreFault::Retry];
    // How likely it is, by how often it is called.
    let targets = [
        (FaultTarget::Only(StoreOperation::Checkpoint), 0.5),
        (FaultTarget::Only(StoreOperation::Heartbeat), 0.5),
        (FaultTarget::Only(StoreOperation::Acquire), 0.9),
        (FaultTarget::Only(StoreOperation::HandOver), 0.9),
        (FaultTarget::Writes, 0.5),
    ];
    for (target, likely) in targets {
        for fault in faults {
            let (stream, log) = (Stream::new(3), Log::default());
            let store = FaultyStore::new(MemoryStore::new(), 11);
            store.chance(target, fault, likely);
            let producing = produce(&stream, 3, 300);
            let ordered = |name: &str| {
                let log = log.clone();
                builder(&stream, store.clone(), name).processor(move |_| Order {
                    log: log.clone(),
                    began: false,
                    over: false,
                })
            };
            let first = Running::start(ordered("w1")).await;
            let mut events = first.handle.events();
            log.until_count(150).await;
            let second = Running::start(ordered("w2")).await;
            until_leases(&store, |rows| held_by(rows, "w2") >= 1).await;
            first.stop().await;
            producing.await.unwrap();
            log.until(|seen| seen.iter().map(|s| &s.text).collect::<BTreeSet<_>>().len() == 300).await;
            while let Ok(event) = events.try_recv() {
                let bad = matches!(
                    event,
                    Event { kind: EventKind::LeaseLost { .. }, .. }
                        | Event { kind: EventKind::Fenced, .. }
                        | Event { kind: EventKind::HandlerFailed { .. }, .. }
                );
                assert!(!bad, "{target:?} {fault:?}: {event:?}");
            }
            store.heal();
            second.stop().await;
            assert!(store.injected() > 0, "{target:?} {fault:?} met no call");
            assert_eq!(log.seen().len(), 300, "{target:?} {fault:?}: handlers finished, so nothing twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn k1_idle_shards_cost_heartbeats_only() {
    let (stream, log) = (Stream::new(20), Log::default());
    let store = CountingStore::new(MemoryStore::new());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    stream.put_each(20, "a");
    log.until_count(20).await;
    sleep(Duration::from_secs(60)).await;
    let before = store.snapshot();
    sleep(Duration::from_secs(60)).await;
    let after = store.snapshot();
    let beats = after.of(StoreOperation::Heartbeat) - before.of(StoreOperation::Heartbeat);
    assert_eq!(after.write_calls() - before.write_calls(), beats, "nothing but heartbeats");
    assert!((14..=16).contains(&beats), "{beats}");
    let reads = after.read_calls() - before.read_calls();
    assert!(
        reads <= 41 + 4,
        "{reads}: a small look every 1.5 s, two or three listings of everything, and an audit"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c5_no_handler_starts_without_validity_and_all_go_on_after_an_outage() {
    let (stream, log) = (Stream::new(2).per_read(1), Log::default());
    let store = FaultyStore::new(MemoryStore::new(), 1);
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let mut events = running.handle.events();
    stream.put(0, "a");
    log.until_count(1).await;
    let began = Instant::now();
    store.outage(true);
    let producing = produce(&stream, 2, 600);
    sleep(Duration::from_secs(40)).await;
    let last = log.seen().last().unwrap().at - began;
    assert!(last <= Duration::from_millis(7_500), "a call {last:?} after the last heartbeat");
    assert!(last >= Duration::from_secs(5), "validity outlives short outages: {last:?}");
    assert!(running.handle.status().shards.iter().all(|shard| shard.state == ShardState::Paused));
    store.outage(false);
    producing.await.unwrap();
    log.until_count(601).await;
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(told.iter().any(|event| event.kind == EventKind::OutageEnded));
    assert!(!told.iter().any(|event| matches!(
        event,
        Event { kind: EventKind::LeaseLost { .. }, .. } | Event { kind: EventKind::Fenced, .. }
    )));
    assert_eq!(log.seen().len(), 601, "nothing twice");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn l13_background_tasks_that_panic_are_events_and_begin_anew() {
    let (stream, log) = (Stream::new(2), Log::default());
    let store = FaultyStore::new(MemoryStore::new(), 1);
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let mut events = running.handle.events();
    stream.put(0, "a");
    log.until_count(1).await;
    store.chance(FaultTarget::All, StoreFault::Panic, 1.0);
    sleep(Duration::from_secs(5)).await;
    store.heal();
    stream.put(1, "b");
    log.until_count(2).await;
    sleep(Duration::from_secs(20)).await;
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    for wanted in ["heartbeat", "watch"] {
        let restarted =
            |event: &Event| matches!(&event.kind, EventKind::TaskRestarted { task, .. } if *task == wanted);
        assert!(told.iter().any(restarted), "{wanted}: {told:?}");
    }
    assert!(!told.iter().any(|event| matches!(event.kind, EventKind::Fenced)), "{told:?}");
    assert_eq!(log.seen().len(), 2, "nothing twice");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn t2_a_worker_whose_shards_others_may_have_reads_none_of_them() {
    let (stream, log) = (Stream::new(8), Log::default());
    let store = FaultyStore::new(MemoryStore::new(), 1);
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    until_leases(&store, |rows| held_by(rows, "w") == 8).await;
    for stands_still in [false, true] {
        sleep(Duration::from_secs(5)).await;
        let before = stream.calls(Op::Read);
        sleep(Duration::from_secs(5)).await;
        assert!(stream.calls(Op::Read) > before + 8, "idle shards are read");
        store.outage(true);
        if stands_still {
            // As after SIGSTOP and SIGCONT: every timer is due at once.
            let before = stream.calls(Op::Read);
            advance(Duration::from_secs(12)).await;
            sleep(Duration::from_millis(100)).await;
            assert_eq!(stream.calls(Op::Read), before, "read before it knew that it may");
        } else {
            sleep(Duration::from_millis(7_600)).await;
            let before = stream.calls(Op::Read);
            sleep(Duration::from_secs(30)).await;
            assert_eq!(stream.calls(Op::Read), before, "read without validity");
        }
        assert!(running.handle.status().shards.iter().all(|shard| shard.state == ShardState::Paused));
        store.outage(false);
        stream.put_each(8, "a");
        log.until_count(8).await;
        log.clear();
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c6_fenced_worker_drops_its_shards_is_told_why_and_joins_again() {
    let (stream, inner, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let link = FaultyStore::new(inner.clone(), 1);
    let first = Running::logging(builder(&stream, link.clone(), "w1"), &log).await;
    until_leases(&inner, |rows| held_by(rows, "w1") == 2).await;
    let mut events = first.handle.events();
    let second = Running::logging(builder(&stream, inner.clone(), "w2"), &log).await;
    until_leases(&inner, |rows| held_by(rows, "w2") == 1).await;
    link.outage(true);
    until_leases(&inner, |rows| held_by(rows, "w2") == 2).await;
    link.outage(false);
    // It comes back as a new incarnation and gets its share.
    until_leases(&inner, |rows| held_by(rows, "w1") == 1).await;
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let lost = |event: &Event| {
        matches!(event, Event { kind: EventKind::LeaseLost { cause: LeaseLostReason::Fenced, .. }, .. })
    };
    assert!(told.iter().any(lost) && told.iter().any(|event| event.kind == EventKind::Fenced), "{told:?}");
    stream.put_each(2, "a");
    log.until_count(2).await;
    assert!(first.stop().await.is_clean());
    assert!(second.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn c6_handler_that_blocks_for_an_hour_keeps_its_lease() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_each(2, "a");
    let calls = log.clone();
    let slow = builder(&stream, store.clone(), "w1").for_each_batch(move |batch| {
        calls.add(&batch);
        async {
            sleep(Duration::from_secs(3_600)).await;
            Ok(())
        }
    });
    let first = Running::start(slow).await;
    log.until_count(2).await;
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(held_by(&leases(&store).await, "w1"), 2, "nothing is taken from a live worker by force");
    until_leases(&store, |rows| held_by(rows, "w2") == 1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.texts(), ["a", "a"], "handed over when done");
    for shard in 0..2 {
        let done = Position::after(SequenceNumber::from(shard + 1));
        assert_eq!(position(&store, &shard_id(shard as usize)).await, done);
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c3_task_that_dies_is_restarted_and_the_others_do_not_notice() {
    let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
    stream.put(1, "a");
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    let mut events = running.handle.events();
    log.until_count(1).await;
    stream.panic_in(1, true);
    sleep(Duration::from_secs(2)).await;
    stream.panic_in(1, false);
    stream.put_each(3, "b");
    log.until_count(4).await;
    let restarted: BTreeSet<_> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event {
            Event { shard: Some(shard), kind: EventKind::ShardRestarted { .. }, .. } => Some(shard),
            Event { kind: EventKind::LeaseLost { .. }, .. } => panic!("{event:?}"),
            _ => None,
        })
        .collect();
    assert_eq!(restarted, BTreeSet::from([shard_id(1)]));
    assert!(running.stop().await.is_clean());
}

/// Tells when it lost its lease and why; its handler waits until told that its work will not count.
struct Waits(Log, Arc<Mutex<Vec<String>>>);

impl RecordProcessor for Waits {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        self.0.add(&batch);
        batch.cancelled().await;
        let stored = batch.checkpoint_at(&batch.records()[0]).await;
        self.1.lock().unwrap().push(format!("stored {}", stored.is_ok()));
        Ok(())
    }

    async fn lease_lost(&mut self, _: &ShardContext, cause: LeaseLostReason) {
        self.1.lock().unwrap().push(format!("lost {cause:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn c5_stale_owner_is_told_and_its_checkpoint_is_refused() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (calls, tells) = (log.clone(), Arc::clone(&told));
    let building =
        builder(&stream, store.clone(), "w").processor(move |_| Waits(calls.clone(), Arc::clone(&tells)));
    let running = Running::start(building).await;
    log.until_count(2).await;
    // An operator sets the position: the hold is over, and the shard comes back from there.
    let row = leases(&store).await.remove(0);
    let seek =
        LeaseUpdate::Seek { seen: row.epoch, to: Position::after(SequenceNumber::from(1)), order: None };
    assert!(store.update_lease(&group(), &row.key, &seek).await.unwrap().is_applied());
    log.until_count(3).await;
    assert_eq!(log.texts(), ["a", "b", "b"]);
    assert_eq!(*told.lock().unwrap(), ["stored false", "lost Seek"]);
    let held: Vec<_> = running.handle.status().shards.iter().map(|shard| shard.epoch).collect();
    assert_eq!(held, [row.epoch.next()]);
    running.handle.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn g1_worker_that_is_fenced_while_it_stops_still_reports() {
    let (stream, inner, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let link = FaultyStore::new(inner.clone(), 1);
    stream.put(0, "a");
    let calls = log.clone();
    let slow = builder(&stream, link.clone(), "w1").for_each_batch(move |batch| {
        calls.add(&batch);
        async {
            sleep(Duration::from_secs(40)).await;
            Ok(())
        }
    });
    let first = Running::start(slow).await;
    log.until_count(1).await;
    let second = Running::logging(builder(&stream, inner.clone(), "w2"), &log).await;
    sleep(Duration::from_secs(5)).await;
    link.outage(true);
    let handle = first.handle.clone();
    let stopping = tokio::spawn(async move { handle.shutdown(Duration::from_secs(60)).await });
    until_leases(&inner, |rows| held_by(rows, "w2") == 2).await;
    link.outage(false);
    let report = stopping.await.unwrap();
    let lost = |end: &ShardStop| matches!(end, ShardStop::Lost(LeaseLostReason::Fenced));
    assert!(report.shards.iter().any(|shard| shard.shard == shard_id(0) && lost(&shard.end)), "{report:?}");
    assert_eq!(first.run.await.unwrap().unwrap(), report);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c5_two_handlers_of_one_shard_never_run_at_once() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let running_now = Arc::new(Mutex::new((0, 0)));
    let (calls, counts) = (log.clone(), Arc::clone(&running_now));
    let building = builder(&stream, store.clone(), "w").for_each_batch(move |batch| {
        calls.add(&batch);
        let counts = Arc::clone(&counts);
        async move {
            {
                let mut counts = counts.lock().unwrap();
                counts.0 += 1;
                counts.1 = counts.1.max(counts.0);
            }
            // It does not heed its cancellation, but it ends within the time it is given.
            sleep(Duration::from_secs(4)).await;
            counts.lock().unwrap().0 -= 1;
            Ok(())
        }
    });
    let running = Running::start(building).await;
    log.until_count(1).await;
    // Declared dead while it works: it joins again at its next heartbeat and gets its shard back at once.
    let view = store.list(&group(), Listing::All).await.unwrap();
    let fence = WorkerUpdate::Fence { seen: view.workers[0].heartbeat };
    let fenced = store.update_worker(&group(), &view.workers[0].id, &fence).await.unwrap();
    assert!(fenced.is_applied());
    let begun = Instant::now();
    until_leases(&store, |rows| rows[0].owner.as_ref().is_some_and(|id| *id != view.workers[0].id)).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    log.until_count(2).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(running_now.lock().unwrap().1, 1, "at most one at any time");
    assert_eq!(log.texts(), ["a", "a"]);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn l8_store_outage_changes_no_owner_and_a_long_one_pauses_the_fleet() {
    let (stream, inner, log) = (Stream::new(4).per_read(1), MemoryStore::new(), Log::default());
    let store = FaultyStore::new(inner.clone(), 1);
    let first = Running::logging(builder(&stream, store.clone(), "w1"), &log).await;
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    let balanced = |rows: &[LeaseRow]| (held_by(rows, "w1"), held_by(rows, "w2")) == (2, 2);
    let before = until_leases(&inner, balanced).await;
    let producing = produce(&stream, 4, 1_200);
    for (seconds, pauses) in [(6, false), (45, true)] {
        store.outage(true);
        sleep(Duration::from_secs(seconds)).await;
        let silent = log.seen().last().unwrap().at.elapsed() > Duration::from_secs(1);
        assert_eq!(silent, pauses, "{seconds} s");
        store.outage(false);
        sleep(Duration::from_secs(30)).await;
        let after = leases(&inner).await;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((&before.owner, before.epoch), (&after.owner, after.epoch), "{seconds} s");
        }
    }
    producing.await.unwrap();
    log.until_count(1_200).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((log.seen().len(), missing(&log, 1_200)), (1_200, Vec::new()), "each once");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn r2_closed_shard_is_read_to_its_end_though_every_worker_is_killed_midway() {
    let (stream, inner, log) = (Stream::new(1).per_read(1), MemoryStore::new(), Log::default());
    (0..60).for_each(|number| {
        stream.put(0, &number.to_string());
    });
    let (low, high) = stream.split(0);
    stream.put(low, "60");
    stream.put(high, "61");
    for life in 1..=3 {
        let link = FaultyStore::new(inner.clone(), 1);
        let calls = log.clone();
        let building = builder(&stream, link.clone(), &format!("w{life}"));
        let running = Running::start(building.for_each_batch(move |batch| {
            calls.add(&batch);
            async {
                sleep(Duration::from_secs(1)).await;
                Ok(())
            }
        }))
        .await;
        let reached = (life * 15).to_string();
        log.until(|seen| seen.iter().any(|seen| seen.text == reached)).await;
        link.outage(true);
        running.kill().await;
    }
    assert!(log.seen().iter().all(|seen| seen.shard == shard_id(0)), "no child before the end");
    let last = Running::logging(builder(&stream, inner, "last"), &log).await;
    log.until(|seen| seen.iter().filter(|seen| seen.shard != shard_id(0)).count() == 2).await;
    assert!(missing(&log, 62).is_empty(), "lost: {:?}", missing(&log, 62));
    let twice = log.seen().len() - 62;
    assert!(twice <= 3 * 6, "at most a checkpoint interval for each kill: {twice}");
    last.stop().await;
}
