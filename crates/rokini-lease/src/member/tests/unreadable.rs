//! Rows that cannot be read: of a newer version, or damaged.

use super::*;
use crate::row::RowKey;
use crate::store::CountingStore;

/// A quiet fleet of ten with a split under way, and how many calls it makes in a minute.
struct Fleet {
    inner: MemoryStore,
    counting: CountingStore<MemoryStore>,
    workers: Vec<Worker>,
}

impl Fleet {
    async fn new() -> Self {
        let inner = MemoryStore::new();
        for n in 0..101 {
            inner.insert_lease(&group(), &LeaseRow::new(key(n), at(1))).await.unwrap();
        }
        let child = LeaseRow::new(key(901), Position::TrimHorizon).with_parents(vec![key(100).shard]);
        inner.insert_lease(&group(), &child).await.unwrap();
        let counting = CountingStore::new(inner.clone());
        let mut workers = Vec::new();
        for n in 0..10 {
            workers.push(Worker::join(&inner, &format!("w{n}")).await.unwrap().on(&counting, n).await);
        }
        let mut fleet = Self { inner, counting, workers };
        fleet.live(60).await;
        fleet
    }

    async fn live(&mut self, seconds: u32) {
        live_all(&mut self.workers.iter_mut().collect::<Vec<_>>(), seconds * SECOND).await;
    }

    async fn calls_in_a_minute(&mut self) -> u64 {
        let before = self.counting.snapshot();
        self.live(60).await;
        (self.counting.snapshot() - &before).requests()
    }

    fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.leases.len()).collect()
    }
}

impl Worker {
    /// The same name over a store that counts.
    async fn on(self, store: &CountingStore<MemoryStore>, n: usize) -> Self {
        self.leave().await;
        let config = MemberConfig { process: None, ..MemberConfig::default() };
        Self::join_with(store, &format!("w{n}"), config).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn c15_a_lease_that_cannot_be_read_costs_no_storm_and_holds_up_only_its_child() {
    let mut fleet = Fleet::new().await;
    let quiet = fleet.calls_in_a_minute().await;
    fleet.inner.damage(&group(), &RowKey::Lease(key(100)), true);
    fleet.live(60).await;
    let calls = fleet.calls_in_a_minute().await;
    assert!(calls <= quiet * 11 / 10 + 20, "{calls} calls a minute instead of {quiet}");
    // The rest goes on: a newcomer and a new lease.
    fleet.inner.insert_lease(&group(), &LeaseRow::new(key(200), at(1))).await.unwrap();
    let newcomer = Worker::join(&fleet.inner, "newcomer").await.unwrap();
    fleet.workers.push(newcomer);
    fleet.live(10).await;
    assert!(fleet.workers[10].leases.len() >= 9, "{:?}", fleet.loads());
    let held = |n: usize| fleet.workers.iter().filter(|worker| worker.leases.contains_key(&key(n))).count();
    assert_eq!((held(200), held(901)), (1, 0), "the child waits");
    // Repaired, all of it goes on.
    fleet.inner.damage(&group(), &RowKey::Lease(key(100)), false);
    fleet.live(40).await;
    assert_eq!(fleet.loads().iter().sum::<usize>(), 102);
}

#[tokio::test(start_paused = true)]
async fn c15_a_worker_that_cannot_be_read_keeps_its_leases_and_costs_no_storm() {
    let mut fleet = Fleet::new().await;
    let quiet = fleet.calls_in_a_minute().await;
    let before = fleet.loads();
    let id = fleet.workers[3].member.id().clone();
    // Its own heartbeats go on, as those of a newer version do.
    let kept = std::mem::take(&mut fleet.workers[3].leases);
    let newer = fleet.workers.remove(3);
    newer.member.state.stopped.cancel();
    fleet.inner.damage(&group(), &RowKey::Worker(id.clone()), true);
    fleet.live(60).await;
    let calls = fleet.calls_in_a_minute().await;
    assert!(calls <= quiet * 11 / 10 + 20, "{calls} calls a minute instead of {quiet}");
    let view = fleet.inner.list(&group(), Listing::All).await.unwrap();
    let owned = view.leases.iter().filter(|row| row.owner.as_ref() == Some(&id)).count();
    assert_eq!((owned, before[3]), (kept.len(), kept.len()), "what it has stays with it");
    std::mem::forget(kept);
}

/// Its predecessor's row is damaged while a restart waits for that one's death.
#[tokio::test(start_paused = true)]
async fn c15_a_predecessor_that_cannot_be_read_does_not_keep_a_worker_from_starting() {
    let store = store_with(3).await;
    let mut first = Worker::join(&store, "w").await.unwrap();
    first.live(10 * SECOND).await;
    let id = first.member.id().clone();
    first.die();
    let joining = Worker::join(&store, "w");
    let damage = async {
        sleep(2 * SECOND).await;
        store.damage(&group(), &RowKey::Worker(id), true);
    };
    let (joined, ()) = tokio::join!(joining, damage);
    let mut second = joined.unwrap();
    second.live(10 * SECOND).await;
    assert!(second.member.is_valid() && !second.fenced);
}
