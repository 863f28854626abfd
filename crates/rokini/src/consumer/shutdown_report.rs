//! How a shutdown went, shard by shard.

use std::time::Duration;

use rokini_lease::{Epoch, LeaseLostReason, Position, SequenceNumber, ShardId, StreamId, WorkerId};

use crate::shard::progress::ShardProgress;
use crate::shard::task::TaskOutcome;

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The shards this worker had when it began to stop, in the order of streams and ids.
    pub shards: Vec<ShardReport>,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether no handler was abandoned and everything done is stored.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.shards.iter().all(|shard| {
            shard.stored == shard.done
                && matches!(shard.end, ShardStop::Drained { .. } | ShardStop::Ended | ShardStop::Lost(_))
        })
    }
}

/// How one shard left a worker that stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardReport {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The epoch under which this worker had it.
    pub epoch: Epoch,
    /// How it ended.
    pub end: ShardStop,
    /// How far it was done.
    pub done: Position,
    /// How far that is stored.
    pub stored: Position,
}

/// How the work on a shard stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardStop {
    /// The handler finished, and the shard was handed over.
    Drained {
        /// The worker that has it now; `None` where it is free.
        to: Option<WorkerId>,
    },
    /// The shard was at its end, and that is stored.
    Ended,
    /// The handler did not return in time, or the lease store did not answer.
    Abandoned {
        /// The first record of the batch that was in the handler; `None` when no handler ran.
        handling: Option<SequenceNumber>,
    },
    /// The lease was lost meanwhile.
    Lost(LeaseLostReason),
}

impl ShardReport {
    pub(super) fn new(shard: &ShardProgress, outcome: &TaskOutcome) -> Self {
        let checkpoints = shard.context.checkpoints();
        let end = match outcome {
            TaskOutcome::HandedOver { to } => ShardStop::Drained { to: to.clone() },
            TaskOutcome::Finished => ShardStop::Ended,
            TaskOutcome::Abandoned { handling } => ShardStop::Abandoned { handling: *handling },
            TaskOutcome::Lost(cause) => ShardStop::Lost(*cause),
            TaskOutcome::Restarted(_) | TaskOutcome::Broken(_) => ShardStop::Abandoned { handling: None },
        };
        Self {
            stream: shard.context.stream().clone(),
            shard: shard.context.shard_id().clone(),
            epoch: shard.context.epoch(),
            end,
            done: checkpoints.latest_done(),
            stored: checkpoints.stored(),
        }
    }

    /// Of a shard whose task did not end.
    pub(super) fn unfinished(shard: &ShardProgress) -> Self {
        Self::new(shard, &TaskOutcome::Abandoned { handling: shard.snapshot().status.handling })
    }
}
