//! One worker of a run: a real consumer behind a gate, with a faulty store and a faulty link.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{
    Balance, Batch, Consumer, ConsumerBuilder, DeadLetter, DeadLetterSink, Error, Event, EventKind, Handle,
    HandlerError, OnFailure, Record, Retrieval, ShardContext, StartPosition,
};
use rokini_history::{CallEnd, ExtendedSequenceNumber};
use rokini_lease::{ClockSource, CountingStore, FaultTarget, FaultyStore, GroupId, StoreFault, WallClock};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{JoinHandle, spawn};
use tokio::time::sleep;

use crate::check::Check;
use crate::checked_store::CheckedStore;
use crate::faults::StorePath;
use crate::gated_store::{GatedStore, StoreBug};
use crate::process_gate::ProcessGate;
use crate::recorder::{OpenCall, Recorder};
use crate::shard_ref::ShardRef;
use crate::stream::link::{Link, ReaderBug};
use crate::stream::model::{BEGINNING_MILLIS, SimStream};

/// The default failover time.
const FAILOVER: Duration = Duration::from_secs(10);

/// What a worker is like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerSpec {
    /// Its name; made from its number where there is none.
    pub name: Option<String>,
    /// Which of the run's streams it reads.
    pub stream: usize,
    /// Decides what it leaves to chance.
    pub seed: u64,
    /// The chance of each kind of fault in each call.
    pub faults: f64,
    /// Its handlers.
    pub handlers: HandlerProfile,
    /// How they get records, and what becomes of those that fail.
    pub delivery: DeliveryMode,
    /// What reads its shards.
    pub readers: Readers,
    /// How far its wall clock is ahead.
    pub skew: Duration,
    /// Vouches for unique names.
    pub unique_names: bool,
    /// Another failover time than the default of 10 s.
    pub failover: Option<Duration>,
    /// Balances by throughput in place of numbers.
    pub by_throughput: bool,
    /// Where the group starts; its oldest record where there is none.
    #[serde(skip)]
    pub start: Option<StartPosition>,
    /// The most shards.
    pub max_leases: Option<u32>,
    /// Another interval of checkpoints than the default.
    #[serde(skip)]
    pub checkpoint_interval: Option<Duration>,
    /// A defect of its store.
    #[serde(skip)]
    pub store_bug: Option<StoreBug>,
    /// A defect of its link.
    #[serde(skip)]
    pub reader_bug: Option<ReaderBug>,
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            name: None,
            stream: 0,
            seed: 0,
            faults: 0.0,
            handlers: HandlerProfile::default(),
            delivery: DeliveryMode::Batches,
            readers: Readers::Model,
            skew: Duration::ZERO,
            unique_names: false,
            failover: None,
            by_throughput: false,
            start: None,
            max_leases: None,
            checkpoint_interval: None,
            store_bug: None,
            reader_bug: None,
        }
    }
}

impl PartialEq for WorkerSpec {
    /// As far as files have it.
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_string(self).ok() == serde_json::to_string(other).ok()
    }
}

/// What reads the shards of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// A reader of the simulation's own, which asks the model: quicker by far.
    Model,
    /// The AWS SDK, by polling.
    Polling,
    /// The AWS SDK, by enhanced fan-out.
    FanOut,
    /// The AWS SDK, by polling until fan-out pays.
    Auto,
}

impl Readers {
    /// Those of the AWS SDK, so often as their ways are worth.
    pub(crate) const OF_SDK: [Self; 5] = [Self::FanOut, Self::FanOut, Self::Polling, Self::Auto, Self::Model];
}

/// How handlers get records, and what becomes of those that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// One batch after the other, tried again for ever.
    Batches,
    /// Three lanes.
    Lanes,
    /// A token for each record, acked some time after the call, in any order.
    Acks,
    /// A record that fails holds up its own key only.
    Park,
    /// Of each key five records fail for ever: it is searched for and given to a sink for dead letters.
    DeadLetters,
}

impl Distribution<DeliveryMode> for StandardUniform {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> DeliveryMode {
        match rng.random_range(0..10) {
            0 | 1 => DeliveryMode::Lanes,
            2 => DeliveryMode::Acks,
            3 => DeliveryMode::Park,
            4 => DeliveryMode::DeadLetters,
            _ => DeliveryMode::Batches,
        }
    }
}

