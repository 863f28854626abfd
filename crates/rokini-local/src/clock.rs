//! What time it is. The only file that may ask the operating system.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rokini_wire::Timestamp;

/// The last second HTTP has a date for: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// As in `Thu, 22 Jan 2015 01:22:02 GMT`. A clock of tests can show any time: what is beyond the dates HTTP has is shown as
/// the nearest of them.
pub(crate) fn http_date(time: Timestamp) -> String {
    let since = Duration::from_secs(u64::try_from(time.secs()).unwrap_or(0).min(LAST_SECOND));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// The times a clock can be moved to, in milliseconds: from 1970 to the beginning of the year 9999. Every time that is counted from them, a
/// year of retention included, has a date of four digits in every time zone, as RFC 3339 and the clients' languages want it.
const MOVABLE: RangeInclusive<i64> = 0..=253_370_764_800_000;

/// A wall clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one door through which the wall clock enters")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.millis()))
    }

    /// Sets the time, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // The closure never declines, so there is no error to see.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(by)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Another clock, shifted. Lets time jump on a running clock.
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    base: Arc<dyn Clock>,
    shift_millis: AtomicI64,
}

impl ShiftedClock {
    pub(crate) fn new(base: Arc<dyn Clock>) -> Self {
        Self { base, shift_millis: AtomicI64::new(0) }
    }

    /// How far it is shifted, in milliseconds.
    pub(crate) fn shifted_by(&self) -> i64 {
        self.shift_millis.load(Ordering::SeqCst)
    }

    /// Jumps by this many milliseconds, backwards if negative, as far as [`MOVABLE`] reaches.
    pub(crate) fn shift(&self, millis: i64) {
        let base = self.base.now().millis();
        let shifted = |shift: i64| {
            let now = base.saturating_add(shift);
            // A clock that stands outside is not moved the other way.
            let (first, last) = (now.min(*MOVABLE.start()), now.max(*MOVABLE.end()));
            Some(now.saturating_add(millis).clamp(first, last).saturating_sub(base))
        };
        let _ = self.shift_millis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, shifted);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shift = self.shift_millis.load(Ordering::SeqCst);
        Timestamp::from_millis(self.base.now().millis().saturating_add(shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_moved_no_further_than_dates_go() {
        for start in [0, 1_700_000_000_000] {
            let clock = ShiftedClock::new(Arc::new(ManualClock::new(Timestamp::from_millis(start))));
            for (by, expected) in [
                (i64::MAX, 253_370_764_800_000),
                (1, 253_370_764_800_000),
                (-1, 253_370_764_799_999),
                (i64::MIN, 0),
                (start, start),
            ] {
                clock.shift(by);
                assert_eq!(clock.now().millis(), expected, "from {start} by {by}");
            }
        }
    }

    #[test]
    fn every_time_has_a_date() {
        let cases = [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_421_889_722_999, "Thu, 22 Jan 2015 01:22:02 GMT"),
            (253_402_300_799_999, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (253_402_300_800_000, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (millis, date) in cases {
            assert_eq!(http_date(Timestamp::from_millis(millis)), date, "{millis}");
        }
    }
}
