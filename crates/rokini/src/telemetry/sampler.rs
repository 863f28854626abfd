//! Looks at the consumer once a second: sets the gauges, tells what begins and ends, and judges its health.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rokini_lease::{GroupView, HeartbeatStats, LeaseKey, StreamId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::health::{self, Health};
use super::meter::ShardValues;
use super::stall::{self, StallCause};
use super::{fleet, scale};
use crate::consumer::control::Control;
use crate::consumer::engine::Engine;
use crate::{Event, Phase};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What the last look showed.
#[derive(Debug)]
pub(crate) struct Looks {
    last: Mutex<Look>,
}

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    facts: health::Facts,
    scale: scale::Scale,
}

impl Looks {
    pub(crate) fn new() -> Self {
        let facts = health::Facts {
            phase: Phase::Created,
            unseen: Duration::ZERO,
            valid: false,
            heartbeat_age: None,
            stalled: Vec::new(),
            idle_leases: 0,
            holes: Vec::new(),
        };
        Self { last: Mutex::new(Look { at: Instant::now(), facts, scale: scale::Scale::default() }) }
    }

    fn last(&self) -> Look {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, look: Look) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    /// The health by the last look, and by how long ago it was.
    pub(crate) fn health(&self, phase: Phase) -> Health {
        let look = self.last();
        let unseen = match phase {
            Phase::Created | Phase::Stopped => Duration::ZERO,
            _ => look.at.elapsed(),
        };
        Health::judge(&health::Facts { phase, unseen, ..look.facts })
    }

    pub(crate) fn scale(&self) -> scale::Scale {
        self.last().scale
    }
}

/// What is remembered from look to look.
pub(crate) struct Sampler {
    engine: Arc<Engine>,
    control: Arc<Control>,
    shards: BTreeMap<LeaseKey, Memory>,
    /// Of the incarnation seen last.
    heartbeats: HeartbeatStats,
    hole_before: bool,
    idle_since: Option<Instant>,
    /// The listing seen last, whether it was the first to show a hole, and whether holes count.
    holes: (Weak<GroupView>, bool, bool),
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

impl Sampler {
    pub(crate) fn new(engine: &Arc<Engine>, control: &Arc<Control>) -> Self {
        Self {
            engine: Arc::clone(engine),
            control: Arc::clone(control),
            shards: BTreeMap::new(),
            heartbeats: HeartbeatStats::default(),
            hole_before: false,
            idle_since: None,
            holes: (Weak::new(), false, false),
        }
    }

    pub(crate) async fn run(mut self) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    /// How long a healthy reader may hear nothing.
    fn quiet(&self) -> Duration {
        self.engine.config.poll_ceiling + self.engine.config.stall_after
    }

    pub(crate) fn look(&mut self) {
        let now = Instant::now();
        let member = self.control.member();
        let (stalled, values) = self.look_at_shards(now);
        let telemetry = Arc::clone(self.engine.telemetry());
        let mut lags: BTreeMap<StreamId, (usize, Duration)> = BTreeMap::new();
        for (key, lag, _) in &values {
            let (held, most) = lags.entry(key.stream.clone()).or_default();
            *held += 1;
            *most = (*most).max(*lag);
        }
        telemetry.set_shards(values.into_iter().map(|(key, _, values)| (key, values)));

        let view = member.as_ref().map(|member| member.snapshot()).unwrap_or_default();
        let (alive, mut streams) = fleet::facts(&view);
        // Of a stream that was made again the leases of the one before show nothing any more; and holes are the matter
        // of those who read the stream.
        fleet::drop_outdated(&mut streams);
        let read = self.engine.streams.all();
        streams.iter_mut().filter(|(id, _)| !read.contains_key(*id)).for_each(|(_, facts)| facts.holes = 0);
        self.confirm_holes(&view, &mut streams);
        if self.holes.1
            && let Some(member) = &member
        {
            member.wake();
        }
        let now_millis = self.engine.clock.millis();
        let mut holes = Vec::new();
        let mut scale = scale::Scale { workers: alive, ..scale::Scale::default() };
        // The listing may be older than what this worker took up since.
        for facts in streams.values_mut() {
            facts.unheld.retain(|row| !self.shards.contains_key(&row.key));
        }
        for (id, facts) in &streams {
            let (held, lag) = lags.get(id).copied().unwrap_or_default();
            let unheld = facts.unheld.iter().filter_map(|row| self.engine.backlogs.lag(row, now_millis));
            let lag = unheld.fold(lag, Duration::max);
            scale.shards += facts.active;
            scale.lag = scale.lag.max(lag);
            if facts.holes > 0 {
                holes.push((id.clone(), facts.holes));
            }
            if let Some(meter) = telemetry.stream(id) {
                meter.held.set(held as f64);
                meter.unheld.set(facts.unheld.len() as f64);
                meter.holes.set(facts.holes as f64);
                meter.group_lag.set(lag.as_secs_f64());
            }
        }
        if member.is_some() {
            telemetry.keep_streams(|stream| streams.contains_key(stream));
        }
        scale.desired = scale::desired(&scale, &self.engine.config);

        let heartbeats = member.as_ref().map(rokini_lease::Member::heartbeats);
        let idle = member.as_ref().map_or(0, |member| member.held().saturating_sub(self.shards.len()));
        self.idle_since = (idle > 0).then(|| self.idle_since.unwrap_or(now));
        let late = self.idle_since.is_some_and(|since| now.duration_since(since) > health::TASK_LATE);
        let facts = health::Facts {
            phase: self.control.phase(),
            unseen: Duration::ZERO,
            valid: member.as_ref().is_some_and(rokini_lease::Member::is_valid),
            heartbeat_age: heartbeats.map(|heartbeats| heartbeats.age),
            stalled,
            idle_leases: if late { idle } else { 0 },
            holes,
        };
        if let Some(meter) = telemetry.worker() {
            let health = Health::judge(&facts);
            if let Some(seen) = heartbeats {
                // A new incarnation counts from 0.
                let new = |seen: u64, before: u64| if seen < before { seen } else { seen - before };
                meter.heartbeats.increment(new(seen.stored, self.heartbeats.stored));
                meter.heartbeat_failures.increment(new(seen.failed, self.heartbeats.failed));
                meter.heartbeat_age.set(seen.age.as_secs_f64());
                self.heartbeats = seen;
            }
            let flag = |on: bool| if on { 1.0 } else { 0.0 };
            meter.valid.set(flag(facts.valid));
            meter.live.set(flag(health.live));
            meter.ready.set(flag(health.ready));
            meter.workers.set(alive as f64);
            meter.desired_workers.set(scale.desired as f64);
        }
        self.engine.looks.set(Look { at: now, facts, scale });
    }

