//! Records by their numbers: 0, 1, 2, ... in the order of the shard, for each hold of its lease.

/// The records from one number up to, and without, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordRange {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl RecordRange {
    pub(crate) fn one(number: u64) -> Self {
        Self { from: number, to: number + 1 }
    }

    pub(crate) fn len(self) -> usize {
        // What is outstanding is in memory, so it can be counted by a `usize`.
        usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.from >= self.to
    }
}

/// Records in order. A single range, the common case, needs no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordRanges {
    first: Option<RecordRange>,
    more: Vec<RecordRange>,
}

impl From<RecordRange> for RecordRanges {
    fn from(range: RecordRange) -> Self {
        Self { first: Some(range).filter(|range| !range.is_empty()), more: Vec::new() }
    }
}

impl FromIterator<u64> for RecordRanges {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut ranges = Self::default();
        numbers.into_iter().for_each(|number| ranges.push(RecordRange::one(number)));
        ranges
    }
}

impl RecordRanges {
    /// Adds records behind all others: none of them comes before one that is there.
    pub(crate) fn push(&mut self, range: RecordRange) {
        if range.is_empty() {
            return;
        }
        match self.more.last_mut().or(self.first.as_mut()) {
            Some(last) if last.to == range.from => last.to = range.to,
            Some(_) => self.more.push(range),
            None => self.first = Some(range),
        }
    }

    /// Adds a record at its place. That is cheap behind all others, where it belongs as a rule.
    pub(crate) fn insert(&mut self, number: u64) {
        let one = RecordRange::one(number);
        match self.last() {
            Some(last) if number <= last => *self = self.union(&one.into()),
            _ => self.push(one),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = RecordRange> + '_ {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().flat_map(|range| range.from..range.to)
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().map(RecordRange::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The number of the first record.
    pub(crate) fn start(&self) -> Option<u64> {
        self.first.map(|range| range.from)
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> Option<u64> {
        self.iter().next_back().map(|range| range.to - 1)
    }

    /// The range that has all the records, where there is one.
    pub(crate) fn single(&self) -> Option<RecordRange> {
        self.first.filter(|_| self.more.is_empty())
    }

    /// The first `count` records, and the others.
    pub(crate) fn split_at(&self, count: usize) -> (Self, Self) {
        let (mut left, mut right) = (Self::default(), Self::default());
        let mut room = count;
        for range in self.iter() {
            let taken = range.len().min(room);
            let middle = range.from + taken as u64;
            left.push(RecordRange { from: range.from, to: middle });
            right.push(RecordRange { from: middle, to: range.to });
            room -= taken;
        }
        (left, right)
    }

    /// The records that `keep` is true for.
    pub(crate) fn only(&self, mut keep: impl FnMut(u64) -> bool) -> Self {
        self.numbers().filter(|number| keep(*number)).collect()
    }

    /// The records of both, in order.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut ranges: Vec<RecordRange> = self.iter().chain(other.iter()).collect();
        ranges.sort_unstable();
        let mut both = Self::default();
        for RecordRange { from, to } in ranges {
            let new = both.last().map_or(from, |last| from.max(last + 1));
            both.push(RecordRange { from: new, to });
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = std::collections::BTreeSet<u64>> {
        proptest::collection::btree_set(0..60u64, 0..40)
    }

    proptest! {
        #[test]
        fn ranges_are_sets_in_order(a in sets(), b in sets(), count in 0..50usize) {
            let ranges: RecordRanges = a.iter().copied().collect();
            let mut inserted = ranges.clone();
            b.iter().for_each(|number| inserted.insert(*number));
            prop_assert_eq!(inserted.numbers().collect::<Vec<_>>(), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.numbers().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.len(), a.len());
            prop_assert_eq!((ranges.start(), ranges.last()), (a.first().copied(), a.last().copied()));
            let (left, right) = ranges.split_at(count);
            prop_assert!(left.numbers().eq(a.iter().copied().take(count)));
            prop_assert!(right.numbers().eq(a.iter().copied().skip(count)));
            let other: RecordRanges = b.iter().copied().collect();
            prop_assert!(ranges.union(&other).numbers().eq(a.union(&b).copied()));
            prop_assert!(ranges.only(|number| b.contains(&number)).numbers().eq(a.intersection(&b).copied()));
            prop_assert_eq!(ranges.union(&other), a.union(&b).copied().collect::<RecordRanges>());
        }
    }
}
