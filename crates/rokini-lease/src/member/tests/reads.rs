//! Reads of the store that are throttled, slow, or fail.

use super::*;
use crate::CoordinationHealth;
use crate::store::CountingStore;

/// Every listing of the leases fails, and two of three looks at the workers.
#[tokio::test(start_paused = true)]
async fn l13_throttled_reads_delay_no_fencing_that_worker_rows_prove_and_cost_no_storm() {
    let counting = CountingStore::new(store_with(20).await);
    let links: Vec<_> = (1..=5).map(|seed| FaultyStore::new(counting.clone(), seed)).collect();
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let mut workers = Vec::new();
    let clock = || WallClock::from_fn(|| 0);
    // Which looks fail is the same in every run.
    for ((link, name), seed) in links.iter().zip(["a", "b", "c", "d", "e"]).zip(1..) {
        workers.push(Worker::join_on(link, name, config(), clock(), seed).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 20 * SECOND).await;
    for link in &links {
        link.chance(StoreOperation::ListAll, StoreFault::Throttle, 1.0);
        link.chance(StoreOperation::ListWorkers, StoreFault::Throttle, 0.66);
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 60 * SECOND).await;
    let dead = workers.remove(0);
    let id = dead.member.id().clone();
    dead.die();
    // Somebody asks for a listing all the time.
    let begun = Instant::now();
    let fenced =
        || async { counting.worker(&group(), &id).await.unwrap().unwrap().state == WorkerState::Fenced };
    while !fenced().await {
        workers[0].member.request_reconcile();
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), SECOND / 2).await;
        assert!(begun.elapsed() <= 12 * SECOND, "fenced after the failover time and two seconds");
    }

    let before: u64 = links.iter().map(FaultyStore::injected).sum();
    let counts = counting.snapshot();
    for _ in 0..60 {
        workers.iter().for_each(|worker| worker.member.request_reconcile());
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), SECOND).await;
    }
    let failed = links.iter().map(FaultyStore::injected).sum::<u64>() - before;
    let calls = failed + (counting.snapshot() - &counts).requests();
    assert!(calls <= 4 * (60 + 16 + 20), "{calls} calls a minute of four workers");
    let health = workers[0].member.coordination();
    assert!(health.listing_overdue > Some(50 * SECOND) && health.error.is_some(), "{health:?}");
    assert!(health.look_age < 10 * SECOND && workers[0].member.is_valid(), "{health:?}");

    links.iter().for_each(FaultyStore::heal);
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 30 * SECOND).await;
    assert_eq!(counts_of(&workers), [5, 5, 5, 5]);
    assert_eq!(workers[0].member.coordination().listing_overdue, None);
    assert!(counting.worker(&group(), &id).await.unwrap().is_none(), "and cleared up after");
}

#[tokio::test(start_paused = true)]
async fn l13_a_worker_that_gave_up_its_shards_is_not_overdue() {
    let mut a = Worker::join(&store_with(1).await, "a").await.unwrap();
    a.live(SECOND).await;
    a.member.begin_leave();
    a.live(60 * SECOND).await;
    assert_eq!(a.member.coordination(), CoordinationHealth::default());
}

fn counts_of(workers: &[Worker]) -> Vec<usize> {
    counts(&workers.iter().collect::<Vec<_>>())
}

/// A listing of many pages that is slow holds up nothing.
#[tokio::test(start_paused = true)]
async fn l13_slow_listings_hold_up_no_look() {
    let store = store_with(900).await;
    let links: Vec<_> = (1..=3).map(|seed| FaultyStore::new(store.clone(), seed)).collect();
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let mut workers = Vec::new();
    for (link, name) in links.iter().zip(["a", "b", "c"]) {
        workers.push(Worker::join_with(link, name, config()).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 20 * SECOND).await;
    for link in &links {
        link.chance(StoreOperation::ListAll, StoreFault::Delay(20 * SECOND), 1.0);
    }
    workers.iter().for_each(|worker| worker.member.request_reconcile());
    let dead = workers.remove(0);
    let id = dead.member.id().clone();
    dead.die();
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 12 * SECOND).await;
    assert_eq!(store.worker(&group(), &id).await.unwrap().unwrap().state, WorkerState::Fenced);
}

