//! The records of some partition keys on their way, in order.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::failed_batch::{BatchStage, FailedBatch};
use super::order_key::OrderKey;
use super::ranges::{RecordRange, RecordRanges};
use super::tracker::Tracker;

/// How large a batch is at most, and how long it waits to become as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    pub(crate) records: usize,
    /// A single record above it is a batch of its own. `usize::MAX` for any.
    pub(crate) bytes: usize,
    pub(crate) wait: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: VecDeque<RecordRange>,
    records: usize,
    bytes: usize,
    /// Those of a parked key are tried beside the queue, others before it. A batch without a key has no record of a
    /// parked one: what waits behind a key goes on when no batch has it.
    failed: Vec<FailedBatch>,
    parked: Vec<Parked>,
}

/// A key that waits while others go on.
#[derive(Debug)]
struct Parked {
    key: OrderKey,
    /// The key's records after those that failed.
    behind: RecordRanges,
}

impl Lane {
    /// Puts records behind the others, or behind what is parked of their key.
    pub(crate) fn push(&mut self, range: RecordRange, tracker: &Tracker, limits: &BatchLimits) {
        if self.parked.is_empty() {
            return self.append(range, tracker, limits);
        }
        for number in range.from..range.to {
            match self.parked_at(number, tracker) {
                Some(parked) => parked.behind.insert(number),
                None => self.append(RecordRange::one(number), tracker, limits),
            }
        }
    }

    fn append(&mut self, range: RecordRange, tracker: &Tracker, limits: &BatchLimits) {
        self.records += range.len();
        self.bytes += bytes(range, tracker, limits);
        match self.queue.back_mut() {
            Some(last) if last.to == range.from => last.to = range.to,
            _ => self.queue.push_back(range),
        }
    }

    /// Puts records back that were taken: they come first, in their order with those put back before.
    pub(crate) fn put_back(&mut self, ranges: &RecordRanges, tracker: &Tracker, limits: &BatchLimits) {
        let mut waiting = RecordRanges::default();
        self.queue.drain(..).for_each(|range| waiting.push(range));
        (self.records, self.bytes) = (0, 0);
        for range in ranges.union(&waiting).iter() {
            self.push(range, tracker, limits);
        }
    }

    /// Takes up records that failed. Those of parked keys become batches of their own.
    pub(crate) fn add_failed(&mut self, mut batch: FailedBatch, tracker: &Tracker) {
        if batch.key.is_none() {
            for Parked { key, .. } in &self.parked {
                let of_key = |number| tracker.record(number).is_some_and(|record| key.is_of(record));
                let records = batch.records.only(of_key);
                if !records.is_empty() {
                    batch.records = batch.records.only(|number| !of_key(number));
                    self.failed.push(FailedBatch { records, key: Some(key.clone()), ..batch.clone() });
                }
            }
            if batch.records.is_empty() {
                return;
            }
        }
        self.failed.push(batch);
    }

    /// Takes up records that were given back. Those of one call come again together, although each had a token.
    pub(crate) fn add_given_back(&mut self, batch: FailedBatch, tracker: &Tracker) {
        let same = |waiting: &&mut FailedBatch| {
            waiting.given_back.is_some()
                && waiting.given_back == batch.given_back
                && waiting.stage == BatchStage::Deliver
                && batch.stage == BatchStage::Deliver
                && waiting.key.is_none()
        };
        match self.failed.iter_mut().find(same).filter(|_| self.parked.is_empty()) {
            Some(waiting) => waiting.records = waiting.records.union(&batch.records),
            None => self.add_failed(batch, tracker),
        }
    }

    pub(crate) fn failed(&mut self) -> &mut Vec<FailedBatch> {
        &mut self.failed
    }

