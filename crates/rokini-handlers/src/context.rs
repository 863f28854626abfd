//! What handlers in other processes share.

use std::fmt;
use std::sync::Arc;

use rokini::lease::WallClock;
use tokio_util::task::TaskTracker;

use crate::event::HandlerObserver;

/// What handlers in other processes need of the program that they are part of.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HandlerContext {
    /// Who watches. Default: nobody.
    pub observer: Option<Arc<dyn HandlerObserver>>,
    /// Where tasks run: those that read the output of processes and reap them. A program waits for them at its end.
    pub tracker: TaskTracker,
    /// For deadlines that functions are told. Default: the host's clock.
    pub clock: WallClock,
    /// The seed of request ids. Two consumers must not have the same.
    pub seed: u64,
}

impl HandlerContext {
    /// With nobody watching.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// With this observer.
    #[must_use]
    pub fn observer(mut self, observer: impl HandlerObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl fmt::Debug for HandlerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerContext").field("observed", &self.observer.is_some()).finish_non_exhaustive()
    }
}
