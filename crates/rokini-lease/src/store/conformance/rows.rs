//! Rows come back as they were written; inserts and deletions keep their conditions.

use crate::store::ext::LeaseStoreExt;
use std::fmt::Debug;

use super::fixtures::{self, full_lease, full_worker, lease_key, stream, stream_row, worker_id};
use super::suite::ConformanceSuite;
use bytes::Bytes;

use crate::error::StoreError;
use crate::position::Position;
use crate::row::{
    CheckpointMetadata, FanOutConsumer, GroupRow, GroupView, LeaseRow, OperatorOrder, OrderId, OrderKind,
    PendingPosition, StreamRow, WorkerLoad, WorkerReport, WorkerRow, WorkerState,
};
use crate::store::listing::Listing;
use crate::types::Epoch;
use crate::update::{GroupUpdate, LeaseUpdate, StreamUpdate, WorkerUpdate};
use crate::write::WriteOutcome;

pub(super) async fn run(suite: &ConformanceSuite) {
    nothing_is_there(suite).await;
    inserts(suite).await;
    updates_of_missing_rows(suite).await;
    deletions(suite).await;
    the_group_itself(suite).await;
    the_consumer_of_a_stream(suite).await;
}

async fn nothing_is_there(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("nothing"));
    let id = worker_id("nobody", &mut fixtures::rng(suite.seed, 1));
    assert_eq!(store.worker(&group, &id).await.expect("a read"), None, "a missing worker reads as none");
    assert_eq!(
        store.lease(&group, &lease_key(0)).await.expect("a read"),
        None,
        "a missing lease reads as none"
    );
    assert_eq!(
        store.stream(&group, &stream("s")).await.expect("a read"),
        None,
        "a missing stream reads as none"
    );
}

/// Checks the outcomes of an insert and of another row's insert under the same key.
fn check_insert<R: Debug + Clone + PartialEq>(
    row: &R,
    first: Result<WriteOutcome<R>, StoreError>,
    second: Result<WriteOutcome<R>, StoreError>,
    read: Result<Option<R>, StoreError>,
) {
    let applied = WriteOutcome::Applied { before: None, after: row.clone() };
    assert_eq!(first.expect("an insert"), applied, "an insert of a missing row applies");
    let refused = WriteOutcome::Refused { current: Some(row.clone()) };
    assert_eq!(second.expect("an insert"), refused, "an insert of an existing row is refused with that row");
    assert_eq!(read.expect("a read").as_ref(), Some(row), "a row reads as it was written");
}

async fn inserts(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("inserts"));
    let rng = &mut fixtures::rng(suite.seed, 2);
    let (first, second) = (worker_id("first", rng), worker_id("second-@/._", rng));

    for row in [full_worker(first.clone()), WorkerRow::joining(second.clone(), None)] {
        let other = WorkerRow { heartbeat: row.heartbeat + 1, ..row.clone() };
        check_insert(
            &row,
            store.insert_worker(&group, &row).await,
            store.insert_worker(&group, &other).await,
            store.worker(&group, &row.id).await,
        );
    }
    let bare = LeaseRow::new(lease_key(1), Position::TrimHorizon);
    for row in [full_lease(lease_key(0), first, second), bare] {
        let other = LeaseRow { epoch: Epoch(5), owner: None, ..row.clone() };
        check_insert(
            &row,
            store.insert_lease(&group, &row).await,
            store.insert_lease(&group, &other).await,
            store.lease(&group, &row.key).await,
        );
    }
    let row = stream_row(stream("orders"), Position::AtTimestamp(1_700_000_000_123));
    let other = stream_row(stream("orders"), Position::TrimHorizon);
    check_insert(
        &row,
        store.insert_stream(&group, &row).await,
        store.insert_stream(&group, &other).await,
        store.stream(&group, &row.id).await,
    );
}

