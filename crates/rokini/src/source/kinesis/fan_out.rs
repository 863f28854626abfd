//! Reads one shard by SubscribeToShard.

mod attempts;
mod registration;
mod subscription;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rokini_lease::{Position, Progress, ShardId};
use rokini_wire::{Codec, ErrorCode, RecordsAnswer, SequenceNumber};
use tokio::time::{Instant, sleep_until, timeout};

use attempts::Attempts;
use subscription::{Head, Pushed, Subscription};

use super::client::StreamClient;
use super::convert::{child_shard, records};
use super::polling::{Polling, PollingReader, is_beyond, outcome, past_end};
use super::stuck_reader::StuckReader;
use super::wire::{Outcome, TakeBody};
use crate::source::stream_source::{ReadResponse, ShardEnd, ShardReader, SourceEvent, SubscriptionCounts};
use crate::types::error::Error;

const SUBSCRIBE_TO_SHARD: &str = "kinesis:SubscribeToShard";
/// How long a call may take until its answer begins.
const CALL: Duration = Duration::from_secs(5);
/// For how long a shard is polled after an event that polling has to look into: an end without children, or a position that
/// was refused.
const POLLED: Duration = Duration::from_secs(5);
/// For how long a shard is polled after an event that did not fit into memory: an event comes as a whole, of answers to GetRecords
/// a part can be asked for.
const CROWDED: Duration = Duration::from_secs(30);
/// How much earlier than the service says reading goes on after a subscription got no nearer to the tip: its time is
/// approximate.
const REPOSITION_MARGIN_MILLIS: u64 = 60_000;

/// Reads one shard by subscriptions, and by polling while it has none.
///
/// - A subscription ends after 5 minutes; the next one goes on where it stood (the continuation of its last event), at once.
/// - While none can be had (somebody else had one up to 5 s ago, the service refuses, the connection is broken) the shard is
///   polled, so that it never stands still; calls are a second apart at least.
/// - The end of a shard is the event with its children. An end without children is left to polling, which looks twice.
/// - An event that does not fit into the shard's part of the budget is given up: the shard is polled for a while, in answers that
///   fit.
/// - What is not read waits with the service: that is how a slow consumer holds it back. [`ShardReader::rest`] gives the
///   subscription up; the next one goes on after the last record returned.
/// - One that is silent for [`subscription::SILENCE`] while somebody waits is replaced.
/// - Positions past the retention, records that were returned already and malformed answers: as with polling.
pub(super) struct FanOutReader {
    client: Arc<StreamClient>,
    shard: ShardId,
    consumer: Arc<str>,
    /// Where reading goes on: after the last record returned.
    place: Position,
    /// Where the next subscription goes on, where that is known beyond the place.
    continuation: Option<Position>,
    subscription: Option<Subscription>,
    /// Whether it brought an event.
    heard: bool,
    /// What was found to read and is not returned yet.
    next: Option<Next>,
    attempts: Attempts,
    polling: Polling,
    /// While there is no subscription.
    poller: Option<PollingReader>,
    stuck: StuckReader,
    ended: bool,
    behind_millis: u64,
    /// How much memory an answer should take at most.
    at_most: Option<usize>,
    /// What was told of a subscription that cannot be had, until one can.
    told: Option<SubscriptionProblem>,
    notice: Option<SourceEvent>,
    counts: SubscriptionCounts,
    rng: SmallRng,
}

/// What was told of a subscription that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SubscriptionProblem {
    Waits,
    Refused,
    Gone,
}

/// What can be read next.
enum Next {
    /// An event that is here.
    Event(Box<RecordsAnswer>),
    /// An event of so many bytes that begins to arrive.
    Large(usize),
    /// The shard is polled, and it is time to.
    Poll,
}

impl FanOutReader {
    pub(super) fn new(
        client: Arc<StreamClient>,
        shard: ShardId,
        at: Position,
        consumer: &str,
        polling: Polling,
        rng: SmallRng,
    ) -> Result<Self, Error> {
        let mut reader = Self {
            client,
            shard,
            consumer: consumer.into(),
            place: at,
            continuation: None,
            subscription: None,
            heard: false,
            next: None,
            attempts: Attempts::new(Instant::now()),
            polling,
            poller: None,
            stuck: StuckReader::default(),
            ended: false,
            behind_millis: 0,
            at_most: None,
            told: None,
            notice: None,
            counts: SubscriptionCounts::default(),
            rng,
        };
        // Refuses what cannot be read.
        reader.new_poller()?;
        Ok(reader)
    }

