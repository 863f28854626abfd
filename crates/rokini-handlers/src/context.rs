//! What handlers in other processes share.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use rokini::lease::WallClock;
use tokio_util::task::TaskTracker;

use crate::event::HandlerObserver;
use crate::orphans::reap_orphans;

/// What handlers in other processes need of the program that they are part of.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HandlerContext {
    /// Who watches. Default: nobody.
    pub observer: Option<Arc<dyn HandlerObserver>>,
    /// Where tasks run: those that read the output of processes and reap them.
    pub(crate) tracker: TaskTracker,
    /// For deadlines that functions are told. Default: the host's clock.
    pub clock: WallClock,
    /// The seed of request ids, and of the numbers of records. Two consumers must not have the same.
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

    /// Waits until the last output of processes is read and they are reaped, for a program at its end: once handlers are closed.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Reaps children of this process that have ended and that nobody waits for, such as those that a handler left behind. For a
    /// program that is process 1, beside everything else: it never returns. Linux only.
    pub async fn reap_orphans(&self) -> Infallible {
        reap_orphans(&self.tracker).await
    }
}

impl fmt::Debug for HandlerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerContext").field("observed", &self.observer.is_some()).finish_non_exhaustive()
    }
}
