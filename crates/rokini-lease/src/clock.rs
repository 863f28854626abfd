//! The host's clocks as values.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// What tells the time beside `tokio::time`: for people, and of what tokio's clock does not see.
pub trait ClockSource: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn wall_millis(&self) -> u64;

    /// The time since any fixed moment, by a clock that goes on while the machine is suspended. `None` where the host
    /// has no such clock: then only a wall clock that jumps forward tells of a suspension.
    fn with_suspension(&self) -> Option<Duration> {
        None
    }
}

/// A handle to the host's clocks beside `tokio::time`: the wall clock, and the one that goes on in suspension.
///
/// The wall clock is for what people see (time of a checkpoint, lag). A lease decision is only ever made safer by it: a
/// jump forward shortens the time for which a worker may use its leases, a jump back changes nothing.
#[derive(Clone)]
pub struct WallClock(Arc<dyn ClockSource>);

/// The host's own clocks.
struct SystemClock;

impl ClockSource for SystemClock {
    fn wall_millis(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "the one door to the host's wall clock")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn with_suspension(&self) -> Option<Duration> {
        suspension_clock()
    }
}

/// `CLOCK_BOOTTIME`: the clock of `tokio::time` on Linux, `CLOCK_MONOTONIC`, stands still in suspension.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn suspension_clock() -> Option<Duration> {
    read_clock(rustix::time::ClockId::Boottime)
}

/// The clock of `tokio::time` is `CLOCK_UPTIME_RAW` there, which stands still while the machine sleeps; this one does not.
#[cfg(target_vendor = "apple")]
fn suspension_clock() -> Option<Duration> {
    read_clock(rustix::time::ClockId::Monotonic)
}

/// Elsewhere the clock of `tokio::time` is the best there is.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn suspension_clock() -> Option<Duration> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn read_clock(clock: rustix::time::ClockId) -> Option<Duration> {
    let time = rustix::time::clock_gettime(clock);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// A function for the wall clock, and no other clock.
struct FromFn<F>(F);

impl<F: Fn() -> u64 + Send + Sync + 'static> ClockSource for FromFn<F> {
    fn wall_millis(&self) -> u64 {
        (self.0)()
    }
}

impl WallClock {
    /// The host's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemClock)
    }

    /// Clocks of your own.
    pub fn new(source: impl ClockSource) -> Self {
        Self(Arc::new(source))
    }

    /// A wall clock of your own, in milliseconds since the Unix epoch, and none that goes on in suspension.
    pub fn from_fn(millis: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::new(FromFn(millis))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.0.wall_millis()
    }

    /// All clocks now.
    pub(crate) fn read(&self) -> ClockReading {
        ClockReading {
            running: Instant::now(),
            with_suspension: self.0.with_suspension(),
            wall_millis: self.0.wall_millis(),
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

/// All clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockReading {
    /// By `tokio::time`.
    pub(crate) running: Instant,
    with_suspension: Option<Duration>,
    wall_millis: u64,
}

impl ClockReading {
    /// The time from this reading to a later one by the clock that says the most: whatever stood still or was set back
    /// counts for nothing.
    pub(crate) fn until(&self, later: &Self) -> Duration {
        let running = later.running.saturating_duration_since(self.running);
        let with_suspension = later.with_suspension.zip(self.with_suspension);
        let suspended = with_suspension.map_or(Duration::ZERO, |(later, since)| later.saturating_sub(since));
        let wall = Duration::from_millis(later.wall_millis.saturating_sub(self.wall_millis));
        running.max(suspended).max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c15_the_clock_that_says_the_most_counts() {
        let begun = Instant::now();
        let reading = |running: u64, with_suspension: Option<u64>, wall_millis| ClockReading {
            running: begun + Duration::from_secs(running),
            with_suspension: with_suspension.map(Duration::from_secs),
            wall_millis,
        };
        let since = reading(10, Some(100), 50_000);
        for (later, seconds) in [
            (reading(13, Some(103), 53_000), 3),
            // The machine was suspended.
            (reading(13, Some(163), 53_000), 63),
            // The wall clock was set forward, and back.
            (reading(13, Some(103), 150_000), 100),
            (reading(13, Some(103), 1), 3),
            // A host without such a clock.
            (reading(13, None, 113_000), 63),
            (reading(13, None, 53_000), 3),
        ] {
            assert_eq!(since.until(&later).as_secs(), seconds, "{later:?}");
        }
    }

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    #[test]
    fn this_host_has_a_clock_that_goes_on_in_suspension() {
        let (earlier, later) = (suspension_clock(), suspension_clock());
        assert!(earlier.is_some() && earlier <= later);
    }
}
