//! Where dead letters go, as a setting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_types::SdkConfig;

use super::DeadLetterSink;
use crate::source::stream_ref::{self, StreamRef};
use crate::{ConfigKey, Error, ErrorKind};

/// Where records go that the failure policy gives up: [`ConfigKey::DeadLetter`].
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

impl fmt::Display for DeadLetterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kinesis(stream) => write!(f, "kinesis:{stream}"),
            Self::Sqs(url) => write!(f, "sqs:{url}"),
        }
    }
}

impl DeadLetterTarget {
    /// The sink it names.
    pub(crate) fn open(
        &self,
        aws: Option<&SdkConfig>,
        read: &[StreamRef],
    ) -> Result<Arc<dyn DeadLetterSink>, Error> {
        read.iter().try_for_each(|read| self.is_apart_from(read))?;
        match self {
            #[cfg(feature = "json")]
            Self::File(path) => Ok(Arc::new(super::DeadLetterFile::new(path))),
            #[cfg(feature = "json")]
            Self::Kinesis(stream) => {
                let aws = aws.ok_or_else(|| self.wrong("needs credentials: give the builder `aws`"))?;
                Ok(Arc::new(super::DeadLetterStream::new(aws, stream.clone())?))
            }
            #[cfg(feature = "sqs")]
            Self::Sqs(url) => {
                let aws = aws.ok_or_else(|| self.wrong("needs credentials: give the builder `aws`"))?;
                Ok(Arc::new(super::DeadLetterQueue::new(aws, url)?))
            }
            #[cfg(not(all(feature = "json", feature = "sqs")))]
            _ => {
                let _ = aws;
                Err(self
                    .wrong("is not in this build: enable the feature `json` or `sqs` of the crate `rokini`"))
            }
        }
    }

    /// Refuses a stream that is read as the place for dead letters.
    pub(crate) fn is_apart_from(&self, read: &StreamRef) -> Result<(), Error> {
        match self {
            Self::Kinesis(stream) if stream_ref::may_be_one(stream, read) => Err(self.wrong(&format!(
                "and `{read}`, a stream that is read, have one name: dead letters would be read and fail again; name \
                 another stream, or both by their ARNs if they are in different accounts"
            ))),
            _ => Ok(()),
        }
    }

    fn wrong(&self, why: &str) -> Error {
        Error::new(ErrorKind::Configuration, format!("`{} = {self}` {why}", ConfigKey::DeadLetter))
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

    #[test]
    fn the_stream_that_is_read_is_no_place_for_its_dead_letters() {
        const HERE: &str = "arn:aws:kinesis:eu-west-1:111111111111:stream/orders";
        const THERE: &str = "arn:aws:kinesis:eu-west-1:222222222222:stream/orders";
        for (read, target, refused) in [
            ("orders", "kinesis:orders", true),
            (HERE, "kinesis:orders", true),
            ("orders", &format!("kinesis:{HERE}"), true),
            (HERE, &format!("kinesis:{HERE}"), true),
            (HERE, &format!("kinesis:{THERE}"), false),
            ("orders", "kinesis:other", false),
            (HERE, "kinesis:other", false),
        ] {
            let streams = ["bills", read].map(|text| stream_ref::parse(text).unwrap());
            let error = parse(target).unwrap().open(None, &streams).unwrap_err().to_string();
            let expected = if refused { "a stream that is read" } else { "needs credentials" };
            assert!(error.contains(expected), "{read}: {error}");
        }
        let read = stream_ref::parse("orders").unwrap();
        assert!(parse("file:dead.jsonl").unwrap().open(None, std::slice::from_ref(&read)).is_ok());
    }
}
