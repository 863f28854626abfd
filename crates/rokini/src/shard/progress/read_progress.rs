//! How far a shard is read and done, in time; whether reading it stands still; what may be lost. Time and positions
//! are handed in, so all of it is decided without I/O.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini_lease::{CheckpointMetadata, LeaseRow, Position, WallClock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::lag_tracker::LagTracker;
use super::rate::Rate;
use crate::ReadResponse;
use crate::catalog::streams::OpenStream;

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
pub(crate) fn gap(
    known_to: Option<u64>,
    now: u64,
    retention: Duration,
    first_arrival: Option<u64>,
) -> Option<Gap> {
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

/// The reading of one shard in this worker.
#[derive(Debug)]
pub(crate) struct ReadProgress {
    stream: Arc<OpenStream>,
    clock: WallClock,
    state: Mutex<State>,
    resume: Notify,
    paused: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// Where a new reader begins: after the last record handed on.
    place: Position,
    /// Counts the readers: only the last one may hand records on.
    reader: u64,
    /// Since when the stream is asked for records; `None` while it is not, because there is no room, or a pause.
    asking: Option<Instant>,
    /// When the stream answered last, if only that it is throttled.
    alive: Option<Instant>,
    /// Readers begun anew since the last good answer.
    restarts: u32,
    /// Until when everything that arrived is read, by the stream's clock.
    read_to: Option<u64>,
    /// Until when everything that arrived is done, by the stream's clock, once all pieces before are.
    at_tip: bool,
    /// What was handed on and is not known to be done.
    arrivals: LagTracker,
    caught_up: Option<u64>,
    halted: bool,
    losses: u64,
    rate: Rate,
}

/// What people may know of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) oldest_not_done_millis: Option<u64>,
    pub(crate) caught_up_millis: Option<u64>,
    pub(crate) until_data_loss: Option<Duration>,
    pub(crate) data_losses: u64,
    pub(crate) paused: bool,
    pub(crate) halted: bool,
}

