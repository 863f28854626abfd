//! The event that Lambda gives a function for records of Kinesis.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rokini::Record;

/// What Lambda takes at most: an event of 6 MB.
pub(crate) const LARGEST_EVENT: usize = 6 * 1024 * 1024;

/// What an event says of the stream that its records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSource {
    /// The ARN of the stream.
    pub stream_arn: String,
    /// Its region.
    pub region: String,
    /// The role under which it is read.
    pub invoke_identity_arn: String,
}

impl EventSource {
    /// Of a stream with this ARN, `arn:aws:kinesis:<region>:<account>:stream/<name>`.
    #[must_use]
    pub fn of_stream(stream_arn: impl Into<String>) -> Self {
        let stream_arn = stream_arn.into();
        let mut parts = stream_arn.split(':').skip(1);
        let partition = parts.next().unwrap_or("aws");
        let region = parts.nth(1).unwrap_or_default().to_owned();
        let account = parts.next().unwrap_or_default();
        let invoke_identity_arn = format!("arn:{partition}:iam::{account}:root");
        Self { region, invoke_identity_arn, stream_arn }
    }

    /// The account in the stream's ARN.
    pub(crate) fn account(&self) -> &str {
        self.stream_arn.split(':').nth(4).unwrap_or_default()
    }
}

/// Some records in a row, as one event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) records: Range<usize>,
    pub(crate) body: Vec<u8>,
}

/// Cuts records into events that are no larger than that. A record that is too large for any is an event of its own.
pub(crate) fn events<'a>(
    records: &'a [Record],
    shard: &'a str,
    source: &'a EventSource,
    largest: usize,
) -> impl Iterator<Item = Event> + 'a {
    const HEAD: &str = "{\"Records\":[";
    const TAIL: &str = "]}";
    let mut next = 0;
    let mut left_over = None;
    std::iter::from_fn(move || {
        let from = next;
        let mut body = HEAD.to_owned();
        while next < records.len() {
            let record = left_over.take().unwrap_or_else(|| record_json(&records[next], shard, source));
            if next > from && body.len() + 1 + record.len() + TAIL.len() > largest {
                left_over = Some(record);
                break;
            }
            if next > from {
                body.push(',');
            }
            body.push_str(&record);
            next += 1;
        }
        body.push_str(TAIL);
        (next > from).then(|| Event { records: from..next, body: body.into_bytes() })
    })
}

fn record_json(record: &Record, shard: &str, source: &EventSource) -> String {
    let mut json = String::with_capacity(record.data().len() * 4 / 3 + 600);
    let sequence = record.sequence_number;
    // A record without a key has an empty one: functions expect text.
    let key = quoted(record.partition_key().unwrap_or_default());
    let EventSource { stream_arn, region, invoke_identity_arn } = source;
    let (region, role, arn) = (quoted(region), quoted(invoke_identity_arn), quoted(stream_arn));
    let id = match record.sub_sequence_number {
        None => quoted(&format!("{shard}:{sequence}")),
        Some(sub) => quoted(&format!("{shard}:{sequence}.{sub}")),
    };
    let _ = write!(
        json,
        "{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":{key},\"sequenceNumber\":\"{sequence}\",\"data\":\""
    );
    STANDARD.encode_string(record.data(), &mut json);
    let _ = write!(
        json,
        "\",\"approximateArrivalTimestamp\":{}}},\"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\
         \"eventID\":{id},\"eventName\":\"aws:kinesis:record\",\"invokeIdentityArn\":{role},\"awsRegion\":{region},\
         \"eventSourceARN\":{arn}}}",
        seconds(record.arrival_millis)
    );
    json
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Seconds with the fraction they have.
fn seconds(millis: u64) -> String {
    let fraction = format!("{:03}", millis % 1_000);
    let shortest = fraction.trim_end_matches('0');
    format!("{}.{}", millis / 1_000, if shortest.is_empty() { "0" } else { shortest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> EventSource {
        let mut source =
            EventSource::of_stream("arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream");
        source.invoke_identity_arn = "arn:aws:iam::123456789012:role/lambda-role".to_owned();
        source
    }

    fn record(number: u128, data: &str) -> Record {
        Record::new(number.into(), "1", data, 1_545_084_650_987)
    }

    #[test]
    fn m3_the_event_is_the_one_that_lambda_sends() {
        // The example of AWS's documentation, without its blanks.
        let wanted = "{\"Records\":[{\"kinesis\":{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":\"1\",\
            \"sequenceNumber\":\"49590338271490256608559692538361571095921575989136588898\",\
            \"data\":\"SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==\",\"approximateArrivalTimestamp\":1545084650.987},\
            \"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\
            \"eventID\":\"shardId-000000000006:49590338271490256608559692538361571095921575989136588898\",\
            \"eventName\":\"aws:kinesis:record\",\"invokeIdentityArn\":\"arn:aws:iam::123456789012:role/lambda-role\",\
            \"awsRegion\":\"us-east-2\",\"eventSourceARN\":\"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream\"}]}";
        let number = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
        let records = [Record::new(number, "1", "Hello, this is a test.", 1_545_084_650_987)];
        let source = source();
        let events: Vec<_> = events(&records, "shardId-000000000006", &source, LARGEST_EVENT).collect();
        assert_eq!(events.len(), 1);
        assert_eq!(String::from_utf8(events[0].body.clone()).unwrap(), wanted);
    }

    #[test]
    fn m3_events_are_cut_to_size_and_nothing_is_left_out() {
        let source = source();
        let records: Vec<_> =
            (1..=7).map(|n| record(n, &"x".repeat(if n == 4 { 5_000 } else { 300 }))).collect();
        let cut: Vec<_> = events(&records, "s", &source, 2_000).collect();
        let ranges: Vec<_> = cut.iter().map(|event| event.records.clone()).collect();
        assert_eq!(ranges, [0..2, 2..3, 3..4, 4..6, 6..7]);
        for event in cut {
            assert!(event.body.len() <= 2_000 || event.records == (3..4));
            let json: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
            assert_eq!(json["Records"].as_array().unwrap().len(), event.records.len());
        }
        assert_eq!(events(&[], "s", &source, 2_000).count(), 0);
    }

    #[test]
    fn times_have_the_fraction_they_have() {
        for (millis, text) in [(1_000, "1.0"), (1_900, "1.9"), (1_090, "1.09"), (1_007, "1.007")] {
            assert_eq!(seconds(millis), text);
        }
    }
}
