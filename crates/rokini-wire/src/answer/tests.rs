//! Answers as others write them: AWS's documentation, ciborium, minicbor, serde_json.

use minicbor::Encoder;
use minicbor::data::Tag;
use proptest::prelude::*;

use super::*;
use crate::Timestamp;
use crate::shapes::consumer::SubscribeToShardEvent;
use crate::shapes::record::{GetRecordsResponse, Record};
use crate::shapes::shard::{ChildShard, HashKeyRange};
use rokini_types::SequenceNumber;

fn read(body: &[u8]) -> Result<RecordsAnswer, AnswerError> {
    RecordsAnswer::read(Bytes::copy_from_slice(body))
}

/// As the shapes have it, for comparison.
fn as_shape(answer: &RecordsAnswer) -> GetRecordsResponse {
    let record = |place: &RecordPlace| {
        let mut record = Record::new(place.sequence_number, answer.body.slice(place.data()));
        record.approximate_arrival_timestamp = place.arrival_millis.map(Timestamp::from_millis);
        let key = |range| std::str::from_utf8(&answer.body[range]).unwrap().into();
        record.partition_key = place.partition_key().map(key);
        record
    };
    let mut shape = GetRecordsResponse::new(answer.records.iter().map(record).collect::<Vec<_>>());
    shape.next_shard_iterator.clone_from(&answer.next_shard_iterator);
    shape.millis_behind_latest = answer.millis_behind_latest;
    shape.child_shards.clone_from(&answer.child_shards);
    shape
}

/// The answer in the documentation of GetRecords.
const DOCUMENTED: &str = r#"{
  "MillisBehindLatest": 2100,
  "NextShardIterator": "AAAAAAAAAAHsW8zCWf9164uy8Epue6WS3w6wmj4a4USt+CNvMd6uXQ+HL5vAJMznqqC0DLKsIjuoiTi1BpT6nW0LN2M2D56zM5H8anHm30Gbri9ua+qaGgj+3XTyvbhpERfrezgLHbPB/rIcVpykJbaSj5tmcXYRmFnqZBEyHwtZYFmh6hvWVFkIwLuMZLMrpWhG5r5hzkE=",
  "Records": [
    {
      "Data": "XzxkYXRhPl8w",
      "PartitionKey": "partitionKey",
      "ApproximateArrivalTimestamp": 1.441215410867E9,
      "SequenceNumber": "21269319989652663814458848515492872193"
    }
  ]
}"#;

#[test]
fn the_documented_answer() {
    let answer = read(DOCUMENTED.as_bytes()).unwrap();
    let record = &answer.records[0];
    assert_eq!(answer.body[record.data()], *b"_<data>_0");
    assert_eq!(answer.body[record.partition_key().unwrap()], *b"partitionKey");
    assert_eq!(record.arrival_millis, Some(1_441_215_410_867));
    assert_eq!(record.sequence_number.to_string(), "21269319989652663814458848515492872193");
    assert!(answer.next_shard_iterator.unwrap().ends_with("5hzkE="));
    assert_eq!((answer.millis_behind_latest, answer.child_shards), (Some(2100), None));
}

/// As clients in Java log what the service sends: lengths not told in advance, time as tag 1 around milliseconds.
const SERVICE_CBOR: &[u8] = b"\xbf\x67Records\x9f\xbf\x6eSequenceNumber\x7749590338271490256608559\x78\x1bApproximateArrivalTimestamp\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b\x64Data\x45hello\x6cPartitionKey\x63ann\x6eEncryptionType\x64NONE\xff\xff\x71NextShardIterator\x64AAA=\x72MillisBehindLatest\x00\xff";

#[test]
fn a_body_as_the_service_writes_it() {
    let answer = read(SERVICE_CBOR).unwrap();
    let record = &answer.records[0];
    assert_eq!(answer.body[record.data()], *b"hello");
    assert_eq!(answer.body[record.partition_key().unwrap()], *b"ann");
    assert_eq!(record.arrival_millis, Some(1_700_000_000_123));
    assert_eq!(record.sequence_number.to_string(), "49590338271490256608559");
    assert_eq!((answer.next_shard_iterator.as_deref(), answer.millis_behind_latest), (Some("AAA="), Some(0)));
}

