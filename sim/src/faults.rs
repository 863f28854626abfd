//! Which faults a run has.

use std::collections::BTreeSet;

use clap::ValueEnum;

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum FaultProfile {
    /// Workers come and go in order; the streams reshard. Nothing may come twice.
    Orderly,
    /// Also kills, freezes, partitions, outages, lost replies, stale listings, failing handlers and shards.
    Faulty,
    /// All of these, and workers come and crash by the dozen.
    Churn,
}

/// Something that a run can go without, to find out what a failure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum FaultKind {
    /// Workers join beside the first ones.
    Joins,
    /// Workers leave in order.
    Leaves,
    /// Shards split and merge.
    Reshards,
    /// An operator seeks, undoes a seek, pauses and resumes.
    OperatorCommands,
    /// A worker cannot reach the store or the stream.
    Cuts,
    /// No worker can reach the store.
    Outages,
    /// A worker crashes in a call.
    Crashes,
    /// A worker is killed.
    Kills,
    /// A worker is frozen, and later goes on.
    Freezes,
    /// The reads of one shard go wrong.
    ShardFaults,
    /// Single calls fail, or are answered late or twice.
    CallFaults,
    /// Handlers fail.
    HandlerFailures,
}

impl FaultKind {
    /// The kind of a step of a run, by the number that was drawn for it.
    pub(crate) fn of_step(number: u32) -> Option<Self> {
        Some(match number {
            0 | 1 => Self::Joins,
            2 => Self::Leaves,
            3 | 4 => Self::Reshards,
            5 | 14 => Self::OperatorCommands,
            6 | 7 => Self::Cuts,
            8 => Self::Outages,
            10 => Self::Crashes,
            11 => Self::Freezes,
            12 => Self::ShardFaults,
            13 => Self::Kills,
            _ => return None,
        })
    }
}

/// What a run is made smaller by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most so many steps; the seed decides if there is no limit.
    pub steps: Option<u32>,
    /// At most so many workers at the start; the seed decides if there is no limit.
    pub workers: Option<u32>,
    /// Without these.
    pub without: BTreeSet<FaultKind>,
}
