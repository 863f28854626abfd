//! What is done in a run, step by step: drawn from a seed, kept in a file, made smaller.

use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_local::EndOfShard;
use serde::{Deserialize, Serialize};

use crate::faults::{FaultProfile, StorePath};
use crate::operator::OperatorCommand;
use crate::stream::model::{ListingFault, ShardFault, StreamProfile};
use crate::worker::{DeliveryMode, Readers, WorkerSpec};

/// One thing that is done. Workers are named by the number they joined under, shards by a number that is taken modulo
/// how many there are: a step means something whatever is left out before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields say it")]
pub enum Step {
    /// Nothing, for so many milliseconds.
    Wait(u64),
    /// So many records under so many keys, drawn from the seed; several of one shard are put in one, if they are packed.
    Put {
        stream: usize,
        records: u32,
        keys: u32,
        seed: u64,
        #[serde(default)]
        packed: bool,
    },
    /// A worker joins under this number.
    Join { worker: u32, spec: Box<WorkerSpec> },
    /// It stops in order.
    Leave { worker: u32 },
    /// Its process is killed.
    Kill { worker: u32 },
    /// It crashes in the call that comes after so many others, after the call took effect or before.
    Crash { worker: u32, calls: u32, after_effect: bool },
    /// It stands still, or goes on.
    Freeze { worker: u32, on: bool },
    /// Its clock that goes on in suspension says that its machine stood still for so many milliseconds.
    Suspend { worker: u32, millis: u32 },
    /// Its wall clock jumps by so many milliseconds.
    ClockJump { worker: u32, millis: i64 },
    /// A part of its way to the table fails, or works again.
    Table { worker: u32, path: StorePath, on: bool },
    /// It cannot reach the stream, or can again.
    Stream { worker: u32, on: bool },
    /// Nobody reaches the table, or everybody can again.
    Outage { on: bool },
    /// The table takes so few read units a second from now on; as many as it is asked for where there is none.
    Throttle { units: Option<u32> },
    /// Every way works again.
    HealLinks,
    /// The reads of a shard go wrong for every worker.
    Shard { stream: usize, nth: u32, fault: Option<ShardFault> },
    /// What the stream says about its shards goes wrong.
    Listing { stream: usize, fault: Option<ListingFault> },
    /// A row of the table cannot be read, or can again: the lease of a shard, or the row of a worker.
    Unreadable { stream: usize, nth: u32, worker: bool, on: bool },
    /// A shard is split at so many thousandths of its range.
    Split { stream: usize, nth: u32, at: u16 },
    /// A shard is merged with the next one.
    Merge { stream: usize, nth: u32 },
    /// An operator sends a command about one lease, or about the group. `faults` is the chance of each kind of fault
    /// in each of its calls.
    Operate { stream: usize, command: OperatorCommand, nth: Option<u32>, faults: f64, seed: u64 },
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// What it was drawn from; decides what the steps leave open.
    pub seed: u64,
    /// Which faults it has.
    pub profile: FaultProfile,
    /// The shards of each stream at the beginning.
    pub shards: Vec<i32>,
    /// What the streams are like.
    pub stream: StreamProfile,
    /// What is done.
    pub steps: Vec<Step>,
}

impl Script {
    /// The run that a seed stands for.
    #[must_use]
    pub fn draw(seed: u64, profile: Option<FaultProfile>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let drawn = FaultProfile::draw(&mut rng);
        let profile = profile.unwrap_or(drawn);
        let streams = if rng.random_bool(0.2) { 2 } else { 1 };
        let shards = (0..streams).map(|_| rng.random_range(1..=6)).collect();
        let stream = StreamProfile {
            status_change: Duration::from_millis(if rng.random_bool(0.3) { 1_500 } else { 0 }),
            end_of_shard: if rng.random_bool(0.5) {
                EndOfShard::WithLastRecords
            } else {
                EndOfShard::AfterLastRecords
            },
        };
        let keys = rng.random_range(1..=40);
        let mixed = profile != FaultProfile::Orderly && rng.random_bool(0.3);
        // By a generator of its own, so that a seed stays what it is.
        let packed = StdRng::seed_from_u64(!seed).random_bool(0.3);
        let mut draw = Draw {
            rng,
            profile,
            streams,
            keys,
            mixed,
            packed,
            alive: Vec::new(),
            next: 0,
            steps: Vec::new(),
        };
        draw.run();
        Self { seed, profile, shards, stream, steps: draw.steps }
    }

