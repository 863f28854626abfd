//! The contract of a lease store.

use std::fmt;

use async_trait::async_trait;

use crate::{
    GroupId, GroupRow, GroupUpdate, GroupView, LeaseKey, LeaseRow, LeaseUpdate, StoreError, StreamId,
    StreamRow, WorkerId, WorkerRow, WorkerUpdate, WriteOutcome,
};

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod counting;
#[cfg(feature = "dynamo")]
pub mod dynamo;
pub mod faults;
pub mod memory;
mod operation;
mod shared;

pub use operation::StoreOperation;

/// What a listing returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The worker rows only: small and frequent.
    Workers,
    /// The worker rows by consistent reads, at twice the read units: every one that was written before.
    WorkersNow,
    /// Every row of the group.
    All,
}

/// Where a group keeps its workers, leases and streams.
///
/// # Contract
/// - **Atomic.** Each write is one atomic conditional change of one row. Its condition and its effect are those
///   of [`LeaseUpdate::apply`] and [`WorkerUpdate::apply`]; inserts are conditional on the row's absence.
/// - **Ordered.** A consistent read (`worker`, `lease`, `stream`) that starts after a write returned sees it.
///   Listings other than [`Listing::WorkersNow`] may lag behind, row by row, but never show a row that no write made.
/// - **Refusal is not an error.** A condition that does not hold is [`WriteOutcome::Refused`] with the row as it
///   stands. Errors are for calls that got no answer or a refusal of the service.
/// - **Lost replies.** A store that retries inside a call recognises its own first try by
///   [`LeaseUpdate::took_effect`] / [`WorkerUpdate::took_effect`] and reports it as applied. An error after a
///   write that may have arrived says so by [`StoreError::is_ambiguous`]; the caller settles it by a consistent
///   read.
/// - **Whole listings.** Listings page inside; a listing that cannot be completed is an error, never a part.
///   A row that cannot be read is left out and named in [`GroupView::unreadable`].
/// - **Separate groups.** Nothing done for one group reads or changes a row of another.
/// - **Bounded.** Every call ends within the store's own timeouts; cancelling a call by dropping its future may
///   leave its write applied.
/// - **No clock.** A store never expires anything.
#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync + 'static {
    /// Makes ready and checks: the table exists (or is made, where that was asked for) and has the right
    /// layout. Idempotent.
    async fn init(&self) -> Result<(), StoreError>;

    /// Lists a group's rows. May lag behind writes.
    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError>;

    /// Reads one worker row, consistently.
    async fn worker(&self, group: &GroupId, id: &WorkerId) -> Result<Option<WorkerRow>, StoreError>;

    /// Reads one lease, consistently.
    async fn lease(&self, group: &GroupId, key: &LeaseKey) -> Result<Option<LeaseRow>, StoreError>;

    /// Reads one stream row, consistently.
    async fn stream(&self, group: &GroupId, id: &StreamId) -> Result<Option<StreamRow>, StoreError>;

    /// Reads the group's own row, consistently. A group without one has the default.
    async fn group(&self, group: &GroupId) -> Result<GroupRow, StoreError>;

    /// Inserts a worker row. Refused when a row of the same id exists.
    async fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError>;

    /// Inserts a lease. Refused when the lease exists, whatever it says.
    async fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError>;

    /// Inserts a stream row. Refused when the row exists: the first writer decides for the group.
    async fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> Result<WriteOutcome<StreamRow>, StoreError>;

    /// Changes a worker row under its condition.
    async fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        update: &WorkerUpdate,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError>;

    /// Changes a lease under its condition.
    async fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        update: &LeaseUpdate,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError>;

    /// Changes the group's own row, and makes it where there is none. Returns it as it is then.
    async fn update_group(&self, group: &GroupId, update: &GroupUpdate) -> Result<GroupRow, StoreError>;

    /// Removes a worker row, if it exists. An incarnation whose row is gone counts as dead.
    async fn delete_worker(&self, group: &GroupId, id: &WorkerId) -> Result<(), StoreError>;

    /// Removes a lease that still has this epoch. `false` when it has another.
    async fn delete_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        seen: crate::Epoch,
    ) -> Result<bool, StoreError>;

    /// Removes a stream row, if it exists.
    async fn delete_stream(&self, group: &GroupId, id: &StreamId) -> Result<(), StoreError>;

    /// Removes the group's own row and whatever else the store keeps about it; not its workers, leases and
    /// streams.
    async fn delete_group(&self, group: &GroupId) -> Result<(), StoreError>;
}
