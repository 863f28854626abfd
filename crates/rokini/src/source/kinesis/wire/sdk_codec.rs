//! What is read and written here, held against the SDK's own protocol for the same operations.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::DateTime;
use bytes::Bytes;
use proptest::prelude::*;
use rokini_wire::{Codec, RecordsAnswer};
use serde_json::{Value, json};

use super::RecordsProtocol;
use crate::source::testing::{response, sdk_config};

/// Answers every request so, and keeps its body.
#[derive(Debug, Clone)]
struct Canned {
    answer: String,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        *self.asked.lock().unwrap() = request.body().bytes().unwrap_or_default().to_vec();
        let answer = self.answer.clone();
        HttpConnectorFuture::new(async move { Ok(response(200, answer)) })
    }
}

fn canned(answer: &str) -> Canned {
    Canned { answer: answer.to_owned(), asked: Arc::default() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The answer as the SDK reads it.
fn by_sdk(body: &str) -> GetRecordsOutput {
    let client = Client::from_conf(Builder::from(&sdk_config(canned(body))).build());
    block_on(client.get_records().shard_iterator("i").send()).unwrap()
}

/// A record as both have it: number, data, key, time of arrival in milliseconds.
type Plain = (String, Vec<u8>, Option<String>, Option<i64>);

fn records_by_sdk(output: &GetRecordsOutput) -> Vec<Plain> {
    let records = output.records().iter().map(|record| {
        // It takes the seconds for a binary fraction, and `to_millis` cuts off what that lacks of the next millisecond.
        let millis = |time: &DateTime| (time.as_secs_f64() * 1_000.0).round() as i64;
        let arrival = record.approximate_arrival_timestamp().map(millis);
        let key = record.partition_key().map(str::to_owned);
        (record.sequence_number().to_owned(), record.data().as_ref().to_vec(), key, arrival)
    });
    records.collect()
}

fn records_here(answer: &RecordsAnswer) -> Vec<Plain> {
    let records = answer.records.iter().map(|record| {
        let key = record.partition_key().map(|key| String::from_utf8(answer.body[key].to_vec()).unwrap());
        let data = answer.body[record.data()].to_vec();
        (record.sequence_number.to_string(), data, key, record.arrival_millis)
    });
    records.collect()
}

fn optional<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

/// A record in JSON, with members that nobody knows.
fn record() -> impl Strategy<Value = Value> {
    let number = "[1-9][0-9]{0,37}";
    let data = proptest::collection::vec(any::<u8>(), 0..80);
    (number, data, optional(".{0,20}"), optional(0..4_000_000_000_000_i64), any::<bool>()).prop_map(
        |(number, data, key, arrival, more)| {
            let mut record =
                json!({ "SequenceNumber": number, "Data": aws_smithy_types::base64::encode(data) });
            if let Some(key) = key {
                record["PartitionKey"] = json!(key);
            }
            if let Some(arrival) = arrival {
                record["ApproximateArrivalTimestamp"] = json!(arrival as f64 / 1_000.0);
            }
            if more {
                record["EncryptionType"] = json!("KMS");
                record["Future"] = json!([1, { "a": null, "b": "\u{1f600}\"" }, 2.5e-3]);
            }
            record
        },
    )
}

fn answer() -> impl Strategy<Value = Value> {
    let child = ("shardId-[0-9]{12}", "[0-9]{1,39}").prop_map(|(shard, start)| {
        json!({ "ShardId": shard, "ParentShards": ["shardId-000000000000"],
                "HashKeyRange": { "StartingHashKey": start, "EndingHashKey": "340282366920938463463374607431768211455" } })
    });
    (
        proptest::collection::vec(record(), 0..20),
        optional("[ -~]{1,60}"),
        optional(0..86_400_000_000_i64),
        optional(proptest::collection::vec(child, 0..3)),
    )
        .prop_map(|(records, iterator, behind, children)| {
            let mut answer = json!({ "Records": records, "Future": { "Records": [1] } });
            for (name, value) in [
                ("NextShardIterator", json!(iterator)),
                ("MillisBehindLatest", json!(behind)),
                ("ChildShards", json!(children)),
            ] {
                if !value.is_null() {
                    answer[name] = value;
                }
            }
            answer
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn p11_answers_are_read_as_the_sdk_reads_them(answer in answer(), pretty in any::<bool>()) {
        let body = if pretty { format!("{answer:#}") } else { answer.to_string() };
        let (theirs, ours) = (by_sdk(&body), RecordsAnswer::read(Bytes::from(body)).unwrap());
        prop_assert_eq!(records_here(&ours), records_by_sdk(&theirs));
        prop_assert_eq!(ours.next_shard_iterator.as_deref(), theirs.next_shard_iterator());
        prop_assert_eq!(ours.millis_behind_latest, theirs.millis_behind_latest());
        let ours = ours.child_shards.unwrap_or_default();
        prop_assert_eq!(ours.len(), theirs.child_shards().len());
        for (ours, theirs) in ours.iter().zip(theirs.child_shards()) {
            prop_assert_eq!(&ours.shard_id, theirs.shard_id());
            prop_assert_eq!(&ours.parent_shards, theirs.parent_shards());
            let range = theirs.hash_key_range().unwrap();
            prop_assert_eq!(&ours.hash_key_range.starting_hash_key, range.starting_hash_key());
            prop_assert_eq!(&ours.hash_key_range.ending_hash_key, range.ending_hash_key());
        }
    }

    #[test]
    fn p11_requests_are_written_as_the_sdk_writes_them(
        iterator in "[ -~]{1,200}",
        limit in optional(any::<i32>()),
        arn in optional("arn:[ -~]{1,40}"),
    ) {
        let said = |config: fn(Builder) -> Builder| {
            let canned = canned(r#"{"Records":[]}"#);
            let client = Client::from_conf(config(Builder::from(&sdk_config(canned.clone()))).build());
            let call = client.get_records().shard_iterator(&iterator).set_limit(limit).set_stream_arn(arn.clone());
            // Only what is asked counts.
            let _ = block_on(call.send());
            std::mem::take(&mut *canned.asked.lock().unwrap())
        };
        let theirs: Value = serde_json::from_slice(&said(|config| config)).unwrap();
        let json = said(|config| config.protocol(RecordsProtocol(Codec::Json)));
        prop_assert_eq!(&serde_json::from_slice::<Value>(&json).unwrap(), &theirs);
        let cbor = said(|config| config.protocol(RecordsProtocol(Codec::Cbor)));
        prop_assert_eq!(&ciborium::from_reader::<Value, _>(&cbor[..]).unwrap(), &theirs);
    }

    #[test]
    fn p11_subscriptions_are_asked_for_as_the_sdk_asks(
        kind in proptest::sample::select(vec!["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST"]),
        number in optional("[0-9]{1,40}"),
        millis in optional(0..4_000_000_000_000_i64),
    ) {
        let said = |config: fn(Builder) -> Builder| {
            let canned = canned("");
            let client = Client::from_conf(config(Builder::from(&sdk_config(canned.clone()))).build());
            let position = StartingPosition::builder()
                .r#type(ShardIteratorType::from(kind))
                .set_sequence_number(number.clone())
                .set_timestamp(millis.map(DateTime::from_millis))
                .build()
                .unwrap();
            let call = client.subscribe_to_shard().consumer_arn("arn").shard_id("s").starting_position(position);
            let _ = block_on(call.send());
            std::mem::take(&mut *canned.asked.lock().unwrap())
        };
        let theirs: Value = serde_json::from_slice(&said(|config| config)).unwrap();
        let ours = said(|config| config.protocol(RecordsProtocol(Codec::Json)));
        prop_assert_eq!(serde_json::from_slice::<Value>(&ours).unwrap(), theirs);
    }
}
