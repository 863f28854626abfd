//! What user code gets: records.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rokini_lease::{LeaseKey, Position, Progress, SequenceNumber, ShardId, StreamId};
use rokini_wire::UserRecordPlace;

/// One user record.
///
/// Data and partition key are slices of the answer that brought the record: cloning counts a reference, and nothing is
/// copied or allocated on the way to the handler. So a single record that is kept holds the whole answer in memory (up to
/// 10 MB): keep [`Record::into_owned`] instead.
///
/// A record remembers which hold of which shard delivered it, so that it can be checkpointed there and nowhere
/// else. Records are equal when what they carry is equal, wherever they come from.
#[derive(Clone)]
#[non_exhaustive]
pub struct Record {
    /// The sequence number of the stream record.
    pub sequence_number: SequenceNumber,
    /// Which user record inside an aggregated stream record, from 0; `None` in a plain record.
    pub sub_sequence_number: Option<u64>,
    /// When the stream received the record, in milliseconds since the Unix epoch. Approximate, by the stream's
    /// clock.
    pub arrival_millis: u64,
    /// What has the data and the keys: one reference for all of them, and for where they come from.
    buffer: RecordBuffer,
    /// The data in it.
    data: Part,
    /// The partition key in it: UTF-8, or [`Part::NONE`].
    key: Part,
    /// The explicit hash key in it: digits, or [`Part::NONE`].
    hash_key: Part,
    /// Whether it is known to be the last user record of its stream record.
    is_last: bool,
}

/// The bytes in which data and keys of records are, to be shared by all of them: those of one answer.
#[derive(Debug, Clone)]
pub struct RecordBuffer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Bytes,
    /// Where the records come from. Each hold of a lease has an `Arc` of its own, by which its records are known. It is told
    /// once for all records of an answer: a write to each of them would cost more than finding it in the answer.
    origin: OnceLock<Arc<LeaseKey>>,
}

impl From<Bytes> for RecordBuffer {
    fn from(bytes: Bytes) -> Self {
        Self(Arc::new(Shared { bytes, origin: OnceLock::new() }))
    }
}

impl RecordBuffer {
    fn with_origin(&self, origin: Arc<LeaseKey>) -> Self {
        Self(Arc::new(Shared { bytes: self.0.bytes.clone(), origin: origin.into() }))
    }
}

/// What a buffer takes beside its bytes: its reference counts, and what the allocator adds.
const BESIDE_BUFFER: usize = 128;

/// What the records of an answer come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The bytes of their data.
    pub(crate) data: usize,
    /// The bytes that count against the limits of a shard: data and keys.
    pub(crate) size: usize,
    /// The memory they hold: the buffers that have their data, each counted once, and themselves.
    pub(crate) memory: usize,
}

/// From where to where in a buffer. Answers have 10 MB, so 32 bits reach far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// What is not there.
    const NONE: Self = Self { start: u32::MAX, end: u32::MAX };

    fn new(range: Range<usize>) -> Self {
        // Past the largest offset there is nothing: what cannot be addressed reads as empty, and `of` checks bounds.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX - 1);
        Self { start: offset(range.start), end: offset(range.end) }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The part of this part.
    fn within(self, range: Range<usize>) -> Self {
        let start = self.start as usize;
        Self::new(start + range.start..start + range.end)
    }

    fn of(self, buffer: &[u8]) -> Option<&[u8]> {
        buffer.get(self.range())
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.data() == other.data()
            && self.partition_key() == other.partition_key()
            && self.explicit_hash_key() == other.explicit_hash_key()
            && self.sequence_number == other.sequence_number
            && self.sub_sequence_number == other.sub_sequence_number
            && self.arrival_millis == other.arrival_millis
    }
}

impl Eq for Record {}

impl Record {
    /// A plain record; for tests of processors and for other sources. Copies the data: a source that has them in a buffer
    /// takes [`Record::from_buffer`].
    pub fn new(
        sequence_number: SequenceNumber,
        partition_key: impl AsRef<str>,
        data: impl AsRef<[u8]>,
        arrival_millis: u64,
    ) -> Self {
        Self::joined(sequence_number, Some(partition_key.as_ref()), data.as_ref(), arrival_millis)
    }

    /// A plain record that was put without a partition key.
    pub fn without_key(sequence_number: SequenceNumber, data: impl AsRef<[u8]>, arrival_millis: u64) -> Self {
        Self::joined(sequence_number, None, data.as_ref(), arrival_millis)
    }

