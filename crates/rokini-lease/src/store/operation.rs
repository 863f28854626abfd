//! The kinds of calls of a store, for those who count or disturb them.

use super::listing::Listing;
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::write::RowWrite;

/// What a caller asks a store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// Check of the table.
    Init,
    /// Listing of the workers.
    ListWorkers,
    /// Listing of all rows.
    ListAll,
    /// Consistent read of one row.
    Read,
    /// Insert of a row.
    Insert,
    /// [`WorkerUpdate::Heartbeat`]
    Heartbeat,
    /// [`WorkerUpdate::Fence`]
    Fence,
    /// [`WorkerUpdate::Notify`]
    Notify,
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
    /// [`LeaseUpdate::Pin`]
    Pin,
    /// [`RowWrite::UpdateGroup`]
    UpdateGroup,
    /// [`RowWrite::UpdateStream`]
    UpdateStream,
    /// Removal of a row.
    Delete,
}

impl StoreOperation {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Init,
        Self::ListWorkers,
        Self::ListAll,
        Self::Read,
        Self::Insert,
        Self::Heartbeat,
        Self::Fence,
        Self::Notify,
        Self::Acquire,
        Self::Checkpoint,
        Self::Prepare,
        Self::HandOver,
        Self::Finish,
        Self::Claim,
        Self::Unclaim,
        Self::Seek,
        Self::Pause,
        Self::Pin,
        Self::UpdateGroup,
        Self::UpdateStream,
        Self::Delete,
    ];

    /// Whether it can change a row.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Init | Self::ListWorkers | Self::ListAll | Self::Read)
    }
}

impl From<Listing> for StoreOperation {
    fn from(listing: Listing) -> Self {
        match listing {
            Listing::Workers | Listing::WorkersNow => Self::ListWorkers,
            Listing::All => Self::ListAll,
        }
    }
}

impl From<&WorkerUpdate> for StoreOperation {
    fn from(update: &WorkerUpdate) -> Self {
        match update {
            WorkerUpdate::Heartbeat { .. } => Self::Heartbeat,
            WorkerUpdate::Fence { .. } => Self::Fence,
            WorkerUpdate::Notify(_) => Self::Notify,
        }
    }
}

impl From<&LeaseUpdate> for StoreOperation {
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
            LeaseUpdate::Pin { .. } => Self::Pin,
        }
    }
}

impl From<&RowWrite> for StoreOperation {
    fn from(write: &RowWrite) -> Self {
        match write {
            RowWrite::Insert(_) => Self::Insert,
            RowWrite::UpdateGroup(_) => Self::UpdateGroup,
            RowWrite::UpdateLease(_, update) => update.into(),
            RowWrite::UpdateStream(..) => Self::UpdateStream,
            RowWrite::UpdateWorker(_, update) => update.into(),
            RowWrite::Delete(_) | RowWrite::DeleteLease(..) => Self::Delete,
        }
    }
}
