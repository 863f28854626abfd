//! Large fleets: the real members on a counted store, in virtual time, without shards behind the leases.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{
    AssignmentPolicy, CheckpointMetadata, Counts, GroupId, HashRange, JoinAttempts, JoinError, Lease,
    LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, Listing, Member, MemberConfig, MemberEvent, Position,
    ShardId, StoreOperation, StreamId, WallClock, WorkerName, plan,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn};
use tokio::time::{Instant, sleep, sleep_until};

use crate::gated_store::GatedStore;
use crate::key_limits::{KeyLimits, KeyLoad};
use crate::process_gate::ProcessGate;
use crate::world::SimError;

/// What every call takes on its way, and a listing of everything more: as DynamoDB within a region does.
const CALL: Duration = Duration::from_millis(5);
const LISTING: Duration = Duration::from_millis(60);
/// How long a reshard takes.
const RESHARD: Duration = Duration::from_secs(10);
/// The numbers of the shards that others are split into begin here.
const CHILDREN: usize = 1_000_000;
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
    /// Shards that are split within 10 s after that, in the middle of which one worker crashes.
    pub splits: usize,
    /// How long the quiet fleet is watched.
    pub quiet: Duration,
}

/// A part of a run.
#[derive(Debug, Clone)]
pub struct ConsumerPhase {
    /// Which.
    pub name: &'static str,
    /// Virtual time until every lease was held by a live worker; of a reshard, the longest that one lease was not.
    pub owned: Duration,
    /// Virtual time until the most and the least loaded worker differed by at most one lease, and nothing was
    /// on its way.
    pub balanced: Duration,
    /// Leases that changed hands.
    pub moves: u64,
    /// What the store was asked for.
    pub counts: Counts,
    /// What its partition key was asked for.
    pub load: KeyLoad,
}

impl fmt::Display for ConsumerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: all owned after {:.1} s, balanced after {:.1} s, {} moves; in the busiest second {} write and {} read units, {} \
             throttled; {}",
            self.name,
            self.owned.as_secs_f64(),
            self.balanced.as_secs_f64(),
            self.moves,
            self.load.writes,
            self.load.reads,
            self.load.throttled,
            self.counts
        )
    }
}

type Store = KeyLimits;

/// When shards are split: which ones, and from when on.
#[derive(Debug, Clone, Copy)]
struct Reshard {
    begins: Instant,
    /// One of so many.
    one_of: usize,
}

impl Reshard {
    /// When this shard ends, if it does.
    fn end_of(&self, shard: usize) -> Option<Instant> {
        let of = RESHARD * (shard % 97) as u32 / 97;
        shard.is_multiple_of(self.one_of).then(|| self.begins + of)
    }
}

struct Fleet {
    scale: Scale,
    store: Store,
    group: GroupId,
    workers: BTreeMap<WorkerName, (ProcessGate, JoinHandle<Result<(), JoinError>>)>,
    next: usize,
    rng: StdRng,
    reshard: watch::Sender<Option<Reshard>>,
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
        // A cold start of everybody within a second is not judged under the limits.
        fleet.store.limit();
        phases.push(fleet.quiet().await?);
        phases.push(fleet.phase("joins", scale.joins, 0).await?);
        phases.push(fleet.phase("kills", 0, scale.kills).await?);
        phases.push(fleet.reshard().await?);
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
        Ok::<_, SimError>(fleet.store.inner().list(&fleet.group, Listing::All).await?)
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
            store: KeyLimits::new(),
            group: GroupId::new("scale")?,
            workers: BTreeMap::new(),
            next: 0,
            rng: StdRng::seed_from_u64(seed),
            reshard: watch::Sender::new(None),
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
            self.store.inner().insert_lease(&self.group, &row).await?;
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
        self.store.take_load();
        for _ in 0..joins {
            self.join()?;
        }
        for _ in 0..kills {
            self.kill();
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
        let load = self.store.take_load();
        Ok(ConsumerPhase { name, owned: owned.unwrap_or(balanced), balanced, moves, counts, load })
    }

    fn kill(&mut self) {
        if let Some((_, (gate, running))) = self.workers.pop_last() {
            gate.kill();
            running.abort();
        }
    }