    /// A listing that is written to meanwhile may show a hole where there is none: what a first one shows is looked at
    /// again at once, and only what the next one shows too counts.
    fn confirm_holes(&mut self, view: &Arc<GroupView>, streams: &mut BTreeMap<StreamId, fleet::StreamFacts>) {
        let shown = streams.values().any(|stream| stream.holes > 0);
        let (seen, first, counts) = &mut self.holes;
        if seen.upgrade().is_some_and(|seen| Arc::ptr_eq(&seen, view)) {
            *first = false;
        } else {
            *counts = shown && (*counts || self.hole_before);
            *first = shown && !*counts;
            *seen = Arc::downgrade(view);
            self.hole_before = shown;
        }
        if !*counts {
            streams.values_mut().for_each(|stream| stream.holes = 0);
        }
    }

    /// Judges each shard, and tells what began and what ended.
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    fn look_at_shards(
        &mut self,
        now: Instant,
    ) -> (Vec<(StreamId, rokini_lease::ShardId, StallCause, Duration)>, Vec<(LeaseKey, Duration, ShardValues)>)
    {
        let (after, quiet) = (self.engine.config.stall_after, self.quiet());
        let now_millis = self.engine.clock.millis();
        let lives = self.control.shards();
        let (mut stalled, mut values) = (Vec::new(), Vec::new());
        let mut shards = std::mem::take(&mut self.shards);
        for live in lives.values() {
            live.settle();
            let context = &live.context;
            let key = LeaseKey::new(context.stream().clone(), context.shard_id().clone());
            let lag = live.lag(now_millis, quiet);
            let mut memory = shards.remove(&key).unwrap_or_default();
            let lag_before = memory.lag_before(now, lag);
            let cause = stall::judge(&live.facts(lag, lag_before), after, quiet);
            self.turn(&key, &mut memory, cause, lag, now);
            if let Some((cause, since)) = memory.stalled {
                let lasting = now.duration_since(since) + after;
                stalled.push((key.stream.clone(), key.shard.clone(), cause, lasting));
            }
            let behind = live.behind().map(|millis| Duration::from_millis(millis).as_secs_f64());
            let retention = self.engine.streams.get(&key.stream).map(|stream| stream.retention());
            let until_loss = retention.map(|retention| retention.saturating_sub(lag).as_secs_f64());
            let shown = ShardValues {
                lag: lag.as_secs_f64(),
                behind,
                until_loss,
                stalled: if cause.is_some() { 1.0 } else { 0.0 },
            };
            values.push((key.clone(), lag, shown));
            self.shards.insert(key, memory);
        }
        (stalled, values)
    }

    fn turn(
        &self,
        key: &LeaseKey,
        memory: &mut Memory,
        cause: Option<StallCause>,
        lag: Duration,
        now: Instant,
    ) {
        let (stream, shard) = (key.stream.clone(), key.shard.clone());
        match (memory.stalled, cause) {
            (None, Some(cause)) => {
                memory.stalled = Some((cause, now));
                self.engine.events.tell(Event::ShardStalled { stream, shard, cause, lag });
            }
            // One stall, whatever its causes.
            (Some((_, since)), Some(cause)) => memory.stalled = Some((cause, since)),
            (Some((cause, since)), None) => {
                memory.stalled = None;
                let lasted = now.duration_since(since);
                self.engine.events.tell(Event::ShardRecovered { stream, shard, cause, lasted });
            }
            (None, None) => {}
        }
    }
}
