//! One worker of a run: a real consumer behind a gate, with a faulty store and a faulty link.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{Batch, Consumer, Error, Event, Handle, HandlerError, StartPosition};
use rokini_lease::{CountingStore, FaultTarget, FaultyStore, GroupId, LostCause, StoreFault, WallClock};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn};
use tokio::time::sleep;

use crate::court::Court;
use crate::gate::{Gate, GatedStore, Trick};
use crate::ledger::{CallEnd, Place};
use crate::stream::{BEGINNING_MILLIS, Link, Mischief, SimStream};
use crate::witness::Witness;
use crate::{Cause, Check};

/// How a worker is to be.
#[derive(Debug, Clone)]
pub struct Hire {
    /// Its name; made from its number where there is none.
    pub name: Option<String>,
    /// Which of the run's streams it reads.
    pub stream: usize,
    /// The chance of each kind of fault in each call.
    pub faults: f64,
    /// Its handlers.
    pub handlers: Manner,
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
    pub trick: Option<Trick>,
    /// A defect of its link.
    pub mischief: Option<Mischief>,
}

impl Default for Hire {
    fn default() -> Self {
        Self {
            name: None,
            stream: 0,
            faults: 0.0,
            handlers: Manner::default(),
            skew: Duration::ZERO,
            unique_names: false,
            failover: None,
            start: None,
            max_leases: None,
            trick: None,
            mischief: None,
        }
    }
}

/// How handlers behave.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The chance that a call fails.
    pub fails: f64,
    /// How many milliseconds a call takes.
    pub takes: Range<u64>,
    /// The chance that a call takes long, up to 3 s.
    pub slow: f64,
    /// Calls do not return while this is `true`.
    pub held: Option<watch::Receiver<bool>>,
}

impl Default for Manner {
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
    pub(crate) hire: Hire,
    pub(crate) running: JoinHandle<Result<(), Error>>,
    /// Its way to the store.
    pub store: FaultyStore<CountingStore<Witness>>,
    /// Its way to the stream.
    pub link: Link,
    /// What it can be frozen by.
    pub gate: Gate,
    /// Whether store and stream are out of its reach.
    cut: Mutex<(bool, bool)>,
}

/// What a new worker is given.
pub(crate) struct Site<'a> {
    pub(crate) court: &'a Court,
    pub(crate) stream: &'a SimStream,
    pub(crate) group: &'a GroupId,
    pub(crate) store: &'a CountingStore<Witness>,
    pub(crate) died: &'a mpsc::UnboundedSender<u32>,
    pub(crate) gave_up: &'a mpsc::UnboundedSender<u32>,
}

impl SimWorker {
    pub(crate) async fn start(
        number: u32,
        hire: &Hire,
        place: Site<'_>,
        rng: &mut StdRng,
    ) -> Result<Self, Error> {
        let name = hire.name.clone().unwrap_or_else(|| format!("w{number}"));
        let gate = Gate::new(number, place.died.clone());
        let store = FaultyStore::new(place.store.clone(), rng.random());
        let link = place.stream.link(rng.random()).behind(gate.clone());
        let chance = hire.faults;
        if chance > 0.0 {
            store.chance(FaultTarget::All, StoreFault::FailBefore, chance);
            store.chance(FaultTarget::All, StoreFault::Throttle, chance);
            store.chance(FaultTarget::Writes, StoreFault::LoseReply, chance);
            store.chance(FaultTarget::Writes, StoreFault::Retry, chance);
            store.chance(FaultTarget::Reads, StoreFault::StaleListing, chance * 4.0);
            store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(800)), chance);
            store.chance(FaultTarget::Writes, StoreFault::DelayReply(Duration::from_millis(400)), chance);
            link.fail(chance);
        }
        if let Some(mischief) = hire.mischief {
            link.misbehave(mischief);
        }
        let ahead = BEGINNING_MILLIS + hire.skew.as_millis() as u64;
        let court = place.court.clone();
        let clock = WallClock::from_fn(move || ahead + court.now());
        let handler = Handler {
            worker: number,
            stream: hire.stream,
            court: place.court.clone(),
            gate: gate.clone(),
            manner: hire.handlers.clone(),
            rng: Arc::new(Mutex::new(StdRng::from_rng(rng))),
        };
        let mut builder = Consumer::builder()
            .group(place.group.as_str())
            .worker(&name)
            .store(GatedStore::new(store.clone(), gate.clone(), hire.trick))
            .source(link.clone())
            .seed(rng.random())
            .wall_clock(clock)
            .unique_worker_names(hire.unique_names);
        if let Some(failover) = hire.failover {
            builder = builder.failover(failover).heartbeat(failover / 10);
        }
        if let Some(start) = hire.start {
            builder = builder.start(start);
        }
        if let Some(most) = hire.max_leases {
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
        spawn(watch_events(number, hire.stream, place.court.clone(), handle.events()));
        let gave_up = place.gave_up.clone();
        let running = spawn(async move {
            let ended = consumer.run().await.map(drop);
            if ended.as_ref().is_err_and(Error::is_retryable) {
                // Nobody asks once the run is over.
                let _ = gave_up.send(number);
            }
            ended
        });
        place.court.hired(number, hire.stream, handle.clone());
        Ok(Self {
            number,
            name,
            stream: hire.stream,
            handle,
            hire: hire.clone(),
            running,
            store,
            link,
            gate,
            cut: Mutex::default(),
        })
    }

    /// Whether the consumer ended, told or not.
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

    /// No more faults.
    pub(crate) fn heal(&self) {
        self.cut(Some(false), Some(false));
        self.store.heal();
        self.link.fail(0.0);
        self.gate.heal();
    }
}

