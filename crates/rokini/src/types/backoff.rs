//! When to try again.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rokini_types::Backoff;

/// Handlers and callbacks of user code: a poison record costs ten calls a minute, and what is well again flows within ten
/// seconds.
pub(crate) const DELIVERY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(8));
/// Writes and listings that others wait for, and reads that are refused: they flow again soon after somebody allows them.
pub(crate) const COORDINATION: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

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
        self.failed_by(self.backoff)
    }

    /// As [`Retry::failed`], by another back-off for this failure.
    pub(crate) fn failed_by(&mut self, backoff: Backoff) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff.jittered(self.failures, self.rng.random_range(Backoff::JITTER))
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
    fn delays_are_spread() {
        let delays: std::collections::BTreeSet<_> = (0..20)
            .map(|seed| Retry::new(DELIVERY, StdRng::seed_from_u64(seed)))
            .map(|mut retry| (0..5).map(|_| retry.failed()).last())
            .collect();
        assert!(delays.len() > 15);
    }

    proptest! {
        #[test]
        fn between_half_of_the_delay_and_all_of_it(failures in 1..99u32, seed in any::<u64>()) {
            let mut retry = Retry::new(COORDINATION, StdRng::seed_from_u64(seed));
            let last = (0..failures).map(|_| retry.failed()).last().unwrap();
            let most = COORDINATION.delay(failures);
            prop_assert!(last <= most && last >= most / 2 && retry.failures() == failures);
        }
    }
}
