//! What init does and says about a table that is missing, foreign, forbidden or out of reach.

use std::time::{Duration, Instant};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use aws_types::SdkConfig;
use rokini_lease::{
    BillingMode, DynamoStore, GroupId, LeaseStore, LeaseStoreExt, Listing, StoreError, StoreErrorKind,
    WorkerUpdate,
};
use tokio::net::TcpListener;

use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, config, group, id, store, worker};

/// Checks the kind of an error and what its message tells.
fn check(error: &StoreError, kind: StoreErrorKind, told: &[&str]) {
    let message = error.to_string();
    eprintln!("{kind:?}: {message}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        eprintln!("    {error}");
        cause = error.source();
    }
    assert_eq!(error.kind(), kind, "{message}");
    for part in told {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

async fn init_error(store: DynamoStore) -> StoreError {
    store.init().await.unwrap_err()
}

#[tokio::test]
async fn c12_a_missing_table_is_named_with_the_next_step() {
    let server = Server::start().await;
    let error = init_error(store(&server.address)).await;
    let told = ["`rokini`", "`eu-west-1`", &server.address, "--create-table"];
    check(&error, StoreErrorKind::MissingTable, &told);
    let error = store(&server.address).list(&group(), Listing::All).await.unwrap_err();
    check(&error, StoreErrorKind::MissingTable, &told);
}

#[tokio::test]
async fn k2_no_table_is_made_unless_asked_for() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.address, |_| ProxyAction::Forward).await;
    init_error(store(&proxy.address)).await;
    assert_eq!(proxy.seen(), ["DescribeTable"]);
    // A table that is asked for costs nothing while idle, unless capacity is asked for too.
    store(&proxy.address).create_table(true).init().await.unwrap();
    let table = server.client().describe_table().table_name(TABLE).send().await.unwrap().table.unwrap();
    let billing = table.billing_mode_summary.unwrap().billing_mode.unwrap();
    assert_eq!(billing, aws_sdk_dynamodb::types::BillingMode::PayPerRequest);
}

async fn foreign_table(server: &Server) {
    let attribute =
        AttributeDefinition::builder().attribute_name("ShardID").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("ShardID").key_type(KeyType::Hash);
    let request = server.client().create_table().table_name(TABLE);
    let request = request.billing_mode(aws_sdk_dynamodb::types::BillingMode::PayPerRequest);
    request
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn c12_another_schema_is_told_with_what_was_expected() {
    let server = Server::start().await;
    foreign_table(&server).await;
    let error = init_error(store(&server.address).create_table(true)).await;
    let expected = "expected partition key `group` (S) and sort key `row` (S)";
    let found = "partition key `ShardID` (S) and no sort key";
    check(&error, StoreErrorKind::InvalidSchema, &["`rokini`", found, expected, "name another table"]);

    // The same without the permission to describe it.
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "DescribeTable" => ProxyAction::refuse("AccessDeniedException"),
        _ => ProxyAction::Forward,
    })
    .await;
    let error = init_error(store(&proxy.address)).await;
    check(&error, StoreErrorKind::InvalidSchema, &["`rokini`", "another primary key", expected]);
}

#[tokio::test]
async fn c12_a_missing_permission_names_action_and_table() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |_| ProxyAction::refuse("AccessDeniedException")).await;
    let store = store(&proxy.address);
    check(
        &store.init().await.unwrap_err(),
        StoreErrorKind::Permission,
        &["dynamodb:GetItem", "`rokini`", "`check_group`"],
    );
    let fence = WorkerUpdate::Fence { seen: 0 };
    for action in ["Query", "GetItem", "PutItem", "UpdateItem", "DeleteItem"] {
        let proxy = Proxy::start(&server.address, move |request| match request.action == action {
            true => ProxyAction::refuse("AccessDeniedException"),
            false => ProxyAction::Forward,
        })
        .await;
        let store = super::server::store(&proxy.address);
        let error = match action {
            "Query" => store.list(&group(), Listing::All).await.unwrap_err(),
            "GetItem" => store.worker(&group(), &id("w")).await.unwrap_err(),
            "PutItem" => store.insert_worker(&group(), &worker("w")).await.unwrap_err(),
            "UpdateItem" => store.update_worker(&group(), &id("w"), &fence).await.unwrap_err(),
            _ => store.delete_worker(&group(), &id("w")).await.unwrap_err(),
        };
        let told = [&format!("dynamodb:{action}"), "`rokini`", "`eu-west-1`"];
        check(&error, StoreErrorKind::Permission, &told);
        assert!(!error.is_ambiguous(), "a refusal of the service changed nothing");
    }
}

