//! Counts what a store is asked for, and what DynamoDB would cost for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Sub;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::contract::LeaseStore;
use super::listing::{Listing, ListingPage, ListingQuery};
use super::operation::StoreOperation;
use crate::error::StoreError;
use crate::row::{GroupView, Row, RowKey};
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

mod size;

/// A write unit covers an item of 1 KB, a read unit one of 4 KB; half as much for an eventually consistent
/// read ("Read and write operations" in the developer guide of DynamoDB).
const WRITE_UNIT: u64 = 1024;
const READ_UNIT: u64 = 4096;
/// A page of a query holds 1 MB.
const PAGE: u64 = 1024 * 1024;

/// What went to a store between two moments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    calls: BTreeMap<StoreOperation, u64>,
    refused: u64,
    failed: u64,
    requests: u64,
    read_halves: u64,
    writes: u64,
}

impl Counts {
    /// Calls of this kind, refused and failed ones included.
    #[must_use]
    pub fn of(&self, operation: StoreOperation) -> u64 {
        self.calls.get(&operation).copied().unwrap_or_default()
    }

    /// Calls that can change a row.
    #[must_use]
    pub fn write_calls(&self) -> u64 {
        self.calls.iter().filter(|(operation, _)| operation.is_write()).map(|(_, count)| count).sum()
    }

    /// Calls that only read.
    #[must_use]
    pub fn read_calls(&self) -> u64 {
        self.calls.values().sum::<u64>() - self.write_calls()
    }

    /// Conditional writes whose condition did not hold.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Calls that ended in an error. Their units are not counted.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Requests that DynamoDB would get: one a call, and one more for each further page of a listing.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Read units that DynamoDB would cost: estimated from the sizes of the rows.
    #[must_use]
    pub fn read_units(&self) -> f64 {
        self.read_halves as f64 / 2.0
    }

    /// Write units that DynamoDB would cost: estimated from the sizes of the rows before and after.
    #[must_use]
    pub fn write_units(&self) -> u64 {
        self.writes
    }

    fn add(&mut self, operation: StoreOperation, cost: CallCost) {
        *self.calls.entry(operation).or_default() += 1;
        self.requests += cost.requests;
        self.read_halves += cost.read_halves;
        self.writes += cost.writes;
        self.refused += u64::from(cost.refused);
        self.failed += u64::from(cost.failed);
    }
}

/// What came on top since an earlier snapshot.
impl Sub<&Counts> for Counts {
    type Output = Self;

    fn sub(mut self, earlier: &Self) -> Self {
        for (operation, count) in &mut self.calls {
            *count = count.saturating_sub(earlier.of(*operation));
        }
        self.calls.retain(|_, count| *count > 0);
        Self {
            calls: self.calls,
            refused: self.refused.saturating_sub(earlier.refused),
            failed: self.failed.saturating_sub(earlier.failed),
            requests: self.requests.saturating_sub(earlier.requests),
            read_halves: self.read_halves.saturating_sub(earlier.read_halves),
            writes: self.writes.saturating_sub(earlier.writes),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (operation, count) in &self.calls {
            write!(f, "{operation:?} {count}, ")?;
        }
        write!(
            f,
            "refused {}, failed {}, requests {}, read units {}, write units {}",
            self.refused,
            self.failed,
            self.requests,
            self.read_units(),
            self.writes
        )
    }
}

/// What one call cost.
#[derive(Debug, Clone, Copy, Default)]
struct CallCost {
    requests: u64,
    read_halves: u64,
    writes: u64,
    refused: bool,
    failed: bool,
}

impl CallCost {
    const FAILED: Self = Self { requests: 1, read_halves: 0, writes: 0, refused: false, failed: true };
    const FREE: Self = Self { failed: false, ..Self::FAILED };

    fn read(bytes: u64) -> Self {
        Self { read_halves: 2 * bytes.div_ceil(READ_UNIT).max(1), ..Self::FREE }
    }

    fn listing(bytes: u64) -> Self {
        let requests = (bytes / PAGE) + 1;
        Self { requests, read_halves: bytes.div_ceil(READ_UNIT).max(requests), ..Self::FREE }
    }

    fn write(bytes: u64) -> Self {
        Self { writes: bytes.div_ceil(WRITE_UNIT).max(1), ..Self::FREE }
    }

    /// A refused write is billed like one that took effect, by the row as it stands. The size of a deleted row is not known
    /// here: such rows fit one unit as a rule.
    fn outcome(group: &GroupId, write: &RowWrite, outcome: &RowOutcome) -> Self {
        let deletes = matches!(write, RowWrite::Delete(_) | RowWrite::DeleteLease(..));
        let size = |row: &Option<Row>| row.as_ref().map_or(0, |row| size::row(group, row));
        match outcome {
            RowOutcome::Stored { before, after } => Self::write(size(before).max(size::row(group, after))),
            RowOutcome::Deleted => Self::write(0),
            RowOutcome::Refused { current } => {
                Self { refused: true, ..Self::write(if deletes { 0 } else { size(current) }) }
            }
        }
    }
}

/// Counts the calls on their way to another store. Clones share the store and the counts.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use rokini_lease::{CountingStore, GroupId, LeaseStore, Listing, MemoryStore, StoreOperation};
/// let store = CountingStore::new(MemoryStore::new());
/// let before = store.snapshot();
/// store.list(&GroupId::new("billing")?, Listing::Workers).await?;
/// assert_eq!((store.snapshot() - &before).of(StoreOperation::ListWorkers), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CountingStore<S> {
    inner: Arc<S>,
    counts: Arc<Mutex<Counts>>,
}

impl<S> Clone for CountingStore<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), counts: Arc::clone(&self.counts) }
    }
}

impl<S: LeaseStore> CountingStore<S> {
    /// Counts what goes to `inner`, from zero.
    pub fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner), counts: Arc::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store that the calls go to.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn count<T>(
        &self,
        operation: impl Into<StoreOperation>,
        result: Result<T, StoreError>,
        cost: impl FnOnce(&T) -> CallCost,
    ) -> Result<T, StoreError> {
        let cost = result.as_ref().map_or(CallCost::FAILED, cost);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).add(operation.into(), cost);
        result
    }
}

#[async_trait]
impl<S: LeaseStore> LeaseStore for CountingStore<S> {
    async fn init(&self) -> Result<(), StoreError> {
        self.count(StoreOperation::Init, self.inner.init().await, |()| CallCost::FREE)
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        self.count(listing, self.inner.list(group, listing).await, |view| {
            let cost = CallCost::listing(size::view(group, view));
            let weight = if listing == Listing::WorkersNow { 2 } else { 1 };
            CallCost { read_halves: cost.read_halves * weight, ..cost }
        })
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        self.count(part.whole(), self.inner.list_part(group, part).await, |part| {
            CallCost::listing(size::view(group, &part.view))
        })
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.count(StoreOperation::Read, self.inner.read(group, key).await, |row| {
            CallCost::read(row.as_ref().map_or(0, |row| size::row(group, row)))
        })
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        self.count(write, self.inner.write(group, write).await, |outcome| {
            CallCost::outcome(group, write, outcome)
        })
    }
}

#[cfg(test)]
mod tests;
