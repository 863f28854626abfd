//! Which worker is on duty for a stream: everyone computes it from the listing, instead of a leader. Pure.

use rokini_lease::{StreamId, WorkerId, WorkerRow, WorkerState, duty_rank};

/// How many of the live workers that read the stream come before `me`: the first one is on duty, for as long as it lives.
pub(crate) fn rank(stream: &StreamId, me: &WorkerId, workers: &[WorkerRow]) -> usize {
    let takes_part = |row: &&WorkerRow| row.state == WorkerState::Alive && row.reads(stream);
    duty_rank(&[stream.as_str().as_bytes()], me, workers.iter().filter(takes_part).map(|row| &row.id))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rokini_lease::{Incarnation, WorkerName};

    use super::*;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("orders-{number}@1700000000000")).unwrap()
    }

    fn workers(count: usize) -> Vec<WorkerRow> {
        let id = |n| WorkerId::new(WorkerName::new(format!("w{n}")).unwrap(), Incarnation::new(n as u64));
        (0..count).map(|n| WorkerRow::joining(id(n), None)).collect()
    }

    #[test]
    fn who_has_died_or_does_not_read_the_stream_is_not_waited_for() {
        let mut workers = workers(4);
        let all = workers.clone();
        workers.sort_by_key(|row| rank(&stream(1), &row.id, &all));
        workers[0].state = WorkerState::Fenced;
        workers[1].streams = Some(BTreeSet::from([stream(2)]));
        let rank = |n: usize| rank(&stream(1), &workers[n].id, &workers);
        assert_eq!((rank(2), rank(3)), (0, 1));
    }
}