#[tokio::test]
async fn c12_a_table_that_may_not_be_made_names_the_action() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "CreateTable" => ProxyAction::refuse("AccessDeniedException"),
        _ => ProxyAction::Forward,
    })
    .await;
    let error = init_error(store(&proxy.address).create_table(true)).await;
    check(&error, StoreErrorKind::Permission, &["dynamodb:CreateTable", "`rokini`"]);
}

#[tokio::test]
async fn credentials_for_one_group_check_with_that_group() {
    let server = Server::with_table().await;
    // What IAM does by the condition key dynamodb:LeadingKeys.
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "DescribeTable" => ProxyAction::refuse("AccessDeniedException"),
        _ if !request.body.contains("\"billing\"") => ProxyAction::refuse("AccessDeniedException"),
        _ => ProxyAction::Forward,
    })
    .await;
    init_error(store(&proxy.address)).await;
    store(&proxy.address).check_group(group()).init().await.unwrap();
    init_error(store(&proxy.address).check_group(GroupId::new("other").unwrap())).await;
}

#[tokio::test]
async fn wrong_credentials_and_configuration_are_told() {
    let server = Server::with_table().await;
    for code in ["UnrecognizedClientException", "InvalidSignatureException"] {
        let proxy = Proxy::start(&server.address, move |_| ProxyAction::refuse(code)).await;
        let error = init_error(store(&proxy.address)).await;
        check(&error, StoreErrorKind::Configuration, &["credentials", code, "`eu-west-1`"]);
    }
    let without = |change: fn(aws_types::sdk_config::Builder) -> aws_types::sdk_config::Builder| {
        let whole = config(&server.address);
        DynamoStore::new(&change(whole.into_builder()).build(), TABLE)
    };
    let error = init_error(without(|builder| builder.region(None))).await;
    check(&error, StoreErrorKind::Configuration, &["region `not set`"]);
    #[derive(Debug)]
    struct Nothing;
    impl aws_credential_types::provider::ProvideCredentials for Nothing {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = aws_credential_types::provider::error::CredentialsError::not_loaded("none here");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let error =
        init_error(without(|builder| builder.credentials_provider(SharedCredentialsProvider::new(Nothing))))
            .await;
    check(&error, StoreErrorKind::Configuration, &["no AWS credentials", "AWS_ACCESS_KEY_ID"]);
    // Built without any HTTP client.
    let bare = SdkConfig::builder().region(aws_types::region::Region::new("eu-west-1")).build();
    let error = init_error(DynamoStore::new(&bare, TABLE)).await;
    check(&error, StoreErrorKind::Configuration, &[]);
}

#[tokio::test]
async fn an_unreachable_endpoint_is_told_in_bounded_time() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = init_error(store(&closed)).await;
    check(&error, StoreErrorKind::Unavailable, &["cannot be reached", &closed]);

    let silent = Proxy::start("", |_| ProxyAction::Hang).await;
    let (attempt, operation) = (Duration::from_millis(200), Duration::from_millis(500));
    let quiet = store(&silent.address).timeouts(attempt, operation);
    let started = Instant::now();
    check(&quiet.init().await.unwrap_err(), StoreErrorKind::Unavailable, &["in time", &silent.address]);
    let server = Server::with_table().await;
    let silent = Proxy::start(&server.address, |request| match request.action.as_str() {
        "UpdateItem" => ProxyAction::Hang,
        _ => ProxyAction::Forward,
    })
    .await;
    let store = store(&silent.address).timeouts(attempt, operation);
    let fence = WorkerUpdate::Fence { seen: 0 };
    let error = store.update_worker(&group(), &id("w"), &fence).await.unwrap_err();
    check(&error, StoreErrorKind::Unavailable, &["UpdateItem", "in time"]);
    assert!(error.is_ambiguous(), "it may have arrived");
    // Without bounds of its own it would wait for ever.
    assert!(started.elapsed() < operation * 2 + Duration::from_secs(10), "{:?}", started.elapsed());
    let tries = silent.seen().iter().filter(|action| *action == "UpdateItem").count();
    assert!(tries >= 2, "a try is bounded too, so that there is a second");
}

