//! Reads one shard by GetShardIterator and GetRecords.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rand::rngs::SmallRng;
use rokini_lease::{Position, Progress, ShardId};
use rokini_wire::{Codec, RecordsAnswer};
use tokio::time::Instant;

use crate::aws::error::broke_off;
use crate::config::Settings;
use crate::source::kinesis::adaptive_batch::AdaptiveBatch;
use crate::source::kinesis::client::{LIST_SHARDS, ListError, READ_ATTEMPT, StreamClient};
use crate::source::kinesis::convert::{child_shard, records};
use crate::source::kinesis::poll_schedule::PollSchedule;
use crate::source::kinesis::rate_limiter::RateLimiter;
use crate::source::kinesis::stuck_reader::StuckReader;
use crate::source::kinesis::wire::Outcome;
use crate::source::stream_source::{ReadResponse, ShardEnd, ShardReader, SourceEvent};
use crate::types::error::{Error, ErrorKind};
use crate::types::record::Record;
use crate::types::start_position::StartPosition;

const GET_RECORDS: &str = "kinesis:GetRecords";
const GET_SHARD_ITERATOR: &str = "kinesis:GetShardIterator";

/// How shards are polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polling {
    pub(super) floor: Duration,
    pub(super) ceiling: Duration,
    pub(super) max_records: u16,
}

impl From<&Settings> for Polling {
    fn from(settings: &Settings) -> Self {
        Self { floor: settings.poll_floor, ceiling: settings.poll_ceiling, max_records: settings.max_records }
    }
}

/// What an answer says about the end of the shard.
#[derive(Debug)]
enum EndClaim {
    None,
    /// With its children.
    Confirmed(ShardEnd),
    /// There is no way to go on, and no children either.
    Unconfirmed,
}

/// Reads one shard by polling.
///
/// - An iterator that expired is opened again after the last record returned, or where reading began if there was
///   none.
/// - A position past the retention goes on at the oldest record kept. Kinesis takes such a position, but then may
///   answer with nothing for hours: a reader that gets no nearer to the tip is opened again by time.
/// - A position that the shard never had is an error of kind [`ErrorKind::Data`].
/// - A shard ends with its children. An answer that ends it without them may be a mistake on the way: the place is opened
///   again, and only where that ends too, without a record, and the listing has the shard closed, it is the end.
/// - Records that were returned already are left out, wherever an answer has them from. An answer whose records are out
///   of order, or that lacks a part of one, counts for nothing and is asked for again.
pub(crate) struct PollingReader {
    client: Arc<StreamClient>,
    shard: ShardId,
    /// Where reading goes on.
    place: Position,
    iterator: Option<ShardIterator>,
    stuck: StuckReader,
    /// Where to open in place of `place`, which gets no nearer to the tip.
    reposition: Option<Position>,
    /// Whether the last answer ended the shard without children.
    end_claimed: bool,
    ended: bool,
    /// How far the last answer that said so was behind the tip.
    behind_millis: u64,
    /// What is to be told with the next answer.
    notice: Option<SourceEvent>,
    schedule: PollSchedule,
    limiter: RateLimiter,
    batch: AdaptiveBatch,
    rng: SmallRng,
}

#[derive(Debug, Clone)]
struct ShardIterator {
    token: String,
    /// Whether it came from an answer to GetRecords, so that reading went through just before.
    continues: bool,
    /// Whether it may bring records up to the place once more.
    may_repeat: bool,
}

impl PollingReader {
    pub(super) fn new(
        client: Arc<StreamClient>,
        shard: ShardId,
        at: Position,
        polling: Polling,
        rng: SmallRng,
    ) -> Result<Self, Error> {
        if at.is_shard_end() {
            let message = format!("shard `{shard}` is at its end: there is nothing to read");
            return Err(Error::new(ErrorKind::Bug, message));
        }
        let now = Instant::now();
        // A position among the records is where somebody came to, a moment ago it may be.
        let limiter = match at {
            Position::Sequence(..) => RateLimiter::after_another(now),
            _ => RateLimiter::fresh(),
        };
        let reader = Self {
            client,
            shard,
            place: at,
            iterator: None,
            stuck: StuckReader::default(),
            reposition: None,
            end_claimed: false,
            ended: false,
            behind_millis: 0,
            notice: None,
            schedule: PollSchedule::new(polling.floor, polling.ceiling, now),
            limiter,
            batch: AdaptiveBatch::new(polling.max_records),
            rng,
        };
        reader.refuse_future()?;
        Ok(reader)
    }

