//! How far a shard is in this worker: every fact about it that others than its own task may see.
//!
//! Each fact has one owner: [`Checkpointer`](crate::checkpoint::Checkpointer) knows what is done and stored, [`ReadProgress`]
//! what is read and how old that is, [`CallProgress`] what user code does. [`ShardProgress::snapshot`] puts them together,
//! and status, metrics, stalls and data loss are judged by that alone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rokini_lease::{CheckpointMetadata, LeaseRow, Position, SequenceNumber, WallClock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::observer::{BatchSize, ShardObserver};
use super::resources::ShardSettings;
use super::retrieval_choice::RetrievalChoice;
use super::status::ShardStatus;
use crate::catalog::streams::OpenStream;
use crate::processor::shard_context::ShardContext;
use crate::source::stream_source::{ReadResponse, SubscriptionCounts};
use crate::types::error::Error;
use crate::types::shard_state::ShardState;
use crate::types::stall::{ReadFailure, StallFacts};
use call_progress::{CallProgress, LastError};
use read_progress::{Gap, ReadProgress};

mod call_progress;
mod lag_tracker;
mod rate;
mod read_progress;

/// The progress of a shard that has a task.
#[derive(Debug)]
pub(crate) struct ShardProgress {
    pub(crate) context: ShardContext,
    stream: Arc<OpenStream>,
    clock: WallClock,
    /// How long a healthy reader may hear nothing.
    quiet: Duration,
    retrieval: Mutex<RetrievalChoice>,
    state: Mutex<State>,
    paused: watch::Sender<bool>,
    reading_resumed: Notify,
    delivery_resumed: Notify,
}

#[derive(Debug)]
struct State {
    read: ReadProgress,
    calls: CallProgress,
    observer: Box<dyn ShardObserver>,
}

/// A shard at one time.
#[derive(Debug, Clone)]
pub(crate) struct ShardSnapshot {
    pub(crate) status: ShardStatus,
    /// The time since the last read that was answered, or since the work on the shard began.
    pub(crate) unread: Duration,
    /// What the last read failed with; `None` where it was answered.
    pub(crate) failure: Option<ReadFailure>,
    /// How long ago a read was throttled, last.
    pub(crate) throttled: Option<Duration>,
    /// For how long reads were answered one after the other, up to the last answer.
    pub(crate) answering: Duration,
    /// Whether user code takes no records at present.
    pub(crate) unavailable: bool,
    /// Whether it is halted for records that may have been trimmed unread.
    pub(crate) lost: bool,
    /// The time since a record was done, last.
    pub(crate) unmoved: Duration,
    /// For how long everything is read of a closed shard of which everything is done.
    pub(crate) over: Option<Duration>,
    /// How long the stream keeps records.
    pub(crate) retention: Duration,
}

impl ShardSnapshot {
    /// What a stall is judged by. `lag_before`: see [`StallFacts`].
    pub(crate) fn stall_facts(&self, lag_before: Option<Duration>) -> StallFacts {
        let ShardStatus { paused, state, since, last_handler_return, failures, parked, lag, .. } =
            self.status;
        let (unread, unreturned, over) = (self.unread, last_handler_return, self.over);
        let Self { failure, throttled, answering, unavailable, lost, unmoved, .. } = *self;
        StallFacts {
            paused,
            state,
            lost,
            since,
            unread,
            failure,
            throttled,
            answering,
            unreturned,
            unmoved,
            failures,
            unavailable,
            parked,
            lag,
            lag_before,
            over,
        }
    }