/// How handlers behave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerProfile {
    /// The chance that a call fails.
    pub fails: f64,
    /// How many milliseconds a call takes.
    pub takes: Range<u64>,
    /// The chance that a call takes long, up to 3 s.
    pub slow: f64,
    /// Calls do not return while this is `true`.
    #[serde(skip)]
    pub held: Option<watch::Receiver<bool>>,
    /// A defect: what a call gets is stored as done when it begins.
    #[serde(skip)]
    pub checkpoints_at_once: bool,
}

impl Default for HandlerProfile {
    fn default() -> Self {
        Self { fails: 0.0, takes: 0..150, slow: 0.05, held: None, checkpoints_at_once: false }
    }
}

/// What stands between a worker and everything outside its process. Clones share it.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Its way to the store.
    pub store: FaultyStore<CountingStore<CheckedStore>>,
    /// The same behind the gate of its process.
    gated: GatedStore<FaultyStore<CountingStore<CheckedStore>>>,
    /// Its way to the stream.
    pub link: Link,
    /// What it can be frozen by.
    pub gate: ProcessGate,
}

impl Ways {
    /// A part of the way to the table fails from now on, or works again.
    pub(crate) fn fail_table(&self, path: StorePath, on: bool) {
        self.gated.fail(path, on);
    }

    /// Every way works, and the process goes on; single calls still fail.
    pub(crate) fn heal_links(&self) {
        self.gated.heal();
        self.link.black_hole(false);
        self.gate.freeze(false);
    }

    /// Ends its faults.
    pub(crate) fn heal(&self) {
        self.heal_links();
        self.store.heal();
        self.link.fail(0.0);
        self.gate.heal();
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
    /// What stands between it and everything else.
    pub ways: Ways,
    /// Its clocks.
    pub(crate) clocks: Arc<WorkerClocks>,
}

/// What a new worker is given.
pub(crate) struct WorkerContext<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) stream: &'a SimStream,
    pub(crate) group: &'a GroupId,
    pub(crate) store: &'a CountingStore<CheckedStore>,
    pub(crate) crashed: &'a mpsc::UnboundedSender<u32>,
    pub(crate) gave_up: &'a mpsc::UnboundedSender<(u32, bool)>,
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

/// The settings that a worker is to have, other than its endpoints.
fn with_settings(mut builder: ConsumerBuilder, spec: &WorkerSpec, recorder: &Recorder) -> ConsumerBuilder {
    builder = match spec.readers {
        Readers::Model | Readers::Polling => builder,
        Readers::FanOut => builder.retrieval(Retrieval::FanOut),
        Readers::Auto => builder.retrieval(Retrieval::Auto).allow_fan_out(true),
    };
    if let Some(failover) = spec.failover {
        builder = builder.failover(failover).heartbeat(failover / 10);
    }
    if let Some(start) = spec.start {
        builder = builder.start(start);
    }
    if let Some(most) = spec.max_leases {
        builder = builder.max_leases(most);
    }
    if spec.by_throughput {
        builder = builder.balance(Balance::Throughput);
    }
    if let Some(interval) = spec.checkpoint_interval {
        builder = builder.checkpoint_interval(interval);
    }
    match spec.delivery {
        DeliveryMode::Batches => builder,
        DeliveryMode::Lanes => builder.concurrency(3),
        DeliveryMode::Acks => builder.concurrency(2).max_outstanding_records(100),
        DeliveryMode::Park => builder.park(true),
        DeliveryMode::DeadLetters => builder
            .on_failure(OnFailure::DeadLetter)
            .max_attempts(3)
            .dead_letter_sink(DeadLetters { stream: spec.stream, recorder: recorder.clone() }),
    }
}

