//! Which worker is on duty for a stream: everyone computes it from the listing, instead of a leader. Pure.

use rokini_lease::{StreamId, WorkerId, WorkerRow, WorkerState, stable_hash};

/// How many of the live workers that read the stream come before `me`: the first one is on duty for it, for as long as it lives,
/// and each stream has a first one of its own. Needs no agreement and no clock, only the same listing: where listings
/// differ for a while, a duty is done twice or late.
pub(crate) fn place(stream: &StreamId, me: &WorkerId, workers: &[WorkerRow]) -> usize {
    let takes_part = |row: &&WorkerRow| row.state == WorkerState::Alive && row.reads(stream);
    let mine = (weight(stream, me), me);
    let others = workers.iter().filter(takes_part).map(|row| &row.id);
    others.filter(|other| (weight(stream, other), *other) > mine).count()
}

fn weight(stream: &StreamId, worker: &WorkerId) -> u64 {
    stable_hash(&[stream.as_str().as_bytes(), worker.to_string().as_bytes()])
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rokini_lease::WorkerName;

    use super::*;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("orders-{number}@1700000000000")).unwrap()
    }

    fn workers(count: usize) -> Vec<WorkerRow> {
        let mut rng = StdRng::seed_from_u64(3);
        let mut id = |n| WorkerId::start(WorkerName::new(format!("w{n}")).unwrap(), &mut rng);
        (0..count).map(|n| WorkerRow::joining(id(n), None)).collect()
    }

    #[test]
    fn t1_each_stream_has_one_worker_on_duty_and_streams_are_spread() {
        let workers = workers(20);
        let mut turns = BTreeMap::new();
        for number in 0..2_000 {
            let place = |row: &WorkerRow| place(&stream(number), &row.id, &workers);
            let places: BTreeSet<usize> = workers.iter().map(place).collect();
            assert_eq!(places, (0..20).collect(), "stream {number}");
            let first = workers.iter().find(|row| place(row) == 0).unwrap();
            *turns.entry(&first.id).or_insert(0) += 1;
        }
        assert!(turns.len() == 20 && turns.values().all(|turns| (50..200).contains(turns)), "{turns:?}");
    }

    #[test]
    fn who_has_died_or_does_not_read_the_stream_is_not_waited_for() {
        let mut workers = workers(4);
        let all = workers.clone();
        workers.sort_by_key(|row| place(&stream(1), &row.id, &all));
        workers[0].state = WorkerState::Fenced;
        workers[1].streams = Some(BTreeSet::from([stream(2)]));
        let place = |n: usize| place(&stream(1), &workers[n].id, &workers);
        assert_eq!((place(2), place(3)), (0, 1));
    }
}
