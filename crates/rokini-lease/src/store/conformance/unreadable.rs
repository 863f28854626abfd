//! Rows that cannot be read stop nothing but themselves.

use super::fixtures::{self, full_worker, lease_key, worker_id};
use super::listings::eventually;
use super::suite::ConformanceSuite;
use crate::error::{StoreError, StoreErrorKind};
use crate::position::Position;
use crate::row::{LeaseRow, RowKey, WorkerNotification};
use crate::store::ext::LeaseStoreExt;
use crate::store::listing::Listing;
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::write::WriteOutcome;

fn invalid<T: std::fmt::Debug>(result: Result<T, StoreError>, sentence: &str) {
    let error = result.expect_err(sentence);
    assert_eq!(error.kind(), StoreErrorKind::InvalidRow, "{sentence}: {error}");
}

pub(super) async fn run(suite: &ConformanceSuite) {
    let Some(damage) = &suite.damage else { return };
    let (store, group) = (&suite.store, suite.group("unreadable"));
    let id = worker_id("newer", &mut fixtures::rng(suite.seed, 9));
    let bare = |n| LeaseRow::new(lease_key(n), Position::TrimHorizon);
    let worker = full_worker(id.clone());
    store.insert_worker(&group, &worker).await.expect("an insert");
    for n in 0..3 {
        store.insert_lease(&group, &bare(n)).await.expect("an insert");
    }
    let mut expected = store.list(&group, Listing::All).await.expect("a listing");
    expected.workers = vec![worker];
    expected.leases = (0..3).map(bare).collect();
    eventually(store, &group, Listing::All, &expected, "everything is there").await;

    let damaged = [RowKey::Lease(lease_key(1)), RowKey::Worker(id.clone())];
    for key in &damaged {
        damage.0(group.clone(), key.clone()).await;
    }
    let mut view =
        store.list(&group, Listing::All).await.expect("a row that cannot be read fails no listing");
    for _ in 0..100 {
        if view.unreadable.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        view = store.list(&group, Listing::All).await.expect("a row that cannot be read fails no listing");
    }
    assert_eq!(view.leases, vec![bare(0), bare(2)], "the other rows are listed");
    let mut named: Vec<RowKey> = view.unreadable.iter().filter_map(|row| row.key.clone()).collect();
    named.sort();
    assert_eq!(named, damaged, "rows that cannot be read are named with their keys");

    invalid(store.lease(&group, &lease_key(1)).await, "reading it is an error");
    invalid(store.worker(&group, &id).await, "reading it is an error");
    let note = WorkerUpdate::Notify(WorkerNotification::GroupChanged);
    if let Ok(outcome) = store.update_worker(&group, &id, &note).await {
        assert_eq!(outcome, WriteOutcome::Refused { current: None }, "what cannot be read is not changed");
    }
    let pause = LeaseUpdate::Pause { paused: true, order: None };
    if let Ok(outcome) = store.update_lease(&group, &lease_key(1), &pause).await {
        assert_eq!(outcome, WriteOutcome::Refused { current: None }, "what cannot be read is not changed");
    }
    let inserted = store.insert_lease_if_missing(&group, &bare(1)).await;
    assert!(!inserted.expect("it is there"), "an insert leaves a row that cannot be read alone");
    let other = store.update_lease(&group, &lease_key(2), &pause).await.expect("an update");
    assert!(other.is_applied(), "the other rows are written as ever");

    store.delete_worker(&group, &id).await.expect("it can be deleted");
    assert_eq!(store.worker(&group, &id).await.expect("a read"), None, "and is gone then");
}
