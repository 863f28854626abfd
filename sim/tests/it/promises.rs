//! Promises about a fleet, where concurrency is the point.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_lease::{Position, StoreFault, StoreOperation, WorkerState};
use sim::{Cause, Check, HandlerProfile, OperatorCommand, WorkerSpec};

use crate::support::{active, join, owners, until, well, world};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn c13_c3_whatever_reply_is_lost_every_shard_is_read_and_nothing_comes_twice() {
    for operation in StoreOperation::ALL.into_iter().filter(|operation| operation.is_write()) {
        let mut world = world(&[4]);
        for _ in 0..2 {
            let number = join(&mut world).await;
            world.workers[&number].ways.store.next(operation, StoreFault::LoseReply, 2);
        }
        for step in 0..12 {
            world.put_random(6, 10);
            world.run_for(SECOND).await;
            match step {
                3 => {
                    let number = join(&mut world).await;
                    world.workers[&number].ways.store.next(operation, StoreFault::Retry, 2);
                }
                6 => {
                    let (shard, range) = world.groups[0].stream.open_shards().unwrap()[1].clone();
                    world.groups[0].stream.split(&shard, range.start + 99).unwrap();
                }
                8 => world.leave(0),
                _ => {}
            }
        }
        world.heal();
        let summary = well(&mut world).await;
        assert_eq!(summary.causes, BTreeMap::new(), "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c5_a_worker_frozen_for_twice_the_failover_time_does_nothing_stale() {
    let mut world = world(&[4]);
    let first = join(&mut world).await;
    join(&mut world).await;
    world.run_for(5 * SECOND).await;
    for _ in 0..3 {
        world.put_random(20, 10);
        world.freeze(first, true);
        world.put_random(20, 10);
        world.run_for(13 * SECOND).await;
        let taken = world.view(0).await;
        let frozen = world.workers[&first].name.clone();
        assert!(taken.leases.iter().all(|row| row.owner.as_ref().unwrap().name.as_str() != frozen));
        world.put_random(20, 10);
        world.run_for(7 * SECOND).await;
        assert!(world.complete(SECOND).await, "the other goes on with all of it");
        world.freeze(first, false);
        world.run_for(10 * SECOND).await;
        assert_eq!(active(&world).await.len(), 2, "it joined again");
    }
    let summary = well(&mut world).await;
    assert!(summary.causes.keys().all(|cause| matches!(cause, Cause::Fence | Cause::Unfinished)));
}

#[tokio::test(start_paused = true)]
async fn c6_joins_and_leaves_at_random_make_no_restart_loop() {
    let orderly = sim::Run { profile: Some(sim::FaultProfile::Orderly), ..sim::Run::default() };
    let reports = tokio::task::spawn_blocking(move || {
        (301..=310).map(|seed| orderly.seed(seed).unwrap()).collect::<Vec<_>>()
    });
    for report in reports.await.unwrap() {
        assert_eq!(report.violations, vec![], "{}", report.log);
        for bad in ["lost shard", "restarts", "was declared dead"] {
            assert!(!report.log.contains(bad), "{bad}\n{}", report.log);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l1_survivors_hold_every_shard_within_twice_the_failover_time() {
    let mut world = world(&[16]);
    for _ in 0..8 {
        join(&mut world).await;
    }
    world.run_for(10 * SECOND).await;
    world.put_random(40, 30);
    (1..6).for_each(|number| world.kill(number));
    world.put_random(40, 30);
    world.run_for(20 * SECOND).await;
    let loads = active(&world).await;
    assert_eq!((loads.len(), loads.values().sum::<usize>()), (3, 16), "{loads:?}");
    assert!(world.complete(SECOND).await);
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn l2_the_only_worker_is_replaced() {
    for killed in [false, true] {
        let mut world = world(&[4]);
        let first = join(&mut world).await;
        world.put_random(20, 10);
        world.run_for(8 * SECOND).await;
        if killed {
            world.kill(first);
        } else {
            world.leave(first);
            world.run_for(SECOND / 2).await;
        }
        join(&mut world).await;
        world.put_random(40, 10);
        let limit = if killed { 12 * SECOND } else { 2 * SECOND };
        assert!(world.complete(limit).await, "killed: {killed}\n{}", world.recorder.log());
        well(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l5_l6_a_third_worker_balances_two_within_five_seconds() {
    let mut world = world(&[8]);
    join(&mut world).await;
    join(&mut world).await;
    world.run_for(10 * SECOND).await;
    let before = owners(&world).await;
    join(&mut world).await;
    for _ in 0..20 {
        world.put_random(10, 16);
        world.run_for(SECOND / 4).await;
    }
    let loads = active(&world).await;
    assert_eq!(loads.values().sum::<usize>(), 8);
    assert!(loads.len() == 3 && loads.values().all(|load| (2..=3).contains(load)), "{loads:?}");
    let after = owners(&world).await;
    let moved = before.iter().filter(|(key, held)| after[*key] != **held).count();
    assert_eq!(moved, 2, "only what has to: the newcomer's share");
    let summary = well(&mut world).await;
    assert_eq!(summary.causes, BTreeMap::new(), "no record is handled twice");
}

#[tokio::test(start_paused = true)]
async fn l5_ended_and_waiting_shards_weigh_nothing() {
    let mut world = world(&[4]);
    join(&mut world).await;
    join(&mut world).await;
    world.run_for(5 * SECOND).await;
    for round in 0..4 {
        let (shard, range) = world.groups[0].stream.open_shards().unwrap()[round].clone();
        world.groups[0].stream.split(&shard, range.start + (range.end - range.start) / 2).unwrap();
        world.put_random(20, 20);
        world.run_for(8 * SECOND).await;
        let loads: Vec<usize> = active(&world).await.into_values().collect();
        assert!(loads.len() == 2 && loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
    }
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn l7_a_restart_reclaims_when_that_is_safe_and_two_of_one_name_do_not_both_run() {
    for (unique_names, limit) in [(false, 13), (true, 4)] {
        let mut world = world(&[3]);
        let spec = WorkerSpec { name: Some("one".to_owned()), unique_names, ..WorkerSpec::default() };
        let first = world.join(&spec).await.unwrap();
        world.put_random(20, 10);
        world.run_for(8 * SECOND).await;
        if !unique_names {
            // It ends within a few heartbeats, and the first goes on.
            let second = world.join(&spec).await.unwrap();
            world.run_for(5 * SECOND).await;
            assert!(world.workers[&second].is_over());
            world.check_that_all_run().await;
        }
        world.kill(first);
        world.put_random(20, 10);
        let begun = world.recorder.now();
        world.join(&spec).await.unwrap();
        assert!(world.complete(limit * SECOND).await, "unique names: {unique_names}");
        let took = world.recorder.now() - begun;
        assert!(unique_names || took >= 10_000, "never sooner than is safe: {took} ms");
        let summary = world.check_all(20 * SECOND).await;
        let failed: Vec<Check> = summary.violations.iter().map(|violation| violation.check).collect();
        assert_eq!(
            failed,
            if unique_names { vec![] } else { vec![Check::Running] },
            "the second one's refusal"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn l8_an_outage_of_the_store_changes_no_owner_and_a_long_one_pauses_the_fleet() {
    let mut world = world(&[6]);
    for _ in 0..3 {
        join(&mut world).await;
    }
    world.run_for(10 * SECOND).await;
    let before = owners(&world).await;
    for seconds in [5, 60] {
        world.outage(true);
        for _ in 0..seconds {
            world.put_random(3, 10);
            world.run_for(SECOND).await;
        }
        if seconds == 60 {
            assert!(!world.complete(SECOND).await, "handlers pause");
        }
        world.outage(false);
        world.put_random(10, 10);
        assert!(world.complete(3 * SECOND).await, "it goes on by itself");
        world.run_for(20 * SECOND).await;
        assert_eq!(owners(&world).await, before, "after {seconds} s");
    }
    assert_eq!(well(&mut world).await.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn l9_k1_a_quiet_fleet_writes_heartbeats_only() {
    let mut world = world(&[20]);
    let workers = 3;
    for _ in 0..workers {
        join(&mut world).await;
    }
    world.run_for(120 * SECOND).await;
    let before = world.counts();
    world.run_for(600 * SECOND).await;
    let counts = world.counts() - &before;
    assert_eq!(counts.write_calls(), counts.of(StoreOperation::Heartbeat), "{counts}");
    assert_eq!(counts.refused(), 0);
    assert!(counts.write_calls() <= 600 * workers + workers, "{counts}");
    // A look at the workers with each heartbeat, and all rows every half minute.
    assert!(
        counts.of(StoreOperation::ListWorkers) <= 610 * workers
            && counts.of(StoreOperation::ListAll) <= 45 * workers,
        "{counts}"
    );
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn g3_successors_go_on_within_two_seconds_of_a_clean_stop_without_duplicates() {
    let mut world = world(&[8]);
    let quick = WorkerSpec {
        handlers: HandlerProfile { slow: 0.0, ..HandlerProfile::default() },
        ..WorkerSpec::default()
    };
    for _ in 0..4 {
        world.join(&quick).await.unwrap();
    }
    world.run_for(10 * SECOND).await;
    for number in 0..3 {
        world.leave(number);
        for _ in 0..16 {
            world.put_random(6, 20);
            world.run_for(SECOND / 8).await;
        }
        assert!(world.complete(SECOND / 2).await);
    }
    let summary = well(&mut world).await;
    assert_eq!(summary.causes, BTreeMap::new());
    assert!(summary.longest_wait < 2_000, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn t1_listings_of_shards_do_not_grow_with_the_fleet() {
    let mut world = world(&[10]);
    let slow = WorkerSpec { failover: Some(600 * SECOND), ..WorkerSpec::default() };
    for _ in 0..500 {
        world.join(&slow).await.unwrap();
    }
    world.run_for(65 * SECOND).await;
    let before = world.groups[0].stream.listings();
    world.run_for(180 * SECOND).await;
    let listings = world.groups[0].stream.listings() - before;
    assert!(listings <= 10, "{listings} listings by 500 workers in 3 intervals");
    let view = world.view(0).await;
    assert_eq!(view.workers.iter().filter(|row| row.state == WorkerState::Alive).count(), 500);
    assert!(view.leases.iter().all(|row| row.owner.is_some()));
    world.put_random(20, 10);
    assert!(world.complete(10 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn o1_a_seek_on_a_running_fleet_is_not_overwritten_and_can_be_undone() {
    let mut world = world(&[3]);
    let first = join(&mut world).await;
    join(&mut world).await;
    world.put_random(60, 12);
    world.run_for(20 * SECOND).await;
    let positions =
        |rows: Vec<rokini_lease::LeaseRow>| rows.into_iter().map(|row| row.position).collect::<Vec<_>>();
    let done = positions(world.view(0).await.leases);
    // One worker stands still with whatever checkpoints it has under way.
    world.put_random(30, 12);
    world.run_for(SECOND).await;
    world.freeze(first, true);
    world.operate(0, OperatorCommand::Seek, None, 0.0, 2).await;
    let sought = world.view(0).await.leases;
    assert!(sought.iter().all(|row| row.previous.is_some()));
    world.run_for(5 * SECOND).await;
    world.freeze(first, false);
    world.run_for(30 * SECOND).await;
    let again = positions(world.view(0).await.leases);
    assert!(
        again.iter().zip(&done).all(|(again, done)| again > done),
        "{again:?} {done:?}\n{}",
        world.recorder.log()
    );
    world.operate(0, OperatorCommand::Undo, None, 0.0, 1).await;
    world.run_for(20 * SECOND).await;
    let summary = well(&mut world).await;
    assert!(summary.causes[&Cause::Seek] >= 60, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn o11_a_pause_keeps_leases_and_expires_nothing() {
    let mut world = world(&[4]);
    join(&mut world).await;
    join(&mut world).await;
    world.put_random(20, 10);
    world.run_for(10 * SECOND).await;
    let before = owners(&world).await;
    world.operate(0, OperatorCommand::Pause, None, 0.0, 1).await;
    world.run_for(3 * SECOND).await;
    world.put_random(20, 10);
    world.run_for(1_200 * SECOND).await;
    assert!(!world.complete(Duration::ZERO).await, "nothing is read");
    assert_eq!(owners(&world).await, before, "nothing moves and nothing expires");
    world.operate(0, OperatorCommand::Resume, None, 0.0, 1).await;
    assert!(world.complete(5 * SECOND).await, "it goes on within a few heartbeats");
    assert_eq!(well(&mut world).await.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn r1_r5_random_trees_of_splits_and_merges_leave_no_hole() {
    // `Covered` is checked at every end of a shard, `InOrder` at every delivery.
    for seed in 0..12 {
        let mut world = sim::World::new(seed, &[2], sim::StreamProfile::default()).unwrap();
        for _ in 0..3 {
            join(&mut world).await;
        }
        for step in 0..25 {
            use rand::Rng;
            let open = world.groups[0].stream.open_shards().unwrap();
            let at = world.rng.random_range(0..open.len());
            let (shard, range) = &open[at];
            let stream = world.groups[0].stream.clone();
            if world.rng.random_bool(0.6) || at + 1 == open.len() {
                stream.split(shard, world.rng.random_range(range.start + 1..=range.end)).unwrap();
            } else {
                stream.merge(shard, &open[at + 1].0).unwrap();
            }
            world.put_random(12, 30);
            let pause = world.rng.random_range(0..1_500);
            world.run_for(Duration::from_millis(pause)).await;
            if step == 12 {
                world.kill(0);
                join(&mut world).await;
            }
        }
        well(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn r2_closed_shards_are_read_to_their_end_though_every_worker_is_killed_midway() {
    let mut world = world(&[2]);
    let slow = HandlerProfile { takes: 300..700, ..HandlerProfile::default() };
    let spec = WorkerSpec { handlers: slow, ..WorkerSpec::default() };
    for _ in 0..2 {
        world.join(&spec).await.unwrap();
    }
    world.run_for(2 * SECOND).await;
    let open = world.groups[0].stream.open_shards().unwrap();
    world.put_random(300, 30);
    world.groups[0].stream.merge(&open[0].0, &open[1].0).unwrap();
    world.put_random(300, 30);
    for generation in 0..3 {
        world.run_for(Duration::from_millis(400)).await;
        let numbers: Vec<u32> = world.workers.keys().copied().collect();
        numbers.into_iter().for_each(|number| world.kill(number));
        world.run_for(3 * SECOND).await;
        for _ in 0..=generation {
            world.join(&spec).await.unwrap();
        }
        world.run_for(11 * SECOND).await;
    }
    let summary = well(&mut world).await;
    assert_eq!(summary.records, 600);
}

#[tokio::test(start_paused = true)]
async fn r8_a_listing_that_fails_delays_only_its_own_lineage_and_ends_stay_ended() {
    let mut world = world(&[4]);
    join(&mut world).await;
    join(&mut world).await;
    world.run_for(5 * SECOND).await;
    let open = world.groups[0].stream.open_shards().unwrap();
    // The first lineage cannot be read, the others go on through their ends.
    world.set_shard_fault(0, &open[0].0, Some(sim::ShardFault::Silent));
    for (shard, range) in &open {
        world.groups[0].stream.split(shard, range.start + 99).unwrap();
    }
    world.put_random(80, 60);
    world.run_for(20 * SECOND).await;
    let ended = |rows: &[rokini_lease::LeaseRow]| {
        rows.iter().filter(|row| row.position == Position::ShardEnd).count()
    };
    assert_eq!(ended(&world.view(0).await.leases), 3);
    world.set_shard_fault(0, &open[0].0, None);
    until(&mut world, |rows| ended(rows) == 4).await;
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn r8_the_listings_of_2500_shards_page() {
    let mut world = world(&[2_500]);
    for _ in 0..4 {
        join(&mut world).await;
    }
    world.put_random(500, 500);
    world.run_for(20 * SECOND).await;
    let loads = active(&world).await;
    assert_eq!(loads.into_values().collect::<Vec<_>>(), [625; 4]);
    assert!(world.complete(SECOND).await);
}
