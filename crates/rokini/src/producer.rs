//! Packs user records into aggregates of the Kinesis Producer Library. Pure: times are handed in, nothing is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rokini_lease::{HashRange, ShardId};
use rokini_wire::{AggregateBuilder, effective_hash};
use tokio::time::Instant;

use crate::source::stream_source::ShardDescription;

/// A record to be put, alone or in an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRecord {
    /// The partition key: 1 to 256 characters.
    pub partition_key: String,
    /// The hash that decides about the shard; `None` for that of the partition key.
    pub explicit_hash_key: Option<u128>,
    /// The payload.
    pub data: Bytes,
}

impl UserRecord {
    /// A record whose partition key decides about its shard.
    #[must_use]
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into() }
    }

    /// With another hash than that of its key.
    #[must_use]
    pub fn explicit_hash_key(self, hash: u128) -> Self {
        Self { explicit_hash_key: Some(hash), ..self }
    }

    fn hash(&self) -> u128 {
        effective_hash(&self.partition_key, self.explicit_hash_key)
    }
}

/// How large an aggregate gets, and how long it waits for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregateLimits {
    /// Bytes of one aggregate, at most. Default 51,200, as in the KPL. A larger user record is put alone, as it is.
    pub bytes: usize,
    /// User records of one aggregate, at most. Default: as many as fit.
    pub records: usize,
    /// How long the first user record of an aggregate waits for others. Default 100 ms, as in the KPL.
    pub wait: Duration,
}

impl Default for AggregateLimits {
    fn default() -> Self {
        Self { bytes: 51_200, records: usize::MAX, wait: Duration::from_millis(100) }
    }
}

/// A record of the stream, to be put by PutRecords with these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamRecord {
    /// The partition key of the first user record.
    pub partition_key: String,
    /// The explicit hash key of the first user record.
    pub explicit_hash_key: Option<u128>,
    /// The payload: an aggregate, or the data of the only user record.
    pub data: Bytes,
    /// The shard that all of its user records belong to; `None` where there is one, and its shard was not asked for or is not
    /// known.
    pub shard: Option<ShardId>,
    /// What is in it, in order.
    pub user_records: Vec<UserRecord>,
}

/// Packs user records into aggregates, each of records of one shard, as the shards stand.
///
/// Records of one key keep their order as long as the aggregates of one shard are put in theirs. What comes alone within
/// its time is put as it is, without an aggregate around it.
///
/// ```
/// use rokini::{Aggregator, Deaggregator, Record, ShardDescription, UserRecord};
/// use rokini::lease::{HashRange, ShardId};
/// use tokio::time::Instant;
///
/// let mut aggregator = Aggregator::default();
/// let shard = ShardDescription::new(ShardId::new("shardId-000000000000")?, Vec::new());
/// aggregator.set_shards(&[shard.hash_range(HashRange { start: 0, end: u128::MAX })]);
///
/// for text in ["one", "two"] {
///     assert!(aggregator.push(UserRecord::new("key", text), Instant::now()).is_empty(), "it waits for more");
/// }
/// let put = aggregator.flush().remove(0);
///
/// let read = Record::new("1".parse()?, &put.partition_key, &put.data, 0);
/// let unpacked = Deaggregator::default().unpack(vec![read]).records;
/// assert_eq!(unpacked.iter().map(Record::data).collect::<Vec<_>>(), [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Aggregator {
    limits: AggregateLimits,
    /// The open shards, by the end of their hashes.
    shards: BTreeMap<u128, Shard>,
}

#[derive(Debug, Clone)]
struct Shard {
    id: ShardId,
    range: HashRange,
    open: Option<Open>,
}

/// An aggregate that is being filled.
#[derive(Debug, Clone)]
struct Open {
    builder: AggregateBuilder,
    user_records: Vec<UserRecord>,
    due: Instant,
}

impl Shard {
    fn close(&mut self) -> Option<StreamRecord> {
        let Open { builder, user_records, .. } = self.open.take()?;
        let data = match &user_records[..] {
            [only] => only.data.clone(),
            _ => builder.build().into(),
        };
        let first = user_records.first()?;
        Some(StreamRecord {
            partition_key: first.partition_key.clone(),
            explicit_hash_key: first.explicit_hash_key,
            data,
            shard: Some(self.id.clone()),
            user_records,
        })
    }
}

