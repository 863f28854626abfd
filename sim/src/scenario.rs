//! One run: carries out the steps, ends every fault, and holds what happened against the checks.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use rokini_history::Cause;

use crate::check::Violation;
use crate::faults::FaultProfile;
use crate::gated_store::{SHORT_FAILOVER, StoreBug};
use crate::process_gate::CrashPoint;
use crate::step::{Script, Step};
use crate::stream::link::ReaderBug;
use crate::worker::WorkerSpec;
use crate::world::{SimError, Summary, World};

const SECOND: Duration = Duration::from_secs(1);
/// The longest unexplained wait of a record where nothing gets lost.
const ORDERLY_BOUND: Duration = Duration::from_secs(15);
/// With faults calls fail one by one all the time, and handlers with them, so that back-offs add up.
const FAULTY_BOUND: Duration = Duration::from_secs(25);

/// A broken variant of a run: a check must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mutant {
    /// Readers drop a record now and then.
    DropsRecords,
    /// Readers swap two records of one key now and then.
    SwapsRecords,
    /// Readers bring a response twice now and then.
    RepeatsResponses,
    /// Readers hold a response back for 40 s now and then.
    DelaysResponses,
    /// Readers of shards that are quiet stop.
    FallsAsleep,
    /// Hand-overs leave the position out.
    DropsPositions,
    /// Children are inserted without their parents.
    DropsParents,
    /// Children are not inserted.
    DropsChildren,
    /// Some acquisitions and every claim are refused.
    RefusesSome,
    /// Each heartbeat is sent twice.
    RepeatsHeartbeats,
    /// Rows of workers are never removed.
    KeepsWorkers,
    /// Workers claim shards without need.
    ClaimsNeedlessly,
    /// Positions fall after they were stored.
    LowersPositions,
    /// A record of which a part is done is stored as done.
    RoundsPositions,
    /// An insert of a worker's row that failed is taken to have happened.
    AssumesJoined,
    /// A shard that is left to nobody is paused.
    PausesWhatItLeaves,
    /// What a handler gets is stored as done when the call begins.
    CheckpointsAtOnce,
    /// Positions are stored at hand-overs only.
    NeverCheckpoints,
    /// Some workers take others for dead far too early.
    ShortFailover,
    /// Two workers have one name.
    SharedNames,
    /// Operators force what is refused.
    HastyOperators,
    /// Something is left running at the end.
    LeakedTask,
}

impl Mutant {
    fn apply(self, worker: u32, spec: &mut WorkerSpec) {
        spec.store_bug = Some(match self {
            Self::DropsPositions => StoreBug::DropsPositions,
            Self::DropsParents => StoreBug::DropsParents,
            Self::DropsChildren => StoreBug::DropsChildren,
            Self::RefusesSome => StoreBug::RefusesSome,
            Self::RepeatsHeartbeats => StoreBug::RepeatsHeartbeats,
            Self::KeepsWorkers => StoreBug::KeepsWorkers,
            Self::ClaimsNeedlessly => StoreBug::ClaimsNeedlessly,
            Self::LowersPositions => StoreBug::LowersPositions,
            Self::RoundsPositions => StoreBug::RoundsPositions,
            Self::AssumesJoined => StoreBug::AssumesJoined,
            Self::PausesWhatItLeaves => StoreBug::PausesWhatItLeaves,
            other => return other.apply_elsewhere(worker, spec),
        });
    }

    fn apply_elsewhere(self, worker: u32, spec: &mut WorkerSpec) {
        match self {
            Self::DropsRecords => spec.reader_bug = Some(ReaderBug::DropsRecords),
            Self::SwapsRecords => spec.reader_bug = Some(ReaderBug::SwapsRecords),
            Self::RepeatsResponses => spec.reader_bug = Some(ReaderBug::RepeatsResponses),
            Self::DelaysResponses => spec.reader_bug = Some(ReaderBug::DelaysResponses(SECOND * 40)),
            Self::FallsAsleep => spec.reader_bug = Some(ReaderBug::FallsAsleep),
            Self::CheckpointsAtOnce => spec.handlers.checkpoints_at_once = true,
            Self::NeverCheckpoints => spec.checkpoint_interval = Some(SECOND * 3_600),
            Self::ShortFailover if worker.is_multiple_of(2) => {
                (spec.failover, spec.store_bug) = (Some(SHORT_FAILOVER), Some(StoreBug::ShortensFailover));
            }
            Self::SharedNames => spec.name = Some(format!("n{}", worker / 2)),
            _ => {}
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What it was.
    pub script: Script,
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

/// Runs seeds and scripts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// These faults instead of the seed's own.
    pub profile: Option<FaultProfile>,
    /// A broken variant.
    pub mutant: Option<Mutant>,
    /// Whether the log has every write of the table.
    pub traced: bool,
}

impl Run {
    /// Runs one seed.
    ///
    /// # Errors
    /// What kept the runtime or the fleet from starting.
    pub fn seed(&self, seed: u64) -> Result<Report, SimError> {
        self.script(Script::draw(seed, self.profile))
    }

    /// Runs a script to its end on a runtime and a clock of its own.
    ///
    /// # Errors
    /// What kept the runtime or the fleet from starting.
    pub fn script(&self, script: Script) -> Result<Report, SimError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let mut world = World::traced(script.seed, &script.shards, script.stream, self.traced)?;
            world.hasty_operators = self.mutant == Some(Mutant::HastyOperators);
            Scenario { mutant: self.mutant, world }.run(script).await
        })
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
    mutant: Option<Mutant>,
    world: World,
}

