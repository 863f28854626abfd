//! Kinesis as pure code: requests and the time go in, answers come out.
//!
//! Nothing here waits, spawns, reads a clock or touches a socket. What takes time in the service (creating, splitting)
//! happens when a later call shows that its time has come, and is dated to that time.

mod calls;
mod consumers;
mod encryption;
mod errors;
mod lifecycle;
mod list_shards;
mod meter;
mod monitoring;
mod operations;
mod put;
mod read;
mod reshard;
mod retention;
mod scale;
mod sequence;
mod shard;
mod stream;
mod streams;
mod subject;
mod subscription;
mod tags;
mod token;

use rokini_wire::{DecodeError, ServiceError, StreamStatus, Timestamp, cbor};
use serde::{Deserialize, Serialize};

pub(crate) use operations::OperationVisitor;
pub use operations::Serve;
pub(crate) use subject::{Place, Subject};
pub use subscription::{Push, Subscription};

use crate::Settings;
use encryption::Keys;
use streams::Streams;

/// The streams of one account in one region.
///
/// Every operation is a method that takes the present time and the request. The time may be anything that grows; the
/// model keeps its promises (order within a shard above all) even if it is set back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Model {
    #[serde(skip)]
    settings: Settings,
    streams: Streams,
    keys: Keys,
    next_subscription: u64,
    #[serde(skip)]
    calls: calls::Calls,
    /// Counts changes that a subscription may be waiting for.
    version: u64,
}

impl Model {
    /// An empty account.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let streams = Streams::new(&settings.account_id, &settings.region);
        Self { settings, streams, ..Self::default() }
    }

    /// Everything but the settings, to be restored later.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// A model as it was when the snapshot was taken, under these settings. Account and region are those of the snapshot.
    ///
    /// # Errors
    /// [`DecodeError`] if this is no snapshot.
    pub fn restore(snapshot: &[u8], settings: Settings) -> Result<Self, DecodeError> {
        let model: Self = cbor::decode(snapshot)?;
        Ok(Self { settings, ..model })
    }

    /// Forgets what retention has taken from every stream.
    #[cfg(feature = "data")]
    pub(crate) fn trim_all(&mut self, now: Timestamp) {
        self.streams.settle_all(now);
        self.streams.all_mut().for_each(|stream| stream.trim(now));
    }

    /// Whether there is a stream of this name.
    pub(crate) fn has_stream(&mut self, now: Timestamp, name: &str) -> bool {
        self.streams.contains(now, name)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes settings. What is under way keeps the durations it began with; account and region are fixed from the
    /// start.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Grows with every change that can make [`Model::poll_subscription`] answer anew: records, closed shards, consumers.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    fn changed(&mut self) {
        self.version = self.version.wrapping_add(1);
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
        let stream = self.streams.named(now, name)?;
        stream.begin(status, due, change);
        self.streams.settle(now, name);
        self.changed();
        Ok(())
    }
}
