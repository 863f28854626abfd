//! Large fleets: the real members on a counted store, in virtual time, without shards behind the leases.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{
    AssignmentPolicy, CheckpointMetadata, CountingStore, Counts, GroupId, HashRange, JoinError, Lease,
    LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, Listing, Member, MemberConfig, MemberEvent, MemoryStore,
    Position, ShardId, StoreOperation, StreamId, WallClock, WorkerName, plan,
};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, spawn};
use tokio::time::{Instant, sleep};

use crate::gated_store::GatedStore;
use crate::process_gate::ProcessGate;
use crate::world::SimError;

/// What every call takes on its way, and a listing of everything more: as DynamoDB within a region does.
const CALL: Duration = Duration::from_millis(5);
const LISTING: Duration = Duration::from_millis(60);
const TICK: Duration = Duration::from_millis(100);
/// Longer than any phase should take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How large a fleet.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Shards.
    pub shards: usize,
    /// Workers at the start.
    pub workers: usize,
    /// Workers that join then.
    pub joins: usize,
    /// Workers that crash at once after that.
    pub kills: usize,
    /// How long the quiet fleet is watched.
    pub quiet: Duration,
}

/// A part of a run.
#[derive(Debug, Clone)]
pub struct ConsumerPhase {
    /// Which.
    pub name: &'static str,
    /// Virtual time until every lease was held by a live worker.
    pub owned: Duration,
    /// Virtual time until the most and the least loaded worker differed by at most one lease, and nothing was
    /// on its way.
    pub balanced: Duration,
    /// Leases that changed hands.
    pub moves: u64,
    /// What the store was asked for.
    pub counts: Counts,
}

impl fmt::Display for ConsumerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: all owned after {:.1} s, balanced after {:.1} s, {} moves; {}",
            self.name,
            self.owned.as_secs_f64(),
            self.balanced.as_secs_f64(),
            self.moves,
            self.counts
        )
    }
}

type Store = CountingStore<MemoryStore>;

struct Fleet {
    scale: Scale,
    store: Store,
    group: GroupId,
    workers: BTreeMap<WorkerName, (ProcessGate, JoinHandle<Result<(), JoinError>>)>,
    next: usize,
    rng: StdRng,
}

/// Runs a fleet through start, quiet, joins and kills, on a runtime and a clock of its own.
///
/// # Errors
/// What kept it from running.
pub fn scale(scale: Scale, seed: u64) -> Result<Vec<ConsumerPhase>, SimError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::new(scale, seed)?;
        let mut phases = Vec::new();
        fleet.create().await?;
        phases.push(fleet.phase("start", scale.workers, 0).await?);
        phases.push(fleet.quiet().await?);
        phases.push(fleet.phase("joins", scale.joins, 0).await?);
        phases.push(fleet.phase("kills", 0, scale.kills).await?);
        Ok(phases)
    })
}

/// How long one worker's plan takes for a fleet of this size that is balanced but for the joiners.
///
/// # Errors
/// Names that cannot be.
pub fn time_of_plan(scale: Scale) -> Result<Duration, SimError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let view = runtime.block_on(async {
        let mut fleet = Fleet::new(scale, 1)?;
        fleet.create().await?;
        fleet.phase("start", scale.workers, 0).await?;
        Ok::<_, SimError>(fleet.store.list(&fleet.group, Listing::All).await?)
    })?;
    #[allow(clippy::disallowed_methods, reason = "a measurement")]
    let begun = std::time::Instant::now();
    let moves = plan(&view, &AssignmentPolicy::default());
    let took = begun.elapsed();
    debug_assert!(moves.is_empty());
    Ok(took)
}

impl Fleet {
    fn new(scale: Scale, seed: u64) -> Result<Self, SimError> {
        Ok(Self {
            scale,
            store: CountingStore::new(MemoryStore::new()),
            group: GroupId::new("scale")?,
            workers: BTreeMap::new(),
            next: 0,
            rng: StdRng::seed_from_u64(seed),
        })
    }

    /// The leases, as the first worker of a group makes them.
    async fn create(&self) -> Result<(), SimError> {
        let stream = StreamId::new("orders@1700000000000")?;
        let width = u128::MAX / self.scale.shards.max(1) as u128;
        for number in 0..self.scale.shards {
            let key = LeaseKey::new(stream.clone(), ShardId::new(format!("shardId-{number:012}"))?);
            let start = width * number as u128;
            let range = HashRange { start, end: start + width - 1 };
            let row = LeaseRow::new(key, Position::TrimHorizon).with_hash_range(range);
            self.store.insert_lease(&self.group, &row).await?;
        }
        Ok(())
    }

