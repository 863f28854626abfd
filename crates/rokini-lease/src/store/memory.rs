//! A store in the memory of one process: for tests, simulation, and consumers that need no durability.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{LeaseStore, Listing};
use crate::{
    Epoch, GroupId, GroupRow, GroupUpdate, GroupView, LeaseKey, LeaseRow, LeaseUpdate, StoreError, StreamId,
    StreamRow, WorkerId, WorkerRow, WorkerUpdate, WriteOutcome,
};

/// Rows in memory. Clones share them: give one clone to each `Consumer` of the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    groups: Arc<Mutex<BTreeMap<GroupId, Rows>>>,
}

#[derive(Debug, Default)]
struct Rows {
    workers: BTreeMap<WorkerId, WorkerRow>,
    leases: BTreeMap<LeaseKey, LeaseRow>,
    streams: BTreeMap<StreamId, StreamRow>,
    group: GroupRow,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, group: &GroupId, change: impl FnOnce(&mut Rows) -> T) -> T {
        // Every change below is one assignment, so rows behind a poisoned lock are whole.
        let mut groups: MutexGuard<'_, _> = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        change(groups.entry(group.clone()).or_default())
    }
}

fn insert<K: Ord, R: Clone>(rows: &mut BTreeMap<K, R>, key: K, row: &R) -> WriteOutcome<R> {
    if let Some(current) = rows.get(&key) {
        return WriteOutcome::Refused { current: Some(current.clone()) };
    }
    rows.insert(key, row.clone());
    WriteOutcome::Applied { before: None, after: row.clone() }
}

fn update<K: Ord, R: Clone>(
    rows: &mut BTreeMap<K, R>,
    key: &K,
    apply: impl FnOnce(&R) -> Option<R>,
) -> WriteOutcome<R> {
    let Some(row) = rows.get_mut(key) else {
        return WriteOutcome::Refused { current: None };
    };
    match apply(row) {
        Some(after) => {
            let before = std::mem::replace(row, after.clone());
            WriteOutcome::Applied { before: Some(before), after }
        }
        None => WriteOutcome::Refused { current: Some(row.clone()) },
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        Ok(self.with(group, |rows| {
            let workers = rows.workers.values().cloned().collect();
            match listing {
                Listing::Workers | Listing::WorkersNow => GroupView { workers, ..GroupView::default() },
                Listing::All => GroupView {
                    workers,
                    leases: rows.leases.values().cloned().collect(),
                    streams: rows.streams.values().cloned().collect(),
                    group: rows.group.clone(),
                    unreadable: Vec::new(),
                },
            }
        }))
    }

    async fn worker(&self, group: &GroupId, id: &WorkerId) -> Result<Option<WorkerRow>, StoreError> {
        Ok(self.with(group, |rows| rows.workers.get(id).cloned()))
    }

    async fn lease(&self, group: &GroupId, key: &LeaseKey) -> Result<Option<LeaseRow>, StoreError> {
        Ok(self.with(group, |rows| rows.leases.get(key).cloned()))
    }

    async fn stream(&self, group: &GroupId, id: &StreamId) -> Result<Option<StreamRow>, StoreError> {
        Ok(self.with(group, |rows| rows.streams.get(id).cloned()))
    }

    async fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        Ok(self.with(group, |rows| insert(&mut rows.workers, row.id.clone(), row)))
    }

    async fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        Ok(self.with(group, |rows| insert(&mut rows.leases, row.key.clone(), row)))
    }

    async fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> Result<WriteOutcome<StreamRow>, StoreError> {
        Ok(self.with(group, |rows| insert(&mut rows.streams, row.id.clone(), row)))
    }

    async fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        change: &WorkerUpdate,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        Ok(self.with(group, |rows| update(&mut rows.workers, id, |row| change.apply(row))))
    }

    async fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        change: &LeaseUpdate,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        Ok(self.with(group, |rows| update(&mut rows.leases, key, |row| change.apply(row))))
    }

    async fn delete_worker(&self, group: &GroupId, id: &WorkerId) -> Result<(), StoreError> {
        self.with(group, |rows| rows.workers.remove(id));
        Ok(())
    }

    async fn delete_lease(&self, group: &GroupId, key: &LeaseKey, seen: Epoch) -> Result<bool, StoreError> {
        Ok(self.with(group, |rows| {
            let matches = rows.leases.get(key).is_none_or(|row| row.epoch == seen);
            if matches {
                rows.leases.remove(key);
            }
            matches
        }))
    }

    async fn group(&self, group: &GroupId) -> Result<GroupRow, StoreError> {
        Ok(self.with(group, |rows| rows.group.clone()))
    }

    async fn update_group(&self, group: &GroupId, update: &GroupUpdate) -> Result<GroupRow, StoreError> {
        Ok(self.with(group, |rows| {
            rows.group = update.apply(&rows.group);
            rows.group.clone()
        }))
    }

    async fn delete_stream(&self, group: &GroupId, id: &StreamId) -> Result<(), StoreError> {
        self.with(group, |rows| rows.streams.remove(id));
        Ok(())
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StoreError> {
        self.with(group, |rows| rows.group = GroupRow::default());
        Ok(())
    }
}
