//! Aggregates as prost writes and reads them, and what is wrong with others.

use proptest::prelude::*;
use prost::Message as _;

use super::layout::MAGIC;
use super::*;
use crate::md5::{md5, partition_key_hash};

/// The schema of the KPL, for a decoder that is not ours.
#[derive(Clone, PartialEq, prost::Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<InnerRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InnerRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes, required, tag = "3")]
    data: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tag {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

/// Key, explicit hash key and data of a user record.
type Read = (String, Option<String>, Vec<u8>);

fn sealed(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &md5(message)].concat()
}

fn read(data: &[u8]) -> Result<Vec<Read>, AggregateError> {
    let mut found = None;
    read_aggregates(&[data], |at, aggregate| {
        assert_eq!(at, 0);
        let text = |range| std::str::from_utf8(&data[range]).unwrap().to_owned();
        found = Some(aggregate.map(|aggregate| {
            assert_eq!(aggregate.len(), aggregate.user_records().len());
            let read = aggregate.user_records().map(|place| {
                let hash_key = place.explicit_hash_key().map(text);
                (text(place.partition_key()), hash_key, data[place.data()].to_vec())
            });
            read.collect()
        }));
    });
    found.unwrap()
}

/// As the schema says, and the tables: `None` where an aggregate is malformed.
fn expected(message: &[u8]) -> Option<Vec<Read>> {
    let decoded = AggregatedRecord::decode(message).ok()?;
    let at = |table: &[String], index: u64| table.get(usize::try_from(index).ok()?).cloned();
    let record = |record: &InnerRecord| {
        let key = at(&decoded.partition_key_table, record.partition_key_index)?;
        let hash_key = match record.explicit_hash_key_index {
            Some(index) => {
                let text = at(&decoded.explicit_hash_key_table, index)?;
                text.parse::<u128>().ok().filter(|_| !text.starts_with('+'))?;
                Some(text)
            }
            None => None,
        };
        Some((key, hash_key, record.data.clone()))
    };
    decoded.records.iter().map(record).collect::<Option<Vec<_>>>().filter(|records| !records.is_empty())
}

fn inner(key: u64, hash_key: Option<u64>, data: &[u8]) -> InnerRecord {
    InnerRecord {
        partition_key_index: key,
        explicit_hash_key_index: hash_key,
        data: data.to_vec(),
        tags: Vec::new(),
    }
}

fn message(keys: &[&str], hash_keys: &[&str], records: Vec<InnerRecord>) -> Vec<u8> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (partition_key_table, explicit_hash_key_table) = (owned(keys), owned(hash_keys));
    AggregatedRecord { partition_key_table, explicit_hash_key_table, records }.encode_to_vec()
}

#[test]
fn user_records_come_with_their_keys_in_order() {
    let records = vec![inner(1, None, b"one"), inner(0, Some(0), b""), inner(1, Some(1), b"three")];
    let data = sealed(&message(&["a", "\u{fc}"], &["0", "340282366920938463463374607431768211455"], records));
    let record = |key: &str, hash_key: Option<&str>, data: &str| {
        (key.to_owned(), hash_key.map(str::to_owned), data.as_bytes().to_vec())
    };
    assert_eq!(
        read(&data).unwrap(),
        [
            record("\u{fc}", None, "one"),
            record("a", Some("0"), ""),
            record("\u{fc}", Some("340282366920938463463374607431768211455"), "three")
        ]
    );
}