    fn joined(number: SequenceNumber, key: Option<&str>, data: &[u8], arrival_millis: u64) -> Self {
        let key_len = key.map_or(0, str::len);
        let buffer: Bytes = [key.unwrap_or_default().as_bytes(), data].concat().into();
        let data = key_len..buffer.len();
        Self::from_buffer(number, buffer, data, key.map(|_| 0..key_len), arrival_millis)
    }

    /// A plain record whose data and partition key lie in a buffer; nothing is copied. Ranges that reach beyond the buffer,
    /// and a key that is no UTF-8, are none. All records of one answer should share one [`RecordBuffer`].
    pub fn from_buffer(
        sequence_number: SequenceNumber,
        buffer: impl Into<RecordBuffer>,
        data: Range<usize>,
        partition_key: Option<Range<usize>>,
        arrival_millis: u64,
    ) -> Self {
        Self {
            sequence_number,
            sub_sequence_number: None,
            arrival_millis,
            buffer: buffer.into(),
            data: Part::new(data),
            key: partition_key.map_or(Part::NONE, Part::new),
            hash_key: Part::NONE,
            is_last: false,
        }
    }

    /// One of the user records that this one's data hold, with this number; `is_last`: there are none after it.
    pub(crate) fn user_record(&self, sub: u64, place: &UserRecordPlace, is_last: bool) -> Self {
        let within = |range: Range<usize>| self.data.within(range);
        Self {
            sequence_number: self.sequence_number,
            sub_sequence_number: Some(sub),
            arrival_millis: self.arrival_millis,
            buffer: self.buffer.clone(),
            data: within(place.data()),
            key: within(place.partition_key()),
            hash_key: place.explicit_hash_key().map_or(Part::NONE, within),
            is_last,
        }
    }