    /// Whether there are records that failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    fn parked_at(&mut self, number: u64, tracker: &Tracker) -> Option<&mut Parked> {
        let record = tracker.record(number)?;
        self.parked.iter_mut().find(|parked| parked.key.is_of(record))
    }

    /// From now on records of this key wait until `unpark`. Whether they did not before.
    pub(crate) fn park(&mut self, key: &OrderKey, tracker: &Tracker, limits: &BatchLimits) -> bool {
        if self.parked.iter().any(|parked| parked.key == *key) {
            return false;
        }
        self.parked.push(Parked { key: key.clone(), behind: RecordRanges::default() });
        self.put_back(&RecordRanges::default(), tracker, limits);
        for batch in std::mem::take(&mut self.failed) {
            self.add_failed(batch, tracker);
        }
        true
    }

    /// Records of a parked key wait again, before those that wait.
    pub(crate) fn put_back_parked(&mut self, key: &OrderKey, records: &RecordRanges) {
        if let Some(parked) = self.parked.iter_mut().find(|parked| parked.key == *key) {
            parked.behind = records.union(&parked.behind);
        }
    }

    /// The key does not wait any more, unless some of its records failed or wait. Whether it does not.
    pub(crate) fn unpark(&mut self, key: &OrderKey) -> bool {
        let over = |parked: &Parked| parked.key == *key && parked.behind.is_empty();
        let index = self.parked.iter().position(over).filter(|_| !self.has_failed_of(key));
        index.map(|index| self.parked.swap_remove(index)).is_some()
    }

    fn has_failed_of(&self, key: &OrderKey) -> bool {
        self.failed.iter().any(|batch| batch.key.as_ref() == Some(key))
    }

    fn releasable(&self) -> Option<usize> {
        let free = |parked: &Parked| !parked.behind.is_empty() && !self.has_failed_of(&parked.key);
        self.parked.iter().position(free)
    }

    /// The next records of a parked key without failed ones. It stays parked until they are dealt with, so that its
    /// order is kept.
    pub(crate) fn release(&mut self, limits: &BatchLimits) -> Option<(OrderKey, RecordRanges)> {
        let parked = self.releasable()?;
        let Parked { key, behind } = &mut self.parked[parked];
        let (next, rest) = behind.split_at(limits.records);
        *behind = rest;
        Some((key.clone(), next))
    }

    /// Whether `release` has records to give.
    pub(crate) fn can_release(&self) -> bool {
        self.releasable().is_some()
    }

    /// The next records of the queue, as many as go into one batch.
    pub(crate) fn take(&mut self, tracker: &Tracker, limits: &BatchLimits) -> RecordRanges {
        let mut taken = RecordRanges::default();
        let mut room = limits.records;
        let mut weight = limits.bytes;
        while let Some(range) = self.queue.pop_front() {
            let mut to = range.from.saturating_add(room as u64).min(range.to);
            if limits.bytes != usize::MAX {
                let mut fits = range.from;
                while fits < to {
                    let size = tracker.record(fits).map_or(0, |record| record.data().len());
                    if size > weight && (fits > range.from || !taken.is_empty()) {
                        break;
                    }
                    weight = weight.saturating_sub(size);
                    fits += 1;
                }
                to = fits;
            }
            let part = RecordRange { from: range.from, to };
            taken.push(part);
            self.records -= part.len();
            self.bytes -= bytes(part, tracker, limits);
            room -= part.len();
            if to < range.to {
                self.queue.push_front(RecordRange { from: to, to: range.to });
                break;
            }
            if room == 0 {
                break;
            }
        }
        taken
    }

    /// Whether the queue has as much as goes into one batch.
    pub(crate) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.records >= limits.records || self.bytes >= limits.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When a batch of the queue may be handed out; `None` when there is nothing in it.
    pub(crate) fn ready(&self, tracker: &Tracker, limits: &BatchLimits, now: Instant) -> Option<Instant> {
        let first = self.queue.front()?;
        if limits.wait.is_zero() || self.is_full(limits) {
            return Some(now);
        }
        Some(tracker.added_at(first.from).map_or(now, |added| added + limits.wait))
    }

    /// Whether failed records hold up the queue.
    pub(crate) fn is_blocked(&self) -> bool {
        self.failed.iter().any(|batch| batch.key.is_none())
    }

    /// The failed batch to go on with, and when: the first of those that hold up the lane, or the first due of parked
    /// keys.
    pub(crate) fn next_failed(&self) -> Option<(usize, Instant)> {
        let of = |parked: bool| {
            self.failed.iter().enumerate().filter(move |(_, batch)| batch.key.is_some() == parked)
        };
        let first = of(false).min_by_key(|(_, batch)| batch.records.start());
        let parked = of(true).min_by_key(|(_, batch)| (batch.due, batch.records.start()));
        let failed = first.into_iter().chain(parked).map(|(index, batch)| (index, batch.due));
        failed.min_by_key(|(_, due)| *due)
    }

    /// How many keys are parked.
    pub(crate) fn parked_keys(&self) -> usize {
        self.parked.len()
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.failed.is_empty() && self.parked.is_empty()
    }
}

/// The size of the records' data; 0 where batches have no limit in bytes.
fn bytes(range: RecordRange, tracker: &Tracker, limits: &BatchLimits) -> usize {
    if limits.bytes == usize::MAX {
        return 0;
    }
    (range.from..range.to).filter_map(|number| tracker.record(number)).map(|record| record.data().len()).sum()
}

#[cfg(test)]
mod tests;