async fn updates_of_missing_rows(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("missing"));
    let rng = &mut fixtures::rng(suite.seed, 3);
    let id = worker_id("nobody", rng);
    let workers = [
        WorkerUpdate::Heartbeat {
            seen: 0,
            call: 1,
            load: WorkerLoad::default(),
            state: WorkerState::Alive,
            streams: None,
            report: WorkerReport::default(),
        },
        WorkerUpdate::Fence { seen: 0 },
        WorkerUpdate::Notify(crate::row::WorkerNotification::Assigned(lease_key(0))),
    ];
    for update in workers {
        let outcome = store.update_worker(&group, &id, &update).await.expect("an update");
        assert_eq!(
            outcome,
            WriteOutcome::Refused { current: None },
            "{update:?} of a missing row is refused"
        );
    }
    assert_eq!(store.worker(&group, &id).await.expect("a read"), None, "a refused update makes no row");
    let (seen, at) = (Epoch(0), 1);
    let leases = [
        LeaseUpdate::Acquire { by: id.clone(), seen, at_least: Epoch(0), caught_up_millis: None },
        LeaseUpdate::Checkpoint {
            owner: id.clone(),
            epoch: seen,
            position: Position::ShardEnd,
            at,
            metadata: CheckpointMetadata::default(),
            settles: false,
        },
        LeaseUpdate::Prepare {
            owner: id.clone(),
            epoch: seen,
            pending: PendingPosition { position: Position::ShardEnd, state: Bytes::new() },
        },
        LeaseUpdate::HandOver {
            owner: id.clone(),
            epoch: seen,
            to: None,
            position: None,
            at,
            metadata: CheckpointMetadata::default(),
            settles: false,
        },
        LeaseUpdate::Finish { owner: id.clone(), epoch: seen, children: Vec::new(), at },
        LeaseUpdate::Claim { by: id.clone(), seen, over: None },
        LeaseUpdate::Pin { to: Some(id.clone()) },
        LeaseUpdate::Pin { to: None },
        LeaseUpdate::Unclaim { by: id },
        LeaseUpdate::Seek { seen, to: Position::TrimHorizon, order: Some(OrderId(7)) },
        LeaseUpdate::Pause { paused: true, order: None },
        LeaseUpdate::Pause { paused: false, order: None },
    ];
    for update in leases {
        let outcome = store.update_lease(&group, &lease_key(0), &update).await.expect("an update");
        assert_eq!(
            outcome,
            WriteOutcome::Refused { current: None },
            "{update:?} of a missing row is refused"
        );
    }
    assert_eq!(
        store.lease(&group, &lease_key(0)).await.expect("a read"),
        None,
        "a refused update makes no row"
    );
}

async fn deletions(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("deletions"));
    let id = worker_id("leaver", &mut fixtures::rng(suite.seed, 4));
    store.insert_worker(&group, &full_worker(id.clone())).await.expect("an insert");
    for _ in 0..2 {
        store.delete_worker(&group, &id).await.expect("the deletion of a worker is idempotent");
        assert_eq!(store.worker(&group, &id).await.expect("a read"), None, "a deleted worker is gone");
    }
    let heartbeat = WorkerUpdate::Heartbeat {
        seen: 7,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    let outcome = store.update_worker(&group, &id, &heartbeat).await.expect("an update");
    assert_eq!(
        outcome,
        WriteOutcome::Refused { current: None },
        "a deleted worker does not come back by its heartbeat"
    );

    let start = stream_row(stream("orders"), Position::TrimHorizon);
    store.insert_stream(&group, &start).await.expect("an insert");
    for _ in 0..2 {
        store.delete_stream(&group, &start.id).await.expect("the deletion of a stream is idempotent");
        assert_eq!(store.stream(&group, &start.id).await.expect("a read"), None, "a deleted stream is gone");
    }

    let row = LeaseRow { epoch: Epoch(3), ..LeaseRow::new(lease_key(0), Position::ShardEnd) };
    store.insert_lease(&group, &row).await.expect("an insert");
    let delete = |epoch| store.delete_lease(&group, &row.key, Epoch(epoch));
    assert!(!delete(2).await.expect("a deletion"), "a lease of another epoch is not deleted");
    assert_eq!(store.lease(&group, &row.key).await.expect("a read").as_ref(), Some(&row));
    assert!(delete(3).await.expect("a deletion"), "a lease of this epoch is deleted");
    assert_eq!(store.lease(&group, &row.key).await.expect("a read"), None, "a deleted lease is gone");
    assert!(delete(3).await.expect("a deletion"), "the deletion of a lease is idempotent");
}

