//! Rows and ids of the suite.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use bytes::Bytes;

use crate::position::{Position, Progress};
use crate::process::ProcessIdentity;
use crate::row::{
    CheckpointMetadata, LeaseRow, OrderId, PendingPosition, PlanId, ShardHealth, StreamRow, WorkerLoad,
    WorkerNotification, WorkerReport, WorkerRow, WorkerTrouble,
};
use crate::types::{HashRange, Incarnation, LeaseKey, ShardId, StreamId, WorkerId, WorkerName};
use rokini_types::SequenceNumber;

pub(super) fn rng(seed: u64, part: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(part))
}

pub(super) fn worker_id(name: &str, rng: &mut SmallRng) -> WorkerId {
    WorkerId::new(WorkerName::new(name).expect("a valid name"), Incarnation::new(rng.random()))
}

pub(super) fn shard(index: u32) -> ShardId {
    ShardId::new(format!("shardId-{index:012}")).expect("a valid name")
}

pub(super) fn stream(name: &str) -> StreamId {
    StreamId::new(format!("{name}@1700000000123")).expect("a valid name")
}

pub(super) fn lease_key(index: u32) -> LeaseKey {
    LeaseKey::new(stream("orders"), shard(index))
}

pub(super) fn sequence(number: u64) -> SequenceNumber {
    // Sequence numbers of Kinesis have 56 digits.
    format!("495903382714902566085596925383615710959215759891365{number:05}").parse().expect("a number")
}

/// A worker row with every attribute set.
pub(super) fn full_worker(id: WorkerId) -> WorkerRow {
    let process = ProcessIdentity {
        host: "boot-1/net:[4026531840]".to_owned(),
        pid: 4_000_000,
        started: u64::MAX,
        host_name: Some("ip-10-0-0-1.ec2.internal".to_owned()),
    };
    WorkerRow {
        heartbeat: 7,
        load: WorkerLoad { leases: u32::MAX },
        mailbox: [
            WorkerNotification::Claimed(lease_key(1)),
            WorkerNotification::Assigned(lease_key(2)),
            WorkerNotification::Changed(lease_key(3)),
            WorkerNotification::GroupChanged,
        ]
        .into(),
        streams: Some([stream("orders"), stream("orders-2")].into()),
        max_leases: Some(3),
        call: u64::MAX,
        report: WorkerReport {
            format: 3,
            interval: Duration::from_millis(1),
            failover: Duration::from_secs(60),
            plan: PlanId { policy: "custom:some/policy of mine".to_owned(), version: u32::MAX },
            age: Some(Duration::from_secs(86_399)),
            unable: [stream("orders-2"), stream("orders-3")].into(),
            caught_up: [(stream("orders"), u64::MAX), (stream("orders-2"), 0)].into(),
            shards: vec![
                ShardHealth::new(lease_key(1), "handling", Duration::from_secs(9))
                    .with_error("it said \"no\": error=7", Duration::ZERO),
            ],
            untold: 2,
            summaries: vec![
                "stalled=handler lasting=7 lag=9000 leases=orders@1#2-3".parse().expect("a summary"),
            ],
            troubles: vec![WorkerTrouble::new("coordination-stalled", "it said \"no\": 12 s")],
        },
        ..WorkerRow::joining(id, Some(process))
    }
}

/// A lease with every attribute set.
pub(super) fn full_lease(key: LeaseKey, owner: WorkerId, claim: WorkerId) -> LeaseRow {
    LeaseRow {
        pin: Some(owner.clone()),
        owner: Some(owner),
        epoch: crate::types::Epoch(1 << 60),
        position: Position::Sequence(sequence(99_999), Progress::Through(u64::MAX)),
        previous: Some(Position::AtTimestamp(1_700_000_000_123)),
        order: Some(OrderId(7)),
        children: vec![shard(12), shard(11)],
        claim: Some(claim),
        checkpointed_at: Some(1_700_000_000_120),
        metadata: CheckpointMetadata {
            record_arrival_millis: Some(1_700_000_000_100),
            caught_up_millis: Some(1_700_000_000_000),
            bytes_per_second: Some(1 << 40),
            record_bytes: Some(10 << 20),
            skipped: Some(crate::skipped::SkippedRecords::default().and(SequenceNumber::from(u128::MAX))),
            fan_out: Some(true),
        },
        pending: Some(PendingPosition {
            position: Position::ShardEnd,
            state: Bytes::from_static(&[0, 255, 7]),
        }),
        paused: true,
        pause_order: Some(OrderId(8)),
        ..LeaseRow::new(key, Position::TrimHorizon)
            .with_parents(vec![shard(2), shard(1)])
            .with_hash_range(HashRange { start: 1, end: u128::MAX })
    }
}

pub(super) fn stream_row(id: StreamId, start: Position) -> StreamRow {
    StreamRow { name: id.as_str().to_owned(), id, start, consumer: None }
}

/// One of few positions, so that equal, lower and higher ones meet.
pub(super) fn position(rng: &mut SmallRng) -> Position {
    let number = sequence(rng.random_range(8..12));
    match rng.random_range(0..10) {
        0 => Position::TrimHorizon,
        1 => Position::AtTimestamp(rng.random_range(999..1001)),
        2 => Position::ShardEnd,
        // Fewer digits: lower as a number, higher as text.
        3 => Position::after(SequenceNumber::from(9)),
        4 | 5 => Position::at(number),
        6 | 7 => Position::Sequence(number, Progress::Through(rng.random_range(9..11))),
        _ => Position::after(number),
    }
}
