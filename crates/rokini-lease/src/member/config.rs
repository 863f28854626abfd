//! How a worker takes part in its group.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::pace::{LOOK, Pace, heartbeat_of};
use crate::plan::{AssignmentPolicy, PLAN_VERSION};
use crate::process::ProcessIdentity;
use crate::row::{PlanId, ROW_FORMAT, WorkerReport};
use crate::types::StreamId;

/// How a worker takes part in its group.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemberConfig {
    /// Time between heartbeats: one write each. Default 4 s, which is the longest that fits the failover time of 10 s: two
    /// fifths of it. Between them a worker looks at its own row and those of others, every 1.5 s or with every heartbeat:
    /// one small read each. A worker without leases sends heartbeats rarely, every 12 failover times.
    pub heartbeat: Duration,
    /// How long a worker must be silent before the others take its leases. Default 10 s. A worker stops using
    /// its leases after three quarters of it without a heartbeat of its own.
    pub failover: Duration,
    /// Least time between two full listings by one worker of a quiet fleet, which mend whatever was left undone. Default
    /// 30 s. Longer in a fleet of more than 15 workers: one of them lists about every 2 s.
    pub reconcile: Duration,
    /// The longest time between two looks, which are what a hand-over waits for: half a read unit each. Default 1.5 s, and
    /// never more than `heartbeat`.
    pub look: Duration,
    /// How leases are spread. Default: evenly. While the workers of a group differ in it, all of
    /// them spread evenly.
    pub policy: AssignmentPolicy,
    /// The most leases this worker takes. Default: no limit.
    pub max_leases: Option<u32>,
    /// The streams this worker reads at first, see [`Member::set_streams`](crate::Member::set_streams). Default: all of the group's.
    pub streams: Option<BTreeSet<StreamId>>,
    /// Promises that no two live processes ever use one worker name (a `StatefulSet`, for example). A restart
    /// then takes over from its predecessor after two silent heartbeats instead of the failover time. Default
    /// off.
    pub unique_worker_names: bool,
    /// Where this process runs; lets a restart on the same host prove that its predecessor is gone. Default:
    /// as the system tells.
    pub process: Option<ProcessIdentity>,
}

impl Default for MemberConfig {
    fn default() -> Self {
        Self {
            heartbeat: heartbeat_of(Duration::from_secs(10)),
            failover: Duration::from_secs(10),
            reconcile: Duration::from_secs(30),
            look: LOOK,
            policy: AssignmentPolicy::default(),
            max_leases: None,
            streams: None,
            unique_worker_names: false,
            process: ProcessIdentity::current(),
        }
    }
}

impl MemberConfig {
    /// How long after the start of a successful heartbeat the worker may use its leases: three quarters of the
    /// failover time. The last quarter is the margin for clocks that run at different speeds and for handler
    /// calls that have begun.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.failover * 3 / 4
    }

    /// How often it does what.
    pub(super) fn pace(&self) -> Pace {
        Pace {
            heartbeat: self.heartbeat,
            failover: self.failover,
            reconcile: self.reconcile,
            look: self.look,
        }
    }

    /// What the worker says of these settings on its row.
    pub(super) fn report(&self) -> WorkerReport {
        WorkerReport {
            format: ROW_FORMAT,
            interval: self.heartbeat,
            failover: self.failover,
            plan: PlanId { policy: self.policy.name(), version: PLAN_VERSION },
            age: Some(Duration::ZERO),
            ..WorkerReport::default()
        }
    }

    /// What contradicts itself, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        let slowest = self.pace().slowest_heartbeat();
        if self.heartbeat.is_zero() || self.heartbeat > slowest {
            return Err(format!(
                "two heartbeats and a half must fit into the failover time: heartbeat={:?} failover={:?}; lower the \
                 heartbeat to {:?} or raise the failover time to {:?}",
                self.heartbeat,
                self.failover,
                slowest,
                self.heartbeat * 5 / 2,
            ));
        }
        if self.reconcile < self.heartbeat {
            return Err(format!(
                "the reconcile interval is below the heartbeat: reconcile={:?} heartbeat={:?}",
                self.reconcile, self.heartbeat
            ));
        }
        Ok(())
    }
}
