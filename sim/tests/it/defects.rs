//! Defects that other consumers of streams have again and again: each shows that records flow.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::StartPosition;
use rokini_lease::{FaultTarget, LeaseRow, LeaseStore, Listing, StoreFault, StoreOperation, WorkerState};
use sim::{HandlerProfile, OperatorCommand, ShardFault, StreamProfile, Summary, WorkerSpec, World};
use tokio::sync::watch;

use crate::support::{active, join, owners, until, well, world};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_worker_that_dies_orphans_no_shard() {
    let mut world = world(&[4]);
    join(&mut world).await;
    world.run_for(3 * SECOND).await;
    let thief = join(&mut world).await;
    until(&mut world, |rows| rows.iter().any(|row| row.claim.is_some())).await;
    world.kill(thief);
    world.put_random(40, 8);
    let summary = well(&mut world).await;
    assert!(summary.longest_wait < 2_000, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claimer_that_leaves_before_the_hand_over_leaves_no_gap() {
    // Whatever the moment at which it leaves.
    for millis in (100..2_500).step_by(160) {
        let mut world = world(&[4]);
        join(&mut world).await;
        join(&mut world).await;
        world.run_for(4 * SECOND).await;
        let guest = join(&mut world).await;
        world.run_for(Duration::from_millis(millis)).await;
        world.leave(guest);
        for _ in 0..10 {
            world.put_random(5, 8);
            world.run_for(SECOND / 2).await;
        }
        let summary = well(&mut world).await;
        assert!(summary.longest_wait < 3_000, "left after {millis} ms: {summary:?}");
        assert_eq!(summary.causes, BTreeMap::new());
    }
}

#[tokio::test(start_paused = true)]
async fn two_workers_that_create_one_lease_at_once_both_go_on() {
    let mut world = world(&[8]);
    for _ in 0..8 {
        join(&mut world).await;
    }
    world.put_random(80, 20);
    let view = world.view(0).await;
    assert!(view.leases.is_empty(), "nobody has begun");
    let summary = well(&mut world).await;
    assert_eq!(summary.causes, BTreeMap::new());
    assert!(summary.longest_wait < 5_000, "{summary:?}");
    assert_eq!(world.view(0).await.leases.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn renewal_is_not_blocked_by_back_pressure() {
    let mut world = world(&[2]);
    let (hold, held) = watch::channel(true);
    let profile = HandlerProfile { held: Some(held), ..HandlerProfile::default() };
    for _ in 0..2 {
        world.join(&WorkerSpec { handlers: profile.clone(), ..WorkerSpec::default() }).await.unwrap();
    }
    world.run_for(10 * SECOND).await;
    let before = owners(&world).await;
    world.disruption("handlers that do not return", true);
    for _ in 0..60 {
        world.put_random(200, 10);
        world.run_for(10 * SECOND).await;
    }
    assert_eq!(owners(&world).await, before, "ten minutes in a handler cost no lease");
    hold.send_replace(false);
    world.disruption("handlers that do not return", false);
    let summary = well(&mut world).await;
    assert_eq!(summary.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_balancer_never_claims_its_own_shard() {
    let mut world = world(&[8]);
    for step in 0..60 {
        match step % 12 {
            0 | 4 => drop(join(&mut world).await),
            8 if world.workers.len() > 2 => {
                let first = *world.workers.keys().next().unwrap();
                world.leave(first);
            }
            _ => {}
        }
        world.put_random(4, 8);
        for _ in 0..20 {
            world.run_for(SECOND / 20).await;
            let rows = world.view(0).await.leases;
            let own = rows.iter().find(|row| row.claim.is_some() && row.claim == row.owner);
            assert_eq!(own, None);
        }
    }
    assert_eq!(well(&mut world).await.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_or_a_blip_ends_no_consumer() {
    let mut world = world(&[3]);
    for _ in 0..3 {
        join(&mut world).await;
    }
    world.run_for(5 * SECOND).await;
    world.disruption("throttles", true);
    for worker in world.workers.values() {
        worker.ways.store.chance(FaultTarget::All, StoreFault::Throttle, 1.0);
    }
    for (shard, _) in world.groups[0].stream.open_shards().unwrap() {
        world.set_shard_fault(0, &shard, Some(ShardFault::Throttled));
    }
    world.put_random(60, 9);
    world.run_for(40 * SECOND).await;
    world.heal();
    // In the end without any waiting that is not explained, and with every consumer still running.
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn errors_that_pass_kill_nobody() {
    for operation in StoreOperation::ALL {
        let mut world = world(&[3]);
        for _ in 0..2 {
            let number = join(&mut world).await;
            world.workers[&number].ways.store.next(operation, StoreFault::FailBefore, 3);
        }
        world.workers.values().for_each(|worker| worker.ways.link.fail(0.3));
        world.put_random(30, 9);
        world.run_for(10 * SECOND).await;
        let shard = world.groups[0].stream.open_shards().unwrap()[0].clone();
        world.groups[0].stream.split(&shard.0, shard.1.end / 3).unwrap();
        world.put_random(30, 9);
        world.run_for(10 * SECOND).await;
        world.heal();
        well(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_breaks_beside_stale_listings_has_a_successor_at_once() {
    let mut world = world(&[2]);
    join(&mut world).await;
    world.run_for(3 * SECOND).await;
    let second = join(&mut world).await;
    world.run_for(5 * SECOND).await;
    let name = world.workers[&second].name.clone();
    let rows = world.view(0).await.leases;
    let held = rows.iter().find(|row| row.owner.as_ref().is_some_and(|owner| owner.name.as_str() == name));
    let shard = held.unwrap().key.shard.clone();
    // Its listings show the leases as they were before it had one, and the end of its shard breaks its task.
    let store = &world.workers[&second].ways.store;
    store.chance(StoreOperation::ListAll, StoreFault::StaleListing, 1.0);
    store.next(StoreOperation::Insert, StoreFault::FailBefore, 1);
    let open = world.groups[0].stream.open_shards().unwrap();
    let range = open.iter().find(|(id, _)| *id == shard).unwrap().1;
    world.groups[0].stream.split(&shard, range.start + 99).unwrap();
    world.put_random(40, 20);
    assert!(world.complete(8 * SECOND).await, "{}", world.recorder.log());
    assert!(world.recorder.log().contains("restarts"), "{}", world.recorder.log());
    world.heal();
    well(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn r6_a_lease_that_was_retired_stays_away() {
    let mut world = world(&[2]);
    join(&mut world).await;
    world.put_random(40, 10);
    world.run_for(3 * SECOND).await;
    let open = world.groups[0].stream.open_shards().unwrap();
    world.groups[0].stream.merge(&open[0].0, &open[1].0).unwrap();
    world.put_random(40, 10);
    world.run_for(3 * SECOND).await;
    let (shard, range) = world.groups[0].stream.open_shards().unwrap()[0].clone();
    world.groups[0].stream.split(&shard, range.end / 2).unwrap();
    world.put_random(40, 10);
    world.run_for(8 * SECOND).await;
    // The one in the middle: its parents and its children have leases.
    let rows = world.view(0).await.leases;
    let middle = rows.iter().position(|row| row.key.shard == shard).unwrap() as u32;
    world.operate(0, OperatorCommand::Retire, Some(middle), 0.0, 1).await;
    assert_eq!(world.view(0).await.leases.len(), rows.len() - 1);
    // Audits, and a start.
    world.run_for(150 * SECOND).await;
    join(&mut world).await;
    world.run_for(90 * SECOND).await;
    assert_eq!(world.view(0).await.leases.len(), rows.len() - 1);
    assert_eq!(well(&mut world).await.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_races_an_acquire_loses_nothing() {
    // Two leave and one joins, at all distances.
    for millis in (0..1_500).step_by(75) {
        let mut world = world(&[6]);
        let first = join(&mut world).await;
        let second = join(&mut world).await;
        world.run_for(4 * SECOND).await;
        join(&mut world).await;
        world.leave(first);
        world.put_random(30, 12);
        world.run_for(Duration::from_millis(millis)).await;
        world.leave(second);
        world.put_random(30, 12);
        let summary = well(&mut world).await;
        assert_eq!(summary.causes, BTreeMap::new(), "after {millis} ms");
        assert!(summary.longest_wait < 3_000, "after {millis} ms: {summary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_worker_is_one_whose_death_ends_assignment() {
    for victim in 0..4 {
        let mut world = world(&[8]);
        for _ in 0..4 {
            join(&mut world).await;
        }
        world.run_for(10 * SECOND).await;
        world.kill(victim);
        world.put_random(40, 16);
        world.run_for(12 * SECOND).await;
        assert!(world.complete(SECOND).await, "within the failover time and 2 s");
        // Those that are left balance newcomers too.
        join(&mut world).await;
        world.run_for(6 * SECOND).await;
        assert_eq!(active(&world).await.len(), 4);
        well(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn c14_one_table_serves_two_streams() {
    let mut world = world(&[3, 4]);
    for stream in [0, 1, 0, 1] {
        world.join(&WorkerSpec { stream, ..WorkerSpec::default() }).await.unwrap();
    }
    world.put_random(50, 12);
    world.run_for(10 * SECOND).await;
    assert_eq!((world.view(0).await.leases.len(), world.view(1).await.leases.len()), (3, 4));
    assert!(world.view(0).await.leases.iter().all(|row| row.key.stream.as_str().starts_with("orders-0@")));
    world.kill(1);
    world.put_random(50, 12);
    assert_eq!(well(&mut world).await.records, 200);
}

#[tokio::test(start_paused = true)]
async fn children_are_not_read_from_latest() {
    let mut world = world(&[1]);
    world.join(&WorkerSpec { start: Some(StartPosition::Latest), ..WorkerSpec::default() }).await.unwrap();
    world.run_for(3 * SECOND).await;
    for round in 0..3 {
        // Put into the children before anybody knows of them.
        for (shard, range) in world.groups[0].stream.open_shards().unwrap() {
            world.groups[0].stream.split(&shard, range.start + (range.end - range.start) / 2).unwrap();
        }
        world.put_random(30, 20);
        world.run_for(Duration::from_millis(50 * round)).await;
        world.put_random(30, 20);
    }
    assert_eq!(well(&mut world).await.records, 180);
}

#[tokio::test(start_paused = true)]
async fn r5_a_merged_child_waits_for_both_parents() {
    let mut world = world(&[2]);
    // Slow handlers, so that one parent ends long before the other.
    let slow = HandlerProfile { takes: 500..4_000, ..HandlerProfile::default() };
    for _ in 0..2 {
        world.join(&WorkerSpec { handlers: slow.clone(), ..WorkerSpec::default() }).await.unwrap();
    }
    world.disruption("slow handlers", true);
    for round in 0..20 {
        world.put_random(4, 10);
        world.run_for(SECOND / 2).await;
        let open = world.groups[0].stream.open_shards().unwrap();
        match round {
            5 | 15 => world.groups[0].stream.merge(&open[0].0, &open[1].0).unwrap(),
            10 => world.groups[0].stream.split(&open[0].0, open[0].1.end / 3).unwrap(),
            _ => {}
        }
    }
    world.run_for(60 * SECOND).await;
    world.disruption("slow handlers", false);
    // The history knows the order of each key.
    assert_eq!(well(&mut world).await.causes, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_shards_are_owned_within_five_seconds_of_a_cold_start() {
    for workers in [1, 4] {
        let mut world = world(&[100]);
        world.put_random(400, 400);
        for _ in 0..workers {
            join(&mut world).await;
        }
        world.run_for(5 * SECOND).await;
        let rows = world.view(0).await.leases;
        assert_eq!(rows.iter().filter(|row| row.owner.is_some()).count(), 100);
        assert!(world.complete(SECOND).await, "and their records flow");
        well(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_closed_parent_holds_up_nobody() {
    let mut world = world(&[1]);
    for _ in 0..4 {
        for (shard, range) in world.groups[0].stream.open_shards().unwrap() {
            world.groups[0].stream.split(&shard, range.start + (range.end - range.start) / 2).unwrap();
        }
    }
    world.put_random(60, 30);
    join(&mut world).await;
    join(&mut world).await;
    let summary = well(&mut world).await;
    assert!(summary.longest_wait < 5_000, "four generations of empty shards: {summary:?}");
}

#[tokio::test(start_paused = true)]
async fn r6_a_shard_read_to_its_end_is_never_read_again() {
    let mut world = world(&[2]);
    join(&mut world).await;
    world.put_random(40, 10);
    world.run_for(5 * SECOND).await;
    let open = world.groups[0].stream.open_shards().unwrap();
    world.groups[0].stream.merge(&open[0].0, &open[1].0).unwrap();
    world.put_random(40, 10);
    world.run_for(5 * SECOND).await;
    // Hours of audits and of workers that come and go, then more than the retention.
    for hours in [1, 3, 22] {
        join(&mut world).await;
        let first = *world.workers.keys().next().unwrap();
        world.leave(first);
        world.run_for(Duration::from_secs(600)).await;
        world.groups[0].stream.advance(Duration::from_secs(hours * 3_600));
        world.run_for(Duration::from_secs(600)).await;
        world.put_random(10, 10);
    }
    let summary = well(&mut world).await;
    assert_eq!((summary.records, summary.causes), (110, BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_parent_holds_up_no_child() {
    let mut world = world(&[1]);
    let (shard, range) = world.groups[0].stream.open_shards().unwrap()[0].clone();
    world.groups[0].stream.split(&shard, range.end / 2).unwrap();
    // The parent ages out before anybody reads.
    world.groups[0].stream.advance(Duration::from_secs(25 * 3_600));
    world.put_random(40, 20);
    join(&mut world).await;
    join(&mut world).await;
    let summary = well(&mut world).await;
    assert!(summary.longest_wait < 5_000, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn g3_a_stopped_worker_keeps_no_lease() {
    let mut world = world(&[6]);
    let first = join(&mut world).await;
    let second = join(&mut world).await;
    world.run_for(5 * SECOND).await;
    let gone = world.workers[&first].name.clone();
    world.leave(first);
    world.run_for(2 * SECOND).await;
    let rows = world.view(0).await.leases;
    assert!(rows.iter().all(|row| row.owner.as_ref().is_some_and(|owner| owner.name.as_str() != gone)));
    world.put_random(30, 12);
    world.run_for(SECOND).await;
    assert!(world.complete(SECOND).await);
    // Also when nobody is left to take them.
    world.leave(second);
    world.run_for(2 * SECOND).await;
    let free = |row: &LeaseRow| row.owner.is_none();
    assert!(world.view(0).await.leases.iter().all(free));
    join(&mut world).await;
    world.put_random(30, 12);
    let Summary { longest_wait, causes, .. } = well(&mut world).await;
    assert!(longest_wait < 2_000 && causes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l10_no_lease_expires_by_anybodys_wall_clock() {
    let mut world = World::new(1, &[6], StreamProfile::default()).unwrap();
    for minutes in [0, 10, 600] {
        let skew = Duration::from_secs(minutes * 60);
        world.join(&WorkerSpec { skew, ..WorkerSpec::default() }).await.unwrap();
    }
    world.put_random(40, 12);
    world.run_for(20 * SECOND).await;
    let before = owners(&world).await;
    for _ in 0..60 {
        world.put_random(10, 12);
        world.run_for(60 * SECOND).await;
    }
    assert_eq!(owners(&world).await, before);
    let summary = well(&mut world).await;
    assert!(summary.longest_wait < 5_000 && summary.causes.is_empty(), "{summary:?}");
    // The observer's own view: the last one that leaves keeps its row as that of a dead one.
    let rows = world.store.list(&world.groups[0].id, Listing::Workers).await.unwrap().workers;
    assert!(rows.iter().all(|row| row.state == WorkerState::Fenced), "{rows:?}");
}
