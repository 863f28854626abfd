//! One seed, one run: a fleet on streams that reshard, disturbed for a while and then left in peace.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_local::EndOfShard;

use crate::gate::{Trick, Where};
use crate::stream::{Manners, Mischief, ShardFault};
use crate::worker::{Hire, Manner};
use crate::world::{FAILOVER_MILLIS, Failure, Order, Verdict, World};
use crate::{Cause, Violation};

const SECOND: Duration = Duration::from_secs(1);
/// The longest unexplained wait of a record where nothing gets lost.
const CALM_BOUND: Duration = Duration::from_secs(15);
/// In a storm a second worker may die, or leave with a note untold, while the first one's shards move.
const ROUGH_BOUND: Duration = Duration::from_millis(2 * FAILOVER_MILLIS + 5_000);

/// How rough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weather {
    /// Workers come and go in order; the streams reshard. Nothing may come twice.
    Calm,
    /// Also kills, freezes, partitions, outages, lost replies, stale listings, failing handlers and shards.
    Storm,
    /// A storm in which workers come and die by the dozen.
    Rush,
}

/// A broken variant of a run: the judge must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Every worker's store has this defect.
    Store(Trick),
    /// Every worker's reader has this defect.
    Reader(Mischief),
    /// Some workers take others for dead far too early.
    Hasty,
    /// Two workers have one name.
    Namesakes,
    /// Something is left running at the end.
    Leaves,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How rough it was.
    pub weather: Weather,
    /// Records put.
    pub put: u64,
    /// Workers over the run.
    pub workers: u32,
    /// Records that came again, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// The longest unexplained wait of a record, in milliseconds.
    pub longest_wait: u64,
    /// Broken promises; empty when all is well.
    pub violations: Vec<Violation>,
    /// A hash over what happened: times, records, workers, shards and causes. Equal for equal seeds.
    pub digest: u64,
    /// What happened, with virtual times: equal for equal seeds.
    pub log: String,
}

impl Report {
    /// Records that came again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.causes.values().sum()
    }
}

/// Runs seeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// This weather instead of the seed's own.
    pub weather: Option<Weather>,
    /// A broken variant.
    pub mutant: Option<Mutant>,
}

impl Run {
    /// Runs one seed to its end on a runtime and a clock of its own.
    ///
    /// # Errors
    /// What kept the runtime or the fleet from starting.
    pub fn seed(self, seed: u64) -> Result<Report, Failure> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async { Scenario::new(seed, self)?.play().await })
    }
}

/// Runs one seed as it is.
///
/// # Errors
/// What kept the runtime or the fleet from starting.
pub fn run(seed: u64) -> Result<Report, Failure> {
    Run::default().seed(seed)
}

struct Scenario {
    seed: u64,
    weather: Weather,
    mutant: Option<Mutant>,
    world: World,
    keys: u32,
    crowd: usize,
}

impl Scenario {
    fn new(seed: u64, run: Run) -> Result<Self, Failure> {
        // What a run is like comes from a world's own randomness, which needs the number of streams.
        let mut first = StdRng::seed_from_u64(seed);
        let weather = match first.random_range(0..100) {
            0..25 => Weather::Calm,
            25..97 => Weather::Storm,
            _ => Weather::Rush,
        };
        let lanes = if first.random_bool(0.2) { 2 } else { 1 };
        let shards: Vec<i32> = (0..lanes).map(|_| first.random_range(1..=6)).collect();
        let manners = Manners {
            status_change: Duration::from_millis(if first.random_bool(0.3) { 1_500 } else { 0 }),
            end_of_shard: if first.random_bool(0.5) {
                EndOfShard::WithLastRecords
            } else {
                EndOfShard::AfterLastRecords
            },
        };
        let weather = run.weather.unwrap_or(weather);
        Ok(Self {
            seed,
            weather,
            mutant: run.mutant,
            keys: first.random_range(1..=40),
            crowd: if weather == Weather::Rush { 30 } else { 8 },
            world: World::new(first.random(), &shards, manners)?,
        })
    }

