//! The stream itself: the model Kinesis in virtual time, with what producers and operators do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::{Error, ErrorKind, ShardDescription};
use rokini_lease::{HashRange, SequenceNumber, ShardId};
use rokini_local::wire::shapes::record::PutRecordRequest;
use rokini_local::wire::shapes::shard::{
    HashKeyRange, ListShardsRequest, MergeShardsRequest, Shard, ShardFilter, SplitShardRequest,
};
use rokini_local::wire::shapes::stream::CreateStreamRequest;
use rokini_local::wire::{ErrorCode, ServiceError, Timestamp};
use rokini_local::{Clock, EndOfShard, Fault, FaultRule, InProcess, LocalSettings, Model, Service};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) const BEGINNING_MILLIS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis((BEGINNING_MILLIS + self.0.elapsed().as_millis() as u64) as i64)
    }
}

/// What the documentation of the service leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProfile {
    /// How long a split or a merge takes.
    pub status_change: Duration,
    /// Which answer says that a shard is at its end.
    #[serde(with = "end_of_shard")]
    pub end_of_shard: EndOfShard,
}

/// [`EndOfShard`] as files have it: whether the last records come with the end.
mod end_of_shard {
    use rokini_local::EndOfShard;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(end: &EndOfShard, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*end == EndOfShard::WithLastRecords)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EndOfShard, D::Error> {
        let with = bool::deserialize(deserializer)?;
        Ok(if with { EndOfShard::WithLastRecords } else { EndOfShard::AfterLastRecords })
    }
}

impl Default for StreamProfile {
    fn default() -> Self {
        Self { status_change: Duration::ZERO, end_of_shard: EndOfShard::WithLastRecords }
    }
}

/// How the reads of one shard go wrong, for every worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardFault {
    /// Each fails at once.
    Fails,
    /// Each is refused by the rate limits.
    Throttled,
    /// Each is answered only by the client's own timeout.
    Silent,
    /// The stream says that there is no such shard, though it lists it.
    Gone,
}

/// The calls that read a shard, and each event of a subscription.
const READING: [&str; 4] = ["GetShardIterator", "GetRecords", "SubscribeToShard", "SubscribeToShardEvent"];

impl ShardFault {
    /// What the calls of the SDK meet.
    fn of_call(self) -> Fault {
        let error = |code| Fault::Error { code, message: "a fault of the run".to_owned(), status: None };
        match self {
            Self::Fails => error(ErrorCode::InternalFailure),
            Self::Throttled => Fault::Throttle,
            Self::Silent => Fault::HangBefore,
            Self::Gone => error(ErrorCode::ResourceNotFound),
        }
    }
}

/// How the stream says something else about its shards than is so, for every worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListingFault {
    /// Listings are as they were when this began.
    Late,
    /// Listings leave out every second open shard that came from others.
    InPart,
    /// The end of a shard comes without its children; to workers that read by the SDK, with them.
    NoChildren,
}

/// What readers at the tip wait for. It wakes them in the order in which they came, which a watch channel does not:
/// equal seeds give equal runs.
#[derive(Debug, Default)]
pub(super) struct Changes {
    count: AtomicU64,
    changed: Notify,
    /// Listings asked for by workers.
    pub(super) listings: AtomicU64,
}

impl Changes {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Until something happened since the count was `seen`.
    pub(super) async fn since(&self, seen: u64) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.count() != seen {
                return;
            }
            changed.await;
        }
    }
}

/// What is wrong with listings, if anything is, and the shards there were when that began.
type WrongListing = Option<(ListingFault, BTreeSet<ShardId>)>;

/// The stream itself: what producers and operators do with it. Clones share it.
#[derive(Debug, Clone)]
pub struct SimStream {
    pub(super) service: Service,
    /// The same by the protocol of the service.
    pub(super) http: InProcess,
    name: Arc<str>,
    pub(super) changes: Arc<Changes>,
    faults: Arc<Mutex<BTreeMap<ShardId, ShardFault>>>,
    /// What is wrong with listings, and the shards there were when that began.
    listing: Arc<Mutex<WrongListing>>,
}

impl SimStream {
    /// A new stream with so many shards.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn create(name: &str, shards: i32, profile: StreamProfile) -> Result<Self, ServiceError> {
        let mut settings = LocalSettings::default();
        // Several workers' worth of readers poll in tests of hand-over; limits are tested elsewhere.
        settings.throughput_limits = false;
        settings.end_of_shard = profile.end_of_shard;
        let service = Service::new(Model::new(settings), Arc::new(VirtualClock(Instant::now())));
        let create = CreateStreamRequest::new(name).shard_count(shards);
        service.call(&create)?;
        // The stream itself is there at once.
        service.with_model(|model, _| model.settings_mut().status_change = profile.status_change);
        Ok(Self {
            http: InProcess::new(service.clone()),
            service,
            name: name.into(),
            changes: Arc::default(),
            faults: Arc::default(),
            listing: Arc::default(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, BTreeMap<ShardId, ShardFault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changes.count.fetch_add(1, Ordering::Relaxed);
        self.changes.changed.notify_waiters();
    }

    /// The stream's time in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_millis(&self) -> u64 {
        self.service.now().millis() as u64
    }

    /// Lets the stream's time jump forward: iterators expire, records pass their retention.
    pub fn advance(&self, by: Duration) {
        self.service.advance(by);
        self.touch();
    }

    /// How often workers listed the shards so far.
    #[must_use]
    pub fn listings(&self) -> u64 {
        self.changes.listings.load(Ordering::Relaxed)
    }

    /// Puts one record, under the hash of its key or another one; returns the shard that took it and its sequence number.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn put(
        &self,
        key: &str,
        data: Vec<u8>,
        hash: Option<u128>,
    ) -> Result<(String, SequenceNumber), ServiceError> {
        let mut put = PutRecordRequest::new(data).partition_key(key).stream_name(&*self.name);
        put.explicit_hash_key = hash.map(|hash| hash.to_string());
        let answer = self.service.call(&put)?;
        self.touch();
        Ok((answer.shard_id, answer.sequence_number))
    }

