//! Who should hold what: a deterministic, sticky, pure function of workers and leases.
//!
//! Every worker computes the same plan from the same listing and carries out only the moves towards itself, so
//! there is no leader whose death matters.

mod custom;
mod even;
mod fleet;
mod policy;
mod takers;
#[cfg(test)]
mod tests;
mod weighted;

use std::collections::BTreeMap;

use fleet::{Placement, PlanInput};
pub(crate) use fleet::{active, died_young};
pub use policy::{AssignmentPolicy, CustomAssignment};
pub(crate) use takers::may_take;

use crate::row::GroupView;
use crate::types::{LeaseKey, WorkerId};

/// The version of the algorithm of this release: workers say it with their heartbeats
/// ([`PlanId`](crate::PlanId)). It grows whenever equal views give other plans than before.
pub const PLAN_VERSION: u32 = 3;

/// A lease that is to go to another worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move {
    /// The lease.
    pub key: LeaseKey,
    /// The live worker that has it, or has claimed it; `None` where nobody has.
    pub from: Option<WorkerId>,
    /// The worker that should.
    pub to: WorkerId,
}

impl Move {
    /// The lease goes from the one to the other.
    #[must_use]
    pub fn new(key: LeaseKey, from: Option<WorkerId>, to: WorkerId) -> Self {
        Self { key, from, to }
    }
}

/// The moves that spread the active leases over the workers that take part.
///
/// A lease falls only to a worker that reads its stream and has fewer leases than its limit; where there is none,
/// it stays with nobody. No lease moves without need, and equal views give equal plans. Ended leases and leases
/// whose parents are not finished weigh nothing and go nowhere. Leases of a worker that is leaving are its own to
/// place and are left alone.
///
/// A lease that an operator pinned to a worker ([`pins`]) goes there and stays, whatever the policy; it counts as one that the
/// worker has, so that others make up for it.
///
/// With [`AssignmentPolicy::Even`], of two workers that read the same streams one has at most one lease more than the
/// other afterwards.
///
/// What a policy of the user's own returns is used as far as it can be carried out: see [`AssignmentPolicy::custom`].
#[must_use]
pub fn plan(view: &GroupView, policy: &AssignmentPolicy) -> Vec<Move> {
    plan_or_refuse(view, policy).0
}

/// The leases that an operator keeps with a worker, by [`Operator::move_lease`](crate::Operator::move_lease), as far as that binds
/// anybody: the worker takes part, reads the stream and is able to, has no more of them than its limit, and every worker that
/// takes part knows of pins. A worker that starts anew is another one: pins end with the incarnation.
#[must_use]
pub fn pins(view: &GroupView) -> BTreeMap<LeaseKey, WorkerId> {
    let input = PlanInput::of(view);
    let pinned = input.leases.iter().filter_map(|lease| {
        let worker = &input.workers[lease.pin?].id;
        Some((lease.row.key.clone(), worker.clone()))
    });
    pinned.collect()
}

/// The plan, and why the result of the user's own policy was refused, if it was.
pub(crate) fn plan_or_refuse(view: &GroupView, policy: &AssignmentPolicy) -> (Vec<Move>, Option<String>) {
    let fleet = PlanInput::of(view);
    if fleet.workers.is_empty() {
        return (Vec::new(), None);
    }
    let (wanted, refused) = match policy {
        AssignmentPolicy::Even => (even::spread(&fleet), None),
        AssignmentPolicy::Throughput => (weighted::spread(&fleet), None),
        AssignmentPolicy::Custom(policy) => custom::spread(&fleet, view, policy),
    };
    // A cap is no reason to leave a lease with nobody.
    let wanted = match fleet.uncapped(&wanted) {
        Some(fleet) => even::place(&fleet),
        None => wanted,
    };
    let name = |worker: usize| fleet.workers[worker].id.clone();
    let moves = fleet.leases.iter().zip(wanted).filter_map(|(lease, to)| {
        let from = match lease.placement {
            Placement::Unassigned => None,
            Placement::Stray(worker) | Placement::Held { worker, .. } => Some(worker),
        };
        let to = to.filter(|to| from != Some(*to))?;
        Some(Move { key: lease.row.key.clone(), from: from.map(name), to: name(to) })
    });
    (moves.collect(), refused)
}
