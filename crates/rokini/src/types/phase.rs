//! How far a consumer is in its life.

/// How far a consumer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConsumerPhase {
    /// Built, not running yet.
    Created,
    /// Finds its stream, its start position and its group.
    Starting,
    /// Works.
    Running,
    /// Drains and hands over.
    Stopping,
    /// Over.
    Stopped,
}

impl ConsumerPhase {
    /// The name, such as `running`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}
