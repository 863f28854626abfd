//! A store in the memory of one process: for tests, simulation, and consumers that need no durability.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::contract::LeaseStore;
use super::listing::{Listing, ListingPage, ListingQuery};
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{GroupView, Row, RowKey, UnreadableRow};
use crate::types::{GroupId, PageToken};
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

impl Rows {
    /// The rows of workers are the last ones.
    fn workers(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter().rev().take_while(|(key, _)| matches!(key, RowKey::Worker(_)))
    }

    fn view<'a>(&self, rows: impl Iterator<Item = (&'a RowKey, &'a Row)>) -> GroupView {
        let (damaged, readable): (Vec<_>, Vec<_>) = rows.partition(|(key, _)| self.damaged.contains(*key));
        let unreadable =
            damaged.into_iter().map(|(key, _)| UnreadableRow::new(key.to_string(), DAMAGED.to_owned()));
        let view: GroupView = readable.into_iter().map(|(_, row)| row.clone()).collect();
        GroupView { unreadable: unreadable.collect(), ..view }
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        Ok(self.with(group, |group| match listing {
            Listing::All => group.view(group.rows.iter()),
            Listing::Workers | Listing::WorkersNow => group.view(group.workers()),
        }))
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        Ok(self.with(group, |group| match part {
            ListingQuery::Workers { .. } => part.of(group.view(group.workers())),
            ListingQuery::Page { from, rows } => {
                let from: Option<RowKey> = from.as_ref().and_then(|from| from.as_str().parse().ok());
                let rest = (from.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                let mut rest = group.rows.range::<RowKey, _>(rest).peekable();
                let page: Vec<(&RowKey, &Row)> = rest.by_ref().take((*rows).max(1) as usize).collect();
                let last = rest.peek().and_then(|_| page.last());
                let next = last.map(|(key, _)| PageToken::new(key.to_string()));
                ListingPage { next, view: group.view(page.into_iter()) }
            }
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
