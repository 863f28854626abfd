//! A consumer's life: find the stream, join the group, work, leave.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{MemberEvent, WorkerName};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::control::{Control, Phase, Stop};
use super::engine::Engine;
use super::shard_tasks::{Ended, ShardTasks};
use super::shutdown_report::ShardReport;
use super::start::{Joined, START_PATIENCE, join, open};
use crate::catalog::streams::OpenStream;
use crate::catalog::syncer;
use crate::telemetry::export::{Exporter, Exports};
use crate::telemetry::{http, peek, sampler::Sampler};
use crate::{Error, ErrorKind, Event, Handle, ShutdownReport};

/// The most of a shutdown's deadline that is kept for the store once handlers are given up.
const STORE_TIME: Duration = Duration::from_secs(1);
/// How long a stop waits for a join that is under way, so that no worker row is left behind.
const JOIN_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) control: Arc<Control>,
    pub(crate) rng: StdRng,
    pub(crate) exporters: Vec<Box<dyn Exporter>>,
}

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
        let mut looking = JoinSet::new();
        looking.spawn(Sampler::new(&self.engine, &control).run());
        looking.spawn(peek::run(Arc::clone(&self.engine), Arc::clone(&control)));
        if let Some(address) = self.engine.config.monitoring_listen {
            let (listener, address) = http::bind(address).await?;
            looking.spawn(http::serve(listener, Handle::new(Arc::clone(&control))));
            self.engine.events.tell(Event::MonitoringStarted { address });
        }
        let exports = Exports::start(&self.engine, &control, std::mem::take(&mut self.exporters));
        let worked = self.work().await;
        control.set_member(None);
        // Within the shutdown's deadline.
        let deadline = control.stop.borrow().map(|stop| stop.deadline);
        exports.finish(deadline).await;
        if let Ok(report) = &worked {
            control.finished(report.clone());
        }
        drop(over);
        worked
    }

    async fn work(&mut self) -> Result<ShutdownReport, Error> {
        let (engine, control) = (Arc::clone(&self.engine), Arc::clone(&self.control));
        control.set_phase(Phase::Starting);
        let opened = tokio::select! {
            biased;
            stop = control.stop_after(None) => return Ok(report_of(stop)),
            opened = self.open_all() => opened?,
        };
        for stream in opened {
            engine.streams.add(stream)?;
        }
        let mut tasks = ShardTasks::new(&engine, &control, self.fork());
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
            match self.serve(joined, &mut tasks).await {
                Incarnation::Stopped(report) => return Ok(report),
                Incarnation::Fenced => {}
            }
        }
    }

    /// Every stream named before the start.
    fn open_all(&mut self) -> impl Future<Output = Result<Vec<OpenStream>, Error>> + use<> {
        let engine = Arc::clone(&self.engine);
        let opening: Vec<_> =
            engine.sources.take_wanted().into_iter().map(|source| (source, self.fork())).collect();
        async move {
            future::try_join_all(
                opening.into_iter().map(|(source, rng)| open(&engine, source, &engine.config.streams, rng)),
            )
            .await
        }
    }

    /// One incarnation, from joined to left or fenced.
    async fn serve(&mut self, joined: Joined, tasks: &mut ShardTasks) -> Incarnation {
        let (member, mut events) = joined;
        let (engine, control) = (Arc::clone(&self.engine), Arc::clone(&self.control));
        let me = member.id().clone();
        control.set_member(Some(member.clone()));
        control.set_phase(Phase::Running);
        engine.events.tell(Event::Joined { worker: me.clone() });
        let minding = syncer::streams(Arc::clone(&engine), member.clone(), self.fork());
        let minding = AbortOnDropHandle::new(engine.tracker.spawn(minding.map(drop)));
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
                    tasks.stop();
                }
                event = events.recv(), if !fenced => match event {
                    Some(MemberEvent::Granted(lease)) => tasks.granted(lease, me.clone()),
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
                Ended { live, outcome } = tasks.ended() => {
                    if let Some(live) = live.filter(|_| stop.is_some()) {
                        report.shards.push(ShardReport::new(&live, &outcome));
                    }
                }
                () = until(times.map(|times| times.drained)), if !abandoned => {
                    abandoned = true;
                    tasks.abandon();
                }
                () = until(times.map(|times| times.stored)), if abandoned => {
                    report.shards.extend(tasks.abort().iter().map(|live| ShardReport::unfinished(live)));
                    break;
                }
            }
            match stop {
                Some(_) if tasks.is_empty() => break,
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
        drop((events, minding));
        member.leave(stop.deadline).await;
        engine.tracker.close();
        if timeout_at(stop.deadline, engine.tracker.wait()).await.is_err() {
            tracing::warn!("tasks of the consumer had not ended at the deadline of the shutdown");
        }
        report.shards.sort_by(|a, b| (&a.stream, &a.shard).cmp(&(&b.stream, &b.shard)));
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
