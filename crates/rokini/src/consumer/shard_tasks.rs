//! The shard tasks of a consumer: at most one per shard at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{CheckpointMetadata, Lease, LeaseError, LeaseKey, LeaseLostReason, WorkerId};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use crate::catalog::streams::OpenStream;
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;
use crate::processor::shard_context::ShardContext;
use crate::shard::held_shard::HeldShard;
use crate::shard::progress::ShardProgress;
use crate::shard::resources::ShardResources;
use crate::shard::task::{ShardTask, StopSignals, TaskOutcome};
use crate::source::stream_identity::is_older;
use crate::telemetry::consumer_metrics::ConsumerMetrics;

/// After so many tasks of one shard that ended in a row in a way they should not, another worker is to try.
const MOST_BROKEN: u32 = 3;

/// A task that ended.
pub(super) struct Ended {
    pub(super) shard: Option<Arc<ShardProgress>>,
    pub(super) outcome: TaskOutcome,
}

pub(super) struct ShardTasks {
    control: Arc<Control>,
    resources: Arc<ShardResources>,
    metrics: Arc<ConsumerMetrics>,
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
    pub(super) fn new(
        control: &Arc<Control>,
        resources: &Arc<ShardResources>,
        metrics: &Arc<ConsumerMetrics>,
        rng: StdRng,
    ) -> Self {
        Self {
            control: Arc::clone(control),
            resources: Arc::clone(resources),
            metrics: Arc::clone(metrics),
            rng,
            signals: StopSignals::default(),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    /// Every task drains and hands over.
    pub(super) fn stop(&self) {
        self.signals.stop.cancel();
    }

    /// Every task drops what it does and hands over.
    pub(super) fn abandon(&self) {
        self.signals.abandon.cancel();
    }

    /// Ends every task where it stands. Returns the shards of those that ran.
    pub(super) fn abort(&mut self) -> Vec<Arc<ShardProgress>> {
        self.tasks.abort_all();
        self.waiting.clear();
        let running = std::mem::take(&mut self.running);
        running.into_values().flatten().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.waiting.is_empty()
    }

    /// Starts a task for a lease, or has it wait for the shard's earlier task.
    pub(super) fn granted(&mut self, lease: Lease, worker: WorkerId) {
        let key = lease.key().clone();
        if self.running.contains_key(&key) {
            self.waiting.insert(key, (lease, worker));
            return;
        }
        let (progress, abort) = if let Some(stream) = self.control.streams.get(&key.stream) {
            let task = self.shard_task(lease, worker, stream);
            (Some(Arc::clone(&task.shard.progress)), self.tasks.spawn(task.run()))
        } else {
            let outdated = self.control.streams.all().keys().any(|id| is_older(&key.stream, id));
            let events = self.control.events.of_shard(key.clone());
            let pause = self.control.config.failover;
            let stop = self.signals.stop.clone();
            (None, self.tasks.spawn(async move { foreign(lease, outdated, &events, pause, &stop).await }))
        };
        self.keys.insert(abort.id(), key.clone());
        self.running.insert(key, progress);
    }

    fn shard_task(&mut self, lease: Lease, worker: WorkerId, stream: Arc<OpenStream>) -> ShardTask {
        let (key, resources) = (lease.key().clone(), Arc::clone(&self.resources));
        let group = resources.catalog.group.clone();
        let context = ShardContext::new(group, &lease, worker);
        context.checkpoints().inherit(lease.pending());
        if !resources.settings.stores_positions {
            context.checkpoints().keep_in_memory();
        }
        let clock = resources.clock.clone();
        let observer = self.metrics.observer(&key);
        let settings = &resources.settings;
        let progress =
            ShardProgress::new(context, Arc::clone(&stream), clock, lease.row(), settings, observer);
        let progress = Arc::new(progress);
        self.control.worker.add(&progress);
        let events = self.control.events.of_shard(key.clone());
        let shard = HeldShard { resources, progress, events, stream, lease };
        if self.broken.get(&key).is_some_and(|times| *times >= MOST_BROKEN) {
            shard.give_back("its work ended again and again");
        }
        ShardTask { shard, signals: self.signals.clone(), rng: StdRng::from_rng(&mut self.rng) }
    }

    /// The next task that ends. Never ends while there is none.
    pub(super) async fn ended(&mut self) -> Ended {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), TaskOutcome::Broken(error.to_string())),
        };
        let key = self.keys.remove(&id);
        let shard = key.as_ref().and_then(|key| self.running.remove(key)).flatten();
        if let Some(key) = &key {
            match outcome {
                TaskOutcome::Broken(_) => *self.broken.entry(key.clone()).or_default() += 1,
                _ => drop(self.broken.remove(key)),
            }
        }
        if let Some(shard) = &shard {
            shard.flush_observer();
            self.control.worker.remove(shard);
            let key = shard.context.key();
            self.metrics.left(key);
            if let TaskOutcome::Broken(error) | TaskOutcome::Restarted(error) = &outcome {
                self.control.events.emit_for_shard(key, EventKind::ShardRestarted { error: error.clone() });
            }
        }
        if let Some((lease, worker)) = key.and_then(|key| self.waiting.remove(&key)) {
            self.granted(lease, worker);
        }
        Ended { shard, outcome }
    }
}

/// A lease of a stream that this consumer does not read.
async fn foreign(
    lease: Lease,
    outdated: bool,
    events: &ShardEvents,
    pause: Duration,
    stop: &CancellationToken,
) -> TaskOutcome {
    if outdated {
        // The stream was deleted and made again: nothing of the old one can be read any more.
        events.emit(EventKind::ShardGone { position: lease.position() });
        return match lease.finish(Vec::new()).await {
            Ok(()) => TaskOutcome::Finished,
            Err(error) => TaskOutcome::Broken(error.to_string()),
        };
    }
    events.emit(EventKind::ForeignLease);
    // Given back slowly: it would be granted again at once.
    tokio::select! {
        cause = lease.lost() => return TaskOutcome::Lost(cause),
        () = lease.yield_requested() => {}
        () = stop.cancelled() => {}
        () = sleep(pause) => {}
    }
    match lease.hand_over(None, CheckpointMetadata::default()).await {
        Ok(handed_over) => TaskOutcome::HandedOver { to: handed_over.to },
        Err(LeaseError::Lost(cause)) => TaskOutcome::Lost(cause),
        Err(_) => TaskOutcome::Lost(LeaseLostReason::Stopped),
    }
}
