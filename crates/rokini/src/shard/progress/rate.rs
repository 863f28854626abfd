//! Bytes a second and bytes of a record, as means over minutes. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long an amount counts: after this time it weighs a third.
const MEMORY: Duration = Duration::from_secs(300);

/// A mean that forgets.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When counting began, and until when `sum` is discounted.
    times: Option<(Instant, Instant)>,
    /// Discounted bytes, and records.
    sum: f64,
    records: f64,
}

impl Rate {
    pub(super) fn add(&mut self, now: Instant, bytes: usize, records: usize) {
        let (began, _) = *self.times.get_or_insert((now, now));
        let left = self.discount(now);
        self.sum = self.sum * left + bytes as f64;
        self.records = self.records * left + records as f64;
        self.times = Some((began, now));
    }

    /// What is left of what counted until the last amount.
    fn discount(&self, now: Instant) -> f64 {
        let since = self.times.map_or(Duration::ZERO, |(_, last)| now.saturating_duration_since(last));
        (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// `None` in the first ten seconds: too little to go by.
    pub(super) fn per_second(&self, now: Instant) -> Option<u64> {
        let lived = now.saturating_duration_since(self.times?.0).as_secs_f64();
        let memory = MEMORY.as_secs_f64();
        // The weight of all the time that counted so far.
        let weight = memory * (1.0 - (-lived / memory).exp());
        (lived >= 10.0).then(|| (self.sum * self.discount(now) / weight).round() as u64)
    }

    /// Bytes of a record. `None` while there were none.
    pub(super) fn record_bytes(&self) -> Option<u64> {
        (self.records > 0.0).then(|| (self.sum / self.records).round().max(1.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_steady_rate_is_found_and_forgotten() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!((rate.per_second(begin), rate.record_bytes()), (None, None));
        rate.add(begin, 0, 0);
        assert_eq!(rate.record_bytes(), None);
        (0..600).for_each(|second| rate.add(after(second), 1_000, 4));
        let steady = rate.per_second(after(600)).unwrap();
        assert!((990..=1010).contains(&steady), "{steady}");
        assert_eq!(rate.record_bytes(), Some(250));
        assert_eq!(rate.per_second(after(36_000)), Some(0));
        assert_eq!(rate.record_bytes(), Some(250), "of those that there were");
    }
}