    /// Refuses to start at a time that has not come, as far as the stream's time is known.
    fn refuse_future(&self) -> Result<(), Error> {
        match (self.place, self.client.stream_now()) {
            (Position::AtTimestamp(millis), Some(now)) => StartPosition::AtTimestamp(millis).check(now),
            _ => Ok(()),
        }
    }

    async fn open(&mut self) -> Result<ShardIterator, Error> {
        self.refuse_future()?;
        let call = self.client.control.get_shard_iterator();
        let call = call.set_stream_name(self.client.name()).set_stream_arn(self.client.arn());
        let call = call.shard_id(self.shard.as_str());
        let call = match self.reposition.unwrap_or(self.place) {
            Position::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::AtTimestamp(millis) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))),
            Position::Sequence(number, Progress::Whole) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.to_string()),
            Position::Sequence(number, Progress::Nothing | Progress::Through(_)) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number.to_string()),
            Position::ShardEnd => return Err(past_end(&self.shard)),
        };
        let answer = match Box::pin(call.send()).await {
            Ok(answer) => answer,
            Err(error) => {
                let refused = error.code() == Some("InvalidArgumentException");
                let translated = self.client.error(error, GET_SHARD_ITERATOR, Some(&self.shard));
                return Err(if refused { self.position_refused(translated) } else { translated });
            }
        };
        match answer.shard_iterator {
            Some(token) if !token.is_empty() => {
                Ok(ShardIterator { token, continues: false, may_repeat: self.reposition.take().is_some() })
            }
            _ => {
                Err(self.client.call(GET_SHARD_ITERATOR, Some(&self.shard)).malformed("has no ShardIterator"))
            }
        }
    }

    /// The service takes every position of this shard, also a trimmed one; what it refuses is none.
    fn position_refused(&self, refused: Error) -> Error {
        let (shard, place) = (&self.shard, self.place);
        match place {
            // Within the tolerance of `refuse_future`: the time comes soon.
            Position::AtTimestamp(millis) if self.client.stream_now().is_none_or(|now| millis > now) => {
                let message = format!("shard `{shard}` cannot be read from {place} yet: it is tried again");
                Error::new(ErrorKind::Retry, message).with_source(refused)
            }
            Position::Sequence(..) => {
                let message = format!(
                    "position {place} is none of shard `{shard}`: it belongs to another shard or stream; begin at \
                     a position of this one"
                );
                Error::new(ErrorKind::Data, message).with_source(refused)
            }
            _ => refused,
        }
    }

    /// The answer as a response, with what it says about the end.
    fn accept(
        &mut self,
        answer: RecordsAnswer,
        started: Instant,
        may_repeat: bool,
    ) -> Result<(ReadResponse, EndClaim), Error> {
        let now = Instant::now();
        let asked = usize::from(self.batch.records());
        self.batch.answered(now.duration_since(started), READ_ATTEMPT);
        let call = self.client.call(GET_RECORDS, Some(&self.shard));
        let (mut records, bytes) = records(&answer, &call)?;
        self.limiter.took(now, bytes);
        self.batch.brought(records.len(), Record::memory_in_one(answer.body.len(), records.len()));
        let next = answer.next_shard_iterator.filter(|token| !token.is_empty());
        let end = match (&next, answer.child_shards) {
            (Some(_), _) => EndClaim::None,
            (None, children) => {
                let children: Vec<_> = children
                    .iter()
                    .flatten()
                    .map(|child| child_shard(child, &call))
                    .collect::<Result<_, _>>()?;
                let ours = children.iter().any(|child| child.parents.contains(&self.shard));
                if ours { EndClaim::Confirmed(ShardEnd { children }) } else { EndClaim::Unconfirmed }
            }
        };
        // From here on nothing fails: the place moves if and only if the records are returned.
        let told = answer.millis_behind_latest.map(|millis| u64::try_from(millis).unwrap_or(0));
        let millis_behind_latest = told.unwrap_or(self.behind_millis);
        self.behind_millis = millis_behind_latest;
        let behind = millis_behind_latest > 0 || records.len() >= asked;
        self.schedule.went_through(started, now, records.len(), behind, &mut self.rng);
        let stuck = self.stuck.answered(records.len(), millis_behind_latest);
        if records.first().is_some_and(|first| !is_beyond(first, self.place)) {
            records.retain(|record| is_beyond(record, self.place));
        }
        let may_repeat = may_repeat && records.is_empty();
        if let Some(last) = records.last() {
            self.place = Position::after(last.sequence_number);
        }
        self.iterator = next.map(|token| ShardIterator { token, continues: true, may_repeat });
        if stuck {
            self.reposition_by_time(millis_behind_latest);
        }
        let took = Some(now.duration_since(started));
        Ok((ReadResponse { records, millis_behind_latest, took, ..ReadResponse::default() }, end))
    }

    /// The response with the end of the shard, if it is one.
    async fn settle_end(&mut self, mut fetched: ReadResponse, end: EndClaim) -> Result<ReadResponse, Error> {
        fetched.end = match end {
            EndClaim::None => None,
            EndClaim::Confirmed(end) => Some(end),
            // The place is opened again. What comes of that decides.
            EndClaim::Unconfirmed if !fetched.records.is_empty() || !self.end_claimed => {
                self.end_claimed = true;
                return Ok(fetched);
            }
            EndClaim::Unconfirmed => {
                let end = self.listed_end().await?;
                if end.is_none() {
                    self.notice = Some(SourceEvent::EndRefuted);
                }
                end
            }
        };
        self.end_claimed = false;
        self.ended = fetched.end.is_some();
        Ok(fetched)
    }

    /// The end of the shard as the listing has it; `None` where it is open.
    async fn listed_end(&self) -> Result<Option<ShardEnd>, Error> {
        let listed = self.client.list(None).await.map_err(|error| match error {
            ListError::Call(error) => self.client.error(*error, LIST_SHARDS, None),
            ListError::Other(error) => error,
        })?;
        match listed.iter().find(|shard| shard.id == self.shard) {
            Some(shard) if shard.closed => {
                let children = listed.iter().filter(|child| child.parents.contains(&self.shard));
                Ok(Some(ShardEnd { children: children.cloned().collect() }))
            }
            Some(_) => Ok(None),
            None => {
                let message = format!("shard `{}` ended, and is not listed any more", self.shard);
                Err(Error::new(ErrorKind::Data, message))
            }
        }
    }

    /// Goes to the time at which the service says that reading is, or to the oldest record kept if that is past
    /// the retention.
    fn reposition_by_time(&mut self, millis_behind: u64) {
        let reposition = match (self.place, self.client.stream_now()) {
            (place, Some(now)) => {
                let reached = now.saturating_sub(millis_behind).saturating_sub(REPOSITION_MARGIN_MILLIS);
                match place {
                    Position::AtTimestamp(from) => Position::AtTimestamp(reached.max(from)),
                    _ => Position::AtTimestamp(reached),
                }
            }
            (place @ Position::AtTimestamp(_), None) => place,
            (_, None) => Position::TrimHorizon,
        };
        tracing::debug!(shard = %self.shard, place = %self.place, %reposition, "no nearer to the tip: opened by time");
        self.reposition = Some(reposition);
        self.iterator = None;
    }

    /// What to do about a failed read. `None`: the place is opened again, at once.
    fn read_failed(
        &mut self,
        error: SdkError<GetRecordsError, HttpResponse>,
        continues: bool,
    ) -> Option<Error> {
        match &error {
            SdkError::TimeoutError(_) => self.batch.cut_off(),
            SdkError::ResponseError(answer) if broke_off(answer) => self.batch.cut_off(),
            _ => {}
        }
        let expired = error.code() == Some("ExpiredIteratorException");
        // A server that was restarted does not know its iterators any more.
        let invalid = error.code() == Some("InvalidArgumentException");
        if expired || invalid {
            self.iterator = None;
            if continues {
                tracing::debug!(shard = %self.shard, place = %self.place, "iterator lost: opened again");
                return None;
            }
        }
        let translated = if expired {
            let message = format!(
                "a new iterator of shard `{}` expired before it was used: it is tried again",
                self.shard
            );
            Error::new(ErrorKind::Retry, message).with_source(error)
        } else {
            self.client.error(error, GET_RECORDS, Some(&self.shard))
        };
        Some(translated)
    }

    /// Takes an error into the schedule, so that the next call waits as long as it should.
    fn back_off(&mut self, error: &Error) {
        let now = Instant::now();
        match error.kind() {
            ErrorKind::Throttled => self.schedule.throttled(now, &mut self.rng),
            _ => self.schedule.failed(now, &mut self.rng),
        }
    }

    /// One pass to the next answer. `Ok(None)`: the iterator was lost, again.
    async fn try_next(&mut self) -> Result<Option<ReadResponse>, Error> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => {
                let opened = self.open().await?;
                self.iterator.insert(opened).clone()
            }
        };
        if let Some(ready) = self.limiter.ready_at(Instant::now()) {
            tokio::time::sleep_until(ready).await;
        }
        let started = Instant::now();
        // Noted before the answer is there: a call that is dropped has counted with the service.
        self.limiter.call(started);
        let codec = self.client.wire.next(started);
        let call = self.client.records(codec).get_records().shard_iterator(iterator.token);
        let call = call.limit(i32::from(self.batch.records())).set_stream_arn(self.client.arn());
        let answer = Box::pin(call.send()).await;
        self.limiter.answered(Instant::now());
        let output = match answer {
            Ok(output) => output,
            Err(error) => {
                self.note(codec, outcome(&error));
                return self.read_failed(error, iterator.continues).map_or(Ok(None), Err);
            }
        };
        // Nothing else refers to the body then, so that JSON is decoded in it.
        let body = output.records.into_iter().next().map(|record| record.data.into_bytes());
        match RecordsAnswer::read(body.unwrap_or_default()) {
            Ok(answer) => {
                self.note(codec, Outcome::Understood);
                let (fetched, end) = self.accept(answer, started, iterator.may_repeat)?;
                self.settle_end(fetched, end).await.map(Some)
            }
            Err(error) => {
                self.note(codec, Outcome::Unclear(error.to_string()));
                let call = self.client.call(GET_RECORDS, Some(&self.shard));
                Err(call.malformed(format_args!("cannot be read ({error})")))
            }
        }
    }

    /// Notes what a request in an encoding came to.
    fn note(&mut self, codec: Codec, outcome: Outcome) {
        if let Some(notice) = self.client.wire.answered(codec, outcome, Instant::now()) {
            self.notice = Some(notice);
        }
    }
}

