//! The store of a run: checks every write that takes effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rokini_lease::{
    GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, LeaseUpdate, Listing, ListingPage, ListingQuery,
    MemoryStore, Row, RowKey, RowOutcome, RowWrite, StoreError, StoreErrorKind, StreamId,
};
use tokio::time::Instant;

use crate::check::Check;
use crate::recorder::Recorder;
use crate::shard_ref::ShardRef;

/// The store that all workers of a run share.
#[derive(Debug, Clone)]
pub struct CheckedStore {
    store: MemoryStore,
    recorder: Recorder,
    /// Groups in which an operator moves positions now.
    lowerable: Arc<Mutex<BTreeSet<GroupId>>>,
    /// Leases that were deleted and are not there again: what operators set the positions of since.
    retired: Arc<Mutex<BTreeMap<(GroupId, LeaseKey), Sought>>>,
    /// Rows that nobody can read.
    unreadable: Arc<Mutex<BTreeSet<(GroupId, RowKey)>>>,
    throttle: Arc<Mutex<Option<Bucket>>>,
}

/// What an operator set the positions of since a lease was deleted.
#[derive(Debug, Default)]
struct Sought {
    whole_group: bool,
    /// Leases of which this one may come again, at its beginning.
    leases: BTreeSet<LeaseKey>,
}

/// What the table gives a partition key.
#[derive(Debug)]
struct Bucket {
    units: f64,
    left: f64,
    at: Instant,
}

