//! What a processor knows of its shard.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rokini_lease::{Epoch, GroupId, Lease, LeaseKey, LeaseValidity, Position, ShardId, StreamId, WorkerId};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Checkpointer;
use crate::delivery::acks::AckQueue;
use crate::types::error::{Error, ErrorKind};
use crate::types::record::Record;

/// What a processor knows of its shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardContext {
    hold: Arc<ShardHold>,
    lane: usize,
}

/// What is the same for all lanes of a hold.
struct ShardHold {
    group: GroupId,
    /// Shared by the records that this hold delivers, and by no others.
    key: Arc<LeaseKey>,
    worker: WorkerId,
    epoch: Epoch,
    position: Position,
    checkpoints: Checkpointer,
    acks: Arc<AckQueue>,
    cancelled: CancellationToken,
    validity: LeaseValidity,
    restart: RestartRequest,
}

/// That the work on the shard is to begin anew, and why.
#[derive(Debug, Default)]
struct RestartRequest {
    reason: OnceLock<String>,
    made: CancellationToken,
}

impl ShardContext {
    pub(crate) fn new(group: GroupId, lease: &Lease, worker: WorkerId) -> Self {
        let (key, epoch, position, validity) =
            (lease.key(), lease.epoch(), lease.position(), lease.validity());
        let checkpoints = Checkpointer::new(key.shard.clone(), position);
        let (key, cancelled) = (Arc::new(key.clone()), CancellationToken::new());
        let acks = Arc::new(AckQueue::new(Arc::clone(&key), cancelled.clone()));
        let restart = RestartRequest::default();
        let hold = ShardHold {
            group,
            key,
            worker,
            epoch,
            position,
            checkpoints,
            acks,
            cancelled,
            validity,
            restart,
        };
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
        &self.hold.key.stream
    }

    /// The shard.
    #[must_use]
    pub fn shard_id(&self) -> &ShardId {
        &self.hold.key.shard
    }

    /// Stream and shard, as the records of this hold share them.
    pub(crate) fn key(&self) -> &Arc<LeaseKey> {
        &self.hold.key
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
        self.require_delivered(record)?;
        self.hold.checkpoints.request(record.position()).await
    }

    /// As [`ShardContext::checkpoint_at`], for user code that knows numbers and not records, such as another process: stores
    /// that the shard is done up to this position. Waits for a lease store that does not answer no longer than `patience`; the
    /// position is stored all the same once it answers, if the lease is still held.
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`]; [`ErrorKind::Data`] also for a position past what was delivered; after `patience`
    /// what the store said last, [`ErrorKind::Throttled`] or [`ErrorKind::Retry`] most likely.
    pub async fn checkpoint_through(&self, position: Position, patience: Duration) -> Result<(), Error> {
        self.hold.checkpoints.request_within(position, patience).await
    }

    /// Has the work on the shard begin anew at its stored position, with a new processor: for user code that lost what it
    /// knew of records which it took without storing that they are done, such as another process that died. What was not
    /// stored comes again. The lease stays with this worker, under a new epoch. Does nothing while the shard leaves.
    pub fn restart(&self, reason: impl Into<String>) {
        // The first reason is the one to tell.
        let _ = self.hold.restart.reason.set(reason.into());
        self.hold.restart.made.cancel();
    }

    /// Resolves once [`ShardContext::restart`] was called, with the reason. Cancel safe.
    pub(crate) async fn restart_requested(&self) -> String {
        self.hold.restart.made.cancelled().await;
        self.hold.restart.reason.get().cloned().unwrap_or_default()
    }

    /// Refuses a record that another hold delivered, or none.
    pub(crate) fn require_delivered(&self, record: &Record) -> Result<(), Error> {
        if record.delivered_by(&self.hold.key) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "record {} was not delivered by this hold of shard {} (epoch {}): checkpoint it with the batch it \
                 came in",
                record.sequence_number, self.hold.key.shard, self.hold.epoch
            ),
        ))
    }

    /// Whether what a handler does still counts: `false` once the lease is lost or handed over, or the deadline of a
    /// shutdown has passed. It never becomes `true` again, and `true` promises nothing: the lease may be lost at any
    /// time.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.hold.cancelled.is_cancelled()
    }

    /// Whether the shard may be worked on at this moment: what a handler does counts ([`ShardContext::is_current`]), and
    /// the heartbeats of this worker arrive. While they do not, another worker may take the shard over, and have
    /// the same records.
    ///
    /// It may become `true` again. It is asked before every handler call; to be asked before the
    /// next step by a handler that takes long, or by whoever keeps records in a queue.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.is_current() && self.hold.validity.is_valid()
    }

    /// Resolves once [`ShardContext::is_valid`] may be `true`, or can never be again. Cancel safe.
    pub(crate) async fn until_valid(&self) {
        tokio::select! {
            () = self.hold.cancelled.cancelled() => {}
            () = self.hold.validity.until_valid() => {}
        }
    }

    /// Resolves once what a handler does will not count ([`ShardContext::is_current`]): it may then return at once with
    /// whatever result. Cancel safe.
    pub async fn cancelled(&self) {
        self.hold.cancelled.cancelled().await;
    }

    /// Cancelled by whoever has the hold.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.hold.cancelled
    }

    pub(crate) fn acks(&self) -> &Arc<AckQueue> {
        &self.hold.acks
    }

    pub(crate) fn checkpoints(&self) -> &Checkpointer {
        &self.hold.checkpoints
    }
}

impl fmt::Debug for ShardContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardContext")
            .field("stream", &self.hold.key.stream)
            .field("shard", &self.hold.key.shard)
            .field("epoch", &self.hold.epoch)
            .field("position", &self.hold.position)
            .finish_non_exhaustive()
    }
}
