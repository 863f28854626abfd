//! The seam between delivery and the place where records come from.

use std::fmt;

use async_trait::async_trait;
use rokini_lease::{HashRange, Position, ShardId, StreamId};

use crate::source::stream_identity::is_same;
use crate::types::error::Error;
use crate::types::record::Record;
use crate::types::stream_ref::StreamRef;

/// A stream to read. `KinesisSource` reads Amazon Kinesis; the simulation and tests bring their own.
#[async_trait]
pub trait StreamSource: fmt::Debug + Send + Sync + 'static {
    /// What the stream is. Also says what time it is there.
    async fn describe(&self) -> Result<StreamDescription, Error>;

    /// By which name or ARN it reads the stream. `None`, the default, where it has neither. A consumer refuses two
    /// sources of one name that differ in this.
    fn reference(&self) -> Option<&StreamRef> {
        None
    }

    /// The time at the stream, in milliseconds since the Unix epoch, as its answers told it last: never later than it
    /// is. `None`, the default, where nothing tells it: the host's clock counts then.
    fn now_millis(&self) -> Option<u64> {
        None
    }

    /// Whether the stream places records by the hash of their keys, as it said last. `true`, the default, but for streams
    /// that spread records by themselves.
    fn places_by_hash(&self) -> bool {
        true
    }

    /// Lists shards, whole.
    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error>;

    /// Opens a reader of one shard at a position. Makes no promise that the shard exists until the first read. At
    /// [`Progress::Through`](crate::lease::Progress::Through) it begins with that stream record: the consumer passes over
    /// its user records that are done.
    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error>;

    /// Enhanced fan-out, where the source has it. `None`, the default, where it has not.
    fn fan_out(&self) -> Option<&dyn FanOut> {
        None
    }
}

/// Enhanced fan-out: the stream pushes to consumers that are registered with it.
#[async_trait]
pub trait FanOut: fmt::Debug + Send + Sync {
    /// The consumer of this name; `None` where the stream has none.
    async fn find_consumer(&self, name: &str) -> Result<Option<RegisteredConsumer>, Error>;

    /// Registers a consumer, which is billed from then on. One of this name that is there already is returned as it is.
    async fn register_consumer(
        &self,
        name: &str,
        tags: &[(String, String)],
    ) -> Result<RegisteredConsumer, Error>;

    /// Takes a registration back. One that is not there is none to take back: `false`.
    async fn deregister_consumer(&self, name: &str) -> Result<bool, Error>;

    /// As [`StreamSource::open`], for the consumer with this ARN. The reader goes on by other means while it cannot have a
    /// subscription, and says so by [`ReadResponse::notice`].
    async fn subscribe(
        &self,
        shard: &ShardId,
        at: &Position,
        consumer: &str,
    ) -> Result<Box<dyn ShardReader>, Error>;
}

/// A consumer that is registered with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredConsumer {
    /// Its ARN.
    pub arn: String,
    /// Whether it is being made, can be used, or is being removed.
    pub state: ConsumerState,
}

impl RegisteredConsumer {
    /// The consumer of this ARN, in this state.
    #[must_use]
    pub fn new(arn: impl Into<String>, state: ConsumerState) -> Self {
        Self { arn: arn.into(), state }
    }
}

/// The state of a registered consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerState {
    /// It is being made.
    Creating,
    /// It can be used.
    Active,
    /// It is being removed.
    Deleting,
}

/// Reads one shard, in order.
#[async_trait]
pub trait ShardReader: Send + fmt::Debug {
    /// Waits until the stream's limits and the schedule let [`ShardReader::next`] ask at once. Default: at once. What
    /// `next` brings takes room in `memory_budget` from here on, so a reader that waits does so here. Cancel safe.
    async fn ready(&mut self) {}

    /// How many bytes of memory the next answer takes, where [`ReadResponse`]s are announced before they are here. Default:
    /// not known.
    fn next_size(&self) -> Option<usize> {
        None
    }

    /// What became of subscriptions since the last call, where the stream pushes. Default: nothing.
    fn take_subscriptions(&mut self) -> SubscriptionCounts {
        SubscriptionCounts::default()
    }

    /// Nothing is asked of the reader for a while: it gives up what it holds with the stream. It keeps its place.
    fn rest(&mut self) {}

    /// The next answer should take about so many bytes of memory at most: data, keys, and some 200 bytes a record. Default:
    /// nothing changes, and an answer that is larger takes more of `memory_budget` than it was given. A single record is
    /// returned whatever its size.
    fn read_at_most(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// The next records; waits as long as the stream's limits and the schedule want, and may return none.
    ///
    /// The reader keeps its place: after an error the next call goes on after the last record returned, and waits
    /// by itself as long as that error asks for. It is cancel safe: a dropped call returns its records again with
    /// the next one. Not to be called again after the end.
    async fn next(&mut self) -> Result<ReadResponse, Error>;
}

/// What became of subscriptions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionCounts {
    /// Those that began.
    pub begun: u64,
    /// Those that could not be had because there was another one of the consumer (`ResourceInUse`).
    pub in_use: u64,
}