async fn the_consumer_of_a_stream(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("consumer"));
    let id = stream("orders");
    let row = stream_row(id.clone(), Position::TrimHorizon);
    let named = |name: &str, owned| FanOutConsumer { name: name.to_owned(), owned };
    let first = StreamUpdate::Consumer { seen: None, to: named("billing", true) };
    let missing = store.update_stream(&group, &id, &first).await.expect("an update");
    assert_eq!(missing, WriteOutcome::Refused { current: None }, "an update makes no row of a stream");
    store.insert_stream(&group, &row).await.expect("an insert");
    let after = StreamRow { consumer: Some(named("billing", true)), ..row.clone() };
    let update = store.update_stream(&group, &id, &first).await.expect("an update");
    assert_eq!(update.applied().as_ref(), Some(&after), "the first writer names the consumer");
    let late = StreamUpdate::Consumer { seen: None, to: named("billing", false) };
    let refused = store.update_stream(&group, &id, &late).await.expect("an update");
    assert_eq!(
        refused,
        WriteOutcome::Refused { current: Some(after.clone()) },
        "nobody names it again unseen"
    );
    let next = StreamUpdate::Consumer { seen: after.consumer.clone(), to: named("other", false) };
    assert!(store.update_stream(&group, &id, &next).await.expect("an update").is_applied());
    let read = store.stream(&group, &id).await.expect("a read");
    assert_eq!(read.and_then(|row| row.consumer), Some(named("other", false)), "what was seen is replaced");
}

async fn the_group_itself(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("itself"));
    assert_eq!(
        store.group(&group).await.expect("a read"),
        GroupRow::default(),
        "a group begins as the default"
    );
    let order = OperatorOrder::new(OrderId(7), OrderKind::Seek, "to where it was, said \"so\"");
    let update = async |update: GroupUpdate| store.update_group(&group, &update).await.expect("an update");
    let row = update(GroupUpdate::Remember(order.clone())).await.applied().expect("no condition is broken");
    assert_eq!(row.orders, std::slice::from_ref(&order), "a group's row remembers orders");
    let another = OperatorOrder::new(OrderId(7), OrderKind::Pause, "the group");
    for late in [another, OperatorOrder::new(OrderId(6), OrderKind::Pause, "the group")] {
        let refused = update(GroupUpdate::Remember(late)).await;
        assert_eq!(refused, WriteOutcome::Refused { current: Some(row.clone()) }, "an id is taken once");
    }
    let paused_too = update(GroupUpdate::Pause { at: 1 }).await.applied().map(|row| row.orders);
    assert_eq!(paused_too.as_deref(), Some(&[order][..]), "a pause leaves them");
    for id in 8..40 {
        update(GroupUpdate::Remember(OperatorOrder::new(OrderId(id), OrderKind::Seek, "on"))).await;
    }
    let ids: Vec<u64> =
        store.group(&group).await.expect("a read").orders.iter().map(|order| order.id.0).collect();
    assert_eq!(ids, (20..40).collect::<Vec<_>>(), "the last 20 orders are remembered");
    store.delete_group(&group).await.expect("a deletion");
    let paused = GroupRow { paused_at: Some(1_700_000_000_123), ..GroupRow::default() };
    for at in [1_700_000_000_123, 1_700_000_009_999] {
        let row = update(GroupUpdate::Pause { at }).await.applied();
        assert_eq!(row.as_ref(), Some(&paused), "a group is paused since it was first paused");
        assert_eq!(store.group(&group).await.expect("a read"), paused, "a read sees the group's row");
    }
    let view = GroupView { group: paused, ..GroupView::default() };
    super::listings::eventually(store, &group, Listing::All, &view, "a listing shows the group's row").await;
    for _ in 0..2 {
        let row = update(GroupUpdate::Resume).await.applied();
        assert_eq!(row, Some(GroupRow::default()), "a resumed group is as the default");
    }
    update(GroupUpdate::Pause { at: 7 }).await;
    for _ in 0..2 {
        store.delete_group(&group).await.expect("the deletion of a group's row is idempotent");
        let row = store.group(&group).await.expect("a read");
        assert_eq!(row, GroupRow::default(), "a deleted group is as the default");
    }
}