    /// The payload.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.data.of(self.bytes()).unwrap_or_default()
    }

    /// The payload as bytes that can be kept: a reference to the answer it came in, which stays in memory with it.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        let (range, bytes) = (self.data.range(), self.bytes());
        if range.end <= bytes.len() && range.start <= range.end { bytes.slice(range) } else { Bytes::new() }
    }

    /// The partition key that the producer chose. `None` where the record has none: other writers than the API's put such
    /// records. Its lane and its parking go by its sequence number then.
    #[must_use]
    pub fn partition_key(&self) -> Option<&str> {
        self.key.of(self.bytes()).and_then(|key| std::str::from_utf8(key).ok())
    }

    /// The explicit hash key that the producer of a user record chose, in decimal digits; `None` where there is none. Plain
    /// records come without theirs, because the stream does not hand it out.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.hash_key.of(self.bytes()).and_then(|key| std::str::from_utf8(key).ok())
    }

    fn bytes(&self) -> &Bytes {
        &self.buffer.0.bytes
    }

    fn origin(&self) -> Option<&Arc<LeaseKey>> {
        self.buffer.0.origin.get()
    }

    /// The same record with data and key of its own, for those that are kept: it holds no answer in memory.
    #[must_use]
    pub fn into_owned(self) -> Self {
        let (key, hash_key) = (self.partition_key(), self.explicit_hash_key());
        let parts =
            [key.unwrap_or_default().as_bytes(), hash_key.unwrap_or_default().as_bytes(), self.data()];
        let bytes = Bytes::from(parts.concat());
        let (hash_at, data_at) = (parts[0].len(), parts[0].len() + parts[1].len());
        Self {
            data: Part::new(data_at..bytes.len()),
            key: key.map_or(Part::NONE, |_| Part::new(0..hash_at)),
            hash_key: hash_key.map_or(Part::NONE, |_| Part::new(hash_at..data_at)),
            buffer: RecordBuffer(Arc::new(Shared { bytes, origin: self.buffer.0.origin.clone() })),
            ..self
        }
    }

    /// The bytes that count against the limits of a shard: data and key.
    pub(crate) fn size(&self) -> usize {
        let key = self.key.range();
        self.data().len() + key.end.saturating_sub(key.start)
    }

    /// The memory that so many records hold which have one buffer of so many bytes.
    #[cfg(feature = "aws")]
    pub(crate) fn memory_in_one(buffer: usize, records: usize) -> usize {
        if records == 0 { 0 } else { buffer + BESIDE_BUFFER + records * size_of::<Self>() }
    }

    /// What the records of an answer come to, by one pass over them.
    pub(crate) fn weigh(records: &[Self]) -> Weight {
        let mut weight = Weight { memory: size_of_val(records), ..Weight::default() };
        let mut before: Option<&RecordBuffer> = None;
        for record in records {
            weight.data += record.data().len();
            weight.size += record.size();
            if before.is_none_or(|before| !Arc::ptr_eq(&before.0, &record.buffer.0)) {
                let place = |bytes: &Bytes| (bytes.as_ptr(), bytes.len());
                let same = before.is_some_and(|before| place(&before.0.bytes) == place(record.bytes()));
                weight.memory += if same { 0 } else { record.bytes().len() + BESIDE_BUFFER };
                before = Some(&record.buffer);
            }
        }
        weight
    }

    /// The same record as one of this shard. For tests of processors; a consumer does it by itself, whatever its
    /// source says.
    #[must_use]
    pub fn from_shard(mut self, shard: impl Into<Arc<LeaseKey>>) -> Self {
        self.buffer = self.buffer.with_origin(shard.into());
        self
    }

    /// The hold with this key delivers the records.
    pub(crate) fn set_origin(records: &mut [Self], key: &Arc<LeaseKey>) {
        // Neighbours share their buffer before, and share it after: a new one only where another hold had them.
        let mut last: Option<(RecordBuffer, Option<RecordBuffer>)> = None;
        for record in records {
            if last.as_ref().is_none_or(|(before, _)| !Arc::ptr_eq(&before.0, &record.buffer.0)) {
                let origin = record.buffer.0.origin.get_or_init(|| Arc::clone(key));
                let another = (!Arc::ptr_eq(origin, key)).then(|| record.buffer.with_origin(Arc::clone(key)));
                last = Some((record.buffer.clone(), another));
            }
            if let Some((_, Some(another))) = &last {
                record.buffer = another.clone();
            }
        }
    }

    /// Whether the hold with this key delivered it, and not another one of the same shard.
    pub(crate) fn delivered_by(&self, key: &Arc<LeaseKey>) -> bool {
        self.origin().is_some_and(|origin| Arc::ptr_eq(origin, key))
    }

    /// The stream it comes from; `None` before a consumer has delivered it or another record with its [`RecordBuffer`].
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.origin().map(|origin| &origin.stream)
    }

    /// The shard it comes from; `None` before a consumer has delivered it or another record with its [`RecordBuffer`].
    #[must_use]
    pub fn shard_id(&self) -> Option<&ShardId> {
        self.origin().map(|origin| &origin.shard)
    }

    /// When the stream received the record.
    #[must_use]
    pub fn arrival(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.arrival_millis)
    }

    /// The position once this record is done: for a user record the place inside its stream record, and with the last one
    /// the stream record is done.
    #[must_use]
    pub fn position(&self) -> Position {
        if self.is_last { Position::after(self.sequence_number) } else { self.done_at() }
    }

    /// The least position at which this record is done.
    pub(crate) fn done_at(&self) -> Position {
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
            .field("partition_key", &self.partition_key())
            .field("arrival_millis", &self.arrival_millis)
            .field("bytes", &self.data().len())
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

    #[test]
    fn e1_a_record_without_a_partition_key_is_one_that_says_so() {
        let number = SequenceNumber::from(1);
        let (none, empty) = (Record::without_key(number, "data", 7), Record::new(number, "", "data", 7));
        assert_eq!((none.partition_key(), empty.partition_key()), (None, Some("")));
        assert_eq!((none.data(), none.size()), (&b"data"[..], 4));
        assert_ne!(none, empty);
        assert_eq!(none.clone().into_owned(), none);
    }

    #[test]
    fn data_and_key_are_slices_until_the_record_is_owned() {
        let buffer = Bytes::from_static(b"..key..data..");
        let within = |bytes: &[u8]| buffer.as_ptr_range().contains(&bytes.as_ptr());
        let number = SequenceNumber::from(1);
        let shared = RecordBuffer::from(buffer.clone());
        let record = Record::from_buffer(number, shared.clone(), 7..11, Some(2..5), 7);
        assert_eq!((record.data(), record.partition_key(), record.size()), (&b"data"[..], Some("key"), 7));
        assert!(within(record.data()) && within(record.partition_key().unwrap().as_bytes()));
        assert!(within(&record.data_bytes()));
        let owned = record.clone().into_owned();
        assert_eq!(owned, record);
        assert!(!within(owned.data()) && !within(owned.partition_key().unwrap().as_bytes()));
        // What is not in the buffer is not there.
        let outside = Record::from_buffer(number, shared, 7..99, Some(50..99), 7);
        assert_eq!(
            (outside.data(), outside.data_bytes(), outside.partition_key()),
            (&b""[..], Bytes::new(), None)
        );
    }

    /// There are thousands of them in memory, and each delivery moves them.
    #[test]
    fn a_record_stays_small() {
        assert!(size_of::<Record>() <= 104, "{}", size_of::<Record>());
    }
}
