//! The model Kinesis as a source of records, in virtual time, over a link that can be disturbed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{
    Error, ErrorKind, Fetched, Record, ShardDescription, ShardEnd, ShardReader, ShardSelection,
    StreamDescription, StreamSource, select_shards,
};
use rokini_lease::{HashRange, Position, Progress, SequenceNumber, ShardId, StreamId};
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetShardIteratorRequest, PutRecordRequest};
use rokini_local::wire::shapes::shard::{
    ChildShard, HashKeyRange, ListShardsRequest, MergeShardsRequest, Shard, ShardFilter, SplitShardRequest,
};
use rokini_local::wire::shapes::stream::{CreateStreamRequest, DescribeStreamSummaryRequest};
use rokini_local::wire::{ErrorCode, Operation, ServiceError, ShardFilterType, ShardIteratorType, Timestamp};
use rokini_local::{Clock, Model, Serve, Service, Settings};
use tokio::time::{Instant, sleep, sleep_until};

/// The stream's name.
pub(crate) const STREAM: &str = "orders";
const BEGINNING_MILLIS: i64 = 1_700_000_000_000;
/// Reads of one shard are at least this far apart: 5 reads a second.
const POLL: Duration = Duration::from_millis(200);
const CALL: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(BEGINNING_MILLIS + self.0.elapsed().as_millis() as i64)
    }
}

/// The stream itself: what producers and operators do with it.
#[derive(Debug, Clone)]
pub(crate) struct SimStream {
    service: Service,
}

impl SimStream {
    /// A new stream with so many shards.
    pub(crate) fn create(shards: i32) -> Result<Self, ServiceError> {
        let mut settings = Settings::default();
        // Several groups' worth of readers poll in tests of hand-over; limits are tested elsewhere.
        settings.throughput_limits = false;
        let service = Service::new(Model::new(settings), Arc::new(VirtualClock(Instant::now())));
        let create = CreateStreamRequest {
            stream_name: STREAM.to_owned(),
            shard_count: Some(shards),
            ..CreateStreamRequest::default()
        };
        service.call(&create)?;
        Ok(Self { service })
    }

    /// Puts one record.
    pub(crate) fn put(&self, key: &str, data: String) -> Result<(), ServiceError> {
        let put = PutRecordRequest {
            stream_name: Some(STREAM.to_owned()),
            stream_arn: None,
            data: data.into_bytes().into(),
            partition_key: key.into(),
            explicit_hash_key: None,
            sequence_number_for_ordering: None,
        };
        self.service.call(&put).map(drop)
    }

    /// The shards that take records, in the order of their hash ranges.
    pub(crate) fn open_shards(&self) -> Result<Vec<(ShardId, HashRange)>, Error> {
        let mut open: Vec<(ShardId, HashRange)> = list(&self.service, None)?
            .into_iter()
            .filter(|shard| !shard.closed)
            .filter_map(|shard| Some((shard.id, shard.hash_range?)))
            .collect();
        open.sort_by_key(|(_, range)| range.start);
        Ok(open)
    }

    /// Splits a shard in the middle.
    pub(crate) fn split(&self, shard: &ShardId, range: HashRange) -> Result<(), ServiceError> {
        let split = SplitShardRequest {
            stream_name: Some(STREAM.to_owned()),
            shard_to_split: shard.to_string(),
            new_starting_hash_key: (range.start / 2 + range.end / 2 + 1).to_string(),
            ..SplitShardRequest::default()
        };
        self.service.call(&split).map(drop)
    }

    /// Merges two neighbours.
    pub(crate) fn merge(&self, one: &ShardId, other: &ShardId) -> Result<(), ServiceError> {
        let merge = MergeShardsRequest {
            stream_name: Some(STREAM.to_owned()),
            shard_to_merge: one.to_string(),
            adjacent_shard_to_merge: other.to_string(),
            ..MergeShardsRequest::default()
        };
        self.service.call(&merge).map(drop)
    }

