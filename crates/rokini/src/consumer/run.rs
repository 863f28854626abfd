//! A consumer's life: find the stream, join the group, work, leave.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{AssignmentPolicy, Member, MemberEvent, WorkerName};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::control::{Control, Stop};
use super::handle::Handle;
use super::shard_tasks::{Ended, ShardTasks};
use super::shutdown_report::{ShardReport, ShutdownReport};
use super::start::{Joined, Joining, START_PATIENCE, member_config, open};
use crate::catalog::streams::OpenStream;
use crate::catalog::syncer::ShardSyncers;
use crate::events::table::EventKind;
use crate::shard::resources::ShardResources;
use crate::telemetry::consumer_metrics::ConsumerMetrics;
use crate::telemetry::export::{Exporter, Exports};
use crate::telemetry::http::{self, Site};
use crate::telemetry::page::Page;
use crate::telemetry::sampler::Sampler;
use crate::telemetry::unowned_lag::UnownedReader;
use crate::types::error::{Error, ErrorKind};
use crate::types::phase::ConsumerPhase;

/// The most of a shutdown's deadline that is kept for the store once handlers are given up.
const STORE_TIME: Duration = Duration::from_secs(1);
/// How long a stop waits for a join that is under way, so that no worker row is left behind.
const JOIN_PATIENCE: Duration = Duration::from_secs(1);

/// One worker of a group: works on its share of the shards of a stream.
///
/// ```no_run
/// use rokini::lease::MemoryStore;
/// use rokini::{Consumer, Error, StartPosition};
///
/// # async fn example(aws: aws_types::SdkConfig) -> Result<(), Error> {
/// let consumer = Consumer::builder()
///     .group("billing")
///     .stream("orders")
///     .start(StartPosition::TrimHorizon)
///     .store(MemoryStore::new())
///     .aws(&aws)
///     .for_each(|record| async move {
///         println!("{:?}: {} bytes", record.partition_key(), record.data().len());
///         Ok(())
///     })
///     .build()
///     .await?;
/// let handle = consumer.handle(); // for shutdown, status, events
/// # drop(handle);
/// consumer.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    pub(super) runner: Runner,
}

impl Consumer {
    /// A handle to stop and watch this consumer, before, while and after it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.runner.control))
    }

    /// Runs until [`Handle::shutdown`]. Dropping the returned future stops the work at once, without handing
    /// over: the others wait for the failover time.
    ///
    /// # Errors
    /// What cannot pass by itself, with the same kinds as [`Error::kind`]:
    /// - at the start, [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) and
    ///   [`ErrorKind::Permission`](crate::ErrorKind::Permission) at once, credentials that cannot be had among them
    ///   ([`check_credentials`](crate::check_credentials), within 5 s), and what passes by itself
    ///   ([`Error::is_retryable`]) when it has not passed within a minute;
    /// - later only a second live worker of the same name.
    pub async fn run(self) -> Result<ShutdownReport, Error> {
        self.runner.run().await
    }
}

/// Runs a consumer.
pub(super) struct Runner {
    pub(super) control: Arc<Control>,
    pub(super) resources: Arc<ShardResources>,
    pub(super) metrics: Arc<ConsumerMetrics>,
    pub(super) policy: AssignmentPolicy,
    pub(super) sampler: Sampler,
    pub(super) unowned: UnownedReader,
    pub(super) exporters: Vec<Box<dyn Exporter>>,
    pub(super) page: Option<Arc<Page>>,
    pub(super) rng: StdRng,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("control", &self.control).finish_non_exhaustive()
    }
}

/// Whatever ends the run, handles learn that it is over, and a member that was not left stops at once.
struct FinishOnDrop<'a>(&'a Control);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(member) = self.0.worker.member() {
            member.stop();
        }
        self.0.finished(ShutdownReport::default());
    }
}

/// Why the work of one incarnation ended.
enum IncarnationEnd {
    Fenced,
    Stopped(ShutdownReport),
}

