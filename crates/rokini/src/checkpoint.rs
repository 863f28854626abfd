//! Storing positions: coalesced by themselves, at once when user code asks.

mod prepare;

use std::convert::Infallible;
use std::fmt;
use std::future;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rokini_lease::{
    CheckpointMetadata, Lease, LeaseError, LeaseLostReason, PendingPosition, Position, SequenceNumber,
    ShardId, SkippedRecords, StoreError,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::types::backoff::Retry;
use crate::types::error::{Error, ErrorKind};
use prepare::PrepareQueue;

/// A write of a position, for whoever watches.
#[derive(Debug)]
pub(crate) enum CheckpointEvent {
    Stored(Position),
    Failed { error: StoreError, failures: u32, retry_in: Duration },
}

/// What became of a write.
enum Write {
    Stored(Position),
    /// The position was there already; what is known of the shard is stored beside it.
    Restated,
    /// The store already has a later position.
    Behind {
        stored: Position,
    },
    /// The first phase of a checkpoint in two is stored or refused, and whoever asked knows.
    Prepared,
    /// To be tried again.
    Failed(StoreError),
    /// The task of the shard sees the loss itself.
    Lost,
}

/// The positions of one hold of a lease: what is done, what user code asked to store, what is stored.
pub(crate) struct Checkpointer {
    shard: ShardId,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// As the store has it.
    stored: Position,
    /// Done because the handler returned; stored when the interval allows.
    done: Position,
    /// Asked for by user code; stored at once.
    requested: Position,
    /// The end of what was delivered: nothing past it can be asked for.
    delivered: Position,
    /// Records that were passed over, stored together with a position.
    skipped: Option<SkippedRecords>,
    /// Those who wait for a position to be stored.
    waiting: Vec<(Position, oneshot::Sender<Result<(), Error>>)>,
    /// Why the last write failed, where it did.
    failure: Option<(ErrorKind, String)>,
    /// What is known of the shard is to be stored although its position may not move.
    restate: bool,
    /// The final write is about to come: no more writes by the clock.
    frozen: bool,
    closed: Option<Option<LeaseLostReason>>,
    /// Positions are for this process only: user code can store none.
    memory_only: bool,
    /// First phases of checkpoints in two phases, to be stored at once and in this order.
    preparing: PrepareQueue,
    /// What an earlier holder prepared and did not commit.
    inherited: Option<PendingPosition>,
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Checkpointer")
            .field("shard", &self.shard)
            .field("stored", &state.stored)
            .field("done", &state.done.max(state.requested))
            .finish_non_exhaustive()
    }
}

impl Checkpointer {
    pub(crate) fn new(shard: ShardId, start: Position) -> Self {
        let state = State {
            stored: start,
            done: start,
            requested: start,
            delivered: start,
            skipped: None,
            waiting: Vec::new(),
            failure: None,
            restate: false,
            frozen: false,
            closed: None,
            memory_only: false,
            preparing: PrepareQueue::default(),
            inherited: None,
        };
        Self { shard, state: Mutex::new(state), changed: Notify::new() }
    }

    /// User code has got the shard up to one position, and is done up to another, which is to be stored in time.
    pub(crate) fn advance(&self, delivered: Option<Position>, done: Option<Position>) {
        let mut state = self.state.lock();
        if let Some(delivered) = delivered {
            state.delivered = state.delivered.max(delivered);
        }
        let Some(done) = done else { return };
        let was_clean = state.done <= state.stored;
        state.done = state.done.max(done);
        if was_clean {
            self.changed.notify_one();
        }
    }

    /// These records are passed over, after those of earlier holds: a note of them is stored with the next position.
    pub(crate) fn add_skipped(&self, records: &[SequenceNumber], earlier: Option<SkippedRecords>) {
        let mut state = self.state.lock();
        let skipped = state.skipped.or(earlier).unwrap_or_default();
        state.skipped = Some(records.iter().fold(skipped, |skipped, record| skipped.and(*record)));
    }

    /// What is known of the shard is to be stored, also where its position does not move.
    pub(crate) fn restate(&self) {
        self.state.lock().restate = true;
        self.changed.notify_one();
    }

    /// The records that were passed over, as they are stored with the next position.
    pub(crate) fn skipped(&self) -> Option<SkippedRecords> {
        self.state.lock().skipped
    }

    /// How far the records are done: what is to be stored in the end.
    pub(crate) fn latest_done(&self) -> Position {
        let state = self.state.lock();
        state.done.max(state.requested).max(state.stored)
    }

