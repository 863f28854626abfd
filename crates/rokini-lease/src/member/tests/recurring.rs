//! Defects that other libraries had, each as a scenario in which leases must end up with a task.

use super::*;
use crate::store::{LeaseStoreExt, StoreOperation};
use crate::types::WorkerId;

/// Everything is held by one of the living, by leases that may be used and stored under.
async fn everything_flows(store: &MemoryStore, workers: &[&Worker], position: u128) {
    let rows = store.list(&group(), Listing::All).await.unwrap().leases;
    for row in rows.iter().filter(|row| !row.position.is_shard_end()) {
        let holders: Vec<&&Worker> =
            workers.iter().filter(|worker| worker.leases.contains_key(&row.key)).collect();
        assert_eq!(holders.len(), 1, "{} has one task: {row:?}", row.key);
        let lease = &holders[0].leases[&row.key];
        assert!(lease.is_valid(), "{}", row.key);
        lease.checkpoint(at(position), CheckpointMetadata::default()).await.unwrap();
    }
}

/// The thief claims a lease and dies before it gets it: the claim must bind nobody.
#[tokio::test(start_paused = true)]
async fn c3_a_shard_is_not_orphaned_by_the_claim_of_a_thief_that_died() {
    for owner_dies_too in [false, true] {
        let store = store_with(4).await;
        let mut a = Worker::join(&store, "a").await.unwrap();
        a.live(SECOND).await;
        let thief = Worker::join(&store, "thief").await.unwrap();
        // Long enough to claim, too short to be given anything.
        sleep(SECOND / 20).await;
        let rows = store.list(&group(), Listing::All).await.unwrap().leases;
        let claims = rows.iter().filter(|row| row.claim.as_ref() == Some(thief.member.id())).count();
        assert_eq!(claims, 2, "{rows:?}");
        thief.die();
        let mut b = Worker::join(&store, "b").await.unwrap();
        if owner_dies_too {
            a.die();
            b.live(25 * SECOND).await;
            assert_eq!(b.leases.len(), 4);
            everything_flows(&store, &[&b], 5).await;
        } else {
            live_all(&mut [&mut a, &mut b], 25 * SECOND).await;
            assert_eq!(counts(&[&a, &b]), [2, 2]);
            everything_flows(&store, &[&a, &b], 5).await;
        }
    }
}

/// Two workers insert and take the leases of the same shards at the same time.
#[tokio::test(start_paused = true)]
async fn c3_two_workers_that_create_one_lease_at_once_leave_it_with_one_of_them() {
    let store = MemoryStore::new();
    let mut a = Worker::join(&store, "a").await.unwrap();
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], SECOND).await;
    for n in 0..20 {
        let rows = [LeaseRow::new(key(n), Position::TrimHorizon), LeaseRow::new(key(n), at(1))];
        let group = group();
        let (first, second) =
            tokio::join!(store.insert_lease(&group, &rows[0]), store.insert_lease(&group, &rows[1]));
        assert!(first.unwrap().is_applied() != second.unwrap().is_applied(), "one row, whoever wrote it");
        a.member.request_reconcile();
        b.member.request_reconcile();
    }
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), [10, 10]);
    everything_flows(&store, &[&a, &b], 5).await;
}

/// A lease is given back while another worker takes it: whoever wins, it is one of them.
#[tokio::test(start_paused = true)]
async fn c3_a_release_that_races_an_acquisition_leaves_the_lease_with_one_worker() {
    for seed in 0..30 {
        let store = store_with(3).await;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut links = Vec::new();
        for _ in 0..2 {
            let link = FaultyStore::new(store.clone(), rng.random());
            for operation in [
                StoreOperation::HandOver,
                StoreOperation::Acquire,
                StoreOperation::Claim,
                StoreOperation::Notify,
            ] {
                link.chance(
                    operation,
                    StoreFault::Delay(Duration::from_millis(rng.random_range(1..400))),
                    0.5,
                );
                link.chance(
                    operation,
                    StoreFault::DelayReply(Duration::from_millis(rng.random_range(1..400))),
                    0.5,
                );
                link.chance(operation, StoreFault::LoseReply, 0.2);
            }
            links.push(link);
        }
        let config = || MemberConfig { process: None, ..MemberConfig::default() };
        let mut a = Worker::join_with(&links[0], "a", config()).await.unwrap();
        let mut b = Worker::join_with(&links[1], "b", config()).await.unwrap();
        for _ in 0..20 {
            live_all(&mut [&mut a, &mut b], Duration::from_millis(rng.random_range(0..700))).await;
            // A task gives its lease back of its own accord.
            let worker = if rng.random() { &mut a } else { &mut b };
            if let Some((_, lease)) = worker.leases.pop_first() {
                let _ = lease.hand_over(None, CheckpointMetadata::default()).await;
            }
        }
        links.iter().for_each(FaultyStore::heal);
        live_all(&mut [&mut a, &mut b], 40 * SECOND).await;
        everything_flows(&store, &[&a, &b], 5).await;
    }
}

/// A worker must not ask itself for what it has, nor wait for its own answer.
#[tokio::test(start_paused = true)]
async fn c3_a_worker_that_claimed_its_own_lease_keeps_working_on_it() {
    let store = store_with(3).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let me: WorkerId = a.member.id().clone();
    let rows = store.list(&group(), Listing::All).await.unwrap().leases;
    for row in rows.iter().take(2) {
        let claim = LeaseUpdate::Claim { by: me.clone(), seen: row.epoch, over: None };
        assert!(store.update_lease(&group(), &row.key, &claim).await.unwrap().is_applied());
    }
    a.live(40 * SECOND).await;
    assert_eq!(a.leases.len(), 3, "nothing is handed over to oneself");
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 40 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), [1, 2], "and the spread goes on");
    everything_flows(&store, &[&a, &b], 5).await;
}

/// One row too many in a table for two streams: each stream's shards of equal names stay apart.
#[tokio::test(start_paused = true)]
async fn c14_two_streams_with_shards_of_equal_names_share_a_table() {
    let store = store_with(2).await;
    let other = |n: usize| LeaseKey::new(StreamId::new("t").unwrap(), key(n).shard);
    for n in 0..2 {
        store.insert_lease(&group(), &LeaseRow::new(other(n), Position::TrimHorizon)).await.unwrap();
    }
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    // The end of one stream's shard begins its own child only.
    let child = LeaseRow::new(key(7), Position::TrimHorizon).with_parents(vec![key(0).shard]);
    let waits = LeaseRow::new(other(7), Position::TrimHorizon).with_parents(vec![key(0).shard]);
    store.insert_lease(&group(), &waits).await.unwrap();
    a.leases.remove(&key(0)).unwrap().finish(vec![child]).await.unwrap();
    a.live(40 * SECOND).await;
    let held: Vec<String> = a.leases.keys().map(ToString::to_string).collect();
    assert_eq!(held, ["s#shard-001", "s#shard-007", "t#shard-000", "t#shard-001"]);
    assert_eq!(store.lease(&group(), &other(0)).await.unwrap().unwrap().position, Position::TrimHorizon);
}
