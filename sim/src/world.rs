//! A fleet on its streams, and what can be done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::Error;
use rokini_history::Cause;
use rokini_lease::{
    CountingStore, Counts, GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, Listing, ShardId, WorkerState,
};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::spawn;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::check::{Check, Violation};
use crate::checked_store::CheckedStore;
use crate::process_gate::CrashPoint;
use crate::recorder::{Recorder, ShardRef};
use crate::stream::model::{ShardFault, SimStream, StreamProfile};
use crate::worker::{SimWorker, WorkerContext, WorkerSpec};

const SECOND: Duration = Duration::from_secs(1);
/// Everything put must have reached a handler this long after the last fault.
const PATIENCE: Duration = Duration::from_secs(120);
/// The fleet must be at rest this long after that: fences, the last moves, and the rows of the dead. Those fall to a
/// worker by the hash of its own wall clock, so with clocks minutes apart some intervals have nobody.
const REST: Duration = Duration::from_secs(300);
/// The default failover time of consumers, in milliseconds.
pub const FAILOVER_MILLIS: u64 = 10_000;

/// How long records may still wait after a disruption: the failover time, the listing that finds free leases, back-offs.
const RECOVERY_MILLIS: u64 = FAILOVER_MILLIS + 5_000;

/// What keeps a run from being one.
pub type SimError = Box<dyn std::error::Error + Send + Sync>;

/// A stream and the group that consumes it.
#[derive(Debug)]
pub struct StreamGroup {
    /// The stream.
    pub stream: SimStream,
    /// The group.
    pub id: GroupId,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Records put.
    pub records: u64,
    /// The longest unexplained wait of a record, in milliseconds.
    pub longest_wait: u64,
    /// Records that came again, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// A hash over everything that happened: equal for equal runs.
    pub digest: u64,
}

/// Everything there is in a run.
#[derive(Debug)]
pub struct World {
    /// Decides everything left to chance.
    pub rng: StdRng,
    /// What everybody reports to.
    pub recorder: Recorder,
    /// The one table of all groups.
    pub store: CountingStore<CheckedStore>,
    /// The streams with their groups.
    pub groups: Vec<StreamGroup>,
    /// The workers that live.
    pub workers: BTreeMap<u32, SimWorker>,
    next_worker: u32,
    /// What goes on that may keep records waiting, and since when anything does.
    disruptions: BTreeSet<String>,
    disrupted_since: u64,
    crashed: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    gave_up: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    /// There are no faults any more: workers that start now meet none.
    healed: bool,
}

impl World {
    /// One stream of so many shards for each number, one group each, in one table. To be called on a runtime
    /// whose clock is paused.
    ///
    /// # Errors
    /// What the streams could not be made for.
    pub fn new(seed: u64, shards: &[i32], profile: StreamProfile) -> Result<Self, SimError> {
        let group = |(number, shards): (usize, &i32)| {
            let stream = SimStream::create(&format!("orders-{number}"), *shards, profile)?;
            Ok::<_, SimError>(StreamGroup { stream, id: GroupId::new(format!("sim-{number}"))? })
        };
        let recorder = Recorder::new();
        Ok(Self {
            rng: StdRng::seed_from_u64(seed),
            store: CountingStore::new(CheckedStore::new(recorder.clone())),
            recorder,
            groups: shards.iter().enumerate().map(group).collect::<Result<_, _>>()?,
            workers: BTreeMap::new(),
            next_worker: 0,
            disruptions: BTreeSet::new(),
            disrupted_since: 0,
            crashed: mpsc::unbounded_channel(),
            gave_up: mpsc::unbounded_channel(),
            healed: false,
        })
    }

