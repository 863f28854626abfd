//! The records of some partition keys on their way, in order.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::case::Case;
use super::spans::{Span, Spans};
use super::tracker::Tracker;

/// How large a batch is at most, and how long it waits to become as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    /// A single record above it is a batch of its own. `usize::MAX` for any.
    pub(crate) bytes: usize,
    pub(crate) wait: Duration,
}

/// The lane of a key: the same for as long as there are as many lanes.
pub(crate) fn lane_of(key: &str, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let hash = hasher.finish();
    // The upper bits of a product spread evenly, and cost no division.
    ((u128::from(hash) * lanes as u128) >> 64) as usize
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: VecDeque<Span>,
    records: usize,
    bytes: usize,
    /// Records in trouble; those of a parked key are tried beside the queue, others before it. A case without a key
    /// has no record of a parked one: what waits behind a key goes on when no case has it.
    cases: Vec<Case>,
    parked: Vec<Parked>,
}

/// A key that waits while others go on.
#[derive(Debug)]
struct Parked {
    key: Arc<str>,
    /// The key's records after those in trouble.
    behind: Spans,
}

impl Lane {
    /// Puts records behind the others, or behind what is parked of their key.
    pub(crate) fn push(&mut self, span: Span, tracker: &Tracker, limits: &Limits) {
        if self.parked.is_empty() {
            return self.append(span, tracker, limits);
        }
        for number in span.from..span.to {
            match self.parked_at(number, tracker) {
                Some(parked) => parked.behind.insert(number),
                None => self.append(Span::one(number), tracker, limits),
            }
        }
    }