impl ReadProgress {
    pub(crate) fn new(stream: Arc<OpenStream>, clock: WallClock, row: &LeaseRow) -> Self {
        let state = State {
            place: row.position,
            reader: 0,
            asking: None,
            alive: None,
            restarts: 0,
            read_to: known_at(row),
            at_tip: false,
            arrivals: LagTracker::new(Instant::now()),
            caught_up: None,
            halted: false,
            losses: 0,
            rate: Rate::default(),
        };
        Self {
            stream,
            clock,
            state: Mutex::new(state),
            resume: Notify::new(),
            paused: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time at the stream, as far as it is known.
    pub(crate) fn now_millis(&self) -> u64 {
        self.stream.source.now_millis().unwrap_or_else(|| self.clock.millis())
    }

    /// A new reader: its number, and where it begins. The one before hands nothing on any more.
    pub(crate) fn begin(&self) -> (u64, Position) {
        let mut state = self.state();
        state.reader += 1;
        state.asking = None;
        (state.reader, state.place)
    }

    /// The stream is asked from now on, or no more.
    pub(crate) fn asking(&self, on: bool) {
        let mut state = self.state();
        // Another try is no answer.
        state.asking = on.then(|| state.asking.unwrap_or_else(Instant::now));
    }

    /// The stream answered, if only that it is throttled or that it has no such records.
    pub(crate) fn alive(&self) {
        self.state().alive = Some(Instant::now());
    }

    /// Notes what one read brought and says whether the reader of this number may hand it on: one that was replaced may
    /// not, and what it brought counts for nothing. `bytes` is what its records' data and partition keys make, `done`
    /// how far the shard is done.
    pub(crate) fn answered(&self, reader: u64, fetched: &ReadResponse, bytes: usize, done: Position) -> bool {
        let (now, heard) = (self.now_millis(), Instant::now());
        let mut state = self.state();
        if state.reader != reader {
            return false;
        }
        // What is done need not be kept.
        state.settle(done);
        state.alive = Some(heard);
        state.restarts = 0;
        state.read_to = Some(now.saturating_sub(fetched.millis_behind_latest));
        state.at_tip = fetched.millis_behind_latest == 0;
        state.rate.add(heard, bytes);
        if let Some(last) = fetched.records.last() {
            state.place = last.position();
        }
        state.arrivals.fetched(&fetched.records, Duration::from_millis(fetched.millis_behind_latest), heard);
        if fetched.end.is_some() {
            state.arrivals.ended(heard);
        }
        true
    }

    /// The gap before these records, if there is one.
    pub(crate) fn gap_before(&self, fetched: &ReadResponse) -> Option<Gap> {
        let known_to = self.state().read_to;
        let first = fetched.records.first().map(|record| record.arrival_millis);
        gap(known_to, self.now_millis(), self.stream.retention(), first)
    }

    pub(crate) fn lost(&self) {
        self.state().losses += 1;
    }

    /// For how long the stream has been asked without an answer, and how many readers were tried so.
    pub(crate) fn silence(&self) -> Option<(Duration, u32)> {
        let state = self.state();
        let since = state.asking?.max(state.alive.unwrap_or(state.asking?));
        Some((since.elapsed(), state.restarts))
    }

    pub(crate) fn restarted(&self) {
        let mut state = self.state();
        state.restarts += 1;
        state.alive = Some(Instant::now());
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.send_if_modified(|current| std::mem::replace(current, paused) != paused);
    }

    /// Resolves once reading is paused, or not paused any more. Cancel safe.
    pub(crate) async fn until_paused(&self, paused: bool) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.paused.subscribe().wait_for(|current| *current == paused).await;
    }

    /// Whether it is paused, and whether it is halted.
    pub(crate) fn stands_still(&self) -> (bool, bool) {
        (*self.paused.borrow(), self.state().halted)
    }

    pub(crate) fn set_halted(&self, halted: bool) {
        self.state().halted = halted;
    }

    /// ReadProgress that is halted is to go on. Returns whether it was.
    pub(crate) fn resume(&self) -> bool {
        let halted = self.state().halted;
        if halted {
            self.resume.notify_one();
        }
        halted
    }

    pub(crate) async fn resumed(&self) {
        self.resume.notified().await;
    }

    /// What is known now that everything up to `done` is done.
    pub(crate) fn facts(&self, done: Position) -> Facts {
        let now = self.now_millis();
        let mut state = self.state();
        state.settle(done);
        let oldest = match state.arrivals.oldest() {
            Some(oldest) => Some(oldest),
            None if state.at_tip => None,
            None => state.read_to,
        };
        // ReadProgress that stands still at the tip loses what arrives from then on; after the end of a shard nothing does.
        let over = state.arrivals.over(Instant::now()).is_some();
        let exposed = oldest.or(state.read_to).filter(|_| !over);
        let retention = self.stream.retention();
        Facts {
            oldest_not_done_millis: oldest,
            caught_up_millis: state.caught_up,
            until_data_loss: exposed
                .map(|since| retention.saturating_sub(Duration::from_millis(now.saturating_sub(since)))),
            data_losses: state.losses,
            paused: *self.paused.borrow(),
            halted: state.halted,
        }
    }

    /// The age of the oldest record that is not done. `quiet`: see [`LagTracker::lag`].
    pub(crate) fn lag(&self, done: Position, now_millis: u64, quiet: Duration) -> Duration {
        let mut state = self.state();
        state.settle(done);
        state.arrivals.lag(Instant::now(), now_millis, quiet)
    }

    /// For how long everything is read of a closed shard of which everything is done.
    pub(crate) fn over(&self) -> Option<Duration> {
        self.state().arrivals.over(Instant::now())
    }

    /// To be stored with a position.
    pub(crate) fn metadata(&self, done: Position) -> CheckpointMetadata {
        let mut state = self.state();
        state.settle(done);
        CheckpointMetadata {
            record_arrival_millis: state.arrivals.last_done(),
            caught_up_millis: state.caught_up,
            bytes_per_second: state.rate.per_second(Instant::now()),
            skipped: None,
        }
    }

    /// The share of the retention that is used up, from 0 to 1.
    pub(crate) fn used_up(&self, done: Position) -> f64 {
        let retention = self.stream.retention();
        match self.facts(done).until_data_loss {
            Some(left) if !retention.is_zero() => 1.0 - left.as_secs_f64() / retention.as_secs_f64(),
            _ => 0.0,
        }
    }
}

impl State {
    fn settle(&mut self, done: Position) {
        self.arrivals.done(done);
        if self.arrivals.is_empty() && self.at_tip {
            self.caught_up = self.read_to;
        }
    }
}

#[cfg(test)]
mod tests;
