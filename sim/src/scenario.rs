//! One seed, one run: a fleet on streams that reshard, with faults for a while and then without.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_history::Cause;
use rokini_local::EndOfShard;

use crate::check::Violation;
use crate::faults::{FaultKind, FaultProfile, Limits};
use crate::gated_store::StoreBug;
use crate::operator::OperatorCommand;
use crate::process_gate::CrashPoint;
use crate::stream::link::ReaderBug;
use crate::stream::model::{ShardFault, StreamProfile};
use crate::worker::{HandlerProfile, WorkerSpec};
use crate::world::{FAILOVER_MILLIS, SimError, Summary, World};

const SECOND: Duration = Duration::from_secs(1);
/// The longest unexplained wait of a record where nothing gets lost.
const ORDERLY_BOUND: Duration = Duration::from_secs(15);
/// With faults a second worker may crash, or leave before its notifications arrive, while the first one's shards move.
const FAULTY_BOUND: Duration = Duration::from_millis(2 * FAILOVER_MILLIS + 5_000);

/// A broken variant of a run: a check must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Every worker's store has this defect.
    Store(StoreBug),
    /// Every worker's reader has this defect.
    Reader(ReaderBug),
    /// Some workers take others for dead far too early.
    ShortFailover,
    /// Two workers have one name.
    SharedNames,
    /// Something is left running at the end.
    LeakedTask,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Which faults it had.
    pub profile: FaultProfile,
    /// Its workers at the start.
    pub first_workers: u32,
    /// Its steps.
    pub steps: u32,
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
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// These faults instead of the seed's own.
    pub profile: Option<FaultProfile>,
    /// A broken variant.
    pub mutant: Option<Mutant>,
    /// What it is made smaller by.
    pub limits: Limits,
}

impl Run {
    /// Runs one seed to its end on a runtime and a clock of its own.
    ///
    /// # Errors
    /// What kept the runtime or the fleet from starting.
    pub fn seed(&self, seed: u64) -> Result<Report, SimError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async { Scenario::new(seed, self)?.run().await })
    }
}

/// Runs one seed as it is.
///
/// # Errors
/// What kept the runtime or the fleet from starting.
pub fn run(seed: u64) -> Result<Report, SimError> {
    Run::default().seed(seed)
}

struct Scenario {
    seed: u64,
    profile: FaultProfile,
    mutant: Option<Mutant>,
    limits: Limits,
    world: World,
    keys: u32,
    most_workers: usize,
}

impl Scenario {
    fn new(seed: u64, run: &Run) -> Result<Self, SimError> {
        // What a run is like comes from a world's own randomness, which needs the number of streams.
        let mut first = StdRng::seed_from_u64(seed);
        let profile = match first.random_range(0..100) {
            0..25 => FaultProfile::Orderly,
            25..97 => FaultProfile::Faulty,
            _ => FaultProfile::Churn,
        };
        let groups = if first.random_bool(0.2) { 2 } else { 1 };
        let shards: Vec<i32> = (0..groups).map(|_| first.random_range(1..=6)).collect();
        let stream = StreamProfile {
            status_change: Duration::from_millis(if first.random_bool(0.3) { 1_500 } else { 0 }),
            end_of_shard: if first.random_bool(0.5) {
                EndOfShard::WithLastRecords
            } else {
                EndOfShard::AfterLastRecords
            },
        };
        let profile = run.profile.unwrap_or(profile);
        Ok(Self {
            seed,
            profile,
            mutant: run.mutant,
            limits: run.limits.clone(),
            keys: first.random_range(1..=40),
            most_workers: if profile == FaultProfile::Churn { 30 } else { 8 },
            world: World::new(first.random(), &shards, stream)?,
        })
    }

