//! The embedded DynamoDB.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use rokini_local::wire::ErrorCode;
use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo};

use super::client;

async fn create(client: &Client) {
    let key = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let role = |name: &str, kind: KeyType| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
    };
    let create = client.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    let create = create
        .attribute_definitions(key("group", ScalarAttributeType::S))
        .key_schema(role("group", KeyType::Hash));
    create.send().await.unwrap();
}

#[tokio::test]
async fn dynamo_keeps_a_lease_table() {
    let local = LocalDynamo::in_memory().await.unwrap();
    let client = client::dynamo(&local);
    create(&client).await;
    let put = || {
        let put = client.put_item().table_name("leases").item("group", AttributeValue::S("g".into()));
        put.condition_expression("attribute_not_exists(#g)").expression_attribute_names("#g", "group").send()
    };
    put().await.unwrap();
    let second = put().await.unwrap_err().into_service_error();
    assert!(second.is_conditional_check_failed_exception(), "{second:?}");
    assert_eq!(local.database().list_tables(Default::default()).unwrap().table_names, ["leases"]);
    drop(client);
    local.shutdown().await;
}

/// Writes a row: the code of the refusal, or what else went wrong.
async fn put(client: &Client, group: &str) -> Result<(), String> {
    let put = client.put_item().table_name("leases").item("group", AttributeValue::S(group.into()));
    put.send().await.map(drop).map_err(|error| match &error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or_default().to_owned(),
        _ => DisplayErrorContext(&error).to_string(),
    })
}

async fn rows(client: &Client) -> i32 {
    client.scan().table_name("leases").send().await.unwrap().count()
}

async fn serve(faults: &Faults) -> (LocalDynamo, Client) {
    let address = ([127, 0, 0, 1], 0).into();
    let local = LocalDynamo::with_faults(Database::memory().unwrap(), address, faults.clone()).await.unwrap();
    let config = client::dynamo(&local).config().to_builder().retry_config(RetryConfig::disabled());
    let client = Client::from_conf(config.build());
    create(&client).await;
    (local, client)
}

#[tokio::test]
async fn faults_hit_calls_before_or_after_their_effect() {
    let error = |code: &str, status| Fault::Error {
        code: ErrorCode::from(code),
        message: "later".into(),
        status: Some(status),
    };
    // The fault, a part of what the caller learns, and the rows written.
    let cases = [
        (Fault::Throttle, "ProvisionedThroughputExceededException", 0),
        (error("ThrottlingException", 400), "ThrottlingException", 0),
        (error("InternalServerError", 500), "InternalServerError", 0),
        (Fault::DropBefore, "connection", 0),
        (Fault::DropAfter, "connection", 1),
        (Fault::CutAfter { bytes: 1 }, "", 1),
        (Fault::HangBefore, "connection", 0),
        (Fault::HangAfter { bytes: 0 }, "", 1),
    ];
    for (fault, said, effect) in cases {
        let faults = Faults::new(7);
        let (local, client) = serve(&faults).await;
        faults.add(FaultRule::on("PutItem", fault.clone()).caller("local").times(1));
        let call = tokio::spawn({
            let client = client.clone();
            async move { put(&client, "row").await }
        });
        while faults.list()[0].hits == 0 || rows(&client).await < effect {
            tokio::task::yield_now().await;
        }
        assert_eq!(rows(&client).await, effect, "{fault:?}");
        put(&client, "again").await.unwrap();
        // What hangs does so until the server stops.
        let hangs = matches!(fault, Fault::HangBefore | Fault::HangAfter { .. });
        assert!(!hangs || !call.is_finished(), "{fault:?}");
        local.shutdown().await;
        let learned = call.await.unwrap().unwrap_err();
        assert!(learned.contains(said), "{fault:?}: {learned}");
    }
}

#[tokio::test]
async fn faults_spare_other_callers_and_operations() {
    let faults = Faults::new(7);
    let (local, client) = serve(&faults).await;
    faults.add(FaultRule::on("PutItem", Fault::Throttle).caller("somebody else"));
    faults.add(FaultRule::on("GetItem", Fault::Throttle));
    faults.add(FaultRule::on("PutItem", Fault::Delay { millis: 200 }));
    let begun = Instant::now();
    put(&client, "last").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    drop(client);
    local.shutdown().await;
}
