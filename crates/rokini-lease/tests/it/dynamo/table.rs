//! What is in the table: paging, foreign attributes, rows that cannot be read, groups side by side.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use rokini_lease::conformance::ConformanceSuite;
use rokini_lease::{
    CheckpointMetadata, Epoch, GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt,
    LeaseUpdate, Listing, Position, ShardId, StoreErrorKind, StreamId, WorkerLoad, WorkerReport, WorkerState,
    WorkerUpdate,
};

use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, group, id, lease, store, worker};

/// The actions that work on data.
const DATA: [&str; 5] = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x1_five_actions_on_a_table_made_beforehand_are_enough() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |request| match DATA.contains(&request.action.as_str()) {
        true => ProxyAction::Forward,
        false => ProxyAction::refuse("AccessDeniedException"),
    })
    .await;
    ConformanceSuite::new(Arc::new(store(&proxy.address))).races(20).sequences(8).listed(20).run().await;
    let mut seen = proxy.seen();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["DeleteItem", "DescribeTable", "GetItem", "PutItem", "Query", "UpdateItem"]);
}

#[tokio::test]
async fn r8_a_listing_of_more_than_a_page_comes_whole_or_not_at_all() {
    let server = Server::with_table().await;
    let long = "x".repeat(255);
    let row = |index: u32| {
        let key =
            LeaseKey::new(StreamId::new(&long).unwrap(), ShardId::new(format!("s-{index:04}")).unwrap());
        LeaseRow::new(key, Position::TrimHorizon).with_parents(vec![ShardId::new(&long).unwrap(); 4])
    };
    let direct = server.store().await;
    let leases: Vec<LeaseRow> = (0..1000).map(row).collect();
    for row in &leases {
        direct.insert_lease(&group(), row).await.unwrap();
    }
    direct.insert_worker(&group(), &worker("w")).await.unwrap();
    let whole = GroupView { workers: vec![worker("w")], leases, ..GroupView::default() };

    let mut later = 0;
    let proxy = Proxy::start(&server.address, move |request| {
        let further = request.body.contains("ExclusiveStartKey");
        later += u32::from(further);
        // The second listing breaks on its second page.
        if further && later == 2 {
            ProxyAction::refuse("AccessDeniedException")
        } else {
            ProxyAction::Forward
        }
    })
    .await;
    let store = store(&proxy.address);
    assert_eq!(store.list(&group(), Listing::All).await.unwrap(), whole);
    assert_eq!(proxy.seen(), ["Query", "Query"], "more than 1 MB is more than a page");
    store.list(&group(), Listing::All).await.unwrap_err();
    assert_eq!(proxy.seen(), ["Query", "Query"]);
    let workers = store.list(&group(), Listing::Workers).await.unwrap();
    assert_eq!((workers.workers, workers.leases.len()), (whole.workers, 0));
}

#[tokio::test]
async fn reads_of_one_row_are_consistent_and_listings_cost_half() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |request| {
        let consistent = request.body.contains(r#""ConsistentRead":true"#);
        match request.action.as_str() {
            "GetItem" => assert!(consistent, "{}", request.body),
            action => assert!(action == "Query" && !consistent, "{action}: {}", request.body),
        }
        ProxyAction::Forward
    })
    .await;
    let store = store(&proxy.address);
    assert_eq!(store.worker(&group(), &id("w")).await.unwrap(), None);
    assert_eq!(store.lease(&group(), &lease("s-0").key).await.unwrap(), None);
    assert_eq!(store.stream(&group(), &lease("s-0").key.stream).await.unwrap(), None);
    store.list(&group(), Listing::Workers).await.unwrap();
    store.list(&group(), Listing::All).await.unwrap();
}

