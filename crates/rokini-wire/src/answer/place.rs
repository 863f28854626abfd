//! Where the parts of a record are.

use std::ops::Range;

use rokini_types::SequenceNumber;

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
pub(super) struct Place {
    start: u32,
    end: u32,
}

impl Place {
    /// The longest body whose places can be told.
    pub(super) const MAX_BODY: usize = u32::MAX as usize;

    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(super) fn range(self) -> Range<usize> {
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
