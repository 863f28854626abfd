//! The messages of the KCL's MultiLang protocol: one compact JSON object a line.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rokini::Record;
use rokini::lease::{Position, Progress};
use serde::Deserialize;
use serde_json::Value;

/// What is sent to the child. Also what a `status` answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Initialize,
    ProcessRecords,
    LeaseLost,
    ShardEnded,
    ShutdownRequested,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::ProcessRecords => "processRecords",
            Self::LeaseLost => "leaseLost",
            Self::ShardEnded => "shardEnded",
            Self::ShutdownRequested => "shutdownRequested",
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A position as the KCL writes it.
pub(super) fn kcl_position(position: Position) -> (String, u64) {
    match position {
        Position::TrimHorizon => ("TRIM_HORIZON".to_owned(), 0),
        Position::AtTimestamp(_) => ("AT_TIMESTAMP".to_owned(), 0),
        Position::Sequence(number, Progress::Through(sub)) => (number.to_string(), sub),
        Position::Sequence(number, _) => (number.to_string(), 0),
        Position::ShardEnd => ("SHARD_END".to_owned(), 0),
    }
}

pub(super) fn initialize(shard: &str, position: Position) -> String {
    let (sequence, sub) = kcl_position(position);
    let (shard, sequence) = (quoted(shard), quoted(&sequence));
    format!(
        "{{\"action\":\"initialize\",\"shardId\":{shard},\"sequenceNumber\":{sequence},\"subSequenceNumber\":{sub}}}\n"
    )
}

pub(super) fn process_records(records: &[Record], millis_behind_latest: Option<u64>) -> String {
    let data: usize = records.iter().map(|record| record.data().len()).sum();
    let mut line = String::with_capacity(data * 4 / 3 + records.len() * 256 + 64);
    line.push_str("{\"action\":\"processRecords\",\"records\":[");
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        line.push_str("{\"data\":\"");
        STANDARD.encode_string(record.data(), &mut line);
        // A record without a key has an empty one: every client wants text.
        let _ = write!(
            line,
            "\",\"partitionKey\":{},\"sequenceNumber\":\"{}\",\"approximateArrivalTimestamp\":{},\
             \"subSequenceNumber\":{},\"action\":\"record\"}}",
            quoted(record.partition_key().unwrap_or_default()),
            record.sequence_number,
            record.arrival_millis,
            record.sub_sequence_number.unwrap_or_default(),
        );
    }
    let behind = millis_behind_latest.map_or_else(|| "null".to_owned(), |millis| millis.to_string());
    let _ = writeln!(line, "],\"millisBehindLatest\":{behind}}}");
    line
}

/// A message without fields.
pub(super) fn bare(action: Action) -> String {
    format!("{{\"action\":\"{}\"}}\n", action.name())
}

/// The answer to a checkpoint, which says again what was asked for. `error` is the simple name of a Java class.
pub(super) fn checkpoint_answer(request: &CheckpointRequest, error: Option<&str>) -> String {
    let CheckpointRequest { sequence_number, sub_sequence_number } = request;
    let sequence = sequence_number.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let sub = sub_sequence_number.map_or_else(|| "null".to_owned(), |sub| sub.to_string());
    let error = error.map_or_else(|| "null".to_owned(), quoted);
    format!(
        "{{\"action\":\"checkpoint\",\"sequenceNumber\":{sequence},\"subSequenceNumber\":{sub},\"error\":{error}}}\n"
    )
}

/// What a child asks to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CheckpointRequest {
    pub(super) sequence_number: Option<String>,
    pub(super) sub_sequence_number: Option<i64>,
}

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Status(String),
    Checkpoint(CheckpointRequest),
}

#[derive(Deserialize)]
#[serde(tag = "action", deny_unknown_fields)]
enum Wire {
    #[serde(rename = "status", rename_all = "camelCase")]
    Status { response_for: String },
    #[serde(rename = "checkpoint", rename_all = "camelCase")]
    Checkpoint {
        #[serde(default)]
        sequence_number: Option<Value>,
        #[serde(default)]
        sub_sequence_number: Option<Value>,
        /// Some clients send the field of the answer, too.
        #[serde(default)]
        #[expect(dead_code, reason = "read so that it is no unknown field")]
        error: Option<Value>,
    },
}