    async fn play(mut self) -> Result<Report, Failure> {
        let first = if self.weather == Weather::Rush { 8..20 } else { 1..5 };
        for _ in 0..self.world.rng.random_range(first) {
            self.join().await?;
        }
        let steps = if self.weather == Weather::Rush { 60..150 } else { 5..40 };
        let steps = self.world.rng.random_range(steps);
        let pause = if self.weather == Weather::Rush { 50..1_000 } else { 50..4_000 };
        for _ in 0..steps {
            let (records, keys) = (self.world.rng.random_range(0..60), self.keys);
            self.world.put_some(records, keys);
            self.disturb().await?;
            let pause = self.world.rng.random_range(pause.clone());
            self.world.pass(Duration::from_millis(pause)).await;
        }
        self.make_peace().await?;
        let world = &mut self.world;
        world.put_some(20, self.keys);
        if self.mutant == Some(Mutant::Leaves) {
            tokio::task::spawn(std::future::pending::<()>());
        }
        let bound = if self.weather == Weather::Calm { CALM_BOUND } else { ROUGH_BOUND };
        let Verdict { records: put, longest_wait, causes, violations, digest } = world.judge(bound).await;
        world.court.note(&format!("put {put}, twice {causes:?}"));
        Ok(Report {
            seed: self.seed,
            weather: self.weather,
            put,
            workers: world.hired(),
            causes,
            longest_wait,
            violations,
            digest,
            log: world.court.log(),
        })
    }

    async fn join(&mut self) -> Result<(), Failure> {
        let rough = self.weather != Weather::Calm;
        let rng = &mut self.world.rng;
        let mut hire = Hire {
            stream: rng.random_range(0..self.world.lanes.len()),
            // Wall clocks up to ten minutes apart.
            skew: Duration::from_millis(rng.random_range(0..600_000)),
            faults: if rough { rng.random_range(0.0..0.05) } else { 0.0 },
            handlers: Manner { fails: if rough { 0.02 } else { 0.0 }, ..Manner::default() },
            unique_names: rng.random_bool(0.3),
            ..Hire::default()
        };
        match self.mutant {
            Some(Mutant::Store(trick)) => hire.trick = Some(trick),
            Some(Mutant::Reader(mischief)) => hire.mischief = Some(mischief),
            Some(Mutant::Hasty) if self.world.hired().is_multiple_of(2) => {
                hire.failover = Some(SECOND * 6 / 5);
            }
            Some(Mutant::Namesakes) => hire.name = Some(format!("n{}", self.world.hired() / 2)),
            _ => {}
        }
        self.world.join(&hire).await?;
        Ok(())
    }

    fn pick(&mut self) -> Option<u32> {
        let nth = self.world.rng.random_range(0..self.world.workers.len().max(1));
        self.world.workers.keys().nth(nth).copied()
    }

    async fn disturb(&mut self) -> Result<(), Failure> {
        match self.weather {
            Weather::Calm => self.disturb_once(6).await,
            Weather::Storm => self.disturb_once(17).await,
            Weather::Rush => {
                for _ in 0..self.world.rng.random_range(0..4) {
                    if self.world.workers.len() < self.crowd {
                        self.join().await?;
                    }
                    let how = self.world.rng.random_range(0..6);
                    match (how, self.pick()) {
                        (0, Some(number)) => self.world.kill(number),
                        (1, Some(number)) => self.world.leave(number),
                        (2, Some(number)) => {
                            let calls = self.world.rng.random_range(0..60);
                            self.world.die_in(number, calls, Where::After);
                        }
                        _ => {}
                    }
                }
                self.disturb_once(17).await
            }
        }
    }

