//! The store of a run: checks every write that takes effect.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rokini_lease::{
    GroupId, GroupView, LeaseRow, LeaseStore, Listing, MemoryStore, Row, RowKey, RowOutcome, RowWrite,
    StoreError, StreamId,
};

use crate::check::Check;
use crate::recorder::Recorder;

/// The store that all workers of a run share.
#[derive(Debug, Clone)]
pub struct CheckedStore {
    store: MemoryStore,
    recorder: Recorder,
    /// Groups in which an operator moves positions now.
    lowerable: Arc<Mutex<BTreeSet<GroupId>>>,
}

impl CheckedStore {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { store: MemoryStore::new(), recorder, lowerable: Arc::default() }
    }

    /// From now on positions of this group may fall, because an operator moves them.
    pub fn allow_lower_positions(&self, group: GroupId) {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
    }

    /// From now on no position may fall.
    pub fn forbid_lower_positions(&self) {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn may_fall(&self, group: &GroupId) -> bool {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).contains(group)
    }

    fn check_write(&self, group: &GroupId, before: &LeaseRow, after: &LeaseRow) {
        let key = &before.key;
        if after.position < before.position && !self.may_fall(group) {
            let what = format!("the position of {key} fell from {} to {}", before.position, after.position);
            self.recorder.violate(Check::Positions, what);
        }
        let moved = after.owner != before.owner || after.position < before.position;
        if after.epoch.0 != before.epoch.0 && after.epoch.0 != before.epoch.0 + 1
            || moved && after.epoch == before.epoch
        {
            let what = format!("{key} went from {before:?} to {after:?}");
            self.recorder.violate(Check::Positions, what);
        }
    }

    /// Checks that unfinished leases cover all hash keys of the stream.
    async fn check_coverage(&self, group: &GroupId, stream: &StreamId) {
        let Ok(view) = self.store.list(group, Listing::All).await else { return };
        let rows = view.leases.iter().filter(|row| row.key.stream == *stream);
        if let Some(hole) = hole(rows) {
            self.recorder
                .violate(Check::Covered, format!("no unfinished lease covers the hash keys from {hole} on"));
        }
    }
}

/// The first hash key that no unfinished lease covers.
pub(crate) fn hole<'a>(rows: impl Iterator<Item = &'a LeaseRow>) -> Option<u128> {
    let mut ranges: Vec<(u128, u128)> = rows
        .filter(|row| !row.position.is_shard_end())
        .filter_map(|row| row.hash_range.map(|range| (range.start, range.end)))
        .collect();
    ranges.sort_unstable();
    let mut next = 0;
    for (start, end) in ranges {
        if start > next {
            return Some(next);
        }
        match end.checked_add(1) {
            Some(after) => next = next.max(after),
            None => return None,
        }
    }
    Some(next)
}

#[async_trait]
impl LeaseStore for CheckedStore {
    async fn init(&self) -> Result<(), StoreError> {
        self.store.init().await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        self.store.list(group, listing).await
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.store.read(group, key).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let outcome = self.store.write(group, write).await?;
        let uncovers = match (write, &outcome) {
            (
                RowWrite::UpdateLease(..),
                RowOutcome::Stored { before: Some(Row::Lease(before)), after: Row::Lease(after) },
            ) => {
                self.check_write(group, before, after);
                after.position.is_shard_end() && !before.position.is_shard_end()
            }
            (RowWrite::DeleteLease(..), _) => true,
            _ => false,
        };
        if let (true, RowKey::Lease(key)) = (uncovers, write.key()) {
            self.check_coverage(group, &key.stream).await;
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use rokini_lease::{HashRange, LeaseKey, Position, ShardId};

    use super::*;

    fn rows(ranges: &[(u128, u128, Position)]) -> Vec<LeaseRow> {
        let key = |n| LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new(format!("{n}")).unwrap());
        let rows = ranges.iter().enumerate();
        rows.map(|(n, (start, end, position))| {
            LeaseRow::new(key(n), *position).with_hash_range(HashRange { start: *start, end: *end })
        })
        .collect()
    }

    #[test]
    fn r1_a_hole_is_a_hash_key_that_no_unfinished_lease_covers() {
        const OPEN: Position = Position::TrimHorizon;
        const MOST: u128 = u128::MAX;
        for (ranges, expected) in [
            (vec![], Some(0)),
            (vec![(0, MOST, OPEN)], None),
            (vec![(5, MOST, OPEN), (0, 4, OPEN)], None),
            (vec![(5, MOST, OPEN), (0, 3, OPEN)], Some(4)),
            (vec![(0, 9, OPEN)], Some(10)),
            (vec![(0, MOST, Position::ShardEnd), (0, 9, OPEN)], Some(10)),
            (vec![(0, MOST, OPEN), (0, 9, OPEN)], None),
        ] {
            assert_eq!(hole(rows(&ranges).iter()), expected, "{ranges:?}");
        }
    }
}
