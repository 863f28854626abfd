//! The kinds of calls of a store, for those who count or disturb them.

use super::Listing;
use crate::{LeaseUpdate, WorkerUpdate};

/// What a caller asks a store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Check of the table.
    Init,
    /// Listing of the workers.
    Watch,
    /// Listing of all rows.
    List,
    /// Consistent read of one row.
    Read,
    /// Insert of a row.
    Insert,
    /// [`WorkerUpdate::Beat`]
    Beat,
    /// [`WorkerUpdate::Fence`]
    Fence,
    /// [`WorkerUpdate::Note`]
    Note,
    /// [`LeaseUpdate::Acquire`]
    Acquire,
    /// [`LeaseUpdate::Checkpoint`]
    Checkpoint,
    /// [`LeaseUpdate::Prepare`]
    Prepare,
    /// [`LeaseUpdate::HandOver`]
    HandOver,
    /// [`LeaseUpdate::Finish`]
    Finish,
    /// [`LeaseUpdate::Claim`]
    Claim,
    /// [`LeaseUpdate::Unclaim`]
    Unclaim,
    /// [`LeaseUpdate::Seek`]
    Seek,
    /// [`LeaseUpdate::Pause`]
    Pause,
    /// [`GroupUpdate`](crate::GroupUpdate)
    Group,
    /// Removal of a row.
    Delete,
}

impl Operation {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Init,
        Self::Watch,
        Self::List,
        Self::Read,
        Self::Insert,
        Self::Beat,
        Self::Fence,
        Self::Note,
        Self::Acquire,
        Self::Checkpoint,
        Self::Prepare,
        Self::HandOver,
        Self::Finish,
        Self::Claim,
        Self::Unclaim,
        Self::Seek,
        Self::Pause,
        Self::Group,
        Self::Delete,
    ];

    /// Whether it can change a row.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Init | Self::Watch | Self::List | Self::Read)
    }
}

impl From<Listing> for Operation {
    fn from(listing: Listing) -> Self {
        match listing {
            Listing::Workers | Listing::WorkersNow => Self::Watch,
            Listing::All => Self::List,
        }
    }
}

impl From<&WorkerUpdate> for Operation {
    fn from(update: &WorkerUpdate) -> Self {
        match update {
            WorkerUpdate::Beat { .. } => Self::Beat,
            WorkerUpdate::Fence { .. } => Self::Fence,
            WorkerUpdate::Note(_) => Self::Note,
        }
    }
}

impl From<&LeaseUpdate> for Operation {
    fn from(update: &LeaseUpdate) -> Self {
        match update {
            LeaseUpdate::Acquire { .. } => Self::Acquire,
            LeaseUpdate::Checkpoint { .. } => Self::Checkpoint,
            LeaseUpdate::Prepare { .. } => Self::Prepare,
            LeaseUpdate::HandOver { .. } => Self::HandOver,
            LeaseUpdate::Finish { .. } => Self::Finish,
            LeaseUpdate::Claim { .. } => Self::Claim,
            LeaseUpdate::Unclaim { .. } => Self::Unclaim,
            LeaseUpdate::Seek { .. } => Self::Seek,
            LeaseUpdate::Pause { .. } => Self::Pause,
        }
    }
}