impl Scenario {
    async fn run(mut self, script: Script) -> Result<Report, SimError> {
        // Numbers that no step has are for workers that are started again.
        self.world.reserve(script.steps.len() as u32);
        for step in &script.steps {
            self.carry_out(step).await?;
        }
        self.end_faults().await?;
        let world = &mut self.world;
        world.put_random(20, 20);
        if self.mutant == Some(Mutant::LeakedTask) {
            tokio::task::spawn(std::future::pending::<()>());
        }
        let bound = if script.profile == FaultProfile::Orderly { ORDERLY_BOUND } else { FAULTY_BOUND };
        let Summary { records: put, longest_wait, causes, violations, digest } = world.check_all(bound).await;
        world.recorder.note(&format!("put {put}, repeated {causes:?}"));
        let (workers, log) = (world.started(), world.recorder.log());
        Ok(Report { script, put, workers, causes, longest_wait, violations, digest, log })
    }

    async fn join(&mut self, worker: u32, spec: &WorkerSpec) -> Result<(), SimError> {
        let mut spec = spec.clone();
        if let Some(mutant) = self.mutant {
            mutant.apply(worker, &mut spec);
        }
        self.world.join_as(worker, &spec).await?;
        Ok(())
    }

    async fn carry_out(&mut self, step: &Step) -> Result<(), SimError> {
        let world = &mut self.world;
        match step {
            Step::Wait(millis) => world.run_for(Duration::from_millis(*millis)).await,
            Step::Put { stream, records, keys, seed, packed } => {
                world.put_many(*stream, *records, *keys, *seed, *packed);
            }
            Step::Join { worker, spec } => self.join(*worker, spec).await?,
            Step::Leave { worker } => world.leave(*worker),
            Step::Kill { worker } => world.kill(*worker),
            Step::Crash { worker, calls, after_effect } => {
                let at = if *after_effect { CrashPoint::AfterEffect } else { CrashPoint::BeforeEffect };
                world.crash_in(*worker, *calls, at);
            }
            Step::Freeze { worker, on } => world.freeze(*worker, *on),
            Step::Suspend { worker, millis } => world.jump_clocks(*worker, (*millis).into(), true),
            Step::ClockJump { worker, millis } => world.jump_clocks(*worker, *millis, false),
            Step::Table { worker, path, on } => world.fail_table(*worker, *path, *on),
            Step::Stream { worker, on } => world.fail_stream(*worker, *on),
            Step::Outage { on } => world.outage(*on),
            Step::Throttle { units } => world.throttle(*units),
            Step::HealLinks => world.heal_links(),
            Step::Shard { stream, nth, fault } => {
                let shards = world.groups[*stream].stream.shards()?;
                world.set_shard_fault(*stream, &shards[*nth as usize % shards.len()].id, *fault);
            }
            Step::Listing { stream, fault } => world.set_listing_fault(*stream, *fault),
            Step::Unreadable { stream, nth, worker, on } => {
                world.set_unreadable(*stream, *nth, *worker, *on).await;
            }
            Step::Split { stream, nth, at } => self.split(*stream, *nth, *at),
            Step::Merge { stream, nth } => self.merge(*stream, *nth),
            Step::Operate { stream, command, nth, faults, seed } => {
                world.operate(*stream, *command, *nth, *faults, *seed).await;
            }
        }
        Ok(())
    }

    fn split(&mut self, group: usize, nth: u32, at: u16) {
        let Ok(open) = self.world.groups[group].stream.open_shards() else { return };
        if open.len() >= 24 {
            return;
        }
        let (shard, range) = &open[nth as usize % open.len()];
        let at = range.start + (range.end - range.start) / 1_000 * u128::from(at) + 1;
        let done = self.world.groups[group].stream.split(shard, at.min(range.end));
        self.world.recorder.note(&format!("split {group}:{shard}: {}", outcome(&done)));
    }

    fn merge(&mut self, group: usize, nth: u32) {
        let Ok(open) = self.world.groups[group].stream.open_shards() else { return };
        if open.len() < 2 {
            return;
        }
        let at = nth as usize % (open.len() - 1);
        let done = self.world.groups[group].stream.merge(&open[at].0, &open[at + 1].0);
        let (one, other) = (&open[at].0, &open[at + 1].0);
        self.world.recorder.note(&format!("merge {group}:{one} and {other}: {}", outcome(&done)));
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
