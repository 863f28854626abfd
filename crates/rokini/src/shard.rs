//! One shard in this worker.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini_lease::{Epoch, GroupId, LeaseKey, Marks, Position, SequenceNumber, ShardId, StreamId, WorkerId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Checkpoints;
use crate::delivery::acks::AckQueue;
use crate::telemetry::meter::ShardMeter;
use crate::telemetry::stall;
use crate::telemetry::tally::Tally;
use crate::{Error, ErrorKind, ReadResponse, Record};
use reading::Reading;

mod arrivals;
pub(crate) mod catalog;
pub(crate) mod coverage;
pub(crate) mod duty;
pub(crate) mod fetch;
mod find;
pub(crate) mod graph;
mod rate;
pub(crate) mod reading;
pub(crate) mod task;

/// What a processor knows of its shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardContext {
    hold: Arc<Hold>,
    lane: usize,
}

/// What is the same for all lanes of a hold.
struct Hold {
    group: GroupId,
    stream: StreamId,
    shard: ShardId,
    worker: WorkerId,
    epoch: Epoch,
    position: Position,
    checkpoints: Checkpoints,
    acks: AckQueue,
    cancelled: CancellationToken,
}

impl ShardContext {
    pub(crate) fn new(
        group: GroupId,
        lease: &LeaseKey,
        worker: WorkerId,
        epoch: Epoch,
        position: Position,
    ) -> Self {
        let checkpoints = Checkpoints::new(lease.shard.clone(), position);
        let (stream, shard) = (lease.stream.clone(), lease.shard.clone());
        let (acks, cancelled) = (AckQueue::default(), CancellationToken::new());
        let hold = Hold { group, stream, shard, worker, epoch, position, checkpoints, acks, cancelled };
        Self { hold: Arc::new(hold), lane: 0 }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        &self.hold.group
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.hold.stream
    }

    /// The shard.
    #[must_use]
    pub fn shard_id(&self) -> &ShardId {
        &self.hold.shard
    }

    /// Both.
    pub(crate) fn key(&self) -> LeaseKey {
        LeaseKey::new(self.hold.stream.clone(), self.hold.shard.clone())
    }

    /// This worker.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.hold.worker
    }

    /// The fencing token of this hold: higher for each later holder of the shard.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.hold.epoch
    }

    /// Where this hold began: the records that come are those after it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.hold.position
    }

    /// Which of the shard's processors this is for, from 0: with `concurrency` there are several, each with the
    /// records of its own partition keys.
    #[must_use]
    pub fn lane(&self) -> usize {
        self.lane
    }

    pub(crate) fn in_lane(&self, lane: usize) -> Self {
        Self { hold: Arc::clone(&self.hold), lane }
    }

    /// Stores that this record and all before it in the shard are done; returns once that is stored. While the
    /// lease store does not answer it waits, as long as the lease is held. Where a later position is stored
    /// already it does nothing: positions never go back. With `concurrency` or `park` only what is done can be
    /// checkpointed, together with all before it: use ack tokens there.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when the record was delivered by another shard or by an earlier hold of this one
    /// (records know what delivered them), and when the lease is lost: nothing was stored.
    /// [`ErrorKind::Data`] when records before it may not be done. [`ErrorKind::Configuration`] when the store
    /// refuses the write for good, for lack of permission for example.
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), Error> {
        self.delivered_by_this(record)?;
        self.hold.checkpoints.ask(record.position()).await
    }

    /// Records know what delivered them.
    pub(crate) fn delivered_by_this(&self, record: &Record) -> Result<(), Error> {
        if record.hold != Some(self.hold.checkpoints.hold()) {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "record {} was not delivered by this hold of shard {} (epoch {}): checkpoint it with the batch \
                     it came in",
                    record.sequence_number, self.hold.shard, self.hold.epoch
                ),
            ));
        }
        Ok(())
    }

    /// What calls do does not count any more.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.hold.cancelled
    }

    pub(crate) fn acks(&self) -> &AckQueue {
        &self.hold.acks
    }

    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.hold.checkpoints
    }
}

