//! Which faults a run has.

use clap::ValueEnum;
use rand::Rng;
use rand::rngs::StdRng;
use rokini_lease::StoreOperation;
use serde::{Deserialize, Serialize};

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultProfile {
    /// Workers come and go in order; the streams reshard. Nothing may come twice.
    Orderly,
    /// Also kills, freezes, failing ways, outages, lost replies, stale listings, failing handlers and shards.
    Faulty,
    /// All of these, and workers come and crash by the dozen.
    Churn,
    /// As `faulty`, and rows of the table cannot be read for a while.
    Rows,
    /// As `faulty`, and workers balance by different policies.
    Mixed,
    /// As `faulty`, and workers read through the AWS SDK, by polling and by enhanced fan-out.
    Sdk,
}

impl FaultProfile {
    /// `rows`, `mixed` and `sdk` are for those who ask for them.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..25 => Self::Orderly,
            25..97 => Self::Faulty,
            _ => Self::Churn,
        }
    }
}

/// A part of a worker's way to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorePath {
    /// Nothing arrives.
    Everything,
    /// Requests arrive, replies do not.
    Replies,
    /// Every read is refused by the rate limits.
    Reads,
    /// Every write fails.
    Writes,
    /// Listings of all rows fail.
    Listings,
    /// Heartbeats fail, and nothing else.
    Heartbeats,
    /// Checkpoints fail, and nothing else.
    Checkpoints,
    /// Acquisitions fail, and nothing else.
    Acquisitions,
    /// Hand-overs fail, and nothing else.
    HandOvers,
    /// Writes to other workers' rows fail: fences and notifications.
    OtherWorkers,
    /// The credentials allow no write any more.
    Permission,
}

impl StorePath {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Everything,
        Self::Replies,
        Self::Reads,
        Self::Writes,
        Self::Listings,
        Self::Heartbeats,
        Self::Checkpoints,
        Self::Acquisitions,
        Self::HandOvers,
        Self::OtherWorkers,
        Self::Permission,
    ];

    /// Whether calls of this kind take it.
    pub(crate) fn has(self, operation: StoreOperation) -> bool {
        match self {
            Self::Everything | Self::Replies => operation != StoreOperation::Init,
            Self::Reads => !operation.is_write() && operation != StoreOperation::Init,
            Self::Writes | Self::Permission => operation.is_write(),
            Self::Listings => operation == StoreOperation::ListAll,
            Self::Heartbeats => operation == StoreOperation::Heartbeat,
            Self::Checkpoints => operation == StoreOperation::Checkpoint,
            Self::Acquisitions => operation == StoreOperation::Acquire,
            Self::HandOvers => matches!(operation, StoreOperation::HandOver | StoreOperation::Finish),
            Self::OtherWorkers => matches!(operation, StoreOperation::Fence | StoreOperation::Notify),
        }
    }

    /// Whether the worker's heartbeats do not get through both ways: the others come to take it for dead.
    pub(crate) fn silences(self) -> bool {
        self == Self::Replies || self.has(StoreOperation::Heartbeat)
    }

    /// Whether what the worker has done may not be stored.
    pub(crate) fn keeps_positions_back(self) -> bool {
        self.silences() || matches!(self, Self::Checkpoints | Self::HandOvers)
    }

    /// Whether the worker may not come to work on a lease that is its own.
    pub(crate) fn keeps_from_taking(self) -> bool {
        self.has(StoreOperation::Read) || self.has(StoreOperation::Acquire)
    }
}
