//! Samples the worker once a second: sets the gauges, emits what begins and ends, and keeps what its health is judged by.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rokini_lease::{
    CoordinationHealth, GroupView, HeartbeatStats, LeaseKey, Member, ShardHealth, StreamId, WallClock,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::consumer_metrics::ConsumerMetrics;
use super::fleet::{self, StreamFacts};
use super::handler_stats::HandlerMetrics;
use super::health::{self, Health, HealthFacts, StalledShard};
use super::metric::Metric;
use super::monitor::{Monitor, WorkerSnapshot};
use super::scale::{self, ScalingRecommendation};
use super::series::ShardValues;
use super::unowned_lag::UnownedLags;
use crate::catalog::streams::Streams;
use crate::config::Settings;
use crate::events::emitter::Events;
use crate::events::table::EventKind;
use crate::shard::budget::ByteBudget;
use crate::shard::progress::ShardSnapshot;
use crate::shard::status::ShardStatus;
use crate::shard::worker_state::WorkerState;
use crate::types::stall::{self, StallCause};

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// Between two samples of a process that stood still, because it was suspended or its runtime blocked.
const STOOD_STILL: Duration = Duration::from_secs(4);
/// A shard that is behind by this much is told of to others.
const TOLD_LAG: Duration = Duration::from_secs(2);

/// What is sampled, and where the results go.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) settings: Settings,
    pub(crate) clock: WallClock,
    pub(crate) worker: Arc<WorkerState>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) unowned: Arc<UnownedLags>,
    pub(crate) budget: Arc<ByteBudget>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<ConsumerMetrics>,
    pub(crate) monitor: Arc<Monitor>,
    /// Where the handler says something of itself.
    pub(crate) handler: Option<HandlerMetrics>,
}

/// Samples, and remembers what it needs of the samples before.
pub(crate) struct Sampler {
    observed: Observed,
    shards: BTreeMap<LeaseKey, Memory>,
    /// Of the incarnation seen last.
    heartbeats: HeartbeatStats,
    idle_since: Option<Instant>,
    holes: HoleMemory,
    coordination_stalled: bool,
    /// When the last sample was taken, and since when samples come as they should.
    sampled: Instant,
    steady_since: Option<Instant>,
    /// Looks and listings of the incarnation seen last that failed.
    coordination_failures: u64,
}

#[derive(Debug, Default)]
struct Memory {
    lags: VecDeque<(Instant, Duration)>,
    stalled: Option<(StallCause, Instant)>,
}

impl Memory {
    /// The lag [`stall::WINDOW`] ago.
    fn lag_before(&mut self, now: Instant, lag: Duration) -> Option<Duration> {
        let old = |at: Instant| now.duration_since(at) >= stall::WINDOW;
        while self.lags.get(1).is_some_and(|(at, _)| old(*at)) {
            self.lags.pop_front();
        }
        let before = self.lags.front().filter(|(at, _)| old(*at)).map(|(_, lag)| *lag);
        self.lags.push_back((now, lag));
        before
    }
}

/// A listing that is written to meanwhile may show a hole where there is none: what a first one shows is listed
/// again at once, and only what the next one shows too counts.
#[derive(Debug, Default)]
struct HoleMemory {
    /// The listing seen last.
    listing: Weak<GroupView>,
    /// Whether the listing before it showed a hole.
    shown: bool,
    /// Whether it is the first to show one.
    first: bool,
    /// Whether holes count.
    confirmed: bool,
}

impl HoleMemory {
    fn look_at(&mut self, view: &Arc<GroupView>, streams: &mut BTreeMap<StreamId, StreamFacts>) {
        let shown = streams.values().any(|stream| stream.holes > 0);
        if self.listing.upgrade().is_some_and(|seen| Arc::ptr_eq(&seen, view)) {
            self.first = false;
        } else {
            self.confirmed = shown && (self.confirmed || self.shown);
            self.first = shown && !self.confirmed;
            self.listing = Arc::downgrade(view);
            self.shown = shown;
        }
        if !self.confirmed {
            streams.values_mut().for_each(|stream| stream.holes = 0);
        }
    }
}

/// One shard of a sample.
struct ShardSample {
    key: LeaseKey,
    lag: Duration,
    fan_out: bool,
    values: ShardValues,
    /// Why it makes no progress, and for how long.
    stalled: Option<(StallCause, Duration)>,
    /// What failed last, and how long ago.
    error: Option<(String, Duration)>,
    /// What is told to others; `None` where it is well.
    report: Option<ShardHealth>,
}

