//! What an operator asks for, and what comes of it.

use std::collections::BTreeSet;

use crate::error::StoreError;
use crate::position::Position;
use crate::row::{OperatorOrder, OrderId, UnreadableRow};
use crate::types::{GroupId, LeaseKey, StreamId, WorkerId};

/// The leases that a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All leases of the group.
    Group,
    /// All leases of one stream.
    Stream(StreamId),
    /// These leases.
    Leases(Vec<LeaseKey>),
}

/// What a seek does, or would do, to one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeekChange {
    /// The lease.
    pub key: LeaseKey,
    /// The position it had.
    pub from: Position,
    /// The position it has, or would get.
    pub to: Position,
    /// The worker that holds it, and begins anew from there.
    pub owner: Option<WorkerId>,
    /// Whether it was written; `false` in a dry run, and where the lease stood there already and nobody held it.
    pub written: bool,
}

/// What a seek came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SeekReport {
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// The leases, parents before their children.
    pub steps: Vec<SeekChange>,
    /// The order, by which it can be taken back; `None` where nothing was written.
    pub order: Option<OrderId>,
    /// The order that it takes back.
    pub undoes: Option<OperatorOrder>,
}

/// What a pause or its end came to, or would come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PauseReport {
    /// The order; `None` where nothing was to be changed, and in a dry run.
    pub order: Option<OrderId>,
    /// Whether the pause of the group as a whole is changed.
    pub group: bool,
    /// The leases that are changed; empty where it is about the group.
    pub changed: Vec<LeaseKey>,
}

/// What the deletion of a group removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Rows of workers.
    pub workers: usize,
    /// Leases, with their positions.
    pub leases: usize,
    /// Streams, with the start positions.
    pub streams: usize,
    /// Rows that could not be read, and are still there.
    pub left: Vec<UnreadableRow>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The group has no such lease.
    #[error("group `{group}` has no lease {keys}: list the group's leases")]
    UnknownLease {
        /// The group.
        group: GroupId,
        /// The leases, for people.
        keys: String,
    },
    /// The command contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// Workers of the group are alive.
    #[error("group `{group}` has live workers ({workers}): stop them first, or force it")]
    Alive {
        /// The group.
        group: GroupId,
        /// The workers, for people.
        workers: String,
    },
    /// The shard is not finished.
    #[error(
        "lease `{key}` stands at {position}, so its shard is not finished: let it be read to its end, or force it"
    )]
    NotEnded {
        /// The lease.
        key: LeaseKey,
        /// Its position.
        position: Position,
    },
    /// The lease changed hands too often meanwhile.
    #[error("lease `{0}` changes hands all the time: try again")]
    Moving(LeaseKey),
    /// It failed after it had changed some of its leases. [`Operator::undo`](super::Operator::undo) takes these back, and the
    /// same command does the rest.
    #[error("order {order} changed {written} of {of} leases, then failed: {source}")]
    Partly {
        /// The order.
        order: OrderId,
        /// How many leases it changed.
        written: usize,
        /// How many it was about.
        of: usize,
        /// Why it failed.
        source: Box<OperatorError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The workers that were watched until each had been silent for its failover time: those, and no others, may be taken for dead.
#[derive(Debug, Clone, Default)]
pub struct SilentWorkers(pub(super) BTreeSet<WorkerId>);
