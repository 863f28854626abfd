//! Processes that are started before a shard needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::HandlerError;
use rokini_types::Backoff;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::child::{Child, ChildWatch, Spawner, StdoutLines};
use crate::event::HandlerEvent;
use crate::ready::waiting_for_input;
use crate::starts::{LONGEST_START, StartPlace};

/// Between tries to start a process. Long enough that a program that cannot start costs next to nothing, short enough that
/// one that can again is noticed within ten seconds.
const RESTART: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(8));

/// A worker joins its group at the latest after so long, however long its processes take to start: the shards are in other
/// hands meanwhile.
pub(crate) const WARM_UP: Duration = Duration::from_secs(10);
/// Between two looks whether processes have started.
const LOOK: Duration = Duration::from_millis(50);
/// Where the system does not say what a process does, it counts as started after so long.
const UNSEEN_START: Duration = Duration::from_secs(1);

/// Processes that wait for a shard.
pub(crate) struct ChildPool<T> {
    spawner: Spawner,
    state: Mutex<State<T>>,
    /// A process was started, has started, or could not be started.
    changed: Notify,
    closed: CancellationToken,
}

struct State<T> {
    spares: Vec<Child<T>>,
    /// Spares that are to be started once there is a place for them.
    queued: usize,
    /// Processes, spares or not, that do not wait for their input yet.
    starting: BTreeMap<u32, Starting>,
    is_looked_after: bool,
    /// When spares beyond those that always wait are ended.
    surplus_until: Option<Instant>,
}

/// A process that does not wait for its input yet.
struct Starting {
    watch: ChildWatch,
    since: Instant,
    place: Option<StartPlace>,
}

impl<T> fmt::Debug for ChildPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildPool").field("settings", &self.spawner.settings).finish_non_exhaustive()
    }
}

impl<T: StdoutLines + Default> ChildPool<T> {
    pub(crate) fn new(spawner: Spawner) -> Arc<Self> {
        let state = State {
            spares: Vec::new(),
            queued: 0,
            starting: BTreeMap::new(),
            is_looked_after: false,
            surplus_until: None,
        };
        let (changed, closed) = (Notify::new(), CancellationToken::new());
        let pool = Arc::new(Self { spawner, state: Mutex::new(state), changed, closed });
        pool.refill();
        pool
    }

    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that has not been used: one that waits, or a new one, once there is a place to start it.
    pub(crate) async fn take(self: &Arc<Self>) -> io::Result<Child<T>> {
        let child = match self.spare() {
            Some(spare) => spare,
            None => {
                let place = self.spawner.starts.place().await;
                // One may have been started meanwhile.
                match self.spare() {
                    Some(spare) => spare,
                    None => self.start(place)?,
                }
            }
        };
        self.refill();
        Ok(child)
    }

    fn spare(&self) -> Option<Child<T>> {
        let mut state = self.state();
        // One that ended while it waited is of no use.
        state.spares.retain(|spare| spare.status().is_none());
        // The one that has waited longest has started most likely.
        (!state.spares.is_empty()).then(|| state.spares.remove(0))
    }

    /// Starts one in this place, which is given back once it has started.
    fn start(self: &Arc<Self>, place: StartPlace) -> io::Result<Child<T>> {
        // Whoever watches hears of each process, and not under the lock.
        let child = self.spawner.spawn(Arc::default(), &[])?;
        let starting = Starting { watch: child.watch(), since: Instant::now(), place: Some(place) };
        let mut state = self.state();
        state.starting.insert(child.pid(), starting);
        if !std::mem::replace(&mut state.is_looked_after, true) {
            let pool = Arc::clone(self);
            self.spawner.tracker.spawn(async move {
                // Who waits for a place waits for it: after a panic it looks again.
                while pool.spawner.events.guard("process starts", pool.look_after_starts()).await.is_none() {}
            });
        }
        Ok(child)
    }

    /// Looks at those that start, until there is none. One look is for all of them: it reads files of every process of the host.
    async fn look_after_starts(&self) {
        loop {
            sleep(LOOK).await;
            let groups: BTreeSet<u32> = self.state().starting.keys().copied().collect();
            let waiting = self.spawner.tracker.spawn_blocking(move || waiting_for_input(&groups)).await;
            let waiting = waiting.ok().flatten();
            let mut state = self.state();
            state.starting.retain(|pid, starting| {
                let age = starting.since.elapsed();
                if age >= LONGEST_START {
                    starting.place = None;
                }
                let has_started = match &waiting {
                    None => age >= UNSEEN_START,
                    Some(waiting) => waiting.contains(pid) || age >= WARM_UP,
                };
                !has_started && !starting.watch.has_ended()
            });
            let is_done = state.starting.is_empty();
            state.is_looked_after = !is_done;
            drop(state);
            self.changed.notify_waiters();
            if is_done {
                return;
            }
        }
    }

    fn refill(self: &Arc<Self>) {
        self.start_ahead(self.spawner.settings.spares);
    }

    /// Starts as many as are missing, each once there is a place. One that cannot be started is started when it is needed: then
    /// somebody hears of it.
    fn start_ahead(self: &Arc<Self>, count: usize) {
        let missing = {
            let mut state = self.state();
            let there = state.spares.iter().filter(|spare| spare.status().is_none()).count();
            let missing = count.saturating_sub(there + state.queued);
            state.queued += missing;
            missing
        };
        for _ in 0..missing {
            let pool = Arc::clone(self);
            self.spawner.guarded("spare process", async move {
                let place = tokio::select! {
                    biased;
                    () = pool.closed.cancelled() => None,
                    place = pool.spawner.starts.place() => Some(place),
                };
                let started = place.and_then(|place| pool.start(place).ok());
                let mut state = pool.state();
                state.queued -= 1;
                // One that was started while the pool was closed is ended.
                state.spares.extend(started.filter(|_| !pool.closed.is_cancelled()));
                drop(state);
                pool.changed.notify_waiters();
            });
        }
    }

