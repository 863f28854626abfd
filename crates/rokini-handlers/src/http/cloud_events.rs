//! Records as CloudEvents 1.0, over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::HeaderName;
use rokini::{Batch, Record, format_time};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::push::{HttpFormat, Push};
use crate::batch_event::kinesis_event::{EventSource, LARGEST_EVENT};

const TYPE: &str = "aws.kinesis.record";

/// The attributes of a record's event. `partitionkey` is that of the CloudEvents extension for partitioning, `sequence` that
/// of the one for sequences.
fn attributes(batch: &Batch, record: &Record, source: &EventSource) -> Vec<(&'static str, String)> {
    let shard = batch.shard().shard_id();
    let sequence = record.sequence_number;
    let id = match record.sub_sequence_number {
        Some(sub) => format!("{shard}:{sequence}.{sub}"),
        None => format!("{shard}:{sequence}"),
    };
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", id),
        ("source", source.stream_arn.clone()),
        ("type", TYPE.to_owned()),
        ("subject", shard.to_string()),
        ("time", format_time(record.arrival_millis)),
        ("datacontenttype", content_type(record.data()).to_owned()),
    ];
    if let Some(key) = record.partition_key() {
        attributes.push(("partitionkey", key.to_owned()));
    }
    attributes.push(("sequence", sequence.to_string()));
    attributes
}

fn content_type(data: &[u8]) -> &'static str {
    match serde_json::from_slice::<serde::de::IgnoredAny>(data) {
        Ok(_) => "application/json",
        Err(_) => "application/octet-stream",
    }
}

/// In the JSON format: JSON as it is, all else in base64.
fn structured(batch: &Batch, record: &Record, source: &EventSource) -> String {
    let attributes = attributes(batch, record, source).into_iter();
    let attributes: Map<String, Value> =
        attributes.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    with_data(attributes, record.data())
}

fn with_data(attributes: Map<String, Value>, data: &[u8]) -> String {
    // There is an attribute, so a comma follows.
    let mut event = Value::Object(attributes).to_string();
    event.truncate(event.len() - 1);
    match serde_json::from_slice::<&RawValue>(data) {
        // To the byte: a number may have more digits than a number of any program has.
        Ok(data) => event.push_str(&format!(",\"data\":{data}}}")),
        Err(_) => event.push_str(&format!(",\"data_base64\":\"{}\"}}", STANDARD.encode(data))),
    }
    event
}

/// The next request for a batch of which so many records are done.
pub(super) fn next<'a>(
    batch: &'a Batch,
    done: usize,
    per_request: usize,
    format: HttpFormat,
    source: &EventSource,
) -> Push<'a> {
    let rest = &batch.records()[done..];
    match format {
        HttpFormat::CloudEventsBinary => {
            let records = &rest[..1];
            let attributes = attributes(batch, &rest[0], source);
            let content_type = content_type(rest[0].data());
            let named = attributes.into_iter().filter(|(name, _)| *name != "datacontenttype");
            let headers = named.filter_map(|(name, value)| {
                Some((HeaderName::try_from(format!("ce-{name}")).ok()?, percent_encoded(&value)))
            });
            Push { content_type, headers: headers.collect(), body: rest[0].data_bytes(), records }
        }
        HttpFormat::CloudEventsBatch => {
            let (mut body, mut taken) = (b"[".to_vec(), 0);
            for record in rest.iter().take(per_request) {
                let event = structured(batch, record, source);
                if taken > 0 && body.len() + event.len() + 2 > LARGEST_EVENT {
                    break;
                }
                if taken > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(event.as_bytes());
                taken += 1;
            }
            body.push(b']');
            let content_type = "application/cloudevents-batch+json; charset=UTF-8";
            Push { content_type, headers: Vec::new(), body: body.into(), records: &rest[..taken] }
        }
        HttpFormat::CloudEventsStructured | HttpFormat::Lambda => {
            let body = Bytes::from(structured(batch, &rest[0], source));
            let content_type = "application/cloudevents+json; charset=UTF-8";
            Push { content_type, headers: Vec::new(), body, records: &rest[..1] }
        }
    }
}

/// As CloudEvents has header values: blanks, quotes, percent signs and all that is not printable ASCII as percent
/// sequences.
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'!' | b'#'..=b'$' | b'&'..=b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_encoded_as_cloud_events_wants_it() {
        assert_eq!(percent_encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(percent_encoded("a\"b%c/d:1"), "a%22b%25c/d:1");
    }

    #[test]
    fn data_are_handed_on_to_the_byte() {
        let event =
            |data: &str| with_data(Map::from_iter([("id".to_owned(), Value::from("1"))]), data.as_bytes());
        assert_eq!(
            event("{\"b\": 12345678901234567890123.0, \"a\":1e400}"),
            "{\"id\":\"1\",\"data\":{\"b\": 12345678901234567890123.0, \"a\":1e400}}"
        );
        assert_eq!(event("hello"), "{\"id\":\"1\",\"data_base64\":\"aGVsbG8=\"}");
        assert_eq!(event(""), "{\"id\":\"1\",\"data_base64\":\"\"}");
    }

    #[test]
    fn data_are_json_or_not() {
        for (data, wanted) in [
            ("{\"a\":1}", "application/json"),
            ("17", "application/json"),
            ("hello", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(data.as_bytes()), wanted, "{data}");
        }
    }
}