    fn append(&mut self, span: Span, tracker: &Tracker, limits: &Limits) {
        self.records += span.len();
        self.bytes += bytes(span, tracker, limits);
        match self.queue.back_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            _ => self.queue.push_back(span),
        }
    }

    /// Puts records back that were taken: they come first, in their order with those put back before.
    pub(crate) fn put_back(&mut self, spans: &Spans, tracker: &Tracker, limits: &Limits) {
        let mut waiting = Spans::default();
        self.queue.drain(..).for_each(|span| waiting.push(span));
        (self.records, self.bytes) = (0, 0);
        for span in spans.union(&waiting).iter() {
            self.push(span, tracker, limits);
        }
    }

    /// Notes records in trouble. Those of parked keys become cases of their own.
    pub(crate) fn add_case(&mut self, mut case: Case, tracker: &Tracker) {
        if case.key.is_none() {
            for Parked { key, .. } in &self.parked {
                let of_key =
                    |number| tracker.record(number).is_some_and(|record| record.partition_key == *key);
                let records = case.records.only(of_key);
                if !records.is_empty() {
                    case.records = case.records.only(|number| !of_key(number));
                    self.cases.push(Case { records, key: Some(Arc::clone(key)), ..case.clone() });
                }
            }
            if case.records.is_empty() {
                return;
            }
        }
        self.cases.push(case);
    }

    pub(crate) fn cases(&mut self) -> &mut Vec<Case> {
        &mut self.cases
    }

    /// Whether records are in trouble.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.cases.is_empty()
    }

    fn parked_at(&mut self, number: u64, tracker: &Tracker) -> Option<&mut Parked> {
        let key = &tracker.record(number)?.partition_key;
        self.parked.iter_mut().find(|parked| parked.key == *key)
    }

    /// From now on records of this key wait until `unpark`. Whether they did not before.
    pub(crate) fn park(&mut self, key: &Arc<str>, tracker: &Tracker, limits: &Limits) -> bool {
        if self.parked.iter().any(|parked| parked.key == *key) {
            return false;
        }
        self.parked.push(Parked { key: Arc::clone(key), behind: Spans::default() });
        self.put_back(&Spans::default(), tracker, limits);
        for case in std::mem::take(&mut self.cases) {
            self.add_case(case, tracker);
        }
        true
    }

    /// Records of a parked key wait again, before those that wait.
    pub(crate) fn put_behind(&mut self, key: &Arc<str>, records: &Spans) {
        if let Some(parked) = self.parked.iter_mut().find(|parked| parked.key == *key) {
            parked.behind = records.union(&parked.behind);
        }
    }

    /// The key does not wait any more, unless some of its records are in trouble or wait. Whether it does not.
    pub(crate) fn unpark(&mut self, key: &Arc<str>) -> bool {
        let over = |parked: &Parked| parked.key == *key && parked.behind.is_empty();
        let index = self.parked.iter().position(over).filter(|_| !self.is_in_trouble(key));
        index.map(|index| self.parked.swap_remove(index)).is_some()
    }

    fn is_in_trouble(&self, key: &Arc<str>) -> bool {
        self.cases.iter().any(|case| case.key.as_ref() == Some(key))
    }

    fn releasable(&self) -> Option<usize> {
        let free = |parked: &Parked| !parked.behind.is_empty() && !self.is_in_trouble(&parked.key);
        self.parked.iter().position(free)
    }

    /// The next records of a parked key of which nothing is in trouble any more. It stays parked until they are dealt
    /// with, so that its order is kept.
    pub(crate) fn release(&mut self, limits: &Limits) -> Option<(Arc<str>, Spans)> {
        let parked = self.releasable()?;
        let Parked { key, behind } = &mut self.parked[parked];
        let (next, rest) = behind.split_at(limits.records);
        *behind = rest;
        Some((Arc::clone(key), next))
    }

    /// Whether `release` has some.
    pub(crate) fn can_release(&self) -> bool {
        self.releasable().is_some()
    }

    /// The next records of the queue, as many as go into one batch.
    pub(crate) fn take(&mut self, tracker: &Tracker, limits: &Limits) -> Spans {
        let mut taken = Spans::default();
        let mut room = limits.records;
        let mut weight = limits.bytes;
        while let Some(span) = self.queue.pop_front() {
            let mut to = span.from.saturating_add(room as u64).min(span.to);
            if limits.bytes != usize::MAX {
                let mut fits = span.from;
                while fits < to {
                    let size = tracker.record(fits).map_or(0, |record| record.data.len());
                    if size > weight && (fits > span.from || !taken.is_empty()) {
                        break;
                    }
                    weight = weight.saturating_sub(size);
                    fits += 1;
                }
                to = fits;
            }
            let part = Span { from: span.from, to };
            taken.push(part);
            self.records -= part.len();
            self.bytes -= bytes(part, tracker, limits);
            room -= part.len();
            if to < span.to {
                self.queue.push_front(Span { from: to, to: span.to });
                break;
            }
            if room == 0 {
                break;
            }
        }
        taken
    }

    /// Whether the queue has as much as goes into one batch.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.records >= limits.records || self.bytes >= limits.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When a batch of the queue may be handed out; `None` when there is nothing in it.
    pub(crate) fn ready(&self, tracker: &Tracker, limits: &Limits, now: Instant) -> Option<Instant> {
        let first = self.queue.front()?;
        if limits.wait.is_zero() || self.is_full(limits) {
            return Some(now);
        }
        Some(tracker.came(first.from).map_or(now, |came| came + limits.wait))
    }

    /// Whether records in trouble hold up the queue.
    pub(crate) fn is_held_up(&self) -> bool {
        self.cases.iter().any(|case| case.key.is_none())
    }

    /// The case to go on with, and when: the first of those that hold up the lane, or the first due of parked keys.
    pub(crate) fn due_case(&self) -> Option<(usize, Instant)> {
        let of = |parked: bool| {
            self.cases.iter().enumerate().filter(move |(_, case)| case.key.is_some() == parked)
        };
        let first = of(false).min_by_key(|(_, case)| case.records.start());
        let parked = of(true).min_by_key(|(_, case)| (case.due, case.records.start()));
        let cases = first.into_iter().chain(parked).map(|(index, case)| (index, case.due));
        cases.min_by_key(|(_, due)| *due)
    }

    /// Keys that wait.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.cases.is_empty() && self.parked.is_empty()
    }
}

/// The size of records, where it matters.
fn bytes(span: Span, tracker: &Tracker, limits: &Limits) -> usize {
    if limits.bytes == usize::MAX {
        return 0;
    }
    (span.from..span.to).filter_map(|number| tracker.record(number)).map(|record| record.data.len()).sum()
}

#[cfg(test)]
mod tests;
