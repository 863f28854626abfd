//! When the records arrived that are read and not done: how old the oldest is, and when the last one done came.

use std::collections::VecDeque;
use std::time::Duration;

use rokini_lease::Position;
use tokio::time::Instant;

use crate::types::record::Record;

/// Parts into which one response is divided: the lag is exact to this fraction of a response.
const PARTS: usize = 32;
/// Parts kept at most; beyond, neighbours become one. Reached where user code checkpoints rarely.
const KEPT: usize = 1024;

/// What was read of a shard and is not done, and what is known of the rest.
#[derive(Debug)]
pub(super) struct LagTracker {
    /// Read and not done, in order.
    open: VecDeque<Part>,
    /// When reading began: nothing is known from before.
    begun: Instant,
    /// The last read: when, and how far it was behind the tip.
    read: Option<(Instant, Duration)>,
    /// The arrival of the last record done, in milliseconds since the Unix epoch.
    last_done: Option<u64>,
    /// When the end of the shard was read: nothing comes after it.
    ended: Option<Instant>,
}

/// Neighbouring records.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The least position at which all of them are done.
    end: Position,
    /// The arrival of the first and the last, in milliseconds since the Unix epoch.
    first: u64,
    last: u64,
    /// When they were read.
    read: Instant,
}

impl LagTracker {
    pub(super) fn new(now: Instant) -> Self {
        Self { open: VecDeque::new(), begun: now, read: None, last_done: None, ended: None }
    }

    /// A read brought these records, and its end is this far behind the tip.
    pub(super) fn fetched(&mut self, records: &[Record], behind: Duration, now: Instant) {
        self.read = Some((now, behind));
        for part in records.chunks(records.len().div_ceil(PARTS).max(1)) {
            if let [first, .., last] | [first @ last] = part {
                let (first, end) = (first.arrival_millis, last.done_at());
                self.open.push_back(Part { end, first, last: last.arrival_millis, read: now });
            }
        }
        if self.open.len() > KEPT {
            self.halve();
        }
    }

    /// The last read brought the end of the shard.
    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// For how long everything is read of a closed shard of which everything is done.
    pub(super) fn over(&self, now: Instant) -> Option<Duration> {
        self.ended.filter(|_| self.open.is_empty()).map(|ended| now.duration_since(ended))
    }

    fn halve(&mut self) {
        let parts = std::mem::take(&mut self.open);
        let pairs = Vec::from(parts);
        self.open = pairs
            .chunks(2)
            .filter_map(|pair| match pair {
                [a, b] => Some(Part { end: b.end, last: b.last, ..*a }),
                [a] => Some(*a),
                _ => None,
            })
            .collect();
    }

    /// Everything up to here is done.
    pub(super) fn done(&mut self, position: Position) {
        while let Some(part) = self.open.front().filter(|part| part.end <= position) {
            self.last_done = Some(part.last);
            self.open.pop_front();
        }
    }

    /// When the last read was answered, if one was.
    pub(super) fn last_read(&self) -> Option<Instant> {
        self.read.map(|(heard, _)| heard)
    }

    /// When the last read was answered, or when reading began.
    pub(super) fn last_heard(&self) -> Instant {
        self.last_read().unwrap_or(self.begun)
    }