impl Runner {
    /// The future is large and lives once per consumer, so it is boxed; its type says that it can be spawned.
    fn run(self) -> BoxFuture<'static, Result<ShutdownReport, Error>> {
        Box::pin(self.watched())
    }

    /// The work, with what watches it.
    async fn watched(self) -> Result<ShutdownReport, Error> {
        let Self { control, resources, metrics, policy, sampler, unowned, exporters, page, rng } = self;
        let over = FinishOnDrop(&control);
        let mut watchers = JoinSet::new();
        let events = &control.events;
        watchers.spawn(events.clone().supervise("sampler", sampler, |sampler| Box::pin(sampler.run())));
        watchers.spawn(events.clone().supervise("unowned lag", unowned, |unowned| Box::pin(unowned.run())));
        if let Some(address) = http::address(&control.config) {
            let (listener, address) = http::bind(address).await?;
            let site = Site { monitor: Some(Arc::clone(&control.monitor)), page, address };
            let kept = (listener, Arc::new(site));
            let serve = events.clone().supervise("monitoring listener", kept, |(listener, site)| {
                Box::pin(http::serve(listener, site))
            });
            watchers.spawn(serve);
            events.emit(EventKind::MonitoringStarted { address });
        }
        let exports = Exports::start(exporters, &control.worker, &control.events, &resources.clock);
        let work = Work { control: Arc::clone(&control), resources, metrics, policy, rng };
        let worked = work.run().await;
        control.worker.set_member(None);
        // Within the shutdown's deadline.
        let deadline = control.stop.borrow().map(|stop| stop.deadline);
        exports.finish(deadline).await;
        if let Ok(report) = &worked {
            control.finished(report.clone());
        }
        drop(over);
        worked
    }
}

/// What a worker does from its start to its stop.
struct Work {
    control: Arc<Control>,
    resources: Arc<ShardResources>,
    metrics: Arc<ConsumerMetrics>,
    policy: AssignmentPolicy,
    rng: StdRng,
}

impl Work {
    async fn run(mut self) -> Result<ShutdownReport, Error> {
        let control = Arc::clone(&self.control);
        control.worker.set_phase(ConsumerPhase::Starting);
        let opened = tokio::select! {
            biased;
            stop = control.stop_after(None) => return Ok(report_of(stop)),
            opened = self.open_all() => opened?,
        };
        for stream in opened {
            control.streams.add(stream)?;
        }
        let rng = self.fork();
        let mut tasks = ShardTasks::new(&control, &self.resources, &self.metrics, rng);
        let mut patience = Some(START_PATIENCE);
        loop {
            let joined = match self.join(patience).await? {
                Ok(joined) => joined,
                Err(stop) => return Ok(report_of(stop)),
            };
            patience = None;
            match self.serve(joined, &mut tasks).await {
                IncarnationEnd::Stopped(report) => return Ok(report),
                IncarnationEnd::Fenced => {}
            }
        }
    }

    /// Every stream named before the start.
    fn open_all(&mut self) -> impl Future<Output = Result<Vec<OpenStream>, Error>> + use<> {
        let control = Arc::clone(&self.control);
        let wanted = control.sources.take_wanted();
        let opening: Vec<_> = wanted.into_iter().map(|source| (source, self.fork())).collect();
        async move {
            // Without credentials each call would wait for its own, and nobody would be told why.
            control.sources.check_credentials().await?;
            let (catalog, config) = (&control.catalog, &control.config);
            let open = |(source, rng)| open(catalog, source, &config.streams, config.retrieval, rng);
            let opening = opening.into_iter().map(open);
            future::try_join_all(opening).await
        }
    }

    /// Joins the group, unless the consumer is stopped meanwhile.
    async fn join(&mut self, patience: Option<Duration>) -> Result<Result<Joined, Stop>, Error> {
        let name = self.worker_name()?;
        let rng = self.fork();
        let control = &self.control;
        let streams = control.streams.all().keys().cloned().collect();
        let joining = Joining {
            catalog: &control.catalog,
            clock: &self.resources.clock,
            name: &name,
            member: member_config(&control.config, self.policy.clone(), streams),
        };
        let mut joining = pin!(joining.run(patience, rng));
        tokio::select! {
            biased;
            joined = &mut joining => joined.map(Ok),
            stop = control.stop_after(None) => {
                let limit = stop.deadline.min(Instant::now() + JOIN_PATIENCE);
                if let Ok(Ok((member, _))) = timeout_at(limit, &mut joining).await {
                    member.leave(stop.deadline).await;
                }
                Ok(Err(stop))
            }
        }
    }

