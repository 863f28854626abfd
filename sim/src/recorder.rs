//! What everybody in a run reports to: the history, the log, and which handler calls run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::{Handle, ShardContext, ShardState};
use rokini_history::{
    CallEnd, CallId, Delivery, ExtendedSequenceNumber, Findings, History, Observed, ObservedHold, Place,
    Process, Put,
};
use rokini_lease::{LeaseRow, Position, Progress, WorkerId};
use tokio::time::Instant;

use crate::check::{Check, Violation};
use crate::incidents::{Disturbance, Incidents};
use crate::shard_ref::{Millis, ShardRef};
use crate::stream::model::BEGINNING_MILLIS;

/// Shared by everybody in a run.
#[derive(Debug, Clone)]
pub struct Recorder {
    begun: Instant,
    /// Whether the log has every write of the table.
    traced: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    digest: Digest,
    log: String,
    /// What does not hold beside what the history finds.
    violations: Vec<Violation>,
    /// The calls that run, by shard.
    running: BTreeMap<ShardRef, Vec<Running>>,
    /// The workers that live, with the stream they read.
    live: BTreeMap<u32, (usize, Handle)>,
    /// Whose rows of workers are whose.
    incarnations: BTreeMap<WorkerId, u32>,
    incidents: Incidents,
    /// Whether the wall clock of a worker ever was another one.
    clocks_differ: bool,
}

#[derive(Debug)]
struct Running {
    call: CallId,
    worker: u32,
    epoch: u64,
    hold: ShardContext,
}

