//! Packs records into aggregates, and takes aggregates apart that do not fit the shards, where that is wanted.

use std::time::{Duration, Instant};

use rokini::{
    AggregateLimits, Aggregator, Deaggregator, KinesisSource, Record, ShardSelection, StreamRecord,
    StreamSource, UserRecord,
};

use super::send::Accepted;
use crate::aws::{Aws, Service};
use crate::error::CliError;

/// How long a request, and an aggregate, waits for more records to go along.
pub(super) const LINGER: Duration = Duration::from_millis(50);

/// What becomes of records on their way into the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Each is put as it is.
    AsTheyAre,
    /// Those of one shard go together.
    Aggregate,
    /// Aggregates whose user records belong to several shards become one for each of these.
    Cut,
}

/// Makes records of the stream out of those of users.
pub(super) struct Packer {
    /// `None`: each becomes one.
    aggregates: Option<Aggregates>,
    aws: Aws,
}

struct Aggregates {
    aggregator: Aggregator,
    /// Whether only what is an aggregate already is packed.
    cuts: bool,
    source: KinesisSource,
}

/// Bytes of the longest partition key: 256 characters.
const LONGEST_KEY: usize = 1_024;

impl Packer {
    /// `record_bytes`: what the stream takes in one record.
    pub(super) async fn new(
        aws: Aws,
        source: KinesisSource,
        packing: Packing,
        record_bytes: usize,
    ) -> Result<Self, CliError> {
        let mut packer = Self { aggregates: None, aws };
        if packing != Packing::AsTheyAre {
            let cuts = packing == Packing::Cut;
            let mut limits = AggregateLimits::default();
            limits.wait = LINGER;
            if cuts {
                // A part is no larger than the whole was, which the stream would have taken.
                limits.bytes = record_bytes.saturating_sub(LONGEST_KEY);
            }
            packer.aggregates = Some(Aggregates { aggregator: Aggregator::new(limits), cuts, source });
            packer.look_at_shards().await?;
        }
        Ok(packer)
    }

    /// Which shards there are now. Returns what was packed for shards that are gone.
    async fn look_at_shards(&mut self) -> Result<Vec<StreamRecord>, CliError> {
        let Some(Aggregates { aggregator, source, .. }) = &mut self.aggregates else { return Ok(Vec::new()) };
        let listed = source.list_shards(ShardSelection::All).await;
        let listed = listed.map_err(|error| self.aws.explain(error, Service::Kinesis))?;
        Ok(aggregator.set_shards(&listed))
    }

    pub(super) fn push(&mut self, record: UserRecord) -> Vec<StreamRecord> {
        match &mut self.aggregates {
            None => vec![record.into()],
            Some(Aggregates { aggregator, cuts: false, .. }) => {
                aggregator.push(record, Instant::now().into())
            }
            Some(Aggregates { aggregator, .. }) => {
                // What is put again goes before what comes now.
                let mut records = aggregator.flush();
                records.extend(cut(aggregator, record));
                records
            }
        }
    }