impl SimWorker {
    pub(crate) async fn start(
        number: u32,
        spec: &WorkerSpec,
        context: WorkerContext<'_>,
    ) -> Result<Self, Error> {
        // Numbers differ where seeds do not: workers that tests make.
        let rng =
            &mut StdRng::seed_from_u64(spec.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
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
        if !spec.skew.is_zero() {
            context.recorder.clocks_differ();
        }
        let clocks = Arc::new(WorkerClocks {
            recorder: context.recorder.clone(),
            ahead: AtomicI64::new(spec.skew.as_millis() as i64),
            suspended: AtomicI64::new(0),
        });
        let gated = GatedStore::new(store.clone(), gate.clone(), spec.store_bug)
            .telling(context.recorder.clone(), number);
        let handler = Handler {
            worker: number,
            stream: spec.stream,
            recorder: context.recorder.clone(),
            gate: gate.clone(),
            profile: spec.handlers.clone(),
            delivery: spec.delivery,
            rng: Arc::new(Mutex::new(StdRng::from_rng(rng))),
        };
        let mut builder = Consumer::builder()
            .group(context.group.as_str())
            .worker(&name)
            .store(gated.clone())
            .seed(rng.random())
            .wall_clock(WallClock::new(SharedClocks(Arc::clone(&clocks))))
            .unique_worker_names(spec.unique_names);
        builder = match spec.readers {
            Readers::Model => builder.source(link.clone()),
            _ => builder.source(link.by_sdk(rng.random())?),
        };
        let consumer = with_settings(builder, spec, context.recorder)
            .for_each_batch(move |batch| {
                let handler = handler.clone();
                async move { handler.handle(batch).await }
            })
            .build()
            .await?;
        let handle = consumer.handle();
        spawn(watch_events(number, context.recorder.clone(), handle.events()));
        let gave_up = context.gave_up.clone();
        let running = spawn(async move {
            let ended = consumer.run().await.map(drop);
            if let Err(error) = &ended {
                // Nobody asks once the run is over.
                let _ = gave_up.send((number, error.is_retryable()));
            }
            ended
        });
        context.recorder.started(number, spec.stream, handle.clone());
        let (failover, flaky) = (spec.failover.unwrap_or(FAILOVER), spec.faults > 0.0);
        context
            .recorder
            .incidents(|incidents, now| incidents.started(number, spec.stream, failover, flaky, now));
        Ok(Self {
            number,
            name,
            stream: spec.stream,
            handle,
            spec: spec.clone(),
            running,
            ways: Ways { store, gated, link, gate },
            clocks,
        })
    }

    /// Whether the consumer ended, asked to or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.running.is_finished()
    }

    /// It is over for a process all at once.
    pub(crate) fn kill(&self) {
        self.ways.gate.kill();
        self.running.abort();
    }
}

/// The clocks of a worker beside tokio's, which all workers of a run share.
#[derive(Debug)]
pub(crate) struct WorkerClocks {
    recorder: Recorder,
    /// How far the wall clock is ahead, in milliseconds.
    ahead: AtomicI64,
    /// For how long the machine was suspended.
    suspended: AtomicI64,
}

impl WorkerClocks {
    pub(crate) fn jump(&self, millis: i64, suspended: bool) {
        self.ahead.fetch_add(millis, Ordering::Relaxed);
        if suspended {
            self.suspended.fetch_add(millis, Ordering::Relaxed);
        }
    }
}

struct SharedClocks(Arc<WorkerClocks>);

impl ClockSource for SharedClocks {
    fn wall_millis(&self) -> u64 {
        let Self(clocks) = self;
        let now = BEGINNING_MILLIS + clocks.recorder.now();
        now.saturating_add_signed(clocks.ahead.load(Ordering::Relaxed))
    }

    fn with_suspension(&self) -> Option<Duration> {
        let Self(clocks) = self;
        let millis = clocks.recorder.now().saturating_add_signed(clocks.suspended.load(Ordering::Relaxed));
        Some(Duration::from_millis(millis))
    }
}

/// Writes what the consumer says about itself into the log.
async fn watch_events(worker: u32, recorder: Recorder, mut events: broadcast::Receiver<Event>) {
    loop {
        let event = events.recv().await;
        if let Some(line) = event.as_ref().ok().and_then(described) {
            recorder.note(&format!("  w{worker} {line}"));
        }
        match event {
            Ok(Event { kind: EventKind::Fenced, .. }) => recorder.fenced(worker),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
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
        Event { shard: Some(shard), kind: EventKind::Subscribed, .. } => format!("subscribes to {shard}"),
        Event { shard: Some(shard), kind: EventKind::SubscriptionRefused { reason, .. }, .. } => {
            format!("may not subscribe to {shard}: {reason}")
        }
        Event { shard: Some(shard), kind: EventKind::RetrievalChanged { to, .. }, .. } => {
            format!("reads {shard} by {to}")
        }
        Event { kind: EventKind::AuditFailed { error, .. }, .. } => format!("audit failed: {error}"),
        Event { kind: EventKind::OutageBegan { .. }, .. } => "pauses".to_owned(),
        Event { kind: EventKind::OutageEnded, .. } => "goes on".to_owned(),
        Event { kind: EventKind::Fenced, .. } => "was declared dead".to_owned(),
        _ => return None,
    })
}

