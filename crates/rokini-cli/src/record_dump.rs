//! The format of dumps: one record a line, as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rokini::lease::{HashRange, ShardId};
use rokini::{Record, StartPosition, UserRecord, format_time};
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

    /// A line as a record to put, and when the stream took it, in milliseconds since the Unix epoch. One that was put without
    /// a key has an empty one.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn parse(line: &[u8]) -> Result<(UserRecord, u64), String> {
        let dumped: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let Ok(StartPosition::AtTimestamp(at_millis)) = dumped.time.parse() else {
            return Err(format!("`time` is {}, not a time such as 2026-01-31T12:00:00.000Z", dumped.time));
        };
        let explicit_hash_key = dumped.hash_key.as_deref().map(str::parse).transpose();
        let explicit_hash_key = explicit_hash_key.map_err(|_| "`hash_key` is not a hash".to_owned())?;
        let data = STANDARD.decode(&dumped.data).map_err(|error| format!("`data` is not base64: {error}"))?;
        let partition_key = dumped.key.unwrap_or_default();
        if partition_key.chars().count() > 256 {
            return Err("`key` has more than 256 characters".to_owned());
        }
        let mut record = UserRecord::new(partition_key, data);
        record.explicit_hash_key = explicit_hash_key;
        Ok((record, at_millis))
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
            serde_json::to_string(&DumpedRecord { hash_key: None, ..dumped }).unwrap(),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"shard\":\"shardId-000000000001\",\"sequence\":\"5\",\"key\":\"a\",\
             \"data\":\"eA==\"}"
        );
        for range in [None, Some(HashRange { start: 0, end: u128::MAX / 2 })] {
            assert_eq!(DumpedRecord::of(&record, &shard, range).hash_key, None);
        }
        let keyless = Record::without_key("5".parse().unwrap(), b"x", 0);
        assert_eq!(DumpedRecord::of(&keyless, &shard, Some(half)).key, None);
    }

    #[test]
    fn lines_of_a_dump_are_records_with_their_times() {
        let line = br#"{"time":"2026-01-31T12:00:00.250Z","shard":"s","sequence":"1","key":"k","hash_key":"7","data":"eA=="}"#;
        let (record, at) = DumpedRecord::parse(line).unwrap();
        assert_eq!(
            (record.partition_key.as_str(), record.explicit_hash_key, &record.data[..]),
            ("k", Some(7), &b"x"[..])
        );
        assert_eq!(at % 1000, 250);
        let long = format!("\"{}\"", "k".repeat(257));
        for (from, to, said) in [
            ("2026", "x", "`time`"),
            ("\"7\"", "\"seven\"", "`hash_key`"),
            ("eA==", "?", "`data`"),
            ("\"data\"", "\"payload\"", "`data`"),
            ("\"k\"", &long, "`key`"),
        ] {
            let wrong = String::from_utf8(line.to_vec()).unwrap().replace(from, to);
            let why = DumpedRecord::parse(wrong.as_bytes()).unwrap_err();
            assert!(why.contains(said), "{wrong}: {why}");
        }
    }
}
