//! Reads a shard ahead of its handler.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::poll_immediate;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{LeaseValidity, Position};
use rokini_types::Backoff;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::budget::{Reserved, ShardBudget};
use super::held_shard::HeldShard;
use super::progress::ShardProgress;
use super::resources::ShardResources;
use super::retrieval_choice::{ReadOutcome, RetrievalMode, usd_per_month};
use crate::catalog::streams::OpenStream;
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;
use crate::source::deaggregate::{Deaggregator, DroppedAggregates, MalformedAggregates, pass_over};
use crate::source::stream_identity::is_same;
use crate::source::stream_source::{ReadResponse, ShardEnd, ShardReader, ShardSelection, SourceEvent};
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::error::{Error, ErrorKind};
use crate::types::record::Record;
use crate::types::stall::ReadFailure;

/// A reader waits by itself after an error that passes, for as long as that one asks for. This on top of it keeps
/// one that does not from spinning.
const BESIDE_READER: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(200));

/// How long a shard must be missing from listings before its end is stored, which nothing takes back: a listing may be
/// older than a shard that was just born.
const MISSING: Duration = Duration::from_secs(10);

/// How long a reader holds on to what the stream pushes while nothing is taken from it: what waits takes memory on both sides.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a stream is asked how it places records, while some of them are dropped.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// A wait for the handler from which on reading faster would bring nothing.
const HELD_BACK: Duration = Duration::from_millis(100);

/// What one read brought.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) fetched: ReadResponse,
    /// The size of the records' data.
    pub(super) bytes: usize,
    /// Their part of the budget.
    pub(super) reserved: Option<Reserved>,
}

impl OpenReader {
    fn mode(&self) -> RetrievalMode {
        if self.consumer.is_some() { RetrievalMode::FanOut } else { RetrievalMode::Polling }
    }
}

fn rest(reader: &mut Option<OpenReader>) {
    if let Some(open) = reader {
        open.reader.rest();
    }
}

/// Waits, and has the reader rest where that takes long.
async fn or_rest<T>(wait: impl Future<Output = T>, reader: &mut Option<OpenReader>) -> T {
    let mut wait = pin!(wait);
    match timeout(PATIENCE, &mut wait).await {
        Ok(done) => done,
        Err(_) => {
            rest(reader);
            wait.await
        }
    }
}

/// Reads one shard into a channel, at most one response ahead of what was taken from it.
pub(super) struct Fetch {
    resources: Arc<ShardResources>,
    progress: Arc<ShardProgress>,
    events: ShardEvents,
    stream: Arc<OpenStream>,
    validity: LeaseValidity,
    responses: mpsc::Sender<Response>,
    budget: Arc<ShardBudget>,
    /// The memory that the last answer took.
    last_answer: usize,
    /// How much of it there was before its aggregates were unpacked.
    last_packed: usize,
    /// `None` where aggregates stay as they are.
    deaggregator: Option<Deaggregator>,
    retry: Retry,
    /// Since when listings do not show the shard.
    missing_since: Option<Instant>,
    /// When the stream was last asked how it places records, before some of them were dropped.
    placement_asked: Option<Instant>,
    /// Where the reader began.
    opened_at: Position,
    /// Whether the last read had to wait until the handler took what was read before.
    held_back: bool,
}

/// A reader, and which way it reads: the ARN of the consumer that it subscribes for, if it does.
struct OpenReader {
    reader: Box<dyn ShardReader>,
    consumer: Option<Arc<str>>,
}

impl Fetch {
    pub(super) fn new(
        shard: &HeldShard,
        responses: &mpsc::Sender<Response>,
        budget: &Arc<ShardBudget>,
        rng: &mut StdRng,
    ) -> Self {
        Self {
            resources: Arc::clone(&shard.resources),
            progress: Arc::clone(&shard.progress),
            events: shard.events.clone(),
            stream: Arc::clone(&shard.stream),
            validity: shard.lease.validity(),
            responses: responses.clone(),
            budget: Arc::clone(budget),
            last_answer: 0,
            last_packed: 0,
            deaggregator: deaggregator(shard),
            retry: Retry::new(COORDINATION, StdRng::from_rng(rng)),
            missing_since: None,
            placement_asked: None,
            opened_at: Position::TrimHorizon,
            held_back: false,
        }
    }

