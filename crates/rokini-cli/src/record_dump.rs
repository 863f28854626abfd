//! The format of dumps: one record a line, as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rokini::lease::{HashRange, ShardId};
use rokini::{Record, format_time};
use serde::{Deserialize, Serialize};

/// A record in a dump. `docs/JSON.md` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DumpedRecord {
    /// When the stream took it.
    pub(crate) time: String,
    pub(crate) shard: String,
    pub(crate) sequence: String,
    /// `None` where it was put without one.
    pub(crate) key: Option<String>,
    /// Where the key would lead to another shard: a hash of the shard it was in. Which one was given with the record, the
    /// stream does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash_key: Option<String>,
    /// In base64.
    pub(crate) data: String,
}

impl DumpedRecord {
    /// `range`: the hashes of its shard.
    pub(crate) fn of(record: &Record, shard: &ShardId, range: Option<HashRange>) -> Self {
        let key = record.partition_key();
        let elsewhere = range.filter(|range| {
            key.is_some_and(|key| {
                let hash = u128::from_be_bytes(Md5::digest(key).into());
                !(range.start..=range.end).contains(&hash)
            })
        });
        Self {
            time: format_time(record.arrival_millis),
            shard: shard.to_string(),
            sequence: record.sequence_number.to_string(),
            key: key.map(str::to_owned),
            hash_key: elsewhere.map(|range| range.start.to_string()),
            data: STANDARD.encode(record.data()),
        }
    }

    /// # Errors
    /// When it is not base64.
    pub(crate) fn data(&self) -> Result<Vec<u8>, String> {
        STANDARD.decode(&self.data).map_err(|error| format!("`data` is not base64: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_key_stands_where_the_key_would_lead_elsewhere() {
        let record = Record::new("5".parse().unwrap(), "a", b"x", 1_700_000_000_123);
        let shard = "shardId-000000000001".parse().unwrap();
        // The MD5 of `a` begins with 0x0c.
        let half = HashRange { start: 1 << 127, end: u128::MAX };
        let dumped = DumpedRecord::of(&record, &shard, Some(half));
        assert_eq!(dumped.hash_key.as_deref(), Some("170141183460469231731687303715884105728"));
        assert_eq!(
            serde_json::to_string(&DumpedRecord { hash_key: None, ..dumped.clone() }).unwrap(),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"shard\":\"shardId-000000000001\",\"sequence\":\"5\",\"key\":\"a\",\
             \"data\":\"eA==\"}"
        );
        for range in [None, Some(HashRange { start: 0, end: u128::MAX / 2 })] {
            assert_eq!(DumpedRecord::of(&record, &shard, range).hash_key, None);
        }
        assert_eq!(dumped.data().unwrap(), b"x");
        let keyless = Record::without_key("5".parse().unwrap(), b"x", 0);
        assert_eq!(DumpedRecord::of(&keyless, &shard, Some(half)).key, None);
    }
}
