//! Every conditional write as a value, with its meaning as a pure function.
//!
//! `apply` is the specification: the store in memory runs it under a lock, the one on DynamoDB says the same in
//! condition expressions, and the conformance suite compares stores with it.

use std::collections::BTreeSet;

use crate::position::Position;
use crate::row::{
    CheckpointMetadata, FanOutConsumer, GroupRow, LeaseRow, ORDERS_LIMIT, OperatorOrder, OrderId,
    PendingPosition, StreamRow, WorkerLoad, WorkerNotification, WorkerReport, WorkerRow, WorkerState,
};
use crate::types::{Epoch, ShardId, StreamId, WorkerId};

/// The most notifications a mailbox holds. One is about 60 bytes, so a full mailbox stays far below the 1 KB that
/// one write unit of DynamoDB covers twice.
pub const MAILBOX_LIMIT: usize = 32;

/// The most bytes of application state beside a pending position: 16 KiB. Every full listing of the group reads
/// them, and a row of DynamoDB holds 400 KB.
pub const PENDING_STATE_LIMIT: usize = 16 * 1024;

/// A conditional write on a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseUpdate {
    /// Take the lease: it has the epoch `seen`. Sets the owner and a higher epoch, and clears the claim.
    Acquire {
        /// The new owner.
        by: WorkerId,
        /// The epoch the lease had when its owner was found missing.
        seen: Epoch,
        /// The new epoch is `seen + 1`, or this where it is higher: the time in milliseconds since the Unix epoch, so that
        /// a lease that was deleted and made anew does not repeat the epochs of the one before.
        at_least: Epoch,
        /// Until when everything that arrived in the shard was done, as the row of its dead owner says; it is stored
        /// in place of what is. `None` where nothing later is known.
        caught_up_millis: Option<u64>,
    },
    /// Store a position under `owner` and `epoch`. Never lowers it.
    Checkpoint {
        /// Who holds the lease.
        owner: WorkerId,
        /// Since when.
        epoch: Epoch,
        /// What is done.
        position: Position,
        /// The owner's wall clock in milliseconds since the Unix epoch, for people.
        at: u64,
        /// What the owner knows of the shard.
        metadata: CheckpointMetadata,
        /// Whether it reaches the pending position, which is then removed. The owner knows: nobody else
        /// writes one while it holds the lease.
        settles: bool,
    },
    /// Announce a position under `owner` and `epoch`, with the application's state: replaces an earlier one.
    Prepare {
        /// Who holds the lease.
        owner: WorkerId,
        /// Since when.
        epoch: Epoch,
        /// What is to be stored later, not below the stored position.
        pending: PendingPosition,
    },
    /// Give the lease to another worker, or to nobody: position, owner and `epoch + 1` in one write.
    HandOver {
        /// Who holds the lease.
        owner: WorkerId,
        /// Since when.
        epoch: Epoch,
        /// Who is to hold it.
        to: Option<WorkerId>,
        /// What is done; `None` leaves the stored position.
        position: Option<Position>,
        /// The owner's wall clock in milliseconds since the Unix epoch, for people.
        at: u64,
        /// What the owner knows of the shard.
        metadata: CheckpointMetadata,
        /// As in a checkpoint.
        settles: bool,
    },
    /// Store the end of the shard with its children; nobody holds the lease any more.
    Finish {
        /// Who holds the lease.
        owner: WorkerId,
        /// Since when.
        epoch: Epoch,
        /// The shards that came from this one.
        children: Vec<ShardId>,
        /// The owner's wall clock in milliseconds since the Unix epoch, for people.
        at: u64,
    },
    /// Ask the owner for the lease. Holds while no other claim stands than `over`.
    Claim {
        /// Who asks.
        by: WorkerId,
        /// The epoch seen.
        seen: Epoch,
        /// The claim of a dead worker that this one replaces.
        over: Option<WorkerId>,
    },
    /// Withdraw a claim.
    Unclaim {
        /// Who asked.
        by: WorkerId,
    },
    /// Set the position by an operator's order: keeps the one before, and `seen + 1`. What was known of the
    /// position before (its metadata, what was pending) goes.
    Seek {
        /// The epoch seen.
        seen: Epoch,
        /// The new position.
        to: Position,
        /// The order it belongs to; `None` where nobody ordered it.
        order: Option<OrderId>,
    },
    /// Stop or resume the reading of the shard by an operator's order. Refused where it is so already. Changes
    /// neither owner nor epoch.
    Pause {
        /// Whether it is to stop.
        paused: bool,
        /// The order it belongs to; `None` where nobody ordered it.
        order: Option<OrderId>,
    },
    /// Keep the lease with a worker by an operator's order, or with no certain one. Refused where it is so already. Changes
    /// neither owner nor epoch: the plan does.
    Pin {
        /// Who is to have it.
        to: Option<WorkerId>,
    },
}