impl fmt::Debug for ShardContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardContext")
            .field("stream", &self.hold.stream)
            .field("shard", &self.hold.shard)
            .field("epoch", &self.hold.epoch)
            .field("position", &self.hold.position)
            .finish_non_exhaustive()
    }
}

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShardState {
    /// The processor is made and initialised.
    Starting,
    /// Waits for records.
    Reading,
    /// Is inside a handler call.
    Handling,
    /// Waits before it calls user code again that failed.
    BackingOff,
    /// Every record was handed out, and nothing more is taken up or comes: waits for ack tokens.
    AwaitingAcks,
    /// Records were given up, or trimmed before they were read, and the policy is to halt: nothing is called until
    /// [`Handle::retry_halted`](crate::Handle::retry_halted) or a seek. Records that were given up get all their tries
    /// again after a restart; what was trimmed is missed again, up to a seek to the oldest record.
    Halted,
    /// Waits until heartbeats arrive again.
    Paused,
    /// Leaves this worker in order.
    Draining,
    /// Every record is done; the end is being stored.
    Ending,
}

/// How a shard stands in this worker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its lease.
    pub epoch: Epoch,
    /// What it is doing.
    pub state: ShardState,
    /// For how long.
    pub since: Duration,
    /// The position stored.
    pub stored: Position,
    /// The position done: stored in time.
    pub done: Position,
    /// How far the last read was behind the tip of the shard, in milliseconds; `None` before the first.
    pub millis_behind_latest: Option<u64>,
    /// How long ago the last read returned.
    pub last_read: Option<Duration>,
    /// How long ago a handler call returned last.
    pub last_handler_return: Option<Duration>,
    /// The first record of the batch that is being handled or waits to be handled again.
    pub handling: Option<SequenceNumber>,
    /// Failures of user code in a row.
    pub failures: u32,
    /// The last failure of user code or of reading, cleared by the next success.
    pub last_error: Option<String>,
    /// Partition keys that are parked: they wait for a record that fails, others go on.
    pub parked: usize,
    /// Records skipped by the failure policy in this hold.
    pub skipped: u64,
    /// Records given to the dead-letter sink in this hold.
    pub dead_lettered: u64,
    /// Whether reading is paused, by this worker or by an operator.
    pub paused: bool,
    /// When the oldest record that is not done arrived at the stream, in milliseconds since the Unix epoch by the
    /// stream's clock: a little early where a response holds many. `None` when everything that was there at the last
    /// read is done.
    pub oldest_not_done_millis: Option<u64>,
    /// When everything was done and nothing was behind, last: milliseconds since the Unix epoch by the stream's clock.
    pub caught_up_millis: Option<u64>,
    /// How long until the stream trims records that are not done, if nothing moves; while reading stands still also
    /// those that may have arrived since. `None` before the first read of a shard that has no time to go by.
    pub until_data_loss: Option<Duration>,
    /// How often records may have been trimmed in this hold before they were read.
    pub data_losses: u64,
}

/// How large a batch is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// A shard that has a task: what others than the task may see of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) context: ShardContext,
    pub(crate) reading: Reading,
    progress: Mutex<Progress>,
    resume: Notify,
}

#[derive(Debug)]
struct Progress {
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

impl Progress {
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

impl Live {
    pub(crate) fn new(context: ShardContext, reading: Reading, meter: Arc<ShardMeter>) -> Self {
        let progress = Progress {
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
    pub(crate) fn marks(&self, position: Position) -> Marks {
        Marks { skipped: self.context.checkpoints().noted(), ..self.reading.marks(position) }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
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
    pub(crate) fn handled(&self, took: Duration, done: Option<Size>, well: bool, now: Instant) {
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
        self.reading.lag(self.context.checkpoints().pending(), now_millis, quiet)
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
        let done = self.context.checkpoints().pending();
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