/// What a failed call says about the encoding it was made in.
pub(super) fn outcome<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Outcome {
    let (status, code) = match error {
        SdkError::ServiceError(answer) => (answer.raw().status().as_u16(), answer.err().code()),
        SdkError::ResponseError(answer) if !broke_off(answer) => (answer.raw().status().as_u16(), None),
        _ => return Outcome::None,
    };
    let told = || code.map_or_else(|| format!("HTTP {status}"), |code| format!("HTTP {status}, {code}"));
    match (status, code) {
        (406 | 415, _)
        | (_, Some("SerializationException" | "UnknownOperationException" | "InvalidAction")) => {
            Outcome::Refused(told())
        }
        (_, Some("ExpiredIteratorException")) => Outcome::Understood,
        (429, None) => Outcome::None,
        (500.., _) | (_, None | Some("InvalidArgumentException" | "ValidationException")) => {
            Outcome::Unclear(told())
        }
        _ => Outcome::None,
    }
}

/// A reader was asked for more after the end.
pub(super) fn past_end(shard: &ShardId) -> Error {
    Error::new(ErrorKind::Bug, format!("shard `{shard}` was read past its end"))
}

/// How much earlier than the service says reading goes on after that: its time is approximate.
const REPOSITION_MARGIN_MILLIS: u64 = 60_000;