impl CheckedStore {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            store: MemoryStore::new(),
            recorder,
            lowerable: Arc::default(),
            retired: Arc::default(),
            unreadable: Arc::default(),
            throttle: Arc::default(),
        }
    }

    /// From now on positions of this group may fall, because an operator moves them.
    pub fn allow_lower_positions(&self, group: GroupId) {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
    }

    /// An operator sets the positions of the whole group, or has deleted it: a lease that was deleted before and is made again
    /// begins there too.
    pub(crate) fn seek_whole(&self, group: &GroupId) {
        self.note_sought(group, |sought| sought.whole_group = true);
    }

    fn note_sought(&self, group: &GroupId, note: impl Fn(&mut Sought)) {
        let mut retired = self.retired();
        retired.iter_mut().filter(|((of, _), _)| of == group).for_each(|(_, sought)| note(sought));
    }

    fn retired(&self) -> MutexGuard<'_, BTreeMap<(GroupId, LeaseKey), Sought>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no position may fall.
    pub fn forbid_lower_positions(&self) {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn may_fall(&self, group: &GroupId) -> bool {
        self.lowerable.lock().unwrap_or_else(PoisonError::into_inner).contains(group)
    }

    /// Every row of a group as it is.
    pub(crate) async fn rows(&self, group: &GroupId) -> GroupView {
        // The store in memory does not fail.
        self.store.list(group, Listing::All).await.unwrap_or_default()
    }

    /// From now on nobody can read the row, or everybody can again.
    pub(crate) fn set_unreadable(&self, group: &GroupId, key: &RowKey, on: bool) {
        self.store.damage(group, key, on);
        let mut unreadable = self.unreadable();
        if on {
            unreadable.insert((group.clone(), key.clone()));
        } else {
            unreadable.remove(&(group.clone(), key.clone()));
        }
    }

    /// The rows that nobody can read.
    pub(crate) fn unreadable(&self) -> MutexGuard<'_, BTreeSet<(GroupId, RowKey)>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every row can be read again.
    pub(crate) fn heal(&self) {
        for (group, key) in std::mem::take(&mut *self.unreadable()) {
            self.store.damage(&group, &key, false);
        }
        *self.throttle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The table takes so few read units a second from now on.
    pub(crate) fn throttle(&self, units: Option<u32>) {
        let bucket =
            units.map(|units| Bucket { units: f64::from(units), left: f64::from(units), at: Instant::now() });
        *self.throttle.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    /// Takes what a read of so many rows costs: half a unit for some ten of them, or refuses it.
    fn pay(&self, rows: usize) -> Result<(), StoreError> {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = &mut *throttle else { return Ok(()) };
        let now = Instant::now();
        bucket.left = (bucket.left + bucket.units * (now - bucket.at).as_secs_f64()).min(bucket.units * 2.0);
        bucket.at = now;
        if bucket.left <= 0.0 {
            let message = "more read units are asked for than the table gives: try again later";
            return Err(StoreError::new(StoreErrorKind::Throttled, message));
        }
        bucket.left -= 0.5 * (1 + rows / 10) as f64;
        Ok(())
    }

    fn check_write(&self, group: &GroupId, before: &LeaseRow, after: &LeaseRow, write: &RowWrite) {
        let key = &before.key;
        let sought = matches!(write, RowWrite::UpdateLease(_, LeaseUpdate::Seek { .. }))
            && (self.may_fall(group) || self.takes_end_back(before));
        if after.position < before.position && !sought && !self.may_fall(group) {
            let what = format!("the position of {key} fell from {} to {}", before.position, after.position);
            self.recorder.violate(Check::Positions, what);
        }
        let moved = after.owner != before.owner || after.position < before.position;
        let acquired = matches!(write, RowWrite::UpdateLease(_, LeaseUpdate::Acquire { .. }));
        let by_one = after.epoch == before.epoch || after.epoch == before.epoch.next() || acquired;
        if after.epoch < before.epoch || !by_one || moved && after.epoch == before.epoch {
            let what = format!("{key} went from {before:?} to {after:?}");
            self.recorder.violate(Check::Positions, what);
        }
        self.recorder.stored(before, after, sought);
        if acquired {
            self.recorder.held(after);
        }
        if let (Some(shard), true) =
            (ShardRef::of(key), after.position.is_shard_end() && after.children.is_empty())
        {
            self.recorder.incidents(|incidents, now| incidents.ended(&shard, now));
        }
    }

    /// Whether the end of this shard was no more than what the stream said wrongly, so that it is begun anew.
    fn takes_end_back(&self, before: &LeaseRow) -> bool {
        before.position.is_shard_end()
            && ShardRef::of(&before.key).is_some_and(|shard| {
                self.recorder.incidents(|incidents, now| incidents.takes_end_back(&shard, now))
            })
    }

    /// Checks that unfinished leases cover all hash keys of the stream.
    async fn check_coverage(&self, group: &GroupId, stream: &StreamId) {
        let Ok(view) = self.store.list(group, Listing::All).await else { return };
        if !view.unreadable.is_empty() {
            return;
        }
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
        let view = self.store.list(group, listing).await?;
        self.pay(view.workers.len() + view.leases.len())?;
        Ok(view)
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        let listed = self.store.list_part(group, part).await?;
        self.pay(listed.view.workers.len() + listed.view.leases.len())?;
        Ok(listed)
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.pay(1)?;
        self.store.read(group, key).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let outcome = self.store.write(group, write).await?;
        self.recorder.trace(|| match &outcome {
            RowOutcome::Refused { .. } => format!("refused {write:?}"),
            _ => format!("wrote {write:?}"),
        });
        let uncovers = match (write, &outcome) {
            (
                RowWrite::UpdateLease(..),
                RowOutcome::Stored { before: Some(Row::Lease(before)), after: Row::Lease(after) },
            ) => {
                self.check_write(group, before, after, write);
                if let RowWrite::UpdateLease(key, LeaseUpdate::Seek { .. }) = write {
                    self.note_sought(group, |sought| _ = sought.leases.insert(key.clone()));
                }
                after.position.is_shard_end() && !before.position.is_shard_end()
            }
            (RowWrite::Insert(Row::Lease(row)), RowOutcome::Stored { before: None, .. }) => {
                let retired = self.retired().remove(&(group.clone(), row.key.clone()));
                match retired {
                    Some(sought) => {
                        let is_sought = sought.whole_group
                            || row.parents.iter().any(|parent| {
                                let parent = LeaseKey::new(row.key.stream.clone(), parent.clone());
                                sought.leases.contains(&parent)
                            });
                        if is_sought {
                            // And so are those that come after it.
                            self.note_sought(group, |later| _ = later.leases.insert(row.key.clone()));
                        }
                        self.recorder.made_anew(row, is_sought);
                    }
                    None => self.recorder.stored(row, row, false),
                }
                false
            }
            (RowWrite::DeleteLease(key, _), _) => {
                self.retired().insert((group.clone(), key.clone()), Sought::default());
                true
            }
            _ => false,
        };
        // While the stream says something wrong about its shards nobody can know the children of one; at rest all have leases.
        let told_right = |key: &LeaseKey| {
            let shard = ShardRef::of(key)?;
            Some(self.recorder.incidents(|incidents, now| incidents.is_told_right(shard.stream, now)))
        };
        if let (true, RowKey::Lease(key)) = (uncovers, write.key())
            && told_right(&key) == Some(true)
        {
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