impl Sampler {
    pub(crate) fn new(observed: Observed) -> Self {
        Self {
            observed,
            shards: BTreeMap::new(),
            heartbeats: HeartbeatStats::default(),
            idle_since: None,
            holes: HoleMemory::default(),
            coordination_stalled: false,
            sampled: Instant::now(),
            steady_since: None,
            coordination_failures: 0,
        }
    }

    pub(crate) async fn run(&mut self) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample();
        }
    }

    fn sample(&mut self) {
        let now = Instant::now();
        // What stood still with the process says nothing of the shards.
        if now.duration_since(std::mem::replace(&mut self.sampled, now)) > STOOD_STILL {
            self.steady_since = Some(now);
        }
        let member = self.observed.worker.member();
        let shards = self.sample_shards(now);
        self.observed.metrics.set_shards(shards.iter().map(|shard| (shard.key.clone(), shard.values)));
        if let Some(member) = &member {
            member.report_shards(reports(&shards));
        }
        let (workers, streams) = self.sample_streams(member.as_ref());
        let scale = self.sample_lags(workers, &shards, &streams);
        if member.is_some() {
            self.observed.metrics.keep_streams(|stream| streams.contains_key(stream));
        }
        if let Some(handler) = &mut self.observed.handler {
            handler.sample(&self.observed.metrics);
        }
        let facts = HealthFacts {
            phase: self.observed.worker.phase(),
            unseen: Duration::ZERO,
            valid: member.as_ref().is_some_and(Member::is_valid),
            heartbeat_age: member.as_ref().map(|member| member.heartbeats().age),
            heartbeat_error: member.as_ref().and_then(Member::heartbeat_error),
            stalled_coordination: self.judge_coordination(member.as_ref()),
            stalled: shards.into_iter().filter_map(stalled).collect(),
            idle_leases: self.idle_leases(member.as_ref(), now),
            holes: streams
                .iter()
                .filter(|(_, facts)| facts.holes > 0)
                .map(|(id, facts)| (id.clone(), facts.holes))
                .collect(),
        };
        let health = Health::judge(&facts);
        if let Some(member) = &member {
            member.report_troubles(health.troubles(facts.phase));
        }
        self.set_worker_metrics(member.as_ref(), &facts, &health, scale);
        self.observed.monitor.set(WorkerSnapshot { at: now, facts, scale });
    }

    /// What does not get on in coordination; emits when that begins and ends.
    fn judge_coordination(&mut self, member: Option<&Member>) -> Option<String> {
        let (failover, events) = (self.observed.settings.failover, &self.observed.events);
        let stalled = member.and_then(|member| stalled_coordination(&member.coordination(), failover));
        match (&stalled, self.coordination_stalled) {
            (Some(error), false) => events.emit(EventKind::CoordinationStalled { error: error.clone() }),
            (None, true) => events.emit(EventKind::CoordinationRecovered),
            _ => {}
        }
        self.coordination_stalled = stalled.is_some();
        stalled
    }

    /// Judges each shard, and emits what began and what ended.
    fn sample_shards(&mut self, now: Instant) -> Vec<ShardSample> {
        let mut before = std::mem::take(&mut self.shards);
        let mut samples = Vec::new();
        for (key, progress) in self.observed.worker.shards() {
            progress.flush_observer();
            let snapshot = progress.snapshot();
            let mut memory = before.remove(&key).unwrap_or_default();
            samples.push(self.sample_shard(key.clone(), &snapshot, &mut memory, now));
            self.shards.insert(key, memory);
        }
        // What left has no stall here any more; who has it now judges it anew.
        for (key, mut memory) in before {
            self.note_stall(&key, &mut memory, None, Duration::ZERO, now);
        }
        samples
    }

    fn sample_shard(
        &self,
        key: LeaseKey,
        snapshot: &ShardSnapshot,
        memory: &mut Memory,
        now: Instant,
    ) -> ShardSample {
        let settings = &self.observed.settings;
        let (after, quiet) = (settings.stall_after, settings.poll_ceiling + settings.stall_after);
        let lag = snapshot.status.lag;
        let mut facts = snapshot.stall_facts(memory.lag_before(now, lag));
        if let Some(since) = self.steady_since {
            facts.count_from(now.duration_since(since));
        }
        let before = memory.stalled.map(|(cause, _)| cause);
        let cause = stall::judge(&facts, before, after, quiet);
        self.note_stall(&key, memory, cause, lag, now);
        let behind = snapshot.status.millis_behind_latest;
        let values = ShardValues {
            lag: lag.as_secs_f64(),
            behind: behind.map(|millis| Duration::from_millis(millis).as_secs_f64()),
            until_loss: Some(snapshot.retention.saturating_sub(lag).as_secs_f64()),
            stalled: if cause.is_some() { 1.0 } else { 0.0 },
        };
        let stalled = memory.stalled.map(|(cause, since)| (cause, now.duration_since(since) + after));
        let error = snapshot.status.last_error.clone().zip(snapshot.status.last_error_age);
        let report = report(&key, &snapshot.status, stalled);
        let fan_out = snapshot.status.fan_out;
        ShardSample { key, lag, fan_out, values, stalled, error, report }
    }

    fn note_stall(
        &self,
        key: &LeaseKey,
        memory: &mut Memory,
        cause: Option<StallCause>,
        lag: Duration,
        now: Instant,
    ) {
        let events = &self.observed.events;
        match (memory.stalled, cause) {
            (None, Some(cause)) => {
                memory.stalled = Some((cause, now));
                events.emit_for_shard(key, EventKind::ShardStalled { cause, lag });
            }
            // One stall; whoever was told of its cause is told of another one.
            (Some((told, since)), Some(cause)) => {
                memory.stalled = Some((cause, since));
                if told != cause {
                    events.emit_for_shard(key, EventKind::ShardStalled { cause, lag });
                }
            }
            (Some((cause, since)), None) => {
                memory.stalled = None;
                let lasted = now.duration_since(since);
                events.emit_for_shard(key, EventKind::ShardRecovered { cause, lasted });
            }
            (None, None) => {}
        }
    }

    /// The live workers of the group, and its streams, as the listing of this worker shows them.
    fn sample_streams(&mut self, member: Option<&Member>) -> (usize, BTreeMap<StreamId, StreamFacts>) {
        let view = member.map(Member::snapshot).unwrap_or_default();
        let (workers, mut streams) = fleet::facts(&view);
        // Of a stream that was made again the leases of the one before show nothing any more; and holes are the matter
        // of those who read the stream.
        fleet::drop_outdated(&mut streams);
        let read = self.observed.streams.all();
        streams.iter_mut().filter(|(id, _)| !read.contains_key(*id)).for_each(|(_, facts)| facts.holes = 0);
        self.holes.look_at(&view, &mut streams);
        if self.holes.first
            && let Some(member) = member
        {
            member.request_reconcile();
        }
        // The listing may be older than what this worker took up since.
        for facts in streams.values_mut() {
            facts.unheld.retain(|row| !self.shards.contains_key(&row.key));
        }
        (workers, streams)
    }

    /// The lag of each stream, of its own shards and of those nobody has, and how many workers that asks for.
    fn sample_lags(
        &self,
        workers: usize,
        shards: &[ShardSample],
        streams: &BTreeMap<StreamId, StreamFacts>,
    ) -> ScalingRecommendation {
        let mut held: BTreeMap<&StreamId, (usize, usize, Duration)> = BTreeMap::new();
        for shard in shards {
            let (count, pushed, most) = held.entry(&shard.key.stream).or_default();
            *count += 1;
            *pushed += usize::from(shard.fan_out);
            *most = (*most).max(shard.lag);
        }
        let now_millis = self.observed.clock.millis();
        let mut scale = ScalingRecommendation { workers, ..ScalingRecommendation::default() };
        for (id, facts) in streams {
            let (held, pushed, lag) = held.get(id).copied().unwrap_or_default();
            let unheld = facts.unheld.iter().filter_map(|row| self.observed.unowned.lag(row, now_millis));
            let lag = unheld.fold(lag, Duration::max);
            scale.shards += facts.active;
            scale.lag = scale.lag.max(lag);
            if let Some(series) = self.observed.metrics.stream(id) {
                series.set(Metric::LeasesHeld, held as f64);
                series.set(Metric::FanOutShards, pushed as f64);
                series.set(Metric::Unheld, facts.unheld.len() as f64);
                series.set(Metric::Holes, facts.holes as f64);
                series.set(Metric::GroupLag, lag.as_secs_f64());
            }
        }
        scale.desired = scale::desired(&scale, &self.observed.settings);
        scale
    }

    /// Leases that are held for too long without a task for their shards.
    fn idle_leases(&mut self, member: Option<&Member>, now: Instant) -> usize {
        let idle = member.map_or(0, |member| member.held().saturating_sub(self.shards.len()));
        self.idle_since = (idle > 0).then(|| self.idle_since.unwrap_or(now));
        let late = self.idle_since.is_some_and(|since| now.duration_since(since) > health::TASK_LATE);
        if late { idle } else { 0 }
    }

    fn set_worker_metrics(
        &mut self,
        member: Option<&Member>,
        facts: &HealthFacts,
        health: &Health,
        scale: ScalingRecommendation,
    ) {
        let Some(series) = self.observed.metrics.worker() else { return };
        if let Some(seen) = member.map(Member::heartbeats) {
            // A new incarnation counts from 0.
            let new = |seen: u64, before: u64| if seen < before { seen } else { seen - before };
            series.count(Metric::Heartbeats, new(seen.stored, self.heartbeats.stored));
            series.count(Metric::HeartbeatFailures, new(seen.failed, self.heartbeats.failed));
            series.set(Metric::HeartbeatAge, seen.age.as_secs_f64());
            self.heartbeats = seen;
        }
        if let Some(seen) = member.map(Member::coordination) {
            let failures = seen.failed_looks + seen.failed_listings;
            let before = std::mem::replace(&mut self.coordination_failures, failures);
            let new = if failures < before { failures } else { failures - before };
            series.count(Metric::CoordinationFailures, new);
            series.set(Metric::LookAge, seen.look_age.as_secs_f64());
            series.set(Metric::ListingAge, seen.listing_age.as_secs_f64());
        }
        for (metric, holds) in
            [(Metric::Valid, facts.valid), (Metric::Live, health.live), (Metric::Ready, health.ready)]
        {
            series.set(metric, f64::from(u8::from(holds)));
        }
        series.set(Metric::Workers, scale.workers as f64);
        series.set(Metric::DesiredWorkers, scale.desired as f64);
        let usage = self.observed.budget.usage();
        series.set(Metric::BufferedBytes, usage.bytes as f64);
        series.set(Metric::ReadsWaiting, usage.waiting as f64);
    }
}

