//! Kinesis as pure code: requests and the time go in, answers come out.
//!
//! Nothing here waits, spawns, reads a clock or touches a socket. What takes time in the service (creating, splitting)
//! happens when a later call shows that its time has come, and is dated to that time.

mod errors;
mod lifecycle;
mod list_shards;
mod meter;
mod operations;
mod put;
mod read;
mod reshard;
mod retention;
mod sequence;
mod shard;
mod stream;
mod token;

use std::collections::BTreeMap;

use rokini_wire::{ServiceError, StreamStatus, Timestamp};

pub(crate) use operations::OperationVisitor;
pub use operations::Serve;

use crate::Settings;
use errors::{Checks, invalid, not_found};
use stream::Stream;

/// The streams of one account in one region.
///
/// Every operation is a method that takes the present time and the request. The time may be anything that grows; the
/// model keeps its promises (order within a shard above all) even if it is set back.
#[derive(Debug, Clone, Default)]
pub struct Model {
    settings: Settings,
    streams: BTreeMap<String, Stream>,
}

impl Model {
    /// An empty account.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, streams: BTreeMap::new() }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes settings. What is under way keeps the durations it began with.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    fn due(&self, now: Timestamp) -> Timestamp {
        now.plus(self.settings.status_change)
    }

    /// Begins a change, and completes it if changes take no time.
    fn begin(
        &mut self,
        now: Timestamp,
        name: &str,
        status: StreamStatus,
        change: stream::Change,
    ) -> Result<(), ServiceError> {
        let due = self.due(now);
        let stream = self.stream_named(now, name)?;
        stream.begin(status, due, change);
        self.settle(now, name);
        Ok(())
    }

    fn settle(&mut self, now: Timestamp, name: &str) {
        if self.streams.get_mut(name).is_some_and(|stream| !stream.settle(now)) {
            self.streams.remove(name);
        }
    }

    fn settle_all(&mut self, now: Timestamp) {
        self.streams.retain(|_, stream| stream.settle(now));
    }

    fn stream_named(&mut self, now: Timestamp, name: &str) -> Result<&mut Stream, ServiceError> {
        self.settle(now, name);
        let account = &self.settings.account_id;
        self.streams
            .get_mut(name)
            .ok_or_else(|| not_found(format!("Stream {name} under account {account} not found.")))
    }

    /// The stream a request means, by name, by ARN, or by both if they agree.
    fn stream(
        &mut self,
        now: Timestamp,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Result<&mut Stream, ServiceError> {
        let named = self.resolve(name, arn)?.to_owned();
        self.stream_named(now, &named)
    }

    /// A stream that takes and gives records: there since its creation was complete.
    fn stream_with_data(
        &mut self,
        now: Timestamp,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Result<&mut Stream, ServiceError> {
        let stream = self.stream(now, name, arn)?;
        if stream.status == StreamStatus::Creating {
            return Err(not_found(format!(
                "Stream {} under account {} not found.",
                stream.name, stream.account
            )));
        }
        Ok(stream)
    }

    fn resolve<'a>(&self, name: Option<&'a str>, arn: Option<&'a str>) -> Result<&'a str, ServiceError> {
        if let Some(name) = name {
            let mut checks = Checks::default();
            checks.name(name, "streamName");
            checks.done()?;
        }
        let by_arn = arn.map(|arn| self.name_in_arn(arn)).transpose()?;
        match (name, by_arn) {
            (Some(name), Some(by_arn)) if name != by_arn => Err(invalid(format!(
                "StreamName {name} and StreamARN {} do not match.",
                arn.unwrap_or_default()
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(invalid("Either StreamName or StreamARN must be specified.")),
        }
    }

    fn name_in_arn<'a>(&self, arn: &'a str) -> Result<&'a str, ServiceError> {
        let rest = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":stream/"));
        let Some((place, name)) = rest.filter(|(_, name)| !name.is_empty()) else {
            let mut checks = Checks::default();
            checks.fail(
                arn,
                "streamARN",
                r"satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
            );
            checks.done()?;
            return Err(invalid("Invalid StreamARN."));
        };
        let here = format!(":kinesis:{}:{}", self.settings.region, self.settings.account_id);
        if !place.ends_with(&here) {
            return Err(not_found(format!("Stream {arn} not found.")));
        }
        Ok(name)
    }

    fn arn_of(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{name}", self.settings.region, self.settings.account_id)
    }
}
