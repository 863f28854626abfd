//! A consumer's life: find the stream, join the group, work, leave.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{JoinError, LeaseStore, Member, MemberConfig, MemberEvent, WorkerName, WorkerState};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::crew::{Crew, Ended};
use super::engine::Engine;
use crate::delivery::retry::{Backoff, RateLimit, Retry};
use crate::handle::{Control, Phase, ShardReport, Stop};
use crate::shard::catalog::{OpenStream, interval_number, on_duty};
use crate::{Error, ErrorKind, Event, ShutdownReport};

/// How long the start waits for what passes by itself: a start that cannot succeed should say so while somebody
/// watches.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// The most of a shutdown's deadline that is kept for the store once handlers are given up.
const STORE_TIME: Duration = Duration::from_secs(1);
/// How long a stop waits for a join that is under way, so that no worker row is left behind.
const JOIN_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) control: Arc<Control>,
    pub(crate) rng: StdRng,
}

type Joined = (Member, mpsc::UnboundedReceiver<MemberEvent>);

/// Whatever ends the run, handles learn that it is over, and a member that was not left stops at once.
struct Over<'a>(&'a Control);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if let Some(member) = self.0.member() {
            // Its first step, without an await, ends heartbeats and validity.
            let _ = member.leave(Instant::now()).now_or_never();
        }
        self.0.finished(ShutdownReport::default());
    }
}

/// Why the work of one incarnation ended.
enum Incarnation {
    Fenced,
    Stopped(ShutdownReport),
}

impl Runner {
    /// The future is large and lives once per consumer, so it is boxed; its type says that it can be spawned.
    pub(crate) fn run(self) -> BoxFuture<'static, Result<ShutdownReport, Error>> {
        Box::pin(self.live())
    }

    async fn live(mut self) -> Result<ShutdownReport, Error> {
        let control = Arc::clone(&self.control);
        let over = Over(&control);
        let report = self.work().await?;
        control.set_member(None);
        control.finished(report.clone());
        drop(over);
        Ok(report)
    }

    async fn work(&mut self) -> Result<ShutdownReport, Error> {
        let (engine, control) = (Arc::clone(&self.engine), Arc::clone(&self.control));
        control.set_phase(Phase::Starting);
        let opened = tokio::select! {
            biased;
            stop = control.stop_after(None) => return Ok(report_of(stop)),
            opened = open(&engine, self.fork()) => opened?,
        };
        let stream = engine.open(opened);
        let mut crew = Crew::new(&engine, &control, self.fork());
        let mut patience = Some(START_PATIENCE);
        loop {
            let name = self.worker_name()?;
            let rng = self.fork();
            let mut joining = pin!(join(&engine, &name, patience, rng));
            let joined = tokio::select! {
                biased;
                joined = &mut joining => joined?,
                stop = control.stop_after(None) => {
                    let limit = stop.deadline.min(Instant::now() + JOIN_PATIENCE);
                    if let Ok(Ok((member, _))) = timeout_at(limit, &mut joining).await {
                        member.leave(stop.deadline).await;
                    }
                    return Ok(report_of(stop));
                }
            };
            patience = None;
            match self.serve(stream, joined, &mut crew).await {
                Incarnation::Stopped(report) => return Ok(report),
                Incarnation::Fenced => {}
            }
        }
    }

    /// One incarnation, from joined to left or fenced.
    async fn serve(&mut self, stream: &OpenStream, joined: Joined, crew: &mut Crew) -> Incarnation {
        let (member, mut events) = joined;
        let (engine, control) = (Arc::clone(&self.engine), Arc::clone(&self.control));
        let me = member.id().clone();
        control.set_member(Some(member.clone()));
        control.set_phase(Phase::Running);
        engine.events.tell(Event::Joined { worker: me.clone() });
        let mut audits = pin!(audit(&engine, stream, &member, self.fork()));
        let mut stop: Option<Stop> = None;
        let (mut abandoned, mut fenced) = (false, false);
        let mut report = ShutdownReport::default();
        loop {
            let times = stop.map(Times::of);
            tokio::select! {
                biased;
                newer = control.stop_after(stop) => {
                    stop = Some(newer);
                    control.set_phase(Phase::Stopping);
                    member.begin_leave();
                    crew.stop();
                }
                event = events.recv(), if !fenced => match event {
                    Some(MemberEvent::Granted(lease)) => crew.granted(lease, me.clone()),
                    Some(MemberEvent::OutageBegan { error }) => {
                        engine.events.tell(Event::OutageBegan { error });
                    }
                    Some(MemberEvent::OutageEnded) => {
                        engine.events.tell(Event::OutageEnded);
                    }
                    Some(MemberEvent::Fenced) | None => {
                        engine.events.tell(Event::Fenced);
                        fenced = true;
                    }
                    Some(_) => {}
                },
                Ended { live, outcome } = crew.ended() => {
                    if let Some(live) = live.filter(|_| stop.is_some()) {
                        report.shards.push(ShardReport::new(&live, &outcome));
                    }
                }
                () = until(times.map(|times| times.drained)), if !abandoned => {
                    abandoned = true;
                    crew.abandon();
                }
                () = until(times.map(|times| times.stored)), if abandoned => {
                    report.shards.extend(crew.abort().iter().map(|live| ShardReport::unfinished(live)));
                    break;
                }
                () = &mut audits => {}
            }
            match stop {
                Some(_) if crew.is_empty() => break,
                // The tasks end by themselves, while a new incarnation joins.
                None if fenced => break,
                _ => {}
            }
        }
        let Some(stop) = stop else {
            control.set_member(None);
            return Incarnation::Fenced;
        };
        // Leases granted while the member was leaving are dropped here and are free once its row is gone.
        drop(events);
        member.leave(stop.deadline).await;
        engine.tracker.close();
        if timeout_at(stop.deadline, engine.tracker.wait()).await.is_err() {
            tracing::warn!("tasks of the consumer had not ended at the deadline of the shutdown");
        }
        report.shards.sort_by(|a, b| a.shard.cmp(&b.shard));
        report.took = stop.begun.elapsed();
        Incarnation::Stopped(report)
    }

    fn fork(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.rng)
    }

    fn worker_name(&mut self) -> Result<WorkerName, Error> {
        if let Some(name) = &self.engine.config.worker {
            return Ok(name.clone());
        }
        let suffix: u32 = self.rng.random();
        WorkerName::new(format!("worker-{suffix:08x}"))
            .map_err(|error| Error::new(ErrorKind::Bug, error.to_string()))
    }
}

