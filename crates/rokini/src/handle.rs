//! Stopping and watching a consumer from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini_lease::{
    Epoch, GroupId, LeaseKey, LostCause, Member, Position, SequenceNumber, ShardId, StreamId, View, WorkerId,
};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout_at};

use crate::config::LONGEST;
use crate::consumer::engine::Engine;
use crate::shard::Live;
use crate::shard::task::Outcome;
use crate::telemetry::{health::Health, scale::Scale};
use crate::{Error, ErrorKind, Event, ShardState, ShardStatus};

mod pause;
mod streams;

pub use streams::StreamStatus;

/// A handle to a [`Consumer`](crate::Consumer). Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Handle {
    control: Arc<Control>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Stops in order: no more reads, handlers finish, positions are stored, shards go to other workers, the
    /// worker leaves. [`Consumer::run`](crate::Consumer::run) then returns the same report.
    ///
    /// Handlers that have not returned when most of `deadline` is over (the last fifth, at most 1 s, is kept for
    /// the store) are dropped; what was done is stored all the same. Returns by the deadline, whatever hangs. Of
    /// several calls the earliest deadline counts. More than a year counts as a year.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        // What does not fit into an instant would panic.
        let deadline = Instant::now() + deadline.min(LONGEST);
        self.control.stop.send_if_modified(|stop| {
            let sooner = stop.as_ref().is_none_or(|stop| deadline < stop.deadline);
            if sooner {
                *stop = Some(Stop { begun: Instant::now(), deadline });
            }
            sooner
        });
        if self.control.phase() == Phase::Created {
            return ShutdownReport::default();
        }
        let mut report = self.control.report.subscribe();
        let finished = timeout_at(deadline, report.wait_for(Option::is_some)).await;
        if let Ok(Ok(report)) = finished {
            return report.clone().unwrap_or_default();
        }
        self.control.unfinished()
    }

    /// [`Handle::shutdown`] with the configured deadline ([`ConfigKey::ShutdownDeadline`](crate::ConfigKey)).
    pub async fn stop(&self) -> ShutdownReport {
        self.shutdown(self.control.engine.config.shutdown_deadline).await
    }

    /// How this worker and its shards stand.
    #[must_use]
    pub fn status(&self) -> Status {
        let control = &self.control;
        let member = control.member();
        Status {
            group: control.engine.catalog.group.clone(),
            worker: member.as_ref().map(|member| member.id().clone()),
            phase: control.phase(),
            streams: control.engine.streams.all().values().map(|stream| StreamStatus::of(stream)).collect(),
            paused: *control.engine.paused.borrow(),
            valid: member.as_ref().is_some_and(Member::is_valid),
            shards: control.shards().values().map(|live| live.status()).collect(),
            fleet: member.map(|member| member.snapshot()).unwrap_or_default(),
        }
    }

    /// Stores that a shard of this worker is done up to and with this record; returns once it is stored. For
    /// programs that decide outside of the handler; inside it use
    /// [`Batch::checkpoint_at`](crate::Batch::checkpoint_at), which knows shard and epoch by itself.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when this worker does not have the shard (any more), [`ErrorKind::Data`] when the
    /// record was not delivered yet under this hold, [`ErrorKind::Configuration`] when the store refuses the
    /// write for good, and when shards of several streams have this id: use [`Handle::checkpoint_in`] then.
    pub async fn checkpoint(&self, shard: &ShardId, sequence: SequenceNumber) -> Result<(), Error> {
        let shards = self.control.shards();
        let mut found = shards.into_iter().filter(|(key, _)| key.shard == *shard);
        match (found.next(), found.next()) {
            (Some((key, _)), None) => self.checkpoint_in(&key.stream, shard, sequence).await,
            (None, _) => Err(not_here(shard)),
            (Some((one, _)), Some((other, _))) => Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "shard {shard} is one of stream `{}` and one of stream `{}`: say which with `checkpoint_in`",
                    one.stream, other.stream
                ),
            )),
        }
    }

    /// As [`Handle::checkpoint`], for a shard of one of several streams.
    ///
    /// # Errors
    /// As [`Handle::checkpoint`].
    pub async fn checkpoint_in(
        &self,
        stream: &StreamId,
        shard: &ShardId,
        sequence: SequenceNumber,
    ) -> Result<(), Error> {
        let key = LeaseKey::new(stream.clone(), shard.clone());
        let live = self.control.shards().get(&key).cloned().ok_or_else(|| not_here(shard))?;
        live.context.checkpoints().ask(Position::after(sequence)).await
    }

    /// Lets a shard of this worker go on that is [`ShardState::Halted`](crate::ShardState): the records that halted it
    /// get all their tries again. Returns whether it was halted. Of several streams' shards with this id, each that is.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when this worker does not have the shard (any more).
    pub fn retry_halted(&self, shard: &ShardId) -> Result<bool, Error> {
        let shards = self.control.shards();
        let mut here = shards.iter().filter(|(key, _)| key.shard == *shard).peekable();
        if here.peek().is_none() {
            return Err(not_here(shard));
        }
        let halted = here.filter(|(_, live)| live.status().state == ShardState::Halted);
        Ok(halted.map(|(_, live)| live.resume()).count() > 0)
    }

    /// Whether this worker is to be restarted, and whether it does its part, with what is wrong. By a look at all
    /// its shards that takes place once a second; events and metrics are made from the same look.
    #[must_use]
    pub fn health(&self) -> Health {
        self.control.engine.looks.health(self.control.phase())
    }

    /// How many workers the group should have, as this worker sees it: see [`ConfigKey::TargetLag`](crate::ConfigKey).
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.control.engine.looks.scale()
    }

    /// The metrics as Prometheus scrapes them, for the application's own server (content type
    /// `text/plain; version=0.0.4`); `None` unless [`ConfigKey::Monitoring`](crate::ConfigKey) has `prometheus`.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn prometheus(&self) -> Option<String> {
        let engine = &self.control.engine;
        let wanted = engine.config.monitoring.contains(&crate::Monitoring::Prometheus);
        let registry = engine.telemetry().registry().filter(|_| wanted)?;
        self.control.settle();
        Some(crate::telemetry::prometheus::render(registry))
    }

    /// What happens from now on. A receiver that falls behind by 1,024 events misses some and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.control.engine.events.subscribe()
    }
}

