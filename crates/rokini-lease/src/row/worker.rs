//! The row of a worker, and what others leave in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::health_summary::HealthSummary;
use super::shard_health::ShardHealth;
use super::worker_trouble::WorkerTrouble;
use crate::process::ProcessIdentity;
use crate::text::{millis, optional_millis, serde_as_text};
use crate::types::{InvalidKey, LeaseKey, StreamId, WorkerId};

/// Whether a worker takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerState {
    /// Takes part, as long as its heartbeat counter moves.
    Alive,
    /// Stops: gets no more leases and hands over those it has.
    Leaving,
    /// Declared dead. A fenced incarnation never comes back.
    Fenced,
}

/// A short message left for a worker in its mailbox, read with its next heartbeat. Only a hint: a lost one
/// costs time until the next reconciliation, never safety.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WorkerNotification {
    /// Another worker has put its claim on this lease of yours.
    Claimed(LeaseKey),
    /// This lease was moved to you.
    Assigned(LeaseKey),
    /// The position or state of this lease of yours was changed by an operator.
    Changed(LeaseKey),
    /// The group was paused or resumed by an operator.
    GroupChanged,
    /// Give up all leases, and take no more.
    Drain,
}

impl WorkerNotification {
    /// The lease that is left to nobody if the worker ends before it acts on this: one that was moved to it, or one that an
    /// operator changed and of which nobody else is told.
    pub(crate) fn lease_entrusted(&self) -> Option<&LeaseKey> {
        match self {
            Self::Assigned(key) | Self::Changed(key) => Some(key),
            _ => None,
        }
    }
}

/// How much a worker carries, for those who place leases.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WorkerLoad {
    /// Active leases held.
    pub leases: u32,
}

/// The version of the rows that this release writes. Rows of version 1 have neither a report nor the value of a call; those
/// of version 2 say nothing of single shards; workers that write version 3 do not look for rows that went to another partition
/// key.
///
/// A version only adds attributes: a reader passes over those it does not know, and what it reads without them has
/// documented defaults. What is not needed at every look at the workers belongs into a row of another kind (a sort key
/// with a prefix of its own), which readers that do not know it pass over.
pub const ROW_FORMAT: u32 = 4;

/// By which rules a worker computes its plan. Its text form is `<policy>@<version>`.
///
/// Workers whose plans differ may disagree about who should have a lease for as long as they like: what nobody takes
/// is taken by the next in line after a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId {
    /// The name of the assignment policy.
    pub policy: String,
    /// The version of the algorithm, [`PLAN_VERSION`](crate::PLAN_VERSION) in this release.
    pub version: u32,
}

/// The plan of workers whose row does not say it: evenly, by the first version.
impl Default for PlanId {
    fn default() -> Self {
        Self { policy: "even".to_owned(), version: 1 }
    }
}

/// What a worker says of itself with every heartbeat, and the others judge it by.
///
/// The default is what a row of version 1 stands for: that release's default settings, and nothing known beyond.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
#[serde(default)]
#[non_exhaustive]
pub struct WorkerReport {
    /// The version of the row, [`ROW_FORMAT`] in this release.
    pub format: u32,
    /// The time until its next heartbeat, unless something happens. Default 1 s.
    #[serde(with = "millis")]
    pub interval: Duration,
    /// How long its counter must stand still before it may be declared dead: it stops using its leases before that. A
    /// watcher waits for the longer of this and its own. Default 10 s.
    #[serde(with = "millis")]
    pub failover: Duration,
    /// How it places leases.
    pub plan: PlanId,
    /// How long it has taken part, in whole seconds. `None` where the row does not say, see [`WorkerRow::age`].
    #[serde(with = "optional_millis")]
    pub age: Option<Duration>,
    /// The streams it cannot read at present: no lease of them falls to it.
    pub unable: BTreeSet<StreamId>,
    /// For each of its streams: whatever arrived in the shards it holds before this time is done, in milliseconds since
    /// the Unix epoch. What tells an idle shard, whose position is not stored again, from one that was not read.
    pub caught_up: BTreeMap<StreamId, u64>,
    /// The shards it holds that are behind or make no progress, the worst first. From version 3 of the row on, those that
    /// are neither here nor in `summaries` are well, as far as `untold` says.
    pub shards: Vec<ShardHealth>,
    /// How many more shards there is something to say of: a row has room for 8.
    pub untold: u32,
    /// These in short, as far as a row has room.
    pub summaries: Vec<HealthSummary>,
    /// What keeps it from doing its part, beside its shards: 2 at most.
    pub troubles: Vec<WorkerTrouble>,
}

impl WorkerReport {
    /// How long its counter may stand until it is called silent: two and a half of its intervals. `None` for a worker in
    /// reserve, which has nothing to fail over and is seldom heard.
    #[must_use]
    pub fn silent_after(&self) -> Option<Duration> {
        (self.interval <= self.failover).then(|| self.interval * 5 / 2)
    }

    /// What it says of a shard that it holds: `None` where it does not say it, `Some(None)` where the shard is well.
    #[must_use]
    pub fn of_shard(&self, key: &LeaseKey) -> Option<Option<ShardHealth>> {
        let told = self.shards.iter().find(|health| health.key == *key).cloned();
        if let Some(health) = told.or_else(|| self.summaries.iter().find_map(|summary| summary.of_shard(key)))
        {
            return Some(Some(health));
        }
        let summarized: usize = self.summaries.iter().map(|summary| summary.leases.len()).sum();
        (self.format >= 3 && self.untold as usize <= summarized).then_some(None)
    }
}