/// A hash over everything that happened, in its order: equal for equal runs.
#[derive(Debug)]
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, kind: u64, text: &str, numbers: &[u64]) {
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        for byte in kind.to_le_bytes().into_iter().chain(text.bytes()).chain(numbers) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Recorder {
    pub(crate) fn new(traced: bool) -> Self {
        Self { begun: Instant::now(), traced, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the beginning of the run.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.begun.elapsed().as_millis() as u64
    }

    /// Writes a line into the log.
    pub fn note(&self, what: &str) {
        let now = self.now();
        let mut state = self.state();
        state.digest.add(8, "", &[now]);
        // Writing to a String cannot fail.
        let _ = writeln!(state.log, "{now:>8} {what}");
    }

    /// Writes a line into the log of a traced run.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traced {
            let (now, what) = (self.now(), what());
            // Writing to a String cannot fail.
            let _ = writeln!(self.state().log, "{now:>8}     {what}");
        }
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.state().log.clone()
    }

    /// Looks into the history.
    pub fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.state().history)
    }

    /// What the history finds, everything that does not hold, and a hash over what happened. `bound` is the longest
    /// unexplained wait of a record.
    pub(crate) fn findings(&self, bound: Duration) -> (Findings, Vec<Violation>, u64) {
        let now = self.now();
        let mut state = self.state();
        let explained = state.incidents.explained(now);
        explained.excuses.into_iter().for_each(|excuse| state.history.excuse(excuse));
        explained.waits.iter().for_each(|(shard, from, to)| state.history.explain(Some(shard), *from, *to));
        let findings = state.history.findings();
        let found = findings.violations(bound, &|Process(worker)| format!("w{worker}"));
        let mut violations = std::mem::take(&mut state.violations);
        violations.extend(
            found.into_iter().map(|violation| Violation::new(violation.check.into(), violation.what)),
        );
        (findings, violations, state.digest.0)
    }

    /// Something does not hold.
    pub fn violate(&self, check: Check, what: impl Into<String>) {
        self.state().violations.push(Violation::new(check, what));
    }

    /// A record was put.
    pub(crate) fn put(&self, key: &str, number: u64, shard: &ShardRef, sequence: ExtendedSequenceNumber) {
        let now = self.now();
        let mut state = self.state();
        state.digest.add(1, key, &[now]);
        let at = Duration::from_millis(now);
        state.incidents.shard(shard);
        state.history.put(&Put { key: key.into(), number, shard: shard.name(), sequence, at });
    }

    pub(crate) fn started(&self, worker: u32, stream: usize, handle: Handle) {
        self.state().live.insert(worker, (stream, handle));
    }

    /// The worker is dead, or has left.
    pub(crate) fn ended(&self, worker: u32, killed: bool) {
        let now = self.now();
        let mut state = self.state();
        state.live.remove(&worker);
        state.incidents.process_ended(worker, killed, now);
    }

    /// Takes or looks up what was done to the fleet.
    pub(crate) fn incidents<T>(&self, take: impl FnOnce(&mut Incidents, Millis) -> T) -> T {
        let now = self.now();
        take(&mut self.state().incidents, now)
    }

    /// A worker has its own row under this id.
    pub(crate) fn joined(&self, id: &WorkerId, worker: u32) {
        self.state().incarnations.insert(id.clone(), worker);
    }

    /// The worker whose row this is, if its process lives.
    pub(crate) fn live_worker(&self, id: &WorkerId) -> Option<u32> {
        let state = self.state();
        state.incarnations.get(id).copied().filter(|worker| state.live.contains_key(worker))
    }

    /// Whether the process of a worker runs.
    pub(crate) fn is_live(&self, worker: u32) -> bool {
        self.state().live.contains_key(&worker)
    }

    /// The row of a worker cannot be read from now on, or can again.
    pub(crate) fn unreadable(&self, id: &WorkerId, on: bool) {
        let now = self.now();
        let mut state = self.state();
        if let Some(worker) = state.incarnations.get(id).copied() {
            state.incidents.trouble(worker, Disturbance::Unreadable, on, now);
        }
    }

    /// A shard came from others.
    pub(crate) fn child(&self, shard: &ShardRef, parents: impl Iterator<Item = ShardRef>) {
        let parents = parents.map(|parent| parent.name()).collect();
        self.state().history.child(&shard.name(), parents);
    }

    /// A lease is so in the table from now on. `sought`: an operator set its position.
    pub(crate) fn stored(&self, before: &LeaseRow, after: &LeaseRow, sought: bool) {
        let Some(shard) = ShardRef::of(&after.key) else { return };
        let (now, at) = (self.now(), Duration::from_millis(self.now()));
        let mut state = self.state();
        let number = |state: &State, row: &LeaseRow| Some(*state.incarnations.get(row.owner.as_ref()?)?);
        let owner = number(&state, after);
        state.incidents.owner(&shard, owner, now);
        if sought {
            state.digest.add(6, &shard.shard, &[shard.stream as u64, after.epoch.0, now]);
            state.incidents.sought(&shard, now);
            state.history.sought(&shard.name(), place(after.position), after.epoch.0, at);
        } else if after.position > before.position {
            let by = process(number(&state, before).unwrap_or(u32::MAX));
            let hold = ObservedHold { process: by, epoch: before.epoch.0, at, call: None };
            state.history.stored(&shard.name(), place(after.position), hold);
        }
    }

    /// A worker begins to hold a lease.
    pub(crate) fn held(&self, row: &LeaseRow) {
        let Some(shard) = ShardRef::of(&row.key) else { return };
        self.state().history.held(&shard.name(), place(row.position), row.epoch.0);
    }

    /// The wall clock of a worker is not that of the others from now on.
    pub(crate) fn clocks_differ(&self) {
        self.state().clocks_differ = true;
    }

    /// A lease that was deleted is in the table again. Epochs begin with the time, so they grow as long as clocks do.
    pub(crate) fn made_anew(&self, row: &LeaseRow, sought: bool) {
        if let Some(shard) = ShardRef::of(&row.key) {
            let mut state = self.state();
            if state.clocks_differ {
                state.history.made_anew(&shard.name());
            }
        }
        self.stored(row, row, sought);
    }

    /// A record was given up by the failure policy.
    pub(crate) fn given_up(&self, shard: &ShardRef, sequence: ExtendedSequenceNumber) {
        let at = Duration::from_millis(self.now());
        self.state().history.give_up(&shard.name(), sequence, at);
    }

    /// The worker was declared dead.
    pub(crate) fn fenced(&self, worker: u32) {
        let now = self.now();
        let mut state = self.state();
        if !state.incidents.may_be_fenced(worker, now) {
            let what = format!("w{worker} was declared dead at {now} though nothing had cut it off");
            state.violations.push(Violation::new(Check::Fences, what));
        }
    }

    /// A handler call begins: it ends when what is returned is dropped, or consumed by [`OpenCall::returns`].
    pub(crate) fn begin(&self, worker: u32, shard: ShardRef, epoch: u64, context: &ShardContext) -> OpenCall {
        let (now, name) = (self.now(), shard.name());
        let mut state = self.state();
        if state.history.is_new_epoch(&name, epoch) {
            state.check_no_other_holder(worker, &shard, epoch, now);
        }
        state.digest.add(2, &shard.shard, &[shard.stream as u64, worker.into(), epoch, now]);
        let call = state.history.begin(process(worker), &name, epoch, Duration::from_millis(now));
        let running = Running { call, worker, epoch, hold: context.clone() };
        state.running.entry(shard.clone()).or_default().push(running);
        state.check_one_caller(&shard, now);
        let hold = (process(worker), epoch);
        OpenCall { recorder: self.clone(), shard, name, hold, call, by_token: false, end: CallEnd::Dropped }
    }
}