    async fn run(mut self) -> Result<Report, SimError> {
        let first = if self.profile == FaultProfile::Churn { 8..20 } else { 1..5_u32 };
        let first = self.world.rng.random_range(first);
        let first = self.limits.workers.map_or(first, |most| first.min(most));
        for _ in 0..first {
            self.join().await?;
        }
        let steps = if self.profile == FaultProfile::Churn { 60..150 } else { 5..40_u32 };
        let steps = self.world.rng.random_range(steps);
        let steps = self.limits.steps.map_or(steps, |most| steps.min(most));
        let pause = if self.profile == FaultProfile::Churn { 50..1_000 } else { 50..4_000 };
        for _ in 0..steps {
            let (records, keys) = (self.world.rng.random_range(0..60), self.keys);
            self.world.put_random(records, keys);
            self.step().await?;
            let pause = self.world.rng.random_range(pause.clone());
            self.world.run_for(Duration::from_millis(pause)).await;
        }
        self.end_faults().await?;
        let world = &mut self.world;
        world.put_random(20, self.keys);
        if self.mutant == Some(Mutant::LeakedTask) {
            tokio::task::spawn(std::future::pending::<()>());
        }
        let bound = if self.profile == FaultProfile::Orderly { ORDERLY_BOUND } else { FAULTY_BOUND };
        let Summary { records: put, longest_wait, causes, violations, digest } = world.check_all(bound).await;
        world.recorder.note(&format!("put {put}, repeated {causes:?}"));
        Ok(Report {
            seed: self.seed,
            profile: self.profile,
            first_workers: first,
            steps,
            put,
            workers: world.started(),
            causes,
            longest_wait,
            violations,
            digest,
            log: world.recorder.log(),
        })
    }

    async fn join(&mut self) -> Result<(), SimError> {
        let faulty = self.profile != FaultProfile::Orderly;
        let rng = &mut self.world.rng;
        let mut spec = WorkerSpec {
            stream: rng.random_range(0..self.world.groups.len()),
            // Wall clocks up to ten minutes apart.
            skew: Duration::from_millis(rng.random_range(0..600_000)),
            faults: if faulty { rng.random_range(0.0..0.05) } else { 0.0 },
            handlers: HandlerProfile { fails: if faulty { 0.02 } else { 0.0 }, ..HandlerProfile::default() },
            unique_names: rng.random_bool(0.3),
            ..WorkerSpec::default()
        };
        if self.limits.without.contains(&FaultKind::CallFaults) {
            spec.faults = 0.0;
        }
        if self.limits.without.contains(&FaultKind::HandlerFailures) {
            spec.handlers.fails = 0.0;
        }
        match self.mutant {
            Some(Mutant::Store(bug)) => spec.store_bug = Some(bug),
            Some(Mutant::Reader(bug)) => spec.reader_bug = Some(bug),
            Some(Mutant::ShortFailover) if self.world.started().is_multiple_of(2) => {
                spec.failover = Some(SECOND * 6 / 5);
            }
            Some(Mutant::SharedNames) => spec.name = Some(format!("n{}", self.world.started() / 2)),
            _ => {}
        }
        self.world.join(&spec).await?;
        Ok(())
    }

    fn pick(&mut self) -> Option<u32> {
        let nth = self.world.rng.random_range(0..self.world.workers.len().max(1));
        self.world.workers.keys().nth(nth).copied()
    }

    async fn step(&mut self) -> Result<(), SimError> {
        match self.profile {
            FaultProfile::Orderly => self.step_once(6).await,
            FaultProfile::Faulty => self.step_once(17).await,
            FaultProfile::Churn => {
                for _ in 0..self.world.rng.random_range(0..4) {
                    let without = |kind| self.limits.without.contains(&kind);
                    let (joins, kills) = (!without(FaultKind::Joins), !without(FaultKind::Kills));
                    let (leaves, crashes) = (!without(FaultKind::Leaves), !without(FaultKind::Crashes));
                    if joins && self.world.workers.len() < self.most_workers {
                        self.join().await?;
                    }
                    let how = self.world.rng.random_range(0..6);
                    match (how, self.pick()) {
                        (0, Some(number)) if kills => self.world.kill(number),
                        (1, Some(number)) if leaves => self.world.leave(number),
                        (2, Some(number)) if crashes => {
                            let calls = self.world.rng.random_range(0..60);
                            self.world.crash_in(number, calls, CrashPoint::AfterEffect);
                        }
                        _ => {}
                    }
                }
                self.step_once(17).await
            }
        }
    }

