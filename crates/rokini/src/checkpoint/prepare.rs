//! Checkpoints in two phases: announced with the application's own bytes, then stored.

use bytes::Bytes;
use rokini_lease::{Lease, LeaseError, PendingPosition, Position};
use tokio::sync::oneshot;

use super::Checkpoints;
use crate::{Batch, Error, ErrorKind, Record, ShardContext};

/// A position that user code announces.
pub(super) struct Announcement {
    pub(super) position: Position,
    pub(super) state: Bytes,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// What became of an announcement that was tried.
pub(super) enum Announced {
    /// It is settled, and whoever asked knows.
    Settled,
    /// The store failed: to be tried again.
    Failed(rokini_lease::StoreError),
    /// The lease is lost.
    Lost,
}

impl Checkpoints {
    /// What an earlier holder announced and did not reach.
    pub(crate) fn inherit(&self, pending: Option<PendingPosition>) {
        self.state().inherited = pending;
    }

    /// Announces a position; returns once that is stored.
    async fn announce(&self, position: Position, state: Bytes) -> Result<(), Error> {
        let stored = {
            let mut known = self.state();
            if known.volatile {
                return Err(self.is_volatile());
            }
            if let Some(cause) = known.closed {
                return Err(self.closed(cause));
            }
            let (answer, stored) = oneshot::channel();
            known.announced.push_back(Announcement { position, state, answer });
            stored
        };
        self.changed.notify_one();
        stored.await.unwrap_or_else(|_| Err(self.closed(None)))
    }

    /// Refuses what is announced and not stored.
    pub(super) fn refuse_announced(&self, refusal: impl Fn() -> Error) {
        for announcement in std::mem::take(&mut self.state().announced) {
            let _ = announcement.answer.send(Err(refusal()));
        }
    }

    /// The first announcement that somebody still waits for.
    pub(super) fn next_announced(&self) -> Option<(Position, Bytes)> {
        let mut state = self.state();
        while state.announced.front().is_some_and(|first| first.answer.is_closed()) {
            state.announced.pop_front();
        }
        state.announced.front().map(|first| (first.position, first.state.clone()))
    }

    fn settle_announced(&self, result: Result<(), Error>) {
        let first = self.state().announced.pop_front();
        if let Some(first) = first {
            // Whoever asked may have stopped waiting.
            let _ = first.answer.send(result);
        }
    }

    /// Stores an announcement, the first one.
    pub(super) async fn store_announced(&self, lease: &Lease, position: Position, state: Bytes) -> Announced {
        match lease.prepare(position, state).await {
            Ok(()) => self.settle_announced(Ok(())),
            Err(error @ LeaseError::Behind { .. }) => {
                self.settle_announced(Err(Error::new(
                    ErrorKind::Data,
                    format!("shard {}: {error}; announce what is not done yet", self.shard),
                )));
            }
            Err(error @ LeaseError::StateTooLarge { .. }) => {
                self.settle_announced(Err(Error::new(ErrorKind::Configuration, error.to_string())));
            }
            Err(LeaseError::Store(error)) => {
                if !error.is_retryable() {
                    self.settle_announced(Err(Error::new(ErrorKind::Configuration, error.to_string())));
                }
                return Announced::Failed(error);
            }
            Err(_) => return Announced::Lost,
        }
        Announced::Settled
    }
}

/// A checkpoint that is announced: the first of two phases is stored. Got by [`ShardContext::prepare_checkpoint`].
#[derive(Debug)]
#[must_use = "what is announced becomes the position by `commit` only"]
pub struct Prepared {
    shard: ShardContext,
    position: Position,
}

impl Prepared {
    /// The position that was announced.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Stores that the record and all before it are done; returns once that is stored. What was announced is gone
    /// with it.
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`].
    pub async fn commit(self) -> Result<(), Error> {
        self.shard.checkpoints().ask(self.position).await
    }
}

/// A checkpoint that an earlier holder of the shard announced and did not commit, as far as the store knows. Got by
/// [`ShardContext::pending_checkpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    pending: PendingPosition,
}

impl PendingCheckpoint {
    /// The position that was announced.
    #[must_use]
    pub fn position(&self) -> Position {
        self.pending.position
    }

    /// The application's own bytes.
    #[must_use]
    pub fn state(&self) -> &Bytes {
        &self.pending.state
    }

    /// Whether the record is done once the announced position is: it is at or before it. Such records come again,
    /// because the position was not stored; where their work turns out to be final they are to be passed over.
    #[must_use]
    pub fn covers(&self, record: &Record) -> bool {
        record.position() <= self.pending.position
    }
}

impl ShardContext {
    /// The first phase of a checkpoint in two: announces, durably, that this record and all before it are about to be
    /// done, with bytes of the application's own (16 KiB at most) that say how; returns once that is stored. Then comes
    /// the work that makes them done, and then [`Prepared::commit`]. If this worker dies between the two, the next
    /// holder of the shard finds the announcement by [`ShardContext::pending_checkpoint`], and can look up whether
    /// that work took place.
    ///
    /// Another announcement replaces this one. Any checkpoint at or past its position removes it, also one that
    /// `auto_checkpoint` makes.
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`]; also [`ErrorKind::Data`] when a later position is stored, and
    /// [`ErrorKind::Configuration`] with more bytes than fit.
    pub async fn prepare_checkpoint(
        &self,
        record: &Record,
        state: impl Into<Bytes> + Send,
    ) -> Result<Prepared, Error> {
        self.delivered_by_this(record)?;
        let position = record.position();
        self.checkpoints().announce(position, state.into()).await?;
        Ok(Prepared { shard: self.clone(), position })
    }

    /// What an earlier holder announced by [`ShardContext::prepare_checkpoint`] and did not commit, as it was when
    /// this hold began; `None` where there was nothing. For [`RecordProcessor::init`](crate::RecordProcessor::init).
    #[must_use]
    pub fn pending_checkpoint(&self) -> Option<PendingCheckpoint> {
        self.checkpoints().state().inherited.clone().map(|pending| PendingCheckpoint { pending })
    }
}

impl Batch {
    /// As [`ShardContext::prepare_checkpoint`].
    ///
    /// # Errors
    /// As [`ShardContext::prepare_checkpoint`].
    pub async fn prepare_checkpoint(
        &self,
        record: &Record,
        state: impl Into<Bytes> + Send,
    ) -> Result<Prepared, Error> {
        self.shard().prepare_checkpoint(record, state).await
    }
}