    /// Splits shards, and one worker crashes in the middle of it.
    async fn reshard(&mut self) -> Result<ConsumerPhase, SimError> {
        let (begun, counts) = (Instant::now(), self.store.snapshot());
        self.store.take_load();
        let one_of = (self.scale.shards / self.scale.splits.max(1)).max(1);
        let splits = (0..self.scale.shards).filter(|shard| shard.is_multiple_of(one_of)).count();
        self.reshard.send_replace(Some(Reshard { begins: begun, one_of }));
        let mut killed = false;
        let (mut since, mut worst) = (BTreeMap::new(), Duration::ZERO);
        let balanced = loop {
            sleep(TICK).await;
            if begun.elapsed() > PATIENCE {
                return Err(format!("reshard: no balance within {PATIENCE:?}").into());
            }
            if begun.elapsed() > RESHARD / 2 && !killed {
                self.kill();
                killed = true;
            }
            let view = self.store.inner().list(&self.group, Listing::All).await?;
            let now = Instant::now();
            let has_worker = |row: &LeaseRow| {
                row.owner.as_ref().is_some_and(|owner| self.workers.contains_key(&owner.name))
            };
            let without = view.leases.iter().filter(|row| !row.position.is_shard_end() && !has_worker(row));
            // A child waits for its parent.
            let ended = |shard: &ShardId| {
                view.leases.iter().any(|row| row.key.shard == *shard && row.position.is_shard_end())
            };
            let without = without.filter(|row| row.parents.iter().all(ended));
            let before = std::mem::take(&mut since);
            for row in without {
                let first = before.get(&row.key).copied().unwrap_or(now);
                worst = worst.max(now - first + TICK);
                since.insert(row.key.clone(), first);
            }
            let children = view.leases.iter().filter(|row| !row.parents.is_empty()).count();
            if killed && children == splits * 2 && since.is_empty() && self.state().await?.1 {
                break begun.elapsed();
            }
        };
        let counts = self.store.snapshot() - &counts;
        let moves = counts.of(StoreOperation::Acquire) + counts.of(StoreOperation::HandOver);
        let load = self.store.take_load();
        Ok(ConsumerPhase { name: "reshard with a death", owned: worst, balanced, moves, counts, load })
    }

    async fn quiet(&mut self) -> Result<ConsumerPhase, SimError> {
        // The last looks after the last moves.
        sleep(Duration::from_secs(60)).await;
        let counts = self.store.snapshot();
        self.store.take_load();
        sleep(self.scale.quiet).await;
        let counts = self.store.snapshot() - &counts;
        let moves = counts.of(StoreOperation::Acquire) + counts.of(StoreOperation::HandOver);
        let (owned, load) = (Duration::ZERO, self.store.take_load());
        Ok(ConsumerPhase { name: "quiet", owned, balanced: owned, moves, counts, load })
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
        let running = spawn(work(store, group, name.clone(), seed, wait, self.reshard.subscribe()));
        self.workers.insert(name, (gate, running));
        Ok(())
    }

    /// Whether live workers hold every lease, and whether they do so evenly with nothing on its way.
    async fn state(&self) -> Result<(bool, bool), SimError> {
        // Not through the counting store: this is the observer's own listing.
        let view = self.store.inner().list(&self.group, Listing::All).await?;
        let mut loads: BTreeMap<&WorkerName, usize> = self.workers.keys().map(|name| (name, 0)).collect();
        let mut resting = true;
        for row in view.leases.iter().filter(|row| !row.position.is_shard_end()) {
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
    reshard: watch::Receiver<Option<Reshard>>,
) -> Result<(), JoinError> {
    sleep(wait).await;
    let mut config = MemberConfig::default();
    config.process = None;
    let clock = WallClock::from_fn(|| 0);
    let attempts = JoinAttempts::new(seed);
    let (_member, mut events) = Member::join(Arc::new(store), group, name, config, clock, &attempts).await?;
    let mut leases = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(MemberEvent::Granted(lease)) => drop(leases.spawn(hold(lease, reshard.clone()))),
                Some(_) => {}
                None => return Ok(()),
            },
            Some(_) = leases.join_next() => {}
        }
    }
}

async fn hold(lease: Lease, mut reshard: watch::Receiver<Option<Reshard>>) {
    tokio::select! {
        biased;
        _ = lease.lost() => {}
        () = lease.yield_requested() => {
            // What could not be handed over is granted again.
            let _ = lease.hand_over(None, CheckpointMetadata::default()).await;
        }
        shard = end(lease.key(), &mut reshard) => {
            // What could not be ended is granted again.
            let children = children(&lease, shard);
            let _ = lease.finish(children).await;
        }
    }
}

/// Waits until the shard is split. Its number.
async fn end(key: &LeaseKey, reshard: &mut watch::Receiver<Option<Reshard>>) -> usize {
    let shard = key.shard.as_str().rsplit('-').next().and_then(|digits| digits.parse::<usize>().ok());
    let known = reshard.wait_for(Option::is_some).await.ok().and_then(|reshard| *reshard);
    let splits = shard.filter(|shard| *shard < CHILDREN).zip(known);
    match splits.and_then(|(shard, reshard)| Some((shard, reshard.end_of(shard)?))) {
        Some((shard, at)) => {
            sleep_until(at).await;
            shard
        }
        None => std::future::pending().await,
    }
}

fn children(lease: &Lease, shard: usize) -> Vec<LeaseRow> {
    let child = |n: usize| {
        let id = ShardId::new(format!("shardId-{:012}", CHILDREN + shard * 2 + n)).ok()?;
        let key = LeaseKey::new(lease.key().stream.clone(), id);
        Some(LeaseRow::new(key, Position::TrimHorizon).with_parents(vec![lease.key().shard.clone()]))
    };
    (0..2).filter_map(child).collect()
}
