use std::collections::BTreeMap;

use rokini::{DeadLetterEntry, DeadLetterSink, DeadLetterStream, ErrorKind};
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetShardIteratorRequest, Record};
use rokini_local::wire::shapes::stream::UpdateMaxRecordSizeRequest;
use rokini_local::wire::{ErrorCode, ShardIteratorType};
use rokini_local::{Fault, FaultRule, LocalKinesis};

use super::{aws, letter, put_together, record};

async fn kinesis() -> LocalKinesis {
    LocalKinesis::builder().stream("dead", 1).start().await.unwrap()
}

async fn sink(kinesis: &LocalKinesis) -> DeadLetterStream {
    DeadLetterStream::new(&aws(&kinesis.endpoint_url()).await, "dead".parse().unwrap()).unwrap()
}

/// Everything in the stream.
pub fn kept(kinesis: &LocalKinesis) -> Vec<Record> {
    let model = kinesis.model();
    let request = GetShardIteratorRequest::new("shardId-000000000000", ShardIteratorType::TrimHorizon)
        .stream_name("dead");
    let mut iterator = model.call(&request).unwrap().shard_iterator;
    let mut records = Vec::new();
    while let Some(shard_iterator) = iterator {
        let answer = model.call(&GetRecordsRequest::new(shard_iterator)).unwrap();
        records.extend(answer.records);
        iterator = answer.next_shard_iterator.filter(|_| answer.millis_behind_latest != Some(0));
    }
    records
}

fn times(records: &[Record]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for record in records {
        *times.entry(DeadLetterEntry::parse(&record.data).unwrap().sequence_number).or_default() += 1;
    }
    times
}

#[tokio::test]
async fn a_letter_keeps_its_partition_keys_and_says_where_from_and_why() {
    let kinesis = kinesis().await;
    let given = letter(vec![record(1, "ann", "a"), record(2, "bob", vec![0xff, 0])]);
    sink(&kinesis).await.put(&given).await.unwrap();
    let records = kept(&kinesis);
    let found: Vec<_> =
        records.iter().map(|record| (record.partition_key.as_deref().unwrap(), &record.data)).collect();
    assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["ann", "bob"]);
    for ((_, data), record) in found.iter().zip(&given.records) {
        let entry = DeadLetterEntry::parse(data).unwrap();
        assert_eq!(entry.data().unwrap(), record.data());
        assert_eq!(entry.key, given.key(record));
        assert_eq!((entry.epoch, entry.failure.as_str()), (3, "panic: no such customer"));
    }
}

#[tokio::test]
async fn raw_records_are_put_as_they_were() {
    let kinesis = kinesis().await;
    let given = letter(vec![record(1, "ann", "{}"), record(2, "bob", vec![0xff, 0])]);
    sink(&kinesis).await.raw().put(&given).await.unwrap();
    let records = kept(&kinesis);
    let found: Vec<_> =
        records.iter().map(|record| (record.partition_key.as_deref().unwrap(), &record.data[..])).collect();
    assert_eq!(found, [("ann", &b"{}"[..]), ("bob", &[0xff, 0][..])]);
}

#[tokio::test]
async fn a1_only_the_records_that_were_refused_are_put_again() {
    let kinesis = kinesis().await;
    let refused =
        |records: Vec<usize>, code| FaultRule::on("PutRecords", Fault::FailRecords { records, code });
    kinesis.faults().add(refused((0..500).step_by(3).collect(), ErrorCode::InternalFailure).times(1));
    kinesis.faults().add(refused(vec![1, 5], ErrorCode::ProvisionedThroughputExceeded).times(2));
    let given = letter((0..700).map(|number| record(number, "k", "x")).collect());
    sink(&kinesis).await.put(&given).await.unwrap();
    let times = times(&kept(&kinesis));
    assert_eq!(times.len(), 700);
    assert!(times.values().all(|times| *times == 1), "nothing that was taken goes again");
}

/// The rate of the one shard is 1 MB and 1,000 records a second; the letter is above it.
#[tokio::test]
async fn a1_a_letter_above_the_rate_of_the_stream_is_kept_whole() {
    let kinesis = kinesis().await;
    let given = letter((0..2_300).map(|number| record(number, &number.to_string(), "x")).collect());
    sink(&kinesis).await.put(&given).await.unwrap();
    let refusals = kinesis.calls().iter().filter(|call| call.operation == "PutRecords").count();
    assert!(refusals > 5, "the rate was exceeded: {refusals} requests");
    assert_eq!(times(&kept(&kinesis)).len(), 2_300);
}

#[tokio::test]
async fn a1_lost_replies_and_outages_end_in_kept_or_in_an_error() {
    let kinesis = kinesis().await;
    let sink = sink(&kinesis).await;
    let given = letter(vec![record(7, "k", "x")]);
    kinesis.faults().add(FaultRule::on("PutRecords", Fault::DropAfter).times(1));
    sink.put(&given).await.unwrap();
    assert!(times(&kept(&kinesis))["7"] >= 1, "kept, perhaps twice");

    let internal = Fault::Error { code: ErrorCode::InternalFailure, message: String::new(), status: None };
    let always = kinesis.faults().add(FaultRule::on("PutRecords", internal));
    let error = sink.put(&letter(vec![record(8, "k", "x")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    kinesis.faults().remove(always);
    let denied = Fault::Error { code: ErrorCode::AccessDenied, message: String::new(), status: None };
    let always = kinesis.faults().add(FaultRule::on("PutRecords", denied));
    let error = sink.put(&letter(vec![record(8, "k", "x")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    kinesis.faults().remove(always);
    assert_eq!(times(&kept(&kinesis)).get("8"), None, "an error is no confirmation");

    let other = DeadLetterStream::new(&aws(&kinesis.endpoint_url()).await, "other".parse().unwrap()).unwrap();
    let error = other.put(&given).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().starts_with("stream `other` does not exist"), "{error}");
}

#[tokio::test]
async fn a1_p9_ten_mebibytes_are_kept_byte_by_byte() {
    let kinesis = LocalKinesis::builder().stream("dead", 1).throughput_limits(false).start().await.unwrap();
    let data: Vec<u8> = (0..10_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let given = letter(vec![record(1, "k", data[1..].to_vec())]);
    // In a stream with the limit every stream has.
    sink(&kinesis).await.put(&given).await.unwrap();
    let records = kept(&kinesis);
    assert!(records.len() > 10, "{} parts", records.len());
    let entries = records.iter().map(|record| DeadLetterEntry::parse(&record.data).unwrap()).collect();
    assert_eq!(put_together(entries), given.records[0].data());

    // As it was: the stream has to take it.
    let raw = sink(&kinesis).await.raw();
    let error = raw.put(&given).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`MaxRecordSizeInKiB`"), "{error}");
    allow_ten_mebibytes(&kinesis);
    raw.put(&given).await.unwrap();
    assert_eq!(&kept(&kinesis).last().unwrap().data[..], given.records[0].data());
    // And with room in the stream there are fewer parts.
    let before = kept(&kinesis).len();
    sink(&kinesis).await.max_record_size(10 << 20).put(&given).await.unwrap();
    assert_eq!(kept(&kinesis).len() - before, 2);
}

fn allow_ten_mebibytes(kinesis: &LocalKinesis) {
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/dead".to_owned();
    let request = UpdateMaxRecordSizeRequest::new(10_240).stream_arn(arn);
    kinesis.model().call(&request).unwrap();
}