    /// Time passes. Workers that crash in a call are removed, and those that gave up at their start are started again, as a
    /// supervisor does.
    pub async fn run_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                Some(number) = self.crashed.1.recv() => self.on_crash(number, "crashes in a call"),
                Some(number) = self.gave_up.1.recv() => self.start_again(number).await,
                () = sleep_until(until) => return,
            }
        }
    }

    /// Puts one record under a key.
    pub fn put(&mut self, group: usize, key: &str) {
        let key = format!("{group}/{key}");
        let number = self.recorder.history(|history| history.next_number(&key));
        match self.groups[group].stream.put(&key, format!("{key}/{number}")) {
            Ok((shard, sequence)) => {
                self.recorder.put(&key, number, &ShardRef { stream: group, shard }, sequence);
            }
            Err(error) => self.recorder.violate(Check::Delivered, format!("a put failed: {error}")),
        }
    }

    /// Puts so many records under so many keys of each stream.
    pub fn put_random(&mut self, records: u32, keys: u32) {
        for group in 0..self.groups.len() {
            for _ in 0..records {
                let key = format!("k{}", self.rng.random_range(0..keys));
                self.put(group, &key);
            }
        }
    }

    /// A worker joins.
    ///
    /// # Errors
    /// What its consumer could not be built for.
    pub async fn join(&mut self, spec: &WorkerSpec) -> Result<u32, Error> {
        let number = self.next_worker;
        self.next_worker += 1;
        let group = &self.groups[spec.stream];
        let context = WorkerContext {
            recorder: &self.recorder,
            stream: &group.stream,
            group: &group.id,
            store: &self.store,
            crashed: &self.crashed.0,
            gave_up: &self.gave_up.0,
        };
        let worker = SimWorker::start(number, spec, context, &mut self.rng).await?;
        self.recorder.note(&format!("{} joins group {}", worker.name, spec.stream));
        self.workers.insert(number, worker);
        self.note_unread_groups();
        Ok(number)
    }

    async fn start_again(&mut self, number: u32) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} gave up", worker.name));
        if !self.recorder.was_cut_off(number) {
            self.recorder.violate(Check::Running, format!("{} gave up without need", worker.name));
        }
        worker.kill();
        self.recorder.ended(number);
        self.update_cut_off(number);
        self.note_unread_groups();
        let mut spec = WorkerSpec { name: Some(worker.name), ..worker.spec };
        if self.healed {
            spec.faults = 0.0;
        }
        if let Err(error) = self.join(&spec).await {
            self.recorder.violate(Check::Running, format!("w{number} cannot start again: {error}"));
        }
    }

    /// How many workers there have been.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.next_worker
    }

    /// A worker stops in order, while the others go on.
    pub fn leave(&mut self, number: u32) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} leaves", worker.name));
        self.note_unread_groups();
        self.update_cut_off(number);
        let recorder = self.recorder.clone();
        spawn(async move {
            let report = worker.handle.shutdown(30 * SECOND).await;
            if !report.is_clean() {
                recorder.excuse(Cause::Stop, number, None);
            }
            // Its run returns with the report, or hangs on to nothing.
            let _ = timeout(SECOND, worker.running).await;
            // The process is over, whatever it was waiting for.
            worker.gate.kill();
            recorder.ended(number);
            recorder.note(&format!("{} left, clean: {}", worker.name, report.is_clean()));
        });
    }

    /// A worker's process is killed.
    pub fn kill(&mut self, number: u32) {
        self.on_crash(number, "is killed");
    }

    fn on_crash(&mut self, number: u32, how: &str) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} {how}", worker.name));
        worker.kill();
        self.recorder.ended(number);
        self.recorder.excuse(Cause::Crash, number, None);
        self.update_cut_off(number);
        self.explain(RECOVERY_MILLIS);
        self.note_unread_groups();
    }

    /// A worker crashes in the call that comes after so many others, to the store or to the stream.
    pub fn crash_in(&mut self, number: u32, calls: u32, at: CrashPoint) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.recorder.note(&format!("{} is to crash after {calls} more calls, {at:?}", worker.name));
        worker.gate.crash_in(calls, at);
    }

    /// A worker's process stands still, and later goes on.
    pub fn freeze(&mut self, number: u32, on: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.recorder.note(&format!("{} {}", worker.name, if on { "freezes" } else { "thaws" }));
        worker.gate.freeze(on);
        self.update_cut_off(number);
    }

    /// A worker cannot reach the store, or the stream, or both; or it can again.
    pub fn cut(&mut self, number: u32, store: bool, stream: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.recorder.note(&format!("{} is cut off: store {store}, stream {stream}", worker.name));
        worker.cut(Some(store), Some(stream));
        self.update_cut_off(number);
    }

    /// While a worker is cut off, and for as long as that can take to show, it may be declared dead.
    fn update_cut_off(&mut self, number: u32) {
        let (before, name) = (&self.disruptions, format!("w{number}"));
        let on = self.workers.get(&number).is_some_and(SimWorker::is_cut_off);
        if on {
            self.recorder.cut_off(number, u64::MAX / 2);
        } else if before.contains(&name) {
            // The others' watch, the write, and the worker's next heartbeat.
            self.recorder.cut_off(number, 2 * FAILOVER_MILLIS);
        }
        self.disruption(&name, on);
    }

    /// A stream that nobody reads keeps its records waiting.
    fn note_unread_groups(&mut self) {
        for group in 0..self.groups.len() {
            let unread = !self.workers.values().any(|worker| worker.stream == group);
            self.disruption(&format!("nobody reads {group}"), unread);
        }
    }

    /// Something that keeps records waiting begins or ends.
    pub fn disruption(&mut self, what: &str, on: bool) {
        let was = !self.disruptions.is_empty();
        if on {
            self.disruptions.insert(what.to_owned());
        } else {
            self.disruptions.remove(what);
        }
        match (was, self.disruptions.is_empty()) {
            (false, false) => self.disrupted_since = self.recorder.now(),
            (true, true) => {
                let until = self.recorder.now() + RECOVERY_MILLIS;
                self.recorder.explain(self.disrupted_since, until);
            }
            _ => {}
        }
    }

    /// Nobody reaches the store, or everybody can again.
    pub fn outage(&mut self, on: bool) {
        self.recorder.note(if on { "the store is out" } else { "the store is back" });
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.cut(Some(on), None);
            }
            self.update_cut_off(number);
        }
    }

    /// The reads of a shard go wrong from now on, for every worker, or go well again.
    pub fn set_shard_fault(&mut self, group: usize, shard: &ShardId, fault: Option<ShardFault>) {
        self.recorder.note(&format!("reads of {group}:{shard}: {fault:?}"));
        self.groups[group].stream.set_fault(shard, fault);
        self.disruption(&format!("{group}:{shard}"), fault.is_some());
    }

    /// Records may wait from now on for so long.
    pub fn explain(&self, millis: u64) {
        let now = self.recorder.now();
        self.recorder.explain(now, now + millis);
    }

    /// Every worker reaches store and stream again. Single calls still go wrong.
    pub fn heal_links(&mut self) {
        self.recorder.note("links heal");
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.cut(Some(false), Some(false));
                worker.gate.freeze(false);
            }
            self.update_cut_off(number);
        }
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        self.healed = true;
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.heal();
            }
            self.update_cut_off(number);
        }
        self.groups.iter().for_each(|group| group.stream.heal());
        for disruption in self.disruptions.clone() {
            self.disruption(&disruption, false);
        }
    }

    /// Waits until every record put has reached a handler; `false` when that takes longer.
    pub async fn complete(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.recorder.history(|history| history.is_complete()) {
            if Instant::now() >= deadline {
                return false;
            }
            self.run_for(SECOND / 4).await;
        }
        self.recorder.note("complete");
        true
    }

    /// The rows of a group.
    pub async fn view(&self, group: usize) -> GroupView {
        // The store of a run does not fail: faults are on the workers' ways to it.
        self.store.inner().list(&self.groups[group].id, Listing::All).await.unwrap_or_default()
    }

    /// What the store was asked for so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.store.snapshot()
    }

    /// A consumer that was not stopped has not ended.
    pub async fn check_that_all_run(&mut self) {
        let ended: Vec<u32> =
            self.workers.iter().filter(|(_, w)| w.is_over()).map(|(number, _)| *number).collect();
        for worker in ended.iter().filter_map(|number| self.workers.remove(number)).collect::<Vec<_>>() {
            self.recorder.ended(worker.number);
            let how = match worker.running.await {
                Ok(Ok(())) => "without being stopped".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.recorder.violate(Check::Running, format!("{} ended: {how}", worker.name));
        }
    }

    /// What is wrong with the rows of a fleet that is at rest.
    async fn unsettled(&self) -> Vec<(Check, String)> {
        let mut wrong = Vec::new();
        for group in 0..self.groups.len() {
            let view = self.view(group).await;
            let mut loads: BTreeMap<_, usize> = BTreeMap::new();
            for row in &view.workers {
                match row.state {
                    WorkerState::Alive => drop(loads.insert(row.id.clone(), 0)),
                    _ => wrong.push((Check::Tidy, format!("the row of {} stays, {}", row.id, row.state))),
                }
                if !row.mailbox.is_empty() {
                    wrong.push((Check::Still, format!("{} has unread notes: {:?}", row.id, row.mailbox)));
                }
            }
            let live = self.workers.values().filter(|worker| worker.stream == group).count();
            if loads.len() != live {
                wrong.push((Check::Tidy, format!("{live} workers live, the table has {}", loads.len())));
            }
            if live == 0 {
                continue;
            }
            for lease in view.leases.iter().filter(|lease| is_active(lease, &view.leases)) {
                match lease.owner.as_ref().and_then(|owner| loads.get_mut(owner)) {
                    Some(load) => *load += 1,
                    None => wrong.push((Check::Owned, format!("nobody alive holds {lease:?}"))),
                }
                // A claim of the dead binds nobody and may stay.
                if lease.claim.as_ref().is_some_and(|id| loads.contains_key(id)) {
                    wrong.push((Check::Still, format!("a claim stands on {lease:?}")));
                }
            }
            let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
            if most > least.map(|least| least + 1) {
                wrong.push((Check::Even, format!("uneven: {loads:?}")));
            }
            let open = self.groups[group].stream.open_shards().unwrap_or_default();
            let leases: BTreeSet<&str> = view.leases.iter().map(|row| row.key.shard.as_str()).collect();
            for (shard, _) in open.iter().filter(|(shard, _)| !leases.contains(shard.as_str())) {
                wrong.push((Check::Covered, format!("{shard} has no lease")));
            }
        }
        wrong
    }

    /// Waits until the fleet is at rest, then watches that it stays so: nothing moves, no condition fails.
    pub async fn check_rest(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut before = self.leases().await;
        let mut still = 0;
        while still < 3 {
            self.run_for(2 * SECOND).await;
            let now = self.leases().await;
            let wrong = self.unsettled().await;
            let changed: Vec<&LeaseRow> =
                now.iter().filter(|(key, row)| before.get(key) != Some(row)).map(|(_, row)| row).collect();
            still = if changed.is_empty() && wrong.is_empty() { still + 1 } else { 0 };
            if still == 0 && Instant::now() >= deadline {
                for (check, what) in wrong {
                    self.recorder.violate(check, what);
                }
                self.recorder
                    .violate(Check::Still, format!("no rest within {within:?}, changed: {changed:?}"));
                return;
            }
            before = now;
        }
        self.recorder.note("at rest");
        let counts = self.counts();
        // Longer than the interval of reconciliation (33 s), and now and then of the audit (66 s).
        let watch = if self.rng.random_bool(0.2) { 70 } else { 36 };
        self.run_for(watch * SECOND).await;
        for (check, what) in self.unsettled().await {
            self.recorder.violate(check, what);
        }
        if self.leases().await != before {
            self.recorder.violate(Check::Still, "leases moved or changed at rest");
        }
        let refused = self.counts().refused() - counts.refused();
        if refused > 0 {
            self.recorder.violate(Check::NoConflicts, format!("{refused} conditions failed at rest"));
        }
    }

    async fn leases(&self) -> BTreeMap<(usize, LeaseKey), LeaseRow> {
        let mut all = BTreeMap::new();
        for group in 0..self.groups.len() {
            all.extend(self.view(group).await.leases.into_iter().map(|row| ((group, row.key.clone()), row)));
        }
        all
    }

    /// Every check of a run: completes it, watches it rest, stops it. `bound` is the longest unexplained wait
    /// of a record.
    pub async fn check_all(&mut self, bound: Duration) -> Summary {
        let complete = self.complete(PATIENCE).await;
        self.check_that_all_run().await;
        if complete {
            self.check_rest(REST).await;
        }
        self.check_end().await;
        let (findings, violations, digest) = self.recorder.findings(bound);
        let longest_wait = findings.longest_wait.as_millis() as u64;
        Summary { records: findings.put, longest_wait, causes: findings.causes, violations, digest }
    }

    /// Stops everybody, in order, and looks for what stays behind.
    pub async fn check_end(&mut self) {
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.leave(number));
        let alive = || runtime::Handle::current().metrics().num_alive_tasks();
        for _ in 0..60 {
            if alive() == 0 {
                break;
            }
            sleep(SECOND).await;
        }
        if alive() > 0 {
            self.recorder.violate(Check::Tidy, format!("{} tasks stay behind", alive()));
        }
        for group in 0..self.groups.len() {
            for row in self.view(group).await.workers {
                self.recorder
                    .violate(Check::Tidy, format!("the row of {} stays at the end: {}", row.id, row.state));
            }
        }
    }
}

/// Whether a lease is to be held by somebody: it has not ended, and its parents have.
fn is_active(lease: &LeaseRow, all: &[LeaseRow]) -> bool {
    let unfinished = |parent: &ShardId| {
        let of = |row: &&LeaseRow| row.key.stream == lease.key.stream && row.key.shard == *parent;
        all.iter().find(of).is_some_and(|row| !row.position.is_shard_end())
    };
    !lease.position.is_shard_end() && !lease.parents.iter().any(unfinished)
}