    /// Until the end of the shard, until nobody takes responses any more, or until another reader began.
    pub(super) async fn run(mut self) {
        let key = Arc::clone(self.progress.context.key());
        let responses = self.responses.clone();
        let number = self.progress.begin_reader();
        let mut reader = None;
        loop {
            let waits = Instant::now();
            let Ok(place) = or_rest(responses.reserve(), &mut reader).await else { return };
            self.held_back = waits.elapsed() > HELD_BACK;
            let next = self.next(&mut reader).await;
            self.progress.asking(false);
            let Some((mut fetched, mut reserved)) = next else {
                rest(&mut reader);
                continue;
            };
            if let Some(notice) = fetched.notice.take() {
                self.report(notice, &mut reader).await;
            }
            self.report_gap(&fetched).await;
            Record::set_origin(&mut fetched.records, &key);
            let packed = self.unpack(&mut fetched).await;
            let weight = Record::weigh(&fetched.records);
            self.last_answer = weight.memory;
            self.last_packed = packed.unwrap_or(weight.memory);
            if let Some(reserved) = &mut reserved {
                reserved.resize(self.last_answer);
            }
            // From here to the hand-over nothing waits: a reader that was replaced hands on nothing, any other all.
            if !self.progress.answered(number, &fetched, weight.size) {
                return;
            }
            if fetched.records.is_empty() && fetched.end.is_none() {
                continue;
            }
            let ended = fetched.end.is_some();
            place.send(Response { fetched, bytes: weight.data, reserved });
            if ended {
                return;
            }
        }
    }

    /// One response. `None`: the shard was paused meanwhile, and is not any more. Where heartbeats do not arrive the
    /// shard may be another worker's already, whose calls it would take.
    async fn next(&mut self, reader: &mut Option<OpenReader>) -> Option<(ReadResponse, Option<Reserved>)> {
        let (stream, progress) = (Arc::clone(&self.stream), Arc::clone(&self.progress));
        let validity = self.validity.clone();
        let may_read = async || {
            progress.until_paused(false).await;
            validity.until_valid().await;
        };
        loop {
            tokio::select! {
                biased;
                () = stream.until_replaced() => return Some((self.gone(), None)),
                () = may_read() => {}
            }
            progress.asking(true);
            let result = tokio::select! {
                biased;
                () = stream.until_replaced() => return Some((self.gone(), None)),
                () = progress.until_paused(true) => return None,
                () = validity.until_invalid() => return None,
                read = self.read(reader) => read,
            };
            match result {
                Ok((fetched, reserved)) => {
                    self.retry.succeeded();
                    stream.answered();
                    self.missing_since = None;
                    self.observe(Some(&fetched), false).await;
                    return Some((fetched, Some(reserved)));
                }
                Err(error) if self.is_gone(&error).await => return Some((self.gone(), None)),
                Err(error) => tokio::select! {
                    biased;
                    () = stream.until_replaced() => return Some((self.gone(), None)),
                    () = self.failed(&error) => {}
                },
            }
        }
    }

    /// Cancel safe, as readers are.
    async fn read(&mut self, reader: &mut Option<OpenReader>) -> Result<(ReadResponse, Reserved), Error> {
        let wanted = self.progress.retrieval().wanted(Instant::now());
        reader.take_if(|open| open.mode() != wanted);
        let reader = match reader.take() {
            Some(open) => reader.insert(open),
            None => {
                let open = self.open(wanted).await?;
                reader.insert(open)
            }
        };
        reader.reader.ready().await;
        let next_size = reader.reader.next_size();
        let next_size = next_size.map(|bytes| after_unpacking(bytes, self.last_packed, self.last_answer));
        let mut room = pin!(self.budget.reserve(self.last_answer, next_size));
        let reserved = match poll_immediate(&mut room).await {
            Some(reserved) => reserved,
            None => {
                // Nobody is asked while there is no room for the answer.
                self.progress.asking(false);
                let reserved = match timeout(PATIENCE, &mut room).await {
                    Ok(reserved) => reserved,
                    Err(_) => {
                        reader.reader.rest();
                        room.await
                    }
                };
                self.progress.asking(true);
                reserved
            }
        };
        let packed = before_unpacking(reserved.bytes(), self.last_packed, self.last_answer);
        reader.reader.read_at_most(packed);
        let read = reader.reader.next().await;
        self.progress.subscribed(reader.reader.take_subscriptions());
        Ok((read?, reserved))
    }

