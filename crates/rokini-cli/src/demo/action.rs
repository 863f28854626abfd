//! What the demo does to the workers and the stream.

use std::time::Duration;

/// What a takeover may need beyond the failover time.
pub(crate) const TAKEOVER_MARGIN: Duration = Duration::from_secs(2);

/// Something that the demo does on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// One shard becomes two.
    Split,
    /// One worker is asked to stop (SIGTERM).
    Stop,
    /// Another worker is killed (SIGKILL).
    Kill,
    /// A new worker joins.
    Join,
    /// A shard is split, or two are merged.
    Reshard,
    /// A worker is frozen (SIGSTOP).
    Freeze,
    /// The worker that has been frozen for longest goes on (SIGCONT).
    Resume,
    /// The worker that was killed first and not replaced gets a successor.
    Replace {
        /// Under the same name, as a supervisor does it.
        same_name: bool,
    },
    /// The producer stops, so that what was put can be handled.
    Quiet,
}

impl Action {
    /// What is about to happen, for a sentence that ends with when.
    pub(crate) fn announcement(self) -> &'static str {
        match self {
            Self::Split => "A shard will be split",
            Self::Stop => "A worker will be asked to stop",
            Self::Kill => "Another worker will be killed",
            Self::Join => "A new worker will join",
            Self::Reshard => "A shard will be split, or two merged,",
            Self::Freeze => "A worker will be frozen",
            Self::Resume => "The frozen worker will go on",
            Self::Replace { .. } => "The killed worker will be replaced",
            Self::Quiet => "The last record will be put",
        }
    }
}
