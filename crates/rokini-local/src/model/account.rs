//! The model as a whole: the streams of all accounts and regions.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ServiceError, Timestamp};

use crate::model::call_rates::CallRates;
use crate::model::commitment::Commitment;
use crate::model::kms_keys::KmsKeys;
use crate::model::scope::{Scope, StreamKey};
use crate::model::stream::StreamChange;
use crate::model::streams::Streams;
use crate::settings::LocalSettings;

/// Kinesis: the streams of every account and region that calls. [`LocalSettings`] name those of callers who do not say.
///
/// Every operation is a method that takes the present time and the request; [`Model::call`] takes a request of any type and
/// also counts it against the rates of calls. The time may be anything that grows; the model keeps its promises (order within
/// a shard above all) even if it is set back.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub(super) settings: LocalSettings,
    pub(super) streams: Streams,
    pub(super) keys: KmsKeys,
    pub(super) commitments: BTreeMap<Scope, Commitment>,
    pub(super) next_subscription: u64,
    pub(super) next_queue: u64,
    pub(super) call_rates: CallRates,
    /// Counts changes that a subscription may be waiting for.
    version: u64,
}

impl Model {
    /// An empty account.
    #[must_use]
    pub fn new(settings: LocalSettings) -> Self {
        let streams = Streams::new(&settings.account_id, &settings.region);
        Self { settings, streams, ..Self::default() }
    }

    /// The account and region of callers who do not say theirs.
    pub(crate) fn home(&self) -> Scope {
        self.streams.home.clone()
    }

    /// The streams of every account and region, with their ids.
    pub(crate) fn stream_keys(&self) -> Vec<(u64, StreamKey)> {
        self.streams.all().map(|stream| (stream.id, stream.key())).collect()
    }

    /// Forgets what retention has taken from a stream, which nobody may have used for long.
    pub(crate) fn trim_stream(&mut self, now: Timestamp, key: &StreamKey) {
        if let Ok(stream) = self.streams.keyed(now, key) {
            stream.trim(now);
        }
    }

    /// Whether there is a stream of this name in the model's own account and region.
    pub(crate) fn has_stream(&mut self, now: Timestamp, name: &str) -> bool {
        let key = self.streams.key(name);
        self.streams.contains(now, &key)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &LocalSettings {
        &self.settings
    }

    /// Changes settings. What is under way keeps the durations it began with; account, region and seed are fixed from the
    /// start.
    pub fn settings_mut(&mut self) -> &mut LocalSettings {
        &mut self.settings
    }

    /// Grows with every change that can make [`Model::poll_subscription`] answer anew: records, closed shards, consumers.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn count_change(&mut self) {
        self.version = self.version.wrapping_add(1);
    }

    /// When a change that begins now is complete.
    pub(super) fn due(&self, now: Timestamp) -> Timestamp {
        now.plus(self.settings.status_change)
    }

    /// Begins a change of a stream, and completes it if changes take no time.
    pub(super) fn begin_change(
        &mut self,
        now: Timestamp,
        stream: &StreamKey,
        change: StreamChange,
    ) -> Result<EmptyResponse, ServiceError> {
        let due = self.due(now);
        self.streams.keyed(now, stream)?.begin_change(due, change);
        // Gone already where it is deleted at once.
        self.streams.contains(now, stream);
        self.count_change();
        Ok(EmptyResponse::new())
    }
}