    /// Starts so many for shards that are about to come, and waits until they have started, for [`WARM_UP`] at most. Those that
    /// are not taken in time are ended.
    pub(crate) async fn warm(self: &Arc<Self>, count: usize) {
        if count <= self.spawner.settings.spares {
            return;
        }
        self.end_surplus_later();
        self.start_ahead(count);
        let started = async {
            loop {
                let changed = self.changed.notified();
                let is_done = {
                    let state = self.state();
                    state.queued == 0
                        && !state.spares.iter().any(|spare| state.starting.contains_key(&spare.pid()))
                };
                if is_done {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(WARM_UP, started).await;
    }

    /// Ends what nobody needs, some time after the last call of this.
    fn end_surplus_later(self: &Arc<Self>) {
        let end = Instant::now() + self.spawner.settings.idle_timeout;
        if self.state().surplus_until.replace(end).is_some() {
            return;
        }
        let pool = Arc::clone(self);
        self.spawner.guarded("surplus processes", async move {
            loop {
                let until = pool.state().surplus_until;
                tokio::select! {
                    () = sleep_until(until.unwrap_or(end)) => {}
                    () = pool.closed.cancelled() => return,
                }
                let surplus = {
                    let mut state = pool.state();
                    if state.surplus_until.is_some_and(|until| until > Instant::now()) {
                        continue;
                    }
                    state.surplus_until = None;
                    let keep = pool.spawner.settings.spares.min(state.spares.len());
                    state.spares.split_off(keep)
                };
                return pool.stop(surplus).await;
            }
        });
    }

    /// Ends those that wait, and starts no more ahead of need.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let spares = std::mem::take(&mut self.state().spares);
        self.stop(spares).await;
    }

    /// All at once: each may take its time.
    async fn stop(&self, spares: Vec<Child<T>>) {
        let limit = self.spawner.settings.stop_timeout;
        let stopping: Vec<_> = spares
            .into_iter()
            .map(|spare| self.spawner.guarded("spare process", spare.stop(limit)))
            .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::NoMessages;
    use crate::context::HandlerContext;
    use crate::settings::ProcessSettings;

    /// A pool of shells that write a line to a file when they begin, and wait for their input after a while.
    fn slow(
        folder: &std::path::Path,
        change: impl FnOnce(&mut ProcessSettings),
    ) -> Arc<ChildPool<NoMessages>> {
        let program = format!("echo >> {}/begun; sleep 0.6; exec cat", folder.display());
        let mut settings = ProcessSettings::new(["sh", "-c", &program]);
        settings.spares = 0;
        change(&mut settings);
        ChildPool::new(Spawner::new(settings, &HandlerContext::new(1)))
    }

    fn begun(folder: &std::path::Path) -> usize {
        std::fs::read_to_string(folder.join("begun")).unwrap_or_default().lines().count()
    }

    #[tokio::test]
    async fn m4_of_many_processes_that_are_needed_at_once_a_few_start_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let pool = slow(folder.path(), |settings| settings.starts_at_once = 2);
        let taken: Vec<_> = (0..6)
            .map(|_| {
                let pool = Arc::clone(&pool);
                pool.spawner.tracker.clone().spawn(async move { pool.take().await.unwrap() })
            })
            .collect();
        let mut most_at_once = 0;
        let waits_for_place = || pool.state().starting.values().filter(|one| one.place.is_some()).count();
        while taken.iter().any(|task| !task.is_finished()) || !pool.state().starting.is_empty() {
            most_at_once = most_at_once.max(waits_for_place());
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((most_at_once, begun(folder.path())), (2, 6));
        for child in taken {
            child.await.unwrap().stop(Duration::from_secs(5)).await;
        }
    }

    #[tokio::test]
    async fn m4_one_that_takes_long_to_start_does_not_hold_up_the_others() {
        let mut settings = ProcessSettings::new(["sh", "-c", "sleep 1000"]);
        (settings.spares, settings.starts_at_once) = (0, 1);
        let pool = ChildPool::<NoMessages>::new(Spawner::new(settings, &HandlerContext::new(1)));
        let begun = Instant::now();
        let _three = [pool.take().await.unwrap(), pool.take().await.unwrap(), pool.take().await.unwrap()];
        let took = begun.elapsed();
        assert!(took >= 2 * LONGEST_START && took < Duration::from_secs(9), "{took:?}");
    }

    #[tokio::test]
    async fn m4_what_is_started_ahead_of_need_is_there_when_it_is_needed_and_ended_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let pool = slow(folder.path(), |settings| settings.idle_timeout = Duration::from_secs(2));
        pool.warm(3).await;
        let taken = pool.take().await.unwrap();
        assert_eq!(begun(folder.path()), 3, "it is one of those that were started");
        assert!(!pool.state().starting.contains_key(&taken.pid()), "and has started");
        // Wanted again, they wait for longer; then nobody needs them.
        sleep(Duration::from_secs(1)).await;
        pool.warm(2).await;
        sleep(Duration::from_millis(1_300)).await;
        assert_eq!(pool.state().spares.len(), 2);
        let begun = Instant::now();
        while !pool.state().spares.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(taken.status(), None);
    }
}
