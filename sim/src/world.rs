//! A fleet on its streams, and what can be done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::Error;
use rokini_lease::{
    CountingStore, Counts, GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, Listing, ShardId, WorkerState,
};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::spawn;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::gate::Where;
use crate::stream::{Manners, ShardFault, SimStream};
use crate::witness::Witness;
use crate::worker::{Hire, SimWorker, Site};
use crate::{Cause, Check, Court, Violation};

mod operator;

pub use operator::Order;

const SECOND: Duration = Duration::from_secs(1);
/// Everything put must have reached a handler this long after the last disturbance.
const PATIENCE: Duration = Duration::from_secs(120);
/// The fleet must be at rest this long after that: fences, the last moves, and the rows of the dead. Those fall to a
/// worker by the hash of its own wall clock, so with clocks minutes apart some intervals have nobody.
const REST: Duration = Duration::from_secs(300);
/// The default failover time of consumers, in milliseconds.
pub const FAILOVER_MILLIS: u64 = 10_000;

/// How long records may still wait when a trouble is over: the failover time, the look that finds what is free, back-offs.
const AFTERMATH_MILLIS: u64 = FAILOVER_MILLIS + 5_000;

/// What keeps a run from being one.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A stream and the group that consumes it.
#[derive(Debug)]
pub struct Lane {
    /// The stream.
    pub stream: SimStream,
    /// The group.
    pub group: GroupId,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
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
    pub court: Court,
    /// The one table of all groups.
    pub store: CountingStore<Witness>,
    /// The streams with their groups.
    pub lanes: Vec<Lane>,
    /// The workers that live.
    pub workers: BTreeMap<u32, SimWorker>,
    next_worker: u32,
    /// What goes on that may keep records waiting, and since when anything does.
    troubles: BTreeSet<String>,
    troubled_since: u64,
    died: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    gave_up: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    /// No more disturbances: who starts now meets none.
    healed: bool,
}

impl World {
    /// One stream of so many shards for each number, one group each, in one table. To be called on a runtime
    /// whose clock is paused.
    ///
    /// # Errors
    /// What the streams could not be made for.
    pub fn new(seed: u64, shards: &[i32], manners: Manners) -> Result<Self, Failure> {
        let lane = |(number, shards): (usize, &i32)| {
            let stream = SimStream::create(&format!("orders-{number}"), *shards, manners)?;
            Ok::<_, Failure>(Lane { stream, group: GroupId::new(format!("sim-{number}"))? })
        };
        let court = Court::new();
        Ok(Self {
            rng: StdRng::seed_from_u64(seed),
            store: CountingStore::new(Witness::new(court.clone())),
            court,
            lanes: shards.iter().enumerate().map(lane).collect::<Result<_, _>>()?,
            workers: BTreeMap::new(),
            next_worker: 0,
            troubles: BTreeSet::new(),
            troubled_since: 0,
            died: mpsc::unbounded_channel(),
            gave_up: mpsc::unbounded_channel(),
            healed: false,
        })
    }

