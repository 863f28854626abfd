//! Unpacks the aggregates of the Kinesis Producer Library: from the records of a stream to user records. Pure.

use std::ops::RangeInclusive;

use rokini_lease::{HashRange, Position, Progress, SequenceNumber};
use rokini_wire::{Aggregate, is_aggregate, read_aggregates};

use crate::config::KplHashRange;
use crate::types::record::Record;

/// Unpacks aggregates: each of their user records becomes a [`Record`] of its own, with a sub-sequence number, its own keys,
/// and the sequence number and arrival of the stream record that it came in. Data and keys stay where they are in the
/// answer. Consumers do this by themselves; this is for those who read a [`ShardReader`](crate::ShardReader) on their own.
///
/// What begins as an aggregate and is none stays as it came.
///
/// ```
/// use rokini::{Deaggregator, Record};
///
/// let plain = Record::new("1".parse()?, "key", "data", 0);
/// let unpacked = Deaggregator::default().unpack(vec![plain.clone()]);
/// assert_eq!((unpacked.records, unpacked.malformed), (vec![plain], None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Deaggregator {
    /// The hashes of the shard, where they are known and count.
    hashes: Option<RangeInclusive<u128>>,
    drops: bool,
    /// What was done before reading began.
    done: Option<Position>,
    /// How many records came of those before.
    expected: usize,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Unpacked {
    /// User records, and the plain records between them, in the order of the shard.
    pub records: Vec<Record>,
    /// What begins as an aggregate and stays as it came; `None` where there is nothing of that kind.
    pub malformed: Option<MalformedAggregates>,
    /// How many user records have keys that do not hash into the shard, left out or not.
    pub foreign: u64,
    /// What was left out because of such keys; `None` where nothing was.
    pub dropped: Option<DroppedAggregates>,
    /// The memory that the records held before; `None` where no aggregate was among them, so that they are as they came.
    pub(crate) packed: Option<usize>,
}

/// Stream records that begin as aggregates do and are none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MalformedAggregates {
    /// The first of them.
    pub first: SequenceNumber,
    /// What is wrong with it.
    pub reason: String,
    /// How many there are.
    pub records: u64,
}

/// Aggregates that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedAggregates {
    /// The stream record of the first of them.
    pub first: SequenceNumber,
    /// How many user records they have.
    pub user_records: u64,
}

impl Deaggregator {
    /// Also counts the user records whose keys do not hash into this range, which should be the shard's, and does with them
    /// as `foreign` says. Default: no key is hashed.
    #[must_use]
    pub fn hash_range(mut self, range: HashRange, foreign: KplHashRange) -> Self {
        let hashes = range.start..=range.end;
        // Every key hashes into the whole.
        self.hashes = (hashes != (0..=u128::MAX)).then_some(hashes);
        self.drops = foreign == KplHashRange::Drop;
        self
    }

    /// Also leaves out the user records that are done at this position, at which reading began.
    #[must_use]
    pub fn starting_at(mut self, position: Position) -> Self {
        self.done = Some(position);
        self
    }

    /// Unpacks the records of one answer.
    pub fn unpack(&mut self, records: Vec<Record>) -> Unpacked {
        self.unpack_where(true, records)
    }

    /// Whether user records are left out whose keys hash outside the shard.
    pub(crate) fn drops(&self) -> bool {
        self.drops
    }

    /// As [`unpack`](Self::unpack). `hashes_count`: the stream places records by the hash of their keys.
    pub(crate) fn unpack_where(&mut self, hashes_count: bool, records: Vec<Record>) -> Unpacked {
        let hashes = self.hashes.as_ref().filter(|_| hashes_count);
        let packed: Vec<usize> = records
            .iter()
            .enumerate()
            .filter(|(_, record)| is_aggregate(record.data()))
            .map(|(at, _)| at)
            .collect();
        if packed.is_empty() {
            return Unpacked { records, ..Unpacked::default() };
        }
        let data: Vec<&[u8]> = packed.iter().map(|at| records[*at].data()).collect();
        let mut unpacked = Unpacked { packed: Some(Record::weigh(&records).memory), ..Unpacked::default() };
        unpacked.records.reserve(self.expected.max(records.len()));
        let mut plain = 0;
        read_aggregates(&data, |number, aggregate| {
            let at = packed[number];
            unpacked.records.extend_from_slice(&records[plain..at]);
            plain = at + 1;
            match aggregate {
                Ok(aggregate) => unpacked.take(&records[at], aggregate, hashes, self.drops),
                Err(error) => {
                    unpacked.records.push(records[at].clone());
                    unpacked.is_malformed(&records[at], || error.to_string());
                }
            }
        });
        unpacked.records.extend_from_slice(&records[plain..]);
        if let Some(done) = self.done {
            pass_over(&mut unpacked.records, done);
        }
        self.expected = unpacked.records.len();
        unpacked
    }
}

impl Unpacked {
    fn take(
        &mut self,
        record: &Record,
        aggregate: &Aggregate,
        hashes: Option<&RangeInclusive<u128>>,
        drops: bool,
    ) {
        let foreign = hashes.map_or(0, |hashes| aggregate.outside(record.data(), hashes));
        self.foreign += foreign as u64;
        if drops && foreign > 0 {
            // As the KCL does: one that does not belong here takes all of its aggregate along.
            let first = DroppedAggregates { first: record.sequence_number, user_records: 0 };
            self.dropped.get_or_insert(first).user_records += aggregate.len() as u64;
            return;
        }
        let last = aggregate.len().saturating_sub(1);
        for (sub, place) in aggregate.user_records().enumerate() {
            let user_record = record.user_record(sub as u64, &place, sub == last);
            if is_aggregate(user_record.data()) {
                self.is_malformed(record, || format!("user record {sub} is an aggregate itself"));
            }
            self.records.push(user_record);
        }
    }

    fn is_malformed(&mut self, record: &Record, reason: impl FnOnce() -> String) {
        let first = || MalformedAggregates { first: record.sequence_number, reason: reason(), records: 0 };
        self.malformed.get_or_insert_with(first).records += 1;
    }
}

/// Leaves out the user records that were done before reading began: those of the first record up to the
/// sub-sequence number. A plain record has none and stays.
pub(crate) fn pass_over(records: &mut Vec<Record>, opened_at: Position) {
    if let Position::Sequence(number, Progress::Through(done)) = opened_at {
        records.retain(|record| {
            record.sequence_number != number || record.sub_sequence_number.is_none_or(|sub| sub > done)
        });
    }
}

#[cfg(test)]
mod tests;
