//! How a shard is read, and when that changes. Pure: time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Retrieval;

/// How long a shard is polled after fan-out could not be begun, before that is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Over how long throttled reads are counted, and how many of them say that others read the shard too: alone on a shard this
/// reader keeps to its limits.
const THROTTLE_WINDOW: Duration = Duration::from_secs(60);
const THROTTLES: usize = 10;
/// How far behind the tip a shard is that reading does not keep up with, and for how long.
const BEHIND: Duration = Duration::from_secs(10);
const BEHIND_FOR: Duration = Duration::from_secs(60);
/// How long a shard must have been calm before it is polled again: AWS bills by the hour. Twice as long each time that it
/// turned out too early, up to the longest.
const CALM_FOR: Duration = Duration::from_secs(1_800);
const CALM_FOR_LONGEST: Duration = Duration::from_secs(8 * 3_600);
/// Nearer to the tip than this, and at less than half of the bytes a second that all who poll a shard share, it is calm.
const CALM_BEHIND: Duration = Duration::from_secs(1);
const CALM_BYTES: u64 = 1_000_000;
/// Back to fan-out so soon, polling was begun too early.
const TOO_EARLY: Duration = Duration::from_secs(3_600);

/// What a shard costs with fan-out, in thousandths of a USD in us-east-1: an hour of a shard, a GB (AWS's price list, 2026).
const MILLS_PER_SHARD_HOUR: u64 = 15;
const MILLS_PER_GB: u64 = 13;
/// A GB of a stream on demand, whose shards cost nothing by the hour.
const MILLS_PER_GB_ON_DEMAND: u64 = 50;
const HOURS_PER_MONTH: u64 = 730;

/// USD a month for a stream of so many open shards, of which one brings so many bytes a second.
pub(super) fn usd_per_month(on_demand: bool, shards: usize, bytes_per_second: u64) -> u64 {
    let (per_hour, per_gb) = match on_demand {
        true => (0, MILLS_PER_GB_ON_DEMAND),
        false => (MILLS_PER_SHARD_HOUR, MILLS_PER_GB),
    };
    let hours = (shards as u64).saturating_mul(per_hour * HOURS_PER_MONTH);
    let bytes = u128::from(bytes_per_second) * u128::from(HOURS_PER_MONTH * 3_600 * per_gb);
    hours.saturating_add(u64::try_from(bytes / 1_000_000_000).unwrap_or(u64::MAX)).div_ceil(1_000)
}

/// How the records of a shard are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetrievalMode {
    Polling,
    FanOut,
}

impl From<RetrievalMode> for Retrieval {
    fn from(mode: RetrievalMode) -> Self {
        match mode {
            RetrievalMode::Polling => Self::Polling,
            RetrievalMode::FanOut => Self::FanOut,
        }
    }
}

/// What one read came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOutcome {
    /// It was refused for its rate.
    pub(super) throttled: bool,
    /// How far behind the tip it ended. `None` where it failed.
    pub(super) behind: Option<Duration>,
    /// Whether it had to wait for the handler: reading faster would bring nothing.
    pub(super) held_back: bool,
    /// What the shard brings.
    pub(super) bytes_per_second: u64,
}

/// By which mode the next reader reads.
#[derive(Debug)]
pub(super) struct RetrievalChoice {
    setting: Retrieval,
    /// Not by fan-out before.
    not_before: Option<Instant>,
    /// With `auto`: which mode, and since when.
    chosen: RetrievalMode,
    since: Instant,
    throttled: VecDeque<Instant>,
    behind_since: Option<Instant>,
    calm_since: Option<Instant>,
    calm_for: Duration,
    /// Whether it was ever polled after fan-out.
    returned: bool,
}

impl RetrievalChoice {
    /// `pushed`: whether the holder before had the records pushed. What made it do so may last.
    pub(super) fn new(setting: Retrieval, pushed: bool, now: Instant) -> Self {
        Self {
            setting,
            not_before: None,
            chosen: if pushed { RetrievalMode::FanOut } else { RetrievalMode::Polling },
            since: now,
            throttled: VecDeque::new(),
            behind_since: None,
            calm_since: None,
            calm_for: CALM_FOR,
            returned: false,
        }
    }