#[tokio::test]
async fn attributes_that_this_version_does_not_know_survive() {
    let server = Server::with_table().await;
    let store = server.store().await;
    store.insert_lease(&group(), &lease("s-0")).await.unwrap();
    store.insert_worker(&group(), &worker("w")).await.unwrap();
    let client = server.client();
    let keys = [format!("lease#{}", lease("s-0").key), format!("worker#{}", id("w"))];
    let item =
        |row: &str| [("group", "billing"), ("row", row)].map(|(name, value)| (name.to_owned(), text(value)));
    for row in &keys {
        let update = client.update_item().table_name(TABLE).set_key(Some(item(row).into()));
        let update =
            update.update_expression("SET #extra = :extra").expression_attribute_names("#extra", "extra");
        update.expression_attribute_values(":extra", text("kept")).send().await.unwrap();
    }
    let acquire =
        LeaseUpdate::Acquire { by: id("w"), seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None };
    assert!(store.update_lease(&group(), &lease("s-0").key, &acquire).await.unwrap().is_applied());
    let beat = WorkerUpdate::Heartbeat {
        seen: 0,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    assert!(store.update_worker(&group(), &id("w"), &beat).await.unwrap().is_applied());
    for row in &keys {
        let read = client.get_item().table_name(TABLE).set_key(Some(item(row).into())).send().await.unwrap();
        assert_eq!(read.item.unwrap()["extra"], text("kept"), "{row}");
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_does_not_fail_a_listing() {
    let server = Server::with_table().await;
    let store = server.store().await;
    let key = lease("s-0").key;
    let put = server.client().put_item().table_name(TABLE);
    put.item("group", text("billing"))
        .item("row", text(&format!("lease#{key}")))
        .item("position", text("TRIM_HORIZON"))
        .item("rank", text("0"))
        .item("epoch", text("seven"))
        .send()
        .await
        .unwrap();
    store.insert_lease(&group(), &lease("s-1")).await.unwrap();
    let view = store.list(&group(), Listing::All).await.unwrap();
    assert_eq!(view.leases, [lease("s-1")]);
    assert_eq!(
        view.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("row `lease#{key}` cannot be read: attribute `epoch` is `seven`: expected a whole number")]
    );
    let acquire =
        LeaseUpdate::Acquire { by: id("w"), seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None };
    for error in [
        store.lease(&group(), &key).await.unwrap_err(),
        store.update_lease(&group(), &key, &acquire).await.unwrap_err(),
        store.insert_lease(&group(), &lease("s-0")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::InvalidRow);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains("`rokini`"), "{error}");
        assert_eq!(
            cause,
            format!("attribute `epoch` of row `lease#{key}` is `seven`: expected a whole number")
        );
    }
    store.list(&group(), Listing::Workers).await.unwrap();
}

#[tokio::test]
async fn c14_groups_and_streams_in_one_table_do_not_touch_each_other() {
    let server = Server::with_table().await;
    let store = server.store().await;
    let groups = ["billing", "billing-2"].map(|name| GroupId::new(name).unwrap());
    // The same name, deleted and made again.
    let streams = ["orders@1700000000123", "orders@1800000000456"].map(|id| StreamId::new(id).unwrap());
    let shard = ShardId::new("shardId-000000000000").unwrap();
    for group in &groups {
        for stream in &streams {
            let row = LeaseRow::new(LeaseKey::new(stream.clone(), shard.clone()), Position::TrimHorizon);
            assert!(store.insert_lease(group, &row).await.unwrap().is_applied());
        }
        assert!(store.insert_worker(group, &worker("w")).await.unwrap().is_applied());
    }
    let others = store.list(&groups[1], Listing::All).await.unwrap();
    let old = LeaseKey::new(streams[0].clone(), shard.clone());
    for update in [
        LeaseUpdate::Acquire { by: id("w"), seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None },
        LeaseUpdate::Checkpoint {
            owner: id("w"),
            epoch: Epoch(1),
            position: Position::AtTimestamp(9),
            at: 1,
            metadata: CheckpointMetadata::default(),
            settles: false,
        },
        LeaseUpdate::Finish { owner: id("w"), epoch: Epoch(1), children: Vec::new(), at: 2 },
    ] {
        assert!(store.update_lease(&groups[0], &old, &update).await.unwrap().is_applied());
    }
    let fence = WorkerUpdate::Fence { seen: 0 };
    assert!(store.update_worker(&groups[0], &id("w"), &fence).await.unwrap().is_applied());
    assert_eq!(store.list(&groups[1], Listing::All).await.unwrap(), others, "the other group is as it was");
    let new = store.lease(&groups[0], &LeaseKey::new(streams[1].clone(), shard)).await.unwrap().unwrap();
    assert_eq!((new.position, new.epoch), (Position::TrimHorizon, Epoch(0)), "the new stream starts afresh");
}
