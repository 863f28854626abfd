//! The row of a lease.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::order::OrderId;
use crate::position::Position;
use crate::skipped::SkippedRecords;
use crate::types::{Epoch, HashRange, LeaseKey, ShardId, WorkerId};

/// What the holder of a lease knows about its shard, for people and for placing leases. Stored only together
/// with a position or a hand-over, never in a write of its own. `None` leaves what is stored.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct CheckpointMetadata {
    /// When the last record that is done arrived at the stream: milliseconds since the Unix epoch, by the
    /// stream's clock.
    pub record_arrival_millis: Option<u64>,
    /// When the holder last knew that everything was done and nothing was behind: milliseconds since the Unix
    /// epoch, by the holder's wall clock.
    pub caught_up_millis: Option<u64>,
    /// How much the shard brings: bytes of records in a second, as a mean over minutes.
    pub bytes_per_second: Option<u64>,
    /// How large its records are: bytes of one, as a mean over minutes.
    #[serde(default)]
    pub record_bytes: Option<u64>,
    /// Records that were passed over by a failure policy.
    pub skipped: Option<SkippedRecords>,
    /// Whether the shard's records were pushed by enhanced fan-out.
    pub fan_out: Option<bool>,
}

impl CheckpointMetadata {
    /// The same, with what `earlier` knows where this one knows nothing.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            record_arrival_millis: self.record_arrival_millis.or(earlier.record_arrival_millis),
            caught_up_millis: self.caught_up_millis.or(earlier.caught_up_millis),
            bytes_per_second: self.bytes_per_second.or(earlier.bytes_per_second),
            record_bytes: self.record_bytes.or(earlier.record_bytes),
            skipped: self.skipped.or(earlier.skipped),
            fan_out: self.fan_out.or(earlier.fan_out),
        }
    }
}

/// A position that is announced but not yet reached, with what the application needs to get there: the first
/// phase of a checkpoint in two.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PendingPosition {
    /// The position that is to be stored.
    pub position: Position,
    /// The application's own bytes, at most [`PENDING_STATE_LIMIT`](crate::PENDING_STATE_LIMIT) of them.
    pub state: Bytes,
}

impl PendingPosition {
    /// An announced position with the application's bytes.
    #[must_use]
    pub fn new(position: Position, state: impl Into<Bytes>) -> Self {
        Self { position, state: state.into() }
    }
}

/// The row of a lease.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LeaseRow {
    /// The shard it is for.
    pub key: LeaseKey,
    /// The incarnation that holds it.
    pub owner: Option<WorkerId>,
    /// Grows at every change of owner, and of position by an operator.
    pub epoch: Epoch,
    /// How far the shard is processed.
    pub position: Position,
    /// The position before the last seek, so that it can be undone.
    pub previous: Option<Position>,
    /// The order that set the position last.
    #[serde(default)]
    pub order: Option<OrderId>,
    /// The shards this one came from.
    #[serde(default)]
    pub parents: Vec<ShardId>,
    /// The shards that came from this one; known once it has ended.
    #[serde(default)]
    pub children: Vec<ShardId>,
    /// The partition-key hashes it takes.
    pub hash_range: Option<HashRange>,
    /// The incarnation that asks for it.
    pub claim: Option<WorkerId>,
    /// When the position was last stored, in milliseconds since the Unix epoch by the owner's wall clock. For
    /// people; never used for a decision.
    pub checkpointed_at: Option<u64>,
    /// What the holders said about the shard.
    #[serde(default)]
    pub metadata: CheckpointMetadata,
    /// A position that was announced and not reached yet.
    pub pending: Option<PendingPosition>,
    /// Whether an operator stopped the reading of this shard. The lease is held and moved as ever.
    #[serde(default)]
    pub paused: bool,
    /// The order that stopped or resumed it last.
    pub pause_order: Option<OrderId>,
    /// The incarnation that an operator wants to have it: see [`pins`](crate::pins).
    pub pin: Option<WorkerId>,
}

impl LeaseRow {
    /// A lease that nobody holds yet.
    #[must_use]
    pub fn new(key: LeaseKey, position: Position) -> Self {
        Self {
            key,
            owner: None,
            epoch: Epoch(0),
            position,
            previous: None,
            order: None,
            parents: Vec::new(),
            children: Vec::new(),
            hash_range: None,
            claim: None,
            checkpointed_at: None,
            metadata: CheckpointMetadata::default(),
            pending: None,
            paused: false,
            pause_order: None,
            pin: None,
        }
    }

    /// The same with its parents.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<ShardId>) -> Self {
        self.parents = parents;
        self
    }

    /// The same with its hash range.
    #[must_use]
    pub fn with_hash_range(mut self, range: HashRange) -> Self {
        self.hash_range = Some(range);
        self
    }
}
