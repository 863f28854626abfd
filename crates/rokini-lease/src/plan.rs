//! Who should hold what: a deterministic, sticky, pure function of workers and leases.
//!
//! Every worker computes the same plan from the same listing and carries out only the moves towards itself, so
//! there is no leader whose death matters.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};

use crate::{LeaseKey, LeaseRow, View, WorkerId, WorkerState};

/// How leases are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The most leases one worker takes; `None` for no limit. Leases beyond every worker's limit stay with
    /// nobody.
    pub max_leases: Option<u32>,
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

/// The moves that spread the active leases evenly over the workers that take part.
///
/// The most and the least loaded worker differ by at most one lease afterwards, no lease moves without need,
/// and equal views give equal plans. Ended leases and leases whose parents are not finished weigh nothing and
/// go nowhere. Leases of a worker that is leaving are its own to place and are left alone.
#[must_use]
pub fn plan(view: &View, policy: &Policy) -> Vec<Move> {
    let workers: Vec<&WorkerId> =
        view.workers.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id).collect();
    if workers.is_empty() {
        return Vec::new();
    }
    let index: BTreeMap<&WorkerId, usize> = workers.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let leaving: HashSet<&WorkerId> =
        view.workers.iter().filter(|row| row.state == WorkerState::Leaving).map(|row| &row.id).collect();

    let mut free = Vec::new();
    let mut held: Vec<Vec<(&LeaseRow, bool)>> = vec![Vec::new(); workers.len()];
    for lease in active(view) {
        let claimed = lease.claim.as_ref().and_then(|id| index.get(id));
        let owned = lease.owner.as_ref().and_then(|id| index.get(id));
        match (claimed, owned) {
            (Some(&claimer), owner) => held[claimer].push((lease, owner != Some(&claimer))),
            (None, Some(&owner)) => held[owner].push((lease, false)),
            (None, None) if lease.owner.as_ref().is_some_and(|id| leaving.contains(id)) => {}
            (None, None) => free.push(lease),
        }
    }

    let counts: Vec<usize> = held.iter().map(Vec::len).collect();
    let targets = targets(&counts, free.len(), policy);
    let mut needy: BinaryHeap<Reverse<(usize, usize)>> =
        (0..workers.len()).filter(|&i| counts[i] < targets[i]).map(|i| Reverse((counts[i], i))).collect();
    let mut moves = Vec::new();
    let mut give = |lease: &LeaseRow, from: Option<usize>| {
        let Some(Reverse((count, to))) = needy.pop() else { return };
        moves.push(Move {
            key: lease.key.clone(),
            from: from.map(|i| workers[i].clone()),
            to: workers[to].clone(),
        });
        if count + 1 < targets[to] {
            needy.push(Reverse((count + 1, to)));
        }
    };
    for lease in free {
        give(lease, None);
    }
    for (i, leases) in held.iter_mut().enumerate() {
        let excess = leases.len().saturating_sub(targets[i]);
        // Leases at rest first: one that is on its way to its claimer would travel twice.
        leases.sort_by_key(|(_, pending)| *pending);
        for (lease, _) in leases.iter().take(excess) {
            give(lease, Some(i));
        }
    }
    moves
}

/// The leases that can be worked on: not ended, and with every parent finished or unknown.
pub(crate) fn active(view: &View) -> impl Iterator<Item = &LeaseRow> {
    let unfinished: HashSet<(&str, &str)> = view
        .leases
        .iter()
        .filter(|lease| !lease.position.is_shard_end())
        .map(|lease| (lease.key.stream.as_str(), lease.key.shard.as_str()))
        .collect();
    view.leases.iter().filter(move |lease| {
        let stream = lease.key.stream.as_str();
        !lease.position.is_shard_end()
            && !lease.parents.iter().any(|parent| unfinished.contains(&(stream, parent.as_str())))
    })
}

