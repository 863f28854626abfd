//! When to read a shard again. Pure: time and randomness are handed in.

use std::time::Duration;

use rand::Rng;
use rokini_types::Backoff;
use tokio::time::Instant;

/// The longest pause after throttled reads.
const SLOWEST: Duration = Duration::from_secs(5);
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
    /// The least time between two reads while throttled; zero when not. Doubled by each refusal, lowered by a
    /// quarter of the floor by each read that goes through.
    pace: Duration,
    /// Failed reads in a row.
    failures: u32,
}

impl PollSchedule {
    /// The first read starts now.
    pub(crate) fn new(floor: Duration, ceiling: Duration, now: Instant) -> Self {
        Self { floor, ceiling, next: now, last_record: now, pace: Duration::ZERO, failures: 0 }
    }

    /// When the next read starts.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// A read that started at `started` went through. `behind`: the shard has more records already.
    pub(crate) fn went_through(&mut self, started: Instant, now: Instant, records: usize, behind: bool) {
        self.failures = 0;
        self.pace = self.pace.saturating_sub(self.floor / 4);
        if self.pace < self.floor {
            self.pace = Duration::ZERO;
        }
        if records > 0 {
            self.last_record = now;
        }
        let pause = if behind {
            Duration::ZERO
        } else {
            let silence = now.saturating_duration_since(self.last_record);
            (self.floor + silence / SILENCE_SHARE).min(self.ceiling)
        };
        self.next = started + pause.max(self.pace);
    }

    /// A read was refused for its rate.
    pub(crate) fn throttled(&mut self, now: Instant, rng: &mut impl Rng) {
        self.pace = (self.pace.max(self.floor) * 2).min(SLOWEST);
        // Others that share the shard were refused at the same time and must not come back together.
        self.next = now + self.pace.mul_f64(rng.random_range(0.75..1.25));
    }

    /// A read failed otherwise.
    pub(crate) fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.failures = self.failures.saturating_add(1);
        self.next = now + RETRY.jittered(self.failures, rng.random_range(Backoff::JITTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const FLOOR: Duration = Duration::from_millis(200);
    const CEILING: Duration = Duration::from_secs(1);

    fn fresh() -> (PollSchedule, Instant) {
        let now = Instant::now();
        (PollSchedule::new(FLOOR, CEILING, now), now)
    }

    fn millis(duration: Duration) -> u128 {
        duration.as_millis()
    }

    /// Reads that take no time; each pause until the next one in milliseconds.
    fn pauses(schedule: &mut PollSchedule, reads: impl IntoIterator<Item = (usize, bool)>) -> Vec<u128> {
        let read = |(records, behind)| {
            let now = schedule.next();
            schedule.went_through(now, now, records, behind);
            millis(schedule.next() - now)
        };
        reads.into_iter().map(read).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_read_is_at_once() {
        let (schedule, now) = fresh();
        assert_eq!(schedule.next(), now);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_reads_at_once_also_without_records() {
        let (mut schedule, _) = fresh();
        assert_eq!(pauses(&mut schedule, [(10, true), (0, true), (10, true)]), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn records_keep_it_at_the_floor() {
        let (mut schedule, _) = fresh();
        assert_eq!(pauses(&mut schedule, [(1, false); 5]), [200; 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_slows_it_down_step_by_step_and_a_record_makes_it_fast_again() {
        let (mut schedule, _) = fresh();
        let idle = pauses(&mut schedule, [(0, false); 40]);
        assert_eq!(idle[..4], [200, 225, 253, 284]);
        assert!(idle.windows(2).all(|pair| pair[0] <= pair[1]), "{idle:?}");
        assert_eq!(idle.last(), Some(&1000));
        // No step is more than an eighth longer, so a short silence costs little.
        assert!(idle.windows(2).all(|pair| pair[1] <= pair[0] + pair[0] / 8 + 1), "{idle:?}");
        assert_eq!(pauses(&mut schedule, [(1, false), (0, false)]), [200, 225]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_call_counts_into_the_pause() {
        let (mut schedule, now) = fresh();
        schedule.went_through(now, now + Duration::from_millis(150), 1, false);
        assert_eq!(schedule.next(), now + FLOOR);
    }

    #[tokio::test(start_paused = true)]
    async fn t2_throttled_reads_slow_down_by_doubling_with_jitter() {
        let (mut schedule, now) = fresh();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seen = Vec::new();
        for pace in [400.0, 800.0, 1600.0, 3200.0, 5000.0, 5000.0] {
            schedule.throttled(now, &mut rng);
            let pause = (schedule.next() - now).as_secs_f64() * 1000.0;
            assert!(pace * 0.75 <= pause && pause < pace * 1.25, "{pause} at {pace}");
            seen.push(pause / pace);
        }
        seen.dedup();
        assert_eq!(seen.len(), 6, "the jitter is not constant");
    }

    #[tokio::test(start_paused = true)]
    async fn t2_reads_that_go_through_speed_up_by_steps() {
        let (mut schedule, now) = fresh();
        let mut rng = SmallRng::seed_from_u64(1);
        schedule.throttled(now, &mut rng);
        schedule.throttled(now, &mut rng);
        // A shard that is behind is read at the pace, not at once.
        let behind = pauses(&mut schedule, [(10, true); 15]);
        assert_eq!(behind, [750, 700, 650, 600, 550, 500, 450, 400, 350, 300, 250, 200, 0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_from_100_ms_to_1500_ms_with_jitter() {
        let (mut schedule, now) = fresh();
        let mut rng = SmallRng::seed_from_u64(1);
        for longest in [200, 400, 800, 1500, 1500, 1500, 1500, 1500] {
            schedule.failed(now, &mut rng);
            let pause = millis(schedule.next() - now);
            assert!(longest / 2 <= pause && pause <= longest, "{pause} at {longest}");
        }
        schedule.went_through(now, now, 1, false);
        schedule.failed(now, &mut rng);
        assert!(millis(schedule.next() - now) <= 200);
    }

    #[tokio::test(start_paused = true)]
    async fn many_failures_do_not_overflow() {
        let (mut schedule, now) = fresh();
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..10_000 {
            schedule.failed(now, &mut rng);
            schedule.throttled(now, &mut rng);
        }
        assert!(schedule.next() <= now + SLOWEST.mul_f64(1.25));
    }
}
