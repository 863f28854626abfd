//! All streams, found by what requests call them.

use std::collections::BTreeMap;

use rokini_wire::{ServiceError, StreamStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::errors::{invalid_argument, no_consumer, resource_not_found};
use crate::model::stream::Stream;
use crate::model::validation::Validator;

/// The streams of an account in a region, by name. Whoever finds one here sees what has come due.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    pub(crate) account: String,
    pub(crate) region: String,
    by_name: BTreeMap<String, Stream>,
}

impl Streams {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), by_name: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, stream: Stream) {
        self.by_name.insert(stream.name.clone(), stream);
    }

    pub(crate) fn contains(&mut self, now: Timestamp, name: &str) -> bool {
        self.apply_due_changes(now, name);
        self.by_name.contains_key(name)
    }

    /// Streams in order of their names, as of the last [`Streams::apply_all_due_changes`].
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stream> {
        self.by_name.values()
    }

    #[cfg(feature = "data")]
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.by_name.values_mut()
    }

    pub(crate) fn apply_due_changes(&mut self, now: Timestamp, name: &str) {
        if self.by_name.get_mut(name).is_some_and(|stream| !stream.apply_due_changes(now)) {
            self.by_name.remove(name);
        }
    }

    pub(crate) fn apply_all_due_changes(&mut self, now: Timestamp) {
        self.by_name.retain(|_, stream| stream.apply_due_changes(now));
    }

    pub(crate) fn named(&mut self, now: Timestamp, name: &str) -> Result<&mut Stream, ServiceError> {
        self.apply_due_changes(now, name);
        let account = &self.account;
        self.by_name
            .get_mut(name)
            .ok_or_else(|| resource_not_found(format!("Stream {name} under account {account} not found.")))
    }

    /// The stream a request means, by name, by ARN, or by both if they agree.
    pub(crate) fn find(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
    ) -> Result<&mut Stream, ServiceError> {
        let name = self.resolve(name.as_deref(), arn.as_deref())?;
        self.named(now, name)
    }

    pub(crate) fn find_by_arn(&mut self, now: Timestamp, arn: &str) -> Result<&mut Stream, ServiceError> {
        let name = self.name_in_arn(arn)?;
        self.named(now, name)
    }

    /// A stream that takes and gives records: there since its creation was complete.
    pub(crate) fn find_readable(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
    ) -> Result<&mut Stream, ServiceError> {
        let stream = self.find(now, name, arn)?;
        if stream.status == StreamStatus::Creating {
            return Err(resource_not_found(format!(
                "Stream {} under account {} not found.",
                stream.name, stream.account
            )));
        }
        Ok(stream)
    }

    /// The stream and the name of the consumer with this ARN.
    pub(crate) fn find_consumer<'a>(
        &mut self,
        now: Timestamp,
        arn: &'a str,
    ) -> Result<(&mut Stream, &'a str), ServiceError> {
        let Some((stream_arn, rest)) = arn.split_once("/consumer/") else {
            let mut validator = Validator::default();
            let rule = r"satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+";
            validator.fail(arn, "consumerARN", rule);
            return Err(validator.finish().err().unwrap_or_else(|| invalid_argument("Invalid ConsumerARN.")));
        };
        let stream = self.find_by_arn(now, stream_arn)?;
        let name = rest.split_once(':').map_or(rest, |(name, _)| name);
        // A consumer made anew under the same name has another ARN.
        if stream.consumers.get(name).is_none_or(|consumer| consumer.arn != arn) {
            return Err(no_consumer(arn));
        }
        Ok((stream, name))
    }

    fn resolve<'a>(&self, name: Option<&'a str>, arn: Option<&'a str>) -> Result<&'a str, ServiceError> {
        if let Some(name) = name {
            let mut validator = Validator::default();
            validator.name(name, "streamName");
            validator.finish()?;
        }
        let by_arn = arn.map(|arn| self.name_in_arn(arn)).transpose()?;
        match (name, by_arn) {
            (Some(name), Some(by_arn)) if name != by_arn => Err(invalid_argument(format!(
                "StreamName {name} and StreamARN {} do not match.",
                arn.unwrap_or_default()
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(invalid_argument("Either StreamName or StreamARN must be specified.")),
        }
    }

    pub(crate) fn name_in_arn<'a>(&self, arn: &'a str) -> Result<&'a str, ServiceError> {
        let rest = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":stream/"));
        let Some((prefix, name)) = rest.filter(|(_, name)| !name.is_empty()) else {
            let mut validator = Validator::default();
            let rule = r"satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+";
            validator.fail(arn, "streamARN", rule);
            return Err(validator.finish().err().unwrap_or_else(|| invalid_argument("Invalid StreamARN.")));
        };
        if !prefix.ends_with(&format!(":kinesis:{}:{}", self.region, self.account)) {
            return Err(resource_not_found(format!("Stream {arn} not found.")));
        }
        Ok(name)
    }

    pub(crate) fn arn_of(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{name}", self.region, self.account)
    }
}
