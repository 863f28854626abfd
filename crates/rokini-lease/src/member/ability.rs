//! Whether a worker can read a stream at present.

use std::fmt;
use std::sync::Arc;

use super::state::MemberState;
use crate::types::StreamId;

/// A worker's ability to read one stream: for whoever finds out that it cannot, and that it can again. Cheap to clone.
///
/// The others learn of it with the next heartbeat, made at once: nothing of the stream falls to a worker that cannot read
/// it, and what it has goes to those who can. Where none can, each keeps what it has and goes on trying.
#[derive(Clone)]
pub struct StreamAbility {
    state: Arc<MemberState>,
    stream: StreamId,
}

impl fmt::Debug for StreamAbility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamAbility").field("stream", &self.stream).field("able", &self.is_able()).finish()
    }
}

impl StreamAbility {
    pub(super) fn new(state: Arc<MemberState>, stream: StreamId) -> Self {
        Self { state, stream }
    }

    /// Whether the worker can, as it said last. At first it can.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.state.is_able(&self.stream)
    }

    /// Whether another worker reads the stream and is able to.
    #[must_use]
    pub fn others_can(&self) -> bool {
        self.state.others_read(&self.stream)
    }

    /// Says that the worker cannot read the stream at present, or that it can again.
    pub fn set(&self, able: bool) {
        self.state.set_able(&self.stream, able);
    }

    /// Resolves once the member is over: left, or declared dead.
    pub async fn over(&self) {
        self.state.stopped.cancelled().await;
    }
}