#[tokio::test]
async fn throttling_is_told_apart() {
    let server = Server::with_table().await;
    let code = "ProvisionedThroughputExceededException";
    let proxy = Proxy::start(&server.address, move |request| match request.action.as_str() {
        "PutItem" => ProxyAction::refuse(code),
        _ => ProxyAction::Forward,
    })
    .await;
    let store = store(&proxy.address);
    let error = store.insert_worker(&group(), &worker("w")).await.unwrap_err();
    check(&error, StoreErrorKind::Throttled, &["PutItem", code]);
    assert!(!error.is_ambiguous(), "a throttled write changed nothing");
}

#[tokio::test]
async fn a_table_is_made_where_asked_for_with_either_billing() {
    let provisioned = BillingMode::Provisioned { read_units: 3, write_units: 7 };
    for (billing, told) in [
        (BillingMode::PayPerRequest, vec![r#""BillingMode":"PAY_PER_REQUEST""#]),
        (
            provisioned,
            vec![r#""BillingMode":"PROVISIONED""#, r#""ReadCapacityUnits":3"#, r#""WriteCapacityUnits":7"#],
        ),
    ] {
        let server = Server::start().await;
        let proxy = Proxy::start(&server.address, move |request| {
            let right =
                request.action != "CreateTable" || told.iter().all(|part| request.body.contains(part));
            assert!(right, "{}", request.body);
            ProxyAction::Forward
        })
        .await;
        let make = || store(&proxy.address).create_table(true).billing_mode(billing);
        // Two workers of a group start at once.
        let (one, other) = (make(), make());
        let (one, other) = tokio::join!(one.init(), other.init());
        one.unwrap();
        other.unwrap();
        assert!(proxy.seen().contains(&"CreateTable".to_owned()));
        make().init().await.unwrap();
        assert_eq!(proxy.seen(), ["DescribeTable"], "an existing table is left as it is");
        let table = server.client().describe_table().table_name(TABLE).send().await.unwrap().table.unwrap();
        if billing == provisioned {
            let units = table.provisioned_throughput.unwrap();
            assert_eq!((units.read_capacity_units, units.write_capacity_units), (Some(3), Some(7)));
        }
    }
}

#[tokio::test]
async fn init_waits_for_a_table_in_the_making() {
    let server = Server::start().await;
    let mut looks = 0;
    let proxy = Proxy::start(&server.address, move |request| {
        looks += u32::from(request.action == "DescribeTable");
        match (request.action.as_str(), looks) {
            // After the creation: not seen yet, then in the making.
            ("DescribeTable", 2) => ProxyAction::refuse("ResourceNotFoundException"),
            ("DescribeTable", 3) => {
                ProxyAction::Answer(200, r#"{"Table":{"TableStatus":"CREATING"}}"#.to_owned())
            }
            _ => ProxyAction::Forward,
        }
    })
    .await;
    store(&proxy.address).create_table(true).init().await.unwrap();
    let seen = proxy.seen();
    let expected = ["DescribeTable", "CreateTable", "DescribeTable", "DescribeTable", "DescribeTable"];
    assert_eq!(seen, expected);
}