/// A listing that is due may fail for so long.
const LISTING_LATE: Duration = Duration::from_secs(60);

fn stalled_coordination(health: &CoordinationHealth, failover: Duration) -> Option<String> {
    let error = health.error.as_deref().unwrap_or("no answer");
    if health.look_age >= failover {
        let age = health.look_age.as_secs_f64();
        return Some(format!("the worker rows have not been read for {age:.0} s: {error}"));
    }
    let overdue = health.listing_overdue.filter(|overdue| *overdue >= LISTING_LATE)?;
    Some(format!("listing the leases has failed for {:.0} s: {error}", overdue.as_secs_f64()))
}

fn stalled(shard: ShardSample) -> Option<StalledShard> {
    let ShardSample { key, stalled, error, .. } = shard;
    stalled.map(|(cause, lasting)| StalledShard { key, cause, lasting, error })
}

/// What a row says of the shard; `None` where it is well.
fn report(
    key: &LeaseKey,
    status: &ShardStatus,
    stalled: Option<(StallCause, Duration)>,
) -> Option<ShardHealth> {
    if stalled.is_none() && status.lag < TOLD_LAG && status.last_error.is_none() {
        return None;
    }
    let mut report = ShardHealth::new(key.clone(), status.state.name(), status.lag);
    if let Some((cause, lasting)) = stalled {
        report.stalled = Some(cause.name().to_owned());
        report.lasting = lasting;
    }
    report.record = status.handling;
    report.failures = status.failures;
    match status.last_error.as_deref().zip(status.last_error_age) {
        Some((error, age)) => {
            let report = report.with_error(error, age);
            Some(status.last_error_code.iter().fold(report, |report, code| report.with_error_code(code)))
        }
        None => Some(report),
    }
}

/// The worst first: what makes no progress for longest, then what is furthest behind.
fn reports(shards: &[ShardSample]) -> Vec<ShardHealth> {
    let mut reports: Vec<ShardHealth> = shards.iter().filter_map(|shard| shard.report.clone()).collect();
    reports.sort_by_key(|report| std::cmp::Reverse((report.lasting, report.lag)));
    reports
}
