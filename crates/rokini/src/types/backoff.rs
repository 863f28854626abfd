//! When to try again.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// Exponential back-off with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The longest first delay.
    pub(crate) first: Duration,
    /// The longest delay ever.
    pub(crate) cap: Duration,
}

impl Backoff {
    /// Handlers and callbacks of user code, and readers: a poison record costs two calls a minute.
    pub(crate) const DELIVERY: Self =
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(30) };
    /// Writes and listings that others wait for.
    pub(crate) const COORDINATION: Self =
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(5) };

    /// The delay after this many failures in a row (from 1): between half of the exponential step and all of it,
    /// so that what failed together does not come back together.
    pub(crate) fn delay(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let step = self.first.saturating_mul(1 << doublings).min(self.cap);
        step.mul_f64(rng.random_range(0.5..=1.0))
    }
}

/// Failures in a row and the delays between them.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    failures: u32,
    rng: StdRng,
}

impl Retry {
    pub(crate) fn new(backoff: Backoff, rng: StdRng) -> Self {
        Self { backoff, failures: 0, rng }
    }

    /// Counts a failure; how long to wait before the next try.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.delay(self.failures, &mut self.rng)
    }

    /// As [`Retry::failed`], by another measure for this failure.
    pub(crate) fn failed_by(&mut self, backoff: Backoff) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff.delay(self.failures, &mut self.rng)
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut rng = StdRng::seed_from_u64(1);
        for (failures, most) in [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)]
        {
            let most = Duration::from_millis(most);
            let delay = Backoff::DELIVERY.delay(failures, &mut rng);
            assert!(delay <= most && delay >= most / 2, "after {failures} failures {delay:?}");
        }
    }

    #[test]
    fn delays_are_spread() {
        let mut rng = StdRng::seed_from_u64(1);
        let delays: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff::DELIVERY.delay(5, &mut rng)).collect();
        assert!(delays.len() > 15);
    }

    proptest! {
        #[test]
        fn never_above_the_cap_and_never_zero(failures in any::<u32>(), seed in any::<u64>()) {
            let delay = Backoff::COORDINATION.delay(failures, &mut StdRng::seed_from_u64(seed));
            prop_assert!(delay <= Backoff::COORDINATION.cap && !delay.is_zero());
        }
    }
}
