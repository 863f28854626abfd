//! The contract of a lease store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::listing::{Listing, ListingPage, ListingQuery};
use crate::error::StoreError;
use crate::row::{GroupView, Row, RowKey};
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

/// Where a group keeps its workers, leases and streams: the four calls that a store implements. Callers use the methods of
/// [`LeaseStoreExt`](super::LeaseStoreExt), which every store has.
///
/// What is read and written is a value: a [`RowKey`] names a row, a [`Row`] is one, and a [`RowWrite`] says what is to
/// become of one. Rows and keys can be stored as JSON or in any other form with `serde`, and a key's text is made to be
/// the key in a database. `examples/json_file_store.rs` is a whole store in a few lines.
///
/// # Contract
/// - **Atomic.** A write is one atomic conditional change of one row: what [`RowWrite::apply`] makes of the row as it
///   stands is stored and returned.
/// - **Ordered.** A read that starts after a write returned sees it. Listings other than [`Listing::WorkersNow`] may lag
///   behind, row by row, but never show a row that no write made.
/// - **Refusal is not an error.** A condition that does not hold is [`RowOutcome::Refused`] with the row as it stands.
///   Errors are for calls that got no answer or a refusal of the service.
/// - **Lost replies.** A store that retries inside a call recognises its own first try by [`RowWrite::took_effect`] and
///   reports it as [`RowOutcome::Stored`] without the row before. An error after a write that may have arrived says so by
///   [`StoreError::is_ambiguous`]; the caller settles it by a read.
/// - **Whole listings.** Listings page inside; a listing that cannot be completed is an error, never a part. Workers,
///   leases and streams come in the order of their keys, as [`GroupView`] collects them. A row that cannot be read is
///   left out and named in [`GroupView::unreadable`], with its key.
/// - **Unreadable rows.** A row of a newer version, or a damaged one, exists: reading it is an error of the kind
///   [`InvalidRow`](crate::StoreErrorKind::InvalidRow), an insert under its key is refused or such an error, and changes
///   nothing. It can be deleted. What a reader can do without is read leniently.
/// - **Separate groups.** Nothing done for one group reads or changes a row of another.
/// - **Bounded.** Every call ends within the store's own timeouts; cancelling a call by dropping its future may leave its
///   write applied.
/// - **No clock.** A store never expires anything.
///
/// The feature `conformance` has a suite of tests for it.
#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync + 'static {
    /// Makes ready and checks: the table exists (or is made, where that was asked for) and has the right layout.
    /// Idempotent.
    async fn init(&self) -> Result<(), StoreError>;

    /// Lists the group's rows that [`Listing::includes`] says. May lag behind writes.
    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError>;

    /// Lists a part of the group's rows by one small call. May lag behind writes.
    ///
    /// The default lists the whole and picks the part: right, and dear. A store that can read less overrides it.
    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        Ok(part.of(self.list(group, part.whole()).await?))
    }

    /// Reads one row, consistently; `None` where there is none.
    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError>;

    /// Changes one row under the write's condition. Removing [`RowKey::Group`] also removes whatever else the store keeps
    /// about the group, but not its workers, leases and streams.
    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError>;
}

/// A shared store is a store, so that the wrappers go around an `Arc<dyn LeaseStore>` too.
#[async_trait]
impl<S: LeaseStore + ?Sized> LeaseStore for Arc<S> {
    async fn init(&self) -> Result<(), StoreError> {
        (**self).init().await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        (**self).list(group, listing).await
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        (**self).list_part(group, part).await
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        (**self).read(group, key).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        (**self).write(group, write).await
    }
}
