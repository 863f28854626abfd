//! What one shard gives a second: 5 reads and 2 MB (Kinesis limits). Pure: time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// GetRecords calls a second and shard (Kinesis limit).
const CALLS: usize = 5;
/// A second, and what the network may take more for an earlier call than for a later one: the service counts
/// when a call arrives.
const WINDOW: Duration = Duration::from_millis(1_025);
/// Bytes a second and shard (Kinesis limit). An answer of 10 MB blocks the shard for the documented 5 s.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// Keeps the reads of one shard within its limits, as long as nobody else reads it.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// The last [`CALLS`] calls.
    calls: VecDeque<Instant>,
    /// When the bytes of all answers are paid for.
    paid: Option<Instant>,
}

impl Budget {
    /// When the next call may start. `None`: at once.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        let window = self.calls.front().filter(|_| self.calls.len() >= CALLS).map(|first| *first + WINDOW);
        window.max(self.paid)
    }

    /// Notes a call that starts now.
    pub(crate) fn call(&mut self, now: Instant) {
        if self.calls.len() >= CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
    }

    /// Notes an answer that is here now.
    pub(crate) fn answer(&mut self, now: Instant, bytes: u64) {
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000 / BYTES_PER_SECOND));
        self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// When calls start that are made as soon as they may be, each answered after `latency` with `bytes`.
    fn greedy(budget: &mut Budget, count: usize, latency: Duration, bytes: u64) -> Vec<Instant> {
        let mut now = Instant::now();
        let mut starts = Vec::new();
        for _ in 0..count {
            now = now.max(budget.ready_at().unwrap_or(now));
            budget.call(now);
            starts.push(now);
            now += latency;
            budget.answer(now, bytes);
        }
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn five_calls_at_once_then_a_pause() {
        let starts = greedy(&mut Budget::default(), 11, Duration::ZERO, 0);
        let since: Vec<_> = starts.iter().map(|start| (*start - starts[0]).as_millis()).collect();
        assert_eq!(since, [0, 0, 0, 0, 0, 1025, 1025, 1025, 1025, 1025, 2050]);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_megabytes_block_for_five_seconds() {
        let starts = greedy(&mut Budget::default(), 3, Duration::from_millis(100), 10_000_000);
        let since: Vec<_> = starts.iter().map(|start| (*start - starts[0]).as_millis()).collect();
        assert_eq!(since, [0, 5100, 10_200]);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_time_is_no_credit_for_bytes() {
        let mut budget = Budget::default();
        budget.answer(Instant::now(), 2_000_000);
        tokio::time::advance(Duration::from_secs(60)).await;
        budget.answer(Instant::now(), 2_000_000);
        assert_eq!(budget.ready_at(), Some(Instant::now() + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn t2_no_second_has_more_than_five_calls_or_two_megabytes(
            answers in proptest::collection::vec((0u64..200, prop_oneof![Just(100u64), 0u64..3_000_000]), 1..60)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let _guard = runtime.as_ref().unwrap().enter();
            let (mut budget, mut now) = (Budget::default(), Instant::now());
            let mut starts = Vec::new();
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (latency, bytes) in answers {
                now = now.max(budget.ready_at().unwrap_or(now));
                // Every byte before this call is paid for by the time since the first answer.
                if let Some((first, _)) = taken.first() {
                    let sum: u64 = taken.iter().map(|(_, bytes)| bytes).sum();
                    prop_assert!(sum as f64 <= (now - *first).as_secs_f64() * 2_000_000.0 + 1.0);
                }
                budget.call(now);
                starts.push(now);
                now += Duration::from_millis(latency);
                budget.answer(now, bytes);
                taken.push((now, bytes));
            }
            for window in starts.windows(CALLS + 1) {
                prop_assert!(window[CALLS] - window[0] > Duration::from_secs(1));
            }
        }
    }
}
