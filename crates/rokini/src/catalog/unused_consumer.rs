//! When `retrieval = auto` gives the registration of a group back. Pure: time is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// A registration that no shard has used for so long is given back: AWS bills each shard of the stream by the hour for it.
const UNUSED_FOR: Duration = Duration::from_secs(3_600);

/// What the worker on duty has seen of the use of a registration.
#[derive(Debug, Default)]
pub(super) struct UnusedConsumer {
    since: Option<Instant>,
    given_back: bool,
}

impl UnusedConsumer {
    /// Takes in whether some shard is subscribed to now. Whether the registration is to be given back; `true` until that has been
    /// done.
    pub(super) fn observe(&mut self, used: bool, now: Instant) -> bool {
        if used {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        !self.given_back && now.duration_since(since) >= UNUSED_FOR
    }

    /// It was given back, or there was none. Whoever registers again will use it.
    pub(super) fn given_back(&mut self) {
        self.given_back = true;
    }

    /// Another worker has the duty.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t4_what_no_shard_has_used_for_an_hour_is_given_back_once() {
        let (mut unused, begun) = (UnusedConsumer::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(!unused.observe(false, after(0)) && !unused.observe(false, after(3_599)));
        assert!(unused.observe(false, after(3_600)));
        assert!(unused.observe(false, after(3_660)), "it failed, and is tried again");
        unused.given_back();
        assert!(!unused.observe(false, after(90_000)));
        // Used again, and left again.
        assert!(!unused.observe(true, after(90_060)) && !unused.observe(false, after(90_120)));
        assert!(!unused.observe(true, after(93_600)) && !unused.observe(false, after(93_719)));
        assert!(!unused.observe(false, after(97_318)) && unused.observe(false, after(97_319)));
        unused.reset();
        assert!(!unused.observe(false, after(97_320)));
    }
}
