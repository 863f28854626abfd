//! Answers of the SDK to our types. What is missing or unreadable is an error that says where.

use aws_sdk_kinesis::types as sdk;
use aws_smithy_types::DateTime;
use rokini_lease::{HashRange, SequenceNumber, ShardId};

use crate::aws::error::ApiCall;
use crate::source::stream_source::ShardDescription;
use crate::types::error::Error;
use crate::types::record::Record;

/// Milliseconds since the Unix epoch. The API sends seconds as a floating-point number, whose last digits are
/// noise: rounds to the nearest.
pub(super) fn millis(time: &DateTime) -> Option<u64> {
    let millis = i128::from(time.secs()) * 1_000 + (i128::from(time.subsec_nanos()) + 500_000) / 1_000_000;
    u64::try_from(millis).ok()
}

pub(super) fn shard(shard: sdk::Shard, call: &ApiCall<'_>) -> Result<ShardDescription, Error> {
    let id = shard_id(&shard.shard_id, call)?;
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    let parents = parents.iter().flatten().map(|id| shard_id(id, call)).collect::<Result<_, _>>()?;
    let hash_range = shard.hash_key_range.map(|range| hash_range(&range, &id, call)).transpose()?;
    let closed = shard.sequence_number_range.is_some_and(|range| range.ending_sequence_number.is_some());
    Ok(ShardDescription { id, parents, hash_range, closed })
}

/// A child as the end of its parent reports it.
pub(super) fn child_shard(child: sdk::ChildShard, call: &ApiCall<'_>) -> Result<ShardDescription, Error> {
    let id = shard_id(&child.shard_id, call)?;
    let parents = child.parent_shards.iter().map(|id| shard_id(id, call)).collect::<Result<_, _>>()?;
    let hash_range = child.hash_key_range.map(|range| hash_range(&range, &id, call)).transpose()?;
    Ok(ShardDescription { id, parents, hash_range, closed: false })
}

fn shard_id(text: &str, call: &ApiCall<'_>) -> Result<ShardId, Error> {
    ShardId::new(text).map_err(|error| call.malformed("has a shard without a usable id").with_source(error))
}

fn hash_range(range: &sdk::HashKeyRange, id: &ShardId, call: &ApiCall<'_>) -> Result<HashRange, Error> {
    match (range.starting_hash_key.parse(), range.ending_hash_key.parse()) {
        (Ok(start), Ok(end)) => Ok(HashRange { start, end }),
        _ => Err(call.malformed(format_args!("has no usable hash range of shard `{id}`"))),
    }
}

/// The records, and how many bytes they count against the shard's limit.
pub(super) fn records(records: Vec<sdk::Record>, call: &ApiCall<'_>) -> Result<(Vec<Record>, u64), Error> {
    let mut bytes = 0;
    let records = records
        .into_iter()
        .map(|answered| {
            let record = record(answered, call)?;
            bytes += record.size() as u64;
            Ok(record)
        })
        .collect::<Result<_, Error>>()?;
    Ok((records, bytes))
}

fn record(record: sdk::Record, call: &ApiCall<'_>) -> Result<Record, Error> {
    let text = &record.sequence_number;
    let sequence: SequenceNumber = text
        .parse()
        .map_err(|error| call.malformed("has a record without a usable SequenceNumber").with_source(error))?;
    let missing = |what: &str| call.malformed(format_args!("has no {what} of record {sequence}"));
    let arrival = record.approximate_arrival_timestamp.as_ref().and_then(millis);
    let arrival = arrival.ok_or_else(|| missing("ApproximateArrivalTimestamp"))?;
    let data = record.data.into_bytes();
    Ok(match &record.partition_key {
        Some(key) => Record::new(sequence, key, data, arrival),
        None => Record::without_key(sequence, data, arrival),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::error::ErrorKind;
    use aws_smithy_types::Blob;

    fn with_call<T>(test: impl FnOnce(&ApiCall<'_>) -> T) -> T {
        let (stream, shard) = ("orders".parse().unwrap(), ShardId::new("shardId-000000000001").unwrap());
        test(&ApiCall {
            action: "kinesis:GetRecords",
            stream: &stream,
            shard: Some(&shard),
            region: "eu-west-1",
            endpoint: Some("http://127.0.0.1:4567"),
        })
    }

    fn full() -> aws_sdk_kinesis::types::builders::RecordBuilder {
        sdk::Record::builder()
            .sequence_number("49590338271490256608559692538361571095921575989136588898")
            .partition_key("k")
            .data(Blob::new("data"))
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
    }

    #[test]
    fn times_are_exact_to_the_millisecond() {
        for millis_in in (1_700_000_000_000u64..1_700_000_001_000).chain([0, 1, 999, 4_102_444_799_999]) {
            let seconds = millis_in as f64 / 1_000.0;
            assert_eq!(millis(&DateTime::from_secs_f64(seconds)), Some(millis_in));
        }
        assert_eq!(millis(&DateTime::from_secs(-1)), None);
    }

    #[test]
    fn a_record_is_what_the_answer_says() {
        let record = full().data(Blob::new("payload")).build().unwrap();
        let (records, bytes) = with_call(|call| records(vec![record], call)).unwrap();
        assert_eq!((records[0].data(), bytes), (&b"payload"[..], 8));
        assert_eq!(records[0].arrival_millis, 1_700_000_000_123);
        assert_eq!(records[0].partition_key(), Some("k"));
    }

    #[test]
    fn what_a_record_lacks_is_an_error_that_says_so() {
        for (record, expected) in [
            (full().sequence_number(""), "a record without a usable SequenceNumber"),
            (full().sequence_number("x"), "a record without a usable SequenceNumber"),
            (
                full().set_approximate_arrival_timestamp(None),
                "has no ApproximateArrivalTimestamp of record 4959",
            ),
        ] {
            let error = with_call(|call| records(vec![record.build().unwrap()], call)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Bug);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(
                error.to_string().contains("kinesis:GetRecords on shard `shardId-000000000001`"),
                "{error}"
            );
        }
    }

    #[test]
    fn shards_with_parents_and_ranges() {
        let range = |start: &str, end: &str| {
            sdk::HashKeyRange::builder().starting_hash_key(start).ending_hash_key(end).build().unwrap()
        };
        let numbers = sdk::SequenceNumberRange::builder().starting_sequence_number("1");
        let merged = sdk::Shard::builder()
            .shard_id("c")
            .parent_shard_id("a")
            .adjacent_parent_shard_id("b")
            .hash_key_range(range("0", "340282366920938463463374607431768211455"))
            .sequence_number_range(numbers.clone().ending_sequence_number("9").build().unwrap());
        let described = with_call(|call| shard(merged.clone().build().unwrap(), call)).unwrap();
        assert_eq!(described.id.as_str(), "c");
        assert_eq!(described.parents.iter().map(ShardId::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(described.hash_range, Some(HashRange { start: 0, end: u128::MAX }));
        assert!(described.closed);

        let open = merged.clone().sequence_number_range(numbers.build().unwrap()).build().unwrap();
        assert!(!with_call(|call| shard(open, call)).unwrap().closed);

        for (bad, expected) in [
            (merged.clone().shard_id(""), "a shard without a usable id"),
            (merged.clone().parent_shard_id("a b"), "a shard without a usable id"),
            (merged.hash_key_range(range("0", "x")), "no usable hash range of shard `c`"),
        ] {
            let error = with_call(|call| shard(bad.build().unwrap(), call)).unwrap_err();
            assert!(error.kind() == ErrorKind::Bug && error.to_string().contains(expected), "{error}");
        }
    }
}