    /// From the records of the stream to user records, but for those that were done before reading began. The memory that
    /// they held before, where there were aggregates.
    async fn unpack(&mut self, fetched: &mut ReadResponse) -> Option<usize> {
        let deaggregator = self.deaggregator.as_mut()?;
        let source = &self.stream.source;
        let packed = std::mem::take(&mut fetched.records);
        let last = packed.last().map(|record| Position::after(record.sequence_number));
        let before = deaggregator.drops().then(|| packed.clone());
        let mut unpacked = deaggregator.unpack_where(source.places_by_hash(), packed);
        if unpacked.dropped.is_some()
            && let Some(before) = before
        {
            // Since it was last asked the stream may place records without regard to their keys.
            if self.placement_asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
                self.placement_asked = Some(Instant::now());
                if source.describe().await.is_ok() && !source.places_by_hash() {
                    unpacked = deaggregator.unpack_where(false, before);
                }
            }
            // What is dropped is done, also where nothing comes after it.
            fetched.read_to = fetched.read_to.max(last.filter(|_| unpacked.dropped.is_some()));
        }
        fetched.records = unpacked.records;
        pass_over(&mut fetched.records, self.opened_at);
        if let Some(MalformedAggregates { first, reason, records }) = unpacked.malformed {
            self.events.emit(EventKind::AggregatesMalformed { first, reason, records });
        }
        match unpacked.dropped {
            Some(DroppedAggregates { first, user_records }) => {
                self.events.emit(EventKind::AggregatesDropped { first, user_records });
            }
            None if unpacked.foreign > 0 => {
                self.events.emit(EventKind::ForeignUserRecords { user_records: unpacked.foreign });
            }
            None => {}
        }
        unpacked.packed
    }

    /// A reader at the place after the last record handed on. Where fan-out cannot be begun, it polls.
    async fn open(&mut self, mode: RetrievalMode) -> Result<OpenReader, Error> {
        let place = self.progress.reader_place();
        self.opened_at = place;
        let (shard, source) = (self.progress.context.shard_id(), &self.stream.source);
        if mode == RetrievalMode::FanOut
            && let Some(fan_out) = source.fan_out()
        {
            match self.resources.catalog.consumer(&self.stream).await {
                Ok(consumer) => {
                    let reader = fan_out.subscribe(shard, &place, &consumer).await?;
                    self.progress.opened(true);
                    return Ok(OpenReader { reader, consumer: Some(consumer) });
                }
                Err(error) => {
                    self.progress.retrieval().failed(Instant::now());
                    self.events.emit(EventKind::SubscriptionRefused { reason: error.to_string() });
                }
            }
        }
        self.progress.opened(false);
        Ok(OpenReader { reader: source.open(shard, &place).await?, consumer: None })
    }

    /// Notes what a read came to, and says so where the shard is to be read another way.
    async fn observe(&mut self, fetched: Option<&ReadResponse>, throttled: bool) {
        let read = ReadOutcome {
            throttled,
            behind: fetched.map(|fetched| Duration::from_millis(fetched.millis_behind_latest)),
            held_back: self.held_back,
            bytes_per_second: self.progress.bytes_per_second(),
        };
        let change = self.progress.retrieval().observe(Instant::now(), read);
        let Some((to, reason)) = change else { return };
        let source = &self.stream.source;
        let on_demand = source.describe().await.is_ok_and(|stream| stream.on_demand);
        let shards = source.list_shards(ShardSelection::Latest).await.map_or(1, |shards| shards.len());
        // The registration is paid for as long as there is one.
        let bytes_per_second = if to == RetrievalMode::FanOut { read.bytes_per_second } else { 0 };
        let usd_per_month = usd_per_month(on_demand, shards, bytes_per_second);
        self.events.emit(EventKind::RetrievalChanged { to: to.into(), reason, usd_per_month });
    }

    async fn report(&mut self, notice: SourceEvent, reader: &mut Option<OpenReader>) {
        match notice {
            SourceEvent::Subscribed => self.progress.set_fan_out(true),
            SourceEvent::SubscriptionWaits { .. } | SourceEvent::SubscriptionRefused { .. } => {
                self.progress.set_fan_out(false);
            }
            _ => {}
        }
        self.events.emit(match notice {
            SourceEvent::AskedInJson { reason } => EventKind::AskedInJson { reason },
            SourceEvent::AskedInCbor => EventKind::AskedInCbor,
            SourceEvent::EndRefuted => EventKind::EndRefuted,
            SourceEvent::Subscribed => EventKind::Subscribed,
            SourceEvent::SubscriptionWaits { reason } => EventKind::SubscriptionWaits { reason },
            SourceEvent::SubscriptionRefused { reason } => EventKind::SubscriptionRefused { reason },
            SourceEvent::ConsumerGone => {
                let Some(consumer) = reader.take().and_then(|open| open.consumer) else { return };
                self.stream.forget_consumer(&consumer).await;
                EventKind::ConsumerGone { consumer: consumer.to_string() }
            }
        });
    }

    /// Reports what may have been trimmed before these records, and halts where that is wanted.
    async fn report_gap(&self, fetched: &ReadResponse) {
        let progress = &self.progress;
        if progress.gap_before(fetched).is_none() {
            return;
        }
        // The retention may have been raised since it was asked for.
        if let Ok(described) = self.stream.source.describe().await
            && is_same(&described.id, &self.stream.id)
        {
            self.stream.set_retention(described.retention);
        }
        let Some(gap) = progress.gap_before(fetched) else { return };
        progress.data_lost();
        let halted = self.resources.settings.halt_on_data_loss;
        let (from_millis, to_millis) = (gap.from_millis, gap.to_millis);
        self.events.emit(EventKind::DataLoss { from_millis, to_millis, halted });
        if halted {
            progress.halt_reading().await;
        }
    }

    async fn failed(&mut self, error: &Error) {
        let backoff = if error.is_retryable() { BESIDE_READER } else { COORDINATION };
        let retry_in = self.retry.failed_by(backoff);
        self.observe(None, error.kind() == ErrorKind::Throttled).await;
        if matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Data) {
            // Another reader, here or elsewhere, would not get on either.
            self.progress.heard();
            self.stream.answered();
        }
        let failure = match error.kind() {
            ErrorKind::Data => ReadFailure::Position,
            ErrorKind::Permission => ReadFailure::Denied,
            ErrorKind::Throttled => ReadFailure::Throttled,
            _ => ReadFailure::Other,
        };
        self.progress.read_failed(error, failure);
        self.events.emit(EventKind::ReadFailed {
            kind: error.kind(),
            error: error.to_string(),
            failures: self.retry.failures(),
            retry_in,
        });
        sleep(retry_in).await;
    }

    /// Whether the error means that the stream does not know the shard any more. Anything unclear is an error
    /// like others.
    async fn is_gone(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Data {
            return false;
        }
        match self.resources.catalog.is_gone(&self.stream, self.progress.context.shard_id()).await {
            Ok(true) => self.missing_since.get_or_insert_with(Instant::now).elapsed() >= MISSING,
            Ok(false) => {
                self.missing_since = None;
                false
            }
            Err(_) => false,
        }
    }

    /// The end of a shard of which nothing more can be read.
    fn gone(&self) -> ReadResponse {
        let position = self.progress.context.checkpoints().latest_done();
        self.events.emit(EventKind::ShardGone { position });
        ReadResponse { end: Some(ShardEnd::default()), ..ReadResponse::default() }
    }
}