/// Where a user record stands in its shard.
fn place_of(record: &Record) -> ExtendedSequenceNumber {
    ExtendedSequenceNumber::new(record.sequence_number, record.sub_sequence_number.unwrap_or(0))
}

/// Keeps the records that the failure policy gives up.
#[derive(Debug)]
struct DeadLetters {
    stream: usize,
    recorder: Recorder,
}

#[async_trait]
impl DeadLetterSink for DeadLetters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        let shard = ShardRef { stream: self.stream, shard: letter.shard.to_string() };
        letter.records.iter().for_each(|record| self.recorder.given_up(&shard, place_of(record)));
        Ok(())
    }
}

#[derive(Clone)]
struct Handler {
    worker: u32,
    stream: usize,
    recorder: Recorder,
    gate: ProcessGate,
    profile: HandlerProfile,
    delivery: DeliveryMode,
    rng: Arc<Mutex<StdRng>>,
}

impl Handler {
    /// How long a call takes, and whether it fails.
    fn draw(&self) -> (u64, bool) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let slow = rng.random_bool(self.profile.slow);
        let takes = if slow { 0..3_000 } else { self.profile.takes.clone() };
        (rng.random_range(takes), rng.random_bool(self.profile.fails))
    }

    fn begin(&self, shard: &ShardContext) -> OpenCall {
        self.recorder.begin(self.worker, self.named(shard), shard.epoch().0, shard)
    }

    fn named(&self, shard: &ShardContext) -> ShardRef {
        ShardRef { stream: self.stream, shard: shard.shard_id().to_string() }
    }

    /// Takes the records that a call has got. Whether one of them fails whenever it comes.
    fn take<'a>(&self, call: &OpenCall, records: impl IntoIterator<Item = &'a Record>) -> bool {
        let mut poisoned = false;
        for record in records {
            let text = String::from_utf8_lossy(record.data());
            let parsed = text.rsplit_once('/').and_then(|(key, number)| Some((key, number.parse().ok()?)));
            match parsed {
                Some((key, number)) => {
                    call.delivered(key, number, place_of(record));
                    poisoned |=
                        self.delivery == DeliveryMode::DeadLetters && number % 80 == 39 && number < 400;
                }
                None => self.recorder.violate(Check::Delivered, format!("an unknown record: {text}")),
            }
        }
        poisoned
    }

    async fn handle(&self, batch: Batch) -> Result<(), HandlerError> {
        let (takes, fails) = self.draw();
        if self.delivery == DeliveryMode::Acks && !fails {
            self.handle_by_acks(batch);
            return Ok(());
        }
        let call = self.begin(batch.shard());
        // Fails before or after it saw the records.
        if fails && takes % 2 == 0 {
            call.returns(CallEnd::Failed);
            return Err("the handler is to fail".into());
        }
        let poisoned = self.take(&call, batch.records());
        if poisoned {
            let shard = self.named(batch.shard());
            self.recorder.incidents(|incidents, now| incidents.poisoned(&shard, now));
        }
        if let (true, Some(last)) = (self.profile.checkpoints_at_once, batch.records().last()) {
            // A defect does not mind what comes of it.
            let _ = batch.shard().checkpoint_at(last).await;
        }
        sleep(Duration::from_millis(takes)).await;
        if let Some(held) = &self.profile.held {
            // Whoever holds it may be gone.
            let _ = held.clone().wait_for(|held| !held).await;
        }
        if self.gate.thawed().await.is_err() {
            return std::future::pending().await;
        }
        if fails || poisoned {
            call.returns(CallEnd::Failed);
            return Err("the handler is to fail".into());
        }
        call.returns(CallEnd::Done);
        Ok(())
    }

    /// Gives each record to a task of its own, which acks it in its own time.
    fn handle_by_acks(&self, batch: Batch) {
        let shard = batch.shard().clone();
        for (record, token) in batch.into_acks() {
            let (takes, fails) = self.draw();
            let call = self.begin(&shard).by_token();
            self.take(&call, [&record]);
            let gate = self.gate.clone();
            spawn(async move {
                sleep(Duration::from_millis(takes)).await;
                if gate.thawed().await.is_err() {
                    return;
                }
                if fails {
                    call.returns(CallEnd::Failed);
                    token.fail("the handler is to fail");
                } else {
                    call.returns(CallEnd::Done);
                    token.ack();
                }
            });
        }
    }
}