    /// A worker's link to the stream.
    #[must_use]
    pub(crate) fn link(&self, seed: u64) -> Link {
        let state = LinkState { rng: StdRng::seed_from_u64(seed), failures: 0.0, black_hole: false };
        Link { service: self.service.clone(), state: Arc::new(Mutex::new(state)) }
    }
}

/// One worker's link to the stream, with its disturbances. Clones share them.
#[derive(Clone)]
pub(crate) struct Link {
    service: Service,
    state: Arc<Mutex<LinkState>>,
}

struct LinkState {
    rng: StdRng,
    failures: f64,
    black_hole: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Each call fails with this probability, before or after it took effect.
    pub(crate) fn fail(&self, probability: f64) {
        self.state().failures = probability;
    }

    /// Calls are not answered at all, until this ends.
    pub(crate) fn black_hole(&self, on: bool) {
        self.state().black_hole = on;
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<R: Operation + Sync>(&self, request: &R) -> Result<R::Response, Error>
    where
        Model: Serve<R>,
    {
        let (delay, failed) = {
            let mut state = self.state();
            let spread = state.rng.random_range(0..20);
            let failures = state.failures;
            (CALL + Duration::from_millis(spread), state.rng.random_bool(failures))
        };
        sleep(delay).await;
        if self.state().black_hole {
            // The real client gives up after its own timeout; so does this one.
            sleep(Duration::from_secs(3)).await;
            return Err(Error::new(ErrorKind::Retry, "no answer"));
        }
        if failed {
            return Err(Error::new(ErrorKind::Retry, "the connection was cut"));
        }
        self.service.call(request).map_err(|error| refused(&error))
    }
}

fn refused(error: &ServiceError) -> Error {
    let kind = match error.code {
        ErrorCode::ExpiredIterator | ErrorCode::ProvisionedThroughputExceeded => ErrorKind::Retry,
        _ => ErrorKind::Data,
    };
    Error::new(kind, error.to_string())
}

fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("the model answered without {what}"))
}

#[async_trait]
impl StreamSource for Link {
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let request =
            DescribeStreamSummaryRequest { stream_name: Some(STREAM.to_owned()), ..Default::default() };
        let summary = self.call(&request).await?.stream_description_summary;
        let created = summary.stream_creation_timestamp.millis();
        Ok(StreamDescription {
            name: STREAM.to_owned(),
            id: StreamId::new(format!("{STREAM}@{created}")).map_err(|_| unreadable("a usable name"))?,
            now_millis: self.service.now().millis() as u64,
            retention: Duration::from_secs(24 * 3600),
        })
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let filter = |kind, timestamp| Some(ShardFilter { kind, shard_id: None, timestamp });
        let filter = match which {
            ShardSelection::All => None,
            ShardSelection::Latest => filter(ShardFilterType::AtLatest, None),
            ShardSelection::TrimHorizon => filter(ShardFilterType::AtTrimHorizon, None),
            ShardSelection::AtTimestamp(millis) => {
                filter(ShardFilterType::AtTimestamp, Some(Timestamp::from_millis(millis as i64)))
            }
        };
        sleep(CALL).await;
        Ok(select_shards(list(&self.service, filter)?, which))
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(Reader {
            link: self.clone(),
            shard: shard.clone(),
            next: *at,
            iterator: None,
            due: Instant::now(),
            ended: false,
        }))
    }
}

fn list(service: &Service, filter: Option<ShardFilter>) -> Result<Vec<ShardDescription>, Error> {
    let mut shards = Vec::new();
    let mut request = ListShardsRequest {
        stream_name: Some(STREAM.to_owned()),
        shard_filter: filter,
        ..ListShardsRequest::default()
    };
    loop {
        let page = service.call(&request).map_err(|error| refused(&error))?;
        for shard in page.shards.unwrap_or_default() {
            shards.push(described(&shard)?);
        }
        match page.next_token {
            None => return Ok(shards),
            token => request = ListShardsRequest { next_token: token, ..ListShardsRequest::default() },
        }
    }
}