    /// The share of the retention that is used up, from 0 to 1.
    pub(crate) fn used_retention(&self) -> f64 {
        match self.status.until_data_loss {
            Some(left) if !self.retention.is_zero() => {
                1.0 - left.as_secs_f64() / self.retention.as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

impl ShardProgress {
    /// `row` is the lease as it was granted, `quiet` how long a healthy reader may hear nothing.
    pub(crate) fn new(
        context: ShardContext,
        stream: Arc<OpenStream>,
        clock: WallClock,
        row: &LeaseRow,
        settings: &ShardSettings,
        observer: Box<dyn ShardObserver>,
    ) -> Self {
        let now = Instant::now();
        let retrieval = RetrievalChoice::new(settings.retrieval, row.metadata.fan_out == Some(true), now);
        let quiet = settings.quiet;
        let state =
            State { read: ReadProgress::new(row, quiet, now), calls: CallProgress::new(now), observer };
        Self {
            context,
            stream,
            clock,
            quiet,
            retrieval: Mutex::new(retrieval),
            state: Mutex::new(state),
            paused: watch::Sender::new(false),
            reading_resumed: Notify::new(),
            delivery_resumed: Notify::new(),
        }
    }

    /// The time at the stream, as far as it is known.
    fn stream_millis(&self) -> u64 {
        self.stream.source.now_millis().unwrap_or_else(|| self.clock.millis())
    }

    pub(crate) fn snapshot(&self) -> ShardSnapshot {
        let checkpoints = self.context.checkpoints();
        let (stored, done) = (checkpoints.stored(), checkpoints.latest_done());
        let (stream_millis, now_millis, now) = (self.stream_millis(), self.clock.millis(), Instant::now());
        let retention = self.stream.retention();
        let mut state = self.state.lock();
        state.read.settle(done);
        let unmoved = state.calls.unmoved(done, now);
        let State { read, calls, .. } = &*state;
        let ago = |then: Option<Instant>| then.map(|then| now.duration_since(then));
        let status = ShardStatus {
            stream: self.context.stream().clone(),
            shard: self.context.shard_id().clone(),
            epoch: self.context.epoch(),
            state: if read.halted { ShardState::Halted } else { calls.state },
            since: now.duration_since(calls.since),
            stored,
            done,
            millis_behind_latest: read.lag.behind_millis(),
            last_read: ago(read.lag.last_read()),
            last_handler_return: ago(calls.last_return),
            handling: calls.handling,
            failures: calls.failures,
            last_error: calls.last_error.as_ref().map(|error| error.text.clone()),
            last_error_code: calls.last_error.as_ref().and_then(|error| error.code.clone()),
            last_error_age: calls.last_error.as_ref().map(|error| now.duration_since(error.at)),
            parked: calls.parked,
            skipped: calls.skipped,
            dead_lettered: calls.dead_lettered,
            paused: *self.paused.borrow(),
            lag: read.lag.lag(now, now_millis, self.quiet),
            oldest_not_done_millis: read.oldest_not_done(),
            caught_up_millis: read.caught_up,
            until_data_loss: read.until_data_loss(stream_millis, retention, now),
            data_losses: read.losses,
            fan_out: read.fan_out,
        };
        let unread = now.duration_since(read.lag.last_heard());
        let (failure, throttled, over) = (read.failure, ago(read.throttled), read.lag.over(now));
        let (answering, unavailable) = (read.answering(), calls.unavailable);
        let lost = read.halted;
        ShardSnapshot {
            status,
            unread,
            failure,
            throttled,
            answering,
            unavailable,
            lost,
            unmoved,
            over,
            retention,
        }
    }

    /// What is stored together with this position.
    pub(crate) fn metadata(&self, position: Position) -> CheckpointMetadata {
        let skipped = self.context.checkpoints().skipped();
        let mut state = self.state.lock();
        state.read.settle(position);
        let mut metadata = state.read.metadata(Instant::now());
        metadata.skipped = skipped;
        metadata
    }

    /// Until when everything that arrived is done, in milliseconds since the Unix epoch by the stream's clock; `None` where
    /// nothing was read yet.
    pub(crate) fn done_until(&self) -> Option<u64> {
        self.state.lock().read.done_until()
    }

    /// Numbers that were only noted so far reach whoever collects them: to be called before they are read.
    pub(crate) fn flush_observer(&self) {
        self.state.lock().observer.flush();
    }
}

/// Reading.
impl ShardProgress {
    /// A new reader: its number. The one before hands nothing on any more.
    pub(crate) fn begin_reader(&self) -> u64 {
        self.state.lock().read.begin_reader()
    }

    /// Where a reader begins: after the last record handed on.
    pub(crate) fn reader_place(&self) -> Position {
        self.state.lock().read.place()
    }

    /// How the shard is to be read: outlives the readers.
    pub(super) fn retrieval(&self) -> MutexGuard<'_, RetrievalChoice> {
        self.retrieval.lock()
    }

    /// A reader was begun, by fan-out or not. Where the one before was another, that is stored although no record may come.
    pub(crate) fn opened(&self, by_fan_out: bool) {
        if self.state.lock().read.opened(by_fan_out) {
            self.context.checkpoints().restate();
        }
    }

    /// Whether the stream pushes the records from now on.
    pub(crate) fn set_fan_out(&self, on: bool) {
        self.state.lock().read.fan_out = on;
    }

    /// Subscriptions began, or could not be had.
    pub(crate) fn subscribed(&self, counts: SubscriptionCounts) {
        if counts != SubscriptionCounts::default() {
            self.state.lock().observer.subscribed(counts);
        }
    }

    /// Up to where everything is done: beyond the last record that is, where it is known that nothing lies in between.
    pub(crate) fn settled(&self) -> Position {
        let done = self.context.checkpoints().latest_done();
        self.state.lock().read.settled_place(done).unwrap_or(done)
    }

    /// What the shard brought in the last while.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.state.lock().read.bytes_per_second(Instant::now())
    }

    /// The stream is asked from now on, or no more.
    pub(crate) fn asking(&self, on: bool) {
        self.state.lock().read.asking(on, Instant::now());
    }

    /// The stream answered, if only that it is throttled or that it has no such records.
    pub(crate) fn heard(&self) {
        self.state.lock().read.heard = Some(Instant::now());
    }

    /// Notes what one read brought and says whether the reader of this number may hand it on: one that was replaced may
    /// not, and what it brought counts for nothing. `bytes` is what its records' data and partition keys make.
    pub(crate) fn answered(&self, reader: u64, fetched: &ReadResponse, bytes: usize) -> bool {
        let done = self.context.checkpoints().latest_done();
        let (stream_millis, now) = (self.stream_millis(), Instant::now());
        let mut state = self.state.lock();
        // What is done need not be kept.
        state.read.settle(done);
        let failed = state.read.failure.is_some();
        let current = state.read.answered(reader, fetched, bytes, stream_millis, now);
        if failed && current && state.calls.failures == 0 && !state.calls.unavailable {
            // It was the read's.
            state.calls.last_error = None;
        }
        if let Some(took) = fetched.took.filter(|_| current) {
            state.observer.read(took);
        }
        current
    }

    /// The gap before these records, if there is one.
    pub(crate) fn gap_before(&self, fetched: &ReadResponse) -> Option<Gap> {
        let (stream_millis, retention) = (self.stream_millis(), self.stream.retention());
        self.state.lock().read.gap_before(fetched, stream_millis, retention)
    }

    pub(crate) fn data_lost(&self) {
        self.state.lock().read.losses += 1;
    }

    /// For how long the stream has been asked without an answer, and how many readers were tried so.
    pub(crate) fn silence(&self) -> Option<(Duration, u32)> {
        self.state.lock().read.silence()
    }

    /// The reader is replaced because the stream does not answer it.
    pub(crate) fn reader_restarted(&self) {
        let read = &mut self.state.lock().read;
        read.restarts += 1;
        read.heard = Some(Instant::now());
    }

    /// A read failed.
    pub(crate) fn read_failed(&self, error: &Error, failure: ReadFailure) {
        let (mut state, now) = (self.state.lock(), Instant::now());
        state.read.failed(failure, now);
        if state.calls.unavailable || state.calls.failures > 1 {
            // User code is what holds the shard up, and its error is the one that people have to see.
            return;
        }
        let code = error.code().map(str::to_owned);
        state.calls.last_error = Some(LastError { text: error.to_string(), code, at: now });
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.send_if_modified(|current| std::mem::replace(current, paused) != paused);
    }

    /// Resolves once reading is paused, or not paused any more. Cancel safe.
    pub(crate) async fn until_paused(&self, paused: bool) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.paused.subscribe().wait_for(|current| *current == paused).await;
    }

    /// Halts reading until [`ShardProgress::resume`].
    pub(crate) async fn halt_reading(&self) {
        self.state.lock().read.halted = true;
        self.reading_resumed.notified().await;
        self.state.lock().read.halted = false;
    }

    /// A halted shard is to go on, whether its reading or its delivery is halted.
    pub(crate) fn resume(&self) {
        let halted = self.state.lock().read.halted;
        let resumed = if halted { &self.reading_resumed } else { &self.delivery_resumed };
        resumed.notify_one();
    }
}

/// Calls of user code.
impl ShardProgress {
    /// Resolves once a halted delivery is to go on. Cancel safe.
    pub(crate) async fn until_delivery_resumed(&self) {
        self.delivery_resumed.notified().await;
    }

