//! How far a shard is read, in positions and in time; whether reading it stands still; what may be lost. Time and
//! positions are handed in, so all of it is decided without I/O.

use std::time::Duration;

use rokini_lease::{CheckpointMetadata, LeaseRow, Position};
use tokio::time::Instant;

use super::lag_tracker::LagTracker;
use super::rate::Rate;
use crate::source::stream_source::ReadResponse;
use crate::types::stall::ReadFailure;

/// Times of the stream are approximate: `MillisBehindLatest`, and a `Date` cut to the second.
const APPROXIMATE_MILLIS: u64 = 60_000;

/// Records that may have been trimmed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Everything that arrived before was read: milliseconds since the Unix epoch, by the stream's clock.
    pub(crate) from_millis: u64,
    /// What arrived from here on is there.
    pub(crate) to_millis: u64,
}

/// The gap between what was read and what came then.
///
/// Sequence numbers have gaps anyway, so only time can tell: what arrived after `known_to` and is past the retention
/// now may be gone, up to the first record that came.
fn gap(known_to: Option<u64>, now: u64, retention: Duration, first_arrival: Option<u64>) -> Option<Gap> {
    let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let (from_millis, oldest_kept) = (known_to?, now.saturating_sub(retention));
    let to_millis = first_arrival.map_or(oldest_kept, |first| first.min(oldest_kept));
    (from_millis.saturating_add(APPROXIMATE_MILLIS) < to_millis).then_some(Gap { from_millis, to_millis })
}

/// Until when everything that arrived is done when a hold begins.
fn known_at(row: &LeaseRow) -> Option<u64> {
    match row.position {
        Position::AtTimestamp(millis) => Some(millis),
        Position::Sequence(..) => row.metadata.record_arrival_millis.max(row.metadata.caught_up_millis),
        Position::TrimHorizon | Position::ShardEnd => None,
    }
}

#[derive(Debug)]
pub(super) struct ReadProgress {
    /// How long a healthy reader may hear nothing.
    quiet: Duration,
    /// Where a new reader begins: after the last record handed on.
    place: Position,
    /// Counts the readers: only the last one may hand records on.
    reader: u64,
    /// Since when the stream is asked for records; `None` while it is not, because there is no room, or a pause.
    asking: Option<Instant>,
    /// When the stream answered last, if only that it is throttled.
    pub(super) heard: Option<Instant>,
    /// What the last read failed with; `None` where it was answered.
    pub(super) failure: Option<ReadFailure>,
    /// When a read was throttled, last.
    pub(super) throttled: Option<Instant>,
    /// When the first and the last of those answers came that followed one another without a silence that a healthy reader does
    /// not have.
    answers: Option<(Instant, Instant)>,
    /// Readers begun anew since the last good answer.
    pub(super) restarts: u32,
    /// Until when everything that arrived is read, by the stream's clock.
    read_to: Option<u64>,
    /// What was handed on and is not known to be done.
    pub(super) lag: LagTracker,
    /// When everything was done and nothing was behind, last, by the stream's clock.
    pub(super) caught_up: Option<u64>,
    pub(super) halted: bool,
    /// How often records may have been trimmed before they were read.
    pub(super) losses: u64,
    rate: Rate,
    /// Whether the stream pushes the records.
    pub(super) fan_out: bool,
    /// Whether the reader is one by fan-out, also while it waits for its subscription. It is what others go by: a registration
    /// is given back where no reader is.
    opened_by_fan_out: bool,
}

impl ReadProgress {
    pub(super) fn new(row: &LeaseRow, quiet: Duration, now: Instant) -> Self {
        Self {
            quiet,
            place: row.position,
            reader: 0,
            asking: None,
            heard: None,
            failure: None,
            throttled: None,
            answers: None,
            restarts: 0,
            read_to: known_at(row),
            lag: LagTracker::new(now),
            caught_up: None,
            halted: false,
            losses: 0,
            rate: Rate::default(),
            fan_out: false,
            opened_by_fan_out: row.metadata.fan_out == Some(true),
        }
    }

    /// A read failed.
    pub(super) fn failed(&mut self, failure: ReadFailure, now: Instant) {
        self.failure = Some(failure);
        if failure == ReadFailure::Throttled {
            self.throttled = Some(now);
        }
    }

