//! One worker of a run: a real consumer behind a gate, with a faulty store and a faulty link.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{Batch, Consumer, Error, Event, EventKind, Handle, HandlerError, StartPosition};
use rokini_history::{CallEnd, Cause};
use rokini_lease::{CountingStore, FaultTarget, FaultyStore, GroupId, LostCause, StoreFault, WallClock};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn};
use tokio::time::sleep;

use crate::check::Check;
use crate::checked_store::CheckedStore;
use crate::gated_store::{GatedStore, StoreBug};
use crate::process_gate::ProcessGate;
use crate::recorder::{Recorder, ShardRef};
use crate::stream::link::{Link, ReaderBug};
use crate::stream::model::{BEGINNING_MILLIS, SimStream};

/// What a worker is like.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// Its name; made from its number where there is none.
    pub name: Option<String>,
    /// Which of the run's streams it reads.
    pub stream: usize,
    /// The chance of each kind of fault in each call.
    pub faults: f64,
    /// Its handlers.
    pub handlers: HandlerProfile,
    /// How far its wall clock is ahead.
    pub skew: Duration,
    /// Vouches for unique names.
    pub unique_names: bool,
    /// Another failover time than the default of 10 s.
    pub failover: Option<Duration>,
    /// Where the group starts; its oldest record where there is none.
    pub start: Option<StartPosition>,
    /// The most shards.
    pub max_leases: Option<u32>,
    /// A defect of its store.
    pub store_bug: Option<StoreBug>,
    /// A defect of its link.
    pub reader_bug: Option<ReaderBug>,
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            name: None,
            stream: 0,
            faults: 0.0,
            handlers: HandlerProfile::default(),
            skew: Duration::ZERO,
            unique_names: false,
            failover: None,
            start: None,
            max_leases: None,
            store_bug: None,
            reader_bug: None,
        }
    }
}

/// How handlers behave.
#[derive(Debug, Clone)]
pub struct HandlerProfile {
    /// The chance that a call fails.
    pub fails: f64,
    /// How many milliseconds a call takes.
    pub takes: Range<u64>,
    /// The chance that a call takes long, up to 3 s.
    pub slow: f64,
    /// Calls do not return while this is `true`.
    pub held: Option<watch::Receiver<bool>>,
}

impl Default for HandlerProfile {
    fn default() -> Self {
        Self { fails: 0.0, takes: 0..150, slow: 0.05, held: None }
    }
}

/// A worker that lives.
#[derive(Debug)]
pub struct SimWorker {
    /// Its number in the run.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Which stream it reads.
    pub stream: usize,
    /// The handle of its consumer.
    pub handle: Handle,
    pub(crate) spec: WorkerSpec,
    pub(crate) running: JoinHandle<Result<(), Error>>,
    /// Its way to the store.
    pub store: FaultyStore<CountingStore<CheckedStore>>,
    /// Its way to the stream.
    pub link: Link,
    /// What it can be frozen by.
    pub gate: ProcessGate,
    /// Whether store and stream are out of its reach.
    cut: Mutex<(bool, bool)>,
}

/// What a new worker is given.
pub(crate) struct WorkerContext<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) stream: &'a SimStream,
    pub(crate) group: &'a GroupId,
    pub(crate) store: &'a CountingStore<CheckedStore>,
    pub(crate) crashed: &'a mpsc::UnboundedSender<u32>,
    pub(crate) gave_up: &'a mpsc::UnboundedSender<u32>,
}

/// Lets calls of the store and the stream fail, each with this probability.
fn add_faults(store: &FaultyStore<CountingStore<CheckedStore>>, link: &Link, chance: f64) {
    store.chance(FaultTarget::All, StoreFault::FailBefore, chance);
    store.chance(FaultTarget::All, StoreFault::Throttle, chance);
    store.chance(FaultTarget::Writes, StoreFault::LoseReply, chance);
    store.chance(FaultTarget::Writes, StoreFault::Retry, chance);
    store.chance(FaultTarget::Reads, StoreFault::StaleListing, chance * 4.0);
    store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(800)), chance);
    store.chance(FaultTarget::Writes, StoreFault::DelayReply(Duration::from_millis(400)), chance);
    link.fail(chance);
}