#[test]
fn a3_what_is_wrong_with_an_aggregate_is_said() {
    let good = sealed(&message(&["k"], &[], vec![inner(0, None, b"data")]));
    let mut flipped = good.clone();
    flipped[8] ^= 1;
    let one = |hash_keys: &[&str], record| sealed(&message(&["k"], hash_keys, vec![record]));
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let mut wrong = Vec::new();
    for (data, expected) in [
        (b"".to_vec(), "it does not begin as aggregates do"),
        (MAGIC.to_vec(), "it has 4 bytes, too few for a message and its check sum"),
        (sealed(b""), "it has 20 bytes, too few for a message and its check sum"),
        (good[..good.len() - 1].to_vec(), "its check sum is wrong"),
        (flipped, "its check sum is wrong"),
        (sealed(&field(1, b"k")), "it has no user record"),
        (one(&[], inner(1, None, b"x")), "user record 0 has the partition key 1 of a table of 1"),
        (
            one(&[], inner(u64::MAX, None, b"x")),
            "user record 0 has the partition key 4294967295 of a table of 1",
        ),
        (one(&["7"], inner(0, Some(1), b"x")), "user record 0 has the explicit hash key 1 of a table of 1"),
        (
            one(&["undefined"], inner(0, Some(0), b"x")),
            "user record 0 has an explicit hash key that is no number below 2^128",
        ),
        (
            one(&[""], inner(0, Some(0), b"x")),
            "user record 0 has an explicit hash key that is no number below 2^128",
        ),
        (
            one(&["+1"], inner(0, Some(0), b"x")),
            "user record 0 has an explicit hash key that is no number below 2^128",
        ),
        (
            one(&["340282366920938463463374607431768211456"], inner(0, Some(0), b"x")),
            "user record 0 has an explicit hash key that is no number below 2^128",
        ),
        (sealed(&field(3, b"\x08\x00")), "its message cannot be read (a user record without data at byte 6)"),
        (
            sealed(&field(3, b"\x1a\x00")),
            "its message cannot be read (a user record without a partition key at byte 6)",
        ),
        (
            sealed(&field(1, b"\xff")),
            "its message cannot be read (a partition key that is no UTF-8 at byte 6)",
        ),
        (sealed(b"\x1a\x05"), "its message cannot be read (a length beyond the end at byte 5)"),
        (sealed(b"\x1a"), "its message cannot be read (cut off at byte 5)"),
        (sealed(&[0xff; 11]), "its message cannot be read (a number beyond 64 bits at byte 4)"),
        (sealed(b"\x02\x00"), "its message cannot be read (a field with the number 0 at byte 4)"),
        (sealed(b"\x0b\x0c"), "its message cannot be read (a field of no type that is known at byte 4)"),
        (sealed(b"\x2d\x00"), "its message cannot be read (cut off at byte 5)"),
    ] {
        match read(&data) {
            Err(error) if error.to_string() == expected => {}
            other => wrong.push((other, expected)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A table may have what no record refers to.
    assert_eq!(read(&one(&["undefined"], inner(0, None, b"x"))).unwrap().len(), 1);
    assert!(read(&good).is_ok());
}

#[test]
fn tags_and_unknown_fields_are_passed_over_and_tables_may_come_last() {
    let mut tagged = inner(0, None, b"x");
    tagged.tags = vec![
        Tag { key: "a".to_owned(), value: None },
        Tag { key: "b".to_owned(), value: Some("c".to_owned()) },
    ];
    let records = message(&[], &[], vec![tagged]);
    let message =
        [&records[..], b"\x4d\x00\x00\x00\x00\x51\x00\x00\x00\x00\x00\x00\x00\x00\x58\x07\x0a\x01k"].concat();
    assert_eq!(read(&sealed(&message)).unwrap(), [("k".to_owned(), None, b"x".to_vec())]);
}

#[test]
fn a4_what_does_not_belong_into_a_shard_is_counted() {
    let hash = partition_key_hash("k");
    let records =
        vec![inner(0, None, b"1"), inner(0, Some(0), b"2"), inner(0, Some(1), b"3"), inner(1, None, b"4")];
    let data = sealed(&message(&["k", "other"], &["5", &hash.to_string()], records));
    let other = partition_key_hash("other");
    let mut counts = Vec::new();
    read_aggregates(&[&data], |_, aggregate| {
        let aggregate = aggregate.unwrap();
        for range in [0..=u128::MAX, hash..=hash, 5..=5, 0..=4, other..=other] {
            counts.push(aggregate.outside(&data, &range));
        }
    });
    assert_eq!(counts, [0, 2, 3, 4, 3]);
}

#[test]
fn many_are_told_apart() {
    let data: Vec<Vec<u8>> = (0..40_u8)
        .map(|n| {
            let mut data =
                sealed(&message(&["k"], &[], vec![inner(0, None, &[n; 300][..usize::from(n) * 7])]));
            let last = data.len() - 1;
            data[last] ^= u8::from(n % 5 == 0);
            data
        })
        .collect();
    let all: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut seen = Vec::new();
    read_aggregates(&all, |at, aggregate| {
        let length = aggregate.map(|aggregate| aggregate.user_records().next().unwrap().data().len());
        seen.push((at, length));
    });
    for (n, (at, length)) in seen.into_iter().enumerate() {
        let expected = if n % 5 == 0 { Err(AggregateError::CheckSum) } else { Ok(n * 7) };
        assert_eq!((at, length), (n, expected));
    }
}

fn user_records() -> impl Strategy<Value = Vec<(String, Option<u128>, Vec<u8>)>> {
    let data = prop::collection::vec(any::<u8>(), 0..400);
    prop::collection::vec(("[a-e\u{e4}\u{1f600}]{0,3}", prop::option::of(any::<u128>()), data), 0..60)
}

proptest! {
    #[test]
    fn what_is_written_prost_reads_and_is_read_again(records in user_records()) {
        let mut builder = AggregateBuilder::default();
        for (key, hash_key, data) in &records {
            let expected = builder.len_with(key, *hash_key, data);
            builder.push(key, *hash_key, data);
            prop_assert_eq!(builder.len(), expected);
        }
        let data = builder.build();
        prop_assert_eq!((data.len(), builder.count()), (builder.len(), records.len()));
        let records: Vec<Read> =
            records.into_iter().map(|(key, hash, data)| (key, hash.map(|hash| hash.to_string()), data)).collect();
        prop_assert_eq!(&expected(&data[4..data.len() - 16]).unwrap_or_default(), &records);
        match read(&data) {
            Ok(read) => prop_assert_eq!(read, records),
            Err(error) => prop_assert!(records.is_empty(), "{}", error),
        }
    }

    /// No bytes make it panic, and what it reads is what prost reads: messages with a few bytes changed.
    #[test]
    fn a3_any_bytes_are_read_or_refused(records in user_records(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in 0..30_usize) {
        let mut builder = AggregateBuilder::default();
        records.iter().for_each(|(key, hash_key, data)| builder.push(key, *hash_key, data));
        let data = builder.build();
        let mut message = data[4..data.len() - 16].to_vec();
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        message.truncate(message.len() - cut.min(message.len()) % 7);
        let (read, expected) = (read(&sealed(&message)), expected(&message));
        match (read, expected) {
            (Ok(read), Some(expected)) => prop_assert_eq!(read, expected),
            // Prost is stricter about tags and about the types of known fields, and takes groups.
            (Ok(_), None) | (Err(AggregateError::Message { .. } | AggregateError::TooShort { .. }), _) => {}
            (Err(_), None) => {}
            (Err(error), Some(expected)) => prop_assert!(false, "{} for {:?}", error, expected),
        }
    }

    #[test]
    fn a3_bytes_without_any_sense_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = read(&sealed(&bytes));
        let _ = read(&[&MAGIC[..], &bytes].concat());
    }
}