    /// As a file has it: a step on each line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let json = |value: &dyn erased::Json| value.json();
        let mut text = format!(
            "{{\"seed\":{},\"profile\":{},\"shards\":{},\"stream\":{},\"steps\":[\n",
            self.seed,
            json(&self.profile),
            json(&self.shards),
            json(&self.stream)
        );
        for (n, step) in self.steps.iter().enumerate() {
            let comma = if n + 1 == self.steps.len() { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}{comma}", json(step));
        }
        text + "]}\n"
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

mod erased {
    /// What can be written as JSON and always is.
    pub(super) trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}

/// Draws a run.
struct Draw {
    rng: StdRng,
    profile: FaultProfile,
    streams: usize,
    keys: u32,
    /// Workers differ in their settings.
    mixed: bool,
    /// Producers pack records.
    packed: bool,
    /// The workers that nothing ended so far: some of them may have crashed.
    alive: Vec<u32>,
    next: u32,
    steps: Vec<Step>,
}

impl Draw {
    fn run(&mut self) {
        let churn = self.profile == FaultProfile::Churn;
        let first = self.rng.random_range(if churn { 8..20 } else { 1..5 });
        (0..first).for_each(|_| self.join(None));
        let rounds = self.rng.random_range(if churn { 60..150 } else { 5..40 });
        for _ in 0..rounds {
            for stream in 0..self.streams {
                let (records, seed) = (self.rng.random_range(0..60), self.rng.random::<u64>());
                let packed = self.packed && seed % 2 == 0;
                self.steps.push(Step::Put { stream, records, keys: self.keys, seed, packed });
            }
            if churn {
                self.churn();
            }
            self.one();
            self.steps.push(Step::Wait(self.rng.random_range(if churn { 50..1_000 } else { 50..4_000 })));
        }
    }

    fn churn(&mut self) {
        for _ in 0..self.rng.random_range(0..4) {
            if self.alive.len() < 30 {
                self.join(None);
            }
            match self.rng.random_range(0..6) {
                0 => self.kill(),
                1 => self.leave(),
                2 => self.crash(),
                _ => {}
            }
        }
    }

    fn join(&mut self, name: Option<String>) {
        let faulty = self.profile != FaultProfile::Orderly;
        let rng = &mut self.rng;
        let mut spec = WorkerSpec {
            name,
            stream: rng.random_range(0..self.streams),
            skew: Duration::from_millis(rng.random_range(0..600_000)),
            faults: if faulty { rng.random_range(0.0..0.05) } else { 0.0 },
            unique_names: rng.random_bool(0.3),
            seed: rng.random(),
            delivery: if faulty { rng.random() } else { DeliveryMode::Batches },
            ..WorkerSpec::default()
        };
        spec.handlers.fails = if faulty { 0.02 } else { 0.0 };
        if self.profile == FaultProfile::Sdk {
            let all = Readers::OF_SDK;
            spec.readers = all[rng.random_range(0..all.len())];
        }
        if self.mixed {
            let seconds = [6, 10, 20][rng.random_range(0..3)];
            spec.failover = Some(Duration::from_secs(seconds));
        }
        spec.by_throughput = self.profile == FaultProfile::Mixed && rng.random_bool(0.3);
        let worker = self.next;
        self.next += 1;
        self.alive.push(worker);
        self.steps.push(Step::Join { worker, spec: Box::new(spec) });
    }

    fn pick(&mut self) -> Option<u32> {
        (!self.alive.is_empty()).then(|| self.alive[self.rng.random_range(0..self.alive.len())])
    }

    fn gone(&mut self) -> Option<u32> {
        let worker = self.pick()?;
        self.alive.retain(|one| *one != worker);
        Some(worker)
    }

    fn leave(&mut self) {
        let gone = self.gone().map(|worker| Step::Leave { worker });
        self.steps.extend(gone);
    }

    fn kill(&mut self) {
        let Some(worker) = self.gone() else { return };
        self.steps.push(Step::Kill { worker });
        // A supervisor starts it again under its name.
        if self.rng.random_bool(0.3) {
            self.steps.push(Step::Wait(self.rng.random_range(0..2_000)));
            self.join(Some(format!("w{worker}")));
        }
    }