    /// Time passes. Workers whose time has come die in it, and those that gave up at their start are started again, as a
    /// supervisor does.
    pub async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                Some(number) = self.died.1.recv() => self.bury(number, "dies in a call"),
                Some(number) = self.gave_up.1.recv() => self.start_again(number).await,
                () = sleep_until(until) => return,
            }
        }
    }

    /// Puts one record under a key.
    pub fn put(&mut self, lane: usize, key: &str) {
        let (now, key) = (self.court.now(), format!("{lane}/{key}"));
        let number = self.court.ledger(|ledger| ledger.put(&key, now));
        if let Err(error) = self.lanes[lane].stream.put(&key, format!("{key}/{number}")) {
            self.court.violate(Check::Delivered, format!("a put failed: {error}"));
        }
    }

    /// Puts so many records under so many keys of each stream.
    pub fn put_some(&mut self, records: u32, keys: u32) {
        for lane in 0..self.lanes.len() {
            for _ in 0..records {
                let key = format!("k{}", self.rng.random_range(0..keys));
                self.put(lane, &key);
            }
        }
    }

    /// A worker joins.
    ///
    /// # Errors
    /// What its consumer could not be built for.
    pub async fn join(&mut self, hire: &Hire) -> Result<u32, Error> {
        let number = self.next_worker;
        self.next_worker += 1;
        let lane = &self.lanes[hire.stream];
        let site = Site {
            court: &self.court,
            stream: &lane.stream,
            group: &lane.group,
            store: &self.store,
            died: &self.died.0,
            gave_up: &self.gave_up.0,
        };
        let worker = SimWorker::start(number, hire, site, &mut self.rng).await?;
        self.court.note(&format!("{} joins group {}", worker.name, hire.stream));
        self.workers.insert(number, worker);
        self.look_for_readers();
        Ok(number)
    }

    async fn start_again(&mut self, number: u32) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.court.note(&format!("{} gave up", worker.name));
        if !self.court.was_cut_off(number) {
            self.court.violate(Check::Running, format!("{} gave up without need", worker.name));
        }
        worker.kill();
        self.court.gone(number);
        self.assess(number);
        self.look_for_readers();
        let mut hire = Hire { name: Some(worker.name), ..worker.hire };
        if self.healed {
            hire.faults = 0.0;
        }
        if let Err(error) = self.join(&hire).await {
            self.court.violate(Check::Running, format!("w{number} cannot start again: {error}"));
        }
    }

    /// How many workers there have been.
    #[must_use]
    pub fn hired(&self) -> u32 {
        self.next_worker
    }

    /// A worker stops in order, while the others go on.
    pub fn leave(&mut self, number: u32) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.court.note(&format!("{} leaves", worker.name));
        self.look_for_readers();
        self.assess(number);
        let court = self.court.clone();
        spawn(async move {
            let report = worker.handle.shutdown(30 * SECOND).await;
            if !report.is_clean() {
                court.excuse(Cause::Stop, number, None);
            }
            // Its run returns with the report, or hangs on to nothing.
            let _ = timeout(SECOND, worker.running).await;
            // The process is over, whatever it was waiting for.
            worker.gate.kill();
            court.gone(number);
            court.note(&format!("{} left, clean: {}", worker.name, report.is_clean()));
        });
    }

    /// A worker's process is killed.
    pub fn kill(&mut self, number: u32) {
        self.bury(number, "is killed");
    }

    fn bury(&mut self, number: u32, how: &str) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.court.note(&format!("{} {how}", worker.name));
        worker.kill();
        self.court.gone(number);
        self.court.excuse(Cause::Crash, number, None);
        self.assess(number);
        self.explain(AFTERMATH_MILLIS);
        self.look_for_readers();
    }

    /// A worker dies in its next call but so many, wherever that is made.
    pub fn die_in(&mut self, number: u32, calls: u32, at: Where) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.court.note(&format!("{} is to die {at:?} its {calls}th call", worker.name));
        worker.gate.die_in(calls, at);
    }

    /// A worker's process stands still, and later goes on.
    pub fn freeze(&mut self, number: u32, on: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.court.note(&format!("{} {}", worker.name, if on { "freezes" } else { "thaws" }));
        worker.gate.freeze(on);
        self.assess(number);
    }

    /// A worker cannot reach the store, or the stream, or both; or it can again.
    pub fn cut(&mut self, number: u32, store: bool, stream: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.court.note(&format!("{} is cut off: store {store}, stream {stream}", worker.name));
        worker.cut(Some(store), Some(stream));
        self.assess(number);
    }

    /// A worker that is cut off may be declared dead, until that has had the time to show.
    fn assess(&mut self, number: u32) {
        let (was, name) = (&self.troubles, format!("w{number}"));
        let on = self.workers.get(&number).is_some_and(SimWorker::is_cut_off);
        if on {
            self.court.cut_off(number, u64::MAX / 2);
        } else if was.contains(&name) {
            // The others' watch, the write, and the worker's next heartbeat.
            self.court.cut_off(number, 2 * FAILOVER_MILLIS);
        }
        self.trouble(&name, on);
    }

    /// A stream that nobody reads keeps its records waiting.
    fn look_for_readers(&mut self) {
        for lane in 0..self.lanes.len() {
            let unread = !self.workers.values().any(|worker| worker.stream == lane);
            self.trouble(&format!("nobody reads {lane}"), unread);
        }
    }

    /// Something that keeps records waiting begins or ends.
    pub fn trouble(&mut self, what: &str, on: bool) {
        let was = !self.troubles.is_empty();
        if on {
            self.troubles.insert(what.to_owned());
        } else {
            self.troubles.remove(what);
        }
        match (was, self.troubles.is_empty()) {
            (false, false) => self.troubled_since = self.court.now(),
            (true, true) => {
                let until = self.court.now() + AFTERMATH_MILLIS;
                self.court.ledger(|ledger| ledger.explain(self.troubled_since, until));
            }
            _ => {}
        }
    }

    /// Nobody reaches the store, or everybody can again.
    pub fn outage(&mut self, on: bool) {
        self.court.note(if on { "the store is out" } else { "the store is back" });
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.cut(Some(on), None);
            }
            self.assess(number);
        }
    }

    /// The reads of a shard go wrong from now on, for every worker, or go well again.
    pub fn disturb(&mut self, lane: usize, shard: &ShardId, fault: Option<ShardFault>) {
        self.court.note(&format!("reads of {lane}:{shard}: {fault:?}"));
        self.lanes[lane].stream.disturb(shard, fault);
        self.trouble(&format!("{lane}:{shard}"), fault.is_some());
    }

    /// Records may wait from now on for so long.
    pub fn explain(&self, millis: u64) {
        let now = self.court.now();
        self.court.ledger(|ledger| ledger.explain(now, now + millis));
    }

    /// Every worker reaches store and stream again. Single calls still go wrong.
    pub fn heal_links(&mut self) {
        self.court.note("links heal");
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.cut(Some(false), Some(false));
                worker.gate.freeze(false);
            }
            self.assess(number);
        }
    }

    /// Ends every disturbance.
    pub fn heal(&mut self) {
        self.healed = true;
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            if let Some(worker) = self.workers.get(&number) {
                worker.heal();
            }
            self.assess(number);
        }
        self.lanes.iter().for_each(|lane| lane.stream.heal());
        for trouble in self.troubles.clone() {
            self.trouble(&trouble, false);
        }
    }

    /// Waits until every record put has reached a handler; `false` when that takes longer.
    pub async fn complete(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.court.ledger(|ledger| ledger.is_complete()) {
            if Instant::now() >= deadline {
                return false;
            }
            self.pass(SECOND / 4).await;
        }
        self.court.note("complete");
        true
    }

    /// The rows of a group.
    pub async fn view(&self, lane: usize) -> GroupView {
        // The store of a run does not fail: faults are on the workers' ways to it.
        self.store.inner().list(&self.lanes[lane].group, Listing::All).await.unwrap_or_default()
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
            self.court.gone(worker.number);
            let how = match worker.running.await {
                Ok(Ok(())) => "without being told".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.court.violate(Check::Running, format!("{} ended: {how}", worker.name));
        }
    }

    /// What is wrong with the rows of a fleet that is at rest.
    async fn unrest(&self) -> Vec<(Check, String)> {
        let mut wrong = Vec::new();
        for lane in 0..self.lanes.len() {
            let view = self.view(lane).await;
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
            let live = self.workers.values().filter(|worker| worker.stream == lane).count();
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
            let open = self.lanes[lane].stream.open_shards().unwrap_or_default();
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
            self.pass(2 * SECOND).await;
            let now = self.leases().await;
            let wrong = self.unrest().await;
            let changed: Vec<&LeaseRow> =
                now.iter().filter(|(key, row)| before.get(key) != Some(row)).map(|(_, row)| row).collect();
            still = if changed.is_empty() && wrong.is_empty() { still + 1 } else { 0 };
            if still == 0 && Instant::now() >= deadline {
                for (check, what) in wrong {
                    self.court.violate(check, what);
                }
                self.court.violate(Check::Still, format!("no rest within {within:?}, changed: {changed:?}"));
                return;
            }
            before = now;
        }
        self.court.note("at rest");
        let counts = self.counts();
        // Longer than the interval of reconciliation (33 s), and now and then of the audit (66 s).
        let watch = if self.rng.random_bool(0.2) { 70 } else { 36 };
        self.pass(watch * SECOND).await;
        for (check, what) in self.unrest().await {
            self.court.violate(check, what);
        }
        if self.leases().await != before {
            self.court.violate(Check::Still, "leases moved or changed at rest");
        }
        let refused = self.counts().refused() - counts.refused();
        if refused > 0 {
            self.court.violate(Check::Unrefused, format!("{refused} conditions failed at rest"));
        }
    }

    async fn leases(&self) -> BTreeMap<(usize, LeaseKey), LeaseRow> {
        let mut all = BTreeMap::new();
        for lane in 0..self.lanes.len() {
            all.extend(self.view(lane).await.leases.into_iter().map(|row| ((lane, row.key.clone()), row)));
        }
        all
    }

    /// Everything a run is judged by: completes it, watches it rest, stops it. `bound` is the longest unexplained wait
    /// of a record.
    pub async fn judge(&mut self, bound: Duration) -> Verdict {
        let complete = self.complete(PATIENCE).await;
        self.check_that_all_run().await;
        if complete {
            self.check_rest(REST).await;
        }
        self.check_end().await;
        let ledger = self.court.ledger(std::mem::take);
        let (records, longest_wait, digest) = (ledger.records(), ledger.longest_wait(), ledger.digest());
        let (causes, violations) = ledger.verdict(bound.as_millis() as u64);
        Verdict { records, longest_wait, causes, violations, digest }
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
            self.court.violate(Check::Tidy, format!("{} tasks stay behind", alive()));
        }
        for lane in 0..self.lanes.len() {
            for row in self.view(lane).await.workers {
                self.court
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