    /// One incarnation, from joined to left or fenced.
    async fn serve(&mut self, joined: Joined, tasks: &mut ShardTasks) -> IncarnationEnd {
        let (member, mut events) = joined;
        let control = Arc::clone(&self.control);
        control.worker.set_member(Some(member.clone()));
        control.worker.set_phase(ConsumerPhase::Running);
        control.events.emit(EventKind::Joined { worker: member.id().clone() });
        let syncing = self.sync_shards(&member);
        let mut stop: Option<Stop> = None;
        let (mut abandoned, mut fenced) = (false, false);
        let mut report = ShutdownReport::default();
        loop {
            let times = stop.map(Times::of);
            tokio::select! {
                biased;
                newer = control.stop_after(stop) => {
                    stop = Some(newer);
                    control.worker.set_phase(ConsumerPhase::Stopping);
                    member.begin_leave();
                    tasks.stop();
                }
                event = events.recv(), if !fenced => fenced = self.take_in(event, &member, tasks),
                Ended { shard, outcome } = tasks.ended() => {
                    if let Some(shard) = shard.filter(|_| stop.is_some()) {
                        report.shards.push(ShardReport::new(&shard, &outcome));
                    }
                }
                () = until(times.map(|times| times.drained)), if !abandoned => {
                    abandoned = true;
                    tasks.abandon();
                }
                () = until(times.map(|times| times.stored)), if abandoned => {
                    report.shards.extend(tasks.abort().iter().map(|shard| ShardReport::unfinished(shard)));
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
            control.worker.set_member(None);
            return IncarnationEnd::Fenced;
        };
        // Leases granted while the member was leaving are dropped here and are free once its row is gone.
        drop((events, syncing));
        IncarnationEnd::Stopped(self.leave(&member, stop, report).await)
    }

    fn sync_shards(&mut self, member: &Member) -> AbortOnDropHandle<()> {
        let tracker = self.resources.tracker.clone();
        let syncers = ShardSyncers {
            catalog: Arc::clone(&self.control.catalog),
            streams: Arc::clone(&self.control.streams),
            member: member.clone(),
            tracker: tracker.clone(),
            audit_interval: self.control.config.audit_interval,
        };
        let kept = (syncers, self.fork());
        let syncing = self
            .control
            .events
            .clone()
            .supervise("shard sync", kept, |(syncers, rng)| Box::pin(syncers.run(rng)));
        AbortOnDropHandle::new(tracker.spawn(syncing.map(drop)))
    }

    /// Takes in what the membership reports. Returns whether it was fenced.
    fn take_in(&self, event: Option<MemberEvent>, member: &Member, tasks: &mut ShardTasks) -> bool {
        let events = &self.control.events;
        match event {
            Some(MemberEvent::Granted(lease)) => tasks.granted(lease, member.id().clone()),
            Some(MemberEvent::OutageBegan { error }) => events.emit(EventKind::OutageBegan { error }),
            Some(MemberEvent::OutageEnded) => events.emit(EventKind::OutageEnded),
            Some(MemberEvent::TaskPanicked { task, error }) => {
                events.emit(EventKind::TaskRestarted { task, error });
            }
            Some(MemberEvent::Fenced | MemberEvent::SharedIncarnation) | None => {
                events.emit(EventKind::Fenced);
                return true;
            }
            Some(_) => {}
        }
        false
    }

    /// Leaves the group once the shards have left.
    async fn leave(&self, member: &Member, stop: Stop, mut report: ShutdownReport) -> ShutdownReport {
        let tracker = &self.resources.tracker;
        member.leave(stop.deadline).await;
        tracker.close();
        if timeout_at(stop.deadline, tracker.wait()).await.is_err() {
            tracing::warn!("tasks of the consumer had not ended at the deadline of the shutdown");
        }
        report.shards.sort_by(|a, b| (&a.stream, &a.shard).cmp(&(&b.stream, &b.shard)));
        report.took = stop.begun.elapsed();
        report
    }

    fn fork(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.rng)
    }

    fn worker_name(&mut self) -> Result<WorkerName, Error> {
        if let Some(name) = &self.control.config.worker {
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
