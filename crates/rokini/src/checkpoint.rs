//! Storing positions: coalesced by themselves, at once when user code asks.

mod prepare;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prepare::{Announced, Announcement};
pub use prepare::{PendingCheckpoint, Prepared};
use rokini_lease::{
    CheckpointMetadata, Lease, LeaseError, LostCause, PendingPosition, Position, SequenceNumber, ShardId,
    SkippedRecords, StoreError,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::types::backoff::Retry;
use crate::{Error, ErrorKind};

/// One hold of one lease in this process: what a record must agree with to be checkpointed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldId(u64);

impl HoldId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the saver tells its task.
#[derive(Debug)]
pub(crate) enum Saved {
    Stored(Position),
    Failed { error: StoreError, failures: u32, retry_in: Duration },
}

/// The positions of one hold: what is done, what user code asked to store, what is stored.
pub(crate) struct Checkpoints {
    shard: ShardId,
    hold: HoldId,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// As the store has it.
    stored: Position,
    /// Done by the handler's returning; stored when the interval allows.
    done: Position,
    /// Asked for by user code; stored at once.
    asked: Position,
    /// The end of what was delivered: nothing past it can be asked for.
    delivered: Position,
    /// Records that were passed over, stored together with a position.
    skipped: Option<SkippedRecords>,
    /// Those who wait for a position to be stored.
    waiting: Vec<(Position, oneshot::Sender<Result<(), Error>>)>,
    /// The final write is about to come: no more writes by the clock.
    frozen: bool,
    closed: Option<Option<LostCause>>,
    /// User code has none: positions are for this process only.
    volatile: bool,
    /// Announced by user code, to be stored at once and in this order.
    announced: VecDeque<Announcement>,
    /// Announced by an earlier holder.
    inherited: Option<PendingPosition>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Checkpoints")
            .field("shard", &self.shard)
            .field("stored", &state.stored)
            .field("done", &state.done.max(state.asked))
            .finish_non_exhaustive()
    }
}

impl Checkpoints {
    pub(crate) fn new(shard: ShardId, start: Position) -> Self {
        let state = State {
            stored: start,
            done: start,
            asked: start,
            delivered: start,
            skipped: None,
            waiting: Vec::new(),
            frozen: false,
            closed: None,
            volatile: false,
            announced: VecDeque::new(),
            inherited: None,
        };
        Self { shard, hold: HoldId::new(), state: Mutex::new(state), changed: Notify::new() }
    }

