//! One event: what happened, when, and to which stream and shard.

use rokini_lease::{ShardId, StreamId};

use super::table::{EventCode, EventKind};

/// Something that happened in a consumer. Events are for watching: nothing depends on their being read. Log lines and
/// metrics are made from events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When, in milliseconds since the Unix epoch by the consumer's wall clock. For people: clocks of workers differ.
    pub at_millis: u64,
    /// The stream it is about; `None` where it is about the whole worker.
    pub stream: Option<StreamId>,
    /// The shard it is about; `None` where it is about the whole stream or worker.
    pub shard: Option<ShardId>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The stable code of its kind.
    #[must_use]
    pub fn code(&self) -> EventCode {
        self.kind.code()
    }
}