    /// What has waited for long enough; `all`: whatever waits.
    pub(super) fn take(&mut self, all: bool) -> Vec<StreamRecord> {
        match &mut self.aggregates {
            None => Vec::new(),
            Some(aggregates) if all => aggregates.aggregator.flush(),
            Some(aggregates) => aggregates.aggregator.take_due(Instant::now().into()),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.aggregates.as_ref().map_or(0, |aggregates| aggregates.aggregator.waiting())
    }

    /// Takes out what landed in a shard where some of its records do not belong, and packs that anew: consumers with the rule
    /// of the KCL would leave it out. Returns what is to be put for it.
    pub(super) async fn repack(
        &mut self,
        accepted: &mut Vec<Accepted>,
    ) -> Result<Vec<StreamRecord>, CliError> {
        if self.aggregates.is_none() || accepted.iter().all(Accepted::is_where_it_was_meant) {
            return Ok(Vec::new());
        }
        let mut again = self.look_at_shards().await?;
        let Some(Aggregates { aggregator, .. }) = &mut self.aggregates else { return Ok(again) };
        let misplaced = accepted.extract_if(.., |accepted| {
            accepted.shard.parse().is_ok_and(|shard| aggregator.is_misplaced(&accepted.entry.record, &shard))
        });
        let misplaced: Vec<Accepted> = misplaced.collect();
        for record in misplaced.into_iter().flat_map(|accepted| accepted.entry.record.user_records) {
            again.extend(aggregator.push(record, Instant::now().into()));
        }
        Ok(again)
    }
}

/// A record as it is, unless it is an aggregate with user records of another shard than the one it would land in: then one for each
/// shard, in their order, since consumers look for a key in its own shard.
fn cut(aggregator: &mut Aggregator, record: UserRecord) -> Vec<StreamRecord> {
    let user_records = unpack(&record);
    let shard = aggregator.shard_of(&record).cloned();
    let belongs = |one: &UserRecord| aggregator.shard_of(one) == shard.as_ref();
    if user_records.iter().all(belongs) {
        let mut whole = StreamRecord::from(record);
        if !user_records.is_empty() {
            (whole.shard, whole.user_records) = (shard, user_records);
        }
        return vec![whole];
    }
    let now = Instant::now().into();
    let mut parts: Vec<_> = user_records.into_iter().flat_map(|one| aggregator.push(one, now)).collect();
    parts.extend(aggregator.flush());
    parts
}

/// The user records of an aggregate; none, where it is no aggregate or a broken one.
fn unpack(record: &UserRecord) -> Vec<UserRecord> {
    let stream_record = Record::new(1_u128.into(), &record.partition_key, &record.data, 0);
    let unpacked = Deaggregator::default().unpack(vec![stream_record]);
    let is_packed = |one: &Record| one.sub_sequence_number.is_some();
    if unpacked.malformed.is_some() || !unpacked.records.iter().all(is_packed) {
        return Vec::new();
    }
    let user_record = |one: &Record| {
        let mut user_record = UserRecord::new(one.partition_key().unwrap_or_default(), one.data_bytes());
        user_record.explicit_hash_key = one.explicit_hash_key().and_then(|hash| hash.parse().ok());
        user_record
    };
    unpacked.records.iter().map(user_record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::ShardDescription;
    use rokini::lease::{HashRange, ShardId};

    const HALF: u128 = 1 << 127;

    fn shards(bounds: &[(u128, u128)]) -> Vec<ShardDescription> {
        let id = |number| ShardId::new(format!("shard-{number}")).unwrap();
        let shard = |(number, (start, end)): (usize, &(u128, u128))| {
            ShardDescription::new(id(number), Vec::new()).hash_range(HashRange { start: *start, end: *end })
        };
        bounds.iter().enumerate().map(shard).collect()
    }

    fn aggregator(bounds: &[(u128, u128)]) -> Aggregator {
        let mut aggregator = Aggregator::default();
        assert!(aggregator.set_shards(&shards(bounds)).is_empty());
        aggregator
    }

    /// An aggregate as a dump has it, of records with these hashes.
    fn aggregate(records: &[(&str, u128)]) -> UserRecord {
        let mut packs = aggregator(&[(0, u128::MAX)]);
        for (number, (key, hash)) in records.iter().enumerate() {
            let record = UserRecord::new(*key, number.to_string()).explicit_hash_key(*hash);
            assert!(packs.push(record, Instant::now().into()).is_empty());
        }
        let put = packs.flush().remove(0);
        UserRecord::new(put.partition_key, put.data).explicit_hash_key(put.explicit_hash_key.unwrap())
    }

    fn data(record: &StreamRecord) -> Vec<&[u8]> {
        record.user_records.iter().map(|one| &one.data[..]).collect()
    }

    #[test]
    fn an_aggregate_is_cut_by_the_shards_there_are() {
        let mixed = aggregate(&[("a", 1), ("b", HALF), ("a", 2), ("c", HALF + 1), ("b", HALF)]);
        let mut two = aggregator(&[(0, HALF - 1), (HALF, u128::MAX)]);
        let parts = cut(&mut two, mixed.clone());
        assert_eq!(parts.iter().map(data).collect::<Vec<_>>(), [vec![b"0", b"2"], vec![b"1", b"3", b"4"]]);
        for (part, shard) in parts.iter().zip(["shard-0", "shard-1"]) {
            assert_eq!(part.shard.as_ref().map(ShardId::as_str), Some(shard));
            let put = UserRecord::new(&part.partition_key, part.data.clone());
            assert_eq!(unpack(&put), part.user_records, "what is put holds it");
            assert!(part.user_records.iter().all(|one| two.shard_of(one) == part.shard.as_ref()));
        }
        // Into one shard it goes as it is, to the byte.
        let whole = cut(&mut aggregator(&[(0, u128::MAX)]), mixed.clone());
        assert_eq!((whole.len(), &whole[0].data, whole[0].user_records.len()), (1, &mixed.data, 5));
        // So does one whose records belong where it goes.
        let low = aggregate(&[("a", 1), ("b", 2)]);
        assert_eq!(cut(&mut two, low.clone())[0].data, low.data);
        // One that would land elsewhere than its records belong, goes where they do.
        let elsewhere = cut(&mut two, low.explicit_hash_key(HALF));
        assert_eq!(elsewhere.iter().map(data).collect::<Vec<_>>(), [vec![b"0", b"1"]]);
        assert_eq!(two.shard_of(&elsewhere[0].user_records[0]), elsewhere[0].shard.as_ref());
    }

    #[test]
    fn what_is_no_aggregate_goes_as_it_is() {
        let mut two = aggregator(&[(0, HALF - 1), (HALF, u128::MAX)]);
        let broken = aggregate(&[("a", 1), ("b", HALF)]);
        let cut_off = UserRecord::new(broken.partition_key, broken.data.slice(..broken.data.len() - 1));
        for record in [UserRecord::new("k", "plain"), cut_off] {
            assert_eq!(cut(&mut two, record.clone()), [StreamRecord::from(record)]);
        }
    }
}
