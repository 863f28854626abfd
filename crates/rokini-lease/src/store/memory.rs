//! A store in the memory of one process: for tests, simulation, and consumers that need no durability.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::contract::LeaseStore;
use super::listing::Listing;
use crate::error::StoreError;
use crate::row::{GroupView, Row, RowKey};
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

/// Rows in memory. Clones share them: give one clone to each `Consumer` of the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    groups: Arc<Mutex<BTreeMap<GroupId, BTreeMap<RowKey, Row>>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, group: &GroupId, change: impl FnOnce(&mut BTreeMap<RowKey, Row>) -> T) -> T {
        // Every change below is one assignment, so rows behind a poisoned lock are whole.
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        change(groups.entry(group.clone()).or_default())
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        Ok(self.with(group, |rows| {
            rows.iter().filter(|(key, _)| listing.includes(key)).map(|(_, row)| row.clone()).collect()
        }))
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.with(group, |rows| rows.get(key).cloned()))
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        Ok(self.with(group, |rows| {
            let key = write.key();
            let outcome = write.apply(rows.get(&key));
            match &outcome {
                RowOutcome::Stored { after, .. } => drop(rows.insert(key, after.clone())),
                RowOutcome::Deleted => drop(rows.remove(&key)),
                RowOutcome::Refused { .. } => {}
            }
            outcome
        }))
    }
}
