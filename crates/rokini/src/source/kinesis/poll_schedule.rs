//! When to read a shard again. Pure: time and randomness are handed in.
//!
//! Readers of several groups share the reads of a shard, and know of each other by refusals alone. Each adapts its rate:
//! some reads a second more per second, a share less at each refusal, so that the faster ones give more than the slower
//! ones, and all come to the same rate. Whoever reads at the whole limit is never refused, and refuses everybody
//! else: so a reader stays below it, a little while it is alone, more while it shares.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;
use rokini_types::Backoff;
use tokio::time::Instant;

/// Reads a second of a reader that was not refused lately: under the 5 that Kinesis gives a shard.
const ALONE: f64 = 4.6;
/// Reads a second, at most, of a reader that shares the shard.
const SHARED: f64 = 4.0;
/// Reads a second, at least, however often they are refused.
const SLOWEST: f64 = 0.2;
/// From the last refusal until a reader takes itself to be alone.
const SHARED_FOR: Duration = Duration::from_secs(60);
/// Reads a second that are added to the rate each second without a refusal.
const GROWTH: f64 = 0.4;
/// What a refusal leaves of the rate.
const DECREASE: f64 = 0.75;
/// How far pauses at the rate are from even, so that readers do not stay in step.
const SPREAD: RangeInclusive<f64> = 0.85..=1.15;
/// The pauses after failed reads: short enough to be back within 2 s, and fewer calls than a stream at rest gets.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_millis(1_500));
/// A quiet shard is read after an eighth of the silence so far (and the floor): the first record after a
/// silence of 2 s waits 450 ms at most, and the default ceiling of 1 s is reached after 6.4 s.
const SILENCE_SHARE: u32 = 8;

/// Decides when the next read of a shard starts.
#[derive(Debug)]
pub(crate) struct PollSchedule {
    floor: Duration,
    ceiling: Duration,
    next: Instant,
    /// When a read last brought records, or the reader was opened.
    last_record: Instant,
    /// Reads a second that others leave to this reader, as far as it knows.
    rate: f64,
    /// When a read was last refused for its rate.
    refused: Option<Instant>,
    /// Failed reads in a row.
    failures: u32,
}

impl PollSchedule {
    /// The first read starts now.
    pub(crate) fn new(floor: Duration, ceiling: Duration, now: Instant) -> Self {
        Self { floor, ceiling, next: now, last_record: now, rate: ALONE, refused: None, failures: 0 }
    }

    /// When the next read starts.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// A read that started at `started` went through. `behind`: the shard has more records already.
    pub(crate) fn went_through(
        &mut self,
        started: Instant,
        now: Instant,
        records: usize,
        behind: bool,
        rng: &mut impl Rng,
    ) {
        self.failures = 0;
        let shared = self.refused.is_some_and(|refused| now.saturating_duration_since(refused) < SHARED_FOR);
        let most = if shared { SHARED } else { ALONE };
        // The rate in reads a second grows with each second, and a second has `rate` reads.
        self.rate = (self.rate + GROWTH / self.rate).min(most);
        if records > 0 {
            self.last_record = now;
        }
        let pause = if behind {
            Duration::ZERO
        } else {
            let silence = now.saturating_duration_since(self.last_record);
            (self.floor + silence / SILENCE_SHARE).min(self.ceiling)
        };
        // Who is alone and behind goes to the limit of the shard.
        let pace = if behind && !shared { Duration::ZERO } else { self.pace(rng) };
        self.next = started + pause.max(pace);
    }

    /// A read was refused for its rate.
    pub(crate) fn throttled(&mut self, now: Instant, rng: &mut impl Rng) {
        self.rate = (self.rate.min(SHARED) * DECREASE).max(SLOWEST);
        self.refused = Some(now);
        self.next = now + self.pace(rng).max(self.floor);
    }