    /// Reads the shard by polling from the place on.
    fn new_poller(&mut self) -> Result<PollingReader, Error> {
        let rng = SmallRng::from_rng(&mut self.rng);
        let client = Arc::clone(&self.client);
        let mut poller = PollingReader::new(client, self.shard.clone(), self.place, self.polling, rng)?;
        if let Some(bytes) = self.at_most {
            poller.read_at_most(bytes);
        }
        Ok(poller)
    }

    /// Waits until there is something to read. Cancel safe.
    async fn until_next(&mut self) -> Result<Next, Error> {
        loop {
            if let Some(subscription) = &mut self.subscription {
                match subscription.head().await {
                    Head::Large(length) => {
                        self.hears();
                        return Ok(Next::Large(length));
                    }
                    Head::Whole(pushed) => match *pushed {
                        Pushed::Event(answer) => {
                            self.hears();
                            return Ok(Next::Event(answer));
                        }
                        other => self.over(other).await,
                    },
                }
                continue;
            }
            let next = self.attempts.next();
            if Instant::now() >= next {
                self.subscribe().await;
                continue;
            }
            let poller = match self.poller.take() {
                Some(poller) => self.poller.insert(poller),
                None => {
                    let poller = self.new_poller()?;
                    self.poller.insert(poller)
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(next) => {}
                () = poller.ready() => return Ok(Next::Poll),
            }
        }
    }

    /// The subscription brought an event: until then it may be none.
    fn hears(&mut self) {
        if !std::mem::replace(&mut self.heard, true) {
            self.attempts.heard();
            if self.poller.take().is_some() || self.told.is_some() {
                self.notice = Some(SourceEvent::Subscribed);
            }
            self.told = None;
        }
    }

    /// Calls SubscribeToShard. Whatever comes of it, the shard is read on.
    async fn subscribe(&mut self) {
        self.attempts.begins(Instant::now());
        let called = timeout(CALL, self.call()).await;
        let now = Instant::now();
        match called {
            Ok(Ok((body, codec))) => {
                self.attempts.subscribed(now);
                self.heard = false;
                self.counts.begun += 1;
                // JSON is decoded in its own text, so that must be nobody else's.
                let buffers = (codec == Codec::Cbor).then(|| Arc::clone(&self.client.buffers));
                self.subscription = Some(Subscription::new(body, buffers));
            }
            Ok(Err(error)) => self.refused(*error, now).await,
            Err(_) => {
                self.attempts.failed(now, &mut self.rng);
                let reason = format!("no answer to {SUBSCRIBE_TO_SHARD} within {} s", CALL.as_secs());
                self.tell(SubscriptionProblem::Refused, reason);
            }
        }
    }

    /// The body of the answer, which stays open, and what it was asked for in.
    async fn call(&self) -> Result<(SdkBody, Codec), Box<SdkError<SubscribeToShardError, HttpResponse>>> {
        let start = StartingPosition::builder();
        let start = match self.continuation.unwrap_or(self.place) {
            Position::AtTimestamp(millis) => start
                .r#type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))),
            Position::Sequence(number, Progress::Whole) => {
                start.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(number.to_string())
            }
            Position::Sequence(number, Progress::Nothing | Progress::Through(_)) => {
                start.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(number.to_string())
            }
            // A reader at the end of a shard is never made.
            Position::TrimHorizon | Position::ShardEnd => start.r#type(ShardIteratorType::TrimHorizon),
        };
        let start = start.build().map_err(|error| Box::new(SdkError::construction_failure(error)))?;
        let codec = self.client.subscription_wire.next(Instant::now());
        let call = self.client.records(codec).subscribe_to_shard();
        let call = call.consumer_arn(&*self.consumer).shard_id(self.shard.as_str()).starting_position(start);
        let body = TakeBody::default();
        let sent = Box::pin(call.customize().interceptor(body.clone()).send()).await;
        let noted = sent.as_ref().map_or_else(outcome, |_| Outcome::Understood);
        // That subscriptions come in JSON needs no telling: events are read in whichever encoding they are.
        self.client.subscription_wire.answered(codec, noted, Instant::now());
        sent?;
        Ok((body.take().unwrap_or_else(SdkBody::empty), codec))
    }

    /// The call was refused, or did not get through.
    async fn refused(&mut self, error: SdkError<SubscribeToShardError, HttpResponse>, now: Instant) {
        match error.code().map(ErrorCode::from) {
            Some(ErrorCode::ResourceInUse) => self.in_use(error.message().unwrap_or_default(), now),
            Some(ErrorCode::ResourceNotFound) => self.not_found(now).await,
            code => {
                self.attempts.failed(now, &mut self.rng);
                if code == Some(ErrorCode::InvalidArgument) {
                    // Polling finds out what is wrong with the position.
                    self.attempts.wait(now, POLLED);
                }
                let error = self.client.error(error, SUBSCRIBE_TO_SHARD, Some(&self.shard));
                self.tell(SubscriptionProblem::Refused, error.to_string());
            }
        }
    }

    /// Somebody else has a subscription, or had one a moment ago.
    fn in_use(&mut self, message: &str, now: Instant) {
        self.counts.in_use += 1;
        let told = match self.attempts.in_use(now, &mut self.rng) {
            true => SubscriptionProblem::Waits,
            false => SubscriptionProblem::Refused,
        };
        let reason = match message {
            "" => ErrorCode::ResourceInUse.to_string(),
            message => format!("{} ({message})", ErrorCode::ResourceInUse),
        };
        self.tell(told, reason);
    }

    /// There is no such consumer, or no such shard.
    async fn not_found(&mut self, now: Instant) {
        self.attempts.failed(now, &mut self.rng);
        // Polling finds out whether the shard is there.
        if let Ok(None) = self.client.consumer_by_arn(&self.consumer).await {
            self.tell(SubscriptionProblem::Gone, String::new());
        }
    }

    /// The subscription is over.
    async fn over(&mut self, how: Pushed) {
        let now = Instant::now();
        self.give_up(now);
        match how {
            Pushed::End | Pushed::Event(_) => {}
            Pushed::Broken(reason) => {
                tracing::debug!(shard = %self.shard, reason, "a subscription broke off");
                self.tell(SubscriptionProblem::Waits, reason);
            }
            // It never began: some servers say so in the stream.
            Pushed::Exception(error) if error.code == ErrorCode::ResourceInUse && !self.heard => {
                self.counts.begun = self.counts.begun.saturating_sub(1);
                self.in_use(&error.message, now);
            }
            Pushed::Exception(error) if error.code == ErrorCode::ResourceInUse => {
                self.counts.in_use += 1;
                self.attempts.taken(now, &mut self.rng);
                let reason = format!(
                    "another reader subscribed for the same consumer: give each group a `fan_out_consumer` of its own: {}",
                    error.message
                );
                self.tell(SubscriptionProblem::Refused, reason);
            }
            Pushed::Exception(error) if error.code == ErrorCode::ResourceNotFound => {
                self.not_found(now).await;
            }
            Pushed::Exception(error) => {
                self.attempts.failed(now, &mut self.rng);
                self.tell(SubscriptionProblem::Refused, format!("{}: {}", error.code, error.message));
            }
        }
    }

    /// Drops the subscription, if there is one.
    fn give_up(&mut self, now: Instant) {
        self.next = None;
        if self.subscription.take().is_some() {
            self.attempts.over(now);
        }
    }

    /// Tells why there is no subscription: once, unless it turns out to be worse.
    fn tell(&mut self, told: SubscriptionProblem, reason: String) {
        if self.told < Some(told) {
            self.told = Some(told);
            self.notice = Some(match told {
                SubscriptionProblem::Waits => SourceEvent::SubscriptionWaits { reason },
                SubscriptionProblem::Refused => SourceEvent::SubscriptionRefused { reason },
                SubscriptionProblem::Gone => SourceEvent::ConsumerGone,
            });
        }
    }

    /// An event as a response.
    fn accept(&mut self, answer: RecordsAnswer) -> Result<ReadResponse, Error> {
        let call = self.client.call(SUBSCRIBE_TO_SHARD, Some(&self.shard));
        let (mut records, _) = records(&answer, &call)?;
        let continuation = answer.continuation_sequence_number.filter(|number| !number.is_empty());
        let continuation = continuation.map(|number| number.parse::<SequenceNumber>()).transpose();
        let continuation = continuation
            .map_err(|error| call.malformed("has no usable ContinuationSequenceNumber").with_source(error))?;
        let children: Vec<_> = match continuation {
            Some(_) => Vec::new(),
            None => {
                let children = answer.child_shards.iter().flatten();
                children.map(|child| child_shard(child, &call)).collect::<Result<_, _>>()?
            }
        };
        // From here on nothing fails: the place moves if and only if the records are returned.
        let told = answer.millis_behind_latest.map(|millis| u64::try_from(millis).unwrap_or(0));
        let millis_behind_latest = told.unwrap_or(self.behind_millis);
        self.behind_millis = millis_behind_latest;
        let stuck = self.stuck.answered(records.len(), millis_behind_latest);
        if records.first().is_some_and(|first| !is_beyond(first, self.place)) {
            records.retain(|record| is_beyond(record, self.place));
        }
        if let Some(last) = records.last() {
            self.place = Position::after(last.sequence_number);
        }
        self.continuation = continuation.map(Position::after);
        let read_to = self.continuation.filter(|continuation| *continuation > self.place);
        let now = Instant::now();
        let is_end = children.iter().any(|child| child.parents.contains(&self.shard));
        let end = is_end.then_some(ShardEnd { children });
        self.ended = is_end;
        if stuck && let Some(stream_now) = self.client.stream_now() {
            let reached =
                stream_now.saturating_sub(millis_behind_latest).saturating_sub(REPOSITION_MARGIN_MILLIS);
            self.give_up(now);
            self.continuation = Some(Position::AtTimestamp(reached));
        } else if is_end {
            self.give_up(now);
        } else if continuation.is_none() {
            self.give_up(now);
            self.attempts.wait(now, POLLED);
        }
        Ok(ReadResponse { records, millis_behind_latest, end, read_to, ..ReadResponse::default() })
    }

    /// An event whose records count for nothing if it is malformed: the next subscription brings them again.
    fn take(&mut self, answer: RecordsAnswer) -> Result<ReadResponse, Error> {
        self.accept(answer).inspect_err(|_| {
            let now = Instant::now();
            self.give_up(now);
            self.attempts.failed(now, &mut self.rng);
        })
    }

    /// One read by polling. `None`: there is nobody to poll.
    async fn poll(&mut self) -> Result<Option<ReadResponse>, Error> {
        let Some(poller) = &mut self.poller else { return Ok(None) };
        let fetched = poller.next().await?;
        if let Some(last) = fetched.records.last() {
            (self.place, self.continuation) = (Position::after(last.sequence_number), None);
        }
        self.ended = fetched.end.is_some();
        self.behind_millis = fetched.millis_behind_latest;
        Ok(Some(fetched))
    }
}

#[async_trait]
impl ShardReader for FanOutReader {
    fn take_subscriptions(&mut self) -> SubscriptionCounts {
        std::mem::take(&mut self.counts)
    }

