//! Reads aggregates.

use std::ops::{Range, RangeInclusive};

use super::layout::{CHECK_SUM, MAGIC, field};
use super::protobuf::{Fields, ParseFault, Value};
use crate::answer::Place;
use crate::md5::{md5_each, partition_key_hash};

/// Whether the data of a stream record begin as an aggregate does. What begins so and is none is malformed.
#[must_use]
pub fn is_aggregate(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// Reads the data of stream records that begin as aggregates do, and gives each to `each` with its number in `all`. The
/// check sums are computed side by side, which takes a fraction of the time: give all of an answer at once.
///
/// ```
/// use rokini_wire::{AggregateBuilder, is_aggregate, read_aggregates};
///
/// let mut builder = AggregateBuilder::default();
/// builder.push("ann", None, b"hello");
/// let data = builder.build();
/// assert!(is_aggregate(&data));
/// read_aggregates(&[&data], |_, aggregate| {
///     let aggregate = aggregate.unwrap();
///     let record = aggregate.user_records().next().unwrap();
///     assert_eq!((&data[record.data()], &data[record.partition_key()]), (&b"hello"[..], &b"ann"[..]));
/// });
/// ```
pub fn read_aggregates(all: &[&[u8]], mut each: impl FnMut(usize, Result<&Aggregate, AggregateError>)) {
    let messages: Vec<&[u8]> =
        all.iter().map(|data| message(data).map_or(&[][..], |range| &data[range])).collect();
    let digests = md5_each(&messages);
    let mut aggregate = Aggregate::default();
    for (at, (data, digest)) in all.iter().zip(digests).enumerate() {
        let read = match message(data) {
            Err(error) => Err(error),
            Ok(range) if data[range.end..] != digest => Err(AggregateError::CheckSum),
            Ok(range) => aggregate.read(data, range),
        };
        each(at, read.map(|()| &aggregate));
    }
}

/// Where the message is.
fn message(data: &[u8]) -> Result<Range<usize>, AggregateError> {
    match data.len() {
        _ if !is_aggregate(data) => Err(AggregateError::NoAggregate),
        // The last sixteen bytes are no check sum of nothing.
        length if length <= MAGIC.len() + CHECK_SUM => Err(AggregateError::TooShort { length }),
        length if length > Place::MAX_BODY => Err(AggregateError::TooLong { length }),
        length => Ok(MAGIC.len()..length - CHECK_SUM),
    }
}

/// Why what begins as an aggregate is none that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// It does not begin as aggregates do.
    #[error("it does not begin as aggregates do")]
    NoAggregate,
    /// There is no room for a message and its check sum.
    #[error("it has {length} bytes, too few for a message and its check sum")]
    TooShort {
        /// The bytes it has.
        length: usize,
    },
    /// It is longer than any record.
    #[error("it has {length} bytes, more than can be read")]
    TooLong {
        /// The bytes it has.
        length: usize,
    },
    /// The MD5 of the message is another: the record was cut off or changed, or begins so by chance.
    #[error("its check sum is wrong")]
    CheckSum,
    /// The message is no protobuf, or lacks what it must have.
    #[error("its message cannot be read ({what} at byte {at})")]
    Message {
        /// What is wrong.
        what: &'static str,
        /// At which byte of the data.
        at: usize,
    },
    /// It has no user record.
    #[error("it has no user record")]
    Empty,
    /// A user record refers to a partition key that is not in the table.
    #[error("user record {record} has the partition key {index} of a table of {length}")]
    PartitionKeyIndex {
        /// The number of the user record, from 0.
        record: usize,
        /// What it refers to.
        index: u64,
        /// How many the table has.
        length: usize,
    },
    /// A user record refers to an explicit hash key that is not in the table.
    #[error("user record {record} has the explicit hash key {index} of a table of {length}")]
    HashKeyIndex {
        /// The number of the user record, from 0.
        record: usize,
        /// What it refers to.
        index: u64,
        /// How many the table has.
        length: usize,
    },
    /// A user record has an explicit hash key that is no number of 128 bits. One known producer writes `undefined`.
    #[error("user record {record} has an explicit hash key that is no number below 2^128")]
    HashKey {
        /// The number of the user record, from 0.
        record: usize,
    },
}

impl From<ParseFault> for AggregateError {
    fn from(fault: ParseFault) -> Self {
        Self::Message { what: fault.what, at: fault.at }
    }
}

/// An aggregate that was read: where its user records are in the data. It has one at least.
#[derive(Debug, Clone, Default)]
pub struct Aggregate {
    partition_keys: Vec<Place>,
    hash_keys: Vec<HashKey>,
    records: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct HashKey {
    place: Place,
    /// `None` where the text is no such number.
    value: Option<u128>,
}

/// A user record as the message has it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    data: Place,
    /// Both within their tables, once all is read.
    partition_key: u32,
    hash_key: Option<u32>,
}

/// Where a user record is in the data of its aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRecordPlace {
    data: Place,
    partition_key: Place,
    explicit_hash_key: Option<Place>,
}

impl UserRecordPlace {
    /// Where the data are.
    #[must_use]
    pub fn data(&self) -> Range<usize> {
        self.data.range()
    }