    pub(crate) fn hold(&self) -> HoldId {
        self.hold
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after each statement, so a poisoned lock is taken over.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// User code has got the shard up to one position, and is done up to another: that is to be stored in time.
    pub(crate) fn moved(&self, delivered: Option<Position>, done: Option<Position>) {
        let mut state = self.state();
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

    /// These records are passed over, after those of earlier holds: a note of them goes with the next position.
    pub(crate) fn skipped(&self, records: &[SequenceNumber], earlier: Option<SkippedRecords>) {
        let mut state = self.state();
        let skipped = state.skipped.or(earlier).unwrap_or_default();
        state.skipped = Some(records.iter().fold(skipped, |skipped, record| skipped.and(*record)));
    }

    /// The note of them.
    pub(crate) fn noted(&self) -> Option<SkippedRecords> {
        self.state().skipped
    }

    /// What is to be stored in the end.
    pub(crate) fn pending(&self) -> Position {
        let state = self.state();
        state.done.max(state.asked).max(state.stored)
    }

    pub(crate) fn stored(&self) -> Position {
        self.state().stored
    }

    /// What user code asked for so far: records up to it are not delivered again.
    pub(crate) fn asked(&self) -> Position {
        self.state().asked
    }

    /// Stores a position at the wish of user code, and returns once it is stored. One that is stored already, or
    /// behind, is done already.
    pub(crate) async fn ask(&self, position: Position) -> Result<(), Error> {
        let stored = {
            let mut state = self.state();
            if state.volatile {
                return Err(self.is_volatile());
            }
            if let Some(cause) = state.closed {
                return Err(self.closed(cause));
            }
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
            state.asked = state.asked.max(position);
            state.waiting.push((position, answer));
            stored
        };
        self.changed.notify_one();
        stored.await.unwrap_or_else(|_| Err(self.closed(None)))
    }

    /// Positions are for this process only.
    pub(crate) fn make_volatile(&self) {
        self.state().volatile = true;
    }

    fn is_volatile(&self) -> Error {
        Error::new(
            ErrorKind::Configuration,
            format!(
                "the position of shard {} cannot be stored: a consumer with `broadcast = true` stores no positions; \
                 remove the call",
                self.shard
            ),
        )
    }

    fn closed(&self, cause: Option<LostCause>) -> Error {
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
        self.state().frozen = true;
    }

    /// The store has this position.
    pub(crate) fn is_stored(&self, position: Position) {
        let mut state = self.state();
        state.stored = state.stored.max(position);
        let stored = state.stored;
        let answered: Vec<_> = state.waiting.extract_if(.., |(wanted, _)| *wanted <= stored).collect();
        drop(state);
        for (_, answer) in answered {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(Ok(()));
        }
    }

    fn refuse(&self, refusal: impl Fn() -> Error) {
        for (_, answer) in std::mem::take(&mut self.state().waiting) {
            let _ = answer.send(Err(refusal()));
        }
    }

    /// Nothing can be stored any more; whoever waits is told. The first cause stays.
    pub(crate) fn close(&self, cause: Option<LostCause>) {
        self.state().closed.get_or_insert(cause);
        self.refuse(|| self.closed(cause));
        self.refuse_announced(|| self.closed(cause));
    }

    /// What to write next, and whether at once.
    fn target(&self) -> Option<(Position, bool)> {
        let state = self.state();
        let urgent = state.asked > state.stored && !state.waiting.is_empty();
        let target = state.done.max(state.asked);
        (target > state.stored && (urgent || !state.frozen)).then_some((target, urgent))
    }

    /// Writes for as long as it is polled: what user code asks for at once, the rest at most once per `interval`.
    /// A write that fails is tried again while the lease is held.
    pub(crate) async fn save(
        &self,
        lease: &Lease,
        interval: Duration,
        mut retry: Retry,
        metadata: impl Fn(Position) -> CheckpointMetadata,
        mut report: impl FnMut(Saved),
    ) -> Infallible {
        let mut next = Instant::now();
        loop {
            let changed = self.changed.notified();
            if let Some((position, state)) = self.next_announced() {
                if lease.until_valid().await.is_err() {
                    return future::pending().await;
                }
                match self.store_announced(lease, position, state).await {
                    Announced::Settled => retry.succeeded(),
                    Announced::Failed(error) => {
                        let retry_in = retry.failed();
                        report(Saved::Failed { error, failures: retry.failures(), retry_in });
                        sleep(retry_in).await;
                    }
                    // The task sees the loss itself.
                    Announced::Lost => return future::pending().await,
                }
                continue;
            }
            match self.target() {
                None => changed.await,
                Some((_, false)) if next > Instant::now() => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(next) => {}
                },
                Some((position, _)) => {
                    if lease.until_valid().await.is_err() {
                        return future::pending().await;
                    }
                    match lease.checkpoint(position, metadata(position)).await {
                        Ok(()) => {
                            retry.succeeded();
                            next = Instant::now() + interval;
                            self.is_stored(position);
                            report(Saved::Stored(position));
                        }
                        Err(LeaseError::Behind { stored, .. }) => self.is_stored(stored.max(position)),
                        Err(LeaseError::Store(error)) => {
                            if !error.is_retryable() {
                                // Waiting would not help whoever asked; the write itself is still tried.
                                self.refuse(|| Error::new(ErrorKind::Configuration, error.to_string()));
                            }
                            let retry_in = retry.failed();
                            report(Saved::Failed { error, failures: retry.failures(), retry_in });
                            sleep(retry_in).await;
                        }
                        // The task sees the loss itself.
                        Err(_) => return future::pending().await,
                    }
                }
            }
        }
    }
}
