//! Records as lines of standard output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use rokini::{Record, format_time};
use serde::Serialize;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The data as a line of text; line breaks in it become `\n` and `\r`
    Text,
    /// A JSON object a line: shard, sequence, sub_sequence, key, arrival, data (text) or data_base64
    Json,
    /// The data as a line of hexadecimal digits
    Hex,
    /// The data's bytes, with nothing between records
    Raw,
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) shard: &'a str,
    /// The worker and the epoch of its lease, where there is one.
    pub(crate) lease: Option<(&'a str, u64)>,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    shard: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    sequence: String,
    sub_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    arrival: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl Format {
    /// Appends a record.
    pub(crate) fn write(self, record: &Record, origin: Origin<'_>, to: &mut Vec<u8>) {
        match self {
            Self::Text => text(record.data(), to),
            Self::Json => json(record, origin, to),
            Self::Hex => hex(record.data(), to),
            Self::Raw => to.extend_from_slice(record.data()),
        }
    }
}

fn text(data: &[u8], to: &mut Vec<u8>) {
    // A record is one line, whatever is in it.
    for byte in data {
        match byte {
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            byte => to.push(*byte),
        }
    }
    to.push(b'\n');
}

fn hex(data: &[u8], to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in data {
        to.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    to.push(b'\n');
}

fn json(record: &Record, origin: Origin<'_>, to: &mut Vec<u8>) {
    let data = std::str::from_utf8(record.data()).ok();
    let line = Json {
        worker: origin.lease.map(|(worker, _)| worker),
        shard: origin.shard,
        epoch: origin.lease.map(|(_, epoch)| epoch),
        sequence: record.sequence_number.to_string(),
        sub_sequence: record.sub_sequence_number,
        key: record.partition_key(),
        arrival: format_time(record.arrival_millis),
        data,
        data_base64: data.is_none().then(|| STANDARD.encode(record.data())),
    };
    // Text and numbers only: this cannot fail.
    let _ = serde_json::to_writer(&mut *to, &line);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, data: &[u8], lease: Option<(&str, u64)>) -> String {
        let mut record = Record::new("12345".parse().unwrap(), "k", data, 1_700_000_000_123);
        record.sub_sequence_number = lease.map(|_| 7);
        let mut line = Vec::new();
        format.write(&record, Origin { shard: "shardId-0", lease }, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        for (format, data, line) in [
            (Format::Text, &b"hello"[..], "hello\n"),
            (Format::Text, b"", "\n"),
            (Format::Text, b"a\r\nb\n", "a\\r\\nb\\n\n"),
            (Format::Hex, b"\x00\xff~", "00ff7e\n"),
            (Format::Raw, b"a\nb", "a\nb"),
        ] {
            assert_eq!(written(format, data, None), line);
        }
    }

    #[test]
    fn json_has_text_as_text_and_anything_else_in_base64() {
        assert_eq!(
            written(Format::Json, "gr\u{fc}n\n".as_bytes(), Some(("w1", 3))),
            "{\"worker\":\"w1\",\"shard\":\"shardId-0\",\"epoch\":3,\"sequence\":\"12345\",\"sub_sequence\":7,\
             \"key\":\"k\",\"arrival\":\"2023-11-14T22:13:20.123Z\",\"data\":\"gr\u{fc}n\\n\"}\n"
        );
        assert_eq!(
            written(Format::Json, b"\xff\xfe", None),
            "{\"shard\":\"shardId-0\",\"sequence\":\"12345\",\"sub_sequence\":null,\"key\":\"k\",\
             \"arrival\":\"2023-11-14T22:13:20.123Z\",\"data_base64\":\"//4=\"}\n"
        );
    }
}
