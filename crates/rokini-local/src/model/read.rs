//! Iterators, and records going out.

use std::collections::BTreeMap;

use rokini_wire::shapes::consumer::StartingPosition;
use rokini_wire::shapes::record::{
    GetRecordsRequest, GetRecordsResponse, GetShardIteratorRequest, GetShardIteratorResponse, Record,
};
use rokini_wire::{ErrorCode, Operation, ServiceError, ShardIteratorType, Timestamp};

use crate::clock::http_date;
use crate::model::account::Model;
use crate::model::constraints;
use crate::model::errors::{invalid_argument, resource_not_found};
use crate::model::put::rate_exceeded;
use crate::model::rate_limiter::{ITERATORS, READ};
use crate::model::scope::StreamKey;
use crate::model::sequence;
use crate::model::shard::{Shard, offset_of, shard_id, shard_number, size};
use crate::model::stream::Stream;
use crate::model::token::{Token, TokenKind};
use crate::settings::EndOfShard;

/// Most records in an answer, as the service documents.
const MAX_RECORDS: i32 = 10_000;
/// Most bytes in an answer, as the service documents.
const MAX_BYTES: usize = 10 << 20;

impl Model {
    /// Gives an iterator, good for [`LocalSettings::iterator_life`](crate::LocalSettings::iterator_life).
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn get_shard_iterator(
        &mut self,
        now: Timestamp,
        request: &GetShardIteratorRequest,
    ) -> Result<GetShardIteratorResponse, ServiceError> {
        let (seed, limited) = (self.settings.seed, self.settings.throughput_limits);
        let stream = self.streams.find_readable(now, &request.stream_name, &request.stream_arn)?;
        let mut start = StartingPosition::new(request.shard_iterator_type.clone());
        start.sequence_number.clone_from(&request.starting_sequence_number);
        start.timestamp = request.timestamp;
        let (shard, offset) = find_start(&start, now, stream, &request.shard_id, "GetShardIterator")?;
        stream.stop_dry_run(now, request.dry_run, limited)?;
        if limited
            && let Some(open) = stream.shard_mut(now, shard)
            && open.closed.is_none()
        {
            if !open.iterators.is_open(now, ITERATORS) {
                return Err(rate_exceeded(&shard_id(shard), stream));
            }
            open.iterators.charge(0);
        }
        Ok(GetShardIteratorResponse::new().shard_iterator(seal_iterator(now, stream, shard, offset, seed)))
    }

    /// The records that a stream of the model's own account and region keeps, shard by shard, each in its order: for assertions.
    /// Nothing is counted as a call.
    ///
    /// # Errors
    /// ResourceNotFound.
    pub fn records_of(&mut self, now: Timestamp, stream: &str) -> Result<Vec<Record>, ServiceError> {
        let key = self.streams.key(stream);
        let stream = self.streams.keyed(now, &key)?;
        stream.trim(now);
        Ok(stream.shards().flat_map(|shard| shard.records_from(0)).cloned().collect())
    }

