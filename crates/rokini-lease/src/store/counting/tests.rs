use super::*;
use crate::position::Position;
use crate::process::ProcessIdentity;
use crate::row::{
    CheckpointMetadata, GroupRow, LeaseRow, PendingPosition, StreamRow, WorkerLoad, WorkerNotification,
    WorkerReport, WorkerRow, WorkerState,
};
use crate::store::ext::LeaseStoreExt;
use crate::store::memory::MemoryStore;
use crate::types::{Epoch, HashRange, LeaseKey, ShardId, StreamId, WorkerId};
use crate::update::WorkerUpdate;

fn id() -> WorkerId {
    "orders-7d9f#00000000000000a1".parse().unwrap()
}

fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

fn worker() -> WorkerRow {
    let process = ProcessIdentity { host: "boot-1".to_owned(), pid: 77, started: 1200, host_name: None };
    WorkerRow {
        heartbeat: 1234,
        mailbox: [WorkerNotification::Assigned("s#1".parse().unwrap())].into(),
        streams: Some([StreamId::new("s").unwrap(), StreamId::new("orders").unwrap()].into()),
        max_leases: Some(120),
        ..WorkerRow::joining(id(), Some(process))
    }
}

fn lease(shard: &str) -> LeaseRow {
    let key = LeaseKey::new(StreamId::new("orders@1700000000123").unwrap(), ShardId::new(shard).unwrap());
    LeaseRow::new(key, Position::TrimHorizon)
}

fn full_lease() -> LeaseRow {
    LeaseRow {
        owner: Some(id()),
        claim: Some(id()),
        epoch: Epoch(12),
        position: Position::after(
            "49590338271490256608559692538361571095921575989136588898".parse().unwrap(),
        ),
        previous: Some(Position::TrimHorizon),
        order: Some(crate::row::OrderId(0x19a)),
        children: vec![ShardId::new("shardId-3").unwrap(), ShardId::new("shardId-4").unwrap()],
        checkpointed_at: Some(1_700_000_000_123),
        metadata: CheckpointMetadata {
            record_arrival_millis: Some(1_700_000_000_123),
            caught_up_millis: Some(1_700_000_000_123),
            bytes_per_second: Some(1_234_500),
            record_bytes: Some(1_200),
            fan_out: Some(true),
            skipped: Some(
                crate::skipped::SkippedRecords::default().and(rokini_types::SequenceNumber::from(u128::MAX)),
            ),
        },
        pending: Some(PendingPosition {
            position: Position::ShardEnd,
            state: bytes::Bytes::from_static(b"state"),
        }),
        paused: true,
        pause_order: Some(crate::row::OrderId(0x19b)),
        pin: Some(id()),
        ..lease("shardId-1")
            .with_parents(vec![ShardId::new("shardId-0").unwrap()])
            .with_hash_range(HashRange { start: 0, end: u128::MAX })
    }
}

#[tokio::test]
async fn calls_are_counted_by_kind_and_billed_by_size() {
    let store = CountingStore::new(MemoryStore::new());
    store.insert_worker(&group(), &worker()).await.unwrap();
    store.insert_lease(&group(), &full_lease()).await.unwrap();
    let before = store.snapshot();
    assert_eq!((before.of(StoreOperation::Insert), before.write_units(), before.requests()), (2, 2, 2));

    let beat = |seen| WorkerUpdate::Heartbeat {
        seen,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    assert!(store.update_worker(&group(), &id(), &beat(1234)).await.unwrap().is_applied());
    assert!(!store.update_worker(&group(), &id(), &beat(1234)).await.unwrap().is_applied());
    store.list(&group(), Listing::Workers).await.unwrap();
    store.list(&group(), Listing::All).await.unwrap();
    store.lease(&group(), &full_lease().key).await.unwrap();
    assert!(!store.delete_lease(&group(), &full_lease().key, Epoch(0)).await.unwrap());

    let since = store.clone().snapshot() - &before;
    assert_eq!((since.of(StoreOperation::Insert), since.of(StoreOperation::Heartbeat)), (0, 2));
    assert_eq!((since.of(StoreOperation::ListWorkers), since.of(StoreOperation::ListAll)), (1, 1));
    assert_eq!((since.refused(), since.failed()), (2, 0), "a refusal is billed and counted");
    assert_eq!((since.write_units(), since.write_calls()), (3, 3));
    assert!(
        (since.read_units() - 2.0).abs() < f64::EPSILON,
        "two listings of half a unit and a read: {since}"
    );
    assert_eq!(since.read_calls(), 3);
}

#[tokio::test]
async fn errors_are_counted() {
    let faulty = crate::store::faults::FaultyStore::new(MemoryStore::new(), 1);
    faulty.outage(true);
    let store = CountingStore::new(faulty);
    store.list(&group(), Listing::All).await.unwrap_err();
    let counts = store.snapshot();
    assert_eq!((counts.failed(), counts.of(StoreOperation::ListAll), counts.requests()), (1, 1, 1));
}

#[tokio::test]
async fn a_large_listing_costs_by_its_bytes_and_pages() {
    let store = CountingStore::new(MemoryStore::new());
    let long = "x".repeat(255);
    for index in 0..1500 {
        let parents = vec![ShardId::new(&long).unwrap(); 4];
        store
            .insert_lease(&group(), &lease(&format!("shardId-{index}")).with_parents(parents))
            .await
            .unwrap();
    }
    let before = store.snapshot();
    assert_eq!(before.write_units(), 1500 * 2, "a row of more than 1 KB takes two units");
    store.list(&group(), Listing::All).await.unwrap();
    let since = store.snapshot() - &before;
    let bytes: u64 = 1500
        * size::lease(&group(), &lease("shardId-1000").with_parents(vec![ShardId::new(&long).unwrap(); 4]));
    assert_eq!(since.requests(), 2, "{bytes} bytes are two pages");
    assert!((since.read_units() - bytes as f64 / 8192.0).abs() < 1.0, "{since}");
}

/// The sizes of rows against the items that the DynamoDB store writes.
#[cfg(feature = "dynamo")]
#[test]
fn sizes_are_those_of_the_items() {
    use crate::store::dynamo::item_size;
    let bare = WorkerRow { mailbox: [].into(), process: None, ..worker() };
    for row in [worker(), bare] {
        assert_eq!(size::worker(&group(), &row), item_size(&group(), &row), "{row:?}");
    }
    for row in [full_lease(), lease("shardId-1")] {
        assert_eq!(size::lease(&group(), &row), item_size(&group(), &row), "{row:?}");
    }
    for row in [GroupRow::default(), GroupRow { paused_at: Some(1_700_000_000_123), orders: Vec::new() }] {
        assert_eq!(size::group(&group(), &row), item_size(&group(), &row));
    }
    let row = StreamRow {
        id: StreamId::new("orders@1700000000123").unwrap(),
        name: "orders".to_owned(),
        start: Position::ShardEnd,
        consumer: Some("owned:billing".parse().unwrap()),
    };
    assert_eq!(size::stream(&group(), &row), item_size(&group(), &row));
}
