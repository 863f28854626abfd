//! What callers use: reads and writes by the kind of row.

use super::contract::LeaseStore;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{GroupRow, LeaseRow, Row, RowKey, StreamRow, WorkerRow};
use crate::types::{Epoch, GroupId, LeaseKey, StreamId, WorkerId};
use crate::update::{GroupUpdate, LeaseUpdate, StreamUpdate, WorkerUpdate};
use crate::write::{RowOutcome, RowWrite, WriteOutcome};

/// The calls of a store by the kind of row. Every [`LeaseStore`] has them; they are not to be implemented.
///
/// Their errors are those of the store.
pub trait LeaseStoreExt: LeaseStore {
    /// Reads one worker row, consistently.
    fn worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
    ) -> impl Future<Output = Result<Option<WorkerRow>, StoreError>> + Send {
        read_as(self, group, RowKey::Worker(id.clone()))
    }

    /// Reads one lease, consistently.
    fn lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
    ) -> impl Future<Output = Result<Option<LeaseRow>, StoreError>> + Send {
        read_as(self, group, RowKey::Lease(key.clone()))
    }

    /// Reads one stream row, consistently.
    fn stream(
        &self,
        group: &GroupId,
        id: &StreamId,
    ) -> impl Future<Output = Result<Option<StreamRow>, StoreError>> + Send {
        read_as(self, group, RowKey::Stream(id.clone()))
    }

    /// Reads the group's own row, consistently. A group without one has the default.
    fn group(&self, group: &GroupId) -> impl Future<Output = Result<GroupRow, StoreError>> + Send {
        async { Ok(read_as(self, group, RowKey::Group).await?.unwrap_or_default()) }
    }

    /// Inserts a worker row. Refused when a row of the same id exists.
    fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> impl Future<Output = Result<WriteOutcome<WorkerRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::Insert(row.clone().into()))
    }

    /// Inserts a lease. Refused when the lease exists, whatever it says.
    fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> impl Future<Output = Result<WriteOutcome<LeaseRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::Insert(row.clone().into()))
    }

    /// Inserts a lease where there is none. Whether it was missing: a row that cannot be read is there.
    fn insert_lease_if_missing(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            match self.insert_lease(group, row).await {
                Ok(outcome) => Ok(outcome.is_applied()),
                Err(error) if error.kind() == StoreErrorKind::InvalidRow => Ok(false),
                Err(error) => Err(error),
            }
        }
    }

    /// Inserts a stream row. Refused when the row exists: the first writer decides for the group.
    fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> impl Future<Output = Result<WriteOutcome<StreamRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::Insert(row.clone().into()))
    }

    /// Changes a worker row under the update's condition.
    fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        update: &WorkerUpdate,
    ) -> impl Future<Output = Result<WriteOutcome<WorkerRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::UpdateWorker(id.clone(), update.clone()))
    }

    /// Changes a lease under the update's condition.
    fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        update: &LeaseUpdate,
    ) -> impl Future<Output = Result<WriteOutcome<LeaseRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::UpdateLease(key.clone(), update.clone()))
    }

    /// Changes the row of a stream under the update's condition.
    fn update_stream(
        &self,
        group: &GroupId,
        id: &StreamId,
        update: &StreamUpdate,
    ) -> impl Future<Output = Result<WriteOutcome<StreamRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::UpdateStream(id.clone(), update.clone()))
    }

    /// Changes the group's own row under the update's condition, and makes it where there is none.
    fn update_group(
        &self,
        group: &GroupId,
        update: &GroupUpdate,
    ) -> impl Future<Output = Result<WriteOutcome<GroupRow>, StoreError>> + Send {
        write_as(self, group, RowWrite::UpdateGroup(update.clone()))
    }

    /// Removes a worker row, if it exists. An incarnation whose row is gone counts as dead.
    fn delete_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        delete(self, group, RowKey::Worker(id.clone()))
    }

    /// Removes a lease that still has this epoch, or is gone already. `false` when it has another.
    fn delete_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        seen: Epoch,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let write = RowWrite::DeleteLease(key.clone(), seen);
        async move { Ok(self.write(group, &write).await? == RowOutcome::Deleted) }
    }

    /// Removes a stream row, if it exists.
    fn delete_stream(
        &self,
        group: &GroupId,
        id: &StreamId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        delete(self, group, RowKey::Stream(id.clone()))
    }

    /// Removes the group's own row and whatever else the store keeps about it; not its workers, leases and streams.
    fn delete_group(&self, group: &GroupId) -> impl Future<Output = Result<(), StoreError>> + Send {
        delete(self, group, RowKey::Group)
    }
}

impl<S: LeaseStore + ?Sized> LeaseStoreExt for S {}

async fn read_as<S: LeaseStore + ?Sized, R: TryFrom<Row>>(
    store: &S,
    group: &GroupId,
    key: RowKey,
) -> Result<Option<R>, StoreError> {
    let row = store.read(group, &key).await?;
    row.map(R::try_from).transpose().map_err(|_| broken(&key))
}

async fn write_as<S: LeaseStore + ?Sized, R: TryFrom<Row, Error = Row>>(
    store: &S,
    group: &GroupId,
    write: RowWrite,
) -> Result<WriteOutcome<R>, StoreError> {
    store.write(group, &write).await?.try_into().map_err(|_| broken(&write.key()))
}

async fn delete<S: LeaseStore + ?Sized>(store: &S, group: &GroupId, key: RowKey) -> Result<(), StoreError> {
    store.write(group, &RowWrite::Delete(key)).await.map(drop)
}

/// The store does not keep its contract.
fn broken(key: &RowKey) -> StoreError {
    let message =
        format!("the lease store answered with another kind of row than that of `{key}`: correct the store");
    StoreError::new(StoreErrorKind::InvalidRow, message).may_have_applied(true)
}
