//! How the loops that look, declare dead and carry out the plan get on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How the coordination of one worker gets on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CoordinationHealth {
    /// How long ago the last look at worker rows succeeded; joining counts as one.
    pub look_age: Duration,
    /// How long ago the last listing of everything was complete and its plan carried out; joining counts as one.
    pub listing_age: Duration,
    /// For how long a listing has been due and has not been completed.
    pub listing_overdue: Option<Duration>,
    /// Looks that failed so far.
    pub failed_looks: u64,
    /// Listings, or pages of them, and plans that failed so far.
    pub failed_listings: u64,
    /// The last error of either since it last succeeded, for people.
    pub error: Option<String>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    listed: Instant,
    listing_failed_since: Option<Instant>,
    failed_looks: u64,
    failed_listings: u64,
    look_error: Option<String>,
    listing_error: Option<String>,
}

#[derive(Debug)]
pub(super) struct HealthRecord(Mutex<State>);

impl HealthRecord {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            looked: now,
            listed: now,
            listing_failed_since: None,
            failed_looks: 0,
            failed_listings: 0,
            look_error: None,
            listing_error: None,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn looked(&self, now: Instant) {
        let mut state = self.state();
        (state.looked, state.look_error) = (now, None);
    }

    pub(super) fn look_failed(&self, error: String) {
        let mut state = self.state();
        (state.failed_looks, state.look_error) = (state.failed_looks + 1, Some(error));
    }

    pub(super) fn listed(&self, now: Instant) {
        let mut state = self.state();
        (state.listed, state.listing_error, state.listing_failed_since) = (now, None, None);
    }

    pub(super) fn listing_failed(&self, error: String, now: Instant) {
        let mut state = self.state();
        state.failed_listings += 1;
        state.listing_error = Some(error);
        state.listing_failed_since.get_or_insert(now);
    }

    pub(super) fn health(&self) -> CoordinationHealth {
        let state = self.state();
        CoordinationHealth {
            look_age: state.looked.elapsed(),
            listing_age: state.listed.elapsed(),
            listing_overdue: state.listing_failed_since.map(|since| since.elapsed()),
            failed_looks: state.failed_looks,
            failed_listings: state.failed_listings,
            error: state.look_error.clone().or_else(|| state.listing_error.clone()),
        }
    }
}
