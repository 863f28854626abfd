//! What user code gets: records.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rokini_lease::{LeaseKey, Position, Progress, SequenceNumber, ShardId, StreamId};

/// One user record.
///
/// Cloning is cheap: the data are shared. A record's data may be a slice of the whole response it came in, and
/// keep that (up to 10 MB) alive; copy them out when you keep a record for long.
///
/// A record remembers which hold of which shard delivered it, so that it can be checkpointed there and nowhere
/// else. Records are equal when what they carry is equal, wherever they come from.
#[derive(Clone)]
#[non_exhaustive]
pub struct Record {
    /// The payload.
    pub data: Bytes,
    /// The partition key the producer chose.
    pub partition_key: Arc<str>,
    /// The sequence number of the stream record.
    pub sequence_number: SequenceNumber,
    /// Which user record inside an aggregated stream record, from 0; `None` in a plain record. A source that sets it
    /// passes over those that are done where it is opened at [`Progress::Through`].
    pub sub_sequence_number: Option<u64>,
    /// When the stream received the record, in milliseconds since the Unix epoch. Approximate, by the stream's
    /// clock.
    pub arrival_millis: u64,
    /// Where it comes from. Each hold of a lease has an `Arc` of its own, by which its records are known.
    origin: Option<Arc<LeaseKey>>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
            && self.partition_key == other.partition_key
            && self.sequence_number == other.sequence_number
            && self.sub_sequence_number == other.sub_sequence_number
            && self.arrival_millis == other.arrival_millis
    }
}

impl Eq for Record {}

impl Record {
    /// A plain record; for tests of processors and for other sources.
    pub fn new(
        sequence_number: SequenceNumber,
        partition_key: impl Into<Arc<str>>,
        data: impl Into<Bytes>,
        arrival_millis: u64,
    ) -> Self {
        Self {
            data: data.into(),
            partition_key: partition_key.into(),
            sequence_number,
            sub_sequence_number: None,
            arrival_millis,
            origin: None,
        }
    }

    /// The same record as one of this shard. For tests of processors; a consumer does it by itself, whatever its
    /// source says.
    #[must_use]
    pub fn from_shard(mut self, shard: impl Into<Arc<LeaseKey>>) -> Self {
        self.origin = Some(shard.into());
        self
    }

    /// The hold with this key delivers the record.
    pub(crate) fn set_origin(&mut self, key: &Arc<LeaseKey>) {
        self.origin = Some(Arc::clone(key));
    }

    /// Whether the hold with this key delivered it, and not another one of the same shard.
    pub(crate) fn delivered_by(&self, key: &Arc<LeaseKey>) -> bool {
        self.origin.as_ref().is_some_and(|origin| Arc::ptr_eq(origin, key))
    }

    /// The stream it comes from; `None` before a consumer has delivered it.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.origin.as_deref().map(|origin| &origin.stream)
    }

    /// The shard it comes from; `None` before a consumer has delivered it.
    #[must_use]
    pub fn shard_id(&self) -> Option<&ShardId> {
        self.origin.as_deref().map(|origin| &origin.shard)
    }

    /// When the stream received the record.
    #[must_use]
    pub fn arrival(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.arrival_millis)
    }

    /// The position once this record is done. Whether more user records follow in its stream record is not known, so
    /// after the last one, too, that stream record is read again, and passed over.
    #[must_use]
    pub fn position(&self) -> Position {
        match self.sub_sequence_number {
            Some(sub) => Position::Sequence(self.sequence_number, Progress::Through(sub)),
            None => Position::after(self.sequence_number),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("shard", &self.shard_id())
            .field("sequence_number", &self.sequence_number)
            .field("sub_sequence_number", &self.sub_sequence_number)
            .field("partition_key", &self.partition_key)
            .field("arrival_millis", &self.arrival_millis)
            .field("bytes", &self.data.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_where_it_comes_from() {
        let key = LeaseKey::new(StreamId::new("orders@1").unwrap(), ShardId::new("shard-0").unwrap());
        let record = Record::new(SequenceNumber::from(1), "k", "data", 0);
        assert_eq!((record.stream(), record.shard_id()), (None, None));
        let known = record.clone().from_shard(key.clone());
        assert_eq!((known.stream(), known.shard_id()), (Some(&key.stream), Some(&key.shard)));
        assert_eq!(record, known, "equal when what they carry is equal");
        // Another hold of the same shard has another `Arc`.
        assert!(!known.delivered_by(&Arc::new(key)));
    }

    /// There are thousands of them in memory, and each delivery moves them.
    #[test]
    fn a_record_stays_small() {
        assert!(size_of::<Record>() <= 112, "{}", size_of::<Record>());
    }
}
