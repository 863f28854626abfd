//! SDK clients as the tests want them: no retries, any credentials.

use aws_credential_types::Credentials;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_http_client::Builder as HttpClient;
use rokini_local::{LocalDynamo, LocalKinesis};

pub(crate) fn kinesis(local: &LocalKinesis) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(local.endpoint_url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .retry_config(RetryConfig::disabled())
        .http_client(HttpClient::new().build_http())
        .build();
    aws_sdk_kinesis::Client::from_conf(config)
}

pub(crate) fn dynamo(local: &LocalDynamo) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(local.endpoint_url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .http_client(HttpClient::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// An iterator at the oldest record of a shard of `orders`.
pub(crate) async fn iterator(client: &aws_sdk_kinesis::Client, shard: &str) -> String {
    let request = client.get_shard_iterator().stream_name("orders").shard_id(shard);
    let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    answer.shard_iterator.unwrap()
}
