//! Separate groups, and separate streams within one.

use super::fixtures::{self, full_lease, full_worker, lease_key, shard, stream, stream_row, worker_id};
use super::listings::eventually;
use super::suite::ConformanceSuite;
use crate::position::Position;
use crate::row::{GroupView, LeaseRow};
use crate::store::ext::LeaseStoreExt;
use crate::store::listing::Listing;
use crate::types::{Epoch, LeaseKey};
use crate::update::{GroupUpdate, LeaseUpdate, WorkerUpdate};

pub(super) async fn run(suite: &ConformanceSuite) {
    groups_apart(suite).await;
    streams_apart(suite).await;
}

async fn groups_apart(suite: &ConformanceSuite) {
    let store = &suite.store;
    // One name is the beginning of the other.
    let (mine, theirs) = (suite.group("apart"), suite.group("apart-2"));
    let rng = &mut fixtures::rng(suite.seed, 5);
    let (id, other) = (worker_id("w", rng), worker_id("x", rng));
    let worker = full_worker(id.clone());
    let lease = LeaseRow { epoch: Epoch(1), ..full_lease(lease_key(0), id.clone(), other.clone()) };
    let start = stream_row(stream("orders"), Position::TrimHorizon);
    for group in [&mine, &theirs] {
        assert!(
            store.insert_worker(group, &worker).await.expect("an insert").is_applied(),
            "groups are apart"
        );
        assert!(store.insert_lease(group, &lease).await.expect("an insert").is_applied(), "groups are apart");
        assert!(
            store.insert_stream(group, &start).await.expect("an insert").is_applied(),
            "groups are apart"
        );
    }
    let fence = WorkerUpdate::Fence { seen: worker.heartbeat };
    assert!(store.update_worker(&mine, &id, &fence).await.expect("an update").is_applied());
    let acquire =
        LeaseUpdate::Acquire { by: other, seen: Epoch(1), at_least: Epoch(0), caught_up_millis: None };
    assert!(store.update_lease(&mine, &lease.key, &acquire).await.expect("an update").is_applied());
    store.update_group(&mine, &GroupUpdate::Pause { at: 1 }).await.expect("an update");
    store.delete_group(&mine).await.expect("a deletion");
    store.delete_worker(&mine, &id).await.expect("a deletion");
    assert!(store.delete_lease(&mine, &lease.key, Epoch(2)).await.expect("a deletion"));

    let untouched = GroupView {
        workers: vec![worker],
        leases: vec![lease],
        streams: vec![start.clone()],
        ..GroupView::default()
    };
    eventually(store, &theirs, Listing::All, &untouched, "another group's rows stay as they are").await;
    let left = GroupView { streams: vec![start], ..GroupView::default() };
    eventually(store, &mine, Listing::All, &left, "a listing shows no other group's rows").await;
}

async fn streams_apart(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("streams"));
    let id = worker_id("w", &mut fixtures::rng(suite.seed, 6));
    let old = LeaseKey::new(stream("orders"), shard(0));
    let new = LeaseKey::new(stream("orders-2"), shard(0));
    for key in [&old, &new] {
        let row = LeaseRow::new(key.clone(), Position::TrimHorizon);
        assert!(store.insert_lease(&group, &row).await.expect("an insert").is_applied(), "streams are apart");
    }
    let acquire = LeaseUpdate::Acquire { by: id, seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None };
    assert!(store.update_lease(&group, &old, &acquire).await.expect("an update").is_applied());
    let untouched = store.lease(&group, &new).await.expect("a read").expect("the other stream's lease");
    assert_eq!(untouched, LeaseRow::new(new, Position::TrimHorizon), "another stream's lease stays as it is");
}
