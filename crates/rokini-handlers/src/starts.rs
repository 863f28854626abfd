//! Interpreters that start at once make each other slow, and need their memory at once: a few at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A start that takes longer leaves its place to the next one: it waits for something that is no processor of this machine, and the
/// others would wait for that, too.
pub(crate) const LONGEST_START: Duration = Duration::from_secs(1);

/// How many processes start at the same time. Whoever asked first comes first.
#[derive(Debug, Clone)]
pub(crate) struct StartLimit(Arc<Semaphore>);

/// A place among those that start, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct StartPlace(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl StartLimit {
    /// So many places, at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Waits for a place. Cancel safe.
    pub(crate) async fn place(&self) -> StartPlace {
        // Nobody closes it.
        StartPlace(Arc::clone(&self.0).acquire_owned().await.ok())
    }
}