/// Whether a record lies after what is done at `place`.
pub(super) fn is_beyond(record: &Record, place: Position) -> bool {
    match place {
        Position::Sequence(number, Progress::Whole) => record.sequence_number > number,
        Position::Sequence(number, _) => record.sequence_number >= number,
        Position::TrimHorizon | Position::AtTimestamp(_) => true,
        Position::ShardEnd => false,
    }
}

#[async_trait]
impl ShardReader for PollingReader {
    async fn ready(&mut self) {
        tokio::time::sleep_until(self.schedule.next()).await;
        if let Some(ready) = self.limiter.ready_at(Instant::now()) {
            tokio::time::sleep_until(ready).await;
        }
    }

    fn read_at_most(&mut self, bytes: usize) {
        self.batch.fit_into(bytes);
    }

    // Cancel safe: nothing moves between an answer and the return, and an iterator can be used again.
    async fn next(&mut self) -> Result<ReadResponse, Error> {
        if self.ended {
            return Err(past_end(&self.shard));
        }
        loop {
            tokio::time::sleep_until(self.schedule.next()).await;
            match self.try_next().await {
                Ok(Some(fetched)) => return Ok(ReadResponse { notice: self.notice.take(), ..fetched }),
                Ok(None) => {}
                Err(error) => {
                    self.back_off(&error);
                    return Err(error);
                }
            }
        }
    }
}

impl fmt::Debug for PollingReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollingReader")
            .field("shard", &self.shard)
            .field("place", &self.place)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod large;
#[cfg(test)]
mod sharing;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod wrong_answers;
