//! How long to wait between tries of what fails.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Exponential back-off: each failure in a row doubles the delay, up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Which share of a delay to wait, where many may fail together: a random one, so that they do not come back
    /// together.
    pub const JITTER: RangeInclusive<f64> = 0.5..=1.0;

    /// Delays from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The delay after this many failures in a row, counted from 1.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The same with jitter: `share` of it, out of [`Backoff::JITTER`].
    #[must_use]
    pub fn jittered(&self, failures: u32, share: f64) -> Duration {
        self.delay(failures).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        for (failures, delay) in [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)]
        {
            assert_eq!(backoff.delay(failures), Duration::from_millis(delay));
        }
        assert_eq!(backoff.jittered(2, 0.5), Duration::from_millis(100));
    }
}