    async fn phase(
        &mut self,
        name: &'static str,
        joins: usize,
        kills: usize,
    ) -> Result<ConsumerPhase, SimError> {
        let (begun, counts) = (Instant::now(), self.store.snapshot());
        for _ in 0..joins {
            self.join()?;
        }
        for _ in 0..kills {
            if let Some((_, (gate, running))) = self.workers.pop_last() {
                gate.kill();
                running.abort();
            }
        }
        let mut owned = None;
        let balanced = loop {
            sleep(TICK).await;
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name}: no balance within {PATIENCE:?}").into());
            }
            let (all_owned, balanced) = self.state().await?;
            if all_owned {
                owned.get_or_insert_with(|| begun.elapsed());
            }
            if balanced {
                break begun.elapsed();
            }
        };
        let counts = self.store.snapshot() - &counts;
        let moves = counts.of(StoreOperation::Acquire) + counts.of(StoreOperation::HandOver);
        Ok(ConsumerPhase { name, owned: owned.unwrap_or(balanced), balanced, moves, counts })
    }

    async fn quiet(&mut self) -> Result<ConsumerPhase, SimError> {
        // The last looks after the last moves.
        sleep(Duration::from_secs(60)).await;
        let counts = self.store.snapshot();
        sleep(self.scale.quiet).await;
        let counts = self.store.snapshot() - &counts;
        let moves = counts.of(StoreOperation::Acquire) + counts.of(StoreOperation::HandOver);
        Ok(ConsumerPhase { name: "quiet", owned: Duration::ZERO, balanced: Duration::ZERO, moves, counts })
    }

    fn join(&mut self) -> Result<(), SimError> {
        let number = self.next;
        self.next += 1;
        let (crashed, _) = mpsc::unbounded_channel();
        let gate = ProcessGate::new(0, crashed);
        let store = GatedStore::new(self.store.clone(), gate.clone(), None).with_latency(CALL, LISTING);
        let name = WorkerName::new(format!("w{number:04}"))?;
        // A rolling start: within a second.
        let wait = Duration::from_millis(self.rng.random_range(0..1_000));
        let (group, seed) = (self.group.clone(), self.rng.random());
        let running = spawn(work(store, group, name.clone(), seed, wait));
        self.workers.insert(name, (gate, running));
        Ok(())
    }

    /// Whether live workers hold every lease, and whether they do so evenly with nothing on its way.
    async fn state(&self) -> Result<(bool, bool), SimError> {
        // Not through the counting store: this is the observer's own listing.
        let view = self.store.inner().list(&self.group, Listing::All).await?;
        let mut loads: BTreeMap<&WorkerName, usize> = self.workers.keys().map(|name| (name, 0)).collect();
        let mut resting = true;
        for row in &view.leases {
            let Some(load) = row.owner.as_ref().and_then(|owner| loads.get_mut(&owner.name)) else {
                return Ok((false, false));
            };
            *load += 1;
            resting &= row.claim.is_none();
        }
        let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
        Ok((true, resting && most <= least.map(|least| least + 1)))
    }
}

/// One worker: takes what it is granted, hands over what it is asked for.
async fn work(
    store: GatedStore<Store>,
    group: GroupId,
    name: WorkerName,
    seed: u64,
    wait: Duration,
) -> Result<(), JoinError> {
    sleep(wait).await;
    let mut config = MemberConfig::default();
    config.process = None;
    let clock = WallClock::from_fn(|| 0);
    let (_member, mut events) = Member::join(Arc::new(store), group, name, config, clock, seed).await?;
    let mut leases = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(MemberEvent::Granted(lease)) => drop(leases.spawn(hold(lease))),
                Some(_) => {}
                None => return Ok(()),
            },
            Some(_) = leases.join_next() => {}
        }
    }
}

async fn hold(lease: Lease) {
    tokio::select! {
        biased;
        _ = lease.lost() => {}
        () = lease.yield_requested() => {
            // What could not be handed over is granted again.
            let _ = lease.hand_over(None, CheckpointMetadata::default()).await;
        }
    }
}
