//! Iterators, and records going out.

use rokini_wire::shapes::record::{
    GetRecordsRequest, GetRecordsResponse, GetShardIteratorRequest, GetShardIteratorResponse, Record,
};
use rokini_wire::{ErrorCode, ServiceError, ShardIteratorType, Timestamp};

use super::Model;
use super::errors::{Checks, invalid, not_found};
use super::meter::{ITERATORS, READ};
use super::put::rate_exceeded;
use super::sequence;
use super::shard::{Shard, shard_id, shard_number};
use super::stream::Stream;
use super::token::{Kind, Token};
use crate::clock::http_date;
use crate::settings::EndOfShard;

/// Most records in an answer, as the service documents.
const MOST_RECORDS: i32 = 10_000;
/// Most bytes in an answer, as the service documents.
const MOST_BYTES: usize = 10 << 20;

impl Model {
    /// Gives an iterator, good for [`Settings::iterator_life`](crate::Settings::iterator_life).
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn get_shard_iterator(
        &mut self,
        now: Timestamp,
        request: &GetShardIteratorRequest,
    ) -> Result<GetShardIteratorResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.name(&request.shard_id, "shardId");
        checks.one_of(&request.shard_iterator_type, "shardIteratorType", ShardIteratorType::KNOWN);
        checks.done()?;
        let (seed, limited) = (self.settings.seed, self.settings.throughput_limits);
        let stream = self.streams.find_with_data(
            now,
            request.stream_name.as_deref(),
            request.stream_arn.as_deref(),
        )?;
        let start = Start {
            kind: &request.shard_iterator_type,
            number: request.starting_sequence_number.as_deref(),
            time: request.timestamp,
        };
        let (shard, place) = start.find(now, stream, &request.shard_id, "GetShardIterator")?;
        if limited
            && let Some(open) = stream.shard_mut(now, shard)
            && open.closed.is_none()
        {
            if !open.iterators.open(now, ITERATORS) {
                return Err(rate_exceeded(&shard_id(shard), stream));
            }
            open.iterators.charge(0);
        }
        Ok(GetShardIteratorResponse { shard_iterator: Some(iterator(now, stream, shard, place, seed)) })
    }

    /// Reads.
    ///
    /// # Errors
    /// ExpiredIterator, ProvisionedThroughputExceeded, ResourceNotFound, InvalidArgument, Validation, the KMS errors.
    pub fn get_records(
        &mut self,
        now: Timestamp,
        request: &GetRecordsRequest,
    ) -> Result<GetRecordsResponse, ServiceError> {
        self.get_records_up_to(now, request, usize::MAX)
    }

    /// [`Model::get_records`] with another bound on the number of records, which may be 0.
    pub(crate) fn get_records_up_to(
        &mut self,
        now: Timestamp,
        request: &GetRecordsRequest,
        most: usize,
    ) -> Result<GetRecordsResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.length(&request.shard_iterator, "shardIterator", 1..=512);
        let limit = request.limit.unwrap_or(MOST_RECORDS);
        checks.range(limit, "limit", 1..=i32::MAX);
        checks.done()?;
        if limit > MOST_RECORDS {
            return Err(invalid(format!("Limit {limit} is greater than the most allowed, {MOST_RECORDS}.")));
        }
        let (seed, limited, end_of_shard) =
            (self.settings.seed, self.settings.throughput_limits, self.settings.end_of_shard);
        let at = self.open_iterator(now, &request.shard_iterator)?;
        let gone = not_found(format!(
            "Shard {} in stream {} under account {} does not exist",
            shard_id(at.shard),
            at.text,
            self.streams.account
        ));
        if let Some(arn) = &request.stream_arn
            && self.streams.name_in_arn(arn)? != at.text
        {
            return Err(invalid("StreamARN does not match the stream of the ShardIterator."));
        }
        let stream = self.streams.named(now, &at.text).map_err(|_| gone.clone())?;
        if stream.created != at.stream_created {
            return Err(gone);
        }
        self.keys.check(stream.key_id.as_ref())?;
        let Some(shard) = stream.shard_mut(now, at.shard) else { return Err(gone) };
        if limited && !shard.reads.open(now, READ) {
            return Err(rate_exceeded(&shard_id(at.shard), stream));
        }
        let read = read(now, shard, at.place, most.min(usize::try_from(limit).unwrap_or(0)), MOST_BYTES);
        if limited {
            shard.reads.charge(read.bytes as u64);
        }
        let reported = match end_of_shard {
            EndOfShard::WithLastRecords => true,
            EndOfShard::AfterLastRecords => read.records.is_empty(),
        };
        let ended = read.at_end && reported;
        Ok(GetRecordsResponse {
            records: read.records,
            next_shard_iterator: (!ended).then(|| iterator(now, stream, at.shard, read.next, seed)),
            millis_behind_latest: Some(read.behind),
            child_shards: ended.then(|| stream.children_of(at.shard).map(Shard::describe_as_child).collect()),
        })
    }

    fn open_iterator(&self, now: Timestamp, word: &str) -> Result<Token, ServiceError> {
        let token = Token::open(word, Kind::Iterator, self.settings.seed)
            .ok_or_else(|| invalid("Invalid ShardIterator."))?;
        let life = self.settings.iterator_life;
        if now > token.made.plus(life) {
            let message = format!(
                "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the \
                 future than the tolerated delay of {} milliseconds.",
                utc(token.made),
                utc(now),
                life.as_millis()
            );
            return Err(ServiceError::new(ErrorCode::ExpiredIterator, message));
        }
        Ok(token)
    }
}

