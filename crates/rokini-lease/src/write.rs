//! What a store is asked to write, as values with their meaning as pure functions.

use crate::row::{GroupRow, Row, RowKey, WorkerRow};
use crate::types::{Epoch, LeaseKey, StreamId, WorkerId};
use crate::update::{GroupUpdate, LeaseUpdate, StreamUpdate, WorkerUpdate};

/// One atomic change of one row, with its condition.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a write is made, sent and gone: it is never kept in numbers")]
pub enum RowWrite {
    /// Insert this row. Refused when one of its key exists, whatever that says.
    Insert(Row),
    /// Change the group's own row under the update's condition, and make it where there is none.
    UpdateGroup(GroupUpdate),
    /// Change this lease under the update's condition. Refused where there is none.
    UpdateLease(LeaseKey, LeaseUpdate),
    /// Change the row of this stream under the update's condition. Refused where there is none.
    UpdateStream(StreamId, StreamUpdate),
    /// Change this worker's row under the update's condition. Refused where there is none.
    UpdateWorker(WorkerId, WorkerUpdate),
    /// Remove this row whatever it says, if it exists. Never refused.
    Delete(RowKey),
    /// Remove this lease, if it exists. Refused when it has another epoch.
    DeleteLease(LeaseKey, Epoch),
}

/// What came of a write of one row.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "an outcome is made, read and gone: it is never kept in numbers"
)]
pub enum RowOutcome {
    /// The row is stored.
    Stored {
        /// The row before: `None` where there was none, or where the reply was lost and the effect was found by reading
        /// back. An update of the group may leave it out.
        before: Option<Row>,
        /// The row after.
        after: Row,
    },
    /// The row is gone, by this write or before it.
    Deleted,
    /// The write's condition did not hold, and nothing changed.
    Refused {
        /// The row as it stands, `None` where there is none.
        current: Option<Row>,
    },
}

impl RowWrite {
    /// The key of the row it changes.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Insert(row) => row.key(),
            Self::UpdateGroup(_) => RowKey::Group,
            Self::UpdateLease(key, _) | Self::DeleteLease(key, _) => RowKey::Lease(key.clone()),
            Self::UpdateStream(id, _) => RowKey::Stream(id.clone()),
            Self::UpdateWorker(id, _) => RowKey::Worker(id.clone()),
            Self::Delete(key) => key.clone(),
        }
    }

    /// What comes of it where the row stands like this. A store carries that out: it stores the row after, or removes the
    /// row, or leaves it.
    #[must_use]
    pub fn apply(&self, row: Option<&Row>) -> RowOutcome {
        let after = match (self, row) {
            (Self::Insert(new), None) => Some(new.clone()),
            (Self::UpdateGroup(update), Some(Row::Group(row))) => update.apply(row).map(Row::from),
            (Self::UpdateGroup(update), None) => update.apply(&GroupRow::default()).map(Row::from),
            (Self::UpdateLease(_, update), Some(Row::Lease(row))) => update.apply(row).map(Row::from),
            (Self::UpdateStream(_, update), Some(Row::Stream(row))) => update.apply(row).map(Row::from),
            (Self::UpdateWorker(_, update), Some(Row::Worker(row))) => update.apply(row).map(Row::from),
            (Self::Delete(_), _) | (Self::DeleteLease(..), None) => return RowOutcome::Deleted,
            (Self::DeleteLease(_, seen), Some(Row::Lease(row))) if row.epoch == *seen => {
                return RowOutcome::Deleted;
            }
            _ => None,
        };
        match after {
            Some(after) => RowOutcome::Stored { before: row.cloned(), after },
            None => RowOutcome::Refused { current: row.cloned() },
        }
    }

    /// Whether the row, as it stands, shows that this write took effect although its reply was lost. Only asked by the
    /// writer itself, about a write whose first try may have reached the store.
    #[must_use]
    pub fn took_effect(&self, row: Option<&Row>) -> bool {
        match (self, row) {
            (Self::Insert(Row::Worker(new)), Some(Row::Worker(row))) => is_insert_of(new, row),
            (Self::Insert(new), Some(row)) => new == row,
            (Self::UpdateGroup(update), Some(Row::Group(row))) => update.took_effect(row),
            (Self::UpdateLease(_, update), Some(Row::Lease(row))) => update.took_effect(row),
            (Self::UpdateStream(_, update), Some(Row::Stream(row))) => update.took_effect(row),
            (Self::UpdateWorker(_, update), Some(Row::Worker(row))) => update.took_effect(row),
            (Self::Delete(_) | Self::DeleteLease(..), None) => true,
            _ => false,
        }
    }
}

/// Whether `row` is what an insert of `new` left behind: notifications may have arrived since.
fn is_insert_of(new: &WorkerRow, row: &WorkerRow) -> bool {
    *new == WorkerRow { mailbox: new.mailbox.clone(), ..row.clone() }
}

/// What came of a conditional write of a row of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome<R> {
    /// It took effect.
    Applied {
        /// The row before; unknown where the reply was lost and the effect was found by reading back.
        before: Option<R>,
        /// The row after.
        after: R,
    },
    /// Its condition did not hold, and nothing changed.
    Refused {
        /// The row as it stands, `None` where there is none.
        current: Option<R>,
    },
}

impl<R> WriteOutcome<R> {
    /// The row after the write, if it took effect.
    #[must_use]
    pub fn applied(self) -> Option<R> {
        match self {
            Self::Applied { after, .. } => Some(after),
            Self::Refused { .. } => None,
        }
    }

    /// Whether the write took effect.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied { .. })
    }
}

impl<R: TryFrom<Row, Error = Row>> TryFrom<RowOutcome> for WriteOutcome<R> {
    /// A deletion, or rows of another kind.
    type Error = RowOutcome;

    fn try_from(outcome: RowOutcome) -> Result<Self, RowOutcome> {
        #[allow(clippy::result_large_err, reason = "the error is the row that was given, handed back")]
        let typed = |row: Option<Row>| row.map(R::try_from).transpose();
        match outcome {
            RowOutcome::Stored { before, after } => match (typed(before), R::try_from(after)) {
                (Ok(before), Ok(after)) => Ok(Self::Applied { before, after }),
                (_, Err(after)) | (Err(after), Ok(_)) => Err(RowOutcome::Stored { before: None, after }),
            },
            RowOutcome::Refused { current } => match typed(current) {
                Ok(current) => Ok(Self::Refused { current }),
                Err(row) => Err(RowOutcome::Refused { current: Some(row) }),
            },
            RowOutcome::Deleted => Err(RowOutcome::Deleted),
        }
    }
}

impl<R: Into<Row>> From<WriteOutcome<R>> for RowOutcome {
    fn from(outcome: WriteOutcome<R>) -> Self {
        match outcome {
            WriteOutcome::Applied { before, after } => {
                Self::Stored { before: before.map(Into::into), after: after.into() }
            }
            WriteOutcome::Refused { current } => Self::Refused { current: current.map(Into::into) },
        }
    }
}
