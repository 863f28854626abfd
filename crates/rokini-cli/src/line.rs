//! Records as lines of standard output.

use std::io::IsTerminal;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use rokini::{Record, format_time};
use serde::Serialize;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The data as a line of text; line breaks in it become `\n` and `\r`, and on a terminal other control characters `\xNN`
    Text,
    /// A JSON object a line: shard, sequence, sub_sequence, key, arrival, data (text) or data_base64
    Json,
    /// The data as a line of hexadecimal digits
    Hex,
    /// The data's bytes, with nothing between records
    Raw,
}

/// How records are written to a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineStyle {
    pub(crate) format: Format,
    /// Whether a terminal shows it: what would steer it is made visible there.
    pub(crate) for_terminal: bool,
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) shard: &'a str,
    /// The worker and the epoch of its lease, where there is one.
    pub(crate) lease: Option<(&'a str, u64)>,
}

/// What is shown of a record's data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) data: &'a [u8],
    /// The format they were unpacked from.
    pub(crate) compression: Option<&'static str>,
    /// The log event that they are, of those that the record holds.
    pub(crate) log: Option<LogOrigin<'a>>,
}

/// Where an event of CloudWatch Logs comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOrigin<'a> {
    pub(crate) group: &'a str,
    pub(crate) stream: &'a str,
    /// When it happened, in milliseconds since the Unix epoch.
    pub(crate) at_millis: u64,
}

impl<'a> Payload<'a> {
    /// The data as they came.
    pub(crate) fn of(record: &'a Record) -> Self {
        Self { data: record.data(), compression: None, log: None }
    }
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
    compression: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl LineStyle {
    /// How standard output gets records.
    pub(crate) fn stdout(format: Format) -> Self {
        Self { format, for_terminal: std::io::stdout().is_terminal() }
    }

    /// Appends a record, or what is shown of it.
    pub(crate) fn write(self, record: &Record, payload: Payload<'_>, origin: Origin<'_>, to: &mut Vec<u8>) {
        let begin = to.len();
        match self.format {
            Format::Text => text(payload.data, self.for_terminal, to),
            Format::Json => json(record, payload, origin, to),
            Format::Hex => hex(payload.data, to),
            Format::Raw => to.extend_from_slice(payload.data),
        }
        if self.for_terminal && self.format == Format::Json {
            let line = to.split_off(begin);
            escape_json(&line, to);
        }
    }
}

/// A record is one line, whatever is in it.
fn text(data: &[u8], for_terminal: bool, to: &mut Vec<u8>) {
    if for_terminal {
        visible(data, to);
    } else {
        for byte in data {
            match byte {
                b'\n' => to.extend_from_slice(b"\\n"),
                b'\r' => to.extend_from_slice(b"\\r"),
                byte => to.push(*byte),
            }
        }
    }
    to.push(b'\n');
}

/// Text with whatever would steer a terminal written out: records come from strangers.
fn visible(data: &[u8], to: &mut Vec<u8>) {
    for chunk in data.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => to.extend_from_slice(b"\\n"),
                '\r' => to.extend_from_slice(b"\\r"),
                '\t' => to.push(b'\t'),
                '\0'..='\x1f' | '\x7f' => to.extend(format!("\\x{:02x}", u32::from(character)).into_bytes()),
                character if steers(character) => {
                    to.extend(character.escape_unicode().to_string().into_bytes());
                }
                character => to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            to.extend(format!("\\x{byte:02x}").into_bytes());
        }
    }
}

/// Beyond ASCII: the C1 controls, and those that change the direction of what is written (Unicode's Bidi_Control).
fn steers(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same JSON without what would steer a terminal: escapes of JSON in its place.
fn escape_json(line: &[u8], to: &mut Vec<u8>) {
    let line = String::from_utf8_lossy(line);
    for character in line.chars() {
        if character == '\x7f' || steers(character) {
            to.extend(format!("\\u{:04x}", u32::from(character)).into_bytes());
        } else {
            to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn hex(data: &[u8], to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in data {
        to.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    to.push(b'\n');
}

fn json(record: &Record, payload: Payload<'_>, origin: Origin<'_>, to: &mut Vec<u8>) {
    let data = std::str::from_utf8(payload.data).ok();
    let line = Json {
        worker: origin.lease.map(|(worker, _)| worker),
        shard: origin.shard,
        epoch: origin.lease.map(|(_, epoch)| epoch),
        sequence: record.sequence_number.to_string(),
        sub_sequence: record.sub_sequence_number,
        key: record.partition_key(),
        arrival: format_time(record.arrival_millis),
        compression: payload.compression,
        log_group: payload.log.map(|log| log.group),
        log_stream: payload.log.map(|log| log.stream),
        log_time: payload.log.map(|log| format_time(log.at_millis)),
        data,
        data_base64: data.is_none().then(|| STANDARD.encode(payload.data)),
    };
    // Text and numbers only: this cannot fail.
    let _ = serde_json::to_writer(&mut *to, &line);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(data: &[u8]) -> Record {
        Record::new("12345".parse().unwrap(), "k", data, 1_700_000_000_123)
    }

    fn written(format: Format, data: &[u8], lease: Option<(&str, u64)>) -> String {
        let mut record = record(data);
        record.sub_sequence_number = lease.map(|_| 7);
        let mut line = Vec::new();
        let style = LineStyle { format, for_terminal: false };
        style.write(&record, Payload::of(&record), Origin { shard: "shardId-0", lease }, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        for (format, data, line) in [
            (Format::Text, &b"hello"[..], "hello\n"),
            (Format::Text, b"", "\n"),
            (Format::Text, b"a\r\nb\n", "a\\r\\nb\\n\n"),
            (Format::Text, b"\x1b[31m", "\x1b[31m\n"),
            (Format::Hex, b"\x00\xff~", "00ff7e\n"),
            (Format::Raw, b"a\nb", "a\nb"),
        ] {
            assert_eq!(written(format, data, None), line);
        }
    }

    #[test]
    fn a_terminal_is_not_steered() {
        let shown = |format, data: &[u8]| {
            let (record, mut line) = (record(data), Vec::new());
            let style = LineStyle { format, for_terminal: true };
            style.write(&record, Payload::of(&record), Origin { shard: "s", lease: None }, &mut line);
            String::from_utf8(line).unwrap()
        };
        for (data, line) in [
            (&b"a\tgr\xc3\xbcn\n"[..], "a\tgr\u{fc}n\\n\n"),
            (b"\x1b]0;x\x07\x08\x7f", "\\x1b]0;x\\x07\\x08\\x7f\n"),
            (b"\xff\xfe", "\\xff\\xfe\n"),
            ("\u{9b}31m \u{202e}abc".as_bytes(), "\\u{9b}31m \\u{202e}abc\n"),
        ] {
            assert_eq!(shown(Format::Text, data), line);
        }
        let line = shown(Format::Json, "\u{1b}[1m\u{7f}\u{9b}\u{202e}".as_bytes());
        assert!(line.is_ascii() && !line.contains(['\u{1b}', '\u{7f}']), "{line}");
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["data"], "\u{1b}[1m\u{7f}\u{9b}\u{202e}");
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