    /// How far the last read was behind the tip, in milliseconds.
    pub(super) fn behind_millis(&self) -> Option<u64> {
        self.read.map(|(_, behind)| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether nothing was behind the last read.
    pub(super) fn is_at_tip(&self) -> bool {
        self.read.is_some_and(|(_, behind)| behind.is_zero())
    }

    /// Whether everything that was read is done.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The arrival of the oldest record that is read and not done, in milliseconds since the Unix epoch.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.open.front().map(|part| part.first)
    }

    /// The arrival of the last record done, in milliseconds since the Unix epoch.
    pub(super) fn last_done(&self) -> Option<u64> {
        self.last_done
    }

    /// The lag. `now_millis` is the time of day, for the age of records; skew of the clocks goes into it. `quiet` is
    /// how long a healthy reader may hear nothing: only what goes beyond counts.
    pub(super) fn lag(&self, now: Instant, now_millis: u64, quiet: Duration) -> Duration {
        if let Some(oldest) = self.open.front() {
            let age = Duration::from_millis(now_millis.saturating_sub(oldest.first));
            return age.max(now.duration_since(oldest.read));
        }
        if self.ended.is_some() {
            return Duration::ZERO;
        }
        let behind = self.read.map_or(Duration::ZERO, |(_, behind)| behind);
        let silence = now.duration_since(self.last_heard());
        if behind.is_zero() && silence <= quiet { Duration::ZERO } else { behind + silence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini_lease::SequenceNumber;

    const QUIET: Duration = Duration::from_secs(3);
    const DAY: u64 = 1_700_000_000_000;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn after(number: u128) -> Position {
        Position::after(SequenceNumber::from(number))
    }

    /// Records 1 to `count`, one a second from `DAY` on.
    fn records(count: u64) -> Vec<Record> {
        (1..=count)
            .map(|n| Record::new(SequenceNumber::from(u128::from(n)), "k", "d", DAY + (n - 1) * 1_000))
            .collect()
    }

    #[tokio::test]
    async fn o2_lag_is_the_age_of_the_oldest_record_not_done() {
        let start = Instant::now();
        let at = |after: u64| (start + seconds(after), DAY + after * 1_000);
        let mut tracker = LagTracker::new(start);
        let lag = |tracker: &LagTracker, after: u64| tracker.lag(at(after).0, at(after).1, QUIET);
        assert_eq!(lag(&tracker, 3), Duration::ZERO, "within a poll nothing is known, and nothing is wrong");
        assert_eq!(lag(&tracker, 60), seconds(60), "never read");
        tracker.fetched(&[], Duration::ZERO, at(60).0);
        assert_eq!(lag(&tracker, 62), Duration::ZERO, "caught up and idle");
        assert_eq!(lag(&tracker, 70), seconds(10), "the fetch is stuck");
        tracker.fetched(&[], Duration::ZERO, at(70).0);
        assert_eq!(lag(&tracker, 71), Duration::ZERO, "and moves again");
        tracker.fetched(&records(10), seconds(5), at(71).0);
        assert_eq!(lag(&tracker, 100), seconds(100), "the handler is stuck at the first");
        tracker.done(after(4));
        assert_eq!(lag(&tracker, 100), seconds(96));
        assert_eq!((tracker.last_done(), tracker.is_empty()), (Some(DAY + 3_000), false), "not caught up");
        tracker.done(after(10));
        assert_eq!(lag(&tracker, 101), seconds(35), "what is unread was 5 s behind 30 s ago");
        tracker.fetched(&[], Duration::ZERO, at(102).0);
        assert_eq!(lag(&tracker, 102), Duration::ZERO);
        assert_eq!((tracker.last_done(), tracker.is_empty()), (Some(DAY + 9_000), true));
    }

    #[tokio::test]
    async fn after_the_end_of_a_shard_silence_is_no_lag() {
        let start = Instant::now();
        let mut tracker = LagTracker::new(start);
        tracker.fetched(&records(2), seconds(1), start);
        tracker.ended(start);
        assert_eq!(tracker.lag(start + seconds(60), DAY + 60_000, QUIET), seconds(60), "not done");
        assert_eq!(tracker.over(start + seconds(60)), None);
        tracker.done(after(2));
        assert_eq!(tracker.lag(start + seconds(60), DAY + 60_000, QUIET), Duration::ZERO);
        assert_eq!(tracker.over(start + seconds(60)), Some(seconds(60)));
    }

    #[tokio::test]
    async fn a_clock_that_is_late_does_not_hide_a_stuck_handler() {
        let start = Instant::now();
        let mut tracker = LagTracker::new(start);
        tracker.fetched(&records(1), Duration::ZERO, start);
        assert_eq!(tracker.lag(start + seconds(40), DAY - 100_000, QUIET), seconds(40));
    }

    #[tokio::test]
    async fn what_is_never_done_takes_bounded_memory_and_keeps_its_age() {
        let start = Instant::now();
        let mut tracker = LagTracker::new(start);
        for n in 0..100_000u64 {
            let record = Record::new(SequenceNumber::from(u128::from(n)), "k", "d", DAY + n);
            tracker.fetched(&[record], Duration::ZERO, start);
        }
        assert!(tracker.open.len() <= KEPT);
        assert_eq!(tracker.lag(start, DAY + 200_000, QUIET), seconds(200));
        tracker.done(after(99_999));
        assert_eq!(tracker.lag(start, DAY + 200_000, QUIET), Duration::ZERO);
    }
}
