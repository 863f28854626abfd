//! Reads one shard of the model.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rokini::{Error, ReadResponse, Record, ShardDescription, ShardEnd, ShardReader};
use rokini_lease::{Position, Progress, SequenceNumber, ShardId};
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetShardIteratorRequest};
use rokini_local::wire::shapes::shard::ChildShard;
use rokini_local::wire::{ShardIteratorType, Timestamp};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::link::{Link, ReaderBug};
use super::model::{ListingFault, id, range, unreadable};

/// Reads of one shard are at least this far apart: 5 reads a second.
const POLL: Duration = Duration::from_millis(200);
/// A reader at the tip looks again when something was put, and this often in any case. Polling on would be true
/// to life, and most of what a run does.
const IDLE: Duration = Duration::from_secs(2);

/// A reader with the defect of falling asleep does so after this time without a record.
const ASLEEP: Duration = Duration::from_secs(20);

pub(super) struct Reader {
    link: Link,
    shard: ShardId,
    next: Position,
    iterator: Option<String>,
    due: Instant,
    seen: u64,
    at_tip: bool,
    ended: bool,
    /// When the last records came.
    got: Instant,
    /// To be brought once more: a defect.
    again: Vec<Record>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.shard)
    }
}

impl Reader {
    pub(super) fn new(link: Link, shard: ShardId, next: Position) -> Self {
        let seen = link.stream().changes.count();
        Self {
            link,
            shard,
            next,
            iterator: None,
            due: Instant::now(),
            seen,
            at_tip: false,
            ended: false,
            got: Instant::now(),
            again: Vec::new(),
        }
    }

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
        let mut request =
            GetShardIteratorRequest::new(self.shard.to_string(), kind).stream_name(self.link.stream().name());
        request.starting_sequence_number = sequence;
        request.timestamp = timestamp;
        let answer = self.link.call(Some(&self.shard), &request).await?;
        answer.shard_iterator.ok_or_else(|| unreadable("an iterator"))
    }

    async fn apply_bug(&mut self, records: &mut Vec<Record>) {
        records.splice(0..0, std::mem::take(&mut self.again));
        match self.link.shown_bug() {
            Some(ReaderBug::DropsRecords) if records.len() > 1 => drop(records.remove(0)),
            Some(ReaderBug::SwapsRecords) => {
                let swap = (0..records.len()).flat_map(|a| (a + 1..records.len()).map(move |b| (a, b)));
                let same =
                    |(a, b): &(usize, usize)| records[*a].partition_key() == records[*b].partition_key();
                if let Some((a, b)) = swap.into_iter().find(same) {
                    records.swap(a, b);
                }
            }
            Some(ReaderBug::RepeatsResponses) => self.again = records.clone(),
            Some(ReaderBug::DelaysResponses(time)) if !records.is_empty() => sleep(time).await,
            _ => {}
        }
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<ReadResponse, Error> {
        if self.ended {
            return std::future::pending().await;
        }
        sleep_until(self.due).await;
        if self.link.falls_asleep() && self.got.elapsed() > ASLEEP {
            return std::future::pending().await;
        }
        if self.at_tip {
            // After this time it looks although nothing changed.
            let _ = timeout(IDLE, self.link.stream().changes.since(self.seen)).await;
            self.at_tip = false;
        }
        let iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => self.iterator().await?,
        };
        self.due = Instant::now() + POLL;
        self.seen = self.link.stream().changes.count();
        let request = GetRecordsRequest::new(iterator).limit(1000);
        let answer = self.link.call(Some(&self.shard), &request).await?;
        // From here on nothing waits, so a dropped call has not moved the place.
        let mut records = Vec::with_capacity(answer.records.len());
        for record in answer.records {
            let sequence = record.sequence_number;
            self.next = Position::after(sequence);
            let arrival = record.approximate_arrival_timestamp.map_or(0, |time| time.millis() as u64);
            records.push(match &record.partition_key {
                Some(key) => Record::new(sequence, key, &*record.data, arrival),
                None => Record::without_key(sequence, &*record.data, arrival),
            });
        }
        self.at_tip = records.is_empty();
        if !self.at_tip {
            self.got = Instant::now();
        }
        self.ended = answer.next_shard_iterator.is_none();
        self.iterator = answer.next_shard_iterator;
        let child = |child: ChildShard| {
            let parents =
                child.parent_shards.iter().map(|parent| id(parent)).collect::<Result<_, Error>>()?;
            let mut described = ShardDescription::new(id(&child.shard_id)?, parents);
            described.hash_range = range(&child.hash_key_range);
            Ok(described)
        };
        let children = answer.child_shards.unwrap_or_default().into_iter().map(child);
        let end: Option<Vec<ShardDescription>> =
            self.ended.then(|| children.collect::<Result<_, Error>>()).transpose()?;
        let fault = self.link.stream().listing_fault();
        let end =
            end.filter(|_| fault != Some(ListingFault::NoChildren)).or_else(|| self.ended.then(Vec::new));
        // Only a defect waits here.
        self.apply_bug(&mut records).await;
        let behind = answer.millis_behind_latest.unwrap_or_default() as u64;
        let mut response = ReadResponse::new(records, behind);
        response.end = end.map(ShardEnd::new);
        Ok(response)
    }
}
