use bytes::Bytes;
use rokini_wire::{AggregateBuilder, md5, partition_key_hash};

use super::*;
use crate::types::record::RecordBuffer;

fn aggregate(records: &[(&str, Option<u128>, &str)]) -> Vec<u8> {
    let mut builder = AggregateBuilder::default();
    for (key, hash_key, data) in records {
        builder.push(key, *hash_key, data.as_bytes());
    }
    builder.build()
}

/// Records with these data, all in one buffer, with the sequence numbers 100, 200 and so on.
fn answer(data: &[Vec<u8>]) -> (Bytes, Vec<Record>) {
    let bytes = Bytes::from([b"..key..".to_vec(), data.concat()].concat());
    let buffer = RecordBuffer::from(bytes.clone());
    let mut at = 7;
    let record = |(number, data): (usize, &Vec<u8>)| {
        let start = at;
        at += data.len();
        let sequence_number = SequenceNumber::from(100 * (number as u128 + 1));
        Record::from_buffer(sequence_number, buffer.clone(), start..at, Some(2..5), 7)
    };
    let records = data.iter().enumerate().map(record).collect();
    (bytes, records)
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(record.data()).into_owned()).collect()
}

#[test]
fn a3_user_records_are_slices_of_the_answer_with_numbers_and_keys_of_their_own() {
    let (bytes, records) = answer(&[
        b"first".to_vec(),
        aggregate(&[("a", None, "0"), ("\u{fc}", Some(5), "1"), ("a", None, "")]),
        b"last".to_vec(),
    ]);
    let unpacked = Deaggregator::default().unpack(records.clone());
    assert_eq!(texts(&unpacked.records), ["first", "0", "1", "", "last"]);
    assert_eq!((&unpacked.records[0], &unpacked.records[4]), (&records[0], &records[2]));
    let facts: Vec<_> = unpacked.records[1..4]
        .iter()
        .map(|record| (record.sub_sequence_number, record.partition_key(), record.explicit_hash_key()))
        .collect();
    assert_eq!(
        facts,
        [(Some(0), Some("a"), None), (Some(1), Some("\u{fc}"), Some("5")), (Some(2), Some("a"), None)]
    );
    for record in &unpacked.records[1..4] {
        assert_eq!((record.sequence_number, record.arrival_millis), (200.into(), 7));
        assert!(bytes.as_ptr_range().contains(&record.partition_key().unwrap().as_ptr()));
        assert_eq!(record.clone().into_owned(), *record);
    }
    let positions: Vec<_> = unpacked.records[1..4].iter().map(Record::position).collect();
    let through = |sub| Position::Sequence(200.into(), Progress::Through(sub));
    assert_eq!(positions, [through(0), through(1), Position::after(200.into())], "the last one ends it");
    assert_eq!((unpacked.malformed, unpacked.foreign, unpacked.dropped), (None, 0, None));
}

#[test]
fn a3_what_is_malformed_stays_as_it_came_and_is_told() {
    let good = aggregate(&[("k", None, "good")]);
    let mut broken = good.clone();
    broken[9] ^= 1;
    let sealed = |message: &[u8]| [&[0xf3, 0x89, 0x9a, 0xc2], message, &md5(message)].concat();
    for (malformed, reason) in [
        (broken, "its check sum is wrong"),
        (good[..good.len() - 2].to_vec(), "its check sum is wrong"),
        (vec![0xf3, 0x89, 0x9a, 0xc2], "it has 4 bytes, too few for a message and its check sum"),
        (sealed(b"\x0a\x01k"), "it has no user record"),
        (
            sealed(b"\x0a\x01k\x1a\x05\x08\x01\x1a\x01x"),
            "user record 0 has the partition key 1 of a table of 1",
        ),
        (
            sealed(b"\x0a\x01k\x12\x09undefined\x1a\x07\x08\x00\x10\x00\x1a\x01x"),
            "user record 0 has an explicit hash key that is no number below 2^128",
        ),
    ] {
        let (_, records) = answer(&[malformed.clone(), good.clone(), malformed]);
        let unpacked = Deaggregator::default().unpack(records.clone());
        assert_eq!((&unpacked.records[0], &unpacked.records[2]), (&records[0], &records[2]), "{reason}");
        assert_eq!(texts(&unpacked.records[1..2]), ["good"]);
        let told = MalformedAggregates { first: 100.into(), reason: reason.to_owned(), records: 2 };
        assert_eq!(unpacked.malformed, Some(told));
        assert_eq!(unpacked.records[0].position(), Position::after(100.into()));
    }
}

