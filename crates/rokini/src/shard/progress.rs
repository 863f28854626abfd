//! How far a shard is in this worker: what others than its task may see of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini_lease::{CheckpointMetadata, Position, SequenceNumber};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::status::{ShardState, ShardStatus};
use crate::processor::shard_context::ShardContext;
use crate::source::stream_source::ReadResponse;
use crate::telemetry::meter::ShardMeter;
use crate::telemetry::stall;
use crate::telemetry::tally::Tally;
use read_progress::ReadProgress;

mod lag_tracker;
mod rate;
pub(crate) mod read_progress;

/// How large a batch is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchSize {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// A shard that has a task: what others than the task may see of it.
#[derive(Debug)]
pub(crate) struct ShardProgress {
    pub(crate) context: ShardContext,
    pub(crate) reading: ReadProgress,
    progress: Mutex<State>,
    resume: Notify,
}

#[derive(Debug)]
struct State {
    state: ShardState,
    since: Instant,
    millis_behind_latest: Option<u64>,
    last_read: Option<Instant>,
    last_return: Option<Instant>,
    handling: Option<SequenceNumber>,
    failures: u32,
    last_error: Option<String>,
    parked: usize,
    skipped: u64,
    dead_lettered: u64,
    begun: Instant,
    tally: Tally,
}

impl State {
    fn set_state(&mut self, state: ShardState) {
        if self.state != state {
            self.state = state;
            self.since = Instant::now();
        }
    }

    fn returned(&mut self, well: bool, now: Instant) {
        self.last_return = Some(now);
        if well {
            self.handling = None;
            self.failures = 0;
            self.last_error = None;
        }
    }
}

impl ShardProgress {
    pub(crate) fn new(context: ShardContext, reading: ReadProgress, meter: Arc<ShardMeter>) -> Self {
        let progress = State {
            begun: Instant::now(),
            state: ShardState::Starting,
            since: Instant::now(),
            millis_behind_latest: None,
            last_read: None,
            last_return: None,
            handling: None,
            failures: 0,
            last_error: None,
            parked: 0,
            skipped: 0,
            dead_lettered: 0,
            tally: Tally::new(meter),
        };
        Self { context, reading, progress: Mutex::new(progress), resume: Notify::new() }
    }

    /// What is stored together with this position.
    pub(crate) fn metadata(&self, position: Position) -> CheckpointMetadata {
        CheckpointMetadata {
            skipped: self.context.checkpoints().skipped(),
            ..self.reading.metadata(position)
        }
    }

    fn progress(&self) -> MutexGuard<'_, State> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the shard is judged by. `lag_before`: see [`stall::Facts`].
    pub(crate) fn facts(&self, lag: Duration, lag_before: Option<Duration>) -> stall::Facts {
        let (paused, halted) = self.reading.stands_still();
        let over = self.reading.over();
        let progress = self.progress();
        let now = Instant::now();
        stall::Facts {
            paused,
            state: if halted { ShardState::Halted } else { progress.state },
            since: now.duration_since(progress.since),
            unread: now.duration_since(progress.last_read.unwrap_or(progress.begun)),
            unreturned: progress.last_return.map(|returned| now.duration_since(returned)),
            failures: progress.failures,
            lag,
            lag_before,
            over,
        }
    }

    pub(crate) fn behind(&self) -> Option<u64> {
        self.progress().millis_behind_latest
    }

    pub(crate) fn set_state(&self, state: ShardState) {
        self.progress().set_state(state);
    }

    pub(crate) fn show(&self, state: ShardState, parked: usize) {
        let mut progress = self.progress();
        progress.set_state(state);
        progress.parked = parked;
    }

    /// The stream answered.
    pub(crate) fn read(&self, fetched: &ReadResponse) {
        let now = Instant::now();
        let mut progress = self.progress();
        if let Some(took) = fetched.took {
            progress.tally.read(took);
        }
        progress.millis_behind_latest = Some(fetched.millis_behind_latest);
        progress.last_read = Some(now);
    }

    /// A call of the record handler returned at this time, however; where without an error, what it was about. `well`
    /// as in `returned`.
    pub(crate) fn handled(&self, took: Duration, done: Option<BatchSize>, well: bool, now: Instant) {
        let mut progress = self.progress();
        progress.tally.handled(took, done);
        progress.returned(well, now);
    }

    /// What was recorded reaches the recorders: to be called before somebody looks at them.
    pub(crate) fn settle(&self) {
        self.progress().tally.settle();
    }

    /// The age of the oldest record that is not done. `quiet`: how long a healthy reader may hear nothing.
    pub(crate) fn lag(&self, now_millis: u64, quiet: Duration) -> Duration {
        self.reading.lag(self.context.checkpoints().latest_done(), now_millis, quiet)
    }

    pub(crate) fn handling(&self, first: Option<SequenceNumber>, parked: usize) {
        let mut progress = self.progress();
        progress.set_state(ShardState::Handling);
        progress.handling = first;
        progress.parked = parked;
    }

    /// A call returned at this time; `well` where nothing is left that failed.
    pub(crate) fn returned(&self, well: bool, now: Instant) {
        self.progress().returned(well, now);
    }

    pub(crate) fn given_up(&self, skipped: usize, dead_lettered: usize) {
        let mut progress = self.progress();
        progress.skipped += skipped as u64;
        progress.dead_lettered += dead_lettered as u64;
    }

    /// A halted shard is to go on.
    pub(crate) fn resume(&self) {
        if !self.reading.resume() {
            self.resume.notify_one();
        }
    }

    pub(crate) async fn resumed(&self) {
        self.resume.notified().await;
    }

    pub(crate) fn failed(&self, failures: u32, error: String) {
        let mut progress = self.progress();
        progress.failures = failures;
        progress.last_error = Some(error);
        if progress.state == ShardState::Handling {
            progress.last_return = Some(Instant::now());
        }
    }

    pub(crate) fn read_failed(&self, error: String) {
        self.progress().last_error = Some(error);
    }

    pub(crate) fn status(&self) -> ShardStatus {
        let done = self.context.checkpoints().latest_done();
        let facts = self.reading.facts(done);
        let progress = self.progress();
        let now = Instant::now();
        let ago = |then: Option<Instant>| then.map(|then| now.duration_since(then));
        ShardStatus {
            stream: self.context.stream().clone(),
            shard: self.context.shard_id().clone(),
            epoch: self.context.epoch(),
            state: if facts.halted { ShardState::Halted } else { progress.state },
            since: now.duration_since(progress.since),
            stored: self.context.checkpoints().stored(),
            done,
            millis_behind_latest: progress.millis_behind_latest,
            last_read: ago(progress.last_read),
            last_handler_return: ago(progress.last_return),
            handling: progress.handling,
            failures: progress.failures,
            last_error: progress.last_error.clone(),
            parked: progress.parked,
            skipped: progress.skipped,
            dead_lettered: progress.dead_lettered,
            paused: facts.paused,
            oldest_not_done_millis: facts.oldest_not_done_millis,
            caught_up_millis: facts.caught_up_millis,
            until_data_loss: facts.until_data_loss,
            data_losses: facts.data_losses,
        }
    }
}
