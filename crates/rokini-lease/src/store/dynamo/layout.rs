//! Where the rows of a group are, as its layout row says.
//!
//! As a rule all of them are under one partition key, the group's name. A group so large that this key would run hot has
//! its leases spread over several keys, and its workers under one more, so that a look at the workers stays one query. Its
//! streams, its own row and the layout row stay under its name.
//!
//! Each change of the layout is a new generation with keys of its own. While rows go from one to the next, the layout row
//! names both: a row is where the current generation has it, unless a *forwarding row* stands there, which says that it went
//! on to the next.

use std::num::NonZeroU16;

use super::attributes::{Partition, WORKER_PREFIX};
use crate::clock::WallClock;
use crate::duty::stable_hash;
use crate::types::GroupId;

/// One generation of partition keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layout {
    pub(super) generation: u32,
    /// Over how many keys the leases are spread.
    pub(super) keys: NonZeroU16,
}

impl Layout {
    /// Everything under the group's name.
    pub(super) const SINGLE: Self = Self { generation: 0, keys: NonZeroU16::MIN };

    /// That of a group that begins with so many keys.
    pub(super) fn begun(keys: NonZeroU16) -> Self {
        if keys == NonZeroU16::MIN { Self::SINGLE } else { Self { generation: 1, keys } }
    }

    /// The one after this. Its number has the time in it: what a group left behind that was deleted is under no key of the one
    /// that begins anew.
    pub(super) fn next(self, keys: NonZeroU16, clock: &WallClock) -> Self {
        let seconds = u32::try_from(clock.millis() / 1_000).unwrap_or(u32::MAX - 1);
        Self { generation: self.generation.max(1).max(seconds) + 1, keys }
    }

    /// Whether the group began otherwise.
    pub(super) fn is_changed(self) -> bool {
        self.generation > 1
    }

    /// The key that the row of a worker or lease is under.
    pub(super) fn place(self, group: &GroupId, row: &str) -> Partition {
        if self == Self::SINGLE {
            return group.into();
        }
        if row.starts_with(WORKER_PREFIX) {
            return self.workers(group);
        }
        self.leases(group, (stable_hash(&[row.as_bytes()]) % u64::from(self.keys.get())) as u16)
    }

    /// The key that the workers are under.
    pub(super) fn workers(self, group: &GroupId) -> Partition {
        if self == Self::SINGLE {
            return group.into();
        }
        Partition(format!("{group}#{}.workers", self.generation))
    }

    fn leases(self, group: &GroupId, n: u16) -> Partition {
        Partition(format!("{group}#{}.{n}", self.generation))
    }

    /// Every key that workers and leases are under.
    pub(super) fn places(self, group: &GroupId) -> Vec<Partition> {
        if self == Self::SINGLE {
            return vec![group.into()];
        }
        let leases = (0..self.keys.get()).map(|n| self.leases(group, n));
        std::iter::once(self.workers(group)).chain(leases).collect()
    }
}

/// The row that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayoutRow {
    pub(super) current: Layout,
    /// Where the rows are going, while they go.
    pub(super) next: Option<Layout>,
    /// From where they came, while forwarding rows may be left there.
    pub(super) cleared: Option<Layout>,
}

/// What a group without such a row has.
impl Default for LayoutRow {
    fn default() -> Self {
        Self::of(Layout::SINGLE)
    }
}

impl LayoutRow {
    pub(super) fn of(current: Layout) -> Self {
        Self { current, next: None, cleared: None }
    }

    /// Grows with each step of a change.
    pub(super) fn step(&self) -> (u32, bool) {
        (self.current.generation, self.next.is_some())
    }

    /// Where workers and leases may be, in the order in which they go.
    pub(super) fn places(&self, group: &GroupId) -> Vec<Partition> {
        let next = self.next.map(|next| next.places(group));
        self.current.places(group).into_iter().chain(next.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn keys(count: u16) -> NonZeroU16 {
        NonZeroU16::new(count).unwrap()
    }

    #[test]
    fn leases_spread_evenly_and_workers_stay_together() {
        let group = GroupId::new("billing").unwrap();
        let layout = Layout::begun(keys(8));
        let mut rows: BTreeMap<Partition, usize> = BTreeMap::new();
        for n in 0..8000 {
            *rows.entry(layout.place(&group, &format!("lease#orders@1#shardId-{n:012}"))).or_default() += 1;
            assert_eq!(layout.place(&group, &format!("worker#w-{n}#00")), layout.workers(&group));
        }
        assert!(rows.values().all(|count| (800..1200).contains(count)), "{rows:?}");
        let mut places: Vec<Partition> = rows.into_keys().chain([layout.workers(&group)]).collect();
        let mut every = layout.places(&group);
        places.sort();
        every.sort();
        assert_eq!(places, every);
        // Tables in use have rows where this says.
        let place = layout.place(&group, "lease#orders@1700000000123#shardId-000000000007");
        assert_eq!(place.to_string(), "billing#1.2");
        assert_eq!(Layout::SINGLE.place(&group, "lease#x#y").to_string(), "billing");
    }

    #[test]
    fn no_two_generations_share_a_key() {
        let group = GroupId::new("billing").unwrap();
        let mut layout = Layout::SINGLE;
        let mut seen = layout.places(&group);
        for count in [4, 4, 1, 9] {
            layout = layout.next(keys(count), &WallClock::from_fn(|| 0));
            assert!(layout.is_changed());
            let places = layout.places(&group);
            assert_eq!(places.len(), usize::from(count) + 1);
            assert!(places.iter().all(|place| !seen.contains(place)), "{places:?}");
            seen.extend(places);
        }
    }
}
