//! The shard tasks of a consumer: at most one per shard at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{CheckpointMetadata, Lease, LeaseKey, LostCause, WorkerId};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::engine::Engine;
use crate::catalog::streams::is_older;
use crate::events::Event;
use crate::processor::shard_context::ShardContext;
use crate::shard::progress::ShardProgress;
use crate::shard::progress::read_progress::ReadProgress;
use crate::shard::task::{ShardTask, StopSignals, TaskOutcome};
use crate::shard::watchdog::give_back;

/// After so many tasks of one shard that ended in a row in a way they should not, another worker is to try.
const MOST_BROKEN: u32 = 3;

/// A task that ended.
pub(crate) struct Ended {
    pub(crate) live: Option<Arc<ShardProgress>>,
    pub(crate) outcome: TaskOutcome,
}

pub(crate) struct ShardTasks {
    engine: Arc<Engine>,
    control: Arc<Control>,
    rng: StdRng,
    signals: StopSignals,
    tasks: JoinSet<TaskOutcome>,
    keys: HashMap<Id, LeaseKey>,
    /// `None` for a lease of a stream that is not read.
    running: BTreeMap<LeaseKey, Option<Arc<ShardProgress>>>,
    /// Granted while the task of an earlier hold has not ended: two handlers of one shard never run at once.
    waiting: BTreeMap<LeaseKey, (Lease, WorkerId)>,
    /// Tasks that ended in a row in a way they should not.
    broken: BTreeMap<LeaseKey, u32>,
}

impl ShardTasks {
    pub(crate) fn new(engine: &Arc<Engine>, control: &Arc<Control>, rng: StdRng) -> Self {
        Self {
            engine: Arc::clone(engine),
            control: Arc::clone(control),
            rng,
            signals: StopSignals { stop: CancellationToken::new(), abandon: CancellationToken::new() },
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    /// Every task drains and hands over.
    pub(crate) fn stop(&self) {
        self.signals.stop.cancel();
    }

    /// Every task drops what it does and hands over.
    pub(crate) fn abandon(&self) {
        self.signals.abandon.cancel();
    }

    /// Ends every task where it stands, and tells what was running.
    pub(crate) fn abort(&mut self) -> Vec<Arc<ShardProgress>> {
        self.tasks.abort_all();
        self.waiting.clear();
        let running = std::mem::take(&mut self.running);
        running.into_values().flatten().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.waiting.is_empty()
    }

    /// Starts a task for a lease, or has it wait for the shard's earlier task.
    pub(crate) fn granted(&mut self, lease: Lease, worker: WorkerId) {
        let key = lease.key().clone();
        if self.running.contains_key(&key) {
            self.waiting.insert(key, (lease, worker));
            return;
        }
        let (live, abort) = if let Some(stream) = self.engine.streams.get(&key.stream) {
            let context = ShardContext::new(
                self.engine.catalog.group.clone(),
                &key,
                worker,
                lease.epoch(),
                lease.position(),
            );
            context.checkpoints().inherit(lease.pending());
            if self.engine.config.broadcast {
                context.checkpoints().keep_in_memory();
            }
            let reading = ReadProgress::new(Arc::clone(&stream), self.engine.clock.clone(), lease.row());
            let live = Arc::new(ShardProgress::new(context, reading, self.engine.telemetry().shard(&key)));
            self.control.add(&live);
            if self.broken.get(&key).is_some_and(|times| *times >= MOST_BROKEN) {
                give_back(&self.engine, &lease, "its work ended again and again");
            }
            let task = ShardTask {
                engine: Arc::clone(&self.engine),
                live: Arc::clone(&live),
                stream,
                lease,
                signals: self.signals.clone(),
                rng: StdRng::from_rng(&mut self.rng),
            };
            (Some(live), self.tasks.spawn(task.run()))
        } else {
            let outdated = self.engine.streams.all().keys().any(|id| is_older(&key.stream, id));
            let engine = Arc::clone(&self.engine);
            let stop = self.signals.stop.clone();
            (None, self.tasks.spawn(async move { foreign(&engine, lease, outdated, &stop).await }))
        };
        self.keys.insert(abort.id(), key.clone());
        self.running.insert(key, live);
    }

    /// The next task that ends. Never ends while there is none.
    pub(crate) async fn ended(&mut self) -> Ended {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), TaskOutcome::Broken(error.to_string())),
        };
        let key = self.keys.remove(&id);
        let live = key.as_ref().and_then(|key| self.running.remove(key)).flatten();
        if let Some(key) = &key {
            match outcome {
                TaskOutcome::Broken(_) => *self.broken.entry(key.clone()).or_default() += 1,
                _ => drop(self.broken.remove(key)),
            }
        }
        if let Some(live) = &live {
            live.settle();
            self.control.remove(live);
            key.iter().for_each(|key| self.engine.telemetry().left(key));
            if let TaskOutcome::Broken(error) = &outcome {
                let (stream, shard) = (live.context.stream().clone(), live.context.shard_id().clone());
                self.engine.events.tell(Event::ShardRestarted { stream, shard, error: error.clone() });
            }
        }
        if let Some((lease, worker)) = key.and_then(|key| self.waiting.remove(&key)) {
            self.granted(lease, worker);
        }
        Ended { live, outcome }
    }
}

/// A lease of a stream that this consumer does not read.
async fn foreign(engine: &Engine, lease: Lease, outdated: bool, stop: &CancellationToken) -> TaskOutcome {
    let key = lease.key().clone();
    if outdated {
        // The stream was deleted and made again: nothing of the old one can be read any more.
        let (stream, shard) = (key.stream, key.shard);
        engine.events.tell(Event::ShardGone { stream, shard, position: lease.position() });
        return match lease.finish(Vec::new()).await {
            Ok(()) => TaskOutcome::Finished,
            Err(error) => TaskOutcome::Broken(error.to_string()),
        };
    }
    engine.events.tell(Event::ForeignLease { lease: key });
    // Given back slowly: it would be granted again at once.
    let pause: Duration = engine.config.failover;
    tokio::select! {
        cause = lease.lost() => return TaskOutcome::Lost(cause),
        () = lease.yield_requested() => {}
        () = stop.cancelled() => {}
        () = sleep(pause) => {}
    }
    match lease.hand_over(None, CheckpointMetadata::default()).await {
        Ok(handed_over) => TaskOutcome::HandedOver { to: handed_over.to },
        Err(rokini_lease::LeaseError::Lost(cause)) => TaskOutcome::Lost(cause),
        Err(_) => TaskOutcome::Lost(LostCause::Stopped),
    }
}