    async fn disturb_once(&mut self, choices: u32) -> Result<(), Failure> {
        match self.world.rng.random_range(0..choices) {
            0 | 1 if self.world.workers.len() < self.crowd => {
                self.join().await?;
            }
            2 => {
                if let Some(number) = self.pick() {
                    self.world.leave(number);
                }
            }
            3 => self.split(),
            4 => self.merge(),
            5 => self.order(&[Order::Pause, Order::Resume, Order::Resume]).await,
            13 => {
                if let Some(number) = self.pick() {
                    self.world.kill(number);
                }
            }
            14 => self.order(&[Order::Seek, Order::Undo]).await,
            6 => self.cut(true),
            7 => self.cut(false),
            8 => self.world.outage(true),
            9 => self.world.heal_links(),
            10 => {
                if let Some(number) = self.pick() {
                    let calls = self.world.rng.random_range(0..60);
                    let at = if self.world.rng.random_bool(0.5) { Where::Before } else { Where::After };
                    self.world.die_in(number, calls, at);
                }
            }
            11 => {
                if let Some(number) = self.pick() {
                    let on = self.world.rng.random_bool(0.6);
                    self.world.freeze(number, on);
                }
            }
            12 => self.trouble_a_shard(),
            _ => {}
        }
        Ok(())
    }

    async fn order(&mut self, orders: &[Order]) {
        let rng = &mut self.world.rng;
        let order = orders[rng.random_range(0..orders.len())];
        let lane = rng.random_range(0..self.world.lanes.len());
        let (whole, faults) = (rng.random_bool(0.3), rng.random_range(0.0..0.1));
        let faults = if self.weather == Weather::Calm { 0.0 } else { faults };
        self.world.order(lane, order, whole, faults).await;
    }

    fn cut(&mut self, store: bool) {
        let stream = self.world.rng.random_bool(0.5);
        if let Some(number) = self.pick() {
            self.world.cut(number, store, stream);
        }
    }

    fn trouble_a_shard(&mut self) {
        let lane = self.world.rng.random_range(0..self.world.lanes.len());
        let Ok(shards) = self.world.lanes[lane].stream.shards() else { return };
        let shard = &shards[self.world.rng.random_range(0..shards.len())].id;
        let fault = match self.world.rng.random_range(0..5) {
            0 => Some(ShardFault::Fails),
            1 => Some(ShardFault::Throttled),
            2 => Some(ShardFault::Silent),
            _ => None,
        };
        self.world.disturb(lane, shard, fault);
    }

    fn split(&mut self) {
        let lane = self.world.rng.random_range(0..self.world.lanes.len());
        let Ok(open) = self.world.lanes[lane].stream.open_shards() else { return };
        if open.len() >= 24 {
            return;
        }
        let (shard, range) = &open[self.world.rng.random_range(0..open.len())];
        // In the middle, or anywhere.
        let middle = range.start / 2 + range.end / 2 + 1;
        let even = self.world.rng.random_bool(0.7) || range.end - range.start < 3;
        let at = if even { middle } else { self.world.rng.random_range(range.start + 1..range.end) };
        let done = self.world.lanes[lane].stream.split(shard, at);
        self.world.court.note(&format!("split {lane}:{shard}: {}", outcome(&done)));
    }

    fn merge(&mut self) {
        let lane = self.world.rng.random_range(0..self.world.lanes.len());
        let Ok(open) = self.world.lanes[lane].stream.open_shards() else { return };
        if open.len() < 2 {
            return;
        }
        let at = self.world.rng.random_range(0..open.len() - 1);
        let done = self.world.lanes[lane].stream.merge(&open[at].0, &open[at + 1].0);
        self.world.court.note(&format!(
            "merge {lane}:{} and {}: {}",
            open[at].0,
            open[at + 1].0,
            outcome(&done)
        ));
    }

    /// Nothing is disturbed any more, and each stream has somebody to read it.
    async fn make_peace(&mut self) -> Result<(), Failure> {
        self.world.court.note("peace");
        self.world.heal();
        self.world.resume_all().await;
        for lane in 0..self.world.lanes.len() {
            if !self.world.workers.values().any(|worker| worker.stream == lane) {
                self.world.join(&Hire { stream: lane, ..Hire::default() }).await?;
            }
        }
        Ok(())
    }
}

fn outcome<E: std::fmt::Display>(done: &Result<(), E>) -> String {
    done.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string)
}
