//! One shard and its records.

use std::collections::VecDeque;

use rokini_wire::shapes::record::Record;
use rokini_wire::shapes::shard::{ChildShard, HashKeyRange, SequenceNumberRange, Shard as Description};
use rokini_wire::{SequenceNumber, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::rate_limiter::{BurstBucket, RateLimiter, WRITE};
use crate::model::sequence::{self, LAST_ARRIVAL, LAST_CREATION, LAST_OFFSET, SequenceParts};

/// Offset of the first record of a shard. Offset 0 is the shard's starting sequence number, which no record has.
pub(crate) const FIRST_OFFSET: u64 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shard {
    pub(crate) number: u32,
    /// Both ends included.
    pub(crate) hashes: (u128, u128),
    pub(crate) parent: Option<u32>,
    pub(crate) adjacent_parent: Option<u32>,
    pub(crate) opened: Timestamp,
    /// The second encoded in its sequence numbers; later than those of its parents.
    created: u64,
    pub(crate) closed: Option<Timestamp>,
    /// In order of their offsets, which their numbers hold. Offsets may be missing where a file that kept them was damaged.
    #[serde(skip)]
    records: VecDeque<Record>,
    /// Offset of the oldest record kept, or of the next one if there is none.
    oldest: u64,
    /// Offset the next record gets.
    next: u64,
    /// Bytes written so far, partition keys included.
    #[serde(skip)]
    pub(crate) written_bytes: u64,
    /// Records given out so far, and their bytes.
    #[serde(skip)]
    pub(crate) read_records: u64,
    #[serde(skip)]
    pub(crate) read_bytes: u64,
    #[serde(skip)]
    pub(crate) reads: RateLimiter,
    #[serde(skip)]
    writes: RateLimiter,
    #[serde(skip)]
    pub(crate) iterators: RateLimiter,
    #[serde(skip)]
    burst: BurstBucket,
}

impl Shard {
    pub(crate) fn new(number: u32, hashes: (u128, u128), now: Timestamp, parents: &[&Self]) -> Self {
        let after = parents.iter().map(|parent| parent.created + 1).max().unwrap_or(0);
        Self {
            number,
            hashes,
            parent: parents.first().map(|parent| parent.number),
            adjacent_parent: parents.get(1).map(|parent| parent.number),
            opened: now,
            created: after.max(secs(now).min(LAST_CREATION)),
            closed: None,
            records: VecDeque::new(),
            oldest: FIRST_OFFSET,
            next: FIRST_OFFSET,
            written_bytes: 0,
            read_records: 0,
            read_bytes: 0,
            reads: RateLimiter::default(),
            writes: RateLimiter::default(),
            iterators: RateLimiter::default(),
            burst: BurstBucket::default(),
        }
    }

    /// Offset the next record gets.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next
    }

    /// Offset of the oldest record kept, or of the next one if there is none.
    pub(crate) fn oldest_offset(&self) -> u64 {
        self.oldest
    }

    /// Takes a record; it arrives at `now` or, if the clock was set back, with the one before it.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        record: impl FnOnce(SequenceNumber, Timestamp) -> Record,
    ) -> SequenceNumber {
        let last = self.records.back().and_then(|record| record.approximate_arrival_timestamp);
        let arrival = last.map_or(now, |last| last.max(now));
        let number = self.number_at(self.next_offset(), arrival);
        let record = record(number, arrival);
        self.written_bytes += size(&record) as u64;
        self.records.push_back(record);
        self.next += 1;
        number
    }

    /// Counts what is given out, for people.
    pub(crate) fn count_read(&mut self, records: usize, bytes: usize) {
        self.read_records += records as u64;
        self.read_bytes += bytes as u64;
    }

    /// Whether a record of this size may be written now.
    pub(crate) fn has_room(&mut self, now: Timestamp, bytes: u64) -> bool {
        if bytes > WRITE.bytes { self.burst.fits(now, bytes) } else { self.writes.fits(now, WRITE, bytes) }
    }

    /// Counts a record that is written.
    pub(crate) fn charge_write(&mut self, bytes: u64) {
        if bytes > WRITE.bytes {
            self.burst.charge(bytes);
        } else {
            self.writes.charge(bytes);
        }
    }

    /// Drops the records that arrived before `horizon`.
    pub(crate) fn trim(&mut self, horizon: Timestamp) {
        while self.records.front().is_some_and(|record| record.approximate_arrival_timestamp < Some(horizon))
        {
            self.records.pop_front();
        }
        self.oldest = self.records.front().map_or(self.next, offset_of);
    }

    /// The records from offset `from` on.
    pub(crate) fn records_from(&self, from: u64) -> impl DoubleEndedIterator<Item = &Record> {
        let skip = match from.checked_sub(self.oldest) {
            None => 0,
            // Where no offset is missing, which is as good as always, the place is known.
            Some(skip) if self.next - self.oldest == self.records.len() as u64 => {
                usize::try_from(skip).unwrap_or(usize::MAX).min(self.records.len())
            }
            Some(_) => self.records.partition_point(|record| offset_of(record) < from),
        };
        self.records.range(skip..)
    }

    /// The record with this offset.
    pub(crate) fn record_at(&self, offset: u64) -> Option<&Record> {
        self.records_from(offset).next().filter(|record| offset_of(record) == offset)
    }

    /// The records kept.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// Takes back the records that were kept elsewhere, which are in order, and the offset the next one gets at least.
    #[cfg(feature = "data")]
    pub(crate) fn restore(&mut self, records: impl Iterator<Item = Record>, next: u64) {
        let oldest = self.oldest;
        self.records = records.filter(|record| offset_of(record) >= oldest).collect();
        let after = self.records.back().map_or(self.oldest, |record| offset_of(record) + 1);
        self.next = self.next.max(next).max(after);
        self.oldest = self.records.front().map_or(self.next, offset_of);
    }

    /// Offset of the first record that arrived at `time` or later.
    pub(crate) fn offset_at_time(&self, time: Timestamp) -> u64 {
        self.offset_after_all(|record| record.approximate_arrival_timestamp < Some(time))
    }

    /// Offset of the first record with this number or a greater one.
    pub(crate) fn offset_at(&self, number: SequenceNumber) -> u64 {
        self.offset_after_all(|record| record.sequence_number < number)
    }

    /// Offset of the first record with a greater number.
    pub(crate) fn offset_after(&self, number: SequenceNumber) -> u64 {
        self.offset_after_all(|record| record.sequence_number <= number)
    }

    /// Offset of the first record that is not `before`.
    fn offset_after_all(&self, before: impl FnMut(&Record) -> bool) -> u64 {
        self.records.get(self.records.partition_point(before)).map_or(self.next, offset_of)
    }

    /// Whether a number with these parts could come from this shard.
    pub(crate) fn issued(&self, parts: SequenceParts) -> bool {
        parts.shard == self.number && parts.created == self.created
    }

    pub(crate) fn starting_number(&self) -> SequenceNumber {
        self.number_at(0, self.opened)
    }

    /// A number greater than those of all records before offset `next` and smaller than that of the record there.
    pub(crate) fn number_between(&self, next: u64, now: Timestamp) -> SequenceNumber {
        let before = self.records_from(next.saturating_sub(1)).next().filter(|_| next > self.oldest);
        let last = before.and_then(|record| record.approximate_arrival_timestamp).unwrap_or(now);
        self.number_in(next.saturating_sub(1), arrival_secs(last.max(now)) + 1)
    }

    /// The number of the record with this offset that arrived then.
    pub(crate) fn number_at(&self, offset: u64, arrived: Timestamp) -> SequenceNumber {
        self.number_in(offset, arrival_secs(arrived))
    }

    fn number_in(&self, offset: u64, arrived: u64) -> SequenceNumber {
        sequence::compose(SequenceParts { created: self.created, offset, arrived, shard: self.number })
    }

    pub(crate) fn id(&self) -> String {
        shard_id(self.number)
    }

    pub(crate) fn hash_key_range(&self) -> HashKeyRange {
        HashKeyRange::new(self.hashes.0.to_string(), self.hashes.1.to_string())
    }

    pub(crate) fn describe(&self) -> Description {
        let mut numbers = SequenceNumberRange::new(self.starting_number());
        numbers.ending_sequence_number = self.closed.map(|closed| self.number_at(LAST_OFFSET, closed));
        let mut shard = Description::new(self.id(), self.hash_key_range(), numbers);
        shard.parent_shard_id = self.parent.map(shard_id);
        shard.adjacent_parent_shard_id = self.adjacent_parent.map(shard_id);
        shard
    }

    pub(crate) fn describe_as_child(&self) -> ChildShard {
        let parents: Vec<String> = self.parents().map(shard_id).collect();
        ChildShard::new(self.id(), parents, self.hash_key_range())
    }

    pub(crate) fn parents(&self) -> impl Iterator<Item = u32> + use<> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }
}