/// How many leases each worker should have: an even share, the remainder to those that have most already.
fn targets(counts: &[usize], free: usize, policy: &Policy) -> Vec<usize> {
    let total = counts.iter().sum::<usize>() + free;
    let (share, remainder) = (total / counts.len(), total % counts.len());
    let limit = policy.max_leases.map_or(usize::MAX, |most| most as usize);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&i| (Reverse(counts[i]), i));
    let mut targets = vec![0; counts.len()];
    for (rank, &i) in order.iter().enumerate() {
        targets[i] = (share + usize::from(rank < remainder)).min(limit);
    }
    targets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::{Position, ShardId, StreamId, WorkerName, WorkerRow};

    fn worker(n: usize) -> WorkerId {
        let name = WorkerName::new(format!("w{n:03}")).unwrap();
        WorkerId::start(name, &mut StdRng::seed_from_u64(n as u64))
    }

    fn key(n: usize) -> LeaseKey {
        LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new(format!("shard-{n:05}")).unwrap())
    }

    fn lease(n: usize, owner: Option<usize>) -> LeaseRow {
        LeaseRow { owner: owner.map(worker), ..LeaseRow::new(key(n), Position::TrimHorizon) }
    }

    fn view(workers: usize, leases: Vec<LeaseRow>) -> View {
        let workers = (0..workers).map(|n| WorkerRow::joining(worker(n), None)).collect();
        View { workers, leases, streams: Vec::new() }
    }

    fn carried_out(view: &View, moves: &[Move]) -> Vec<usize> {
        let mut counts: BTreeMap<WorkerId, usize> = view.workers.iter().map(|w| (w.id.clone(), 0)).collect();
        let to: BTreeMap<&LeaseKey, &WorkerId> = moves.iter().map(|m| (&m.key, &m.to)).collect();
        for lease in active(view) {
            let holder = to.get(&lease.key).copied().or(lease.owner.as_ref());
            if let Some(count) = holder.and_then(|id| counts.get_mut(id)) {
                *count += 1;
            }
        }
        counts.into_values().collect()
    }

    #[test]
    fn one_worker_takes_everything() {
        let view = view(1, (0..5).map(|n| lease(n, None)).collect());
        let moves = plan(&view, &Policy::default());
        assert_eq!(moves.len(), 5);
        assert!(moves.iter().all(|m| m.from.is_none() && m.to == worker(0)));
    }

    #[test]
    fn nobody_takes_part_so_nothing_moves() {
        assert!(plan(&view(0, vec![lease(0, None)]), &Policy::default()).is_empty());
    }

    #[test]
    fn a_newcomer_gets_its_share_and_no_more() {
        let view = view(3, (0..8).map(|n| lease(n, Some(n % 2))).collect());
        let moves = plan(&view, &Policy::default());
        assert_eq!(moves.len(), 2);
        assert!(moves.iter().all(|m| m.to == worker(2)));
        assert_eq!(carried_out(&view, &moves), vec![3, 3, 2]);
    }

    #[test]
    fn ended_and_waiting_leases_weigh_nothing() {
        let ended = LeaseRow { position: Position::ShardEnd, ..lease(0, None) };
        let parent = lease(1, Some(0));
        let waiting = lease(2, None).with_parents(vec![key(0).shard, key(1).shard]);
        let ready = lease(3, None).with_parents(vec![key(0).shard, key(9).shard]);
        let moves = plan(&view(2, vec![ended, parent, waiting, ready]), &Policy::default());
        assert_eq!(moves, vec![Move { key: key(3), from: None, to: worker(1) }]);
    }

    #[test]
    fn a_claim_by_a_live_worker_counts_for_it_and_one_by_a_dead_worker_binds_nobody() {
        let claimed = |by| LeaseRow { claim: Some(worker(by)), ..lease(1, Some(0)) };
        assert!(plan(&view(2, vec![lease(0, Some(0)), claimed(1)]), &Policy::default()).is_empty());
        let moves = plan(&view(2, vec![lease(0, Some(0)), claimed(7)]), &Policy::default());
        assert_eq!(moves, vec![Move { key: key(0), from: Some(worker(0)), to: worker(1) }]);
    }

    #[test]
    fn leases_of_a_leaving_worker_are_left_to_it() {
        let mut view = view(2, vec![lease(0, Some(0)), lease(1, Some(0))]);
        view.workers[0].state = WorkerState::Leaving;
        assert!(plan(&view, &Policy::default()).is_empty());
    }

    #[test]
    fn the_limit_leaves_the_rest_with_nobody() {
        let view = view(2, (0..9).map(|n| lease(n, None)).collect());
        let moves = plan(&view, &Policy { max_leases: Some(3) });
        assert_eq!(carried_out(&view, &moves), vec![3, 3]);
    }

    /// The fewest moves of held leases that reach an even spread, by trying every choice of who gets the
    /// remainder.
    fn fewest_moves(counts: &[usize], total: usize) -> usize {
        let (share, remainder) = (total / counts.len(), total % counts.len());
        (0u32..1 << counts.len())
            .filter(|choice| choice.count_ones() as usize == remainder)
            .map(|choice| {
                let target = |i: usize| share + usize::from(choice >> i & 1 == 1);
                counts.iter().enumerate().map(|(i, &count)| count.saturating_sub(target(i))).sum()
            })
            .min()
            .unwrap_or(0)
    }

    proptest! {
        #[test]
        fn l5_the_spread_is_even_and_moves_are_the_fewest_possible(
            workers in 1usize..8,
            owners in prop::collection::vec(prop::option::of(0usize..10), 0..40),
        ) {
            let leases = owners.iter().enumerate().map(|(n, owner)| lease(n, *owner)).collect();
            let view = view(workers, leases);
            let moves = plan(&view, &Policy::default());
            let after = carried_out(&view, &moves);
            prop_assert_eq!(after.iter().sum::<usize>(), owners.len());
            prop_assert!(after.iter().max().unwrap() - after.iter().min().unwrap() <= 1, "{:?}", after);

            let mut counts = vec![0; workers];
            owners.iter().flatten().filter(|&&owner| owner < workers).for_each(|&owner| counts[owner] += 1);
            let between_workers = moves.iter().filter(|m| m.from.is_some()).count();
            prop_assert_eq!(between_workers, fewest_moves(&counts, owners.len()));
            prop_assert!(moves.iter().all(|m| m.from.as_ref() != Some(&m.to)));
        }

        #[test]
        fn l9_a_plan_that_was_carried_out_is_at_rest(
            workers in 1usize..8,
            owners in prop::collection::vec(prop::option::of(0usize..10), 0..40),
        ) {
            let leases = owners.iter().enumerate().map(|(n, owner)| lease(n, *owner)).collect();
            let mut view = view(workers, leases);
            for done in plan(&view, &Policy::default()) {
                let row = view.leases.iter_mut().find(|row| row.key == done.key).unwrap();
                row.owner = Some(done.to);
            }
            prop_assert_eq!(plan(&view, &Policy::default()), vec![]);
        }
    }
}
