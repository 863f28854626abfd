//! The plan of one worker: the mean processor time of several runs for each kind of change, which other load on the
//! host does not change.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use rokini_lease::{
    AssignmentPolicy, GroupView, HashRange, Incarnation, LeaseKey, LeaseRow, Position, ShardId, StreamId,
    WorkerId, WorkerName, WorkerRow, WorkerState, plan,
};

use crate::error::Result;
use crate::process::{status, thread_nanos};

const RUNS: usize = 20;

/// A fleet at rest: every lease held, evenly.
fn fleet(leases: usize, workers: usize, streams: usize) -> Result<GroupView> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut view = GroupView::default();
    for n in 0..workers {
        let id = WorkerId::new(
            WorkerName::new(format!("orders-7d9f8b6c5-{n:05}"))?,
            Incarnation::new(rng.random()),
        );
        view.workers.push(WorkerRow::joining(id, None));
    }
    for n in 0..leases {
        let stream = StreamId::new(format!("orders-{}@1700000000123", n % streams))?;
        let key = LeaseKey::new(stream, ShardId::new(format!("shardId-{n:012}"))?);
        let position = Position::after(u128::MAX.into());
        let mut row = LeaseRow::new(key, position).with_hash_range(HashRange { start: 0, end: u128::MAX });
        row.owner = Some(view.workers[n % workers].id.clone());
        row.metadata.bytes_per_second = Some(50_000 + (n as u64 * 7919) % 100_000);
        view.leases.push(row);
    }
    Ok(view)
}

fn mean(view: &GroupView, policy: &AssignmentPolicy) -> (Duration, usize) {
    let (before, mut moves) = (thread_nanos(), 0);
    for _ in 0..RUNS {
        moves = plan(view, policy).len();
    }
    (Duration::from_nanos((thread_nanos() - before) / RUNS as u64), moves)
}

pub(crate) fn measure(leases: usize, workers: usize) -> Result<serde_json::Value> {
    let at_rest = fleet(leases, workers, 1)?;
    let mut free = at_rest.clone();
    free.leases.iter_mut().for_each(|row| row.owner = None);
    let mut joined = at_rest.clone();
    for row in joined.leases.iter_mut().filter(|row| row.owner.as_ref() == Some(&at_rest.workers[0].id)) {
        row.owner = Some(at_rest.workers[1].id.clone());
    }
    let mut died = at_rest.clone();
    died.workers.iter_mut().take(workers / 10).for_each(|row| row.state = WorkerState::Fenced);
    let mut streams = fleet(leases, workers, 20)?;
    for (n, row) in streams.workers.iter_mut().enumerate() {
        let read = (0..20).filter(|stream| (stream + n) % 3 != 0);
        let names = read.map(|stream| StreamId::new(format!("orders-{stream}@1700000000123")));
        row.streams = Some(names.collect::<std::result::Result<_, _>>()?);
    }
    // In KiB.
    let before = status("VmHWM")?;
    let mut cases = serde_json::Map::new();
    for (name, view) in [
        ("at rest", &at_rest),
        ("all free", &free),
        ("one joined", &joined),
        ("a tenth died", &died),
        ("20 streams, each read by two thirds", &streams),
    ] {
        for (kind, policy) in [("even", AssignmentPolicy::Even), ("throughput", AssignmentPolicy::Throughput)]
        {
            let (time, moves) = mean(view, &policy);
            let millis = time.as_secs_f64() * 1000.0;
            cases.insert(format!("{name}, {kind}"), serde_json::json!({"ms": millis, "moves": moves}));
        }
    }
    Ok(serde_json::json!({
        "bench": "plan",
        "leases": leases,
        "workers": workers,
        "mean_of": RUNS,
        "plans": cases,
        "bytes_beside_the_view": (status("VmHWM")? - before) * 1024,
    }))
}