/// The offset a record's number holds.
pub(crate) fn offset_of(record: &Record) -> u64 {
    sequence::parse(record.sequence_number).map_or(0, |parts| parts.offset)
}

/// Bytes of a record as rates count them: its data and its key.
pub(crate) fn size(record: &Record) -> usize {
    record.data.len() + record.partition_key.as_ref().map_or(0, |key| key.len())
}

fn secs(time: Timestamp) -> u64 {
    u64::try_from(time.secs()).unwrap_or(0)
}

fn arrival_secs(time: Timestamp) -> u64 {
    secs(time).min(LAST_ARRIVAL)
}

pub(crate) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The number in an id. As in the service, what stands before the dash may be missing.
pub(crate) fn shard_number(id: &str) -> Option<u32> {
    let digits = id.rsplit_once('-').map_or(id, |(_, digits)| digits);
    let number: u32 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    (number <= i32::MAX as u32).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_between_two_records_is_between_them_at_any_time() {
        for millis in [i64::MIN, 0, 1_700_000_000_000, i64::MAX] {
            let now = Timestamp::from_millis(millis);
            let mut shard = Shard::new(3, (0, u128::MAX), now, &[]);
            let mut push = || {
                shard.push(now, |sequence_number, arrival| {
                    Record::new(sequence_number, Vec::new()).approximate_arrival_timestamp(arrival)
                })
            };
            let (first, second) = (push(), push());
            let between = shard.number_between(FIRST_OFFSET + 1, now);
            assert!(first < between && between < second, "{millis}: {first} {between} {second}");
        }
    }
}
