use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use rokini_lease::CountingStore;
use rokini_lease::conformance::ConformanceSuite;

use super::dynalite::Dynalite;
use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamo_store_keeps_the_contract() {
    let server = Server::start().await;
    let store = CountingStore::new(server.store().await);
    let started = std::time::Instant::now();
    let client = server.client();
    let suite = ConformanceSuite::new(Arc::new(store.clone())).races(200).damage(move |group, key| {
        let client = client.clone();
        async move {
            // A newer version's, or somebody's by hand.
            let attribute = if key.to_string().starts_with("worker#") { "beat" } else { "epoch" };
            let update = client
                .update_item()
                .table_name(TABLE)
                .key("group", AttributeValue::S(group.to_string()))
                .key("row", AttributeValue::S(key.to_string()))
                .update_expression("SET #a = :v")
                .expression_attribute_names("#a", attribute)
                .expression_attribute_values(":v", AttributeValue::S("many".to_owned()));
            update.send().await.unwrap();
        }
    });
    let report = suite.run().await;
    eprintln!("{report:?} in {:?}: {}", started.elapsed(), store.snapshot());
}

/// Some servers know no `ReturnValuesOnConditionCheckFailure`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_refuse_without_the_item_are_asked_for_it() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |request| {
        request.body = request.body.replace(
            r#""ReturnValuesOnConditionCheckFailure":"ALL_OLD""#,
            r#""ReturnValuesOnConditionCheckFailure":"NONE""#,
        );
        ProxyAction::Forward
    })
    .await;
    ConformanceSuite::new(Arc::new(store(&proxy.address)))
        .seed(2)
        .races(20)
        .sequences(4)
        .listed(20)
        .run()
        .await;
}

/// Every fifth reply to a write is lost on the way, and the SDK tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c13_the_contract_holds_over_a_link_that_loses_replies() {
    let server = Server::with_table().await;
    let mut writes = 0;
    let proxy = Proxy::start(&server.address, move |request| {
        writes += u32::from(request.action == "UpdateItem");
        if request.action == "UpdateItem" && writes % 5 == 0 {
            ProxyAction::DropReply
        } else {
            ProxyAction::Forward
        }
    })
    .await;
    ConformanceSuite::new(Arc::new(store(&proxy.address)))
        .lost_replies(true)
        .races(20)
        .sequences(8)
        .listed(20)
        .run()
        .await;
}

/// Against a server that others wrote, from npm, in a directory that is removed afterwards; or, where
/// `ROKINI_TEST_DYNAMODB` names a host and port, against that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_keeps_the_contract() {
    let given = std::env::var("ROKINI_TEST_DYNAMODB").ok();
    let server = match given {
        Some(_) => None,
        None => match Dynalite::start().await {
            Ok(server) => Some(server),
            Err(reason) => {
                crate::skipped(format_args!(
                    "{reason}; ROKINI_TEST_DYNAMODB=host:port runs this against a server of your own"
                ));
                return;
            }
        },
    };
    let endpoint = given.or_else(|| server.as_ref().map(|server| server.address.clone())).unwrap();
    let started = std::time::Instant::now();
    let store = CountingStore::new(store(&endpoint).create_table(true));
    // The groups of an earlier run may be there.
    let seed = std::process::id().into();
    ConformanceSuite::new(Arc::new(store.clone())).seed(seed).races(100).sequences(6).listed(50).run().await;
    eprintln!("{endpoint} in {:?}: {}", started.elapsed(), store.snapshot());
}
