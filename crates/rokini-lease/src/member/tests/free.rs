//! Leases that the plan gives to somebody who does not take them, and workers that die again and again.

use std::collections::BTreeSet;

use super::*;
use crate::plan::AssignmentPolicy;
use crate::row::GroupView;

fn config() -> MemberConfig {
    MemberConfig { process: None, ..MemberConfig::default() }
}

async fn free(store: &MemoryStore) -> Vec<LeaseKey> {
    let rows = store.list(&group(), Listing::All).await.unwrap().leases;
    rows.into_iter().filter(|row| row.owner.is_none()).map(|row| row.key).collect()
}

/// One worker whose full listings fail while it beats, and whose mailbox nobody's notes help.
#[tokio::test(start_paused = true)]
async fn l3_a_lease_that_the_plan_gives_to_a_worker_that_cannot_list_is_taken_by_others() {
    let store = store_with(30).await;
    let link = FaultyStore::new(store.clone(), 1);
    let mut a = Worker::join(&store, "a").await.unwrap();
    let mut b = Worker::join(&store, "b").await.unwrap();
    let mut c = Worker::join_with(&link, "c", config()).await.unwrap();
    live_all(&mut [&mut a, &mut b, &mut c], 30 * SECOND).await;
    assert_eq!(counts(&[&a, &b, &c]), [10, 10, 10]);
    link.chance(StoreOperation::ListAll, StoreFault::Delay(SECOND / 50), 1.0);
    link.chance(StoreOperation::ListAll, StoreFault::FailBefore, 1.0);
    for n in 100..106 {
        store.insert_lease(&group(), &LeaseRow::new(key(n), Position::TrimHorizon)).await.unwrap();
    }
    a.member.request_reconcile();
    live_all(&mut [&mut a, &mut b, &mut c], 20 * SECOND).await;
    assert_eq!(free(&store).await, []);
    assert!(c.member.is_valid() && a.leases.len() + b.leases.len() + c.leases.len() == 36);
}

/// Whoever listens to whom: a rolling change of the policy.
#[tokio::test(start_paused = true)]
async fn l3_workers_of_two_policies_leave_no_lease_to_each_other() {
    let store = MemoryStore::new();
    let weighing = |n: usize, bytes: u64| {
        let mut row = LeaseRow::new(key(n), at(1));
        row.metadata.bytes_per_second = Some(bytes);
        row
    };
    store.insert_lease(&group(), &weighing(0, 1_000_000)).await.unwrap();
    let throughput = MemberConfig { policy: AssignmentPolicy::Throughput, ..config() };
    let mut a = Worker::join_with(&store, "a", throughput).await.unwrap();
    a.live(2 * SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 2 * SECOND).await;
    for n in 1..4 {
        store.insert_lease(&group(), &weighing(n, 1_000)).await.unwrap();
        b.member.request_reconcile();
        live_all(&mut [&mut a, &mut b], 20 * SECOND).await;
        assert_eq!(free(&store).await, [], "{n}");
    }
    let epochs = |view: GroupView| view.leases.iter().map(|row| row.epoch).collect::<Vec<_>>();
    let before = epochs(store.list(&group(), Listing::All).await.unwrap());
    live_all(&mut [&mut a, &mut b], 300 * SECOND).await;
    let after = epochs(store.list(&group(), Listing::All).await.unwrap());
    assert_eq!(before, after, "and pass none to and fro");
}

