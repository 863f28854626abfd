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
    /// How long ago the last stored one was begun; joining counts as one.
    pub age: Duration,
}

pub(super) struct HeartbeatCounter(Mutex<(HeartbeatStats, Instant)>);

impl HeartbeatCounter {
    pub(super) fn new() -> Self {
        Self(Mutex::new((HeartbeatStats::default(), Instant::now())))
    }

    fn state(&self) -> MutexGuard<'_, (HeartbeatStats, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stored(&self, begun: Instant) {
        let mut state = self.state();
        state.0.stored += 1;
        state.1 = begun;
    }

    pub(super) fn failed(&self) {
        self.state().0.failed += 1;
    }

    pub(super) fn stats(&self) -> HeartbeatStats {
        let (stats, last) = *self.state();
        HeartbeatStats { age: last.elapsed(), ..stats }
    }
}
