//! The stable names of events.

use std::fmt;

use super::Event;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The stable code of a kind of [`Event`]: what logs, metrics and alerts name, and where to look it up in
        /// `docs/TROUBLESHOOTING.md`. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl EventCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as text, such as `handler-failed`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

codes! {
    /// [`Event::StartResolved`]
    StartResolved = "start-resolved",
    /// [`Event::MonitoringStarted`]
    MonitoringStarted = "monitoring-started",
    /// [`Event::Joined`]
    Joined = "joined",
    /// [`Event::LeasesCreated`]
    LeasesCreated = "leases-created",
    /// [`Event::ShardStarted`]
    ShardStarted = "shard-started",
    /// [`Event::Checkpointed`]
    Checkpointed = "checkpointed",
    /// [`Event::CheckpointFailed`]
    CheckpointFailed = "checkpoint-failed",
    /// [`Event::HandlerFailed`]
    HandlerFailed = "handler-failed",
    /// [`Event::Bisecting`]
    Bisecting = "bisecting",
    /// [`Event::Parked`]
    Parked = "parked",
    /// [`Event::Unparked`]
    Unparked = "unparked",
    /// [`Event::Skipped`]
    Skipped = "skipped",
    /// [`Event::DeadLettered`]
    DeadLettered = "dead-lettered",
    /// [`Event::DeadLetterFailed`]
    DeadLetterFailed = "dead-letter-failed",
    /// [`Event::Halted`]
    Halted = "halted",
    /// [`Event::ReadFailed`]
    ReadFailed = "read-failed",
    /// [`Event::ShardGone`]
    ShardGone = "shard-gone",
    /// [`Event::ShardEnded`]
    ShardEnded = "shard-ended",
    /// [`Event::HandedOver`]
    HandedOver = "handed-over",
    /// [`Event::LeaseLost`]
    LeaseLost = "lease-lost",
    /// [`Event::ShardRestarted`]
    ShardRestarted = "shard-restarted",
    /// [`Event::ForeignLease`]
    ForeignLease = "foreign-lease",
    /// [`Event::DataLoss`]
    DataLoss = "data-loss",
    /// [`Event::DataLossNear`]
    DataLossNear = "data-loss-near",
    /// [`Event::ShardGivenBack`]
    ShardGivenBack = "shard-given-back",
    /// [`Event::HolesFound`]
    HolesFound = "holes-found",
    /// [`Event::StreamAdded`]
    StreamAdded = "stream-added",
    /// [`Event::StreamRemoved`]
    StreamRemoved = "stream-removed",
    /// [`Event::StreamReplaced`]
    StreamReplaced = "stream-replaced",
    /// [`Event::AuditFailed`]
    AuditFailed = "audit-failed",
    /// [`Event::OutageBegan`]
    OutageBegan = "outage-began",
    /// [`Event::OutageEnded`]
    OutageEnded = "outage-ended",
    /// [`Event::Fenced`]
    Fenced = "fenced",
    /// [`Event::ExportFailed`]
    ExportFailed = "export-failed",
    /// [`Event::ShardStalled`]
    ShardStalled = "shard-stalled",
    /// [`Event::ShardRecovered`]
    ShardRecovered = "shard-recovered",
    /// [`Event::Stopped`]
    Stopped = "stopped",
}

impl fmt::Display for EventCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Event {
    /// The stable code of this kind of event.
    #[must_use]
    pub fn code(&self) -> EventCode {
        match self {
            Self::StartResolved { .. } => EventCode::StartResolved,
            Self::MonitoringStarted { .. } => EventCode::MonitoringStarted,
            Self::Joined { .. } => EventCode::Joined,
            Self::LeasesCreated { .. } => EventCode::LeasesCreated,
            Self::ShardStarted { .. } => EventCode::ShardStarted,
            Self::Checkpointed { .. } => EventCode::Checkpointed,
            Self::CheckpointFailed { .. } => EventCode::CheckpointFailed,
            Self::HandlerFailed { .. } => EventCode::HandlerFailed,
            Self::Bisecting { .. } => EventCode::Bisecting,
            Self::Parked { .. } => EventCode::Parked,
            Self::Unparked { .. } => EventCode::Unparked,
            Self::Skipped { .. } => EventCode::Skipped,
            Self::DeadLettered { .. } => EventCode::DeadLettered,
            Self::DeadLetterFailed { .. } => EventCode::DeadLetterFailed,
            Self::Halted { .. } => EventCode::Halted,
            Self::ReadFailed { .. } => EventCode::ReadFailed,
            Self::ShardGone { .. } => EventCode::ShardGone,
            Self::ShardEnded { .. } => EventCode::ShardEnded,
            Self::HandedOver { .. } => EventCode::HandedOver,
            Self::LeaseLost { .. } => EventCode::LeaseLost,
            Self::ShardRestarted { .. } => EventCode::ShardRestarted,
            Self::ForeignLease { .. } => EventCode::ForeignLease,
            Self::DataLoss { .. } => EventCode::DataLoss,
            Self::DataLossNear { .. } => EventCode::DataLossNear,
            Self::ShardGivenBack { .. } => EventCode::ShardGivenBack,
            Self::HolesFound { .. } => EventCode::HolesFound,
            Self::StreamAdded { .. } => EventCode::StreamAdded,
            Self::StreamRemoved { .. } => EventCode::StreamRemoved,
            Self::StreamReplaced { .. } => EventCode::StreamReplaced,
            Self::AuditFailed { .. } => EventCode::AuditFailed,
            Self::OutageBegan { .. } => EventCode::OutageBegan,
            Self::OutageEnded => EventCode::OutageEnded,
            Self::Fenced => EventCode::Fenced,
            Self::ExportFailed { .. } => EventCode::ExportFailed,
            Self::ShardStalled { .. } => EventCode::ShardStalled,
            Self::ShardRecovered { .. } => EventCode::ShardRecovered,
            Self::Stopped => EventCode::Stopped,
        }
    }
}