/// Lives for a few seconds under a new name each time, as a pod does whose process crashes.
#[tokio::test(start_paused = true)]
async fn l12_a_worker_that_dies_again_and_again_never_holds_more_than_a_little() {
    for (life, away) in [(3_u64, 5_u64), (5, 20)] {
        let store = store_with(100).await;
        let mut workers = Vec::new();
        for n in 0..10 {
            workers.push(Worker::join(&store, &format!("w{n}")).await.unwrap());
        }
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 90 * SECOND).await;
        let (begun, mut crashes, mut orphaned, mut samples) = (Instant::now(), 0_u32, 0, 0);
        while begun.elapsed() < 200 * SECOND {
            crashes += 1;
            let mut pod = Worker::join(&store, &format!("pod-{crashes}")).await.unwrap();
            for _ in 0..life {
                live_all(&mut workers.iter_mut().chain([&mut pod]).collect::<Vec<_>>(), SECOND).await;
            }
            pod.die();
            for _ in 0..away {
                live_all(&mut workers.iter_mut().collect::<Vec<_>>(), SECOND).await;
                let alive: BTreeSet<_> = workers.iter().map(|worker| worker.member.id().clone()).collect();
                let rows = store.list(&group(), Listing::All).await.unwrap().leases;
                let dead = |row: &&LeaseRow| row.owner.as_ref().is_none_or(|owner| !alive.contains(owner));
                // The first one is a newcomer like any other.
                if begun.elapsed() > 45 * SECOND {
                    orphaned += rows.iter().filter(dead).count();
                    samples += 1;
                }
            }
        }
        let mean = orphaned as f64 / f64::from(samples);
        assert!(mean <= 3.0, "alive {life} s, away {away} s: {mean:.1} of 100 leases with nobody");
        let rows = store.list(&group(), Listing::Workers).await.unwrap().workers.len();
        assert!(rows <= 10 + 6, "{rows} rows");
    }
}

/// A worker that is drained lives on: it does not end by sending what it could not send. In a fleet of this size most of those
/// that get its shards do not look at it.
#[tokio::test(start_paused = true)]
async fn l3_whoever_gets_the_shards_of_a_drained_worker_hears_of_them_though_its_notifications_fail_at_first()
{
    const OTHERS: usize = 30;
    for stops in [false, true] {
        let store = store_with(3 * (OTHERS + 1)).await;
        let link = FaultyStore::new(store.clone(), 1);
        let mut drained = Worker::join_with(&link, "drained", config()).await.unwrap();
        let mut others = Vec::new();
        for n in 0..OTHERS {
            others.push(Worker::join(&store, &format!("w{n}")).await.unwrap());
        }
        let mut workers: Vec<_> = others.iter_mut().chain([&mut drained]).collect();
        live_all(&mut workers, 120 * SECOND).await;
        assert!(workers.iter().all(|worker| worker.leases.len() == 3), "{:?}", workers.len());
        link.chance(StoreOperation::Notify, StoreFault::FailBefore, 1.0);
        drained.member.begin_leave();
        while !drained.leases.is_empty() {
            live_all(&mut others.iter_mut().chain([&mut drained]).collect::<Vec<_>>(), SECOND / 50).await;
        }
        assert!(link.injected() > 0, "a notification failed");
        link.heal();
        if stops {
            drained.member.leave(Instant::now() + 5 * SECOND).await;
        }
        let begun = Instant::now();
        while others.iter().map(|worker| worker.leases.len()).sum::<usize>() < 3 * (OTHERS + 1) {
            assert!(begun.elapsed() < 4 * SECOND, "stops: {stops}");
            live_all(&mut others.iter_mut().collect::<Vec<_>>(), SECOND / 10).await;
        }
    }
}

/// Whoever declares the owner dead may be another one than the claimer, which looks at the leases rarely.
#[tokio::test(start_paused = true)]
async fn l3_what_somebody_has_claimed_of_a_worker_that_dies_is_had_by_it_soon() {
    for claimer in [0, 1] {
        let store = store_with(1).await;
        let mut workers = Vec::new();
        for name in ["a", "b", "c"] {
            workers.push(Worker::join(&store, name).await.unwrap());
        }
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 60 * SECOND).await;
        let owner = workers.iter().position(|worker| worker.leases.len() == 1).unwrap();
        workers.remove(owner).die();
        let by = workers[claimer].member.id().clone();
        let row = store.lease(&group(), &key(0)).await.unwrap().unwrap();
        let claim = LeaseUpdate::Claim { by: by.clone(), seen: row.epoch, over: None };
        assert!(store.update_lease(&group(), &key(0), &claim).await.unwrap().is_applied());
        // The failover time, two looks, and what else a take-over takes.
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 15 * SECOND).await;
        let row = store.lease(&group(), &key(0)).await.unwrap().unwrap();
        assert_eq!((row.owner, workers[claimer].leases.len()), (Some(by), 1), "claimed by {claimer}");
    }
}
