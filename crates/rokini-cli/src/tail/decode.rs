//! What records hold: compressed data, and envelopes of CloudWatch Logs with several log events each.

use std::{io, iter};

use rokini::Record;
use serde::Deserialize;

use crate::compression::{Compression, Decompress};
use crate::line::{LogOrigin, Payload};

/// MiB of one record unpacked, at most. A record of 10 MiB of text is hardly ever packed better than this.
const MOST: u64 = 128;

/// What a subscription filter of CloudWatch Logs sends, packed by gzip.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    message_type: String,
    log_group: String,
    log_stream: String,
    log_events: Vec<LogEvent>,
}

#[derive(Deserialize)]
pub(super) struct LogEvent {
    timestamp: u64,
    message: String,
}

/// What is to be shown of a record.
pub(super) enum Content {
    AsItCame,
    Unpacked(Compression, Vec<u8>),
    Log(Compression, Envelope),
}

impl Content {
    /// # Errors
    /// When it cannot be unpacked.
    pub(super) fn of(record: &Record, decompress: Decompress) -> io::Result<Self> {
        let packed = match decompress {
            Decompress::Auto => Compression::of(record.data()),
            Decompress::None => None,
        };
        let Some(compression) = packed else { return Ok(Self::AsItCame) };
        let data = compression.unpack(record.data(), MOST)?;
        Ok(match serde_json::from_slice::<Envelope>(&data) {
            Ok(envelope) if envelope.message_type == "DATA_MESSAGE" => Self::Log(compression, envelope),
            _ => Self::Unpacked(compression, data),
        })
    }

    /// One after the other, in order: a log has as many as events.
    pub(super) fn payloads<'a>(
        &'a self,
        record: &'a Record,
    ) -> Box<dyn Iterator<Item = Payload<'a>> + Send + 'a> {
        match self {
            Self::AsItCame => Box::new(iter::once(Payload::of(record))),
            Self::Unpacked(compression, data) => {
                Box::new(iter::once(Payload { data, compression: Some(compression.name()), log: None }))
            }
            Self::Log(compression, envelope) => Box::new(envelope.log_events.iter().map(|event| {
                let log = LogOrigin {
                    group: &envelope.log_group,
                    stream: &envelope.log_stream,
                    at_millis: event.timestamp,
                };
                let data = event.message.as_bytes();
                Payload { data, compression: Some(compression.name()), log: Some(log) }
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use flate2::write::GzEncoder;

    fn shown(data: &[u8], decompress: Decompress) -> (Vec<String>, bool) {
        let record = Record::new("5".parse().unwrap(), "k", data, 0);
        let content = Content::of(&record, decompress);
        let is_unpacked = content.is_ok();
        let content = content.unwrap_or(Content::AsItCame);
        let shown = content.payloads(&record).map(|payload| {
            let log = payload.log.map(|log| format!("{}/{}@{} ", log.group, log.stream, log.at_millis));
            format!("{}{}", log.unwrap_or_default(), String::from_utf8_lossy(payload.data))
        });
        (shown.collect(), is_unpacked)
    }

    fn gzip(data: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(data.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn envelopes_are_their_log_events() {
        let envelope = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/x","logStream":"s","subscriptionFilters":["f"],
            "logEvents":[{"id":"3","timestamp":1700000000000,"message":"one"},{"id":"4","timestamp":1700000000001,"message":"two\n"}]}"#;
        let (lines, _) = shown(&gzip(envelope), Decompress::Auto);
        assert_eq!(lines, ["/aws/x/s@1700000000000 one", "/aws/x/s@1700000000001 two\n"]);
        let control = envelope.replace("DATA_", "CONTROL_");
        assert_eq!(shown(&gzip(&control), Decompress::Auto).0, [control], "what is no log is shown whole");
        assert_eq!(shown(envelope.as_bytes(), Decompress::Auto).0, [envelope], "packed it has to be");
    }

    #[test]
    fn what_cannot_be_unpacked_is_shown_as_it_came() {
        let packed = gzip("text");
        assert_eq!(shown(&packed, Decompress::Auto), (vec!["text".to_owned()], true));
        let as_it_came = String::from_utf8_lossy(&packed).into_owned();
        assert_eq!(shown(&packed, Decompress::None), (vec![as_it_came], true));
        assert!(!shown(b"\x1f\x8b\x08nonsense", Decompress::Auto).1);
        assert_eq!(shown(b"plain", Decompress::Auto).0, ["plain"]);
    }
}