    pub(crate) fn stored(&self) -> Position {
        self.state.lock().stored
    }

    /// What user code asked to store so far: records up to it are not delivered again.
    pub(crate) fn requested(&self) -> Position {
        self.state.lock().requested
    }

    /// Stores a position at the wish of user code, and returns once it is stored. One that is stored already, or
    /// behind, is done already.
    pub(crate) async fn request(&self, position: Position) -> Result<(), Error> {
        let stored = {
            let mut state = self.state.lock();
            self.require_open(&state)?;
            if position > state.delivered {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!(
                        "{position} of shard {} cannot be stored: records are delivered up to {} only; checkpoint what \
                         a handler has got",
                        self.shard, state.delivered
                    ),
                ));
            }
            if position <= state.stored {
                return Ok(());
            }
            let (answer, stored) = oneshot::channel();
            state.requested = state.requested.max(position);
            state.waiting.push((position, answer));
            stored
        };
        self.changed.notify_one();
        stored.await.unwrap_or_else(|_| Err(self.closed(None)))
    }

    /// As [`Checkpointer::request`], and after this time gives up waiting, not trying.
    pub(crate) async fn request_within(&self, position: Position, patience: Duration) -> Result<(), Error> {
        if let Ok(requested) = timeout(patience, self.request(position)).await {
            return requested;
        }
        let unanswered = || (ErrorKind::Retry, "the lease store does not answer".to_owned());
        let (kind, why) = self.state.lock().failure.clone().unwrap_or_else(unanswered);
        let shard = &self.shard;
        Err(Error::new(
            kind,
            format!("{position} of shard {shard} is not stored after {patience:?}: {why}; it is tried on"),
        ))
    }

    /// The first phase of a checkpoint in two: stores a position that is about to be done, with bytes of the
    /// application's own. Returns once that is stored.
    pub(crate) async fn prepare(&self, position: Position, state: Bytes) -> Result<(), Error> {
        let stored = {
            let mut known = self.state.lock();
            self.require_open(&known)?;
            known.preparing.push(position, state)
        };
        self.changed.notify_one();
        stored.await.unwrap_or_else(|_| Err(self.closed(None)))
    }

    /// Takes over what an earlier holder prepared and did not commit.
    pub(crate) fn inherit(&self, pending: Option<PendingPosition>) {
        self.state.lock().inherited = pending;
    }

    pub(crate) fn inherited(&self) -> Option<PendingPosition> {
        self.state.lock().inherited.clone()
    }

    /// From now on positions are for this process only.
    pub(crate) fn keep_in_memory(&self) {
        self.state.lock().memory_only = true;
    }

    /// Refuses user code where positions cannot be stored.
    fn require_open(&self, state: &State) -> Result<(), Error> {
        match state.closed {
            _ if state.memory_only => Err(Error::configuration(format!(
                "the position of shard {} cannot be stored: a consumer with `broadcast = true` stores no \
                     positions; remove the call",
                self.shard
            ))),
            Some(cause) => Err(self.closed(cause)),
            None => Ok(()),
        }
    }

    fn closed(&self, cause: Option<LeaseLostReason>) -> Error {
        let why = match cause {
            Some(cause) => format!("its lease is lost: {cause}"),
            None => "this worker does not work on it any more".to_owned(),
        };
        Error::new(
            ErrorKind::Fenced,
            format!(
                "the position of shard {} cannot be stored: {why}; stop working on its records",
                self.shard
            ),
        )
    }

    /// From now on writes only what user code asks for.
    pub(crate) fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// Writes by itself again.
    pub(crate) fn thaw(&self) {
        self.state.lock().frozen = false;
        self.changed.notify_one();
    }

    /// The store has this position.
    pub(crate) fn mark_stored(&self, position: Position) {
        let mut state = self.state.lock();
        state.stored = state.stored.max(position);
        state.failure = None;
        let stored = state.stored;
        let answered: Vec<_> = state.waiting.extract_if(.., |(wanted, _)| *wanted <= stored).collect();
        drop(state);
        for (_, answer) in answered {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(Ok(()));
        }
    }

    fn refuse(&self, refusal: impl Fn() -> Error) {
        for (_, answer) in std::mem::take(&mut self.state.lock().waiting) {
            let _ = answer.send(Err(refusal()));
        }
    }

    /// Nothing can be stored any more; whoever waits is told. The first cause stays.
    pub(crate) fn close(&self, cause: Option<LeaseLostReason>) {
        self.state.lock().closed.get_or_insert(cause);
        self.refuse(|| self.closed(cause));
        let preparing = std::mem::take(&mut self.state.lock().preparing);
        preparing.refuse(|| self.closed(cause));
    }

    /// What to write next, and whether at once.
    fn target(&self) -> Option<(Position, bool)> {
        let state = self.state.lock();
        let urgent = state.requested > state.stored && !state.waiting.is_empty();
        let target = state.done.max(state.requested).max(state.stored);
        let news = target > state.stored || state.restate;
        (news && (urgent || !state.frozen)).then_some((target, urgent))
    }

    /// Writes for as long as it is polled: what user code asks for at once, the rest at most once per `interval`.
    /// A write that fails is tried again while the lease is held.
    pub(crate) async fn save(
        &self,
        lease: &Lease,
        interval: Duration,
        mut retry: Retry,
        metadata: impl Fn(Position) -> CheckpointMetadata + Send + Sync,
        mut report: impl FnMut(CheckpointEvent) + Send,
    ) -> Infallible {
        let mut next = Instant::now();
        loop {
            let changed = self.changed.notified();
            let prepare = self.state.lock().preparing.next();
            let write = match (prepare, self.target()) {
                (Some((position, state)), _) => self.prepare_now(lease, position, state).await,
                (None, None) => {
                    changed.await;
                    continue;
                }
                (None, Some((_, false))) if next > Instant::now() => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = sleep_until(next) => {}
                    }
                    continue;
                }
                (None, Some((position, _))) => self.store_now(lease, position, &metadata).await,
            };
            match write {
                Write::Stored(position) => {
                    retry.succeeded();
                    next = Instant::now() + interval;
                    self.mark_stored(position);
                    report(CheckpointEvent::Stored(position));
                }
                Write::Restated => {
                    retry.succeeded();
                    next = Instant::now() + interval;
                }
                Write::Behind { stored } => self.mark_stored(stored),
                Write::Prepared => retry.succeeded(),
                Write::Failed(error) => {
                    self.state.lock().failure = Some((error.kind().into(), error.to_string()));
                    let retry_in = retry.failed();
                    report(CheckpointEvent::Failed { error, failures: retry.failures(), retry_in });
                    sleep(retry_in).await;
                }
                Write::Lost => return future::pending().await,
            }
        }
    }

    async fn store_now(
        &self,
        lease: &Lease,
        position: Position,
        metadata: impl Fn(Position) -> CheckpointMetadata + Send + Sync,
    ) -> Write {
        if lease.until_valid().await.is_err() {
            return Write::Lost;
        }
        // Told before what is written is made: what changes meanwhile is written again.
        let restates = std::mem::take(&mut self.state.lock().restate);
        let written = if restates && position == self.stored() {
            lease.restate(metadata(position)).await.map(|()| Write::Restated)
        } else {
            lease.checkpoint(position, metadata(position)).await.map(|()| Write::Stored(position))
        };
        match written {
            Ok(write) => write,
            Err(LeaseError::Behind { stored, .. }) => Write::Behind { stored: stored.max(position) },
            Err(LeaseError::Store(error)) => {
                self.state.lock().restate |= restates;
                if !error.is_retryable() {
                    // Waiting would not help whoever asked; the write itself is still tried.
                    self.refuse(|| Error::configuration(error.to_string()));
                }
                Write::Failed(error)
            }
            Err(_) => Write::Lost,
        }
    }

    async fn prepare_now(&self, lease: &Lease, position: Position, state: Bytes) -> Write {
        if lease.until_valid().await.is_err() {
            return Write::Lost;
        }
        let answer = match lease.prepare(position, state).await {
            Ok(()) => Ok(()),
            Err(error @ LeaseError::Behind { .. }) => Err(Error::new(
                ErrorKind::Data,
                format!("shard {}: {error}; prepare a position that is not stored yet", self.shard),
            )),
            Err(error @ LeaseError::StateTooLarge { .. }) => Err(Error::configuration(error.to_string())),
            Err(LeaseError::Store(error)) => {
                if !error.is_retryable() {
                    let refusal = Error::configuration(error.to_string());
                    self.state.lock().preparing.answer_first(Err(refusal));
                }
                return Write::Failed(error);
            }
            Err(_) => return Write::Lost,
        };
        self.state.lock().preparing.answer_first(answer);
        Write::Prepared
    }
}