/// Enters what the consumer says about itself: why records may come twice.
async fn watch_events(
    worker: u32,
    stream: usize,
    court: Court,
    mut events: tokio::sync::broadcast::Receiver<Event>,
) {
    let place = |shard: &rokini_lease::ShardId| Some(Place { stream, shard: shard.to_string() });
    loop {
        let event = events.recv().await;
        if let Some(told) = event.as_ref().ok().and_then(line) {
            court.note(&format!("  w{worker} {told}"));
        }
        match event {
            Ok(Event::Fenced) => court.fenced(worker),
            Ok(Event::LeaseLost { shard, cause, .. }) => {
                let cause = match cause {
                    LostCause::Seek => Cause::Seek,
                    LostCause::Stopped => Cause::Crash,
                    _ => Cause::Fence,
                };
                court.excuse(cause, worker, place(&shard));
            }
            Ok(Event::ShardRestarted { shard, .. }) => court.excuse(Cause::Restart, worker, place(&shard)),
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                court.violate(Check::Once, format!("w{worker}: {missed} events missed"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// What the log says about an event.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Joined { worker, .. } => format!("joined as {worker}"),
        Event::LeasesCreated { shards, .. } => format!("created {shards:?}"),
        Event::ShardStarted { shard, epoch, position, .. } => {
            format!("starts {shard} under epoch {epoch} at {position}")
        }
        Event::HandedOver { shard, to, .. } => {
            let to = to.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            format!("hands {shard} to {to}")
        }
        Event::ShardEnded { shard, children, .. } => format!("ended {shard}, children {children:?}"),
        Event::LeaseLost { shard, cause, .. } => format!("lost {shard}: {cause}"),
        Event::ShardRestarted { shard, error, .. } => format!("restarts {shard}: {error}"),
        Event::AuditFailed { error, .. } => format!("audit failed: {error}"),
        Event::OutageBegan { .. } => "pauses".to_owned(),
        Event::OutageEnded => "goes on".to_owned(),
        Event::Fenced => "was declared dead".to_owned(),
        _ => return None,
    })
}

#[derive(Clone)]
struct Handler {
    worker: u32,
    stream: usize,
    court: Court,
    gate: Gate,
    manner: Manner,
    rng: Arc<Mutex<StdRng>>,
}

impl Handler {
    async fn handle(&self, batch: Batch) -> Result<(), HandlerError> {
        let (takes, fails) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let slow = rng.random_bool(self.manner.slow);
            let takes = if slow { 0..3_000 } else { self.manner.takes.clone() };
            (rng.random_range(takes), rng.random_bool(self.manner.fails))
        };
        let place = Place { stream: self.stream, shard: batch.shard().shard_id().to_string() };
        let call = self.court.begin(self.worker, place, batch.epoch().0, batch.cancellation().clone());
        // Fails before or after it saw the records.
        if fails && takes % 2 == 0 {
            call.returns(CallEnd::Failed);
            return Err("as told".into());
        }
        for record in batch.records() {
            let text = String::from_utf8_lossy(&record.data);
            let parsed = text.rsplit_once('/').and_then(|(key, number)| Some((key, number.parse().ok()?)));
            match parsed {
                Some((key, number)) => call.delivered(key, number),
                None => self.court.violate(Check::Delivered, format!("an unknown record: {text}")),
            }
        }
        sleep(Duration::from_millis(takes)).await;
        if let Some(held) = &self.manner.held {
            // Whoever holds it may be gone.
            let _ = held.clone().wait_for(|held| !held).await;
        }
        if self.gate.thawed().await.is_err() {
            return std::future::pending().await;
        }
        if fails {
            call.returns(CallEnd::Failed);
            return Err("as told".into());
        }
        call.returns(CallEnd::Done);
        Ok(())
    }
}
