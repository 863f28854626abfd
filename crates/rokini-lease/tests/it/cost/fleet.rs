//! Real members on one store in virtual time, each counted by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini_lease::{
    CheckpointMetadata, CountingStore, Counts, FaultyStore, FleetShape, GroupId, HashRange, JoinAttempts,
    Lease, LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, Listing, Member, MemberConfig, MemberEvent,
    MemberEvents, MemoryStore, Position, ShardId, StreamId, StreamRow, WallClock, WorkerName,
};
use tokio::time::{Instant, sleep};

pub(super) const SECOND: Duration = Duration::from_secs(1);
type Store = CountingStore<MemoryStore>;

pub(super) struct Worker {
    pub(super) link: FaultyStore<Store>,
    pub(super) member: Member,
    held: Arc<Mutex<BTreeSet<LeaseKey>>>,
}

/// Takes what is granted, hands over what is asked for.
async fn work(mut events: MemberEvents, held: Arc<Mutex<BTreeSet<LeaseKey>>>) {
    while let Some(event) = events.recv().await {
        if let MemberEvent::Granted(lease) = event {
            tokio::spawn(hold(lease, Arc::clone(&held)));
        }
    }
}

async fn hold(lease: Lease, held: Arc<Mutex<BTreeSet<LeaseKey>>>) {
    let key = lease.key().clone();
    held.lock().unwrap().insert(key.clone());
    tokio::select! {
        biased;
        _ = lease.lost() => drop(held.lock().unwrap().remove(&key)),
        () = lease.yield_requested() => {
            held.lock().unwrap().remove(&key);
            let done = Some(lease.position());
            // What could not be handed over is granted again.
            let _ = lease.hand_over(done, CheckpointMetadata::default()).await;
        }
    }
}

impl Worker {
    pub(super) fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    pub(super) fn counts(&self) -> Counts {
        self.link.inner().snapshot()
    }
}

/// Workers on one store.
pub(super) struct Fleet {
    pub(super) store: MemoryStore,
    pub(super) workers: Vec<Worker>,
    /// The counts of those that are gone.
    gone: Vec<Store>,
    joined: u64,
}

pub(super) fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

fn stream() -> StreamId {
    StreamId::new("orders@1700000000123").unwrap()
}

/// A name as Kinesis gives it.
pub(super) fn key(n: u32) -> LeaseKey {
    LeaseKey::new(stream(), ShardId::new(format!("shardId-{n:012}")).unwrap())
}

/// A position as Kinesis makes it: 56 digits.
pub(super) fn position(n: u64) -> Position {
    Position::after(format!("4959033827149025660855969253836157109592{n:016}").parse().unwrap())
}

/// As a pod is named.
fn name(n: u64) -> WorkerName {
    WorkerName::new(format!("orders-7d9f8b6c5-{n:05}")).unwrap()
}

/// What a fleet asked a store for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) writes: f64,
    pub(super) reads: f64,
    pub(super) write_calls: f64,
    pub(super) read_calls: f64,
    pub(super) refused: f64,
}

impl Spent {
    fn of(counts: &Counts) -> Self {
        Self {
            writes: counts.write_units() as f64,
            reads: counts.read_units(),
            write_calls: counts.write_calls() as f64,
            read_calls: counts.requests() as f64 - counts.write_calls() as f64,
            refused: (counts.refused() + counts.failed()) as f64,
        }
    }

    fn each(self, other: Self, with: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            writes: with(self.writes, other.writes),
            reads: with(self.reads, other.reads),
            write_calls: with(self.write_calls, other.write_calls),
            read_calls: with(self.read_calls, other.read_calls),
            refused: with(self.refused, other.refused),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }

    pub(super) fn times(self, by: f64) -> Self {
        self.each(self, |a, _| a * by)
    }
}

impl Fleet {
    pub(super) async fn new(leases: u32) -> Self {
        let store = MemoryStore::new();
        let row = StreamRow::new(stream(), "orders", Position::TrimHorizon);
        store.insert_stream(&group(), &row).await.unwrap();
        for n in 0..leases {
            let width = u128::MAX / u128::from(leases);
            let range = HashRange { start: width * u128::from(n), end: width * u128::from(n + 1) };
            let row = LeaseRow::new(key(n), position(1)).with_hash_range(range);
            store.insert_lease(&group(), &row).await.unwrap();
        }
        Self { store, workers: Vec::new(), gone: Vec::new(), joined: 0 }
    }

    pub(super) async fn join(&mut self) {
        self.joined += 1;
        self.join_as(self.joined).await;
    }

    async fn join_as(&mut self, n: u64) {
        let link = FaultyStore::new(CountingStore::new(self.store.clone()), n);
        let (store, clock) = (Arc::new(link.clone()), WallClock::from_fn(|| 1_700_000_000_123));
        let mut config = MemberConfig::default();
        config.streams = Some([stream()].into());
        let attempts = JoinAttempts::new(n);
        let joined = Member::join(store, group(), name(n), config, clock, &attempts);
        let (member, events) = joined.await.unwrap();
        let held = Arc::default();
        tokio::spawn(work(events, Arc::clone(&held)));
        self.workers.push(Worker { link, member, held });
    }

    /// Takes a worker out of the fleet; what it spent stays counted.
    pub(super) fn take_out(&mut self, n: usize) -> Worker {
        let worker = self.workers.remove(n);
        self.gone.push(worker.link.inner().clone());
        worker
    }

    /// Lives until this holds, and for how long that was.
    pub(super) async fn until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < limit, "not within {limit:?}: {:?}", self.loads());
            sleep(SECOND / 20).await;
        }
        begun.elapsed()
    }

    pub(super) fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(Worker::held).collect()
    }

    pub(super) fn is_even(&self, leases: usize) -> bool {
        let loads = self.loads();
        loads.iter().sum::<usize>() == leases
            && loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1
    }

    /// A fleet at rest, whole.
    pub(super) async fn settled(leases: u32, workers: u32) -> Self {
        let mut fleet = Self::new(leases).await;
        for _ in 0..workers {
            fleet.join().await;
        }
        fleet.until(30 * SECOND, |fleet| fleet.is_even(leases as usize)).await;
        sleep(20 * SECOND).await;
        fleet
    }

    /// What all workers have spent so far.
    pub(super) fn spent(&self) -> Spent {
        let gone = self.gone.iter().map(CountingStore::snapshot);
        let counts = self.workers.iter().map(Worker::counts).chain(gone);
        counts.fold(Spent::default(), |all, counts| all.plus(Spent::of(&counts)))
    }
}

/// What a second costs at rest.
pub(super) async fn at_rest(shape: FleetShape) -> Spent {
    let fleet = Fleet::settled(shape.leases, shape.workers).await;
    // Whoever has no lease is in reserve by then.
    sleep(130 * SECOND).await;
    let (window, before) = (600 * SECOND, fleet.spent());
    sleep(window).await;
    let spent = fleet.spent().minus(before);
    // The audit of the stream lists once a minute.
    let audit = CountingStore::new(fleet.store.clone());
    audit.list(&group(), Listing::All).await.unwrap();
    let audit = Spent::of(&audit.snapshot()).times(1.0 / 60.0);
    spent.times(1.0 / window.as_secs_f64()).plus(audit)
}
