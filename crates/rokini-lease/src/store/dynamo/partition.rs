//! Under which partition keys a group's rows are.
//!
//! As a rule under one: the group's name. A group so large that one key would run hot can spread its workers and
//! leases over several, `group#0` and on; its streams, its own row, and the row that says over how many, stay under
//! its name. The number is fixed when the group begins, because a row is found by it.
//!
//! Whoever fixes it writes the row that says so and then looks for rows of others; whoever takes part without it
//! writes its worker's row and then looks for that row. So of two that begin at once at least one sees the other.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

use super::attributes::{LAYOUT_ROW, Partition};
use super::calls::Calls;
use super::items::LayoutRow;
use crate::duty::stable_hash;
use crate::error::{StoreError, StoreErrorKind};
use crate::types::GroupId;
use crate::write::WriteOutcome;

/// Over how many keys groups are spread: as wanted, and as found.
#[derive(Debug, Clone, Default)]
pub(super) struct Partitions {
    wanted: Option<NonZeroU16>,
    known: Arc<Mutex<BTreeMap<GroupId, Known>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// For as long as the group is there.
    Fixed(NonZeroU16),
    /// No row says so yet: somebody may begin the group with more than one.
    NotSpread,
}

impl Known {
    fn count(self) -> NonZeroU16 {
        match self {
            Self::Fixed(count) => count,
            Self::NotSpread => NonZeroU16::MIN,
        }
    }
}

impl Partitions {
    pub(super) fn wanted(count: NonZeroU16) -> Self {
        Self { wanted: Some(count), known: Arc::default() }
    }

    fn known(&self, group: &GroupId) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(group).copied()
    }

    fn learn(&self, group: &GroupId, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(group.clone(), known);
    }

    pub(super) fn forget(&self, group: &GroupId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// Where the row of a worker or lease is.
    pub(super) async fn of(
        &self,
        calls: &Calls,
        group: &GroupId,
        row: &str,
    ) -> Result<Partition, StoreError> {
        Ok(partition(group, self.count(calls, group).await?, row))
    }

    /// The partitions beside the one of the group's name.
    pub(super) async fn all(&self, calls: &Calls, group: &GroupId) -> Result<Vec<Partition>, StoreError> {
        let count = self.count(calls, group).await?;
        Ok(if count == NonZeroU16::MIN { Vec::new() } else { every(group, count) })
    }

    /// As [`Partitions::all`] before a listing of the whole group, which shows by itself how the group is spread.
    pub(super) async fn all_but_shown(
        &self,
        calls: &Calls,
        group: &GroupId,
    ) -> Result<Vec<Partition>, StoreError> {
        if self.wanted.is_none() && self.known(group).is_none() {
            return Ok(Vec::new());
        }
        self.all(calls, group).await
    }

    /// Over how many keys the group is spread. Asks once for each group.
    async fn count(&self, calls: &Calls, group: &GroupId) -> Result<NonZeroU16, StoreError> {
        if let Some(known) = self.known(group) {
            return Ok(known.count());
        }
        let stored: Option<LayoutRow> = calls.get(&group.into(), LAYOUT_ROW).await?;
        let stored = match (stored, self.wanted) {
            (Some(row), _) => row.partitions,
            (None, None) => {
                self.learn(group, Known::NotSpread);
                return Ok(NonZeroU16::MIN);
            }
            (None, Some(NonZeroU16::MIN)) => NonZeroU16::MIN,
            (None, Some(wanted)) => fix(calls, group, wanted).await?,
        };
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != stored) {
            return Err(refused(calls, group, stored, wanted));
        }
        self.learn(group, Known::Fixed(stored));
        Ok(stored)
    }

    /// After the first insert of a worker: whether the group is spread although nobody said so here. `true` when the
    /// row belongs elsewhere.
    pub(super) async fn look_after_insert(&self, calls: &Calls, group: &GroupId) -> Result<bool, StoreError> {
        if let Some(Known::Fixed(_)) = self.known(group) {
            return Ok(false);
        }
        let stored: Option<LayoutRow> = calls.get(&group.into(), LAYOUT_ROW).await?;
        let count = stored.map_or(NonZeroU16::MIN, |row| row.partitions);
        self.found(calls, group, Some(count))?;
        Ok(count != NonZeroU16::MIN)
    }

    /// A listing shows how the group is spread; `None` where no row says so. `true` when that was not known.
    pub(super) fn found(
        &self,
        calls: &Calls,
        group: &GroupId,
        count: Option<NonZeroU16>,
    ) -> Result<bool, StoreError> {
        let before = self.known(group);
        let Some(count) = count else {
            if before.is_none() && self.wanted.is_none() {
                self.learn(group, Known::NotSpread);
            }
            return Ok(false);
        };
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != count) {
            return Err(refused(calls, group, count, wanted));
        }
        self.learn(group, Known::Fixed(count));
        Ok(before.is_none_or(|known| known.count() != count))
    }
}

/// Writes down the number for a group that has no rows yet.
async fn fix(calls: &Calls, group: &GroupId, wanted: NonZeroU16) -> Result<NonZeroU16, StoreError> {
    let (base, row) = (Partition::from(group), LayoutRow { partitions: wanted });
    if calls.has_members(&base).await? {
        return Err(refused(calls, group, NonZeroU16::MIN, wanted));
    }
    match calls.insert(&base, &row, |current| *current == row).await? {
        WriteOutcome::Applied { .. } => {}
        WriteOutcome::Refused { current } => return Ok(current.unwrap_or(row).partitions),
    }
    if calls.has_members(&base).await? {
        calls.delete::<LayoutRow>(&base, LAYOUT_ROW.to_owned()).await?;
        return Err(refused(calls, group, NonZeroU16::MIN, wanted));
    }
    Ok(wanted)
}

fn refused(calls: &Calls, group: &GroupId, stored: NonZeroU16, wanted: NonZeroU16) -> StoreError {
    let message = format!(
        "group `{group}` of {} ({}) is spread over {stored} partition keys, but {wanted} are set: set `partitions({stored})`, or none, or delete the group and begin anew",
        calls.place.table(),
        calls.place.location()
    );
    StoreError::new(StoreErrorKind::Configuration, message)
}

fn every(group: &GroupId, count: NonZeroU16) -> Vec<Partition> {
    (0..count.get()).map(|n| Partition(format!("{group}#{n}"))).collect()
}

fn partition(group: &GroupId, count: NonZeroU16, row: &str) -> Partition {
    if count == NonZeroU16::MIN {
        return group.into();
    }
    Partition(format!("{group}#{}", stable_hash(&[row.as_bytes()]) % u64::from(count.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_spread_evenly_and_stay_where_they_are() {
        let group = GroupId::new("billing").unwrap();
        let count = NonZeroU16::new(8).unwrap();
        let mut rows: BTreeMap<Partition, usize> = BTreeMap::new();
        for n in 0..8000 {
            *rows.entry(partition(&group, count, &format!("lease#orders@1#shardId-{n:012}"))).or_default() +=
                1;
        }
        assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), every(&group, count));
        assert!(rows.values().all(|count| (800..1200).contains(count)), "{rows:?}");
        // Tables in use have rows where this says.
        let fixed = partition(&group, count, "lease#orders@1700000000123#shardId-000000000007");
        assert_eq!(fixed.to_string(), "billing#2");
        assert_eq!(partition(&group, NonZeroU16::MIN, "lease#x#y").to_string(), "billing");
    }
}
