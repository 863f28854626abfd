//! How a worker takes part in its group.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::{AssignmentPolicy, PLAN_VERSION};
use crate::process::ProcessIdentity;
use crate::row::{PlanId, ROW_FORMAT, WorkerReport};
use crate::types::StreamId;

/// How a worker takes part in its group.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemberConfig {
    /// Time between heartbeats, and between listings of the workers. Default 1 s. One write and one small read each.
    pub heartbeat: Duration,
    /// How long a worker must be silent before the others take its leases. Default 10 s. A worker stops using
    /// its leases after three quarters of it without a heartbeat of its own.
    pub failover: Duration,
    /// Time between full listings in a quiet fleet, which mend whatever hints were lost. Default 30 s. Longer, up to
    /// 10 minutes, where workers times leases exceed 150,000: the group's listings then read 250 units a second.
    pub reconcile: Duration,
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
            heartbeat: Duration::from_secs(1),
            failover: Duration::from_secs(10),
            reconcile: Duration::from_secs(30),
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
        if self.heartbeat.is_zero() || self.heartbeat * 3 > self.validity() {
            return Err(format!(
                "three heartbeats must fit into three quarters of the failover time: heartbeat={:?} \
                 failover={:?}; lower the heartbeat to {:?} or raise the failover time to {:?}",
                self.heartbeat,
                self.failover,
                self.validity() / 3,
                self.heartbeat * 4,
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