/// Whoever declared the death dies before it moved anything: the row of the dead is there for the others.
#[tokio::test(start_paused = true)]
async fn l1_what_a_fencer_leaves_undone_is_done_by_the_next() {
    let store = store_with(6).await;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(Worker::join(&store, name).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 600 * SECOND).await;
    let dead = workers.remove(0);
    let row = store.worker(&group(), dead.member.id()).await.unwrap().unwrap();
    dead.die();
    store.update_worker(&group(), &row.id, &WorkerUpdate::Fence { seen: row.heartbeat }).await.unwrap();
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 6 * SECOND).await;
    assert_eq!(counts_of(&workers), [3, 3]);
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 20 * SECOND).await;
    assert!(store.worker(&group(), &row.id).await.unwrap().is_none());
}

/// A worker without leases beats rarely, looks, and has what falls to it as fast as any other.
#[tokio::test(start_paused = true)]
async fn l2_a_worker_in_reserve_takes_over_as_fast_as_any_other() {
    for killed in [false, true] {
        let store = store_with(1).await;
        let mut a = Worker::join(&store, "a").await.unwrap();
        a.live(SECOND).await;
        let mut b = Worker::join(&store, "b").await.unwrap();
        live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
        let beats = b.member.heartbeats().stored;
        live_all(&mut [&mut a, &mut b], 240 * SECOND).await;
        assert!(b.member.heartbeats().stored - beats <= 3 && b.member.is_valid());
        if killed {
            a.die();
            b.live(12 * SECOND).await;
        } else {
            a.leave().await;
            b.live(2 * SECOND - SECOND / 10).await;
        }
        assert!(b.leases.len() == 1 && b.leases.values().all(Lease::is_valid), "killed {killed}");
        let beats = b.member.heartbeats().stored;
        b.live(60 * SECOND).await;
        assert!(b.member.heartbeats().stored - beats >= 14 && !b.fenced);
    }
}

/// It was cut off while it was asked for something, and by the time its way is whole again nothing is asked of it any more.
#[tokio::test(start_paused = true)]
async fn c2_a_worker_in_reserve_that_was_declared_dead_learns_so_with_its_next_look() {
    for removed in [false, true] {
        let store = store_with(1).await;
        let mut a = Worker::join(&store, "a").await.unwrap();
        a.live(SECOND).await;
        let mut b = Worker::join(&store, "b").await.unwrap();
        live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
        let row = store.worker(&group(), b.member.id()).await.unwrap().unwrap();
        assert!(row.report.interval > 60 * SECOND && !b.fenced, "it is in reserve");
        if removed {
            store.delete_worker(&group(), &row.id).await.unwrap();
        } else {
            let fence = WorkerUpdate::Fence { seen: row.heartbeat };
            store.update_worker(&group(), &row.id, &fence).await.unwrap();
        }
        live_all(&mut [&mut a, &mut b], 5 * SECOND).await;
        assert!(b.fenced, "removed {removed}");
    }
}

/// A lease is given to a worker that begins to leave before it takes it up.
#[tokio::test(start_paused = true)]
async fn l2_a_lease_given_to_one_that_leaves_too_is_taken_by_the_third() {
    let store = store_with(9).await;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(Worker::join(&store, name).await.unwrap());
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 4 * SECOND).await;
    }
    assert_eq!(counts_of(&workers), [3, 3, 3]);
    let mut c = workers.pop().unwrap();
    for worker in workers {
        worker.leave().await;
    }
    c.live(5 * SECOND).await;
    assert_eq!(c.leases.len(), 9);
}
