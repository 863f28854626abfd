//! The rates of a shard.

use rokini_wire::Timestamp;

const MIB: u64 = 1 << 20;

/// What a shard takes or gives in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

/// Written: 1 MB and 1,000 records a second, as AWS documents.
pub(crate) const WRITE: Rate = Rate { calls: 1_000, bytes: MIB };
/// Read: 2 MB and 5 GetRecords calls a second, as AWS documents.
pub(crate) const READ: Rate = Rate { calls: 5, bytes: 2 * MIB };

/// Asked for: 5 GetShardIterator calls a second to an open shard, as AWS documents.
pub(crate) const ITERATORS: Rate = Rate { calls: 5, bytes: u64::MAX };
/// Pushed: 2 MB a second to each consumer, as AWS documents; any number of events.
pub(crate) const FAN_OUT: Rate = Rate { calls: u64::MAX, bytes: 2 * MIB };

/// Counts against a [`Rate`]. A second starts with the first use; one that took more bytes than its rate lasts until they
/// are paid for, which is how a GetRecords answer of 10 MB blocks the shard for the documented five seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateLimiter {
    started: i64,
    calls: u64,
    bytes: u64,
}

impl RateLimiter {
    /// Whether another read may start: its size shows only afterwards.
    pub(crate) fn is_open(&mut self, now: Timestamp, rate: Rate) -> bool {
        self.start_new_second(now, rate);
        self.calls < rate.calls && self.bytes < rate.bytes
    }

    /// Whether `bytes` more still fit. Something larger than the rate fits only into an unused second.
    pub(crate) fn fits(&mut self, now: Timestamp, rate: Rate, bytes: u64) -> bool {
        self.start_new_second(now, rate);
        self.calls < rate.calls && (self.bytes == 0 || self.bytes.saturating_add(bytes) <= rate.bytes)
    }

    /// Counts one call or record of this size.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether the second it counted is over, for a rate of calls alone.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.millis() >= self.started.saturating_add(1000) || now.millis() < self.started
    }

    /// When the present second ends.
    pub(crate) fn reopens_at(&self, rate: Rate) -> Timestamp {
        let paid_for =
            i64::try_from(self.bytes.saturating_mul(1000).div_ceil(rate.bytes)).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.started.saturating_add(paid_for.max(1000)))
    }

    fn start_new_second(&mut self, now: Timestamp, rate: Rate) {
        // A clock set back must not block the shard until it has caught up.
        if now >= self.reopens_at(rate) || now.millis() < self.started {
            *self = Self { started: now.millis(), calls: 0, bytes: 0 };
        }
    }
}

/// What a shard holds ready for records larger than its rate of a second: 10 MiB, refilled with the rate, as AWS documents for
/// large records. Smaller records go on meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BurstBucket {
    bytes: u64,
    filled: i64,
}

impl Default for BurstBucket {
    fn default() -> Self {
        Self { bytes: Self::SIZE, filled: i64::MIN }
    }
}

impl BurstBucket {
    const SIZE: u64 = 10 * MIB;

    pub(crate) fn fits(&mut self, now: Timestamp, bytes: u64) -> bool {
        // A clock set back must not stop the bucket from filling until it has caught up.
        self.filled = self.filled.min(now.millis());
        let passed = u64::try_from(now.millis().saturating_sub(self.filled)).unwrap_or(0);
        let more = passed.saturating_mul(WRITE.bytes) / 1000;
        if more > 0 {
            *self = Self { bytes: self.bytes.saturating_add(more).min(Self::SIZE), filled: now.millis() };
        }
        bytes <= self.bytes
    }

    pub(crate) fn charge(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn five_reads_a_second() {
        let mut limiter = RateLimiter::default();
        for call in 0..5 {
            assert!(limiter.is_open(at(call * 10), READ), "{call}");
            limiter.charge(0);
        }
        assert!(!limiter.is_open(at(999), READ));
        assert!(limiter.is_open(at(1000), READ));
    }

    #[test]
    fn ten_megabytes_block_for_five_seconds() {
        let mut limiter = RateLimiter::default();
        assert!(limiter.is_open(at(0), READ));
        limiter.charge(10 * MIB);
        assert!(!limiter.is_open(at(4999), READ));
        assert!(limiter.is_open(at(5000), READ));
    }

    #[test]
    fn writes_fit_up_to_a_megabyte() {
        let mut limiter = RateLimiter::default();
        assert!(limiter.fits(at(0), WRITE, MIB / 2));
        limiter.charge(MIB / 2);
        assert!(limiter.fits(at(1), WRITE, MIB / 2));
        assert!(!limiter.fits(at(1), WRITE, MIB / 2 + 1));
        assert!(limiter.fits(at(1000), WRITE, MIB));
    }

    #[test]
    fn a_large_record_needs_a_fresh_second_and_pays_for_itself() {
        let mut limiter = RateLimiter::default();
        assert!(limiter.fits(at(0), WRITE, 3 * MIB));
        limiter.charge(3 * MIB);
        assert!(!limiter.fits(at(2999), WRITE, 1));
        assert!(limiter.fits(at(3000), WRITE, 1));
    }

    #[test]
    fn a_clock_set_back_starts_anew() {
        let mut limiter = RateLimiter::default();
        assert!(limiter.is_open(at(0), READ));
        limiter.charge(10 * MIB);
        assert!(limiter.is_open(at(-1), READ));
    }
}
