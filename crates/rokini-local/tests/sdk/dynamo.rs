//! The embedded DynamoDB.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use rokini_local::LocalDynamo;

use super::client;

#[tokio::test]
async fn dynamo_keeps_a_lease_table() {
    let local = LocalDynamo::in_memory().await.unwrap();
    let client = client::dynamo(&local);
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