/// Reads a line of a child. `None` for what is no message: it is a line of its log.
pub(super) fn read_message(line: &[u8]) -> Option<Message> {
    let line = line.trim_ascii();
    if line.first() != Some(&b'{') {
        return None;
    }
    Some(match serde_json::from_slice(line).ok()? {
        Wire::Status { response_for } => Message::Status(response_for),
        Wire::Checkpoint { sequence_number, sub_sequence_number, .. } => {
            // Java takes numbers for text and text for numbers.
            let sequence_number = match sequence_number {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text),
                Some(Value::Number(number)) => Some(number.to_string()),
                Some(_) => return None,
            };
            let sub_sequence_number = match sub_sequence_number {
                None | Some(Value::Null) => None,
                Some(Value::Number(number)) => Some(number.as_i64()?),
                Some(Value::String(text)) => Some(text.trim().parse().ok()?),
                Some(_) => return None,
            };
            Message::Checkpoint(CheckpointRequest { sequence_number, sub_sequence_number })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_messages_are_those_of_the_java_daemon() {
        assert_eq!(
            initialize("shardId-000000000000", Position::TrimHorizon),
            "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000000\",\"sequenceNumber\":\"TRIM_HORIZON\",\
             \"subSequenceNumber\":0}\n"
        );
        let mut record = Record::new(17_u128.into(), "k\"1", "hello", 1_700_000_000_123);
        record.sub_sequence_number = Some(3);
        assert_eq!(
            process_records(&[record, Record::without_key(18_u128.into(), "", 5)], Some(0)),
            "{\"action\":\"processRecords\",\"records\":[\
             {\"data\":\"aGVsbG8=\",\"partitionKey\":\"k\\\"1\",\"sequenceNumber\":\"17\",\
             \"approximateArrivalTimestamp\":1700000000123,\"subSequenceNumber\":3,\"action\":\"record\"},\
             {\"data\":\"\",\"partitionKey\":\"\",\"sequenceNumber\":\"18\",\"approximateArrivalTimestamp\":5,\
             \"subSequenceNumber\":0,\"action\":\"record\"}],\"millisBehindLatest\":0}\n"
        );
        assert!(process_records(&[], None).ends_with("\"records\":[],\"millisBehindLatest\":null}\n"));
        for (action, line) in [
            (Action::LeaseLost, "{\"action\":\"leaseLost\"}\n"),
            (Action::ShardEnded, "{\"action\":\"shardEnded\"}\n"),
            (Action::ShutdownRequested, "{\"action\":\"shutdownRequested\"}\n"),
        ] {
            assert_eq!(bare(action), line);
        }
        let asked =
            CheckpointRequest { sequence_number: Some("17".to_owned()), sub_sequence_number: Some(2) };
        assert_eq!(
            checkpoint_answer(&asked, Some("ShutdownException")),
            "{\"action\":\"checkpoint\",\"sequenceNumber\":\"17\",\"subSequenceNumber\":2,\
             \"error\":\"ShutdownException\"}\n"
        );
        assert_eq!(
            checkpoint_answer(&CheckpointRequest::default(), None),
            "{\"action\":\"checkpoint\",\"sequenceNumber\":null,\"subSequenceNumber\":null,\"error\":null}\n"
        );
    }

    #[test]
    fn m2_what_clients_write_is_read_and_what_is_no_message_is_log() {
        let checkpoint = |sequence: Option<&str>, sub| {
            let sequence_number = sequence.map(str::to_owned);
            Some(Message::Checkpoint(CheckpointRequest { sequence_number, sub_sequence_number: sub }))
        };
        for (line, message) in [
            // As kclpy writes them.
            (
                "{\"action\": \"status\", \"responseFor\": \"initialize\"}",
                Some(Message::Status("initialize".into())),
            ),
            (
                "{\"action\": \"checkpoint\", \"sequenceNumber\": \"17\", \"subSequenceNumber\": 0}",
                checkpoint(Some("17"), Some(0)),
            ),
            (
                "{\"action\": \"checkpoint\", \"sequenceNumber\": null, \"subSequenceNumber\": null}",
                checkpoint(None, None),
            ),
            // As aws-kcl for Node writes them.
            ("{\"action\":\"checkpoint\",\"sequenceNumber\":\"17\"}", checkpoint(Some("17"), None)),
            ("{\"action\":\"checkpoint\"}", checkpoint(None, None)),
            (
                "{\"action\":\"checkpoint\",\"sequenceNumber\":17,\"subSequenceNumber\":\"1\",\"error\":null}",
                checkpoint(Some("17"), Some(1)),
            ),
            ("", None),
            ("hello", None),
            ("{\"action\":\"record\"}", None),
            ("{\"action\":\"status\"}", None),
            ("{\"action\":\"status\",\"responseFor\":\"x\",\"more\":1}", None),
            ("{\"level\":\"info\"}", None),
            ("[]", None),
        ] {
            assert_eq!(read_message(line.as_bytes()), message, "{line}");
        }
    }
}
