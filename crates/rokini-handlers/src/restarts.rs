//! How soon a process that ended by itself is followed by another one.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_types::Backoff;

/// Between the second of several ends in a row and the next start. Short enough that what works again is noticed soon.
const RESTART: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// One that ran for so long has worked: its end is the first one again.
const WORKED: Duration = Duration::from_secs(10);

/// Ends in a row of the processes of a shard, each soon after its start. What such a process did meanwhile makes no difference: one
/// that ends after its first records costs a start for these few.
#[derive(Debug)]
pub(crate) struct Restarts {
    ends: u32,
    rng: StdRng,
}

impl Restarts {
    pub(crate) fn new(seed: u64) -> Self {
        Self { ends: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// A process ended after it ran for so long. How long to wait before the next one is given records: nothing after the first end.
    pub(crate) fn ended_after(&mut self, ran: Duration) -> Duration {
        if ran >= WORKED {
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
        match self.ends {
            1 => Duration::ZERO,
            more => RESTART.jittered(more - 1, self.rng.random_range(Backoff::JITTER)),
        }
    }

    /// What is said while the next one waits.
    pub(crate) fn reason(&self) -> String {
        format!(
            "the program ended {} times in a row, each soon after its start: the next one waits",
            self.ends
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m4_the_first_end_is_followed_at_once_and_those_after_it_later_and_later() {
        let mut restarts = Restarts::new(1);
        let soon = Duration::from_secs(1);
        let waits: Vec<_> = (0..12).map(|_| restarts.ended_after(soon)).collect();
        assert_eq!(waits[0], Duration::ZERO);
        for (index, wait) in waits.iter().enumerate().skip(1) {
            let most = RESTART.delay(u32::try_from(index).unwrap());
            assert!(*wait <= most && *wait >= most / 2, "{index}: {waits:?}");
        }
        assert!(waits[11] >= Duration::from_millis(2_500) && waits[11] <= Duration::from_secs(5));
        assert_eq!(restarts.ended_after(WORKED), Duration::ZERO, "it has worked");
        assert!(restarts.ended_after(soon) > Duration::ZERO);
        assert!(restarts.reason().contains("2 times"), "{}", restarts.reason());
    }

    #[test]
    fn those_that_end_together_do_not_come_back_together() {
        let waits: std::collections::BTreeSet<_> = (0..20)
            .map(|seed| {
                let mut restarts = Restarts::new(seed);
                (0..5).map(|_| restarts.ended_after(Duration::ZERO)).last()
            })
            .collect();
        assert!(waits.len() > 15);
    }
}
