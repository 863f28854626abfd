//! A view in numbers, for the arithmetic of plans.

use std::collections::{BTreeMap, HashSet};

use crate::position::Position;
use crate::row::{GroupView, LeaseRow, OperatorOrder, OrderKind, WorkerRow, WorkerState};
use crate::types::{StreamId, WorkerId};

/// The first version of the plan that keeps leases where an operator wants them.
const FIRST_WITH_PINS: u32 = 3;

/// The workers that take part and the leases that are to be spread over them.
#[derive(Clone)]
pub(super) struct PlanInput<'a> {
    pub(super) workers: Vec<&'a WorkerRow>,
    pub(super) leases: Vec<Lease<'a>>,
    /// For each stream the workers that read it.
    pub(super) readers: Vec<Vec<usize>>,
    /// The most leases a newcomer may have where workers die young.
    caps: Vec<usize>,
}

#[derive(Clone)]
pub(super) struct Lease<'a> {
    pub(super) row: &'a LeaseRow,
    pub(super) stream: usize,
    pub(super) placement: Placement,
    /// The worker that an operator wants to have it.
    pub(super) pin: Option<usize>,
    /// An operator brought it where it is, lately: others go before it, or taking a move back would come to nothing.
    pub(super) placed: bool,
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

impl<'a> PlanInput<'a> {
    pub(super) fn of(view: &'a GroupView) -> Self {
        let workers: Vec<&WorkerRow> =
            view.workers.iter().filter(|row| row.state == WorkerState::Alive).collect();
        let index: BTreeMap<&WorkerId, usize> =
            workers.iter().enumerate().map(|(n, row)| (&row.id, n)).collect();
        let leaving = view.workers.iter().filter(|row| row.state == WorkerState::Leaving).map(|row| &row.id);
        // What they have is theirs to place, or nobody can tell whether they live.
        let left_alone: HashSet<&WorkerId> = leaving.chain(view.unreadable_workers()).collect();
        let is_left_alone = |id: &Option<WorkerId>| id.as_ref().is_some_and(|id| left_alone.contains(id));

        let moves: Vec<&OperatorOrder> =
            view.group.orders.iter().filter(|order| order.kind == OrderKind::Move).collect();
        let caps = caps(view, &workers);
        let mut fleet = Self { workers, leases: Vec::new(), readers: Vec::new(), caps };
        let mut streams: BTreeMap<&StreamId, usize> = BTreeMap::new();
        for row in active(view) {
            let stream = *streams.entry(&row.key.stream).or_insert_with(|| {
                fleet.readers.push(readers(&fleet.workers, &row.key.stream));
                fleet.readers.len() - 1
            });
            let reads = |n: &usize| fleet.readers[stream].binary_search(n).is_ok();
            let named = |id: &Option<WorkerId>| id.as_ref().and_then(|id| index.get(id)).copied();
            let owner = named(&row.owner);
            // A claim of the dead binds nobody, nor does one of a worker that does not read the stream any more.
            let placement = match (named(&row.claim).filter(reads), owner) {
                (Some(worker), owner) => Placement::Held { worker, pending: owner != Some(worker) },
                (None, Some(worker)) if reads(&worker) => Placement::Held { worker, pending: false },
                (None, Some(worker)) => Placement::Stray(worker),
                (None, None) if is_left_alone(&row.owner) => continue,
                (None, None) => Placement::Unassigned,
            };
            let pin = named(&row.pin).filter(reads);
            let placed = moves.iter().any(|order| order.leases.contains(&row.key));
            fleet.leases.push(Lease { row, stream, placement, pin, placed });
        }
        fleet.keep_what_binds();
        fleet
    }