    async fn step_once(&mut self, choices: u32) -> Result<(), SimError> {
        let number = self.world.rng.random_range(0..choices);
        if FaultKind::of_step(number).is_some_and(|kind| self.limits.without.contains(&kind)) {
            return Ok(());
        }
        match number {
            0 | 1 if self.world.workers.len() < self.most_workers => {
                self.join().await?;
            }
            2 => {
                if let Some(number) = self.pick() {
                    self.world.leave(number);
                }
            }
            3 => self.split(),
            4 => self.merge(),
            5 => {
                self.operate(&[OperatorCommand::Pause, OperatorCommand::Resume, OperatorCommand::Resume])
                    .await;
            }
            13 => {
                if let Some(number) = self.pick() {
                    self.world.kill(number);
                }
            }
            14 => self.operate(&[OperatorCommand::Seek, OperatorCommand::Undo]).await,
            6 => self.cut(true),
            7 => self.cut(false),
            8 => self.world.outage(true),
            9 => self.world.heal_links(),
            10 => {
                if let Some(number) = self.pick() {
                    let calls = self.world.rng.random_range(0..60);
                    let at = if self.world.rng.random_bool(0.5) {
                        CrashPoint::BeforeEffect
                    } else {
                        CrashPoint::AfterEffect
                    };
                    self.world.crash_in(number, calls, at);
                }
            }
            11 => {
                if let Some(number) = self.pick() {
                    let on = self.world.rng.random_bool(0.6);
                    self.world.freeze(number, on);
                }
            }
            12 => self.fault_a_shard(),
            _ => {}
        }
        Ok(())
    }

    async fn operate(&mut self, commands: &[OperatorCommand]) {
        let rng = &mut self.world.rng;
        let command = commands[rng.random_range(0..commands.len())];
        let group = rng.random_range(0..self.world.groups.len());
        let (whole, faults) = (rng.random_bool(0.3), rng.random_range(0.0..0.1));
        let faults = if self.profile == FaultProfile::Orderly { 0.0 } else { faults };
        self.world.operate(group, command, whole, faults).await;
    }

    fn cut(&mut self, store: bool) {
        let stream = self.world.rng.random_bool(0.5);
        if let Some(number) = self.pick() {
            self.world.cut(number, store, stream);
        }
    }

    fn fault_a_shard(&mut self) {
        let group = self.world.rng.random_range(0..self.world.groups.len());
        let Ok(shards) = self.world.groups[group].stream.shards() else { return };
        let shard = &shards[self.world.rng.random_range(0..shards.len())].id;
        let fault = match self.world.rng.random_range(0..5) {
            0 => Some(ShardFault::Fails),
            1 => Some(ShardFault::Throttled),
            2 => Some(ShardFault::Silent),
            _ => None,
        };
        self.world.set_shard_fault(group, shard, fault);
    }

    fn split(&mut self) {
        let group = self.world.rng.random_range(0..self.world.groups.len());
        let Ok(open) = self.world.groups[group].stream.open_shards() else { return };
        if open.len() >= 24 {
            return;
        }
        let (shard, range) = &open[self.world.rng.random_range(0..open.len())];
        // In the middle, or anywhere.
        let middle = range.start / 2 + range.end / 2 + 1;
        let even = self.world.rng.random_bool(0.7) || range.end - range.start < 3;
        let at = if even { middle } else { self.world.rng.random_range(range.start + 1..range.end) };
        let done = self.world.groups[group].stream.split(shard, at);
        self.world.recorder.note(&format!("split {group}:{shard}: {}", outcome(&done)));
    }

    fn merge(&mut self) {
        let group = self.world.rng.random_range(0..self.world.groups.len());
        let Ok(open) = self.world.groups[group].stream.open_shards() else { return };
        if open.len() < 2 {
            return;
        }
        let at = self.world.rng.random_range(0..open.len() - 1);
        let done = self.world.groups[group].stream.merge(&open[at].0, &open[at + 1].0);
        self.world.recorder.note(&format!(
            "merge {group}:{} and {}: {}",
            open[at].0,
            open[at + 1].0,
            outcome(&done)
        ));
    }

    /// Ends every fault, and gives each stream a worker that reads it.
    async fn end_faults(&mut self) -> Result<(), SimError> {
        self.world.recorder.note("faults end");
        self.world.heal();
        self.world.resume_all().await;
        for group in 0..self.world.groups.len() {
            if !self.world.workers.values().any(|worker| worker.stream == group) {
                self.world.join(&WorkerSpec { stream: group, ..WorkerSpec::default() }).await?;
            }
        }
        Ok(())
    }
}

fn outcome<E: std::fmt::Display>(done: &Result<(), E>) -> String {
    done.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string)
}