    pub(super) fn wanted(&self, now: Instant) -> RetrievalMode {
        let barred = self.not_before.is_some_and(|until| now < until);
        match self.setting {
            Retrieval::FanOut if !barred => RetrievalMode::FanOut,
            Retrieval::Auto if !barred => self.chosen,
            _ => RetrievalMode::Polling,
        }
    }

    /// Fan-out could not be begun.
    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + TRY_AGAIN);
    }

    /// Takes in what a read came to. By which mode the shard is to be read from now on, and why, where that changes.
    pub(super) fn observe(&mut self, now: Instant, read: ReadOutcome) -> Option<(RetrievalMode, String)> {
        if self.setting != Retrieval::Auto {
            return None;
        }
        let (mode, why) = match self.chosen {
            RetrievalMode::Polling => (RetrievalMode::FanOut, self.demand(now, read)?),
            RetrievalMode::FanOut => (RetrievalMode::Polling, self.calm(now, read)?),
        };
        let lasted = now.duration_since(self.since);
        if mode == RetrievalMode::FanOut && self.returned {
            let longer = if lasted < TOO_EARLY { self.calm_for * 2 } else { CALM_FOR };
            self.calm_for = longer.min(CALM_FOR_LONGEST);
        }
        self.returned |= mode == RetrievalMode::Polling;
        (self.chosen, self.since) = (mode, now);
        (self.behind_since, self.calm_since) = (None, None);
        self.throttled.clear();
        Some((mode, why))
    }

    /// Why polling is not enough.
    fn demand(&mut self, now: Instant, read: ReadOutcome) -> Option<String> {
        if read.throttled {
            self.throttled.push_back(now);
        }
        while self.throttled.front().is_some_and(|at| now.duration_since(*at) > THROTTLE_WINDOW) {
            self.throttled.pop_front();
        }
        if self.throttled.len() >= THROTTLES {
            return Some(format!(
                "{} reads were throttled within {} s: others poll the shard too",
                self.throttled.len(),
                THROTTLE_WINDOW.as_secs()
            ));
        }
        let behind = read.behind?;
        if behind < BEHIND || read.held_back {
            self.behind_since = None;
            return None;
        }
        let since = *self.behind_since.get_or_insert(now);
        (now.duration_since(since) >= BEHIND_FOR).then(|| {
            format!("reading was more than {} s behind for {} s", BEHIND.as_secs(), BEHIND_FOR.as_secs())
        })
    }

    /// Why polling is enough again.
    fn calm(&mut self, now: Instant, read: ReadOutcome) -> Option<String> {
        let behind = read.behind?;
        if behind > CALM_BEHIND || read.bytes_per_second > CALM_BYTES {
            self.calm_since = None;
            return None;
        }
        let since = *self.calm_since.get_or_insert(now);
        (now.duration_since(since) >= self.calm_for)
            .then(|| format!("the shard was calm for {} minutes", self.calm_for.as_secs() / 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const CALM: ReadOutcome = ReadOutcome {
        throttled: false,
        behind: Some(Duration::ZERO),
        held_back: false,
        bytes_per_second: 1_000,
    };
    const LATE: ReadOutcome = ReadOutcome { behind: Some(secs(60)), ..CALM };
    const THROTTLED: ReadOutcome = ReadOutcome { throttled: true, behind: None, ..CALM };

    fn auto() -> (RetrievalChoice, Instant) {
        let now = Instant::now();
        (RetrievalChoice::new(Retrieval::Auto, false, now), now)
    }

    /// Reads once a second for so long; what changed, and after how many seconds.
    fn reads(
        choice: &mut RetrievalChoice,
        now: &mut Instant,
        read: ReadOutcome,
        seconds: u64,
    ) -> Vec<(RetrievalMode, u64)> {
        let mut changes = Vec::new();
        for second in 0..seconds {
            changes.extend(choice.observe(*now, read).map(|(mode, _)| (mode, second)));
            *now += secs(1);
        }
        changes
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_whose_other_readers_throttle_it_gets_fan_out() {
        let (mut choice, mut now) = auto();
        assert_eq!(reads(&mut choice, &mut now, CALM, 3_600), []);
        // Now and then is nothing.
        for _ in 0..30 {
            assert_eq!(reads(&mut choice, &mut now, THROTTLED, 1), []);
            assert_eq!(reads(&mut choice, &mut now, CALM, 9), []);
        }
        assert_eq!(choice.wanted(now), RetrievalMode::Polling);
        let changes = reads(&mut choice, &mut now, THROTTLED, 10);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(choice.wanted(now), RetrievalMode::FanOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_reading_does_not_keep_up_with_gets_fan_out_and_a_slow_handler_does_not() {
        let (mut choice, mut now) = auto();
        assert_eq!(reads(&mut choice, &mut now, ReadOutcome { held_back: true, ..LATE }, 3_600), []);
        assert_eq!(reads(&mut choice, &mut now, LATE, 30), []);
        assert_eq!(reads(&mut choice, &mut now, CALM, 1), []);
        assert_eq!(reads(&mut choice, &mut now, LATE, 100), [(RetrievalMode::FanOut, 60)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_calm_shard_is_polled_again_and_later_each_time_that_this_was_too_early() {
        let (mut choice, mut now) = auto();
        let mut lasted = Vec::new();
        for _ in 0..7 {
            assert_eq!(reads(&mut choice, &mut now, LATE, 61), [(RetrievalMode::FanOut, 60)]);
            let busy = ReadOutcome { bytes_per_second: 1_500_000, ..CALM };
            assert_eq!(reads(&mut choice, &mut now, busy, 40_000), []);
            let changes = reads(&mut choice, &mut now, CALM, 9 * 3_600);
            let [(RetrievalMode::Polling, after)] = changes[..] else { panic!("{changes:?}") };
            lasted.push(after / 60);
            // Late again at once: too early.
            now = choice.since + secs(10);
        }
        assert_eq!(lasted, [30, 60, 120, 240, 480, 480, 480]);
        now += secs(7_200);
        assert_eq!(reads(&mut choice, &mut now, LATE, 61), [(RetrievalMode::FanOut, 60)]);
        assert_eq!(reads(&mut choice, &mut now, CALM, 1_801), [(RetrievalMode::Polling, 1_800)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_whose_last_holder_had_fan_out_has_it_at_once_and_until_it_is_calm() {
        let mut now = Instant::now();
        let mut choice = RetrievalChoice::new(Retrieval::Auto, true, now);
        assert_eq!(choice.wanted(now), RetrievalMode::FanOut);
        assert_eq!(reads(&mut choice, &mut now, CALM, 1_801), [(RetrievalMode::Polling, 1_800)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_setting_is_kept_to_except_where_fan_out_cannot_be_begun() {
        for (setting, expected) in
            [(Retrieval::Polling, RetrievalMode::Polling), (Retrieval::FanOut, RetrievalMode::FanOut)]
        {
            let mut now = Instant::now();
            let mut choice = RetrievalChoice::new(setting, setting == Retrieval::Polling, now);
            assert_eq!(reads(&mut choice, &mut now, LATE, 3_600), []);
            assert_eq!(choice.wanted(now), expected);
            choice.failed(now);
            assert_eq!(
                (choice.wanted(now), choice.wanted(now + TRY_AGAIN)),
                (RetrievalMode::Polling, expected)
            );
        }
    }

    #[test]
    fn the_price_of_fan_out() {
        assert_eq!(usd_per_month(false, 1, 0), 11);
        assert_eq!(usd_per_month(false, 100, 0), 1_095);
        // 1 MB/s for a month are 2,628 GB.
        assert_eq!(usd_per_month(false, 1, 1_000_000), 46);
        assert_eq!((usd_per_month(true, 100, 0), usd_per_month(true, 100, 1_000_000)), (0, 132));
        assert_eq!(usd_per_month(false, usize::MAX, u64::MAX), u64::MAX.div_ceil(1_000));
    }
}
