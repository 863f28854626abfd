//! A handler that takes its time and now and then fails, as a user's handler does: with handlers that take no time, a run
//! with faults would prove nothing about the time between reading a record and its being done.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini::HandlerError;
use tokio::time::sleep;

/// How long a handler takes at most.
const LONGEST: Duration = Duration::from_millis(60);
/// One batch in so many fails, up to [`FAILURES`] times before it goes well.
const ONE_IN: u32 = 8;
const FAILURES: u32 = 3;

/// The delays and failures of one shard's batches.
#[derive(Debug)]
pub(super) struct Chaos {
    rng: SmallRng,
    /// How often the current batch is still to fail; `None` before its first call.
    left: Option<u32>,
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), left: None }
    }

    /// Delays or fails a call, before anything of the batch is handled.
    pub(super) async fn apply(&mut self) -> Result<(), HandlerError> {
        let rng = &mut self.rng;
        sleep(LONGEST.mul_f64(rng.random())).await;
        let left = self.left.take();
        let left = left.unwrap_or_else(|| match rng.random_ratio(1, ONE_IN) {
            true => rng.random_range(1..=FAILURES),
            false => 0,
        });
        if left == 0 {
            return Ok(());
        }
        self.left = Some(left - 1);
        Err("`--chaos` lets this call fail".into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn batches_take_their_time_and_one_in_eight_fails_up_to_three_times() {
        let (mut chaos, begun) = (Chaos::new(1), Instant::now());
        let mut failures = [0_u32; 4];
        for _ in 0..1_000 {
            let mut failed = 0;
            while chaos.apply().await.is_err() {
                failed += 1;
            }
            failures[failed] += 1;
        }
        let [none, once, twice, thrice] = failures;
        assert!((820..930).contains(&none) && once.min(twice).min(thrice) > 20, "{failures:?}");
        let calls = 1_000 + once + 2 * twice + 3 * thrice;
        let each = begun.elapsed() / calls;
        assert!((Duration::from_millis(27)..Duration::from_millis(34)).contains(&each), "{each:?}");
    }
}