/// The parts of a shutdown.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Until here handlers may finish.
    drained: Instant,
    /// Until here positions may be stored and leases handed over.
    stored: Instant,
}

impl Times {
    fn of(stop: Stop) -> Self {
        let reserve = (stop.deadline - stop.begun).div_f64(5.0).min(STORE_TIME);
        Self { drained: stop.deadline - reserve, stored: stop.deadline - reserve / 4 }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn report_of(stop: Stop) -> ShutdownReport {
    ShutdownReport { shards: Vec::new(), took: stop.begun.elapsed() }
}

/// The stream with its start position and leases stored, before anything is delivered.
async fn open(engine: &Engine, rng: StdRng) -> Result<OpenStream, Error> {
    let catalog = &engine.catalog;
    let mut tries = Tries::new("the start", Some(START_PATIENCE), rng);
    tries.run(|| async { Ok(catalog.store.init().await?) }).await?;
    let expected = engine.config.stream.as_ref().map(|stream| stream.name());
    let stream = tries.run(|| catalog.open(expected, &engine.config.start)).await?;
    tries.run(|| catalog.begin(&stream)).await?;
    Ok(stream)
}

async fn join(
    engine: &Engine,
    name: &WorkerName,
    patience: Option<Duration>,
    mut rng: StdRng,
) -> Result<Joined, Error> {
    let config = &engine.config;
    let mut member = MemberConfig::default();
    member.heartbeat = config.heartbeat;
    member.failover = config.failover;
    member.max_leases = config.max_leases.map(std::num::NonZero::get);
    member.unique_worker_names = config.unique_worker_names;
    // A longer heartbeat than usual is for a cheaper fleet, so the listings become rarer with it.
    member.reconcile = member.reconcile.max(config.heartbeat);
    let mut tries = Tries::new("joining the group", patience, StdRng::from_rng(&mut rng));
    let attempt = || {
        let store: Arc<dyn LeaseStore> = Arc::clone(&engine.catalog.store);
        let (group, clock) = (engine.catalog.group.clone(), engine.clock.clone());
        let rng = StdRng::from_rng(&mut rng);
        let joining = Member::join(store, group, name.clone(), member.clone(), clock, rng, &engine.tracker);
        async {
            joining.await.map_err(|error| match error {
                JoinError::Store(error) => Error::from(error),
                other => Error::new(ErrorKind::Configuration, other.to_string()),
            })
        }
    };
    tries.run(attempt).await
}

/// Calls that are made again while their errors may pass.
struct Tries {
    what: &'static str,
    /// When to give up; `None` for never.
    give_up: Option<Instant>,
    retry: Retry,
    warn: RateLimit,
}

impl Tries {
    fn new(what: &'static str, patience: Option<Duration>, rng: StdRng) -> Self {
        let give_up = patience.map(|patience| Instant::now() + patience);
        Self { what, give_up, retry: Retry::new(Backoff::COORDINATION, rng), warn: RateLimit::default() }
    }

    async fn run<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            let error = match call().await {
                Ok(value) => {
                    self.retry.succeeded();
                    return Ok(value);
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let retry_in = self.retry.failed();
            if self.give_up.is_some_and(|give_up| Instant::now() + retry_in > give_up) {
                return Err(error);
            }
            if let Some(more) = self.warn.admit(Instant::now()) {
                tracing::warn!(?retry_in, more, %error, "{} failed, trying again", self.what);
            }
            sleep(retry_in).await;
        }
    }
}

/// Compares leases and shards, where that duty falls to this worker, for ever.
async fn audit(engine: &Engine, stream: &OpenStream, member: &Member, mut rng: StdRng) {
    let interval = engine.config.audit_interval;
    let mut retry = Retry::new(Backoff::COORDINATION, StdRng::from_rng(&mut rng));
    loop {
        // Spread, so that a fleet started at once does not wake at once for ever.
        sleep(interval.mul_f64(rng.random_range(0.9..1.1))).await;
        let number = interval_number(engine.clock.millis(), interval);
        let fleet = member.snapshot();
        let alive = fleet.workers.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id);
        if !on_duty(number, member.id(), alive) {
            continue;
        }
        loop {
            match engine.catalog.audit(stream).await {
                Ok(created) => {
                    retry.succeeded();
                    if created > 0 {
                        member.wake();
                    }
                    break;
                }
                Err(error) => {
                    let retry_in = retry.failed();
                    let (stream, error) = (stream.id.clone(), error.to_string());
                    engine.events.tell(Event::AuditFailed { stream, error });
                    sleep(retry_in).await;
                }
            }
        }
    }
}
