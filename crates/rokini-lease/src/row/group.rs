//! What a group decided about a stream, and about itself.

use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::types::StreamId;

/// The row of a stream: what the group decided about it once, for all its workers.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The stream.
    pub id: StreamId,
    /// Its name, for people and tools.
    pub name: String,
    /// Where the group starts: resolved once, stored before the first record is delivered.
    pub start: Position,
}

/// The row of the group itself. A group without one is as the default says.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupRow {
    /// When an operator stopped the reading of all shards, in milliseconds since the Unix epoch by the
    /// operator's wall clock; `None` while it is not stopped.
    pub paused_at: Option<u64>,
}