/// What one read brought.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ReadResponse {
    /// The records, in order.
    pub records: Vec<Record>,
    /// How far the end of these records is behind the tip of the shard, in milliseconds. 0 at the tip.
    pub millis_behind_latest: u64,
    /// Set once, when a closed shard has no more records after these.
    pub end: Option<ShardEnd>,
    /// How long the stream took to answer, without the pause before; `None` where the source does not know.
    pub took: Option<std::time::Duration>,
    /// What the source found out, for an event.
    pub notice: Option<SourceEvent>,
    /// Up to where the shard is read with these records, where that is known beyond the last of them: nothing lies in
    /// between.
    pub read_to: Option<Position>,
}

impl ReadResponse {
    /// These records, so far behind the tip of the shard, in milliseconds; everything else as by default.
    #[must_use]
    pub fn new(records: Vec<Record>, millis_behind_latest: u64) -> Self {
        Self { records, millis_behind_latest, ..Self::default() }
    }
}

/// What a source found out about its stream or endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// The endpoint does not take CBOR: records are asked for in JSON from now on.
    AskedInJson {
        /// What it answered to CBOR.
        reason: String,
    },
    /// The endpoint takes CBOR again.
    AskedInCbor,
    /// An answer ended the shard, which the stream lists as open: it is read on.
    EndRefuted,
    /// The shard's records are pushed from now on.
    Subscribed,
    /// A subscription cannot be had just now, as it happens after another one: the shard is polled meanwhile.
    SubscriptionWaits {
        /// Why.
        reason: String,
    },
    /// A subscription cannot be had: the shard is polled until it can.
    SubscriptionRefused {
        /// Why.
        reason: String,
    },
    /// The consumer is not registered with the stream any more: the shard is polled.
    ConsumerGone,
}

/// The end of a closed shard.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ShardEnd {
    /// The shards that came from it. Empty where the stream did not say: ask the listing then.
    pub children: Vec<ShardDescription>,
}

impl ShardEnd {
    /// The end of a shard from which these came.
    #[must_use]
    pub fn new(children: Vec<ShardDescription>) -> Self {
        Self { children }
    }
}

/// A stream as it stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamDescription {
    /// The name.
    pub name: String,
    /// The name with the time of creation: `<name>@<milliseconds>`.
    pub id: StreamId,
    /// The time at the stream, in milliseconds since the Unix epoch, never later than it is.
    pub now_millis: u64,
    /// How long the stream keeps records.
    pub retention: std::time::Duration,
    /// Whether the stream is paid for by what passes through it, not by its shards. `false` where that is not known.
    pub on_demand: bool,
}

impl StreamDescription {
    /// The stream of this name and [`id`](Self::id), by its clock and with its retention.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        id: StreamId,
        now_millis: u64,
        retention: std::time::Duration,
    ) -> Self {
        Self { name: name.into(), id, now_millis, retention, on_demand: false }
    }

    /// Whether this is the stream of that id, and not one that was made again under its name. The time of creation in an id
    /// is exact to the second only: the service tells it with more or fewer digits.
    #[must_use]
    pub fn is(&self, id: &StreamId) -> bool {
        is_same(&self.id, id)
    }
}

/// A shard as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardDescription {
    /// Its id.
    pub id: ShardId,
    /// The shards it came from: none, one (split) or two (merge).
    pub parents: Vec<ShardId>,
    /// The partition-key hashes it takes.
    pub hash_range: Option<HashRange>,
    /// Whether it takes no more records.
    pub closed: bool,
}

impl ShardDescription {
    /// An open shard that came from these, whose hash range is not known.
    #[must_use]
    pub fn new(id: ShardId, parents: Vec<ShardId>) -> Self {
        Self { id, parents, hash_range: None, closed: false }
    }

    /// With the partition-key hashes it takes.
    #[must_use]
    pub fn hash_range(self, range: HashRange) -> Self {
        Self { hash_range: Some(range), ..self }
    }

    /// One that takes no more records.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { closed: true, ..self }
    }
}

/// Which shards to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardSelection {
    /// Every shard the stream still knows.
    All,
    /// Those that are open now.
    Latest,
    /// Those with the oldest records the stream still keeps.
    TrimHorizon,
    /// Those that were open at this time (milliseconds since the Unix epoch); the oldest ones where that is
    /// before the stream was made.
    AtTimestamp(u64),
}