    async fn ready(&mut self) {
        if self.next.is_none() && !self.ended {
            // An error is found again by `next`.
            self.next = self.until_next().await.ok();
        }
    }

    fn next_size(&self) -> Option<usize> {
        match &self.next {
            Some(Next::Event(answer)) => Some(answer.body.len() + answer.records.len() * PER_RECORD),
            Some(Next::Large(length)) => Some(length + length / 4),
            Some(Next::Poll) | None => None,
        }
    }

    fn read_at_most(&mut self, bytes: usize) {
        self.at_most = Some(bytes);
        let length = match &self.next {
            Some(Next::Large(length)) => *length,
            Some(Next::Event(answer)) => answer.body.len(),
            Some(Next::Poll) | None => 0,
        };
        if length > bytes {
            let now = Instant::now();
            self.give_up(now);
            self.attempts.wait(now, CROWDED);
            let reason = format!(
                "an event of {length} bytes does not fit into the shard's part of `memory_budget`: the shard is polled \
                 for a while"
            );
            self.tell(SubscriptionProblem::Waits, reason);
        }
        if let Some(poller) = &mut self.poller {
            poller.read_at_most(bytes);
        }
    }

    fn rest(&mut self) {
        self.give_up(Instant::now());
    }

    // Cancel safe: what was found stays until it is returned.
    async fn next(&mut self) -> Result<ReadResponse, Error> {
        if self.ended {
            return Err(past_end(&self.shard));
        }
        loop {
            self.ready().await;
            let fetched = match self.next.take() {
                // `ready` met an error.
                None => match self.until_next().await {
                    Ok(next) => {
                        self.next = Some(next);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                Some(Next::Event(answer)) => self.take(*answer)?,
                Some(Next::Large(length)) => {
                    let Some(subscription) = &mut self.subscription else { continue };
                    self.next = Some(Next::Large(length));
                    let pushed = subscription.large(length).await;
                    self.next = None;
                    match pushed {
                        Pushed::Event(answer) => self.take(*answer)?,
                        other => {
                            self.over(other).await;
                            continue;
                        }
                    }
                }
                Some(Next::Poll) => match self.poll().await? {
                    Some(fetched) => fetched,
                    None => continue,
                },
            };
            if let Some(subscription) = &mut self.subscription {
                subscription.pauses();
            }
            let notice = self.notice.take().or_else(|| fetched.notice.clone());
            return Ok(ReadResponse { notice, ..fetched });
        }
    }
}

/// What a record takes beside its data and key, about.
const PER_RECORD: usize = 100;

impl fmt::Debug for FanOutReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOutReader")
            .field("shard", &self.shard)
            .field("place", &self.place)
            .field("subscribed", &self.subscription.is_some())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
