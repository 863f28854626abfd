//! A fleet on its streams, and what can be done to it. `rest.rs` has what must hold in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{AggregateLimits, Aggregator, Error, StreamRecord, UserRecord};
use rokini_history::{Cause, ExtendedSequenceNumber};
use rokini_lease::{CountingStore, Counts, GroupId, GroupView, RowKey, ShardId};
use tokio::sync::mpsc;
use tokio::task::spawn;
use tokio::time::{Instant, sleep_until, timeout};

use crate::check::{Check, Violation};
use crate::checked_store::CheckedStore;
use crate::faults::StorePath;
use crate::incidents::{Disturbance, Incidents, Scope};
use crate::process_gate::CrashPoint;
use crate::recorder::Recorder;
use crate::shard_ref::ShardRef;
use crate::stream::model::{ListingFault, ShardFault, SimStream, StreamProfile};
use crate::worker::{SimWorker, Ways, WorkerContext, WorkerSpec};

const SECOND: Duration = Duration::from_secs(1);

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

/// Both ends of a channel.
type Channel<T> = (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>);

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Records put, without those of the checks.
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
    /// The ways of those that leave.
    leaving: Vec<Ways>,
    next_worker: u32,
    started: u32,
    /// A defect: operators force what is refused.
    pub(crate) hasty_operators: bool,
    crashed: Channel<u32>,
    /// Those that gave up, and whether by an error that may pass.
    gave_up: Channel<(u32, bool)>,
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
        Self::traced(seed, shards, profile, false)
    }

    /// As [`World::new`]; the log has every write of the table if it is traced.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn traced(seed: u64, shards: &[i32], profile: StreamProfile, traced: bool) -> Result<Self, SimError> {
        let group = |(number, shards): (usize, &i32)| {
            let stream = SimStream::create(&format!("orders-{number}"), *shards, profile)?;
            Ok::<_, SimError>(StreamGroup { stream, id: GroupId::new(format!("sim-{number}"))? })
        };
        let recorder = Recorder::new(traced);
        Ok(Self {
            rng: StdRng::seed_from_u64(seed),
            store: CountingStore::new(CheckedStore::new(recorder.clone())),
            recorder,
            groups: shards.iter().enumerate().map(group).collect::<Result<_, _>>()?,
            workers: BTreeMap::new(),
            leaving: Vec::new(),
            next_worker: 0,
            started: 0,
            hasty_operators: false,
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
                Some((number, may_pass)) = self.gave_up.1.recv() => {
                    self.start_again(number, may_pass).await;
                }
                () = sleep_until(until) => return,
            }
        }
    }

    /// Removes the workers that crashed in a call while something else was waited for.
    pub(crate) fn note_crashes(&mut self) {
        while let Ok(number) = self.crashed.1.try_recv() {
            self.on_crash(number, "crashes in a call");
        }
    }

    /// Puts one record under a key.
    pub fn put(&mut self, group: usize, key: &str) {
        self.put_at(group, key, None);
    }

    fn put_at(&mut self, group: usize, key: &str, hash: Option<u128>) {
        let key = format!("{group}/{key}");
        let number = self.recorder.history(|history| history.next_number(&key));
        match self.groups[group].stream.put(&key, format!("{key}/{number}").into_bytes(), hash) {
            Ok((shard, sequence)) => {
                self.recorder.put(&key, number, &ShardRef { stream: group, shard }, sequence.into());
            }
            Err(error) => self.recorder.violate(Check::Delivered, format!("a put failed: {error}")),
        }
    }

    /// Puts so many records under so many keys of each stream.
    pub fn put_random(&mut self, records: u32, keys: u32) {
        for group in 0..self.groups.len() {
            let seed = self.rng.random();
            self.put_many(group, records, keys, seed, false);
        }
    }

    /// Puts so many records under so many keys of one stream, several in one if they are packed.
    pub(crate) fn put_many(&mut self, group: usize, records: u32, keys: u32, seed: u64, packed: bool) {
        let mut rng = StdRng::seed_from_u64(seed);
        if packed {
            return self.put_packed(group, records, keys, &mut rng);
        }
        for _ in 0..records {
            let key = format!("k{}", rng.random_range(0..keys));
            self.put(group, &key);
        }
    }

    /// Puts user records as the Kinesis Producer Library does: those of one shard in aggregates.
    fn put_packed(&mut self, group: usize, records: u32, keys: u32, rng: &mut StdRng) {
        let mut limits = AggregateLimits::default();
        limits.records = rng.random_range(2..30);
        let mut aggregator = Aggregator::new(limits);
        aggregator.set_shards(&self.groups[group].stream.shards().unwrap_or_default());
        let mut numbers = BTreeMap::new();
        for _ in 0..records {
            let key = format!("{group}/k{}", rng.random_range(0..keys));
            let next = numbers
                .entry(key.clone())
                .or_insert_with(|| self.recorder.history(|history| history.next_number(&key)));
            let data = format!("{key}/{next}");
            *next += 1;
            let record = UserRecord::new(key, data);
            for full in aggregator.push(record, Instant::now()) {
                self.put_aggregate(group, &full);
            }
        }
        aggregator.flush().iter().for_each(|last| self.put_aggregate(group, last));
    }

    fn put_aggregate(&mut self, group: usize, record: &StreamRecord) {
        let put = self.groups[group].stream.put(&record.partition_key, record.data.to_vec(), None);
        let (shard, sequence) = match put {
            Ok(put) => put,
            Err(error) => return self.recorder.violate(Check::Delivered, format!("a put failed: {error}")),
        };
        let shard = ShardRef { stream: group, shard };
        for (sub, user) in (0..).zip(&record.user_records) {
            let number = self.recorder.history(|history| history.next_number(&user.partition_key));
            let place = ExtendedSequenceNumber::new(sequence, sub);
            self.recorder.put(&user.partition_key, number, &shard, place);
        }
    }

    /// Puts one record into every open shard.
    pub(crate) fn put_everywhere(&mut self, key: &str) {
        for group in 0..self.groups.len() {
            for (shard, range) in self.groups[group].stream.open_shards().unwrap_or_default() {
                self.put_at(group, &format!("{key}-{shard}"), Some(range.start));
            }
        }
    }

    /// A worker joins.
    ///
    /// # Errors
    /// What its consumer could not be built for.
    pub async fn join(&mut self, spec: &WorkerSpec) -> Result<u32, Error> {
        self.join_as(self.next_worker, spec).await
    }

    /// A worker joins under a number that none had before.
    pub(crate) async fn join_as(&mut self, number: u32, spec: &WorkerSpec) -> Result<u32, Error> {
        self.next_worker = self.next_worker.max(number + 1);
        self.started += 1;
        let group = &self.groups[spec.stream];
        let context = WorkerContext {
            recorder: &self.recorder,
            stream: &group.stream,
            group: &group.id,
            store: &self.store,
            crashed: &self.crashed.0,
            gave_up: &self.gave_up.0,
        };
        let worker = SimWorker::start(number, spec, context).await?;
        self.recorder.note(&format!("{} joins group {} as w{number}", worker.name, spec.stream));
        self.workers.insert(number, worker);
        Ok(number)
    }

    /// Numbers below this are not given to workers that are started again.
    pub(crate) fn reserve(&mut self, numbers: u32) {
        self.next_worker = self.next_worker.max(numbers);
    }

    /// What was done to it has to explain that a worker gave up; other ends are looked for by [`World::check_that_all_run`].
    async fn start_again(&mut self, number: u32, may_pass: bool) {
        let (cut_off, denied) = self
            .recorder
            .incidents(|incidents, _| (incidents.was_cut_off(number), incidents.was_denied(number)));
        if !may_pass && !denied {
            return;
        }
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} gave up", worker.name));
        if !cut_off {
            self.recorder.violate(Check::Running, format!("{} gave up without need", worker.name));
        }
        worker.kill();
        self.recorder.ended(number, false);
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
        self.started
    }

    /// A worker stops in order, while the others go on.
    pub fn leave(&mut self, number: u32) {
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} leaves", worker.name));
        let recorder = self.recorder.clone();
        self.leaving.push(worker.ways.clone());
        spawn(async move {
            let report = worker.handle.shutdown(30 * SECOND).await;
            // Its run returns with the report, or hangs on to nothing.
            let _ = timeout(SECOND, worker.running).await;
            // The process is over, whatever it was waiting for.
            worker.ways.gate.kill();
            recorder.ended(number, false);
            recorder.note(&format!("{} left, clean: {}", worker.name, report.is_clean()));
        });
    }

    /// A worker's process is killed.
    pub fn kill(&mut self, number: u32) {
        self.on_crash(number, "is killed");
    }

    fn on_crash(&mut self, number: u32, how: &str) {
        // One that leaves may crash on its way.
        self.recorder.ended(number, true);
        let Some(worker) = self.workers.remove(&number) else { return };
        self.recorder.note(&format!("{} {how}", worker.name));
        worker.kill();
    }

    /// A worker crashes in the call that comes after so many others, to the store or to the stream.
    pub fn crash_in(&mut self, number: u32, calls: u32, at: CrashPoint) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.recorder.note(&format!("{} is to crash after {calls} more calls, {at:?}", worker.name));
        worker.ways.gate.crash_in(calls, at);
    }

    fn trouble(&self, number: u32, trouble: Disturbance, on: bool) {
        self.recorder.note(&format!("w{number} {trouble:?}: {on}"));
        self.recorder.incidents(|incidents, now| incidents.trouble(number, trouble, on, now));
    }

    /// A worker's process stands still, and later goes on.
    pub fn freeze(&mut self, number: u32, on: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        worker.ways.gate.freeze(on);
        self.trouble(number, Disturbance::Frozen, on);
    }

    /// A part of a worker's way to the table fails, or works again.
    pub fn fail_table(&mut self, number: u32, path: StorePath, on: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        worker.ways.fail_table(path, on);
        self.trouble(number, Disturbance::Table(path), on);
    }

    /// A worker cannot reach the stream, or can again.
    pub fn fail_stream(&mut self, number: u32, on: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        worker.ways.link.black_hole(on);
        self.trouble(number, Disturbance::Stream, on);
    }

    /// A worker's wall clock jumps, and with it the clock that goes on in suspension if that is what happened.
    pub fn jump_clocks(&mut self, number: u32, millis: i64, suspended: bool) {
        let Some(worker) = self.workers.get(&number) else { return };
        self.recorder
            .note(&format!("w{number}: the wall clock jumps by {millis} ms, suspended: {suspended}"));
        self.recorder.clocks_differ();
        worker.clocks.jump(millis, suspended);
    }

    /// Something that keeps all records waiting begins or ends.
    pub fn disruption(&self, what: &str, on: bool) {
        self.recorder.incidents(|incidents, now| incidents.holds_up(what, Scope::All, on, now));
    }

    /// Nobody reaches the store, or everybody can again.
    pub fn outage(&mut self, on: bool) {
        self.recorder.note(if on { "the store is out" } else { "the store is back" });
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.fail_table(number, StorePath::Everything, on);
        }
    }

    /// The reads of a shard go wrong from now on, for every worker, or go well again.
    pub fn set_shard_fault(&mut self, group: usize, shard: &ShardId, fault: Option<ShardFault>) {
        self.recorder.note(&format!("reads of {group}:{shard}: {fault:?}"));
        self.groups[group].stream.set_fault(shard, fault);
        let scope = Scope::Shard(ShardRef { stream: group, shard: shard.to_string() });
        let name = format!("{group}:{shard}");
        self.recorder.incidents(|incidents, now| incidents.holds_up(&name, scope, fault.is_some(), now));
    }

    /// What the stream says about its shards goes wrong from now on, or is right again.
    pub fn set_listing_fault(&mut self, group: usize, fault: Option<ListingFault>) {
        self.recorder.note(&format!("listings of {group}: {fault:?}"));
        self.groups[group].stream.set_listing_fault(fault);
        let name = format!("listings of {group}");
        self.recorder.incidents(|incidents, now| {
            incidents.holds_up(&name, Scope::Stream(group), fault.is_some(), now);
        });
    }

    /// A row cannot be read by anybody from now on, or all of them can again.
    pub(crate) async fn set_unreadable(&mut self, group: usize, nth: u32, worker: bool, on: bool) {
        let id = self.groups[group].id.clone();
        if !on {
            let unreadable = self.store.inner().unreadable().clone();
            let of_group = unreadable.into_iter().filter(|(group, _)| *group == id);
            of_group.for_each(|(_, key)| self.set_row_unreadable(&id, &key, false));
            return;
        }
        let view = self.view(group).await;
        let keys: Vec<RowKey> = if worker {
            view.workers.iter().map(|row| RowKey::Worker(row.id.clone())).collect()
        } else {
            view.leases.iter().map(|row| RowKey::Lease(row.key.clone())).collect()
        };
        if let Some(key) = keys.get(nth as usize % keys.len().max(1)) {
            self.set_row_unreadable(&id, key, true);
        }
    }

    fn set_row_unreadable(&self, group: &GroupId, key: &RowKey, on: bool) {
        self.recorder.note(&format!("{key} cannot be read: {on}"));
        self.store.inner().set_unreadable(group, key, on);
        match key {
            RowKey::Worker(id) => self.recorder.unreadable(id, on),
            RowKey::Lease(key) => {
                let Some(shard) = ShardRef::of(key) else { return };
                let name = format!("row of {shard}");
                self.recorder
                    .incidents(|incidents, now| incidents.holds_up(&name, Scope::Shard(shard), on, now));
            }
            _ => {}
        }
    }

    /// The table takes so few read units a second from now on.
    pub fn throttle(&mut self, units: Option<u32>) {
        self.recorder.note(&format!("the table takes {units:?} read units a second"));
        self.store.inner().throttle(units);
    }

    /// Every worker reaches store and stream again, and goes on. Single calls still go wrong.
    pub fn heal_links(&mut self) {
        self.recorder.note("links heal");
        self.all_ways().for_each(Ways::heal_links);
        self.recorder.incidents(Incidents::all_relieved);
    }

    fn all_ways(&self) -> impl Iterator<Item = &Ways> {
        self.workers.values().map(|worker| &worker.ways).chain(&self.leaving)
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        self.healed = true;
        self.all_ways().for_each(Ways::heal);
        self.store.inner().heal();
        self.groups.iter().for_each(|group| group.stream.heal());
        self.recorder.incidents(Incidents::healed);
    }

    /// Waits until every record put is done; `false` when that takes longer.
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
        self.store.inner().rows(&self.groups[group].id).await
    }

    /// What the store was asked for so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.store.snapshot()
    }
}
