//! The result of a run: what is measured, what was promised, and which promise broke.

#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::time::Duration;

use rokini_history::{Cause, Findings, Process};
use serde::Serialize;

use super::action::TAKEOVER_MARGIN;
use super::environment::Calls;
use super::format::{Count, Seconds, millis, shard_number};
use super::moves::{Move, MoveCause};

/// Until the first record is handled, from the start of the demo.
const FIRST_RECORD: Duration = Duration::from_secs(3);
/// Until a shard of a worker that stops cleanly is handled by another.
const STOP: Duration = Duration::from_secs(2);
/// What two calls that hang take with all their retries: with chaos they may come after a takeover.
const HANGING: Duration = Duration::from_secs(40);

/// What a run was like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) failover: Duration,
    /// Its seed, what was done, and the workers' calls to Kinesis and DynamoDB.
    pub(crate) chaos: Option<(u64, ChaosCounts, [Calls; 2])>,
    pub(crate) interrupted: bool,
}

/// What chaos did, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ChaosCounts {
    pub(crate) splits: u32,
    pub(crate) merges: u32,
    pub(crate) kills: u32,
    pub(crate) freezes: u32,
    /// Workers that were declared dead although they lived.
    pub(crate) fences: u32,
    /// Actions that could not be carried out: the host was too busy.
    pub(crate) failed: u32,
}

impl ChaosCounts {
    /// Shards that were closed.
    pub(crate) fn closed(&self) -> usize {
        self.splits as usize + 2 * self.merges as usize
    }
}

/// Chaos in the result.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ChaosReport {
    seed: u64,
    #[serde(flatten)]
    counts: ChaosCounts,
    kinesis: Calls,
    dynamodb: Calls,
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    produced: u64,
    processed: u64,
    lost: u64,
    /// After an interrupt: records that the workers had not come to yet.
    #[serde(skip_serializing_if = "is_zero")]
    unread: u64,
    duplicates: u64,
    /// Those of the duplicates that are due to a kill.
    duplicates_after_kill: u64,
    /// Those that are due to a worker that was declared dead while it was frozen.
    duplicates_after_fence: u64,
    /// Those that are due to neither.
    duplicates_unexplained: u64,
    order_violations: u64,
    first_record_ms: Option<u64>,
    #[serde(rename = "longest_wait_ms", serialize_with = "millis")]
    longest_wait: Duration,
    moves: Vec<MoveLine>,
    #[serde(rename = "failover_ms", serialize_with = "millis")]
    failover: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    chaos: Option<ChaosReport>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interrupted: bool,
    /// The promises that broke.
    broken: Vec<String>,
    /// Where, when and by which worker; the first ones only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    pub(crate) ok: bool,
}

/// A shard that went to another worker.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MoveLine {
    shard: String,
    cause: MoveCause,
    from: String,
    to: String,
    #[serde(rename = "at_ms", serialize_with = "millis")]
    at: Duration,
    #[serde(rename = "silence_ms", serialize_with = "millis")]
    silence: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl MoveLine {
    pub(crate) fn new<'a>(moved: &Move, name: &impl Fn(Process) -> &'a str) -> Self {
        Self {
            shard: moved.shard.to_string(),
            cause: moved.cause,
            from: name(moved.from).to_owned(),
            to: name(moved.to).to_owned(),
            at: moved.at,
            silence: moved.silence,
        }
    }
}

impl fmt::Display for MoveLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, from, to, .. } = self;
        let (shard, silence) = (shard_number(shard), Seconds(self.silence));
        write!(f, "Shard {shard} went from {from} to {to} and was silent for {silence}")
    }
}