impl LeaseUpdate {
    /// The row after this update, or `None` where its condition does not hold.
    #[must_use]
    pub fn apply(&self, row: &LeaseRow) -> Option<LeaseRow> {
        let mut next = row.clone();
        let held = |owner: &WorkerId, epoch: &Epoch| row.owner.as_ref() == Some(owner) && row.epoch == *epoch;
        match self {
            Self::Acquire { by, seen, at_least, caught_up_millis } => {
                (row.epoch == *seen && !row.position.is_shard_end()).then_some(())?;
                next.owner = Some(by.clone());
                next.epoch = seen.next().max(*at_least);
                next.claim = None;
                if caught_up_millis.is_some() {
                    next.metadata.caught_up_millis = *caught_up_millis;
                }
            }
            Self::Checkpoint { owner, epoch, position, at, metadata, settles } => {
                (held(owner, epoch) && *position >= row.position).then_some(())?;
                next.position = *position;
                next.checkpointed_at = Some(*at);
                next.learn(*metadata, *settles);
            }
            Self::Prepare { owner, epoch, pending } => {
                (held(owner, epoch) && pending.position >= row.position).then_some(())?;
                next.pending = Some(pending.clone());
            }
            Self::HandOver { owner, epoch, to, position, at, metadata, settles } => {
                held(owner, epoch).then_some(())?;
                if let Some(position) = position {
                    (*position >= row.position).then_some(())?;
                    next.position = *position;
                    next.checkpointed_at = Some(*at);
                }
                next.learn(*metadata, *settles);
                next.owner = to.clone();
                next.epoch = epoch.next();
                next.claim = None;
            }
            Self::Finish { owner, epoch, children, at } => {
                held(owner, epoch).then_some(())?;
                next.position = Position::ShardEnd;
                next.checkpointed_at = Some(*at);
                next.children.clone_from(children);
                next.pending = None;
                next.owner = None;
                next.epoch = epoch.next();
                next.claim = None;
            }
            Self::Claim { by, seen, over } => {
                (row.epoch == *seen && (row.claim.is_none() || row.claim == *over)).then_some(())?;
                next.claim = Some(by.clone());
            }
            Self::Unclaim { by } => {
                (row.claim.as_ref() == Some(by)).then_some(())?;
                next.claim = None;
            }
            Self::Seek { seen, to, order } => {
                (row.epoch == *seen).then_some(())?;
                next.previous = Some(row.position);
                next.order = *order;
                next.position = *to;
                next.epoch = seen.next();
                next.metadata = CheckpointMetadata {
                    bytes_per_second: row.metadata.bytes_per_second,
                    record_bytes: row.metadata.record_bytes,
                    skipped: row.metadata.skipped,
                    ..CheckpointMetadata::default()
                };
                next.pending = None;
            }
            Self::Pause { paused, order } => {
                (row.paused != *paused).then_some(())?;
                next.paused = *paused;
                next.pause_order = *order;
            }
            Self::Pin { to } => {
                (row.pin != *to).then_some(())?;
                next.pin.clone_from(to);
            }
        }
        Some(next)
    }

    /// Whether this row shows that the update took effect although its reply was lost. Only asked by the
    /// writer itself, about an update whose first try may have reached the store.
    #[must_use]
    pub fn took_effect(&self, row: &LeaseRow) -> bool {
        match self {
            Self::Acquire { by, seen, at_least, .. } => {
                row.owner.as_ref() == Some(by) && row.epoch == seen.next().max(*at_least)
            }
            Self::Checkpoint { owner, epoch, position, .. } => {
                row.owner.as_ref() == Some(owner) && row.epoch == *epoch && row.position == *position
            }
            Self::Prepare { owner, epoch, pending } => {
                row.owner.as_ref() == Some(owner)
                    && row.epoch == *epoch
                    && row.pending.as_ref() == Some(pending)
            }
            Self::HandOver { epoch, to, position, .. } => {
                // The new owner may have gone on since.
                row.owner == *to && row.epoch == epoch.next() && position.is_none_or(|p| p <= row.position)
            }
            Self::Finish { epoch, children, .. } => {
                row.epoch == epoch.next() && row.position.is_shard_end() && row.children == *children
            }
            Self::Claim { by, seen, .. } => row.claim.as_ref() == Some(by) && row.epoch == *seen,
            Self::Unclaim { by } => row.claim.as_ref() != Some(by),
            Self::Seek { seen, to, order } => {
                row.epoch == seen.next() && row.position == *to && row.order == *order
            }
            Self::Pause { paused, order } => row.paused == *paused && row.pause_order == *order,
            Self::Pin { to } => row.pin == *to,
        }
    }
}

impl LeaseRow {
    /// What comes with a position.
    fn learn(&mut self, metadata: CheckpointMetadata, settles: bool) {
        self.metadata = metadata.or(self.metadata);
        if settles {
            self.pending = None;
        }
    }
}