fn iterator(now: Timestamp, stream: &Stream, shard: u32, place: u64, seed: u64) -> String {
    let token = Token {
        kind: Kind::Iterator,
        made: now,
        stream_created: stream.created,
        shard,
        place,
        text: stream.name.clone(),
    };
    token.seal(seed)
}

/// What one read gives.
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    /// Place of the next record.
    pub(super) next: u64,
    /// Milliseconds behind the tip.
    pub(super) behind: i64,
    /// The shard is closed and nothing follows.
    pub(super) at_end: bool,
}

pub(super) fn read(now: Timestamp, shard: &Shard, place: u64, most: usize, most_bytes: usize) -> Read {
    let from = place.max(shard.oldest());
    let mut bytes = 0;
    let mut records = Vec::new();
    for record in shard.from(from).take(most) {
        let size = record.data.len() + record.partition_key.len();
        if bytes + size > most_bytes && !records.is_empty() {
            break;
        }
        bytes += size;
        records.push(record.clone());
    }
    let next = from + records.len() as u64;
    let unread = next < shard.next();
    let reached =
        records.last().or_else(|| shard.from(next).next()).and_then(|r| r.approximate_arrival_timestamp);
    let behind = if unread { reached.map_or(0, |arrival| now.millis_since(arrival)) } else { 0 };
    Read { records, bytes, next, behind, at_end: shard.closed.is_some() && !unread }
}

/// A place to start at, as a request gives it.
pub(super) struct Start<'a> {
    pub(super) kind: &'a ShardIteratorType,
    pub(super) number: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
}

impl Start<'_> {
    /// The shard's number and the place of the first record to read.
    pub(super) fn find(
        &self,
        now: Timestamp,
        stream: &mut Stream,
        id: &str,
        operation: &str,
    ) -> Result<(u32, u64), ServiceError> {
        let place_name = stream.place();
        let number = shard_number(id);
        let shown = number.map_or_else(|| id.to_owned(), shard_id);
        let Some(shard) = number.and_then(|number| stream.shard_mut(now, number)) else {
            return Err(not_found(format!("Shard {shown} in {place_name} does not exist")));
        };
        let place = match self.kind {
            ShardIteratorType::TrimHorizon => self.without_number().map(|()| shard.oldest())?,
            ShardIteratorType::Latest => self.without_number().map(|()| shard.next())?,
            ShardIteratorType::AtTimestamp => {
                let time =
                    self.time.ok_or_else(|| invalid("Timestamp must be specified for AT_TIMESTAMP."))?;
                if time > now {
                    return Err(invalid(format!(
                        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                         timestampInMillis: {}, currentTimestampInMillis: {}",
                        time.millis(),
                        now.millis()
                    )));
                }
                shard.place_at_time(time)
            }
            kind => {
                let Some(text) = self.number else { return Err(self.mismatch("no StartingSequenceNumber")) };
                let foreign = |why: &str| {
                    invalid(format!(
                        "StartingSequenceNumber {text} used in {operation} on shard {shown} in {place_name} is invalid{why}."
                    ))
                };
                let number = text.parse().map_err(|_| foreign(""))?;
                let parts = sequence::parse(number).ok_or_else(|| foreign(""))?;
                if parts.shard != shard.number {
                    return Err(invalid(format!(
                        "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {shown}",
                        shard_id(parts.shard)
                    )));
                }
                if !shard.issued(parts) {
                    return Err(foreign(" because it did not come from this stream"));
                }
                if *kind == ShardIteratorType::AtSequenceNumber {
                    shard.place_at(number)
                } else {
                    shard.place_after(number)
                }
            }
        };
        Ok((shard.number, place))
    }

    fn without_number(&self) -> Result<(), ServiceError> {
        if self.number.is_some() {
            return Err(self.mismatch("also a StartingSequenceNumber"));
        }
        Ok(())
    }

    fn mismatch(&self, what: &str) -> ServiceError {
        invalid(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {} and {what}.",
            self.kind
        ))
    }
}

/// As in `Thu Jan 22 01:22:02 UTC 2015`.
fn utc(time: Timestamp) -> String {
    let text = http_date(time);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [weekday, day, month, year, clock, _] => {
            format!("{} {month} {day} {clock} UTC {year}", weekday.trim_end_matches(','))
        }
        _ => text,
    }
}
