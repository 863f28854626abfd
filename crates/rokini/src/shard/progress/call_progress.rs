//! What user code does with a shard.

use std::time::Duration;

use rokini_lease::{Position, SequenceNumber};
use tokio::time::Instant;

use crate::types::shard_state::ShardState;

/// A failure that no success followed yet.
#[derive(Debug)]
pub(super) struct LastError {
    pub(super) text: String,
    /// The service's code, where it was a service that refused.
    pub(super) code: Option<String>,
    pub(super) at: Instant,
}

impl LastError {
    /// One of user code.
    fn of_handler(text: String, at: Instant) -> Self {
        Self { text, code: None, at }
    }
}

#[derive(Debug)]
pub(super) struct CallProgress {
    pub(super) state: ShardState,
    pub(super) since: Instant,
    pub(super) last_return: Option<Instant>,
    /// The first record of the batch that is handled, waits to be handled again, or is not acknowledged.
    pub(super) handling: Option<SequenceNumber>,
    /// In a row.
    pub(super) failures: u32,
    /// It takes no records at present, and said why.
    pub(super) unavailable: bool,
    /// What failed last, user code or a read.
    pub(super) last_error: Option<LastError>,
    /// How far records are done, as looked at last.
    done: Option<Position>,
    /// When that was, and when it was looked at last before it moved.
    looked: Instant,
    moved: Instant,
    /// Partition keys that are parked.
    pub(super) parked: usize,
    pub(super) skipped: u64,
    pub(super) dead_lettered: u64,
    /// Records that calls were about that returned without an error, and the time that all calls took.
    pub(super) handled: (u64, Duration),
}

impl CallProgress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: ShardState::Starting,
            since: now,
            last_return: None,
            handling: None,
            failures: 0,
            unavailable: false,
            last_error: None,
            done: None,
            looked: now,
            moved: now,
            parked: 0,
            skipped: 0,
            dead_lettered: 0,
            handled: (0, Duration::ZERO),
        }
    }

    pub(super) fn set_state(&mut self, state: ShardState) {
        if self.state != state {
            if self.state == ShardState::AwaitingAcks {
                self.handling = None;
            }
            self.state = state;
            self.since = Instant::now();
        }
    }

    /// `well` where nothing is left that failed.
    pub(super) fn returned(&mut self, well: bool, now: Instant) {
        self.last_return = Some(now);
        if well {
            self.handling = None;
            self.failures = 0;
            self.unavailable = false;
            self.last_error = None;
        }
    }

    /// For how long nothing more was done. `done`: how far records are.
    pub(super) fn unmoved(&mut self, done: Position, now: Instant) -> Duration {
        if self.done.replace(done) != Some(done) {
            // At some time since then.
            self.moved = self.looked;
        }
        self.looked = now;
        now.duration_since(self.moved)
    }

    pub(super) fn unavailable(&mut self, error: String, now: Instant) {
        self.unavailable = true;
        self.last_error = Some(LastError::of_handler(error, now));
    }

    pub(super) fn failed(&mut self, failures: u32, error: String, now: Instant) {
        self.failures = failures;
        self.unavailable = false;
        self.last_error = Some(LastError::of_handler(error, now));
        if self.state == ShardState::Handling {
            self.last_return = Some(now);
        }
    }
}