/// A write on the row of the group itself. Pauses have no condition: the last operator is right.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupUpdate {
    /// Stop the reading of all shards.
    Pause {
        /// The operator's wall clock in milliseconds since the Unix epoch, for people.
        at: u64,
    },
    /// Go on.
    Resume,
    /// Remember this order, and the 19 before it. Refused where one of its id or a later one is remembered.
    Remember(OperatorOrder),
}

impl GroupUpdate {
    /// The row after this update, or `None` where its condition does not hold.
    #[must_use]
    pub fn apply(&self, row: &GroupRow) -> Option<GroupRow> {
        let mut next = row.clone();
        match self {
            // Since when it stands still, not when that was last asked for.
            Self::Pause { at } => next.paused_at = row.paused_at.or(Some(*at)),
            Self::Resume => next.paused_at = None,
            Self::Remember(order) => {
                row.orders.iter().all(|known| known.id < order.id).then_some(())?;
                next.orders.push(order.clone());
                next.orders.drain(..next.orders.len().saturating_sub(ORDERS_LIMIT));
            }
        }
        Some(next)
    }

    /// Whether this row shows that the update took effect although its reply was lost.
    #[must_use]
    pub fn took_effect(&self, row: &GroupRow) -> bool {
        match self {
            Self::Pause { .. } | Self::Resume => self.apply(row).as_ref() == Some(row),
            Self::Remember(order) => row.orders.contains(order),
        }
    }
}

/// A conditional write on the row of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamUpdate {
    /// Note under which name the group is registered for enhanced fan-out. Refused where the row says something else than
    /// what was seen.
    Consumer {
        /// What the row said.
        seen: Option<FanOutConsumer>,
        /// What it is to say.
        to: FanOutConsumer,
    },
}

impl StreamUpdate {
    /// The row after this update, or `None` when its condition does not hold.
    #[must_use]
    pub fn apply(&self, row: &StreamRow) -> Option<StreamRow> {
        match self {
            Self::Consumer { seen, to } if row.consumer == *seen => {
                Some(StreamRow { consumer: Some(to.clone()), ..row.clone() })
            }
            Self::Consumer { .. } => None,
        }
    }

    /// Whether this row shows that the update took effect although its reply was lost.
    #[must_use]
    pub fn took_effect(&self, row: &StreamRow) -> bool {
        match self {
            Self::Consumer { to, .. } => row.consumer.as_ref() == Some(to),
        }
    }
}

/// A conditional write on a worker row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one is made for each call, sent and gone")]
pub enum WorkerUpdate {
    /// The worker's own heartbeat: `seen + 1`, its load and state out, its mailbox emptied. Refused once
    /// fenced.
    Heartbeat {
        /// The counter of its last heartbeat.
        seen: u64,
        /// A value that no other call of the worker has.
        call: u64,
        /// What it carries now.
        load: WorkerLoad,
        /// Alive or leaving.
        state: WorkerState,
        /// The streams it reads; `None` for all.
        streams: Option<BTreeSet<StreamId>>,
        /// What else it says of itself.
        report: WorkerReport,
    },
    /// Declare the worker dead: its counter is still `seen`.
    Fence {
        /// The counter that did not move.
        seen: u64,
    },
    /// Leave a notification. Refused when fenced, and when the mailbox is full.
    Notify(WorkerNotification),
}

impl WorkerUpdate {
    /// The row after this update, or `None` where its condition does not hold.
    #[must_use]
    pub fn apply(&self, row: &WorkerRow) -> Option<WorkerRow> {
        (row.state != WorkerState::Fenced).then_some(())?;
        let mut next = row.clone();
        match self {
            Self::Heartbeat { seen, call, load, state, streams, report } => {
                (row.heartbeat == *seen).then_some(())?;
                next.heartbeat = seen + 1;
                next.call = *call;
                next.load = *load;
                next.state = *state;
                next.streams.clone_from(streams);
                next.report.clone_from(report);
                next.mailbox.clear();
            }
            Self::Fence { seen } => {
                (row.heartbeat == *seen).then_some(())?;
                next.state = WorkerState::Fenced;
            }
            Self::Notify(notification) => {
                (row.mailbox.len() < MAILBOX_LIMIT).then_some(())?;
                next.mailbox.insert(notification.clone());
            }
        }
        Some(next)
    }

    /// Whether this row shows that the update took effect although its reply was lost.
    #[must_use]
    pub fn took_effect(&self, row: &WorkerRow) -> bool {
        match self {
            Self::Heartbeat { seen, call, .. } => {
                row.heartbeat == seen + 1 && row.call == *call && row.state != WorkerState::Fenced
            }
            Self::Fence { seen } => row.heartbeat == *seen && row.state == WorkerState::Fenced,
            Self::Notify(notification) => row.mailbox.contains(notification),
        }
    }
}