    /// Takes away the pins that bind nobody: all of them as long as a worker takes part that does not know of them, as it would
    /// move back whatever the others keep; and of each worker's those beyond its limit.
    fn keep_what_binds(&mut self) {
        let all_know = self.workers.iter().all(|row| row.report.plan.version >= FIRST_WITH_PINS);
        let mut pinned = vec![0; self.workers.len()];
        for lease in &mut self.leases {
            lease.pin = lease.pin.filter(|worker| {
                let limit = self.workers[*worker].max_leases;
                all_know && limit.is_none_or(|limit| pinned[*worker] < limit)
            });
            lease.pin.into_iter().for_each(|worker| pinned[worker] += 1);
            lease.placed &= all_know;
        }
    }

    /// The most leases this worker takes.
    pub(super) fn limit(&self, worker: usize) -> usize {
        let limit = self.workers[worker].max_leases.map_or(usize::MAX, |limit| limit as usize);
        limit.min(self.caps[worker])
    }

    /// The same without the caps of newcomers, and every lease where a plan has put it: `None` where it found no place.
    pub(super) fn uncapped(&self, placed: &[Option<usize>]) -> Option<Self> {
        let capped = self.caps.iter().any(|cap| *cap < usize::MAX);
        if !capped || placed.iter().all(Option::is_some) {
            return None;
        }
        let mut fleet = Self { caps: vec![usize::MAX; self.caps.len()], ..self.clone() };
        for (lease, worker) in fleet.leases.iter_mut().zip(placed) {
            lease.placement = match worker {
                Some(worker) => Placement::Held { worker: *worker, pending: false },
                None => Placement::Unassigned,
            };
        }
        Some(fleet)
    }
}

/// The workers that read a stream and are able to. Where none of them is able, all of them: they go on trying.
fn readers(workers: &[&WorkerRow], stream: &StreamId) -> Vec<usize> {
    let all = || (0..workers.len()).filter(|n| workers[*n].subscribes(stream));
    let able: Vec<usize> = all().filter(|n| workers[*n].reads(stream)).collect();
    if able.is_empty() { all().collect() } else { able }
}

/// So many failover times after its start a worker is trusted like any other.
const TRUSTED_AFTER: u32 = 6;

fn is_young(row: &WorkerRow) -> bool {
    row.age() < row.report.failover.saturating_mul(TRUSTED_AFTER)
}

/// Whether the worker was declared dead before it was trusted.
pub(crate) fn died_young(row: &WorkerRow) -> bool {
    row.state == WorkerState::Fenced && is_young(row)
}

/// Where workers die young, newcomers get little until they have lived for a while: one lease at first, twice as many
/// after each failover time, in which the leases of one that died would have been with nobody.
fn caps(view: &GroupView, workers: &[&WorkerRow]) -> Vec<usize> {
    let suspicious = view.workers.iter().any(died_young);
    let cap = |row: &&WorkerRow| match suspicious && is_young(row) {
        true => {
            let lived = row.age().as_millis() / row.report.failover.as_millis().max(1);
            1 << u32::try_from(lived).unwrap_or(TRUSTED_AFTER).min(TRUSTED_AFTER)
        }
        false => usize::MAX,
    };
    workers.iter().map(cap).collect()
}

/// The leases that can be worked on: not ended, and begun already or with every parent finished or unknown. A shard
/// past its first record waits for nobody, also where an operator lets its parent begin anew.
pub(crate) fn active(view: &GroupView) -> impl Iterator<Item = &LeaseRow> {
    let unfinished: HashSet<(&str, &str)> = view
        .leases
        .iter()
        .filter(|lease| !lease.position.is_shard_end())
        .map(|lease| &lease.key)
        // Nobody can tell.
        .chain(view.unreadable_leases())
        .map(|key| (key.stream.as_str(), key.shard.as_str()))
        .collect();
    view.leases.iter().filter(move |lease| {
        let stream = lease.key.stream.as_str();
        matches!(lease.position, Position::Sequence(..))
            || !lease.position.is_shard_end()
                && !lease.parents.iter().any(|parent| unfinished.contains(&(stream, parent.as_str())))
    })
}
