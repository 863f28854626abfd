//! Answers of the SDK to our types. What is missing or unreadable is an error that says where.

use aws_sdk_kinesis::types as sdk;
use aws_smithy_types::DateTime;
use rokini_lease::{HashRange, ShardId};
use rokini_wire::RecordsAnswer;
use rokini_wire::shapes::shard::ChildShard;

use crate::aws::error::ApiCall;
use crate::source::stream_source::ShardDescription;
use crate::types::error::Error;
use crate::types::record::{Record, RecordBuffer};

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
    let range = shard.hash_key_range;
    let range = range.map(|range| hash_range(&range.starting_hash_key, &range.ending_hash_key, &id, call));
    let hash_range = range.transpose()?;
    let closed = shard.sequence_number_range.is_some_and(|range| range.ending_sequence_number.is_some());
    Ok(ShardDescription { id, parents, hash_range, closed })
}

/// A child as the end of its parent reports it.
pub(super) fn child_shard(child: &ChildShard, call: &ApiCall<'_>) -> Result<ShardDescription, Error> {
    let id = shard_id(&child.shard_id, call)?;
    let parents = child.parent_shards.iter().map(|id| shard_id(id, call)).collect::<Result<_, _>>()?;
    let (start, end) = (&child.hash_key_range.starting_hash_key, &child.hash_key_range.ending_hash_key);
    let hash_range = Some(hash_range(start, end, &id, call)?);
    Ok(ShardDescription { id, parents, hash_range, closed: false })
}

fn shard_id(text: &str, call: &ApiCall<'_>) -> Result<ShardId, Error> {
    ShardId::new(text).map_err(|error| call.malformed("has a shard without a usable id").with_source(error))
}

fn hash_range(start: &str, end: &str, id: &ShardId, call: &ApiCall<'_>) -> Result<HashRange, Error> {
    match (start.parse(), end.parse()) {
        (Ok(start), Ok(end)) => Ok(HashRange { start, end }),
        _ => Err(call.malformed(format_args!("has no usable hash range of shard `{id}`"))),
    }
}

/// The records, which hold the body, and how many bytes they count against the shard's limit.
pub(super) fn records(answer: &RecordsAnswer, call: &ApiCall<'_>) -> Result<(Vec<Record>, u64), Error> {
    let mut bytes = 0;
    let mut records = Vec::with_capacity(answer.records.len());
    let buffer = RecordBuffer::from(answer.body.clone());
    let mut before = None;
    for place in &answer.records {
        let number = place.sequence_number;
        let arrival = place.arrival_millis.and_then(|millis| u64::try_from(millis).ok());
        let arrival = arrival.ok_or_else(|| {
            call.malformed(format_args!("has no ApproximateArrivalTimestamp of record {number}"))
        })?;
        if let Some(before) = before.filter(|before| *before >= number) {
            return Err(call.malformed(format_args!(
                "has record {before} before record {number}, out of the order of the shard"
            )));
        }
        before = Some(number);
        let record =
            Record::from_buffer(number, buffer.clone(), place.data(), place.partition_key(), arrival);
        bytes += record.size() as u64;
        records.push(record);
    }
    Ok((records, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::error::ErrorKind;
    use bytes::Bytes;

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

    fn answer(body: &str) -> RecordsAnswer {
        RecordsAnswer::read(Bytes::copy_from_slice(body.as_bytes())).unwrap()
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
    fn p11_records_are_slices_of_the_answer() {
        let answer = answer(
            r#"{"Records":[{"SequenceNumber":"7","Data":"cGF5bG9hZA==","PartitionKey":"k",
                "ApproximateArrivalTimestamp":1700000000.123}]}"#,
        );
        let (records, bytes) = with_call(|call| records(&answer, call)).unwrap();
        let within = |slice: &[u8]| answer.body.as_ptr_range().contains(&slice.as_ptr());
        assert_eq!((records[0].data(), records[0].partition_key(), bytes), (&b"payload"[..], Some("k"), 8));
        assert!(within(records[0].data()) && within(records[0].partition_key().unwrap().as_bytes()));
        assert_eq!(records[0].arrival_millis, 1_700_000_000_123);
    }

    #[test]
    fn what_an_answer_should_not_say_is_an_error_that_says_so() {
        let record = |number: u8, time: &str| format!(r#"{{"SequenceNumber":"{number}","Data":""{time}}}"#);
        let time = r#","ApproximateArrivalTimestamp":1"#;
        for (listed, expected) in [
            ([record(1, time), record(2, "")], "has no ApproximateArrivalTimestamp of record 2"),
            (
                [record(1, time), record(1, time)],
                "has record 1 before record 1, out of the order of the shard",
            ),
            (
                [record(2, time), record(1, time)],
                "has record 2 before record 1, out of the order of the shard",
            ),
        ] {
            let answer = answer(&format!(r#"{{"Records":[{}]}}"#, listed.join(",")));
            let error = with_call(|call| records(&answer, call)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Retry);
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
            assert!(error.kind() == ErrorKind::Retry && error.to_string().contains(expected), "{error}");
        }
    }
}