/// A position as the history knows it.
fn place(position: Position) -> Place {
    match position {
        Position::TrimHorizon => Place::Beginning,
        Position::AtTimestamp(millis) => {
            Place::Before(Duration::from_millis(millis.saturating_sub(BEGINNING_MILLIS)))
        }
        Position::Sequence(number, Progress::Whole) => Place::After(ExtendedSequenceNumber::last(number)),
        Position::Sequence(number, Progress::Through(sub)) => {
            Place::After(ExtendedSequenceNumber::new(number, sub))
        }
        Position::Sequence(number, Progress::Nothing) => Place::At(number.into()),
        Position::ShardEnd => Place::End,
    }
}

/// A worker as the history knows it.
fn process(worker: u32) -> Process {
    Process(worker as usize)
}

impl State {
    fn is_valid(&self, worker: u32) -> bool {
        self.live.get(&worker).is_some_and(|(_, handle)| handle.status().valid)
    }

    /// Of the calls that run for one shard all but those of one hold are known not to count.
    fn check_one_caller(&mut self, shard: &ShardRef, now: Millis) {
        let Some(running) = self.running.get(shard).filter(|running| running.len() > 1) else { return };
        let valid: Vec<&Running> = running
            .iter()
            .filter(|running| running.hold.is_current() && self.is_valid(running.worker))
            .collect();
        for (n, one) in valid.iter().enumerate() {
            for other in &valid[n + 1..] {
                if (one.worker, one.epoch) != (other.worker, other.epoch) {
                    let what = format!(
                        "w{} (epoch {}) and w{} (epoch {}) both validly handle {shard} at {now}",
                        one.worker, one.epoch, other.worker, other.epoch
                    );
                    self.violations.push(Violation::new(Check::OneOwner, what));
                }
            }
        }
    }

    /// When a shard begins under a new epoch, nobody else believes to hold it.
    fn check_no_other_holder(&mut self, me: u32, shard: &ShardRef, epoch: u64, now: Millis) {
        for (worker, (stream, handle)) in &self.live {
            if *worker == me || *stream != shard.stream {
                continue;
            }
            let stopping = self.running.get(shard).is_some_and(|running| {
                running.iter().any(|call| call.worker == *worker && !call.hold.is_current())
            });
            let status = handle.status();
            let holds = status.valid
                && !stopping
                && status.shards.iter().any(|held| {
                    held.shard.as_str() == shard.shard
                        && !matches!(held.state, ShardState::Draining | ShardState::Ending)
                });
            if holds {
                let what =
                    format!("w{me} begins on {shard} under epoch {epoch} at {now}, w{worker} holds it too");
                self.violations.push(Violation::new(Check::OneOwner, what));
            }
        }
    }
}

/// A handler call that runs.
#[derive(Debug)]
pub(crate) struct OpenCall {
    recorder: Recorder,
    shard: ShardRef,
    name: Arc<str>,
    hold: (Process, u64),
    call: CallId,
    by_token: bool,
    end: CallEnd,
}

impl OpenCall {
    /// The call stands for a token.
    pub(crate) fn by_token(mut self) -> Self {
        self.by_token = true;
        self
    }

    /// A record reached the handler.
    pub(crate) fn delivered(&self, key: &str, number: u64, sequence: ExtendedSequenceNumber) {
        let now = self.recorder.now();
        let mut state = self.recorder.state();
        state.digest.add(4, key, &[self.call.index() as u64, number, now]);
        state.history.deliver(&Delivery {
            process: self.hold.0,
            epoch: self.hold.1,
            shard: Arc::clone(&self.name),
            key: key.into(),
            number,
            sequence,
            at: Duration::from_millis(now),
            observed: if self.by_token { Observed::ByToken(self.call) } else { Observed::InCall(self.call) },
        });
    }

    /// The call returns.
    pub(crate) fn returns(mut self, end: CallEnd) {
        self.end = end;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let now = self.recorder.now();
        let mut state = self.recorder.state();
        state.digest.add(3, "", &[self.call.index() as u64, self.end as u64]);
        state.history.end(self.call, self.end, Duration::from_millis(now));
        state.check_one_caller(&self.shard, now);
        if let Some(running) = state.running.get_mut(&self.shard) {
            running.retain(|running| running.call != self.call);
        }
    }
}
