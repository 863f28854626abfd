//! Processes that are started before a shard needs them.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rokini::HandlerError;
use rokini_types::Backoff;
use tokio_util::sync::CancellationToken;

use crate::child::{Child, Spawner, StdoutLines};
use crate::event::HandlerEvent;

/// Between tries to start a process. Long enough that a program that cannot start costs next to nothing, short enough that
/// one that can again is noticed within ten seconds.
const RESTART: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(8));

/// Processes that wait for a shard.
pub(crate) struct ChildPool<T> {
    spawner: Spawner,
    spares: Mutex<Vec<Child<T>>>,
    closed: CancellationToken,
}

impl<T> fmt::Debug for ChildPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildPool").field("settings", &self.spawner.settings).finish_non_exhaustive()
    }
}

impl<T: StdoutLines + Default> ChildPool<T> {
    pub(crate) fn new(spawner: Spawner) -> Arc<Self> {
        let pool = Self { spawner, spares: Mutex::default(), closed: CancellationToken::new() };
        let pool = Arc::new(pool);
        pool.refill();
        pool
    }

    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// A process that has not been used: one that waits, or a new one.
    pub(crate) fn take(&self) -> io::Result<Child<T>> {
        let spare = {
            let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
            // One that ended while it waited is of no use.
            spares.retain(|spare| spare.status().is_none());
            spares.pop()
        };
        let child = match spare {
            Some(spare) => spare,
            None => self.spawner.spawn(Arc::default(), &[])?,
        };
        self.refill();
        Ok(child)
    }

    /// Starts as many as are missing. One that cannot be started is started when it is needed: then somebody hears of it.
    fn refill(&self) {
        if self.closed.is_cancelled() {
            return;
        }
        let spares = || self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever watches hears of each process, and not under the lock.
        while spares().len() < self.spawner.settings.spares {
            match self.spawner.spawn(Arc::default(), &[]) {
                Ok(spare) => spares().push(spare),
                Err(_) => return,
            }
        }
    }

    /// Ends those that wait, and starts no more ahead of need.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let spares = std::mem::take(&mut *self.spares.lock().unwrap_or_else(PoisonError::into_inner));
        let limit = self.spawner.settings.stop_timeout;
        for spare in spares {
            spare.stop(limit).await;
        }
    }
}

/// Failed starts in a row of what a shard needs.
#[derive(Debug, Default)]
pub(crate) struct StartFailures(u32);

impl StartFailures {
    /// It did not start: reports that, and says when to try again.
    pub(crate) fn failed(&mut self, spawner: &Spawner, shard: &str, error: &HandlerError) -> Duration {
        self.0 = self.0.saturating_add(1);
        let retry_in = RESTART.delay(self.0);
        let (shard, error) = (Some(shard.into()), error.to_string());
        spawner.events.emit(&HandlerEvent::StartFailed { shard, error, retry_in });
        retry_in
    }

    pub(crate) fn succeeded(&mut self) {
        self.0 = 0;
    }
}
