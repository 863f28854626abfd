//! Groups whose leases are spread over several partition keys.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use rokini_lease::conformance::ConformanceSuite;
use rokini_lease::{DynamoStore, GroupView, LeaseStore, LeaseStoreExt, Listing, StoreErrorKind};

use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, group, lease, store, worker};

pub(super) fn keys(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn spread(server: &Server, count: u16) -> DynamoStore {
    store(&server.address).partitions(keys(count))
}

/// The partition keys in use.
pub(super) async fn places(server: &Server) -> BTreeSet<String> {
    let items = server.client().scan().table_name(TABLE).send().await.unwrap().items.unwrap();
    items.iter().map(|item| item["group"].as_s().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_spread_over_several_partition_keys_keeps_the_contract() {
    let server = Server::with_table().await;
    let report = ConformanceSuite::new(Arc::new(spread(&server, 3)))
        .seed(3)
        .races(50)
        .sequences(8)
        .listed(50)
        .run()
        .await;
    assert!(report.applied > 100, "{report:?}");
}

#[tokio::test]
async fn a_look_at_the_workers_of_a_spread_group_is_one_query() {
    let server = Server::with_table().await;
    let direct = spread(&server, 16);
    for name in ["a", "b", "c"] {
        direct.insert_worker(&group(), &worker(name)).await.unwrap();
    }
    let proxy = Proxy::start(&server.address, |_| ProxyAction::Forward).await;
    let store = store(&proxy.address);
    assert_eq!(store.list(&group(), Listing::Workers).await.unwrap().workers.len(), 3);
    assert_eq!(proxy.seen(), ["GetItem", "Query"], "the first one asks for the layout");
    for _ in 0..3 {
        store.list(&group(), Listing::Workers).await.unwrap();
    }
    assert_eq!(proxy.seen(), ["Query"; 3]);
}

#[tokio::test]
async fn the_number_of_partition_keys_is_stored_when_a_group_begins() {
    let server = Server::with_table().await;
    let first = spread(&server, 4);
    for n in 0..40 {
        first.insert_lease(&group(), &lease(&format!("s-{n:02}"))).await.unwrap();
    }
    first.insert_worker(&group(), &worker("a")).await.unwrap();
    let whole = first.list(&group(), Listing::All).await.unwrap();
    assert_eq!((whole.leases.len(), whole.workers.len()), (40, 1));
    let expected =
        ["billing", "billing#1.0", "billing#1.1", "billing#1.2", "billing#1.3", "billing#1.workers"];
    assert_eq!(places(&server).await, expected.map(str::to_owned).into());

    // Another number is refused, whatever is asked for.
    for count in [1, 3] {
        let other = spread(&server, count);
        for error in [
            other.insert_worker(&group(), &worker("b")).await.unwrap_err(),
            other.list(&group(), Listing::All).await.unwrap_err(),
            other.lease(&group(), &lease("s-00").key).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Configuration);
            let text = error.to_string();
            let next = format!("rokini group repartition billing {count}");
            assert!(text.contains("`billing`") && text.contains("partitions(4)"), "{text}");
            assert!(text.contains(&next), "{text}");
        }
    }
    // None takes the stored one, by its first listing or by its first worker.
    let tool = store(&server.address);
    assert_eq!(tool.list(&group(), Listing::All).await.unwrap(), whole);
    assert!(tool.lease(&group(), &lease("s-07").key).await.unwrap().is_some());
    // Whatever it asks first.
    let tool = store(&server.address);
    assert_eq!(tool.list(&group(), Listing::Workers).await.unwrap().workers, [worker("a")]);
    let tool = store(&server.address);
    assert!(tool.lease(&group(), &lease("s-07").key).await.unwrap().is_some());
    let late = store(&server.address);
    assert!(late.insert_worker(&group(), &worker("c")).await.unwrap().is_applied());
    let workers = first.list(&group(), Listing::Workers).await.unwrap().workers;
    assert_eq!(workers, [worker("a"), worker("c")]);
    assert_eq!(late.list(&group(), Listing::Workers).await.unwrap().workers, workers);

    // A group that has begun under its name stays there.
    let plain = rokini_lease::GroupId::new("plain").unwrap();
    tool.insert_lease(&plain, &lease("s-0")).await.unwrap();
    let error = first.insert_worker(&plain, &worker("a")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Configuration, "{error}");
    assert_eq!(tool.list(&plain, Listing::All).await.unwrap().leases.len(), 1);

    // Deleted, it may begin otherwise.
    for row in whole.leases {
        assert!(first.delete_lease(&group(), &row.key, row.epoch).await.unwrap());
    }
    for row in workers {
        first.delete_worker(&group(), &row.id).await.unwrap();
    }
    first.delete_group(&group()).await.unwrap();
    let anew = spread(&server, 2);
    assert_eq!(anew.list(&group(), Listing::All).await.unwrap(), GroupView::default());
}