    /// Every shard the stream knows.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn shards(&self) -> Result<Vec<ShardDescription>, Error> {
        self.list(None)
    }

    /// The shards that take records, in the order of their hash ranges.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn open_shards(&self) -> Result<Vec<(ShardId, HashRange)>, Error> {
        let mut open: Vec<(ShardId, HashRange)> = self
            .list(None)?
            .into_iter()
            .filter(|shard| !shard.closed)
            .filter_map(|shard| Some((shard.id, shard.hash_range?)))
            .collect();
        open.sort_by_key(|(_, range)| range.start);
        Ok(open)
    }

    /// Splits a shard at this hash key, the first of its upper child.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn split(&self, shard: &ShardId, at: u128) -> Result<(), ServiceError> {
        let split = SplitShardRequest::new(shard.to_string(), at.to_string()).stream_name(&*self.name);
        self.service.call(&split)?;
        self.touch();
        Ok(())
    }

    /// Merges two neighbours.
    ///
    /// # Errors
    /// What the model has against it.
    pub fn merge(&self, one: &ShardId, other: &ShardId) -> Result<(), ServiceError> {
        let merge = MergeShardsRequest::new(one.to_string(), other.to_string()).stream_name(&*self.name);
        self.service.call(&merge)?;
        self.touch();
        Ok(())
    }

    /// From now on the reads of a shard go wrong, for every worker; `None` ends it.
    pub fn set_fault(&self, shard: &ShardId, fault: Option<ShardFault>) {
        match fault {
            Some(fault) => drop(self.faults().insert(shard.clone(), fault)),
            None => drop(self.faults().remove(shard)),
        }
        let rules = self.http.faults();
        rules.clear();
        for (shard, fault) in &*self.faults() {
            for operation in READING {
                rules
                    .add(FaultRule::on(operation, fault.of_call()).stream(&*self.name).shard(shard.as_str()));
            }
        }
    }

    /// From now on the stream says something wrong about its shards; `None` ends it.
    pub fn set_listing_fault(&self, fault: Option<ListingFault>) {
        let known = self.shards().unwrap_or_default().into_iter().map(|shard| shard.id).collect();
        *self.listing() = fault.map(|fault| (fault, known));
    }

    fn listing(&self) -> MutexGuard<'_, WrongListing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with listings.
    pub(super) fn listing_fault(&self) -> Option<ListingFault> {
        self.listing().as_ref().map(|(fault, _)| *fault)
    }

    /// The shards as workers are told of them.
    pub(super) fn listed(&self, mut shards: Vec<ShardDescription>) -> Vec<ShardDescription> {
        shards.retain(|shard| self.is_listed(shard.id.as_str(), shard.closed, !shard.parents.is_empty()));
        shards
    }

    /// Whether workers are told of a shard.
    pub(super) fn is_listed(&self, shard: &str, closed: bool, has_parents: bool) -> bool {
        match &*self.listing() {
            Some((ListingFault::Late, known)) => known.iter().any(|known| known.as_str() == shard),
            Some((ListingFault::InPart, _)) => {
                let even = shard.bytes().last().is_none_or(|last| last % 2 == 0);
                closed || !has_parents || !even
            }
            _ => true,
        }
    }

    /// Every shard reads well again.
    pub fn heal(&self) {
        self.faults().clear();
        self.http.faults().clear();
        *self.listing() = None;
    }

    pub(super) fn list(&self, filter: Option<ShardFilter>) -> Result<Vec<ShardDescription>, Error> {
        let mut shards = Vec::new();
        let mut request = ListShardsRequest::new().stream_name(&*self.name);
        request.shard_filter = filter;
        loop {
            let page = self.service.call(&request).map_err(|error| refused(&error))?;
            for shard in page.shards.unwrap_or_default() {
                shards.push(described(&shard)?);
            }
            let Some(token) = page.next_token else { return Ok(shards) };
            request = ListShardsRequest::new().next_token(token);
        }
    }
}

pub(super) fn refused(error: &ServiceError) -> Error {
    let kind = match error.code {
        ErrorCode::ExpiredIterator | ErrorCode::ProvisionedThroughputExceeded => ErrorKind::Retry,
        _ => ErrorKind::Data,
    };
    Error::new(kind, error.to_string())
}

pub(super) fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("the model answered without {what}"))
}

fn described(shard: &Shard) -> Result<ShardDescription, Error> {
    let parents = shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id);
    let parents = parents.map(|parent| id(parent)).collect::<Result<_, _>>()?;
    let mut described = ShardDescription::new(id(&shard.shard_id)?, parents);
    described.hash_range = range(&shard.hash_key_range);
    described.closed = shard.sequence_number_range.ending_sequence_number.is_some();
    Ok(described)
}

pub(super) fn id(text: &str) -> Result<ShardId, Error> {
    ShardId::new(text).map_err(|_| unreadable("a usable shard id"))
}

pub(super) fn range(range: &HashKeyRange) -> Option<HashRange> {
    Some(HashRange { start: range.starting_hash_key.parse().ok()?, end: range.ending_hash_key.parse().ok()? })
}
