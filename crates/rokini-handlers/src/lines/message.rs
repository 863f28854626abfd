//! The lines between this process and one with user code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rokini::{Batch, Record, format_time};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct RecordLine<'a> {
    token: u64,
    shard: &'a str,
    epoch: u64,
    sequence: String,
    sub_sequence: Option<u64>,
    key: Option<&'a str>,
    arrival: String,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Appends the line of a record.
pub(super) fn write_record(token: u64, record: &Record, batch: &Batch, to: &mut Vec<u8>) {
    let data = std::str::from_utf8(record.data()).ok();
    let line = RecordLine {
        token,
        shard: batch.shard().shard_id().as_str(),
        epoch: batch.epoch().0,
        sequence: record.sequence_number.to_string(),
        sub_sequence: record.sub_sequence_number,
        key: record.partition_key(),
        arrival: format_time(record.arrival_millis),
        attempt: batch.attempt(),
        data,
        data_base64: data.is_none().then(|| STANDARD.encode(record.data())),
    };
    // Text and numbers only: this cannot fail.
    let _ = serde_json::to_writer(&mut *to, &line);
    to.push(b'\n');
}

/// What a program says of records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These are done.
    Ack(Vec<u64>),
    /// This one, and all that this process got before it, are done.
    AckThrough(u64),
    /// These are not done, and come again.
    Fail(Vec<u64>, String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(u64),
    Several(Vec<u64>),
}

impl From<Tokens> for Vec<u64> {
    fn from(tokens: Tokens) -> Self {
        match tokens {
            Tokens::One(token) => vec![token],
            Tokens::Several(tokens) => tokens,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerLine {
    ack: Option<Tokens>,
    ack_through: Option<u64>,
    fail: Option<Tokens>,
    error: Option<String>,
}

/// Reads a line of a program. `None` for what is no answer.
pub(super) fn read_answer(line: &[u8]) -> Option<Answer> {
    let line = line.trim_ascii();
    match line.first()? {
        // A bare number is the shortest answer, for shell scripts.
        b'0'..=b'9' => std::str::from_utf8(line).ok()?.parse().ok().map(|token| Answer::Ack(vec![token])),
        b'{' => match serde_json::from_slice(line).ok()? {
            AnswerLine { ack: Some(tokens), ack_through: None, fail: None, error: None } => {
                Some(Answer::Ack(tokens.into()))
            }
            AnswerLine { ack: None, ack_through: Some(token), fail: None, error: None } => {
                Some(Answer::AckThrough(token))
            }
            AnswerLine { ack: None, ack_through: None, fail: Some(tokens), error } => {
                let error = error.unwrap_or_else(|| "the program failed the record".to_owned());
                Some(Answer::Fail(tokens.into(), error))
            }
            AnswerLine { .. } => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_everything_else_is_none() {
        for (line, answer) in [
            ("17", Some(Answer::Ack(vec![17]))),
            (" 17 ", Some(Answer::Ack(vec![17]))),
            (r#"{"ack": 3}"#, Some(Answer::Ack(vec![3]))),
            (r#"{"ack": [3, 1]}"#, Some(Answer::Ack(vec![3, 1]))),
            (r#"{"ack_through": 9}"#, Some(Answer::AckThrough(9))),
            (
                r#"{"fail": 4, "error": "no such customer"}"#,
                Some(Answer::Fail(vec![4], "no such customer".into())),
            ),
            (r#"{"fail": [4]}"#, Some(Answer::Fail(vec![4], "the program failed the record".into()))),
            ("", None),
            ("17 done", None),
            ("-1", None),
            ("99999999999999999999999", None),
            ("{}", None),
            (r#"{"ack": 3, "fail": 4}"#, None),
            (r#"{"ack": 3, "error": "x"}"#, None),
            (r#"{"level":"info","message":"ack"}"#, None),
            ("done 17", None),
        ] {
            assert_eq!(read_answer(line.as_bytes()), answer, "{line}");
        }
    }
}
