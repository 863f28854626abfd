//! The sink that a setting names.

use std::sync::Arc;

#[cfg(feature = "json")]
use super::file::DeadLetterFile;
#[cfg(feature = "sqs")]
use super::queue::DeadLetterQueue;
use super::sink::DeadLetterSink;
#[cfg(all(feature = "aws", feature = "json"))]
use super::stream::DeadLetterStream;
use crate::aws::SdkConfig;
use crate::config::ConfigKey;
use crate::types::dead_letter_target::DeadLetterTarget;
use crate::types::error::Error;
use crate::types::stream_ref::{self, StreamRef};

impl DeadLetterTarget {
    /// The sink it names. `read`: the streams that are read, none of which it may be.
    pub(crate) fn sink(
        &self,
        aws: Option<&SdkConfig>,
        read: &[StreamRef],
    ) -> Result<Arc<dyn DeadLetterSink>, Error> {
        read.iter().try_for_each(|read| self.is_apart_from(read))?;
        match self {
            #[cfg(feature = "json")]
            Self::File(path) => Ok(Arc::new(DeadLetterFile::new(path))),
            #[cfg(all(feature = "aws", feature = "json"))]
            Self::Kinesis(stream) => {
                let aws = aws.ok_or_else(|| self.wrong("needs credentials: give the builder `aws`"))?;
                Ok(Arc::new(DeadLetterStream::new(aws, stream.clone())?))
            }
            #[cfg(feature = "sqs")]
            Self::Sqs(url) => {
                let aws = aws.ok_or_else(|| self.wrong("needs credentials: give the builder `aws`"))?;
                Ok(Arc::new(DeadLetterQueue::new(aws, url)?))
            }
            #[cfg(not(all(feature = "json", feature = "sqs")))]
            _ => {
                let _ = aws;
                Err(self.wrong(
                    "is not in this build: enable the features `aws`, `json` or `sqs` of the crate `rokini`",
                ))
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
        Error::configuration(format!("`{} = {self}` {why}", ConfigKey::DeadLetter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::dead_letter_target::parse;

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
            let error = parse(target).unwrap().sink(None, &streams).unwrap_err().to_string();
            let expected = if refused { "a stream that is read" } else { "needs credentials" };
            assert!(error.contains(expected), "{read}: {error}");
        }
        let read = stream_ref::parse("orders").unwrap();
        assert!(parse("file:dead.jsonl").unwrap().sink(None, std::slice::from_ref(&read)).is_ok());
    }
}