    /// Where the partition key is, which is UTF-8.
    #[must_use]
    pub fn partition_key(&self) -> Range<usize> {
        self.partition_key.range()
    }

    /// Where the explicit hash key is: decimal digits of a number of 128 bits. `None` where the record has none.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<Range<usize>> {
        self.explicit_hash_key.map(Place::range)
    }
}

impl Aggregate {
    /// How many user records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no user record. Those that were read have some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The user records in order: the first has the sub-sequence number 0.
    pub fn user_records(&self) -> impl ExactSizeIterator<Item = UserRecordPlace> + '_ {
        self.records.iter().map(|entry| UserRecordPlace {
            data: entry.data,
            partition_key: self.partition_keys[entry.partition_key as usize],
            explicit_hash_key: entry.hash_key.map(|index| self.hash_keys[index as usize].place),
        })
    }

    /// How many user records do not belong into these hashes: by their explicit hash key, and where they have none by that
    /// of their partition key. `data` is what the aggregate was read from.
    #[must_use]
    pub fn outside(&self, data: &[u8], hashes: &RangeInclusive<u128>) -> usize {
        let keys: Vec<&[u8]> = self.partition_keys.iter().map(|place| &data[place.range()]).collect();
        let within: Vec<bool> =
            md5_each(&keys).into_iter().map(|digest| hashes.contains(&u128::from_be_bytes(digest))).collect();
        let explicit = |index: u32| self.hash_keys[index as usize].value;
        let is_outside = |entry: &&Entry| match entry.hash_key.and_then(explicit) {
            Some(hash) => !hashes.contains(&hash),
            None => !within[entry.partition_key as usize],
        };
        self.records.iter().filter(is_outside).count()
    }

    fn read(&mut self, data: &[u8], message: Range<usize>) -> Result<(), AggregateError> {
        self.partition_keys.clear();
        self.hash_keys.clear();
        self.records.clear();
        let mut fields = Fields::new(data, message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (field::RECORD, Value::Bytes(range)) => self.records.push(record(data, range)?),
                (field::PARTITION_KEY, Value::Bytes(range)) => {
                    if std::str::from_utf8(&data[range.clone()]).is_err() {
                        return Err(
                            ParseFault { what: "a partition key that is no UTF-8", at: range.start }.into()
                        );
                    }
                    self.partition_keys.push(Place::new(range.start, range.end));
                }
                (field::EXPLICIT_HASH_KEY, Value::Bytes(range)) => {
                    let place = Place::new(range.start, range.end);
                    self.hash_keys.push(HashKey { place, value: hash_key(&data[range]) });
                }
                _ => {}
            }
        }
        self.check()
    }

    /// Everything that records refer to is there. The tables may come after the records, so this is last.
    fn check(&self) -> Result<(), AggregateError> {
        let (keys, hash_keys) = (self.partition_keys.len(), self.hash_keys.len());
        for (record, entry) in self.records.iter().enumerate() {
            if entry.partition_key as usize >= keys {
                let index = u64::from(entry.partition_key);
                return Err(AggregateError::PartitionKeyIndex { record, index, length: keys });
            }
            match entry.hash_key.map(|index| (index, self.hash_keys.get(index as usize))) {
                None | Some((_, Some(HashKey { value: Some(_), .. }))) => {}
                Some((_, Some(_))) => return Err(AggregateError::HashKey { record }),
                Some((index, None)) => {
                    let index = u64::from(index);
                    return Err(AggregateError::HashKeyIndex { record, index, length: hash_keys });
                }
            }
        }
        if self.records.is_empty() { Err(AggregateError::Empty) } else { Ok(()) }
    }
}

/// Tags, which nothing uses, are passed over with all that is not known. Of a field that comes twice the last one counts.
#[inline]
fn record(data: &[u8], range: Range<usize>) -> Result<Entry, ParseFault> {
    let at = range.start;
    let mut fields = Fields::new(data, range);
    let (mut partition_key, mut hash_key, mut place) = (None, None, None);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (field::RECORD_PARTITION_KEY, Value::Number(index)) => partition_key = Some(index),
            (field::RECORD_EXPLICIT_HASH_KEY, Value::Number(index)) => hash_key = Some(index),
            (field::RECORD_DATA, Value::Bytes(range)) => place = Some(Place::new(range.start, range.end)),
            _ => {}
        }
    }
    // No table is so long: what is beyond 32 bits is beyond it either way.
    let index = |index: u64| u32::try_from(index).unwrap_or(u32::MAX);
    Ok(Entry {
        data: place.ok_or(ParseFault { what: "a user record without data", at })?,
        partition_key: index(
            partition_key.ok_or(ParseFault { what: "a user record without a partition key", at })?,
        ),
        hash_key: hash_key.map(index),
    })
}

/// A number of 128 bits in decimal digits.
fn hash_key(text: &[u8]) -> Option<u128> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// The hash by which Kinesis finds the shard of a record: the explicit hash key where there is one, and otherwise the hash
/// of the partition key.
#[must_use]
pub fn effective_hash(partition_key: &str, explicit_hash_key: Option<u128>) -> u128 {
    explicit_hash_key.unwrap_or_else(|| partition_key_hash(partition_key))
}
