//! Records by their numbers: 0, 1, 2, ... in the order of the shard, for each hold of its lease.

/// The records from one number up to, and without, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
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

/// Records in order. One span, the common case, needs no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    first: Option<Span>,
    more: Vec<Span>,
}

impl From<Span> for Spans {
    fn from(span: Span) -> Self {
        Self { first: Some(span).filter(|span| !span.is_empty()), more: Vec::new() }
    }
}

impl FromIterator<u64> for Spans {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut spans = Self::default();
        numbers.into_iter().for_each(|number| spans.push(Span::one(number)));
        spans
    }
}

impl Spans {
    /// Adds records behind all others: none of them comes before one that is there.
    pub(crate) fn push(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        match self.more.last_mut().or(self.first.as_mut()) {
            Some(last) if last.to == span.from => last.to = span.to,
            Some(_) => self.more.push(span),
            None => self.first = Some(span),
        }
    }

    /// Adds a record at its place. Behind all others, as a rule, where that is cheap.
    pub(crate) fn insert(&mut self, number: u64) {
        let one = Span::one(number);
        match self.last() {
            Some(last) if number <= last => *self = self.union(&one.into()),
            _ => self.push(one),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().flat_map(|span| span.from..span.to)
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().map(Span::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The number of the first record.
    pub(crate) fn start(&self) -> Option<u64> {
        self.first.map(|span| span.from)
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> Option<u64> {
        self.iter().next_back().map(|span| span.to - 1)
    }

    /// The span that has all of it, where there is one.
    pub(crate) fn single(&self) -> Option<Span> {
        self.first.filter(|_| self.more.is_empty())
    }

    /// The first `count` records, and the others.
    pub(crate) fn split_at(&self, count: usize) -> (Self, Self) {
        let (mut left, mut right) = (Self::default(), Self::default());
        let mut room = count;
        for span in self.iter() {
            let taken = span.len().min(room);
            let middle = span.from + taken as u64;
            left.push(Span { from: span.from, to: middle });
            right.push(Span { from: middle, to: span.to });
            room -= taken;
        }
        (left, right)
    }

    /// Those for which it holds.
    pub(crate) fn only(&self, mut keep: impl FnMut(u64) -> bool) -> Self {
        self.numbers().filter(|number| keep(*number)).collect()
    }

    /// Both, in order.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut spans: Vec<Span> = self.iter().chain(other.iter()).collect();
        spans.sort_unstable();
        let mut both = Self::default();
        for Span { from, to } in spans {
            let new = both.last().map_or(from, |last| from.max(last + 1));
            both.push(Span { from: new, to });
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
        fn spans_are_sets_in_order(a in sets(), b in sets(), count in 0..50usize) {
            let spans: Spans = a.iter().copied().collect();
            let mut inserted = spans.clone();
            b.iter().for_each(|number| inserted.insert(*number));
            prop_assert_eq!(inserted.numbers().collect::<Vec<_>>(), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(spans.numbers().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(spans.len(), a.len());
            prop_assert_eq!((spans.start(), spans.last()), (a.first().copied(), a.last().copied()));
            let (left, right) = spans.split_at(count);
            prop_assert!(left.numbers().eq(a.iter().copied().take(count)));
            prop_assert!(right.numbers().eq(a.iter().copied().skip(count)));
            let other: Spans = b.iter().copied().collect();
            prop_assert!(spans.union(&other).numbers().eq(a.union(&b).copied()));
            prop_assert!(spans.only(|number| b.contains(&number)).numbers().eq(a.intersection(&b).copied()));
            prop_assert_eq!(spans.union(&other), a.union(&b).copied().collect::<Spans>());
        }
    }
}