impl SimWorker {
    pub(crate) async fn start(
        number: u32,
        spec: &WorkerSpec,
        context: WorkerContext<'_>,
        rng: &mut StdRng,
    ) -> Result<Self, Error> {
        let name = spec.name.clone().unwrap_or_else(|| format!("w{number}"));
        let gate = ProcessGate::new(number, context.crashed.clone());
        let store = FaultyStore::new(context.store.clone(), rng.random());
        let link = Link::new(context.stream.clone(), rng.random()).behind(gate.clone());
        if spec.faults > 0.0 {
            add_faults(&store, &link, spec.faults);
        }
        if let Some(bug) = spec.reader_bug {
            link.set_bug(bug);
        }
        let ahead = BEGINNING_MILLIS + spec.skew.as_millis() as u64;
        let recorder = context.recorder.clone();
        let clock = WallClock::from_fn(move || ahead + recorder.now());
        let handler = Handler {
            worker: number,
            stream: spec.stream,
            recorder: context.recorder.clone(),
            gate: gate.clone(),
            profile: spec.handlers.clone(),
            rng: Arc::new(Mutex::new(StdRng::from_rng(rng))),
        };
        let mut builder = Consumer::builder()
            .group(context.group.as_str())
            .worker(&name)
            .store(GatedStore::new(store.clone(), gate.clone(), spec.store_bug))
            .source(link.clone())
            .seed(rng.random())
            .wall_clock(clock)
            .unique_worker_names(spec.unique_names);
        if let Some(failover) = spec.failover {
            builder = builder.failover(failover).heartbeat(failover / 10);
        }
        if let Some(start) = spec.start {
            builder = builder.start(start);
        }
        if let Some(most) = spec.max_leases {
            builder = builder.max_leases(most);
        }
        let consumer = builder
            .for_each_batch(move |batch| {
                let handler = handler.clone();
                async move { handler.handle(batch).await }
            })
            .build()
            .await?;
        let handle = consumer.handle();
        spawn(watch_events(number, spec.stream, context.recorder.clone(), handle.events()));
        let gave_up = context.gave_up.clone();
        let running = spawn(async move {
            let ended = consumer.run().await.map(drop);
            if ended.as_ref().is_err_and(Error::is_retryable) {
                // Nobody asks once the run is over.
                let _ = gave_up.send(number);
            }
            ended
        });
        context.recorder.started(number, spec.stream, handle.clone());
        Ok(Self {
            number,
            name,
            stream: spec.stream,
            handle,
            spec: spec.clone(),
            running,
            store,
            link,
            gate,
            cut: Mutex::default(),
        })
    }

    /// Whether the consumer ended, asked to or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.running.is_finished()
    }

    /// It is over for a process all at once.
    pub(crate) fn kill(&self) {
        self.gate.kill();
        self.running.abort();
    }

    /// Cuts the worker off from the store or the stream, or ends that; `None` leaves it as it is.
    pub(crate) fn cut(&self, store: Option<bool>, stream: Option<bool>) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(on) = store {
            self.store.outage(on);
            cut.0 = on;
        }
        if let Some(on) = stream {
            self.link.black_hole(on);
            cut.1 = on;
        }
    }

    /// Whether it cannot reach something, or stands still.
    pub(crate) fn is_cut_off(&self) -> bool {
        let (store, stream) = *self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        store || stream || self.gate.is_frozen()
    }

    /// Ends its faults.
    pub(crate) fn heal(&self) {
        self.cut(Some(false), Some(false));
        self.store.heal();
        self.link.fail(0.0);
        self.gate.heal();
    }
}

