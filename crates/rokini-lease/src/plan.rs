//! Who should hold what: a deterministic, sticky, pure function of workers and leases.
//!
//! Every worker computes the same plan from the same listing and carries out only the moves towards itself, so
//! there is no leader whose death matters.

use std::collections::HashSet;

use crate::{LeaseKey, LeaseRow, Position, View, WorkerId};

mod even;
mod fleet;
#[cfg(test)]
mod tests;

use fleet::{At, Fleet};

/// How leases are spread over the workers that read their stream. Must be the same for all workers of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Every worker has as many leases as the others, give or take one. The default.
    #[default]
    Even,
}

/// A lease that is to go to another worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The lease.
    pub key: LeaseKey,
    /// The live worker that has it, or has claimed it; `None` where nobody has.
    pub from: Option<WorkerId>,
    /// The worker that should.
    pub to: WorkerId,
}

/// The moves that spread the active leases over the workers that take part.
///
/// A lease falls only to a worker that reads its stream and has fewer leases than its limit; where there is none,
/// it stays with nobody. No lease moves without need, and equal views give equal plans. Ended leases and leases
/// whose parents are not finished weigh nothing and go nowhere. Leases of a worker that is leaving are its own to
/// place and are left alone.
///
/// With [`Policy::Even`], of two workers that read the same streams one has at most one lease more than the
/// other afterwards.
#[must_use]
pub fn plan(view: &View, policy: &Policy) -> Vec<Move> {
    let fleet = Fleet::of(view);
    if fleet.workers.is_empty() {
        return Vec::new();
    }
    let wanted = match policy {
        Policy::Even => even::spread(&fleet),
    };
    let name = |worker: usize| fleet.workers[worker].id.clone();
    let moves = fleet.leases.iter().zip(wanted).filter_map(|(lease, to)| {
        let from = match lease.at {
            At::Nobody => None,
            At::Stray(worker) | At::Held { worker, .. } => Some(worker),
        };
        let to = to.filter(|to| from != Some(*to))?;
        Some(Move { key: lease.row.key.clone(), from: from.map(name), to: name(to) })
    });
    moves.collect()
}

/// The leases that can be worked on: not ended, and begun already or with every parent finished or unknown. A shard
/// past its first record waits for nobody, also where an operator lets its parent begin anew.
pub(crate) fn active(view: &View) -> impl Iterator<Item = &LeaseRow> {
    let unfinished: HashSet<(&str, &str)> = view
        .leases
        .iter()
        .filter(|lease| !lease.position.is_shard_end())
        .map(|lease| (lease.key.stream.as_str(), lease.key.shard.as_str()))
        .collect();
    view.leases.iter().filter(move |lease| {
        let stream = lease.key.stream.as_str();
        matches!(lease.position, Position::Sequence(..))
            || !lease.position.is_shard_end()
                && !lease.parents.iter().any(|parent| unfinished.contains(&(stream, parent.as_str())))
    })
}
