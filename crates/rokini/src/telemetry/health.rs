//! Whether a worker is to be restarted, and whether it does its part.

use std::time::Duration;

use rokini_lease::{LeaseKey, ShardId, StreamId, WorkerTrouble};

use crate::types::phase::ConsumerPhase;
use crate::types::stall::StallCause;

/// How a worker stands, for probes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether a restart would do no good. `/healthz` answers 503 where this is `false`.
    pub live: bool,
    /// Whether the worker does its part. `/readyz` answers 503 where this is `false`.
    pub ready: bool,
    /// What is wrong.
    pub reasons: Vec<HealthReason>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReason {
    /// A stable code.
    pub code: &'static str,
    /// What it is, for people.
    pub message: String,
    /// Whether a restart would help.
    pub restart: bool,
    /// The shard, where it is about one.
    pub shard: Option<(StreamId, ShardId)>,
    /// Why a shard makes no progress.
    pub cause: Option<StallCause>,
}

/// What is judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HealthFacts {
    pub(crate) phase: ConsumerPhase,
    /// How long ago the worker was sampled last.
    pub(crate) unseen: Duration,
    pub(crate) valid: bool,
    pub(crate) heartbeat_age: Option<Duration>,
    /// Why the last heartbeat failed.
    pub(crate) heartbeat_error: Option<String>,
    /// What does not get on in coordination.
    pub(crate) stalled_coordination: Option<String>,
    pub(crate) stalled: Vec<StalledShard>,
    /// Leases that this worker has held for longer than [`TASK_LATE`] without working on their shards.
    pub(crate) idle_leases: usize,
    /// By stream, where there are some.
    pub(crate) holes: Vec<(StreamId, usize)>,
}

impl Default for HealthFacts {
    /// Of a consumer that does not run yet.
    fn default() -> Self {
        Self {
            phase: ConsumerPhase::Created,
            unseen: Duration::ZERO,
            valid: false,
            heartbeat_age: None,
            heartbeat_error: None,
            stalled_coordination: None,
            stalled: Vec::new(),
            idle_leases: 0,
            holes: Vec::new(),
        }
    }
}

/// A shard that makes no progress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StalledShard {
    pub(crate) key: LeaseKey,
    pub(crate) cause: StallCause,
    pub(crate) lasting: Duration,
    /// What failed last, and how long ago.
    pub(crate) error: Option<(String, Duration)>,
}

/// Samples are taken once a second. Late by this much, the runtime is blocked.
pub(crate) const UNSEEN: Duration = Duration::from_secs(10);
/// How long a lease may be held without a task for its shard: at each reconciliation (30 s) that is mended.
pub(crate) const TASK_LATE: Duration = Duration::from_secs(90);

/// Told of a worker whose heartbeats arrive, it is over.
const NO_HEARTBEAT: &str = "no-heartbeat";

impl HealthReason {
    /// What to do about the reason of this code, for people: a sentence without a full stop, with `GROUP` and `WORKER` in place of
    /// their names. A shard that makes no progress has [`StallCause::next_step`].
    #[must_use]
    pub fn next_step(code: &str) -> &'static str {
        match code {
            "no-heartbeat" | "coordination-stalled" => {
                "see whether the table throttles or refuses that worker (its capacity, dynamodb:Query and dynamodb:UpdateItem), and \
                 whether it can reach it: `rokini doctor` run beside it tries each call"
            }
            "idle-leases" => "restart WORKER",
            "hash-range-hole" => {
                "`rokini group audit GROUP` says what is not covered; a running worker mends it"
            }
            _ => "the log of WORKER says more",
        }
    }
}

impl Health {
    /// What others are to know of the worker beside its shards: what keeps it from doing its part while it is heard.
    pub(crate) fn troubles(&self, phase: ConsumerPhase) -> Vec<WorkerTrouble> {
        let is_told = |reason: &&HealthReason| reason.shard.is_none() && reason.code != NO_HEARTBEAT;
        let troubles = self.reasons.iter().filter(is_told);
        match phase {
            ConsumerPhase::Running => {
                troubles.map(|reason| WorkerTrouble::new(reason.code, &reason.message)).collect()
            }
            // That it starts or stops, its row says.
            _ => Vec::new(),
        }
    }

