//! Who takes a lease that nobody has although the plan gives it to somebody: a plan is advice, a free lease is a fact.

use crate::duty::duty_rank;
use crate::row::{WorkerRow, WorkerState};
use crate::types::{LeaseKey, WorkerId};

/// So many looks at a free lease are left to the worker that the plan gives it to.
pub(crate) const PLAN_LOOKS: u32 = 3;

/// Whether `me` may take a lease that was free for so many looks of its own: workers that are able to and have room come in
/// an order of the lease's own, one more with each look after the first ones. No agreement is needed: whoever acquires it
/// first has it, and the order only keeps them from trying all at once.
pub(crate) fn may_take(key: &LeaseKey, me: &WorkerId, looks: u32, workers: &[WorkerRow]) -> bool {
    let fit = |row: &&WorkerRow| {
        row.state == WorkerState::Alive
            && row.reads(&key.stream)
            && row.max_leases.is_none_or(|limit| row.load.leases < limit)
    };
    let fit: Vec<&WorkerId> = workers.iter().filter(fit).map(|row| &row.id).collect();
    let rank = duty_rank(&[b"free lease", key.to_string().as_bytes()], me, fit.iter().copied());
    fit.contains(&me) && u32::try_from(rank).is_ok_and(|rank| looks >= PLAN_LOOKS.saturating_add(rank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StreamId;

    fn workers(count: u64) -> Vec<WorkerRow> {
        (0..count).map(|n| WorkerRow::joining(format!("w{n}#{n:016x}").parse().unwrap(), None)).collect()
    }

    fn takers(key: &LeaseKey, looks: u32, workers: &[WorkerRow]) -> Vec<WorkerId> {
        let ids = workers.iter().map(|row| row.id.clone());
        ids.filter(|id| may_take(key, id, looks, workers)).collect()
    }

    #[test]
    fn l3_a_free_lease_is_taken_by_one_more_with_each_look() {
        let (workers, key): (_, LeaseKey) = (workers(5), "s#1".parse().unwrap());
        let numbers: Vec<usize> = (0..10).map(|looks| takers(&key, looks, &workers).len()).collect();
        assert_eq!(numbers, [0, 0, 0, 1, 2, 3, 4, 5, 5, 5]);
        let first =
            |shard: &str| takers(&format!("s#{shard}").parse().unwrap(), PLAN_LOOKS, &workers).remove(0);
        let spread: std::collections::BTreeSet<_> = (0..50).map(|n| first(&n.to_string())).collect();
        assert_eq!(spread.len(), 5, "leases that are free at once are not taken by one worker");
    }

    #[test]
    fn l3_who_cannot_have_it_is_not_waited_for() {
        let (mut workers, key): (_, LeaseKey) = (workers(5), "s#1".parse().unwrap());
        let stream = StreamId::new("s").unwrap();
        workers[0].report.unable = [stream].into();
        workers[1].state = WorkerState::Leaving;
        workers[2].max_leases = Some(0);
        workers[3].streams = Some(std::collections::BTreeSet::new());
        assert_eq!(takers(&key, PLAN_LOOKS, &workers), vec![workers[4].id.clone()]);
        assert_eq!(takers(&key, 100, &workers), vec![workers[4].id.clone()]);
    }
}
