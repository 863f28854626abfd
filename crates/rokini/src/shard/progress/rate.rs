//! Bytes a second, as a mean over minutes. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long an amount counts: after this time it weighs a third.
const MEMORY: Duration = Duration::from_secs(300);

/// A mean that forgets.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When counting began, and until when `sum` is discounted.
    times: Option<(Instant, Instant)>,
    /// Discounted bytes.
    sum: f64,
}

impl Rate {
    pub(super) fn add(&mut self, now: Instant, bytes: usize) {
        let (began, _) = *self.times.get_or_insert((now, now));
        self.sum = self.discounted(now) + bytes as f64;
        self.times = Some((began, now));
    }

    fn discounted(&self, now: Instant) -> f64 {
        let since = self.times.map_or(Duration::ZERO, |(_, last)| now.saturating_duration_since(last));
        self.sum * (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// `None` in the first ten seconds: too little to go by.
    pub(super) fn per_second(&self, now: Instant) -> Option<u64> {
        let lived = now.saturating_duration_since(self.times?.0).as_secs_f64();
        let memory = MEMORY.as_secs_f64();
        // The weight of all the time that counted so far.
        let weight = memory * (1.0 - (-lived / memory).exp());
        (lived >= 10.0).then(|| (self.discounted(now) / weight).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_steady_rate_is_found_and_forgotten() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rate.per_second(begin), None);
        (0..600).for_each(|second| rate.add(after(second), 1_000));
        let steady = rate.per_second(after(600)).unwrap();
        assert!((990..=1010).contains(&steady), "{steady}");
        assert_eq!(rate.per_second(after(36_000)), Some(0));
    }
}
