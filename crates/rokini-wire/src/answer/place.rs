//! An answer, and where the parts of its records are.

use std::ops::Range;

use bytes::Bytes;
use rokini_types::SequenceNumber;

use crate::shapes::shard::ChildShard;

/// Deepest nesting passed over; what is known needs five.
pub(super) const MAX_DEPTH: usize = 32;

/// An answer with records, read in place.
///
/// ```
/// use bytes::Bytes;
/// use rokini_wire::RecordsAnswer;
///
/// let body = r#"{"Records":[{"SequenceNumber":"49","Data":"aGVsbG8=","PartitionKey":"ann",
///     "ApproximateArrivalTimestamp":1700000000.123}],"NextShardIterator":"AAA","MillisBehindLatest":0}"#;
/// let answer = RecordsAnswer::read(Bytes::from(body))?;
/// let record = &answer.records[0];
/// assert_eq!(answer.body[record.data()], *b"hello");
/// assert_eq!(record.partition_key().map(|key| &answer.body[key]), Some(&b"ann"[..]));
/// assert_eq!(record.arrival_millis, Some(1_700_000_000_123));
/// # Ok::<(), rokini_wire::AnswerError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordsAnswer {
    /// What the places of the records are in. In an answer in JSON the data stand decoded there.
    pub body: Bytes,
    /// The records, in order.
    pub records: Vec<RecordPlace>,
    /// Where to go on, in an answer to GetRecords; `None` where it is absent or null.
    pub next_shard_iterator: Option<String>,
    /// Where the next subscription goes on, in an event; `None` where it is absent or null.
    pub continuation_sequence_number: Option<String>,
    /// How far behind the tip of the shard the answer is, in milliseconds.
    pub millis_behind_latest: Option<i64>,
    /// The shards that continue this one; only at its end.
    pub child_shards: Option<Vec<ChildShard>>,
}

/// A record in the body of an answer: its numbers, and where its data and partition key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordPlace {
    /// The sequence number in the shard.
    pub sequence_number: SequenceNumber,
    /// When the stream took it, in milliseconds since the Unix epoch; exact.
    pub arrival_millis: Option<i64>,
    pub(super) data: Place,
    pub(super) key: Option<Place>,
}

impl RecordPlace {
    /// Where the data are.
    #[must_use]
    pub fn data(&self) -> Range<usize> {
        self.data.range()
    }

    /// Where the partition key is, which is UTF-8. `None` where the record has none.
    #[must_use]
    pub fn partition_key(&self) -> Option<Range<usize>> {
        self.key.map(Place::range)
    }
}

/// From where to where. Bodies are shorter than 4 GiB: the readers see to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    start: u32,
    end: u32,
}

impl Place {
    /// The longest body whose places can be told.
    pub(crate) const MAX_BODY: usize = u32::MAX as usize;

    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A record whose members are still coming.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) sequence_number: Option<SequenceNumber>,
    pub(super) arrival_millis: Option<i64>,
    pub(super) data: Option<Place>,
    pub(super) key: Option<Place>,
}

impl Members {
    /// The record, or the name of what it lacks.
    pub(super) fn record(self) -> Result<RecordPlace, &'static str> {
        Ok(RecordPlace {
            sequence_number: self.sequence_number.ok_or("SequenceNumber")?,
            arrival_millis: self.arrival_millis,
            data: self.data.ok_or("Data")?,
            key: self.key,
        })
    }
}

/// The number in a text of digits.
pub(super) fn sequence_number(digits: &[u8]) -> Option<SequenceNumber> {
    SequenceNumber::from_digits(digits)
}
