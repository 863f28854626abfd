//! What a policy of the user's own says, as far as it can be carried out.

use std::collections::BTreeMap;

use super::even;
use super::fleet::{Placement, PlanInput};
use super::policy::CustomAssignment;
use crate::row::GroupView;
use crate::types::{LeaseKey, WorkerId};

/// The worker for each lease, and why the policy's result was refused, if it was.
pub(super) fn spread(
    fleet: &PlanInput<'_>,
    view: &GroupView,
    policy: &CustomAssignment,
) -> (Vec<Option<usize>>, Option<String>) {
    let result = match policy.assign(view) {
        Some(wanted) => assigned(fleet, &wanted),
        None => Err("it panicked".to_owned()),
    };
    match result {
        Ok(wanted) => (even::place(&wanted), None),
        Err(problem) => (even::place(fleet), Some(format!("policy `{}`: {problem}", policy.name()))),
    }
}

/// The fleet as if every named lease were where it should be.
fn assigned<'a>(
    fleet: &PlanInput<'a>,
    wanted: &BTreeMap<LeaseKey, WorkerId>,
) -> Result<PlanInput<'a>, String> {
    let index: BTreeMap<&WorkerId, usize> =
        fleet.workers.iter().enumerate().map(|(n, row)| (&row.id, n)).collect();
    let mut result = fleet.clone();
    for lease in &mut result.leases {
        let key = &lease.row.key;
        let Some(id) = wanted.get(key) else { continue };
        let Some(&worker) = index.get(id) else {
            return Err(format!("it gives `{key}` to `{id}`, which does not take part"));
        };
        if !fleet.readers[lease.stream].contains(&worker) {
            return Err(format!("it gives `{key}` to `{id}`, which does not read the stream"));
        }
        lease.placement = Placement::Held { worker, pending: false };
    }
    let named = |worker: usize| {
        let is = |id: &WorkerId| *id == fleet.workers[worker].id;
        result.leases.iter().filter(|lease| wanted.get(&lease.row.key).is_some_and(is)).count()
    };
    let beyond = (0..fleet.workers.len()).find(|worker| named(*worker) > fleet.limit(*worker));
    match beyond {
        None => Ok(result),
        Some(worker) => {
            let (id, limit) = (&fleet.workers[worker].id, fleet.limit(worker));
            Err(format!("it gives {} leases to `{id}`, which takes {limit} at most", named(worker)))
        }
    }
}