impl Default for WorkerReport {
    fn default() -> Self {
        Self {
            format: 1,
            interval: Duration::from_secs(1),
            failover: Duration::from_secs(10),
            plan: PlanId::default(),
            age: None,
            unable: BTreeSet::new(),
            caught_up: BTreeMap::new(),
            shards: Vec::new(),
            untold: 0,
            summaries: Vec::new(),
            troubles: Vec::new(),
        }
    }
}

/// The row of a worker incarnation.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WorkerRow {
    /// Who.
    pub id: WorkerId,
    /// Grows by one with every heartbeat.
    pub heartbeat: u64,
    /// The value of the call that wrote the last heartbeat, or the row: each call of the worker has its own, so that it
    /// knows which of its calls took effect, and that no other process beats in its name. 0 in rows of version 1.
    #[serde(default)]
    pub call: u64,
    /// Whether it takes part.
    pub state: WorkerState,
    /// What it carries.
    pub load: WorkerLoad,
    /// Notifications for it that it has not read yet.
    #[serde(default)]
    pub mailbox: BTreeSet<WorkerNotification>,
    /// The streams it reads; `None` for all of the group's. No lease of another stream falls to it.
    pub streams: Option<BTreeSet<StreamId>>,
    /// The most leases it takes; `None` for no limit.
    pub max_leases: Option<u32>,
    /// Where it runs, if known.
    pub process: Option<ProcessIdentity>,
    /// The version of the software, for people.
    pub version: String,
    /// What it says of itself with every heartbeat.
    #[serde(default)]
    pub report: WorkerReport,
}

impl WorkerRow {
    /// The row of a worker that joins.
    #[must_use]
    pub fn joining(id: WorkerId, process: Option<ProcessIdentity>) -> Self {
        Self {
            id,
            heartbeat: 0,
            call: 0,
            state: WorkerState::Alive,
            load: WorkerLoad::default(),
            mailbox: BTreeSet::new(),
            streams: None,
            max_leases: None,
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            report: WorkerReport { format: ROW_FORMAT, ..WorkerReport::default() },
        }
    }

    /// Whether it reads the stream, able to at present or not.
    #[must_use]
    pub fn subscribes(&self, stream: &StreamId) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.contains(stream))
    }

    /// Whether leases of this stream may fall to it: it reads the stream, and is able to.
    #[must_use]
    pub fn reads(&self, stream: &StreamId) -> bool {
        self.subscribes(stream) && !self.report.unable.contains(stream)
    }

    /// How long it has taken part, as far as its row tells: where it does not say so, as long as its heartbeats took at
    /// least.
    #[must_use]
    pub fn age(&self) -> Duration {
        let beats = u32::try_from(self.heartbeat).unwrap_or(u32::MAX);
        self.report.age.unwrap_or_else(|| self.report.interval.saturating_mul(beats))
    }
}

serde_as_text!(WorkerState, WorkerNotification, PlanId);

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Fenced => "fenced",
        })
    }
}

impl FromStr for WorkerState {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        match text {
            "alive" => Ok(Self::Alive),
            "leaving" => Ok(Self::Leaving),
            "fenced" => Ok(Self::Fenced),
            _ => Err(InvalidKey::new("a worker state", text)),
        }
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.policy, self.version)
    }
}

impl FromStr for PlanId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parse = || {
            let (policy, version) = text.rsplit_once('@')?;
            Some(Self { policy: policy.to_owned(), version: version.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidKey::new("a plan", text))
    }
}

impl fmt::Display for WorkerNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed(key) => write!(f, "claimed:{key}"),
            Self::Assigned(key) => write!(f, "given:{key}"),
            Self::Changed(key) => write!(f, "changed:{key}"),
            Self::GroupChanged => f.write_str("group"),
            Self::Drain => f.write_str("drain"),
        }
    }
}

impl FromStr for WorkerNotification {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("a notification", text);
        if text == "group" {
            return Ok(Self::GroupChanged);
        }
        if text == "drain" {
            return Ok(Self::Drain);
        }
        let (kind, key) = text.split_once(':').ok_or_else(invalid)?;
        let key = key.parse()?;
        match kind {
            "claimed" => Ok(Self::Claimed(key)),
            "given" => Ok(Self::Assigned(key)),
            "changed" => Ok(Self::Changed(key)),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a store that keeps rows as JSON has it from the release before.
    const OLD: &str = r#"{"id":"w#0000000000000001","heartbeat":7,"state":"leaving","load":{"leases":3},
        "mailbox":["given:s#1"],"streams":["s"],"max_leases":null,"process":null,"version":"0.1.0"}"#;

    #[test]
    fn l11_rows_of_the_first_version_are_read_with_its_defaults() {
        let row: WorkerRow = serde_json::from_str(OLD).unwrap();
        assert_eq!((row.call, &row.report), (0, &WorkerReport::default()));
        assert_eq!(row.report.failover, Duration::from_secs(10));
        assert_eq!(row.age(), Duration::from_secs(7), "as its heartbeats tell");
        assert!(row.reads(&StreamId::new("s").unwrap()));
        let again = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<WorkerRow>(&again).unwrap(), row);
    }

    #[test]
    fn plans_have_a_text_form() {
        let plan = PlanId { policy: "custom:a@b".to_owned(), version: 2 };
        assert_eq!(plan.to_string(), "custom:a@b@2");
        assert_eq!(plan.to_string().parse(), Ok(plan));
        assert!("even".parse::<PlanId>().is_err());
    }
}