    pub(crate) fn set_state(&self, state: ShardState) {
        self.state.lock().calls.set_state(state);
    }

    pub(crate) fn show(&self, state: ShardState, parked: usize) {
        let calls = &mut self.state.lock().calls;
        calls.set_state(state);
        calls.parked = parked;
    }

    /// A batch that begins with this record is in the handler.
    pub(crate) fn handling(&self, first: Option<SequenceNumber>, parked: usize) {
        let calls = &mut self.state.lock().calls;
        calls.set_state(ShardState::Handling);
        calls.handling = first;
        calls.parked = parked;
    }

    /// Everything was handed out; this record is the first that is not acknowledged.
    pub(crate) fn awaiting_acks(&self, first: Option<SequenceNumber>, parked: usize) {
        let calls = &mut self.state.lock().calls;
        calls.set_state(ShardState::AwaitingAcks);
        calls.handling = first;
        calls.parked = parked;
    }

    /// A call returned at this time; `well` where nothing is left that failed.
    pub(crate) fn returned(&self, well: bool, now: Instant) {
        self.state.lock().calls.returned(well, now);
    }

    /// A call of the record handler returned at this time. `done`: what it was about, where it returned without an
    /// error. `well` as in [`ShardProgress::returned`].
    pub(crate) fn handled(&self, took: Duration, done: Option<BatchSize>, well: bool, now: Instant) {
        let mut state = self.state.lock();
        let (records, time) = &mut state.calls.handled;
        *records += done.map_or(0, |done| done.records);
        *time += took;
        state.observer.handled(took, done);
        state.calls.returned(well, now);
    }

    /// Records that calls of the record handler were about that returned without an error in this hold, and the time that
    /// all of its calls took.
    #[cfg(feature = "page")]
    pub(crate) fn handled_so_far(&self) -> (u64, Duration) {
        self.state.lock().calls.handled
    }

    pub(crate) fn failed(&self, failures: u32, error: String) {
        self.state.lock().calls.failed(failures, error, Instant::now());
    }

    /// User code takes no records at present, and says why.
    pub(crate) fn unavailable(&self, error: String) {
        self.state.lock().calls.unavailable(error, Instant::now());
    }

    pub(crate) fn given_up(&self, skipped: usize, dead_lettered: usize) {
        let calls = &mut self.state.lock().calls;
        calls.skipped += skipped as u64;
        calls.dead_lettered += dead_lettered as u64;
    }
}
