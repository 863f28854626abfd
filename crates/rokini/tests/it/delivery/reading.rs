//! Reading that stands still, is paused, or comes too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rokini::lease::{LeaseRow, MemoryStore, Operator, Position, Scope};
use rokini::{ConsumerBuilder, ErrorKind, Event, EventKind, OnDataLoss, ShardState};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{BuildLogging, Log, Running, builder, clock_off_by, group, leases, until_leases};
use crate::stream::{BEGIN, Op, RETENTION, Stream, shard_id};

const HOUR: Duration = Duration::from_secs(3_600);

fn told(events: &mut Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// For tests over days: fewer heartbeats, the same promises.
fn over_days(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder.heartbeat(Duration::from_secs(30)).failover(Duration::from_secs(300))
}

fn all_owned(rows: &[LeaseRow]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| row.owner.is_some())
}

#[tokio::test(start_paused = true)]
async fn c2_a_reader_that_never_answers_is_replaced_and_the_others_do_not_notice() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    stream.put_all(0, &["a", "b"]);
    log.until_count(2).await;
    let mut events = running.handle.events();
    let epoch = running.handle.status().shards[0].epoch;
    stream.hang(0, true);
    sleep(Duration::from_secs(5)).await;
    stream.hang(0, false);
    stream.put(0, "c");
    stream.put(1, "d");
    let begun = Instant::now();
    let seen = log.until_count(4).await;
    assert_eq!(seen[2].text, "d", "the other shard goes on");
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    assert_eq!(log.texts(), ["a", "b", "d", "c"], "nothing twice");
    let restarted = |event: &Event| matches!(event, Event { shard: Some(shard), kind: EventKind::ShardRestarted { .. }, .. } if *shard == shard_id(0));
    let told = told(&mut events);
    assert_eq!(told.iter().filter(|event| restarted(event)).count(), 1, "{told:?}");
    assert_eq!(running.handle.status().shards[0].epoch, epoch, "the same hold");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c2_a_shard_that_this_worker_cannot_read_goes_to_another_worker() {
    for kind in [None, Some(ErrorKind::Retry), Some(ErrorKind::Permission)] {
        let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
        // The link of one worker, and that of the other: the same stream.
        let (bad, good) = (stream.link(), stream.link());
        let first = Running::logging(builder(&bad, store.clone(), "w1"), &log).await;
        let second = Running::logging(builder(&good, store.clone(), "w2"), &log).await;
        until_leases(&store, |rows| {
            let owner = |row: &LeaseRow| row.owner.as_ref().map(|owner| owner.name.to_string());
            rows.len() == 2 && owner(&rows[0]) != owner(&rows[1]) && all_owned(rows)
        })
        .await;
        let mut events = first.handle.events();
        bad.cut(true, kind);
        sleep(Duration::from_secs(1)).await;
        stream.put_each(2, "a");
        let begun = Instant::now();
        log.until_count(2).await;
        assert!(begun.elapsed() < Duration::from_secs(200), "{kind:?}: {:?}", begun.elapsed());
        assert!(log.seen().iter().all(|seen| seen.worker == "w2"), "{kind:?}");
        let given = |event: &Event| matches!(event, Event { kind: EventKind::ShardGivenBack { .. }, .. });
        assert!(told(&mut events).iter().any(given), "{kind:?}");
        // After the fault both work again.
        bad.cut(false, None);
        let both = |rows: &[LeaseRow]| all_owned(rows) && rows[0].owner != rows[1].owner;
        until_leases(&store, both).await;
        stream.put_each(2, "b");
        log.until_count(4).await;
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_task_that_dies_again_and_again_goes_to_another_worker() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let (bad, good) = (stream.link(), stream.link());
    let first = Running::logging(builder(&bad, store.clone(), "w1"), &log).await;
    until_leases(&store, all_owned).await;
    let second = Running::logging(builder(&good, store.clone(), "w2"), &log).await;
    sleep(Duration::from_secs(3)).await;
    bad.panic_on_read(true);
    sleep(Duration::from_millis(300)).await;
    stream.put(0, "a");
    let seen = log.until_count(1).await;
    assert_eq!(seen[0].worker, "w2");
    bad.panic_on_read(false);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c2_a_worker_that_is_alone_tries_until_the_fault_clears() {
    let (stream, store, log) = (Stream::new(3), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    until_leases(&store, all_owned).await;
    stream.cut(true, None);
    sleep(HOUR).await;
    stream.put_each(3, "a");
    stream.cut(false, None);
    let begun = Instant::now();
    log.until_count(3).await;
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    sleep(HOUR).await;
    assert_eq!(log.seen().len(), 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c6_a_handler_that_runs_for_hours_is_not_taken_for_a_shard_that_stands_still() {
    let (stream, store, log) = (Stream::new(1).per_read(1), MemoryStore::new(), Log::default());
    let calls = log.clone();
    let running = Running::start(over_days(builder(&stream, store, "w")).for_each_batch(move |batch| {
        calls.add(&batch);
        async {
            sleep(5 * HOUR).await;
            Ok(())
        }
    }))
    .await;
    stream.put_all(0, &["a", "b"]);
    log.until_count(1).await;
    let mut events = running.handle.events();
    sleep(4 * HOUR).await;
    let restarted = |event: &Event| {
        matches!(
            event,
            Event { kind: EventKind::ShardRestarted { .. }, .. }
                | Event { kind: EventKind::ShardGivenBack { .. }, .. }
        )
    };
    assert!(!told(&mut events).iter().any(restarted));
    running.handle.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn o11_pause_keeps_leases_and_stops_reading_within_one_poll() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    stream.put_each(2, "a");
    log.until_count(2).await;
    let mut events = running.handle.events();
    running.handle.pause();
    sleep(Duration::from_millis(1)).await;
    let reads = stream.calls(Op::Read);
    stream.put_each(2, "b");
    // For longer than iterators live, readers may be silent and the failover takes.
    sleep(2 * HOUR).await;
    assert_eq!((stream.calls(Op::Read), log.seen().len()), (reads, 2));
    let status = running.handle.status();
    assert!(status.paused && status.valid && status.shards.iter().all(|shard| shard.paused));
    assert!(all_owned(&leases(&store).await));
    running.handle.resume();
    let begun = Instant::now();
    log.until_count(4).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let bad = |event: &Event| !matches!(event, Event { kind: EventKind::Checkpointed { .. }, .. });
    let told = told(&mut events);
    assert!(!told.iter().any(bad), "{told:?}");
    running.handle.pause();
    assert!(running.stop().await.is_clean(), "a paused worker stops in order");
}

#[tokio::test(start_paused = true)]
async fn o11_a_pause_by_an_operator_holds_for_the_whole_group_until_it_is_resumed() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let first = Running::logging(builder(&stream, store.clone(), "w1"), &log).await;
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    until_leases(&store, all_owned).await;
    let operator = Operator::new(Arc::new(store.clone()), group(), clock_off_by(&stream, 0));
    operator.pause(&Scope::Group).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    stream.put_each(2, "a");
    sleep(HOUR).await;
    assert!(log.seen().is_empty());
    assert!(all_owned(&leases(&store).await));
    operator.resume(&Scope::Group).await.unwrap();
    let begun = Instant::now();
    log.until_count(2).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c9_trimmed_records_raise_a_data_loss_event() {
    for action in [OnDataLoss::Continue, OnDataLoss::Halt] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let first = Running::logging(over_days(builder(&stream, store.clone(), "w1")), &log).await;
        stream.put(0, "a");
        log.until_count(1).await;
        sleep(Duration::from_secs(10)).await;
        first.stop().await;
        let stopped = stream.now();
        sleep(HOUR).await;
        stream.put(0, "lost");
        sleep(RETENTION).await;
        stream.put(0, "kept");
        sleep(HOUR).await;
        let second =
            over_days(builder(&stream, store.clone(), "w2")).on_data_loss(action).build_logging(&log).await;
        let mut events = second.handle.events();
        let event = loop {
            let event = timeout(HOUR, events.recv()).await.expect("it is told").unwrap();
            if let Event {
                stream: Some(id),
                shard: Some(shard),
                kind: EventKind::DataLoss { from_millis, to_millis, halted },
                ..
            } = event
            {
                assert_eq!((id, shard), (stream.id(), shard_id(0)));
                break (from_millis, to_millis, halted);
            }
        };
        let horizon = stream.now() - RETENTION.as_millis() as u64;
        assert!((stopped - 5_000..=stopped).contains(&event.0), "{event:?}");
        assert_eq!((event.1, event.2), (horizon, action == OnDataLoss::Halt));
        if action == OnDataLoss::Halt {
            sleep(HOUR).await;
            assert_eq!(log.texts(), ["a"]);
            let status = second.handle.status();
            assert_eq!(status.shards[0].state, ShardState::Halted);
            assert!(second.handle.retry_halted(&shard_id(0)).unwrap());
        }
        log.until_count(2).await;
        assert_eq!(log.texts(), ["a", "kept"]);
        sleep(Duration::from_secs(600)).await;
        let status = second.handle.status();
        assert_eq!(status.shards[0].data_losses, 1, "told once");
        assert!(
            !told(&mut events)
                .iter()
                .any(|event| matches!(event, Event { kind: EventKind::DataLoss { .. }, .. }))
        );
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c9_a_worker_that_is_overtaken_by_the_retention_says_so() {
    let (stream, log) = (Stream::new(1).per_read(1).poll(Duration::from_secs(2)), Log::default());
    let slow = Arc::new(AtomicBool::new(true));
    let (calls, is_slow) = (log.clone(), Arc::clone(&slow));
    let building = over_days(builder(&stream, MemoryStore::new(), "w")).data_loss_warning(80);
    let running = Running::start(building.for_each_batch(move |batch| {
        calls.add(&batch);
        let slow = is_slow.load(Ordering::Relaxed);
        async move {
            if slow {
                sleep(30 * HOUR).await;
            }
            Ok(())
        }
    }))
    .await;
    let mut events = running.handle.events();
    stream.put_all(0, &["a", "b", "lost"]);
    let put = stream.now();
    log.until_count(1).await;
    sleep(12 * HOUR).await;
    let status = &running.handle.status().shards[0];
    assert_eq!(status.oldest_not_done_millis, Some(put));
    let left = status.until_data_loss.unwrap();
    assert!((11 * HOUR..=12 * HOUR).contains(&left), "{left:?}");
    sleep(17 * HOUR).await;
    let near: Vec<_> = told(&mut events)
        .into_iter()
        .filter_map(|event| match event {
            Event { kind: EventKind::DataLossNear { until_loss, .. }, .. } => Some(until_loss),
            _ => None,
        })
        .collect();
    assert!(near.len() == 1 && near[0] <= RETENTION / 5 && near[0] > RETENTION / 6, "{near:?}");
    slow.store(false, Ordering::Relaxed);
    stream.put(0, "kept");
    sleep(2 * HOUR).await;
    log.until(|seen| seen.last().is_some_and(|seen| seen.text == "kept")).await;
    assert_eq!(log.texts(), ["a", "b", "kept"]);
    sleep(Duration::from_secs(1)).await;
    assert!(
        told(&mut events).iter().any(|event| matches!(event, Event { kind: EventKind::DataLoss { .. }, .. }))
    );
    let status = &running.handle.status().shards[0];
    assert_eq!((status.data_losses, status.oldest_not_done_millis), (1, None));
    assert!(status.caught_up_millis.is_some_and(|at| at + 5_000 >= stream.now()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn c8_one_write_after_a_silence_longer_than_the_retention_arrives_alone_and_without_an_alarm() {
    let stream = Stream::new(1).poll(Duration::from_secs(2));
    let (store, log) = (MemoryStore::new(), Log::default());
    let first = Running::logging(over_days(builder(&stream, store.clone(), "w1")), &log).await;
    stream.put_all(0, &["a", "b"]);
    log.until_count(2).await;
    let mut events = first.handle.events();
    sleep(RETENTION + 6 * HOUR).await;
    assert!(
        told(&mut events)
            .iter()
            .all(|event| matches!(event, Event { kind: EventKind::Checkpointed { .. }, .. }))
    );
    let status = &first.handle.status().shards[0];
    assert!(status.until_data_loss.unwrap() > RETENTION - Duration::from_secs(5));
    // A restart: the hand-over says until when all was done.
    first.stop().await;
    sleep(Duration::from_secs(60)).await;
    let second = Running::logging(over_days(builder(&stream, store.clone(), "w2")), &log).await;
    let mut events = second.handle.events();
    stream.put(0, "c");
    let begun = Instant::now();
    log.until_count(3).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(log.texts(), ["a", "b", "c"]);
    assert!(
        !told(&mut events)
            .iter()
            .any(|event| matches!(event, Event { kind: EventKind::DataLoss { .. }, .. }))
    );
    let row = &leases(&store).await[0];
    assert!(row.metadata.record_arrival_millis.is_some_and(|at| at > BEGIN), "{row:?}");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ignore_shard_order_starts_children_without_waiting_for_parents() {
    for ignore in [false, true] {
        let (stream, log) = (Stream::new(1), Log::default());
        stream.put(0, "parent");
        let (low, _) = stream.split(0);
        stream.put(low, "child");
        let calls = log.clone();
        let building = builder(&stream, MemoryStore::new(), "w").ignore_shard_order(ignore);
        let running = Running::start(building.for_each_batch(move |batch| {
            let is_parent = batch.shard().shard_id() == &shard_id(0);
            let calls = calls.clone();
            async move {
                if is_parent {
                    sleep(Duration::from_secs(300)).await;
                }
                calls.add(&batch);
                Ok(())
            }
        }))
        .await;
        let first = &log.until_count(1).await[0];
        assert_eq!(first.text, if ignore { "child" } else { "parent" });
        log.until_count(2).await;
        if ignore {
            // Also children that come while it runs, at the next audit.
            let (_, high) = stream.split(low);
            stream.put(high, "grandchild");
            log.until_count(3).await;
        }
        sleep(Duration::from_secs(120)).await;
        assert!(running.handle.status().streams[0].holes.is_empty());
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t2_every_error_of_a_read_is_retried_with_back_off_and_nothing_is_lost() {
    for kind in [ErrorKind::Throttled, ErrorKind::Retry, ErrorKind::Permission, ErrorKind::Bug] {
        let (stream, log) = (Stream::new(1), Log::default());
        stream.fail(Op::Read, kind, 20);
        stream.put(0, "a");
        let running = Running::logging(builder(&stream, MemoryStore::new(), "w"), &log).await;
        let mut events = running.handle.events();
        log.until_count(1).await;
        let delays: Vec<_> = told(&mut events)
            .into_iter()
            .filter_map(|event| match event {
                Event { kind: EventKind::ReadFailed { retry_in, kind: told, .. }, .. } => {
                    assert_eq!(told, kind);
                    Some(retry_in)
                }
                _ => None,
            })
            .collect();
        assert_eq!(delays.len(), 20, "{kind:?}");
        let mut different = delays.clone();
        different.dedup();
        assert!(different.len() > 3, "jitter: {delays:?}");
        assert_eq!(log.texts(), ["a"], "{kind:?}");
        running.stop().await;
    }
}

/// Whoever begins where records are missing finds so, and halts again; at the oldest record nothing is missing.
#[tokio::test(start_paused = true)]
async fn c9_a_shard_that_halted_for_lost_records_goes_on_after_a_seek_to_the_oldest_record() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let building = |name| over_days(builder(&stream, store.clone(), name)).on_data_loss(OnDataLoss::Halt);
    let first = building("w1").build_logging(&log).await;
    stream.put(0, "a");
    log.until_count(1).await;
    first.stop().await;
    stream.put(0, "lost");
    sleep(RETENTION).await;
    stream.put(0, "kept");
    sleep(HOUR).await;
    let seek = async |to| {
        let operator = Operator::new(Arc::new(store.clone()), group(), clock_off_by(&stream, 0));
        operator.seek(&Scope::Group, to, false).await.unwrap();
    };
    let halts = async |running: &Running, at| {
        let mut events = running.handle.events();
        while !matches!(
            events.recv().await.unwrap(),
            Event { kind: EventKind::DataLoss { halted: true, .. }, .. }
        ) {}
        sleep(HOUR).await;
        let shard = running.handle.status().shards.remove(0);
        assert_eq!((shard.state, shard.done), (ShardState::Halted, at));
    };
    stream.put(0, "other");
    let at = leases(&store).await[0].position;
    let second = building("w2").build_logging(&log).await;
    halts(&second, at).await;
    second.stop().await;
    // Neither a restart helps, nor a time at which records were there that are not any more.
    let third = building("w3").build_logging(&log).await;
    halts(&third, at).await;
    seek(Position::AtTimestamp(BEGIN + 60_000)).await;
    halts(&third, Position::AtTimestamp(BEGIN + 60_000)).await;
    assert_eq!(log.texts(), ["a"]);
    seek(Position::TrimHorizon).await;
    log.until_count(3).await;
    assert_eq!(log.texts(), ["a", "kept", "other"]);
    assert_eq!(third.handle.status().shards[0].data_losses, 0);
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn o1_a_seek_restarts_a_running_shard_and_a_stale_checkpoint_does_not_overwrite_it() {
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    let running = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    stream.put_all(0, &["a", "b", "c"]);
    log.until_count(3).await;
    // Done, and due to be stored within the checkpoint interval.
    stream.put(0, "d");
    log.until_count(4).await;
    let operator = Operator::new(Arc::new(store.clone()), group(), clock_off_by(&stream, 0));
    operator.seek(&Scope::Group, Position::TrimHorizon, false).await.unwrap();
    let begun = Instant::now();
    log.until_count(8).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(log.texts(), ["a", "b", "c", "d", "a", "b", "c", "d"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.seen().len(), 8);
    running.stop().await;
}

/// One of two workers is cut off from Kinesis, and not from the table.
#[tokio::test(start_paused = true)]
async fn l11_a_worker_that_cannot_read_gets_no_shard_and_healthy_ones_stay_where_they_are() {
    let (stream, store, log) = (Stream::new(8), MemoryStore::new(), Log::default());
    let (bad, good) = (stream.link(), stream.link());
    let first = Running::logging(builder(&bad, store.clone(), "w1"), &log).await;
    let second = Running::logging(builder(&good, store.clone(), "w2"), &log).await;
    let held = |rows: &[LeaseRow], name: &str| {
        rows.iter().filter(|row| row.owner.as_ref().is_some_and(|id| id.name.as_str() == name)).count()
    };
    until_leases(&store, |rows| (held(rows, "w1"), held(rows, "w2")) == (4, 4)).await;
    let (mut events, times_unable) = (first.handle.events(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&times_unable);
    // Taken as they come: failed reads are more than the channel keeps.
    let counting = tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            counted.fetch_add(matches!(event.kind, EventKind::StreamUnable { .. }).into(), Ordering::Relaxed);
        }
    });
    bad.cut(true, Some(ErrorKind::Retry));
    until_leases(&store, |rows| held(rows, "w2") == 8).await;
    assert_eq!(times_unable.load(Ordering::Relaxed), 1);
    assert!(!counting.is_finished(), "it lost none");
    let epochs = |rows: Vec<LeaseRow>| rows.into_iter().map(|row| row.epoch).collect::<Vec<_>>();
    let before = epochs(leases(&store).await);
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(held(&leases(&store).await, "w2"), 8);
    }
    assert_eq!(epochs(leases(&store).await), before, "nothing is passed to and fro");
    bad.cut(false, None);
    until_leases(&store, |rows| (held(rows, "w1"), held(rows, "w2")) == (4, 4)).await;
    stream.put_each(8, "a");
    log.until_count(8).await;
    first.stop().await;
    second.stop().await;
}

/// Nothing was stored of idle shards for longer than the retention: that they were read stands on the worker's row.
#[tokio::test(start_paused = true)]
async fn c9_idle_shards_of_a_killed_worker_are_no_data_loss() {
    let stream = Stream::new(2).poll(Duration::from_secs(2));
    let (store, log) = (MemoryStore::new(), Log::default());
    let first = Running::logging(over_days(builder(&stream, store.clone(), "w1")), &log).await;
    stream.put_each(2, "a");
    log.until_count(2).await;
    sleep(RETENTION + 6 * HOUR).await;
    first.kill().await;
    let building = over_days(builder(&stream, store.clone(), "w2")).on_data_loss(OnDataLoss::Halt);
    let second = Running::logging(building, &log).await;
    let mut events = second.handle.events();
    until_leases(&store, |rows| {
        rows.iter().all(|row| row.owner.as_ref().is_some_and(|id| id.name.as_str() == "w2"))
    })
    .await;
    stream.put_each(2, "b");
    log.until_count(4).await;
    let lost = |event: &Event| matches!(event.kind, EventKind::DataLoss { .. });
    assert!(!told(&mut events).iter().any(lost));
    second.stop().await;
}

/// The longest time between two records of a shard.
fn longest_pause(log: &Log, shard: usize) -> Duration {
    let at: Vec<Instant> =
        log.seen().iter().filter(|seen| seen.shard == shard_id(shard)).map(|seen| seen.at).collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// A newcomer asks for one of two shards, whose slow calls keep it from being handed over.
#[tokio::test(start_paused = true)]
async fn l14_a_shard_with_lanes_is_read_on_although_one_call_holds_up_its_hand_over() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let logging = log.clone();
    let building = builder(&stream, store.clone(), "w1").concurrency(4).for_each_batch(move |batch| {
        logging.add(&batch);
        let slow = batch.iter().any(|record| record.data() == b"slow".as_slice());
        async move {
            if slow {
                sleep(Duration::from_secs(150)).await;
            }
            Ok(())
        }
    });
    let first = Running::start(building).await;
    let mut events = first.handle.events();
    stream.put_each(2, "slow");
    log.until_count(2).await;
    let producing = {
        let stream = stream.clone();
        tokio::spawn(async move {
            for number in 0..400 {
                stream.put_each(2, &number.to_string());
                sleep(Duration::from_secs(1)).await;
            }
        })
    };
    let second = Running::logging(builder(&stream, store.clone(), "w2"), &log).await;
    producing.await.unwrap();
    sleep(Duration::from_secs(5)).await;
    for shard in 0..2 {
        let pause = longest_pause(&log, shard);
        assert!(pause <= Duration::from_secs(14), "shard {shard} was not read for {pause:?}");
    }
    let withdrawn = |event: &Event| event.kind == EventKind::HandOverWithdrawn;
    assert!(told(&mut events).iter().any(withdrawn));
    let both = |rows: &[LeaseRow]| all_owned(rows) && rows[0].owner != rows[1].owner;
    until_leases(&store, both).await;
    let texts = log.texts();
    assert_eq!((texts.len(), texts.iter().filter(|text| *text == "slow").count()), (802, 2), "nothing twice");
    first.stop().await;
    second.stop().await;
}
