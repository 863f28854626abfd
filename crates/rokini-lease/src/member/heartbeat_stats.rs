//! Counts heartbeats, for metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The heartbeats of one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HeartbeatStats {
    /// How many were stored.
    pub stored: u64,
    /// How many failed. Each was tried again.
    pub failed: u64,
    /// How long ago the last stored one was begun; joining counts as one. What the heartbeats of a worker without leases are
    /// further apart than those of the others is taken off.
    pub age: Duration,
}

#[derive(Debug)]
struct Counted {
    stats: HeartbeatStats,
    /// Why the last one failed; `None` where it was stored.
    error: Option<String>,
    /// When the last stored one was begun.
    last: Instant,
    /// Since when each was begun on time after the one before.
    on_time_since: Instant,
}

#[derive(Debug)]
pub(super) struct HeartbeatCounter(Mutex<Counted>);

impl HeartbeatCounter {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Counted {
            stats: HeartbeatStats::default(),
            error: None,
            last: now,
            on_time_since: now,
        }))
    }

    fn state(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was begun at this time was stored; `on_time` after the one before it is on time.
    pub(super) fn stored(&self, begun: Instant, on_time: Duration) {
        let mut state = self.state();
        state.stats.stored += 1;
        state.error = None;
        if begun - state.last > on_time {
            state.on_time_since = begun;
        }
        state.last = begun;
    }

    pub(super) fn failed(&self, error: &str) {
        let mut state = self.state();
        state.stats.failed += 1;
        state.error = Some(error.to_owned());
    }

    pub(super) fn error(&self) -> Option<String> {
        self.state().error.clone()
    }

    /// For how long heartbeats have been stored on time; none where the next one is late.
    pub(super) fn on_time_for(&self, on_time: Duration) -> Duration {
        let state = self.state();
        if state.last.elapsed() > on_time { Duration::ZERO } else { state.on_time_since.elapsed() }
    }

    pub(super) fn stats(&self) -> HeartbeatStats {
        let state = self.state();
        HeartbeatStats { age: state.last.elapsed(), ..state.stats }
    }
}