    /// A read failed otherwise.
    pub(crate) fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.failures = self.failures.saturating_add(1);
        self.next = now + RETRY.jittered(self.failures, rng.random_range(Backoff::JITTER));
    }

    /// The time between two reads at the rate.
    fn pace(&self, rng: &mut impl Rng) -> Duration {
        Duration::from_secs_f64(rng.random_range(SPREAD) / self.rate)
    }
}

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const FLOOR: Duration = Duration::from_millis(200);
    const CEILING: Duration = Duration::from_secs(1);

    struct Bench {
        schedule: PollSchedule,
        rng: SmallRng,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                schedule: PollSchedule::new(FLOOR, CEILING, Instant::now()),
                rng: SmallRng::seed_from_u64(1),
            }
        }

        /// Reads that take no time; each pause until the next one in milliseconds.
        fn pauses(&mut self, reads: impl IntoIterator<Item = (usize, bool)>) -> Vec<u128> {
            let read = |(records, behind)| {
                let now = self.schedule.next();
                self.schedule.went_through(now, now, records, behind, &mut self.rng);
                (self.schedule.next() - now).as_millis()
            };
            reads.into_iter().map(read).collect()
        }

        /// The pause after a refusal now, in milliseconds.
        fn refused(&mut self) -> u128 {
            let now = self.schedule.next();
            self.schedule.throttled(now, &mut self.rng);
            (self.schedule.next() - now).as_millis()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_read_is_at_once() {
        assert_eq!(Bench::new().schedule.next(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_reads_at_once_also_without_records() {
        assert_eq!(Bench::new().pauses([(10, true), (0, true), (10, true)]), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn t2_records_keep_it_under_the_limit_of_the_shard() {
        let pauses = Bench::new().pauses([(1, false); 1000]);
        assert!(pauses.iter().all(|pause| (200..=250).contains(pause)), "{pauses:?}");
        let rate = 1e6 / pauses.iter().sum::<u128>() as f64;
        assert!((4.4..4.7).contains(&rate), "{rate} reads a second");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_slows_it_down_step_by_step_and_a_record_makes_it_fast_again() {
        let mut bench = Bench::new();
        let idle = bench.pauses([(0, false); 40]);
        assert!(idle[0] <= 250 && idle.last() == Some(&1000), "{idle:?}");
        // The rate no longer matters: no step is more than an eighth longer, so a short silence costs little.
        let slow: Vec<_> = idle.into_iter().skip_while(|pause| *pause <= 253).collect();
        assert!(slow.windows(2).all(|pair| pair[0] <= pair[1]), "{slow:?}");
        assert!(slow.windows(2).all(|pair| pair[1] <= pair[0] + pair[0] / 8 + 1), "{slow:?}");
        assert!(bench.pauses([(1, false)])[0] <= 250);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_call_counts_into_the_pause() {
        let mut bench = Bench::new();
        let now = Instant::now();
        bench.schedule.went_through(now, now + Duration::from_millis(150), 1, false, &mut bench.rng);
        assert!(bench.schedule.next() <= now + Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn t2_refusals_lower_the_rate_by_a_share_down_to_a_read_in_five_seconds() {
        let mut bench = Bench::new();
        let mut seen = Vec::new();
        let mut rate = SHARED;
        for _ in 0..20 {
            rate = (rate * DECREASE).max(SLOWEST);
            let share = bench.refused() as f64 / 1000.0 * rate;
            assert!((0.84..1.16).contains(&share), "{share} of the pause at {rate} a second");
            seen.push(share);
        }
        seen.dedup();
        assert_eq!(seen.len(), 20, "the pauses are not even");
    }

    #[tokio::test(start_paused = true)]
    async fn t2_the_rate_grows_by_steps_and_a_minute_after_the_last_refusal_the_reader_is_alone() {
        let mut bench = Bench::new();
        while bench.schedule.rate > 1.0 {
            bench.refused();
        }
        let refused = bench.schedule.refused.unwrap();
        let (mut last, begun) = (bench.schedule.rate, bench.schedule.next());
        while bench.schedule.rate < SHARED {
            // A shard that is behind is read at the pace, not at once.
            assert!(bench.pauses([(10, true)])[0] >= 200);
            assert!(bench.schedule.rate > last);
            last = bench.schedule.rate;
        }
        let took = (bench.schedule.next() - begun).as_secs_f64();
        assert!((6.0..10.0).contains(&took), "{took} s from under 1 to 4 reads a second");
        while bench.schedule.next() - refused < SHARED_FOR {
            assert!(bench.schedule.rate <= SHARED);
            bench.pauses([(10, true)]);
        }
        assert_eq!(bench.pauses([(10, true); 3])[1..], [0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_from_100_ms_to_1500_ms_with_jitter() {
        let Bench { mut schedule, mut rng } = Bench::new();
        let now = Instant::now();
        for longest in [200, 400, 800, 1500, 1500, 1500, 1500, 1500] {
            schedule.failed(now, &mut rng);
            let pause = (schedule.next() - now).as_millis();
            assert!(longest / 2 <= pause && pause <= longest, "{pause} at {longest}");
        }
        schedule.went_through(now, now, 1, false, &mut rng);
        schedule.failed(now, &mut rng);
        assert!((schedule.next() - now).as_millis() <= 200);
    }

    #[tokio::test(start_paused = true)]
    async fn many_failures_do_not_overflow() {
        let Bench { mut schedule, mut rng } = Bench::new();
        let now = Instant::now();
        for _ in 0..10_000 {
            schedule.failed(now, &mut rng);
            schedule.throttled(now, &mut rng);
        }
        assert!(schedule.next() <= now + Duration::from_secs(6));
    }
}