#[test]
fn data_and_keys_are_slices_of_the_body_that_came() {
    let body = Bytes::copy_from_slice(&crate::cbor::encode(&GetRecordsResponse::new([Record::new(
        1_u128,
        &b"data"[..],
    )
    .partition_key("key")])));
    let range = body.as_ptr_range();
    let answer = RecordsAnswer::read(body).unwrap();
    assert_eq!(answer.body.as_ptr_range(), range);
    // JSON is decoded where it stands, unless somebody else looks at it.
    let body = Bytes::copy_from_slice(DOCUMENTED.as_bytes());
    let range = body.as_ptr_range();
    let kept = body.clone();
    let copied = RecordsAnswer::read(body).unwrap();
    assert_ne!(copied.body.as_ptr_range(), range);
    assert_eq!(kept, DOCUMENTED);
    drop(copied);
    assert_eq!(RecordsAnswer::read(kept).unwrap().body.as_ptr_range(), range);
}

#[test]
fn e1_a_record_may_have_no_partition_key() {
    for body in [
        &br#"{"Records":[{"SequenceNumber":"1","Data":""}]}"#[..],
        br#"{"Records":[{"SequenceNumber":"1","Data":"","PartitionKey":null,"ApproximateArrivalTimestamp":null}]}"#,
        b"\xa1\x67Records\x81\xa2\x6eSequenceNumber\x611\x64Data\x40",
        b"\xa1\x67Records\x81\xa3\x6eSequenceNumber\x611\x64Data\x40\x6cPartitionKey\xf6",
    ] {
        let answer = read(body).unwrap();
        let record = &answer.records[0];
        assert_eq!((record.partition_key(), record.data().len(), record.arrival_millis), (None, 0, None));
    }
}

#[test]
fn members_that_are_not_known_are_passed_over() {
    let nested = format!("{}1{}", "[".repeat(30), "]".repeat(30));
    let body = format!(
        r#" {{ "Future" : {{"a":[1,-2.5e3,true,false,null,"\u00e9\"\\"],"b":{nested}}}, "Records" : [ {{"New":"\ud83d\ude00",
            "SequenceNumber":"7","EncryptionType":"KMS","Data":"AA\/\/","Partition\u004bey":"\u00e9\ud83d\ude00\n\/"}} ] , "MillisBehindLatest":1.5e1,
            "NextShardIterator":null }} "#
    );
    let answer = read(body.as_bytes()).unwrap();
    let record = &answer.records[0];
    assert_eq!(answer.body[record.data()], [0, 15, 255]);
    assert_eq!(answer.body[record.partition_key().unwrap()], *"\u{e9}\u{1f600}\n/".as_bytes());
    assert_eq!((answer.next_shard_iterator, answer.millis_behind_latest), (None, Some(15)));

    let mut body = Vec::new();
    let mut cbor = Encoder::new(&mut body);
    cbor.begin_map().unwrap().str("Future").unwrap();
    cbor.map(2).unwrap().str("a").unwrap().f64(2.5).unwrap().i64(-3).unwrap();
    cbor.begin_array().unwrap().bool(true).unwrap().undefined().unwrap().tag(Tag::new(9)).unwrap();
    cbor.begin_bytes().unwrap().bytes(b"x").unwrap().end().unwrap().f32(1.0).unwrap().u64(u64::MAX).unwrap();
    cbor.simple(200).unwrap().end().unwrap().str("Records").unwrap().array(1).unwrap().map(3).unwrap();
    cbor.str("Data")
        .unwrap()
        .begin_bytes()
        .unwrap()
        .bytes(b"he")
        .unwrap()
        .bytes(b"y")
        .unwrap()
        .end()
        .unwrap();
    cbor.str("SequenceNumber")
        .unwrap()
        .begin_str()
        .unwrap()
        .str("4")
        .unwrap()
        .str("9")
        .unwrap()
        .end()
        .unwrap();
    cbor.str("New").unwrap().null().unwrap().end().unwrap();
    let answer = read(&body).unwrap();
    let record = &answer.records[0];
    assert_eq!((&answer.body[record.data()], record.sequence_number), (&b"hey"[..], 49_u128.into()));
}

#[test]
fn times_are_read_as_servers_write_them() {
    let time = |bytes: &[u8]| {
        let head =
            b"\xa1\x67Records\x81\xa3\x6eSequenceNumber\x611\x64Data\x40\x78\x1bApproximateArrivalTimestamp";
        read(&[head, bytes].concat()).map(|answer| answer.records[0].arrival_millis)
    };
    for (name, bytes) in [
        ("tagged milliseconds", &b"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"[..]),
        ("bare milliseconds", b"\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"),
        ("tagged seconds with a fraction", b"\xc1\xfb\x41\xd9\x54\xfc\x40\x07\xdf\x3b"),
        ("seconds with a fraction", b"\xfb\x41\xd9\x54\xfc\x40\x07\xdf\x3b"),
    ] {
        assert_eq!(time(bytes), Ok(Some(1_700_000_000_123)), "{name}");
    }
    for bytes in [&b"\x61x"[..], b"\xc1\x61x", b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xc1\xc1\x01"] {
        let error = time(bytes).unwrap_err().to_string();
        assert!(error.starts_with("`Records[0].ApproximateArrivalTimestamp`: no time at byte"), "{error}");
    }
}