    /// A stream of the model's own account and region and, of its shards that keep records, the offsets after the last ones.
    pub(crate) fn ends_of(
        &mut self,
        now: Timestamp,
        stream: &str,
    ) -> Option<(StreamKey, BTreeMap<u32, u64>)> {
        let key = self.streams.key(stream);
        let stream = self.streams.keyed(now, &key).ok()?;
        stream.trim(now);
        let end = |shard: &Shard| Some((shard.number, offset_of(shard.records_from(0).next_back()?) + 1));
        let ends = stream.shards().filter_map(end).collect();
        Some((key, ends))
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

    /// [`Model::get_records`] with another limit to the number of records, which may be 0.
    pub(crate) fn get_records_up_to(
        &mut self,
        now: Timestamp,
        request: &GetRecordsRequest,
        max_records: usize,
    ) -> Result<GetRecordsResponse, ServiceError> {
        let limit = request.limit.unwrap_or(MAX_RECORDS);
        // The model lets no more through either, but the documentation says with which error.
        let left_out: &[&str] = if limit > MAX_RECORDS { &["Limit"] } else { &[] };
        constraints::report(&constraints::failures_but(GetRecordsRequest::NAME, request, left_out))?;
        if limit > MAX_RECORDS {
            return Err(invalid_argument(format!(
                "Limit {limit} is greater than the most allowed, {MAX_RECORDS}."
            )));
        }
        let (seed, limited, end_of_shard) =
            (self.settings.seed, self.settings.throughput_limits, self.settings.end_of_shard);
        let at = self.open_iterator(now, &request.shard_iterator)?;
        let key = StreamKey::from_text(&at.text).ok_or_else(invalid_iterator)?;
        let gone = resource_not_found(format!(
            "Shard {} in stream {} under account {} does not exist",
            shard_id(at.shard),
            key.name,
            key.scope.account
        ));
        if let Some(arn) = &request.stream_arn
            && self.streams.key_in_arn(arn)? != key
        {
            return Err(invalid_argument("StreamARN does not match the stream of the ShardIterator."));
        }
        let stream = self.streams.find_in_token(now, &key).map_err(|error| match error.code {
            ErrorCode::ResourceNotFound => gone.clone(),
            _ => error,
        })?;
        if stream.created != at.stream_created {
            return Err(gone);
        }
        if stream.shard_mut(now, at.shard).is_none() {
            return Err(gone);
        }
        stream.stop_dry_run(now, request.dry_run, limited)?;
        self.keys.check(stream.key_id.as_ref())?;
        let Some(shard) = stream.shard_mut(now, at.shard) else { return Err(gone) };
        if limited && !shard.reads.is_open(now, READ) {
            return Err(rate_exceeded(&shard_id(at.shard), stream));
        }
        let read =
            read(now, shard, at.offset, max_records.min(usize::try_from(limit).unwrap_or(0)), MAX_BYTES);
        if limited {
            shard.reads.charge(read.bytes as u64);
        }
        shard.count_read(read.records.len(), read.bytes);
        let reported = match end_of_shard {
            EndOfShard::WithLastRecords => true,
            EndOfShard::AfterLastRecords => read.records.is_empty(),
        };
        let ended = read.at_end && reported;
        let mut response = GetRecordsResponse::new(read.records).millis_behind_latest(read.behind);
        if ended {
            let children = stream.children_of(at.shard).map(Shard::describe_as_child);
            response.child_shards = Some(children.collect());
        } else {
            response.next_shard_iterator = Some(seal_iterator(now, stream, at.shard, read.next, seed));
        }
        Ok(response)
    }

    fn open_iterator(&self, now: Timestamp, text: &str) -> Result<Token, ServiceError> {
        let token =
            Token::open(text, TokenKind::Iterator, self.settings.seed).ok_or_else(invalid_iterator)?;
        let life = self.settings.iterator_life;
        if now > token.made.plus(life) {
            let message = format!(
                "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the \
                 future than the tolerated delay of {} milliseconds.",
                java_date(token.made),
                java_date(now),
                life.as_millis()
            );
            return Err(ServiceError::new(ErrorCode::ExpiredIterator, message));
        }
        Ok(token)
    }
}

/// The stream, shard and offset of an iterator that a model with this seed gave.
pub(crate) fn iterator_position(iterator: &str, seed: u64) -> Option<(StreamKey, u32, u64)> {
    let token = Token::open(iterator, TokenKind::Iterator, seed)?;
    Some((StreamKey::from_text(&token.text)?, token.shard, token.offset))
}

fn invalid_iterator() -> ServiceError {
    invalid_argument("Invalid ShardIterator.")
}

fn seal_iterator(now: Timestamp, stream: &Stream, shard: u32, offset: u64, seed: u64) -> String {
    let token = Token {
        kind: TokenKind::Iterator,
        made: now,
        stream_created: stream.created,
        shard,
        offset,
        text: stream.key().to_text(),
    };
    token.seal(seed)
}

/// What one read gives.
pub(super) struct ReadResult {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    /// Offset of the next record.
    pub(super) next: u64,
    /// Milliseconds behind the tip.
    pub(super) behind: i64,
    /// The shard is closed and nothing follows.
    pub(super) at_end: bool,
}

pub(super) fn read(
    now: Timestamp,
    shard: &Shard,
    offset: u64,
    max_records: usize,
    max_bytes: usize,
) -> ReadResult {
    let from = offset.max(shard.oldest_offset());
    let mut bytes = 0;
    let mut records = Vec::new();
    for record in shard.records_from(from).take(max_records) {
        let size = size(record);
        if bytes + size > max_bytes && !records.is_empty() {
            break;
        }
        bytes += size;
        records.push(record.clone());
    }
    let next = records.last().map_or(from, |last| offset_of(last) + 1);
    let following = shard.records_from(next).next();
    let unread = following.is_some();
    let reached = records.last().or(following).and_then(|record| record.approximate_arrival_timestamp);
    let behind = if unread { reached.map_or(0, |arrival| now.millis_since(arrival)) } else { 0 };
    ReadResult { records, bytes, next, behind, at_end: shard.closed.is_some() && !unread }
}

/// The shard's number and the offset of the first record to read.
pub(super) fn find_start(
    start: &StartingPosition,
    now: Timestamp,
    stream: &mut Stream,
    id: &str,
    operation: &str,
) -> Result<(u32, u64), ServiceError> {
    let stream_label = stream.label();
    let number = shard_number(id);
    let shown = number.map_or_else(|| id.to_owned(), shard_id);
    let Some(shard) = number.and_then(|number| stream.shard_mut(now, number)) else {
        return Err(resource_not_found(format!("Shard {shown} in {stream_label} does not exist")));
    };
    let offset = match &start.kind {
        ShardIteratorType::TrimHorizon => without_number(start).map(|()| shard.oldest_offset())?,
        ShardIteratorType::Latest => without_number(start).map(|()| shard.next_offset())?,
        ShardIteratorType::AtTimestamp => {
            let time = start
                .timestamp
                .ok_or_else(|| invalid_argument("Timestamp must be specified for AT_TIMESTAMP."))?;
            if time > now {
                return Err(invalid_argument(format!(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                     timestampInMillis: {}, currentTimestampInMillis: {}",
                    time.millis(),
                    now.millis()
                )));
            }
            shard.offset_at_time(time)
        }
        kind => {
            let Some(text) = &start.sequence_number else {
                return Err(mismatch(start, "no StartingSequenceNumber"));
            };
            let foreign = |why: &str| {
                invalid_argument(format!(
                    "StartingSequenceNumber {text} used in {operation} on shard {shown} in {stream_label} is \
                     invalid{why}."
                ))
            };
            let number = text.parse().map_err(|_| foreign(""))?;
            let parts = sequence::parse(number).ok_or_else(|| foreign(""))?;
            if parts.shard != shard.number {
                return Err(invalid_argument(format!(
                    "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {shown}",
                    shard_id(parts.shard)
                )));
            }
            if !shard.issued(parts) {
                return Err(foreign(" because it did not come from this stream"));
            }
            if *kind == ShardIteratorType::AtSequenceNumber {
                shard.offset_at(number)
            } else {
                shard.offset_after(number)
            }
        }
    };
    Ok((shard.number, offset))
}

fn without_number(start: &StartingPosition) -> Result<(), ServiceError> {
    if start.sequence_number.is_some() {
        return Err(mismatch(start, "also a StartingSequenceNumber"));
    }
    Ok(())
}

fn mismatch(start: &StartingPosition, what: &str) -> ServiceError {
    invalid_argument(format!(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
         TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {} and {what}.",
        start.kind
    ))
}

/// As in `Thu Jan 22 01:22:02 UTC 2015`.
fn java_date(time: Timestamp) -> String {
    let text = http_date(time);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [weekday, day, month, year, clock, _] => {
            format!("{} {month} {day} {clock} UTC {year}", weekday.trim_end_matches(','))
        }
        _ => text,
    }
}
