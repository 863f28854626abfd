//! What one shard gives a second: 5 reads and 2 MB (Kinesis limits). Pure: time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// GetRecords calls a second and shard (Kinesis limit).
const CALLS: usize = 5;
/// A second, from when an earlier call has arrived for certain; and the grain of the clocks.
const WINDOW: Duration = Duration::from_millis(1_005);
/// Between two calls. Evenly spread, the calls of two owners of a shard fit into a second, whenever one follows the
/// other.
const APART: Duration = Duration::from_millis(200);
/// From when a reader begins where another one may have read up to now, to its first call: [`APART`], and what the
/// network may take more for the other one's last call.
const AFTER_ANOTHER: Duration = Duration::from_millis(250);
/// Bytes a second and shard (Kinesis limit). An answer of 10 MB blocks the shard for the documented 5 s.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// Keeps the reads of one shard within its limits, as long as nobody else reads it at the same time.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// When the last [`CALLS`] calls had arrived at the latest: when they were answered, or given up.
    arrived: VecDeque<Instant>,
    /// When a call started that is not answered.
    open: bool,
    /// Calls that may follow one another at once: nobody else has read the shard.
    at_once: usize,
    /// Not before, whatever the calls so far.
    apart: Option<Instant>,
    /// When the bytes of all answers are paid for.
    paid: Option<Instant>,
}

impl RateLimiter {
    /// For a shard that nobody has read.
    pub(crate) fn fresh() -> Self {
        Self { arrived: VecDeque::new(), open: false, at_once: CALLS, apart: None, paid: None }
    }

    /// For a shard that somebody else may have read up to now, as fast as one may.
    pub(crate) fn after_another(now: Instant) -> Self {
        Self { at_once: 0, apart: Some(now + AFTER_ANOTHER), ..Self::fresh() }
    }

    /// When the next call may start, as far as is known now. `None`: at once.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        // A call that was given up has arrived before, or never will.
        self.answered(now);
        let full = self.arrived.len() >= CALLS;
        let window = self.arrived.front().filter(|_| full).map(|first| *first + WINDOW);
        window.max(self.apart).max(self.paid)
    }

    /// Notes a call that starts now.
    pub(crate) fn call(&mut self, now: Instant) {
        if self.arrived.len() >= CALLS {
            self.arrived.pop_front();
        }
        self.arrived.push_back(now);
        self.open = true;
        self.at_once = self.at_once.saturating_sub(1);
        self.apart = (self.at_once == 0).then_some(now + APART);
    }

    /// Notes that the call is answered, if only by an error.
    pub(crate) fn answered(&mut self, now: Instant) {
        if std::mem::take(&mut self.open)
            && let Some(last) = self.arrived.back_mut()
        {
            *last = now;
        }
    }

    /// Notes the bytes of an answer that is here now.
    pub(crate) fn took(&mut self, now: Instant, bytes: u64) {
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000 / BYTES_PER_SECOND));
        self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// When calls start that are made as soon as they may be, each answered after `latency` with `bytes`.
    fn greedy(limiter: &mut RateLimiter, count: usize, latency: Duration, bytes: u64) -> Vec<u128> {
        let begun = Instant::now();
        let mut now = begun;
        let mut starts = Vec::new();
        for _ in 0..count {
            now = now.max(limiter.ready_at(now).unwrap_or(now));
            limiter.call(now);
            starts.push((now - begun).as_millis());
            now += latency;
            limiter.answered(now);
            limiter.took(now, bytes);
        }
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn five_calls_at_once_to_a_fresh_shard_then_evenly() {
        let starts = greedy(&mut RateLimiter::fresh(), 11, Duration::ZERO, 0);
        assert_eq!(starts, [0, 0, 0, 0, 0, 1005, 1205, 1405, 1605, 1805, 2010]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_another_reader_calls_are_apart_from_the_first_on() {
        let starts = greedy(&mut RateLimiter::after_another(Instant::now()), 7, Duration::ZERO, 0);
        assert_eq!(starts, [250, 450, 650, 850, 1050, 1255, 1455]);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_megabytes_block_for_five_seconds() {
        let starts = greedy(&mut RateLimiter::fresh(), 3, Duration::from_millis(100), 10_000_000);
        assert_eq!(starts, [0, 5100, 10_200]);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_time_is_no_credit_for_bytes() {
        let mut limiter = RateLimiter::fresh();
        limiter.took(Instant::now(), 2_000_000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        limiter.took(now, 2_000_000);
        assert_eq!(limiter.ready_at(now), Some(now + Duration::from_secs(1)));
    }

    proptest! {
        /// A call arrives at any time between its start and its answer.
        #[test]
        fn t2_no_second_has_more_than_five_calls_or_two_megabytes(
            answers in proptest::collection::vec(
                (0u64..200, 0.0..=1.0f64, prop_oneof![Just(100u64), 0u64..3_000_000], prop::bool::weighted(0.1)), 1..60),
            fresh: bool,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let _guard = runtime.as_ref().unwrap().enter();
            let mut now = Instant::now();
            let mut limiter = if fresh { RateLimiter::fresh() } else { RateLimiter::after_another(now) };
            let mut arrivals = Vec::new();
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (latency, share, bytes, given_up) in answers {
                now = now.max(limiter.ready_at(now).unwrap_or(now));
                // Every byte before this call is paid for by the time since the first answer.
                if let Some((first, _)) = taken.first() {
                    let sum: u64 = taken.iter().map(|(_, bytes)| bytes).sum();
                    prop_assert!(sum as f64 <= (now - *first).as_secs_f64() * 2_000_000.0 + 1.0);
                }
                limiter.call(now);
                let latency = Duration::from_millis(latency);
                arrivals.push(now + latency.mul_f64(share));
                now += latency;
                if !given_up {
                    limiter.answered(now);
                    limiter.took(now, bytes);
                    taken.push((now, bytes));
                }
            }
            for window in arrivals.windows(CALLS + 1) {
                prop_assert!(window[CALLS] - window[0] > Duration::from_secs(1));
            }
        }

        /// One owner reads as fast as it may, for a while, then hands over; the next one begins at once.
        #[test]
        fn t2_two_owners_of_a_shard_fit_into_its_limit(
            before in 5usize..40, hand_over in 0u64..2_000, latency in 0u64..80, jitter in 0u64..40, fresh: bool,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let _guard = runtime.as_ref().unwrap().enter();
            let begun = Instant::now();
            let latency = Duration::from_millis(latency);
            // Its first calls may come at once: nobody hands over a shard within its first second.
            let mut first = if fresh { RateLimiter::fresh() } else { RateLimiter::after_another(begun) };
            let starts = greedy(&mut first, before.max(CALLS * 2), latency, 0);
            let last = begun + Duration::from_millis(*starts.last().unwrap() as u64);
            let mut second = RateLimiter::after_another(last + Duration::from_millis(hand_over));
            let mut now = last + Duration::from_millis(hand_over);
            let mut arrivals: Vec<Instant> =
                starts.iter().map(|start| begun + Duration::from_millis(*start as u64)).collect();
            // The last call of the first owner takes longer to arrive than the others.
            *arrivals.last_mut().unwrap() += Duration::from_millis(jitter);
            for _ in 0..10 {
                now = now.max(second.ready_at(now).unwrap_or(now));
                second.call(now);
                arrivals.push(now);
                now += latency;
                second.answered(now);
            }
            for window in arrivals[CALLS..].windows(CALLS + 1) {
                prop_assert!(window[CALLS] - window[0] >= Duration::from_secs(1), "{:?}", window[CALLS] - window[0]);
            }
        }
    }
}
