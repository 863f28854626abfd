//! How often a message that repeats itself is logged.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one message through in a while, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    last: Option<Instant>,
    held_back: u64,
}

impl LogLimiter {
    const EVERY: Duration = Duration::from_secs(30);

    /// Whether to log now, and then how many messages were held back since the last one.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < Self::EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn o5_repeated_messages_are_counted_not_said() {
        let mut limiter = LogLimiter::default();
        assert_eq!(limiter.allow(Instant::now()), Some(0));
        for _ in 0..7 {
            assert_eq!(limiter.allow(Instant::now()), None);
        }
        tokio::time::advance(LogLimiter::EVERY).await;
        assert_eq!(limiter.allow(Instant::now()), Some(7));
    }
}
