//! When to subscribe to a shard. Pure: time and randomness are handed in.

use std::time::Duration;

use rand::Rng;
use rokini_types::Backoff;
use tokio::time::Instant;

/// Between two calls of SubscribeToShard: one a second for a consumer and shard (Kinesis limit), whatever the last one came to.
const APART: Duration = Duration::from_millis(1_050);
/// From a call that went through to the next that may: 5 s (Kinesis limit), as the clock of the service has it.
const GUARD: Duration = Duration::from_millis(5_050);
/// The pauses after refusals and failures.
const RETRY: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
/// The pauses after somebody else took the subscription: whoever reads for the same consumer beside this worker would lose it
/// to this one as well.
const TAKEN: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
/// For how long a shard may be refused as what happens after another subscription: the guard of 5 s, and what the steps of
/// [`APART`] round it up to.
const EXPECTED: Duration = Duration::from_secs(8);
/// A subscription that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Decides when the next call is made.
#[derive(Debug)]
pub(super) struct Attempts {
    next: Instant,
    /// When the last call went through.
    subscribed: Option<Instant>,
    /// When the shard began to be refused for another subscription.
    refused_since: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// How often in a row somebody else took the subscription.
    taken: u32,
}

impl Attempts {
    /// The first call is made now.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, subscribed: None, refused_since: None, failures: 0, taken: 0 }
    }

    /// When the next call is made.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// A call begins, and may go through whatever is heard of it.
    pub(super) fn begins(&mut self, now: Instant) {
        self.next = now + APART;
    }

    /// The call went through.
    pub(super) fn subscribed(&mut self, now: Instant) {
        self.subscribed = Some(now);
        self.next = now + GUARD;
    }

    /// The subscription brought an event: until then a server may refuse it in its stream.
    pub(super) fn heard(&mut self) {
        (self.refused_since, self.failures) = (None, 0);
    }

    /// The call was refused because there is another subscription, or was a moment ago. Whether that is nothing but what
    /// happens after each.
    pub(super) fn in_use(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        let since = *self.refused_since.get_or_insert(now);
        let expected = now.duration_since(since) < EXPECTED;
        match expected {
            true => self.next = now + APART.mul_f64(rng.random_range(1.0..1.2)),
            false => self.failed(now, rng),
        }
        expected
    }

    /// The call failed or was refused for something else.
    pub(super) fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY.jittered(self.failures, rng.random_range(Backoff::JITTER));
        self.next = self.next.max(now + pause.max(APART));
    }

    /// The subscription is over: its time is up, it broke off, or it was given up.
    pub(super) fn over(&mut self, now: Instant) {
        if self.lasted(now) >= GOOD {
            self.taken = 0;
        }
        self.next = self.subscribed.map_or(now, |at| (at + GUARD).max(now));
    }

    /// Somebody else took the subscription.
    pub(super) fn taken(&mut self, now: Instant, rng: &mut impl Rng) {
        self.over(now);
        self.taken = self.taken.saturating_add(1);
        self.next = self.next.max(now + TAKEN.jittered(self.taken, rng.random_range(Backoff::JITTER)));
    }

    /// Not before so long from now.
    pub(super) fn wait(&mut self, now: Instant, pause: Duration) {
        self.next = self.next.max(now + pause);
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.subscribed.map_or(Duration::ZERO, |at| now.duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn fresh() -> (Attempts, Instant, SmallRng) {
        let now = Instant::now();
        (Attempts::new(now), now, SmallRng::seed_from_u64(3))
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn t4_a_subscription_whose_time_is_up_is_followed_by_the_next_at_once() {
        let (mut attempts, now, _) = fresh();
        assert_eq!(attempts.next(), now);
        attempts.begins(now);
        attempts.subscribed(now);
        let end = now + secs(300);
        attempts.over(end);
        assert_eq!(attempts.next(), end);
    }

    #[tokio::test(start_paused = true)]
    async fn t4_no_two_calls_go_through_within_five_seconds() {
        let (mut attempts, now, _) = fresh();
        attempts.begins(now);
        attempts.subscribed(now);
        attempts.over(now + secs(1));
        assert!(attempts.next() > now + secs(5) && attempts.next() < now + secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn t4_calls_are_a_second_apart_whatever_they_come_to() {
        let (mut attempts, mut now, mut rng) = fresh();
        for case in 0..60 {
            attempts.begins(now);
            match case % 3 {
                0 => _ = attempts.in_use(now, &mut rng),
                1 => attempts.failed(now, &mut rng),
                // Nothing was heard of it.
                _ => {}
            }
            assert!(attempts.next() >= now + secs(1), "{case}");
            now = attempts.next();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_after_each_subscription_is_told_from_what_does_not() {
        let (mut attempts, begun, mut rng) = fresh();
        let mut now = begun;
        let mut expected = Vec::new();
        while now < begun + secs(20) {
            attempts.begins(now);
            expected.push((attempts.in_use(now, &mut rng), now - begun));
            now = attempts.next();
        }
        assert!(expected.iter().all(|(expected, at)| *expected == (*at < EXPECTED)), "{expected:?}");
        // Once the 5 s are over, the next call follows within the second.
        assert!(expected.iter().any(|(_, at)| (secs(5)..secs(7)).contains(at)), "{expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_comes_in_the_stream_is_one() {
        let (mut attempts, begun, mut rng) = fresh();
        let mut now = begun;
        let mut calls = 0;
        while now < begun + secs(120) {
            attempts.begins(now);
            attempts.subscribed(now);
            attempts.over(now);
            let expected = attempts.in_use(now, &mut rng);
            assert_eq!(expected, now - begun < EXPECTED);
            calls += 1;
            now = attempts.next();
        }
        assert!(calls < 20, "{calls} calls in two minutes");
        attempts.heard();
        assert!(attempts.in_use(now, &mut rng), "a new story");
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_take_it_from_each_other_do_so_more_and_more_rarely() {
        let (mut attempts, mut now, mut rng) = fresh();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            attempts.begins(now);
            attempts.subscribed(now);
            now += secs(6);
            attempts.taken(now, &mut rng);
            pauses.push(attempts.next() - now);
            now = attempts.next();
        }
        assert!(pauses[0] >= secs(5) && pauses[7] >= secs(30), "{pauses:?}");
        attempts.begins(now);
        attempts.subscribed(now);
        attempts.over(now + secs(300));
        attempts.taken(now + secs(310), &mut rng);
        assert!(attempts.next() - (now + secs(310)) <= secs(10));
    }
}
