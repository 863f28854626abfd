//! Checkpoints in two phases, as user code makes and finds them.

use bytes::Bytes;
use rokini_lease::{PendingPosition, Position};

use super::batch::Batch;
use super::shard_context::ShardContext;
use crate::types::error::Error;
use crate::types::record::Record;

/// A checkpoint whose first phase of two is stored. Got by [`ShardContext::prepare_checkpoint`].
#[derive(Debug)]
#[must_use = "what is prepared becomes the position by `commit` only"]
pub struct PreparedCheckpoint {
    shard: ShardContext,
    position: Position,
}

impl PreparedCheckpoint {
    /// The position that was prepared.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Stores that the record and all before it are done; returns once that is stored. What was prepared is
    /// removed with it.
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`].
    pub async fn commit(self) -> Result<(), Error> {
        self.shard.checkpoints().request(self.position).await
    }
}

/// A checkpoint that an earlier holder of the shard prepared and did not commit, as far as the store knows. Got by
/// [`ShardContext::pending_checkpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    pending: PendingPosition,
}

impl PendingCheckpoint {
    /// The position that was prepared.
    #[must_use]
    pub fn position(&self) -> Position {
        self.pending.position
    }

    /// The application's own bytes.
    #[must_use]
    pub fn state(&self) -> &Bytes {
        &self.pending.state
    }

    /// Whether the record is done once the prepared position is: it is at or before it. Such records come again,
    /// because the position was not stored; where their work turns out to be final they are to be passed over.
    #[must_use]
    pub fn covers(&self, record: &Record) -> bool {
        record.done_at() <= self.pending.position
    }
}

impl ShardContext {
    /// The first phase of a checkpoint in two: stores that this record and all before it are about to be done, with
    /// bytes of the application's own (16 KiB at most) that say how; returns once that is stored. Then comes the work
    /// that makes them done, and then [`PreparedCheckpoint::commit`]. If this worker dies between the two, the next
    /// holder of the shard finds what was prepared by [`ShardContext::pending_checkpoint`], and can look up whether that
    /// work took place.
    ///
    /// Preparing another position replaces this one. Any checkpoint at or past its position removes it, also one that
    /// `auto_checkpoint` makes.
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`]; also [`ErrorKind::Data`](crate::ErrorKind::Data) when a later position is
    /// stored, and [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) with more bytes than fit.
    pub async fn prepare_checkpoint(
        &self,
        record: &Record,
        state: impl Into<Bytes> + Send,
    ) -> Result<PreparedCheckpoint, Error> {
        self.require_delivered(record)?;
        let position = record.position();
        self.checkpoints().prepare(position, state.into()).await?;
        Ok(PreparedCheckpoint { shard: self.clone(), position })
    }

    /// What an earlier holder prepared by [`ShardContext::prepare_checkpoint`] and did not commit, as it was when
    /// this hold began; `None` where there was nothing. For [`RecordProcessor::init`](crate::RecordProcessor::init).
    #[must_use]
    pub fn pending_checkpoint(&self) -> Option<PendingCheckpoint> {
        self.checkpoints().inherited().map(|pending| PendingCheckpoint { pending })
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
    ) -> Result<PreparedCheckpoint, Error> {
        self.shard().prepare_checkpoint(record, state).await
    }
}
