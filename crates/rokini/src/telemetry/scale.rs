//! How many workers a group should have, for autoscalers.

use std::time::Duration;

use crate::config::Settings;

/// How many workers the group should have, and by what, as one worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScalingRecommendation {
    /// How many workers the group should have.
    pub desired: usize,
    /// How many live ones it has.
    pub workers: usize,
    /// Shards that can be worked on: no more workers than that are of use.
    pub shards: usize,
    /// The greatest lag that this worker knows of.
    pub lag: Duration,
}

/// In proportion to the lag while it is above `target_lag`, at most twice as many as there are; one fewer while it is
/// below a tenth of it; otherwise as many as there are. At least 1, at least as many as `shards_per_worker` wants, and
/// never more than there are shards.
pub(crate) fn desired(seen: &ScalingRecommendation, settings: &Settings) -> usize {
    let most = seen.shards.max(1);
    let least = match settings.shards_per_worker {
        Some(limit) => seen.shards.div_ceil(limit.get() as usize).max(1),
        None => 1,
    };
    let (lag, target) = (seen.lag.as_secs_f64(), settings.target_lag.as_secs_f64());
    let wanted = if lag > target {
        (seen.workers as f64 * (lag / target).min(2.0)).ceil() as usize
    } else if lag < target / 10.0 {
        seen.workers.saturating_sub(1)
    } else {
        seen.workers
    };
    wanted.clamp(least.min(most), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_lag_within_what_is_of_use() {
        let mut settings = Settings { target_lag: Duration::from_secs(60), ..Settings::default() };
        let mut check = |workers, shards, lag, per_worker: Option<u32>, expected| {
            settings.shards_per_worker = per_worker.and_then(std::num::NonZeroU32::new);
            let seen = ScalingRecommendation { desired: 0, workers, shards, lag: Duration::from_secs(lag) };
            assert_eq!(desired(&seen, &settings), expected, "{seen:?} {per_worker:?}");
        };
        check(4, 100, 0, None, 3);
        check(1, 100, 0, None, 1);
        check(4, 100, 30, None, 4);
        check(4, 100, 61, None, 5);
        check(4, 100, 90, None, 6);
        check(4, 100, 9_000, None, 8);
        check(4, 6, 9_000, None, 6);
        check(4, 0, 0, None, 1);
        check(0, 10, 0, None, 1);
        check(1, 100, 0, Some(16), 7);
        check(0, 10, 300, None, 1);
    }
}