impl Aggregator {
    /// With these limits.
    #[must_use]
    pub fn new(limits: AggregateLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The shards of the stream as they stand now: to be called before the first record, and whenever one landed in another
    /// shard than it was meant for. Returns the aggregates of shards that are there no more, which are closed.
    pub fn set_shards(&mut self, listed: &[ShardDescription]) -> Vec<StreamRecord> {
        let mut before = std::mem::take(&mut self.shards);
        for shard in listed.iter().filter(|shard| !shard.closed) {
            let Some(range) = shard.hash_range else { continue };
            let is_same = |known: &Shard| known.id == shard.id && known.range == range;
            // Another shard that ends there may still have something open.
            let stays = before.get(&range.end).is_some_and(is_same);
            let open = if stays { before.remove(&range.end).and_then(|known| known.open) } else { None };
            self.shards.insert(range.end, Shard { id: shard.id.clone(), range, open });
        }
        before.into_values().filter_map(|mut gone| gone.close()).collect()
    }

    /// The shard that a record with the keys of this one lands in, as the shards stand; `None` where that is not known.
    #[must_use]
    pub fn shard_of(&self, record: &UserRecord) -> Option<&ShardId> {
        let hash = record.hash();
        let (_, shard) = self.shards.range(hash..).next()?;
        (shard.range.start <= hash).then_some(&shard.id)
    }

    /// Takes a user record, and returns what is full with it: in this order it is to be put.
    pub fn push(&mut self, record: UserRecord, now: Instant) -> Vec<StreamRecord> {
        let hash = record.hash();
        let limits = self.limits;
        let shard = self.shards.range_mut(hash..).next().map(|(_, shard)| shard);
        let Some(shard) = shard.filter(|shard| shard.range.start <= hash) else {
            return vec![record.into()];
        };
        let UserRecord { partition_key, explicit_hash_key, data } = &record;
        let mut full = Vec::new();
        let fits = |builder: &AggregateBuilder| {
            builder.len_with(partition_key, *explicit_hash_key, data) <= limits.bytes
                && builder.count() < limits.records
        };
        if shard.open.as_ref().is_some_and(|open| !fits(&open.builder)) {
            full.extend(shard.close());
        }
        if !fits(&AggregateBuilder::default()) {
            full.push(StreamRecord { shard: Some(shard.id.clone()), ..record.into() });
            return full;
        }
        let open = shard.open.get_or_insert_with(|| Open {
            builder: AggregateBuilder::default(),
            user_records: Vec::new(),
            due: now + limits.wait,
        });
        open.builder.push(partition_key, *explicit_hash_key, data);
        open.user_records.push(record);
        if open.builder.count() >= limits.records || open.builder.len() >= limits.bytes {
            full.extend(shard.close());
        }
        full
    }

    /// When the next aggregate has waited for long enough; `None` where none waits.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.shards.values().filter_map(|shard| shard.open.as_ref()).map(|open| open.due).min()
    }

    /// The aggregates that have waited for long enough.
    pub fn take_due(&mut self, now: Instant) -> Vec<StreamRecord> {
        let is_due = |shard: &&mut Shard| shard.open.as_ref().is_some_and(|open| open.due <= now);
        self.shards.values_mut().filter(is_due).filter_map(Shard::close).collect()
    }

    /// All that wait, however short a time.
    pub fn flush(&mut self) -> Vec<StreamRecord> {
        self.shards.values_mut().filter_map(Shard::close).collect()
    }

    /// How many user records wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shards.values().filter_map(|shard| shard.open.as_ref()).map(|open| open.user_records.len()).sum()
    }

    /// Whether user records of this one do not belong into the shard in which it landed, as the shards stand: consumers with
    /// the rule of the KCL leave all of it out, so it is to be packed and put again.
    #[must_use]
    pub fn is_misplaced(&self, record: &StreamRecord, landed_in: &ShardId) -> bool {
        // A record that is put as it is lands where it belongs.
        if record.user_records.len() < 2 || record.shard.as_ref() == Some(landed_in) {
            return false;
        }
        let landed = self.shards.values().find(|shard| shard.id == *landed_in);
        landed.is_none_or(|shard| {
            let belongs =
                |record: &UserRecord| (shard.range.start..=shard.range.end).contains(&record.hash());
            !record.user_records.iter().all(belongs)
        })
    }
}

impl From<UserRecord> for StreamRecord {
    /// As it is, for whichever shard it belongs to.
    fn from(record: UserRecord) -> Self {
        Self {
            partition_key: record.partition_key.clone(),
            explicit_hash_key: record.explicit_hash_key,
            data: record.data.clone(),
            shard: None,
            user_records: vec![record],
        }
    }
}

#[cfg(test)]
mod tests;
