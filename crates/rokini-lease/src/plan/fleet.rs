//! A view in numbers, for the arithmetic of plans.

use std::collections::{BTreeMap, HashSet};

use super::active;
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
    pub(super) at: At,
}

/// Where a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Nobody,
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
            let at = match (named(&row.claim).filter(reads), owner) {
                (Some(worker), owner) => At::Held { worker, pending: owner != Some(worker) },
                (None, Some(worker)) if reads(&worker) => At::Held { worker, pending: false },
                (None, Some(worker)) => At::Stray(worker),
                (None, None) if row.owner.as_ref().is_some_and(|id| leaving.contains(id)) => continue,
                (None, None) => At::Nobody,
            };
            fleet.leases.push(Lease { row, stream, at });
        }
        fleet
    }

    /// The most leases this worker takes.
    pub(super) fn limit(&self, worker: usize) -> usize {
        self.workers[worker].max_leases.map_or(usize::MAX, |limit| limit as usize)
    }
}
