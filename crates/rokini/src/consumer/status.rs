//! What people see of a worker.

use std::sync::Arc;
use std::time::Duration;

use rokini_lease::{GroupId, GroupView, HashRange, Position, StreamId, WorkerId};

use crate::catalog::streams::OpenStream;
use crate::shard::status::ShardStatus;
use crate::types::phase::ConsumerPhase;

/// How a worker stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The group.
    pub group: GroupId,
    /// This worker; `None` before it has joined.
    pub worker: Option<WorkerId>,
    /// How far it is in its life.
    pub phase: ConsumerPhase,
    /// The streams that are read, in the order of their ids; none before the start position is stored.
    pub streams: Vec<StreamStatus>,
    /// Whether [`Handle::pause`](super::handle::Handle::pause) holds.
    pub paused: bool,
    /// Whether heartbeats arrive, so that handlers run.
    pub valid: bool,
    /// The shards that this worker works on, in the order of streams and ids.
    pub shards: Vec<ShardStatus>,
    /// The whole group as this worker saw it last.
    pub fleet: Arc<GroupView>,
}

/// A stream that a consumer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStatus {
    /// The stream with the time of its creation.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// Where the group started in it.
    pub start: Position,
    /// How long it keeps records, as it said last.
    pub retention: Duration,
    /// Partition-key hashes that no lease covered when this worker last audited the stream. Records with these
    /// hashes reach nobody until they are mended, which the audit does by itself where it can.
    pub holes: Vec<HashRange>,
}

impl StreamStatus {
    pub(super) fn of(stream: &OpenStream) -> Self {
        Self {
            id: stream.id.clone(),
            name: stream.name.clone(),
            start: stream.start,
            retention: stream.retention(),
            holes: stream.holes(),
        }
    }
}
