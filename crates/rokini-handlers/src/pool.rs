//! Processes that are started before a shard needs them.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::HandlerError;
use rokini_types::Backoff;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::child::{Child, Spawner, StdoutLines};
use crate::event::HandlerEvent;
use crate::ready::waiting_for_input;

/// Between tries to start a process. Long enough that a program that cannot start costs next to nothing, short enough that
/// one that can again is noticed within ten seconds.
const RESTART: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(8));

/// A worker joins its group at the latest after so long, however long its processes take to start: the shards are in other
/// hands meanwhile.
pub(crate) const WARM_UP: Duration = Duration::from_secs(10);
/// Processes that no shard came for after so long, beyond the spares, are ended.
const SURPLUS: Duration = Duration::from_secs(60);
/// Between two looks whether processes have started.
const LOOK: Duration = Duration::from_millis(50);
/// Where the system does not say what a process does, it counts as started after so long.
const UNSEEN_START: Duration = Duration::from_secs(1);

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

    fn spares(&self) -> MutexGuard<'_, Vec<Child<T>>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that has not been used: one that waits, or a new one.
    pub(crate) fn take(&self) -> io::Result<Child<T>> {
        let spare = {
            let mut spares = self.spares();
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

    fn refill(&self) {
        self.start_ahead(self.spawner.settings.spares);
    }

    /// Starts as many as are missing. One that cannot be started is started when it is needed: then somebody hears of it.
    fn start_ahead(&self, count: usize) {
        if self.closed.is_cancelled() {
            return;
        }
        // Whoever watches hears of each process, and not under the lock.
        while self.spares().len() < count {
            match self.spawner.spawn(Arc::default(), &[]) {
                Ok(spare) => self.spares().push(spare),
                Err(_) => return,
            }
        }
    }

    /// Starts so many for shards that are about to come, and waits until they have started, for [`WARM_UP`] at most. Those that
    /// are not taken within a minute are ended.
    pub(crate) async fn warm(self: &Arc<Self>, count: usize) {
        if count <= self.spares().len() {
            return;
        }
        self.start_ahead(count);
        let begun = Instant::now();
        while begun.elapsed() < WARM_UP {
            let running =
                || self.spares().iter().filter(|spare| spare.status().is_none()).map(Child::pid).collect();
            let started: BTreeSet<u32> = running();
            let looked = started.clone();
            let waiting = self.spawner.tracker.spawn_blocking(move || waiting_for_input(&looked)).await;
            match waiting.ok().flatten() {
                None if begun.elapsed() >= UNSEEN_START => break,
                Some(waiting) if waiting == started => break,
                _ => sleep(LOOK).await,
            }
        }
        let pool = Arc::clone(self);
        self.spawner.tracker.spawn(async move {
            tokio::select! {
                () = sleep(SURPLUS) => {}
                () = pool.closed.cancelled() => return,
            }
            let surplus = {
                let mut spares = pool.spares();
                let keep = pool.spawner.settings.spares.min(spares.len());
                spares.split_off(keep)
            };
            pool.stop(surplus).await;
        });
    }

    /// Ends those that wait, and starts no more ahead of need.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let spares = std::mem::take(&mut *self.spares());
        self.stop(spares).await;
    }

    /// All at once: each may take its time.
    async fn stop(&self, spares: Vec<Child<T>>) {
        let limit = self.spawner.settings.stop_timeout;
        let stopping: Vec<_> =
            spares.into_iter().map(|spare| self.spawner.tracker.spawn(spare.stop(limit))).collect();
        for stopped in stopping {
            // It ends by a panic only.
            let _ = stopped.await;
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
