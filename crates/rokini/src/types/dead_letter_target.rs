//! Where dead letters go, as a setting.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::types::error::Error;
use crate::types::stream_ref::{self, StreamRef};

/// Where records go that the failure policy gives up: [`ConfigKey::DeadLetter`](crate::ConfigKey::DeadLetter).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterTarget {
    /// A file on this host: `file:<path>`.
    File(PathBuf),
    /// Another stream, in the region and with the credentials of the one that is read: `kinesis:<name or ARN>`.
    Kinesis(StreamRef),
    /// A queue, with the same credentials: `sqs:<URL>`.
    Sqs(String),
}

pub(crate) const ACCEPTED: &str = "`file:` and a path, `kinesis:` and the name or ARN of a stream, or `sqs:` and the \
     URL of a queue";

pub(crate) fn parse(text: &str) -> Option<DeadLetterTarget> {
    match text.split_once(':')? {
        (_, "") => None,
        ("file", path) => Some(DeadLetterTarget::File(path.into())),
        ("kinesis", stream) => stream_ref::parse(stream).map(DeadLetterTarget::Kinesis),
        ("sqs", url) => Some(DeadLetterTarget::Sqs(url.to_owned())),
        _ => None,
    }
}

impl FromStr for DeadLetterTarget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(160).collect();
            let message = format!("not a place for dead letters: expected {ACCEPTED}, got `{shown}`");
            Error::configuration(message)
        })
    }
}

impl fmt::Display for DeadLetterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kinesis(stream) => write!(f, "kinesis:{stream}"),
            Self::Sqs(url) => write!(f, "sqs:{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in [
            "file:/var/lib/rokini/dead.jsonl",
            "file:dead:letters.jsonl",
            "kinesis:orders-dead",
            "kinesis:arn:aws:kinesis:eu-west-1:123456789012:stream/orders-dead",
            "sqs:https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
        ] {
            assert_eq!(parse(text).map(|target| target.to_string()).as_deref(), Some(text));
        }
        for text in ["", "file:", "dead.jsonl", "kinesis:a b", "s3:bucket", "sqs:"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
