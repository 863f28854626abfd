//! Reads a shard ahead of its handler.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::poll_immediate;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{Position, Validity};
use rokini_types::Backoff;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::budget::{Reserved, ShardBudget};
use super::held_shard::HeldShard;
use super::progress::ShardProgress;
use super::resources::ShardResources;
use crate::catalog::streams::{OpenStream, is_same};
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;
use crate::source::deaggregate::{Deaggregator, DroppedAggregates, MalformedAggregates, pass_over};
use crate::source::stream_source::{ReadResponse, ShardEnd, ShardReader, SourceNotice};
use crate::types::backoff::{DELIVERY, Retry};
use crate::types::error::{Error, ErrorKind};
use crate::types::record::Record;

/// A reader waits by itself after an error that passes, for as long as that one asks for. This on top of it keeps
/// one that does not from spinning.
const BESIDE_READER: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(200));

/// How long a shard must be missing from listings before its end is stored, which nothing takes back: a listing may be
/// older than a shard that was just born.
const MISSING: Duration = Duration::from_secs(10);

/// What one read brought.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) fetched: ReadResponse,
    /// The size of the records' data.
    pub(super) bytes: usize,
    /// Their part of the budget.
    pub(super) reserved: Option<Reserved>,
}

/// Reads one shard into a channel, at most one response ahead of what was taken from it.
pub(super) struct Fetch {
    resources: Arc<ShardResources>,
    progress: Arc<ShardProgress>,
    events: ShardEvents,
    stream: Arc<OpenStream>,
    validity: Validity,
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
            retry: Retry::new(DELIVERY, StdRng::from_rng(rng)),
            missing_since: None,
        }
    }

    /// Until the end of the shard, until nobody takes responses any more, or until another reader began.
    pub(super) async fn run(mut self) {
        let key = Arc::clone(self.progress.context.key());
        let responses = self.responses.clone();
        let (number, from) = self.progress.begin_reader();
        let mut reader = None;
        while let Ok(place) = responses.reserve().await {
            let next = self.next(&mut reader, &from).await;
            self.progress.asking(false);
            let Some((mut fetched, mut reserved)) = next else { continue };
            if let Some(notice) = fetched.notice.take() {
                self.report(notice);
            }
            self.report_gap(&fetched).await;
            Record::set_origin(&mut fetched.records, &key);
            self.unpack(&mut fetched.records, from);
            let (mut data, mut size) = (0, 0);
            for record in &fetched.records {
                data += record.data().len();
                size += record.size();
            }
            self.last_answer = Record::memory_of(&fetched.records);
            if let Some(reserved) = &mut reserved {
                reserved.resize(self.last_answer);
            }
            // From here to the hand-over nothing waits: a reader that was replaced hands on nothing, any other all.
            if !self.progress.answered(number, &fetched, size) {
                return;
            }
            if fetched.records.is_empty() && fetched.end.is_none() {
                continue;
            }
            let ended = fetched.end.is_some();
            place.send(Response { fetched, bytes: data, reserved });
            if ended {
                return;
            }
        }
    }

    /// One response. `None`: the shard was paused meanwhile, and is not any more. Where heartbeats do not arrive the
    /// shard may be another worker's already, whose calls it would take.
    async fn next(
        &mut self,
        reader: &mut Option<Box<dyn ShardReader>>,
        from: &Position,
    ) -> Option<(ReadResponse, Option<Reserved>)> {
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
                read = self.read(reader, from) => read,
            };
            match result {
                Ok((fetched, reserved)) => {
                    self.retry.succeeded();
                    stream.answered();
                    self.missing_since = None;
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
    async fn read(
        &self,
        reader: &mut Option<Box<dyn ShardReader>>,
        from: &Position,
    ) -> Result<(ReadResponse, Reserved), Error> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.stream.source.open(self.progress.context.shard_id(), from).await?),
        };
        reader.ready().await;
        let mut room = pin!(self.budget.reserve(self.last_answer));
        let reserved = match poll_immediate(&mut room).await {
            Some(reserved) => reserved,
            None => {
                // Nobody is asked while there is no room for the answer.
                self.progress.asking(false);
                let reserved = room.await;
                self.progress.asking(true);
                reserved
            }
        };
        reader.read_at_most(before_unpacking(reserved.bytes(), self.last_packed, self.last_answer));
        Ok((reader.next().await?, reserved))
    }

    /// From the records of the stream to user records, but for those that were done before reading began.
    fn unpack(&mut self, records: &mut Vec<Record>, from: Position) {
        self.last_packed = Record::memory_of(records);
        let Some(deaggregator) = &mut self.deaggregator else { return };
        let hashes_count = self.stream.source.places_by_hash();
        let unpacked = deaggregator.unpack_where(hashes_count, std::mem::take(records));
        *records = unpacked.records;
        pass_over(records, from);
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
    }

    fn report(&self, notice: SourceNotice) {
        self.events.emit(match notice {
            SourceNotice::AskedInJson { reason } => EventKind::AskedInJson { reason },
            SourceNotice::AskedInCbor => EventKind::AskedInCbor,
            SourceNotice::EndRefuted => EventKind::EndRefuted,
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
        let backoff = if error.is_retryable() { BESIDE_READER } else { DELIVERY };
        let retry_in = self.retry.failed_by(backoff);
        if matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Data) {
            // Another reader, here or elsewhere, would not get on either.
            self.progress.heard();
            self.stream.answered();
        }
        self.progress.read_failed(error.to_string(), error.kind() == ErrorKind::Data);
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

#[cfg(test)]
mod tests {
    use super::before_unpacking;

    #[test]
    fn less_is_asked_for_where_answers_grow() {
        assert_eq!(before_unpacking(1_000, 0, 0), 1_000);
        assert_eq!(before_unpacking(1_000, 500, 500), 1_000);
        assert_eq!(before_unpacking(1_000, 500, 1_500), 333);
        assert_eq!(before_unpacking(1_000, 500, 0), 1_000, "all of it was passed over");
    }
}
