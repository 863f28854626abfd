//! A view in numbers, for the arithmetic of plans.

use std::collections::{BTreeMap, HashSet};

use crate::position::Position;
use crate::row::{GroupView, LeaseRow, WorkerRow, WorkerState};
use crate::types::{StreamId, WorkerId};

/// The workers that take part and the leases that are to be spread over them.
#[derive(Clone)]
pub(super) struct Fleet<'a> {
    pub(super) workers: Vec<&'a WorkerRow>,
    pub(super) leases: Vec<Lease<'a>>,
    /// For each stream the workers that read it.
    pub(super) readers: Vec<Vec<usize>>,
}

#[derive(Clone)]
pub(super) struct Lease<'a> {
    pub(super) row: &'a LeaseRow,
    pub(super) stream: usize,
    pub(super) placement: Placement,
}

/// Which worker has a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    Unassigned,
    /// With a worker that does not read its stream any more.
    Stray(usize),
    /// With this worker, or `pending`: on its way there.
    Held {
        worker: usize,
        pending: bool,
    },
}

impl<'a> Fleet<'a> {
    pub(super) fn of(view: &'a GroupView) -> Self {
        let workers: Vec<&WorkerRow> =
            view.workers.iter().filter(|row| row.state == WorkerState::Alive).collect();
        let index: BTreeMap<&WorkerId, usize> =
            workers.iter().enumerate().map(|(n, row)| (&row.id, n)).collect();
        let leaving: HashSet<&WorkerId> =
            view.workers.iter().filter(|row| row.state == WorkerState::Leaving).map(|row| &row.id).collect();

        let mut fleet = Self { workers, leases: Vec::new(), readers: Vec::new() };
        let mut streams: BTreeMap<&StreamId, usize> = BTreeMap::new();
        for row in active(view) {
            let stream = *streams.entry(&row.key.stream).or_insert_with(|| {
                let reading = |n: &usize| fleet.workers[*n].reads(&row.key.stream);
                fleet.readers.push((0..fleet.workers.len()).filter(reading).collect());
                fleet.readers.len() - 1
            });
            let reads = |n: &usize| fleet.workers[*n].reads(&row.key.stream);
            let named = |id: &Option<WorkerId>| id.as_ref().and_then(|id| index.get(id)).copied();
            let owner = named(&row.owner);
            // A claim of the dead binds nobody, nor does one of a worker that does not read the stream any more.
            let placement = match (named(&row.claim).filter(reads), owner) {
                (Some(worker), owner) => Placement::Held { worker, pending: owner != Some(worker) },
                (None, Some(worker)) if reads(&worker) => Placement::Held { worker, pending: false },
                (None, Some(worker)) => Placement::Stray(worker),
                (None, None) if row.owner.as_ref().is_some_and(|id| leaving.contains(id)) => continue,
                (None, None) => Placement::Unassigned,
            };
            fleet.leases.push(Lease { row, stream, placement });
        }
        fleet
    }

    /// The most leases this worker takes.
    pub(super) fn limit(&self, worker: usize) -> usize {
        self.workers[worker].max_leases.map_or(usize::MAX, |limit| limit as usize)
    }
}

/// The leases that can be worked on: not ended, and begun already or with every parent finished or unknown. A shard
/// past its first record waits for nobody, also where an operator lets its parent begin anew.
pub(crate) fn active(view: &GroupView) -> impl Iterator<Item = &LeaseRow> {
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
