//! What everybody in a run reports to: the ledger, the log, and who is calling which handler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rokini::{Handle, ShardState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ledger::{CallEnd, CallId, Ledger, Millis, Place};
use crate::{Cause, Check};

/// Shared by everybody in a run.
#[derive(Debug, Clone)]
pub struct Court {
    begun: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    log: String,
    /// The calls that run, by shard.
    running: BTreeMap<Place, Vec<Running>>,
    /// The workers that live, with the stream they read.
    live: BTreeMap<u32, (usize, Handle)>,
    /// Until when each worker may be taken for dead.
    cut_off: BTreeMap<u32, Millis>,
}

#[derive(Debug)]
struct Running {
    call: CallId,
    worker: u32,
    epoch: u64,
    cancelled: CancellationToken,
}

impl Court {
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
        // Writing to a String cannot fail.
        let mut state = self.state();
        state.ledger.noted(now);
        let _ = writeln!(state.log, "{now:>8} {what}");
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.state().log.clone()
    }

    /// Looks into the accounts, or enters something.
    pub fn ledger<T>(&self, visit: impl FnOnce(&mut Ledger) -> T) -> T {
        visit(&mut self.state().ledger)
    }

    /// Something does not hold.
    pub fn violate(&self, check: Check, what: impl Into<String>) {
        self.ledger(|ledger| ledger.violate(check, what));
    }

    pub(crate) fn hired(&self, worker: u32, stream: usize, handle: Handle) {
        self.state().live.insert(worker, (stream, handle));
    }

    /// The worker is dead, or gone.
    pub(crate) fn gone(&self, worker: u32) {
        self.state().live.remove(&worker);
    }

    /// What a worker's handlers saw may come again.
    pub(crate) fn excuse(&self, cause: Cause, worker: u32, place: Option<Place>) {
        let now = self.now();
        self.ledger(|ledger| ledger.excuse(cause, worker, place, now));
    }

    /// The worker may be taken for dead for so long.
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
            state.ledger.violate(Check::Fences, what);
        }
        state.ledger.excuse(Cause::Fence, worker, None, now);
    }

    /// A handler call begins: it ends when what is returned is dropped, or told.
    pub(crate) fn begin(
        &self,
        worker: u32,
        place: Place,
        epoch: u64,
        cancelled: CancellationToken,
    ) -> OpenCall {
        let now = self.now();
        let mut state = self.state();
        if state.ledger.is_new_epoch(&place, epoch) {
            state.no_other_holder(worker, &place, epoch, now);
        }
        let call = state.ledger.begin(worker, &place, epoch, now);
        let running = Running { call, worker, epoch, cancelled };
        state.running.entry(place.clone()).or_default().push(running);
        state.one_caller(&place, now);
        OpenCall { court: self.clone(), place, call, end: CallEnd::Dropped }
    }
}

impl State {
    fn is_valid(&self, worker: u32) -> bool {
        self.live.get(&worker).is_some_and(|(_, handle)| handle.status().valid)
    }

    /// Of the calls that run for one shard all but those of one hold are known not to count.
    fn one_caller(&mut self, place: &Place, now: Millis) {
        let Some(running) = self.running.get(place).filter(|running| running.len() > 1) else { return };
        let valid: Vec<&Running> = running
            .iter()
            .filter(|running| !running.cancelled.is_cancelled() && self.is_valid(running.worker))
            .collect();
        for (n, one) in valid.iter().enumerate() {
            for other in &valid[n + 1..] {
                if (one.worker, one.epoch) != (other.worker, other.epoch) {
                    let what = format!(
                        "w{} (epoch {}) and w{} (epoch {}) both validly handle {place} at {now}",
                        one.worker, one.epoch, other.worker, other.epoch
                    );
                    self.ledger.violate(Check::OneOwner, what);
                }
            }
        }
    }

    /// When a shard begins under a new epoch, nobody else believes to hold it.
    fn no_other_holder(&mut self, me: u32, place: &Place, epoch: u64, now: Millis) {
        for (worker, (stream, handle)) in &self.live {
            if *worker == me || *stream != place.stream {
                continue;
            }
            let told = self.running.get(place).is_some_and(|running| {
                running.iter().any(|call| call.worker == *worker && call.cancelled.is_cancelled())
            });
            let status = handle.status();
            let holds = status.valid
                && !told
                && status.shards.iter().any(|shard| {
                    shard.shard.as_str() == place.shard
                        && !matches!(shard.state, ShardState::Draining | ShardState::Ending)
                });
            if holds {
                let what =
                    format!("w{me} begins on {place} under epoch {epoch} at {now}, w{worker} holds it too");
                self.ledger.violate(Check::OneOwner, what);
            }
        }
    }
}

/// A handler call that runs.
#[derive(Debug)]
pub(crate) struct OpenCall {
    court: Court,
    place: Place,
    call: CallId,
    end: CallEnd,
}

impl OpenCall {
    /// A record reached the handler.
    pub(crate) fn delivered(&self, key: &str, number: u64) {
        let now = self.court.now();
        self.court.ledger(|ledger| ledger.delivered(self.call, key, number, now));
    }

    /// The call returns.
    pub(crate) fn returns(mut self, end: CallEnd) {
        self.end = end;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let now = self.court.now();
        let mut state = self.court.state();
        state.ledger.end(self.call, self.end);
        state.one_caller(&self.place, now);
        if let Some(running) = state.running.get_mut(&self.place) {
            running.retain(|running| running.call != self.call);
        }
    }
}
