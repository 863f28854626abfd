//! What a shard is doing.

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShardState {
    /// The processor is made and initialised.
    Starting,
    /// Waits for records.
    Reading,
    /// Is inside a handler call.
    Handling,
    /// Waits before it calls user code again that failed.
    BackingOff,
    /// Every record was handed out, and nothing more is taken up or comes: waits for ack tokens.
    AwaitingAcks,
    /// Records were given up, or trimmed before they were read, and the policy is to halt: nothing is called until
    /// [`Handle::retry_halted`](crate::Handle::retry_halted) or a seek. Records that were given up get all their tries
    /// again after a restart; what was trimmed is missed again, up to a seek to the oldest record.
    Halted,
    /// Waits until heartbeats arrive again.
    Paused,
    /// Leaves this worker in order.
    Draining,
    /// Every record is done; the end is being stored.
    Ending,
}

impl ShardState {
    /// The name, for people and rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Reading => "reading",
            Self::Handling => "handling",
            Self::BackingOff => "backing-off",
            Self::AwaitingAcks => "awaiting-acks",
            Self::Halted => "halted",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Ending => "ending",
        }
    }
}
