//! A store in the memory of one process: for tests, simulation, and consumers that need no durability.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::contract::LeaseStore;
use super::listing::Listing;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{GroupView, Row, RowKey, UnreadableRow};
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

/// Rows in memory. Clones share them: give one clone to each `Consumer` of the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    groups: Arc<Mutex<BTreeMap<GroupId, Rows>>>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<RowKey, Row>,
    /// Those that are as if they could not be read.
    damaged: BTreeSet<RowKey>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a row as one that cannot be read, of a newer version or damaged, or repairs it: for tests. Deleting it repairs
    /// it too.
    pub fn damage(&self, group: &GroupId, key: &RowKey, damaged: bool) {
        self.with(group, |group| match damaged {
            true => drop(group.damaged.insert(key.clone())),
            false => drop(group.damaged.remove(key)),
        });
    }

    fn with<T>(&self, group: &GroupId, change: impl FnOnce(&mut Rows) -> T) -> T {
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
        Ok(self.with(group, |group| {
            let listed = || group.rows.iter().filter(|(key, _)| listing.includes(key));
            let (damaged, readable): (Vec<_>, Vec<_>) =
                listed().partition(|(key, _)| group.damaged.contains(*key));
            let unreadable =
                damaged.into_iter().map(|(key, _)| UnreadableRow::new(key.to_string(), DAMAGED.to_owned()));
            let view: GroupView = readable.into_iter().map(|(_, row)| row.clone()).collect();
            GroupView { unreadable: unreadable.collect(), ..view }
        }))
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.with(group, |group| group.readable(key).map(|()| group.rows.get(key).cloned()))
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        self.with(group, |group| {
            let key = write.key();
            if !matches!(write, RowWrite::Delete(_)) {
                group.readable(&key)?;
            }
            let outcome = write.apply(group.rows.get(&key));
            match &outcome {
                RowOutcome::Stored { after, .. } => drop(group.rows.insert(key, after.clone())),
                RowOutcome::Deleted => {
                    group.rows.remove(&key);
                    group.damaged.remove(&key);
                }
                RowOutcome::Refused { .. } => {}
            }
            Ok(outcome)
        })
    }
}

const DAMAGED: &str = "it is damaged by a test";

impl Rows {
    fn readable(&self, key: &RowKey) -> Result<(), StoreError> {
        if self.damaged.contains(key) && self.rows.contains_key(key) {
            let message = format!("row `{key}` cannot be read: {DAMAGED}; correct it or delete it");
            return Err(StoreError::new(StoreErrorKind::InvalidRow, message));
        }
        Ok(())
    }
}