/// As the settings want it, with the hashes of the shard where its lease has them.
fn deaggregator(shard: &HeldShard) -> Option<Deaggregator> {
    let settings = &shard.resources.settings;
    let deaggregator = settings.deaggregate.then(Deaggregator::default)?;
    Some(match shard.lease.row().hash_range {
        Some(range) => deaggregator.hash_range(range, settings.kpl_hash_range),
        None => deaggregator,
    })
}

/// How much to ask for, so that it takes so many bytes once it is unpacked, if it grows as the last answer did.
fn before_unpacking(bytes: usize, packed: usize, unpacked: usize) -> usize {
    if unpacked <= packed {
        return bytes;
    }
    let share = packed as u128 * bytes as u128 / unpacked as u128;
    usize::try_from(share).unwrap_or(bytes)
}

/// How much an answer of so many bytes takes once it is unpacked, if it grows as the last one did.
fn after_unpacking(bytes: usize, packed: usize, unpacked: usize) -> usize {
    if unpacked <= packed || packed == 0 {
        return bytes;
    }
    let grown = unpacked as u128 * bytes as u128 / packed as u128;
    usize::try_from(grown).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{after_unpacking, before_unpacking};

    #[test]
    fn more_is_reserved_where_answers_grow() {
        assert_eq!(after_unpacking(1_000, 0, 0), 1_000);
        assert_eq!(after_unpacking(1_000, 500, 400), 1_000);
        assert_eq!(after_unpacking(1_000, 500, 1_500), 3_000);
    }

    #[test]
    fn less_is_asked_for_where_answers_grow() {
        assert_eq!(before_unpacking(1_000, 0, 0), 1_000);
        assert_eq!(before_unpacking(1_000, 500, 500), 1_000);
        assert_eq!(before_unpacking(1_000, 500, 1_500), 333);
        assert_eq!(before_unpacking(1_000, 500, 0), 1_000, "all of it was passed over");
    }
}