    fn crash(&mut self) {
        let (calls, after_effect) = (self.rng.random_range(0..60), self.rng.random_bool(0.5));
        // By the dozen, nobody waits to see whether it did.
        let worker = if self.profile == FaultProfile::Churn { self.gone() } else { self.pick() };
        let step = worker.map(|worker| Step::Crash { worker, calls, after_effect });
        self.steps.extend(step);
    }

    /// One thing more, of those that the profile has.
    fn one(&mut self) {
        let choices = match self.profile {
            FaultProfile::Orderly => 6,
            _ => 24,
        };
        let stream = self.rng.random_range(0..self.streams);
        let nth = self.rng.random_range(0..1_000);
        match self.rng.random_range(0..choices) {
            0 | 1 if self.alive.len() < 8 => self.join(None),
            2 => self.leave(),
            3 => {
                let even = self.rng.random_bool(0.7);
                let at = if even { 500 } else { self.rng.random_range(1..1_000) };
                self.steps.push(Step::Split { stream, nth, at });
            }
            4 => self.steps.push(Step::Merge { stream, nth }),
            5 => self.operate(&[OperatorCommand::Pause, OperatorCommand::Resume, OperatorCommand::Resume]),
            6 => self.operate(&[OperatorCommand::Seek, OperatorCommand::Undo]),
            7 => self.operate(&[OperatorCommand::Retire, OperatorCommand::Delete]),
            8 | 9 => self.kill(),
            10 => self.crash(),
            11..=17 => self.trouble(),
            18 => self.steps.push(Step::Outage { on: true }),
            19 => self.steps.push(Step::HealLinks),
            20 => {
                let faults = [ShardFault::Fails, ShardFault::Throttled, ShardFault::Silent, ShardFault::Gone];
                let fault = faults.get(self.rng.random_range(0..7)).copied();
                self.steps.push(Step::Shard { stream, nth, fault });
            }
            21 => {
                let faults = [ListingFault::Late, ListingFault::InPart, ListingFault::NoChildren];
                let fault = faults.get(self.rng.random_range(0..5)).copied();
                self.steps.push(Step::Listing { stream, fault });
            }
            22 if self.profile == FaultProfile::Rows => {
                let (worker, on) = (self.rng.random_bool(0.3), self.rng.random_bool(0.6));
                self.steps.push(Step::Unreadable { stream, nth, worker, on });
            }
            // So many workers ask for more than that at their best.
            23 if self.profile != FaultProfile::Churn => {
                let units = self.rng.random_bool(0.5).then(|| self.rng.random_range(4..40));
                self.steps.push(Step::Throttle { units });
            }
            _ => {}
        }
    }

    /// Something that one worker suffers.
    fn trouble(&mut self) {
        let Some(worker) = self.pick() else { return };
        let on = self.rng.random_bool(0.6);
        let paths = StorePath::ALL;
        let path = paths[self.rng.random_range(0..paths.len())];
        let step = match self.rng.random_range(0..8) {
            0 => Step::Freeze { worker, on },
            1 => Step::Suspend { worker, millis: self.rng.random_range(0..60_000) },
            2 => Step::ClockJump { worker, millis: self.rng.random_range(-600_000..600_000) },
            3 => Step::Stream { worker, on },
            4 | 5 => Step::Table { worker, path: StorePath::Everything, on },
            _ => Step::Table { worker, path, on },
        };
        self.steps.push(step);
        if matches!(self.steps.last(), Some(Step::Table { .. })) && self.rng.random_bool(0.5) {
            self.steps.push(Step::Stream { worker, on });
        }
    }

    fn operate(&mut self, commands: &[OperatorCommand]) {
        let command = commands[self.rng.random_range(0..commands.len())];
        let stream = self.rng.random_range(0..self.streams);
        let whole = self.rng.random_bool(0.3) || command == OperatorCommand::Delete;
        let nth = (!whole).then(|| self.rng.random_range(0..1_000));
        let faults = self.rng.random_range(0.0..0.1);
        let faults = if self.profile == FaultProfile::Orderly { 0.0 } else { faults };
        self.steps.push(Step::Operate { stream, command, nth, faults, seed: self.rng.random() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_same_after_its_file() {
        for seed in 0..200 {
            let script = Script::draw(seed, None);
            assert_eq!(Script::from_text(&script.to_text()).ok().as_ref(), Some(&script));
            assert_eq!(Script::draw(seed, None), script);
        }
    }
}