#[test]
fn a3_an_aggregate_in_an_aggregate_is_not_unpacked_again() {
    let mut builder = AggregateBuilder::default();
    let inner = aggregate(&[("k", None, "inner")]);
    builder.push("k", None, b"before");
    builder.push("k", None, &inner);
    let (_, records) = answer(&[builder.build()]);
    let unpacked = Deaggregator::default().unpack(records);
    assert_eq!((unpacked.records.len(), unpacked.records[1].data()), (2, &inner[..]));
    assert_eq!(unpacked.malformed.unwrap().reason, "user record 1 is an aggregate itself");
}

#[test]
fn a4_user_records_of_other_shards_are_delivered_and_counted_or_dropped_with_their_aggregate() {
    let middle = u128::MAX / 2;
    let low = ["a", "b", "c", "d"].into_iter().find(|key| partition_key_hash(key) <= middle).unwrap();
    let high = ["a", "b", "c", "d"].into_iter().find(|key| partition_key_hash(key) > middle).unwrap();
    let range = HashRange { start: 0, end: middle };
    let data = [
        aggregate(&[(low, None, "0"), (low, Some(0), "1")]),
        aggregate(&[(low, None, "2"), (high, None, "3"), (low, Some(middle + 1), "4")]),
        aggregate(&[(high, Some(middle), "5")]),
    ];
    let unpack = |mut deaggregator: Deaggregator| deaggregator.unpack(answer(&data).1);
    let delivered = unpack(Deaggregator::default().hash_range(range, KplHashRange::Deliver));
    assert_eq!(texts(&delivered.records), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!((delivered.foreign, delivered.dropped), (2, None));
    let dropped = unpack(Deaggregator::default().hash_range(range, KplHashRange::Drop));
    assert_eq!(texts(&dropped.records), ["0", "1", "5"]);
    let left_out = DroppedAggregates { first: 200.into(), user_records: 3 };
    assert_eq!((dropped.foreign, dropped.dropped), (2, Some(left_out)));
    // Where keys say nothing about shards, and where one shard has all of them.
    assert_eq!(unpack(Deaggregator::default()).foreign, 0);
    let whole = HashRange { start: 0, end: u128::MAX };
    assert_eq!(unpack(Deaggregator::default().hash_range(whole, KplHashRange::Drop)).foreign, 0);
}

#[test]
fn parts_of_an_aggregate_that_were_done_are_passed_over() {
    let three = aggregate(&[("k", None, "0"), ("k", None, "1"), ("k", None, "2")]);
    let (_, records) = answer(&[three, aggregate(&[("k", None, "3")])]);
    let left = |at| {
        let mut records = Deaggregator::default().unpack(records.clone()).records;
        pass_over(&mut records, at);
        texts(&records)
    };
    let number = SequenceNumber::from(100);
    assert_eq!(left(Position::Sequence(number, Progress::Through(1))), ["2", "3"]);
    assert_eq!(left(Position::Sequence(number, Progress::Through(2))), ["3"]);
    assert_eq!(left(Position::at(number)), ["0", "1", "2", "3"]);
    assert_eq!(left(Position::TrimHorizon), ["0", "1", "2", "3"]);
    // What is malformed has no parts.
    let (_, mut plain) = answer(&[b"plain".to_vec()]);
    pass_over(&mut plain, Position::Sequence(number, Progress::Through(1)));
    assert_eq!(texts(&plain), ["plain"]);
}
