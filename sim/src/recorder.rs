//! What everybody in a run reports to: the history, the log, and which handler calls run.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::{Handle, ShardContext, ShardState};
use rokini_history::{CallEnd, CallId, Cause, Delivery, Excuse, Findings, History, Observed, Process, Put};
use rokini_lease::SequenceNumber;
use tokio::time::Instant;

use crate::check::{Check, Violation};

/// Milliseconds since the beginning of the run.
pub(crate) type Millis = u64;

/// A shard of one of the streams of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardRef {
    /// Which stream.
    pub stream: usize,
    /// Which shard of it.
    pub shard: String,
}

impl fmt::Display for ShardRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.shard.trim_start_matches("shardId-0000000"))
    }
}

impl ShardRef {
    /// What the history calls it.
    fn name(&self) -> Arc<str> {
        self.to_string().into()
    }
}

/// Shared by everybody in a run.
#[derive(Debug, Clone)]
pub struct Recorder {
    begun: Instant,
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
    /// Until when each worker may be declared dead.
    cut_off: BTreeMap<u32, Millis>,
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
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), state: Arc::default() }
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
        let mut state = self.state();
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
    pub(crate) fn put(&self, key: &str, number: u64, shard: &ShardRef, sequence: SequenceNumber) {
        let now = self.now();
        let mut state = self.state();
        state.digest.add(1, key, &[now]);
        let at = Duration::from_millis(now);
        state.history.put(&Put { key: key.into(), number, shard: shard.name(), sequence, at });
    }

    pub(crate) fn started(&self, worker: u32, stream: usize, handle: Handle) {
        self.state().live.insert(worker, (stream, handle));
    }

    /// The worker is dead, or has left.
    pub(crate) fn ended(&self, worker: u32) {
        self.state().live.remove(&worker);
    }

    /// What a worker's handlers saw before now may come again; of one shard, or of all.
    pub(crate) fn excuse(&self, cause: Cause, worker: u32, shard: Option<ShardRef>) {
        let now = self.now();
        self.state().excuse(cause, worker, shard, now);
    }

    /// An operator moved a shard's position, some time between these.
    pub(crate) fn seek(&self, shard: &ShardRef, from: Millis, to: Millis) {
        let mut state = self.state();
        state.digest.add(6, &shard.shard, &[shard.stream as u64, from, to]);
        let (from, to) = (Duration::from_millis(from), Duration::from_millis(to));
        let (cause, shard) = (Cause::Seek, Some(shard.name()));
        state.history.excuse(Excuse { cause, process: None, shard, from, to });
    }

    /// Records may wait in this time.
    pub(crate) fn explain(&self, from: Millis, to: Millis) {
        let mut state = self.state();
        state.digest.add(7, "", &[from, to]);
        state.history.explain(Duration::from_millis(from), Duration::from_millis(to));
    }

    /// The worker may be declared dead for so long.
    pub(crate) fn cut_off(&self, worker: u32, millis: Millis) {
        let until = self.now() + millis;
        self.state().cut_off.insert(worker, until);
    }

    /// Whether the worker ever was cut off.
    pub(crate) fn was_cut_off(&self, worker: u32) -> bool {
        self.state().cut_off.contains_key(&worker)
    }

    /// The worker was declared dead.
    pub(crate) fn fenced(&self, worker: u32) {
        let now = self.now();
        let mut state = self.state();
        if state.cut_off.get(&worker).is_none_or(|until| now > *until) {
            let what = format!("w{worker} was declared dead at {now} though nothing had cut it off");
            state.violations.push(Violation::new(Check::Fences, what));
        }
        state.excuse(Cause::Fence, worker, None, now);
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
        OpenCall { recorder: self.clone(), shard, name, hold, call, end: CallEnd::Dropped }
    }
}

/// A worker as the history knows it.
fn process(worker: u32) -> Process {
    Process(worker as usize)
}

impl State {
    fn excuse(&mut self, cause: Cause, worker: u32, shard: Option<ShardRef>, now: Millis) {
        let (stream, id) = shard.as_ref().map_or((u64::MAX, ""), |s| (s.stream as u64, s.shard.as_str()));
        self.digest.add(5, id, &[cause as u64, worker.into(), stream, now]);
        let (process, shard) = (Some(process(worker)), shard.map(|shard| shard.name()));
        let (from, to) = (Duration::ZERO, Duration::from_millis(now));
        self.history.excuse(Excuse { cause, process, shard, from, to });
    }

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
    end: CallEnd,
}

impl OpenCall {
    /// A record reached the handler.
    pub(crate) fn delivered(&self, key: &str, number: u64, sequence: SequenceNumber) {
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
            observed: Observed::InCall(self.call),
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
        state.history.end(self.call, self.end);
        state.check_one_caller(&self.shard, now);
        if let Some(running) = state.running.get_mut(&self.shard) {
            running.retain(|running| running.call != self.call);
        }
    }
}