impl Report {
    /// Holds what was found against what is promised. `failures` are promises that broke elsewhere.
    pub(crate) fn new<'a>(
        findings: &Findings,
        moves: &[Move],
        name: &impl Fn(Process) -> &'a str,
        run: &Run,
        failures: Vec<String>,
    ) -> Self {
        let &Run { failover, chaos, interrupted } = run;
        let lost = if interrupted { findings.passed_over } else { findings.waiting };
        let caused_by = |cause| findings.causes.get(&cause).copied().unwrap_or_default();
        let first = findings.first_delivery;
        let mut report = Self {
            produced: findings.put,
            processed: findings.handled,
            lost,
            unread: findings.waiting - lost,
            duplicates: findings.repeated,
            duplicates_after_kill: caused_by(Cause::Crash),
            duplicates_after_fence: caused_by(Cause::Fence),
            duplicates_unexplained: findings.unexplained,
            order_violations: findings.out_of_order,
            first_record_ms: first.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
            longest_wait: findings.longest_wait,
            moves: moves.iter().map(|moved| MoveLine::new(moved, name)).collect(),
            failover,
            chaos: chaos.map(|(seed, counts, [kinesis, dynamodb])| ChaosReport {
                seed,
                counts,
                kinesis,
                dynamodb,
            }),
            interrupted,
            broken: failures,
            details: Vec::new(),
            ok: false,
        };
        report.check(findings);
        report.ok = report.broken.is_empty();
        if !report.ok {
            let name = |process: Process| format!("{} (process {})", name(process), process.0 + 1);
            let violations = findings.violations(report.longest_wait_limit(), &name);
            report.details = violations.into_iter().map(|violation| format!("{}.", violation.what)).collect();
        }
        report
    }

    fn check(&mut self, findings: &Findings) {
        let mut broken = Vec::new();
        let mut promise = |kept: bool, text: &dyn Fn() -> String| {
            if !kept {
                broken.push(text());
            }
        };
        promise(self.lost == 0, &|| format!("{} lost.", were(self.lost)));
        promise(self.order_violations == 0, &|| {
            format!("{} handled after a later one of the same key.", were(self.order_violations))
        });
        promise(self.duplicates_unexplained == 0, &|| {
            format!("{} handled twice without a reason.", were(self.duplicates_unexplained))
        });
        promise(findings.unknown == 0, &|| {
            format!("{} handled although the demo did not put them.", were(findings.unknown))
        });
        match findings.first_delivery {
            Some(at) => promise(at <= FIRST_RECORD || self.chaos.is_some(), &|| {
                let (at, limit) = (Seconds(at), Seconds(FIRST_RECORD));
                format!("The first record was handled after {at}, not within {limit}.")
            }),
            None => promise(self.interrupted, &|| "No record was handled.".to_owned()),
        }
        // Whatever happens to workers and shards: a shard that no worker has is a broken promise too.
        let limit = self.longest_wait_limit();
        promise(self.longest_wait <= limit, &|| {
            let (wait, limit) = (Seconds(self.longest_wait), Seconds(limit));
            format!("A record waited {wait} for its handler, which is more than {limit}.")
        });
        for moved in &self.moves {
            let Some(limit) = self.silence_limit(moved.cause) else { continue };
            promise(moved.silence <= limit, &|| format!("{moved}, which is more than {}.", Seconds(limit)));
        }
        self.broken.append(&mut broken);
    }

    fn longest_wait_limit(&self) -> Duration {
        self.failover + TAKEOVER_MARGIN + if self.chaos.is_some() { HANGING } else { Duration::ZERO }
    }

    /// The longest silence that is promised. With chaos calls fail too, and only the waits are checked. A shard that
    /// moves between two live workers is not checked here.
    fn silence_limit(&self, cause: MoveCause) -> Option<Duration> {
        match cause {
            _ if self.chaos.is_some() => None,
            MoveCause::Stop => Some(STOP),
            MoveCause::Kill => Some(self.failover + TAKEOVER_MARGIN),
            MoveCause::Freeze | MoveCause::Balance => None,
        }
    }
}

/// "1 record was", "2 records were".
fn were(records: u64) -> String {
    if records == 1 { "1 record was".to_owned() } else { format!("{} records were", Count(records)) }
}