    pub(crate) fn judge(facts: &HealthFacts) -> Self {
        let mut reasons = Vec::new();
        let mut because = |code, restart, stalled: Option<&StalledShard>, message: String| {
            let shard = stalled.map(|stalled| (stalled.key.stream.clone(), stalled.key.shard.clone()));
            let cause = stalled.map(|stalled| stalled.cause);
            reasons.push(HealthReason { code, message, restart, shard, cause });
        };
        match facts.phase {
            ConsumerPhase::Created => {
                because("not-started", false, None, "the consumer does not run yet".to_owned());
            }
            ConsumerPhase::Starting => {
                because("starting", false, None, "the consumer has not joined its group yet".to_owned());
            }
            ConsumerPhase::Running => {}
            ConsumerPhase::Stopping => because("stopping", false, None, "the consumer stops".to_owned()),
            ConsumerPhase::Stopped => because("stopped", true, None, "the consumer has stopped".to_owned()),
        }
        if facts.unseen > UNSEEN {
            let message =
                format!("nothing ran in this process for {:?}: is the runtime blocked?", facts.unseen);
            because("blocked", true, None, message);
        }
        if facts.phase == ConsumerPhase::Running && !facts.valid {
            let age = facts
                .heartbeat_age
                .map_or_else(String::new, |age| format!(" for {:.1} s", age.as_secs_f64()));
            let error = facts.heartbeat_error.as_ref().map_or_else(String::new, |error| format!("; {error}"));
            let message = format!("heartbeats have not arrived{age}: handlers pause{error}");
            because(NO_HEARTBEAT, false, None, message);
        }
        if let Some(message) = &facts.stalled_coordination {
            because("coordination-stalled", false, None, message.clone());
        }
        for shard in &facts.stalled {
            let error = shard.error.as_ref().map(|(error, age)| (error.as_str(), *age));
            let message = shard.cause.sentence(shard.lasting, error);
            because("shard-stalled", false, Some(shard), message);
        }
        if facts.idle_leases > 0 {
            let message = format!("{} leases are held and their shards not worked on", facts.idle_leases);
            because("idle-leases", true, None, message);
        }
        for (stream, holes) in &facts.holes {
            let message = format!("no lease covers {holes} parts of the hash range of stream {stream}");
            because("hash-range-hole", false, None, message);
        }
        let live = reasons.iter().all(|reason| !reason.restart);
        Self { live, ready: reasons.is_empty(), reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> HealthFacts {
        HealthFacts {
            phase: ConsumerPhase::Running,
            unseen: Duration::from_secs(1),
            valid: true,
            heartbeat_age: Some(Duration::from_secs(1)),
            heartbeat_error: None,
            stalled_coordination: None,
            stalled: Vec::new(),
            idle_leases: 0,
            holes: Vec::new(),
        }
    }

    #[test]
    fn o12_others_are_told_what_readiness_goes_by() {
        let stalled = StalledShard {
            key: "s@1#a".parse().unwrap(),
            cause: StallCause::Handler,
            lasting: Duration::from_secs(12),
            error: None,
        };
        let mut facts = HealthFacts { stalled: vec![stalled], valid: false, ..facts() };
        facts.stalled_coordination =
            Some("the worker rows have not been read for 12 s: throttled".to_owned());
        facts.idle_leases = 2;
        let told = |facts: &HealthFacts| Health::judge(facts).troubles(facts.phase);
        let codes: Vec<String> = told(&facts).into_iter().map(|trouble| trouble.code).collect();
        assert_eq!(codes, ["coordination-stalled", "idle-leases"], "of shards their own reports tell");
        assert!(told(&facts)[0].message.contains("throttled"));
        facts.phase = ConsumerPhase::Stopping;
        assert_eq!(told(&facts), []);
    }

    #[test]
    fn o7_liveness_and_readiness_follow_what_the_worker_does() {
        let stream = StreamId::new("orders@1").unwrap();
        let shard = ShardId::new("shardId-000000000000").unwrap();
        let key = LeaseKey::new(stream.clone(), shard);
        let lasting = Duration::from_secs(9);
        let stalled = vec![StalledShard { key, cause: StallCause::Handler, lasting, error: None }];
        for (facts, live, ready, code) in [
            (facts(), true, true, ""),
            (HealthFacts { phase: ConsumerPhase::Starting, ..facts() }, true, false, "starting"),
            (HealthFacts { phase: ConsumerPhase::Stopping, ..facts() }, true, false, "stopping"),
            (HealthFacts { phase: ConsumerPhase::Stopped, ..facts() }, false, false, "stopped"),
            (HealthFacts { unseen: Duration::from_secs(11), ..facts() }, false, false, "blocked"),
            (
                HealthFacts { stalled_coordination: Some("no look".to_owned()), ..facts() },
                true,
                false,
                "coordination-stalled",
            ),
            // A store outage: a restart would not end it.
            (HealthFacts { valid: false, ..facts() }, true, false, "no-heartbeat"),
            // c6: a handler may block for an hour.
            (HealthFacts { stalled, ..facts() }, true, false, "shard-stalled"),
            (HealthFacts { idle_leases: 1, ..facts() }, false, false, "idle-leases"),
            (HealthFacts { holes: vec![(stream, 2)], ..facts() }, true, false, "hash-range-hole"),
        ] {
            let health = Health::judge(&facts);
            assert_eq!((health.live, health.ready), (live, ready), "{facts:?}");
            assert_eq!(health.reasons.first().map_or("", |reason| reason.code), code);
        }
    }
}