#[test]
fn what_is_wrong_says_where() {
    let mut wrong = Vec::new();
    for (body, expected) in [
        (&b""[..], "the body is empty"),
        (b"<html>", "the body is HTML or XML"),
        (b"x", "the body is neither CBOR nor JSON"),
        (b"{", "the body: cut off at byte 1"),
        (b"{}", "`Records`: missing at byte 2"),
        (b"{} x", "the body: goes on after its end at byte 3"),
        (br#"{"Records":null}"#, "`Records`: expected a list at byte 11"),
        (br#"{"Records":[1]}"#, "`Records[0]`: expected an object at byte 12"),
        (br#"{"Records":[{}]}"#, "`Records[0].SequenceNumber`: missing at byte 12"),
        (br#"{"Records":[{"SequenceNumber":"1"}]}"#, "`Records[0].Data`: missing at byte 12"),
        (br#"{"Records":[{"SequenceNumber":1}]}"#, "`Records[0].SequenceNumber`: expected text at byte 30"),
        (
            br#"{"Records":[{"SequenceNumber":""}]}"#,
            "`Records[0].SequenceNumber`: no sequence number at byte 31",
        ),
        (br#"{"Records":[{"Data":null}]}"#, "`Records[0].Data`: expected text at byte 20"),
        (br#"{"Records":[{"Data":"AAA"}]}"#, "`Records[0].Data`: no base64 at byte 21"),
        (br#"{"Records":[{"Data":"AAAA}]}"#, "`Records[0].Data`: cut off at byte 28"),
        (b"{\"Records\":[{\"PartitionKey\":\"\xff\"}]}", "`Records[0].PartitionKey`: no UTF-8 at byte 29"),
        (
            br#"{"Records":[{"PartitionKey":"\ud83d"}]}"#,
            "`Records[0].PartitionKey`: half a surrogate pair at byte 29",
        ),
        (
            br#"{"Records":[{"PartitionKey":"\x"}]}"#,
            "`Records[0].PartitionKey`: an unknown escape at byte 29",
        ),
        (br#"{"Records":[],}"#, "the body: expected text at byte 14"),
        (br#"{"Records":[]"Next":1}"#, "`Records`: expected a comma at byte 13"),
        (br#"{"Records":[],"NextShardIterator":5}"#, "`NextShardIterator`: expected text at byte 34"),
        (br#"{"Records":[],"MillisBehindLatest":01}"#, "`MillisBehindLatest`: expected a number at byte 37"),
        (
            br#"{"Records":[],"MillisBehindLatest":1e30}"#,
            "`MillisBehindLatest`: a number out of range at byte 35",
        ),
        (br#"{"Records":[],"ChildShards":[{}]}"#, "`ChildShards`: no list of child shards at byte 28"),
        (b"\xa0", "`Records`: missing at byte 1"),
        (b"\xa1", "the body: cut off at byte 1"),
        (b"\xa1\x67Records\xf6", "`Records`: expected a list at byte 9"),
        (b"\xa1\x67Records\x9a\xff\xff\xff\xff", "`Records[0]`: cut off at byte 14"),
        (b"\xa1\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "`Records[0]`: cut off at byte 18"),
        (b"\xa1\x67Records\x81\xa1\x64Data\x61x", "`Records[0].Data`: expected a byte string at byte 16"),
        (
            b"\xa1\x67Records\x81\xa1\x64Data\x5b\xff\xff\xff\xff\xff\xff\xff\xffx",
            "`Records[0].Data`: cut off at byte 25",
        ),
        (b"\xa1\x67Records\x81\xa0", "`Records[0].SequenceNumber`: missing at byte 10"),
        (b"\xa1\x67Records\x80\x00", "the body: goes on after its end at byte 10"),
        (b"\xa2\x67Records\x80\x61x\xff", "the body: a break without a beginning at byte 12"),
        (b"\xa1\x1cRecords\x80", "the body: a reserved length at byte 1"),
    ] {
        let error = read(body).unwrap_err().to_string();
        if error != expected {
            wrong.push((error, expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The depth is bounded, so that no body makes the stack overflow.
    for body in [[&b"{\"x\":"[..], &[b'['; 100_000]].concat(), [&b"\xa1\x61x"[..], &[0x81; 100_000]].concat()]
    {
        assert!(read(&body).unwrap_err().to_string().contains("nested too deeply"));
    }
}

fn records() -> impl Strategy<Value = GetRecordsResponse> {
    let record = (
        any::<[u64; 3]>(),
        prop::collection::vec(any::<u8>(), 0..300),
        prop::option::of(".{0,12}"),
        prop::option::of(-9_000_000_000_000_i64..9_000_000_000_000),
    );
    let record = record.prop_map(|(limbs, data, key, arrival)| {
        let mut record = Record::new(SequenceNumber::from_limbs(limbs), data);
        record.partition_key = key.map(Into::into);
        record.approximate_arrival_timestamp = arrival.map(Timestamp::from_millis);
        record
    });
    let child = ("[a-z]{1,9}", prop::collection::vec("[a-z]{1,9}", 0..3))
        .prop_map(|(id, parents)| ChildShard::new(id, parents, HashKeyRange::new("0", "9")));
    let rest = (
        prop::option::of(".{0,40}"),
        prop::option::of(any::<i64>()),
        prop::option::of(prop::collection::vec(child, 0..3)),
    );
    (prop::collection::vec(record, 0..20), rest).prop_map(|(records, (next, behind, children))| {
        let mut answer = GetRecordsResponse::new(records);
        answer.next_shard_iterator = next;
        answer.millis_behind_latest = behind;
        answer.child_shards = children;
        answer
    })
}

proptest! {
    #[test]
    fn what_ciborium_and_serde_json_write_is_read_as_it_was(response in records()) {
        prop_assert_eq!(&as_shape(&read(&crate::cbor::encode(&response)).unwrap()), &response);
        prop_assert_eq!(&as_shape(&read(&crate::json::encode(&response)).unwrap()), &response);
        let pretty = serde_json::to_vec_pretty(&response).unwrap();
        prop_assert_eq!(&as_shape(&read(&pretty).unwrap()), &response);
    }

    /// Another encoder, with lengths that are not told and strings in pieces.
    #[test]
    fn what_minicbor_writes_is_read_as_it_was(response in records(), indefinite: bool, pieces: bool) {
        let mut body = Vec::new();
        let mut cbor = Encoder::new(&mut body);
        let write = |cbor: &mut Encoder<&mut Vec<u8>>, data: &[u8]| {
            if pieces {
                cbor.begin_bytes().unwrap();
                for piece in data.chunks(7) {
                    cbor.bytes(piece).unwrap();
                }
                cbor.end().unwrap();
            } else {
                cbor.bytes(data).unwrap();
            }
        };
        cbor.map(1).unwrap().str("Records").unwrap();
        if indefinite { cbor.begin_array().unwrap() } else { cbor.array(response.records.len() as u64).unwrap() };
        for record in &response.records {
            cbor.begin_map().unwrap().str("Data").unwrap();
            write(&mut cbor, &record.data);
            cbor.str("SequenceNumber").unwrap().str(&record.sequence_number.to_string()).unwrap();
            if let Some(key) = &record.partition_key {
                cbor.str("PartitionKey").unwrap().str(key).unwrap();
            }
            if let Some(time) = record.approximate_arrival_timestamp {
                cbor.str("ApproximateArrivalTimestamp").unwrap().tag(Tag::new(1)).unwrap().i64(time.millis()).unwrap();
            }
            cbor.end().unwrap();
        }
        if indefinite {
            cbor.end().unwrap();
        }
        prop_assert_eq!(as_shape(&read(&body).unwrap()).records, response.records);
    }

    #[test]
    fn an_event_is_read_like_an_answer(response in records()) {
        let mut event = SubscribeToShardEvent::new(response.records.clone(), 7);
        event.continuation_sequence_number = response.next_shard_iterator.clone();
        event.child_shards = response.child_shards;
        for body in [crate::cbor::encode(&event), crate::json::encode(&event)] {
            let answer = read(&body).unwrap();
            prop_assert_eq!(&answer.continuation_sequence_number, &event.continuation_sequence_number);
            prop_assert_eq!(as_shape(&answer).records, event.records.clone());
            prop_assert_eq!((answer.millis_behind_latest, answer.child_shards), (Some(7), event.child_shards.clone()));
        }
    }

    /// What is cut off is never taken for whole.
    #[test]
    fn no_part_of_an_answer_is_an_answer(response in records(), cut: prop::sample::Index) {
        for body in [crate::cbor::encode(&response), crate::json::encode(&response)] {
            prop_assert!(read(&body[..cut.index(body.len())]).is_err());
        }
    }

    #[test]
    fn random_bytes_are_no_panic(bytes: Vec<u8>, response in records(), at: prop::sample::Index, byte: u8) {
        let _ = read(&bytes);
        for mut body in [crate::cbor::encode(&response), crate::json::encode(&response)] {
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(answer) = read(&body) {
                as_shape(&answer);
            }
        }
    }
}