/// Records what the consumer says about itself: why records may come twice.
async fn watch_events(
    worker: u32,
    stream: usize,
    recorder: Recorder,
    mut events: tokio::sync::broadcast::Receiver<Event>,
) {
    let shard_ref = |shard: &rokini_lease::ShardId| Some(ShardRef { stream, shard: shard.to_string() });
    loop {
        let event = events.recv().await;
        if let Some(line) = event.as_ref().ok().and_then(described) {
            recorder.note(&format!("  w{worker} {line}"));
        }
        match event {
            Ok(Event { kind: EventKind::Fenced, .. }) => recorder.fenced(worker),
            Ok(Event { shard: Some(shard), kind: EventKind::LeaseLost { cause, .. }, .. }) => {
                let cause = match cause {
                    LostCause::Seek => Cause::Seek,
                    LostCause::Stopped => Cause::Crash,
                    _ => Cause::Fence,
                };
                recorder.excuse(cause, worker, shard_ref(&shard));
            }
            Ok(Event { shard: Some(shard), kind: EventKind::ShardRestarted { .. }, .. }) => {
                recorder.excuse(Cause::Restart, worker, shard_ref(&shard));
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                recorder.violate(Check::Once, format!("w{worker}: {missed} events missed"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// What the log says about an event.
fn described(event: &Event) -> Option<String> {
    Some(match event {
        Event { kind: EventKind::Joined { worker, .. }, .. } => format!("joined as {worker}"),
        Event { kind: EventKind::LeasesCreated { shards, .. }, .. } => format!("created {shards:?}"),
        Event { shard: Some(shard), kind: EventKind::ShardStarted { epoch, position, .. }, .. } => {
            format!("starts {shard} under epoch {epoch} at {position}")
        }
        Event { shard: Some(shard), kind: EventKind::HandedOver { to, .. }, .. } => {
            let to = to.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            format!("hands {shard} to {to}")
        }
        Event { shard: Some(shard), kind: EventKind::ShardEnded { children, .. }, .. } => {
            format!("ended {shard}, children {children:?}")
        }
        Event { shard: Some(shard), kind: EventKind::LeaseLost { cause, .. }, .. } => {
            format!("lost {shard}: {cause}")
        }
        Event { shard: Some(shard), kind: EventKind::ShardRestarted { error, .. }, .. } => {
            format!("restarts {shard}: {error}")
        }
        Event { kind: EventKind::AuditFailed { error, .. }, .. } => format!("audit failed: {error}"),
        Event { kind: EventKind::OutageBegan { .. }, .. } => "pauses".to_owned(),
        Event { kind: EventKind::OutageEnded, .. } => "goes on".to_owned(),
        Event { kind: EventKind::Fenced, .. } => "was declared dead".to_owned(),
        _ => return None,
    })
}

#[derive(Clone)]
struct Handler {
    worker: u32,
    stream: usize,
    recorder: Recorder,
    gate: ProcessGate,
    profile: HandlerProfile,
    rng: Arc<Mutex<StdRng>>,
}

impl Handler {
    async fn handle(&self, batch: Batch) -> Result<(), HandlerError> {
        let (takes, fails) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let slow = rng.random_bool(self.profile.slow);
            let takes = if slow { 0..3_000 } else { self.profile.takes.clone() };
            (rng.random_range(takes), rng.random_bool(self.profile.fails))
        };
        let shard = ShardRef { stream: self.stream, shard: batch.shard().shard_id().to_string() };
        let call = self.recorder.begin(self.worker, shard, batch.epoch().0, batch.shard());
        // Fails before or after it saw the records.
        if fails && takes % 2 == 0 {
            call.returns(CallEnd::Failed);
            return Err("the handler is to fail".into());
        }
        for record in batch.records() {
            let text = String::from_utf8_lossy(record.data());
            let parsed = text.rsplit_once('/').and_then(|(key, number)| Some((key, number.parse().ok()?)));
            match parsed {
                Some((key, number)) => call.delivered(key, number, record.sequence_number),
                None => self.recorder.violate(Check::Delivered, format!("an unknown record: {text}")),
            }
        }
        sleep(Duration::from_millis(takes)).await;
        if let Some(held) = &self.profile.held {
            // Whoever holds it may be gone.
            let _ = held.clone().wait_for(|held| !held).await;
        }
        if self.gate.thawed().await.is_err() {
            return std::future::pending().await;
        }
        if fails {
            call.returns(CallEnd::Failed);
            return Err("the handler is to fail".into());
        }
        call.returns(CallEnd::Done);
        Ok(())
    }
}