fn not_here(shard: &ShardId) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!("this worker does not have shard {shard}: checkpoint it on the worker that has"),
    )
}

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

/// How a worker stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The group.
    pub group: GroupId,
    /// This worker; `None` before it has joined.
    pub worker: Option<WorkerId>,
    /// How far it is in its life.
    pub phase: Phase,
    /// The streams that are read, in the order of their ids; none before the start position is stored.
    pub streams: Vec<StreamStatus>,
    /// Whether [`Handle::pause`] holds.
    pub paused: bool,
    /// Whether heartbeats arrive, so that handlers run.
    pub valid: bool,
    /// The shards that this worker works on, in the order of streams and ids.
    pub shards: Vec<ShardStatus>,
    /// The whole group as this worker saw it last.
    pub fleet: Arc<View>,
}

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The shards this worker had when it began to stop, in the order of streams and ids.
    pub shards: Vec<ShardReport>,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether no handler was abandoned and everything done is stored.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.shards.iter().all(|shard| {
            shard.stored == shard.done
                && matches!(shard.end, ShardStop::Drained { .. } | ShardStop::Ended | ShardStop::Lost(_))
        })
    }
}

/// How one shard left a worker that stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardReport {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The epoch under which this worker had it.
    pub epoch: Epoch,
    /// How it ended.
    pub end: ShardStop,
    /// How far it was done.
    pub done: Position,
    /// How far that is stored.
    pub stored: Position,
}

/// How the work on a shard stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardStop {
    /// The handler finished, and the shard was handed over.
    Drained {
        /// The worker that has it now; `None` where it is free.
        to: Option<WorkerId>,
    },
    /// The shard was at its end, and that is stored.
    Ended,
    /// The handler did not return in time, or the lease store did not answer.
    Abandoned {
        /// The first record of the batch that was in the handler; `None` when no handler ran.
        handling: Option<SequenceNumber>,
    },
    /// The lease was lost meanwhile.
    Lost(LostCause),
}

impl ShardReport {
    pub(crate) fn new(live: &Live, outcome: &Outcome) -> Self {
        let checkpoints = live.context.checkpoints();
        let end = match outcome {
            Outcome::HandedOver { to } => ShardStop::Drained { to: to.clone() },
            Outcome::Finished => ShardStop::Ended,
            Outcome::Abandoned { handling } => ShardStop::Abandoned { handling: *handling },
            Outcome::Lost(cause) => ShardStop::Lost(*cause),
            Outcome::Broken(_) => ShardStop::Abandoned { handling: None },
        };
        Self {
            stream: live.context.stream().clone(),
            shard: live.context.shard_id().clone(),
            epoch: live.context.epoch(),
            end,
            done: checkpoints.pending(),
            stored: checkpoints.stored(),
        }
    }

    /// Of a shard whose task did not end.
    pub(crate) fn unfinished(live: &Live) -> Self {
        Self::new(live, &Outcome::Abandoned { handling: live.status().handling })
    }
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
    report: watch::Sender<Option<ShutdownReport>>,
    /// How many shards have left so far.
    left: watch::Sender<u64>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    member: Option<Member>,
    shards: BTreeMap<LeaseKey, Arc<Live>>,
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

    pub(crate) fn shards(&self) -> BTreeMap<LeaseKey, Arc<Live>> {
        self.state().shards.clone()
    }

    /// What shards recorded reaches the recorders.
    pub(crate) fn settle(&self) {
        self.shards().values().for_each(|live| live.settle());
    }

    pub(crate) fn add(&self, live: &Arc<Live>) {
        self.state().shards.insert(live.context.key(), Arc::clone(live));
    }

    /// A later hold of the same shard stays.
    pub(crate) fn remove(&self, live: &Arc<Live>) {
        let mut state = self.state();
        let key = live.context.key();
        if state.shards.get(&key).is_some_and(|found| Arc::ptr_eq(found, live)) {
            state.shards.remove(&key);
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

    fn unfinished(&self) -> ShutdownReport {
        let shards = self.shards().values().map(|live| ShardReport::unfinished(live)).collect();
        let took = self.stop.borrow().map_or(Duration::ZERO, |stop| stop.begun.elapsed());
        ShutdownReport { shards, took }
    }
}
