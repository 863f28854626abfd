//! Whole listings, in order.

use crate::store::ext::LeaseStoreExt;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::fixtures::{self, full_lease, full_worker, lease_key, stream, stream_row, worker_id};
use super::suite::ConformanceSuite;
use crate::position::Position;
use crate::row::{GroupView, LeaseRow};
use crate::store::contract::LeaseStore;
use crate::store::listing::Listing;
use crate::types::{GroupId, WorkerId};

/// Lists until the rows are as expected: a listing may lag behind. AWS documents for eventually consistent
/// reads that all copies agree "usually within a second".
pub(super) async fn eventually(
    store: &Arc<dyn LeaseStore>,
    group: &GroupId,
    listing: Listing,
    expected: &GroupView,
    sentence: &str,
) {
    const LOOKS: u32 = 100;
    for look in 1..=LOOKS {
        let view = store.list(group, listing).await.expect("a listing");
        if view == *expected {
            return;
        }
        assert!(look < LOOKS, "{sentence}: {}", difference(&view, expected));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first row in which two views differ.
fn difference(listed: &GroupView, expected: &GroupView) -> String {
    fn first<R: PartialEq + Debug>(listed: &[R], expected: &[R]) -> Option<String> {
        let at = (0..listed.len().max(expected.len())).find(|at| listed.get(*at) != expected.get(*at))?;
        let counts = format!("{} rows instead of {}", listed.len(), expected.len());
        Some(format!("{counts}, row {at} is {:?} instead of {:?}", listed.get(at), expected.get(at)))
    }
    first(&listed.workers, &expected.workers)
        .or_else(|| first(&listed.leases, &expected.leases))
        .or_else(|| first(&listed.streams, &expected.streams))
        .unwrap_or_else(|| {
            format!("{:?} {:?} instead of {:?}", listed.group, listed.unreadable, expected.group)
        })
}

pub(super) async fn run(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("listings"));
    let rng = &mut fixtures::rng(suite.seed, 7);
    let empty = store.list(&group, Listing::All).await.expect("a listing");
    assert_eq!(empty, GroupView::default(), "a listing of a group without rows is empty");

    // Names of which one begins the other, with the characters below and above digits and letters.
    let names = ["w", "w-1", "w.1", "w/1", "w@1", "w1", "w_1", "W"];
    let mut ids: Vec<WorkerId> = names.iter().map(|name| worker_id(name, rng)).collect();
    ids.push(worker_id("w", rng));
    let mut expected = GroupView {
        workers: ids.iter().cloned().map(full_worker).collect(),
        leases: (0..suite.listed)
            .map(|index| match index % 2 {
                0 => full_lease(lease_key(index), ids[0].clone(), ids[1].clone()),
                _ => LeaseRow::new(lease_key(index), Position::TrimHorizon),
            })
            .collect(),
        streams: ["orders", "orders-2"].map(|name| stream_row(stream(name), Position::ShardEnd)).into(),
        ..GroupView::default()
    };
    for row in &expected.workers {
        store.insert_worker(&group, row).await.expect("an insert");
    }
    expected.workers.sort_by(|a, b| a.id.cmp(&b.id));
    let now = store.list(&group, Listing::WorkersNow).await.expect("a listing");
    assert_eq!(
        now.workers, expected.workers,
        "a consistent listing shows every worker that was inserted before"
    );
    for row in expected.leases.iter().rev() {
        store.insert_lease(&group, row).await.expect("an insert");
    }
    for row in expected.streams.iter().rev() {
        store.insert_stream(&group, row).await.expect("an insert");
    }
    expected.streams.sort_by(|a, b| a.id.cmp(&b.id));
    eventually(store, &group, Listing::All, &expected, "a listing is whole and in order").await;
    let workers = GroupView { workers: expected.workers, ..GroupView::default() };
    eventually(
        store,
        &group,
        Listing::Workers,
        &workers,
        "a listing of workers shows all of them, and only them",
    )
    .await;
}