fn described(shard: &Shard) -> Result<ShardDescription, Error> {
    let parents = shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id);
    Ok(ShardDescription {
        id: id(&shard.shard_id)?,
        parents: parents.map(|parent| id(parent)).collect::<Result<_, _>>()?,
        hash_range: range(&shard.hash_key_range),
        closed: shard.sequence_number_range.ending_sequence_number.is_some(),
    })
}

fn id(text: &str) -> Result<ShardId, Error> {
    ShardId::new(text).map_err(|_| unreadable("a usable shard id"))
}

fn range(range: &HashKeyRange) -> Option<HashRange> {
    Some(HashRange { start: range.starting_hash_key.parse().ok()?, end: range.ending_hash_key.parse().ok()? })
}

struct Reader {
    link: Link,
    shard: ShardId,
    next: Position,
    iterator: Option<String>,
    due: Instant,
    ended: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.shard)
    }
}

impl Reader {
    async fn iterator(&self) -> Result<String, Error> {
        let number = |number: SequenceNumber| Some(number.to_string());
        let (kind, sequence, timestamp) = match self.next {
            Position::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
            Position::AtTimestamp(millis) => {
                (ShardIteratorType::AtTimestamp, None, Some(Timestamp::from_millis(millis as i64)))
            }
            Position::Sequence(sequence, Progress::Whole) => {
                (ShardIteratorType::AfterSequenceNumber, number(sequence), None)
            }
            Position::Sequence(sequence, _) => (ShardIteratorType::AtSequenceNumber, number(sequence), None),
            Position::ShardEnd => return Err(unreadable("a shard that goes on")),
        };
        let request = GetShardIteratorRequest {
            stream_name: Some(STREAM.to_owned()),
            stream_arn: None,
            shard_id: self.shard.to_string(),
            shard_iterator_type: kind,
            starting_sequence_number: sequence,
            timestamp,
        };
        self.link.call(&request).await?.shard_iterator.ok_or_else(|| unreadable("an iterator"))
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Fetched, Error> {
        if self.ended {
            return std::future::pending().await;
        }
        sleep_until(self.due).await;
        let iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => self.iterator().await?,
        };
        self.due = Instant::now() + POLL;
        let request = GetRecordsRequest { shard_iterator: iterator, limit: Some(1000), stream_arn: None };
        let answer = self.link.call(&request).await?;
        // From here on nothing waits, so a dropped call has not moved the place.
        let mut records = Vec::with_capacity(answer.records.len());
        for record in answer.records {
            let sequence: SequenceNumber =
                record.sequence_number.to_string().parse().map_err(|_| unreadable("a sequence number"))?;
            self.next = Position::after(sequence);
            let arrival = record.approximate_arrival_timestamp.map_or(0, |time| time.millis() as u64);
            records.push(Record::new(sequence, record.partition_key, record.data.into_bytes(), arrival));
        }
        self.ended = answer.next_shard_iterator.is_none();
        self.iterator = answer.next_shard_iterator;
        let child = |child: ChildShard| {
            Ok(ShardDescription {
                id: id(&child.shard_id)?,
                parents: child.parent_shards.iter().map(|parent| id(parent)).collect::<Result<_, Error>>()?,
                hash_range: range(&child.hash_key_range),
                closed: false,
            })
        };
        let children = answer.child_shards.unwrap_or_default().into_iter().map(child);
        let end = self.ended.then(|| children.collect::<Result<_, Error>>()).transpose()?;
        Ok(Fetched {
            records,
            millis_behind_latest: answer.millis_behind_latest.unwrap_or_default() as u64,
            end: end.map(|children| ShardEnd { children }),
        })
    }
}
