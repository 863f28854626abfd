//! What a consumer and its handles share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini_lease::{LeaseKey, Member, StreamId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::engine::Engine;
use super::shutdown_report::{ShardReport, ShutdownReport};
use crate::shard::progress::ShardProgress;
use crate::{Error, Event, StreamSource};

/// How far a consumer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Built, not running yet.
    Created,
    /// Finds its stream, its start position and its group.
    Starting,
    /// Works.
    Running,
    /// Drains and hands over.
    Stopping,
    /// Over.
    Stopped,
}

/// When a consumer is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) begun: Instant,
    pub(crate) deadline: Instant,
}

/// What a consumer and its handles share.
pub(crate) struct Control {
    pub(crate) engine: Arc<Engine>,
    pub(crate) stop: watch::Sender<Option<Stop>>,
    pub(super) report: watch::Sender<Option<ShutdownReport>>,
    /// How many shards have left so far.
    left: watch::Sender<u64>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    member: Option<Member>,
    shards: BTreeMap<LeaseKey, Arc<ShardProgress>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
            stop: watch::Sender::new(None),
            report: watch::Sender::new(None),
            left: watch::Sender::default(),
            state: Mutex::new(State { phase: Phase::Created, member: None, shards: BTreeMap::new() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
    }

    pub(crate) fn member(&self) -> Option<Member> {
        self.state().member.clone()
    }

    pub(crate) fn set_member(&self, member: Option<Member>) {
        self.state().member = member;
    }

    pub(crate) fn shards(&self) -> BTreeMap<LeaseKey, Arc<ShardProgress>> {
        self.state().shards.clone()
    }

    /// What shards recorded reaches the recorders.
    pub(crate) fn settle(&self) {
        self.shards().values().for_each(|live| live.settle());
    }

    pub(crate) fn add(&self, live: &Arc<ShardProgress>) {
        self.state().shards.insert(LeaseKey::clone(live.context.key()), Arc::clone(live));
    }

    /// A later hold of the same shard stays.
    pub(crate) fn remove(&self, live: &Arc<ShardProgress>) {
        let mut state = self.state();
        let key: &LeaseKey = live.context.key();
        if state.shards.get(key).is_some_and(|found| Arc::ptr_eq(found, live)) {
            state.shards.remove(key);
        }
        drop(state);
        self.left.send_modify(|left| *left += 1);
    }

    /// Waits for a first or an earlier order to stop.
    pub(crate) async fn stop_after(&self, known: Option<Stop>) -> Stop {
        let mut stop = self.stop.subscribe();
        let changed = stop.wait_for(|stop| stop.is_some() && *stop != known).await.map(|stop| *stop);
        match changed {
            Ok(Some(stop)) => stop,
            // The sender lives in `self`.
            _ => std::future::pending().await,
        }
    }

    /// The consumer is over. The first report stays.
    pub(crate) fn finished(&self, report: ShutdownReport) {
        self.set_phase(Phase::Stopped);
        let first = self.report.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(report);
            is_first
        });
        if first {
            self.engine.events.tell(Event::Stopped);
        }
    }

    pub(super) fn unfinished(&self) -> ShutdownReport {
        let shards = self.shards().values().map(|live| ShardReport::unfinished(live)).collect();
        let took = self.stop.borrow().map_or(Duration::ZERO, |stop| stop.begun.elapsed());
        ShutdownReport { shards, took }
    }

    /// Before the start a source is opened with the others.
    pub(super) fn want_before_start(&self, source: &Arc<dyn StreamSource>) -> Result<bool, Error> {
        // Under the lock of the phase: the start takes them over after it has changed that.
        let state = self.state();
        let early = state.phase == Phase::Created;
        if early {
            self.engine.sources.want(Arc::clone(source))?;
        }
        Ok(early)
    }

    /// Waits until no shard of the stream is worked on.
    pub(super) async fn without(&self, stream: &StreamId) {
        let mut shards = self.left.subscribe();
        while self.shards().keys().any(|key| key.stream == *stream) {
            if shards.changed().await.is_err() {
                return;
            }
        }
    }
}