    /// For how long reads were answered one after the other, up to the last answer.
    pub(super) fn answering(&self) -> Duration {
        self.answers.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

    pub(super) fn begin_reader(&mut self) -> u64 {
        self.reader += 1;
        self.asking = None;
        self.reader
    }

    /// A reader was begun, by fan-out or not. Whether that is not what is stored, or about to be.
    pub(super) fn opened(&mut self, by_fan_out: bool) -> bool {
        self.fan_out = by_fan_out;
        std::mem::replace(&mut self.opened_by_fan_out, by_fan_out) != by_fan_out
    }

    /// What the shard brings; 0 where that is not known yet.
    pub(super) fn bytes_per_second(&self, now: Instant) -> u64 {
        self.rate.per_second(now).unwrap_or_default()
    }

    pub(super) fn place(&self) -> Position {
        self.place
    }

    pub(super) fn asking(&mut self, on: bool, now: Instant) {
        // Another try is no answer.
        self.asking = on.then(|| self.asking.unwrap_or(now));
    }

    /// `bytes` is what the records' data and partition keys make. `false` where another reader began since.
    pub(super) fn answered(
        &mut self,
        reader: u64,
        fetched: &ReadResponse,
        bytes: usize,
        stream_millis: u64,
        now: Instant,
    ) -> bool {
        if self.reader != reader {
            return false;
        }
        self.heard = Some(now);
        let goes_on = |(_, last): &(Instant, Instant)| now.saturating_duration_since(*last) <= self.quiet;
        let first = self.answers.filter(goes_on).map_or(now, |(first, _)| first);
        self.answers = Some((first, now));
        self.failure = None;
        self.restarts = 0;
        self.read_to = Some(stream_millis.saturating_sub(fetched.millis_behind_latest));
        self.rate.add(now, bytes, fetched.records.len());
        if let Some(last) = fetched.records.last() {
            self.place = last.position();
        }
        if let Some(read_to) = fetched.read_to {
            self.place = self.place.max(read_to);
        }
        self.lag.fetched(&fetched.records, Duration::from_millis(fetched.millis_behind_latest), now);
        if fetched.end.is_some() {
            self.lag.ended(now);
        }
        true
    }

    /// Everything up to `done` is done.
    pub(super) fn settle(&mut self, done: Position) {
        self.lag.done(done);
        if self.lag.is_empty() && self.lag.is_at_tip() {
            self.caught_up = self.read_to;
        }
    }

    /// How far the shard is read beyond `done`, where everything that came is done: a position that is as good, and does not
    /// age with the last record.
    pub(super) fn settled_place(&mut self, done: Position) -> Option<Position> {
        self.settle(done);
        let is_beyond = matches!(self.place, Position::Sequence(..)) && self.place > done;
        (is_beyond && self.lag.is_empty()).then_some(self.place)
    }

    pub(super) fn gap_before(
        &self,
        fetched: &ReadResponse,
        stream_millis: u64,
        retention: Duration,
    ) -> Option<Gap> {
        let first = fetched.records.first().map(|record| record.arrival_millis);
        gap(self.read_to, stream_millis, retention, first)
    }

    pub(super) fn silence(&self) -> Option<(Duration, u32)> {
        let since = self.asking?.max(self.heard.unwrap_or(self.asking?));
        Some((since.elapsed(), self.restarts))
    }

    /// When the oldest record that is not done arrived, by the stream's clock; `None` when everything that was there
    /// at the last read is done.
    pub(super) fn oldest_not_done(&self) -> Option<u64> {
        self.lag.oldest().or_else(|| self.read_to.filter(|_| !self.lag.is_at_tip()))
    }

    /// Until when everything that arrived is done, by the stream's clock.
    pub(super) fn done_until(&self) -> Option<u64> {
        self.oldest_not_done().or(self.read_to)
    }

    /// How long until the stream trims what is not done. Reading that stands still at the tip loses what arrives from
    /// then on; after the end of a shard nothing does.
    pub(super) fn until_data_loss(
        &self,
        stream_millis: u64,
        retention: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let exposed = self.oldest_not_done().or(self.read_to).filter(|_| self.lag.over(now).is_none());
        exposed
            .map(|since| retention.saturating_sub(Duration::from_millis(stream_millis.saturating_sub(since))))
    }

    /// To be stored with a position that is settled.
    pub(super) fn metadata(&self, now: Instant) -> CheckpointMetadata {
        let mut metadata = CheckpointMetadata::default();
        metadata.record_arrival_millis = self.lag.last_done();
        metadata.caught_up_millis = self.caught_up;
        metadata.bytes_per_second = self.rate.per_second(now);
        metadata.record_bytes = self.rate.record_bytes();
        metadata.fan_out = Some(self.opened_by_fan_out);
        metadata
    }
}

#[cfg(test)]
mod tests;
