//! Random updates, each compared with what the pure `apply` says.

use crate::store::ext::LeaseStoreExt;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::fixtures::{self, lease_key, position, shard, stream, worker_id};
use super::suite::{ConformanceSuite, Report};
use crate::position::Position;
use crate::row::{
    CheckpointMetadata, LeaseRow, OrderId, PendingPosition, ShardHealth, WorkerLoad, WorkerNotification,
    WorkerReport, WorkerRow, WorkerState, WorkerTrouble,
};
use crate::skipped::SkippedRecords;
use crate::types::{Epoch, GroupId, StreamId, WorkerId};
use crate::update::{LeaseUpdate, MAILBOX_LIMIT, WorkerUpdate};
use crate::write::WriteOutcome;
use rokini_types::SequenceNumber;

const STEPS: u32 = 100;

/// How often each kind of update took effect and was refused.
#[derive(Default)]
struct UpdateCounts(BTreeMap<&'static str, (u64, u64)>);

impl UpdateCounts {
    fn count(&mut self, kind: &'static str, applied: bool) {
        let (applies, refusals) = self.0.entry(kind).or_default();
        *(if applied { applies } else { refusals }) += 1;
    }
}

pub(super) async fn run(suite: &ConformanceSuite) -> Report {
    let mut counts = UpdateCounts::default();
    let rng = &mut fixtures::rng(suite.seed, 8);
    let group = suite.group("sequences");
    let ids = ["a", "b", "c"].map(|name| worker_id(name, rng));
    for index in 0..suite.sequences {
        leases(suite, &group, index, &ids, rng, &mut counts).await;
        workers(suite, &group, index, rng, &mut counts).await;
    }
    // With very few steps a kind may not have met both; then the run says nothing.
    if suite.sequences >= 16 {
        assert_eq!(counts.0.len(), 13, "every kind of update was tried");
        for (kind, (applied, refused)) in &counts.0 {
            assert!(*applied > 0 && *refused > 0, "{kind} applied {applied} and was refused {refused} times");
        }
    }
    counts.0.values().fold(Report::default(), |sum, (applied, refused)| Report {
        applied: sum.applied + applied,
        refused: sum.refused + refused,
    })
}

/// Compares an outcome with the model's and returns the row as it is now. `took_effect` is the update's own
/// judgement of the row before it.
fn compare<R: Debug + Clone + PartialEq>(
    suite: &ConformanceSuite,
    update: &impl Debug,
    row: &R,
    model: Option<R>,
    took_effect: bool,
    outcome: WriteOutcome<R>,
) -> R {
    match (model, outcome) {
        (Some(expected), WriteOutcome::Applied { before, after }) => {
            assert_eq!(after, expected, "the effect of {update:?} on {row:?}");
            match before {
                Some(before) => assert_eq!(before, *row, "the row before {update:?}"),
                None => assert!(suite.lost_replies, "the row before {update:?} is unknown"),
            }
            expected
        }
        (None, WriteOutcome::Refused { current }) => {
            assert_eq!(current.as_ref(), Some(row), "a refusal of {update:?} returns the row as it stands");
            row.clone()
        }
        (Some(_), WriteOutcome::Refused { current }) => {
            panic!("{update:?} holds on {row:?} but was refused with {current:?}")
        }
        // Nothing was left to do, and a store that lost a reply cannot tell who did it.
        (None, WriteOutcome::Applied { before: None, after }) if suite.lost_replies && took_effect => {
            assert_eq!(after, *row, "{update:?} was done before");
            after
        }
        (None, WriteOutcome::Applied { after, .. }) => {
            panic!("{update:?} does not hold on {row:?} but was applied: {after:?}")
        }
    }
}

async fn leases(
    suite: &ConformanceSuite,
    group: &GroupId,
    index: u32,
    ids: &[WorkerId],
    rng: &mut SmallRng,
    counts: &mut UpdateCounts,
) {
    let mut row = LeaseRow::new(lease_key(index), Position::TrimHorizon);
    suite.store.insert_lease(group, &row).await.expect("an insert");
    for _ in 0..STEPS {
        let (kind, update) = lease_update(&row, ids, rng);
        let model = update.apply(&row);
        counts.count(kind, model.is_some());
        let outcome = suite.store.update_lease(group, &row.key, &update).await.expect("an update");
        row = compare(suite, &update, &row, model, update.took_effect(&row), outcome);
        let read = suite.store.lease(group, &row.key).await.expect("a read");
        assert_eq!(read.as_ref(), Some(&row), "a read after {update:?} sees it");
    }
}

/// An update near the row: mostly by its owner and at its epoch.
fn lease_update(row: &LeaseRow, ids: &[WorkerId], rng: &mut SmallRng) -> (&'static str, LeaseUpdate) {
    let someone = |rng: &mut SmallRng| ids.choose(rng).expect("some ids").clone();
    let owner = match &row.owner {
        Some(owner) if rng.random_bool(0.8) => owner.clone(),
        _ => someone(rng),
    };
    let epoch = if rng.random_bool(0.8) {
        row.epoch
    } else {
        Epoch((row.epoch.0 + 1).saturating_sub(rng.random_range(0..3)))
    };
    // Mostly upwards, or every sequence would soon stand at the shard's end.
    let position = match position(rng) {
        Position::ShardEnd if rng.random_bool(0.7) => row.position,
        other => other,
    };
    let at = rng.random_range(1_700_000_000_000..1_700_000_002_000);
    let metadata = CheckpointMetadata {
        record_arrival_millis: rng.random_bool(0.5).then_some(at),
        caught_up_millis: rng.random_bool(0.5).then_some(at),
        bytes_per_second: rng.random_bool(0.5).then(|| rng.random_range(0..1_000_000)),
        record_bytes: rng.random_bool(0.5).then(|| rng.random_range(1..1_000_000)),
        fan_out: rng.random_bool(0.5).then(|| rng.random_bool(0.5)),
        skipped: rng
            .random_bool(0.5)
            .then(|| SkippedRecords::default().and(SequenceNumber::from(rng.random_range(0..99_u128)))),
    };
    let settles = rng.random_bool(0.3);
    match rng.random_range(0..16) {
        0 | 1 => {
            let at_least = Epoch(rng.random_range(0..epoch.0 + 5));
            let caught_up_millis = rng.random_bool(0.5).then_some(1_700_000_000_321);
            ("Acquire", LeaseUpdate::Acquire { by: someone(rng), seen: epoch, at_least, caught_up_millis })
        }
        2..=4 => ("Checkpoint", LeaseUpdate::Checkpoint { owner, epoch, position, at, metadata, settles }),
        5 | 6 => {
            let to = rng.random_bool(0.7).then(|| someone(rng));
            let position = rng.random_bool(0.6).then_some(position);
            ("HandOver", LeaseUpdate::HandOver { owner, epoch, to, position, at, metadata, settles })
        }
        7 => {
            let children = (0..rng.random_range(0..3)).map(shard).collect();
            ("Finish", LeaseUpdate::Finish { owner, epoch, children, at })
        }
        8 | 9 => {
            let over = if rng.random_bool(0.5) {
                row.claim.clone()
            } else {
                rng.random_bool(0.5).then(|| someone(rng))
            };
            ("Claim", LeaseUpdate::Claim { by: someone(rng), seen: epoch, over })
        }
        12 | 13 => {
            let state = Bytes::from(vec![rng.random(); rng.random_range(0..3)]);
            ("Prepare", LeaseUpdate::Prepare { owner, epoch, pending: PendingPosition { position, state } })
        }
        14 => ("Pause", LeaseUpdate::Pause { paused: rng.random(), order: some_order(rng) }),
        15 => ("Pin", LeaseUpdate::Pin { to: rng.random_bool(0.7).then(|| someone(rng)) }),
        10 => ("Unclaim", LeaseUpdate::Unclaim { by: someone(rng) }),
        // A seek brings an ended lease back to life here.
        _ => ("Seek", LeaseUpdate::Seek { seen: epoch, to: position, order: some_order(rng) }),
    }
}

async fn workers(
    suite: &ConformanceSuite,
    group: &GroupId,
    index: u32,
    rng: &mut SmallRng,
    counts: &mut UpdateCounts,
) {
    let id = worker_id(&format!("w{index}"), rng);
    let mut row = WorkerRow::joining(id.clone(), None);
    suite.store.insert_worker(group, &row).await.expect("an insert");
    for step in 0..STEPS {
        let (kind, update) = worker_update(&row, step, rng);
        let model = update.apply(&row);
        counts.count(kind, model.is_some());
        let outcome = suite.store.update_worker(group, &id, &update).await.expect("an update");
        row = compare(suite, &update, &row, model, update.took_effect(&row), outcome);
        let read = suite.store.worker(group, &id).await.expect("a read");
        assert_eq!(read.as_ref(), Some(&row), "a read after {update:?} sees it");
    }
}

fn worker_update(row: &WorkerRow, step: u32, rng: &mut SmallRng) -> (&'static str, WorkerUpdate) {
    let seen = if rng.random_bool(0.8) {
        row.heartbeat
    } else {
        (row.heartbeat + 1).saturating_sub(rng.random_range(0..3))
    };
    let fill = step >= STEPS / 2 && row.mailbox.len() < MAILBOX_LIMIT;
    match rng.random_range(0..20) {
        0..=3 if !fill => {
            let state = if rng.random_bool(0.8) { WorkerState::Alive } else { WorkerState::Leaving };
            let streams =
                rng.random_bool(0.5).then(|| (0..rng.random_range(0..3)).map(some_stream).collect());
            let load = WorkerLoad { leases: rng.random_range(0..9) };
            let report = some_report(rng);
            ("Heartbeat", WorkerUpdate::Heartbeat { seen, call: rng.random(), load, state, streams, report })
        }
        // Only late: a fenced row refuses everything.
        4..=6 if step > STEPS - 25 => ("Fence", WorkerUpdate::Fence { seen }),
        _ => {
            let key = lease_key(rng.random_range(0..MAILBOX_LIMIT as u32 * 2));
            let note = match rng.random_range(0..3) {
                0 => WorkerNotification::Claimed(key),
                1 => WorkerNotification::Assigned(key),
                _ => WorkerNotification::Changed(key),
            };
            ("Notify", WorkerUpdate::Notify(note))
        }
    }
}

fn some_report(rng: &mut SmallRng) -> WorkerReport {
    WorkerReport {
        interval: Duration::from_millis(rng.random_range(1..60_000)),
        failover: Duration::from_millis(rng.random_range(1..600_000)),
        age: rng.random_bool(0.5).then(|| Duration::from_secs(rng.random_range(0..99_999))),
        unable: (0..rng.random_range(0..3)).map(some_stream).collect(),
        caught_up: (0..rng.random_range(0..3)).map(|n| (some_stream(n), rng.random())).collect(),
        shards: (0..rng.random_range(0..3))
            .map(|n| {
                ShardHealth::new(lease_key(n), "reading", Duration::from_millis(rng.random_range(0..99_999)))
            })
            .collect(),
        untold: rng.random_range(0..3),
        summaries: (0..rng.random_range(0..3))
            .map(|n| format!("lag={} leases=orders@1#{n}", n * 1000).parse().expect("a summary"))
            .collect(),
        troubles: (0..rng.random_range(0..2)).map(|n| WorkerTrouble::new("idle", &format!("{n}"))).collect(),
        ..WorkerReport::default()
    }
}

fn some_order(rng: &mut SmallRng) -> Option<OrderId> {
    rng.random_bool(0.5).then(|| OrderId(rng.random_range(0..99_999)))
}

fn some_stream(n: u32) -> StreamId {
    stream(&format!("orders-{n}"))
}
