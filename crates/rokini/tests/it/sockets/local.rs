//! Consumers of a local Kinesis.

use std::future::Future;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use rokini::lease::{LeaseStore, ShardId};
use rokini::{
    AwsOptions, ConfigKey, Consumer, ConsumerBuilder, ConsumerConfig, KinesisSource, StartPosition,
};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::record::PutRecordRequest;

/// How often a shard is polled, at most and at least.
const POLL: &str = "200ms";
/// For anything a test waits for: it hangs otherwise, as the clock is not paused.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

pub fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

/// A stream `orders` whose limits hold nobody up.
pub async fn kinesis(shards: i32) -> LocalKinesis {
    LocalKinesis::builder()
        .region("eu-west-1")
        .throughput_limits(false)
        .stream("orders", shards)
        .start()
        .await
        .unwrap()
}

pub async fn source(kinesis: &LocalKinesis) -> KinesisSource {
    let aws = AwsOptions::default().region("eu-west-1").endpoint_url(kinesis.endpoint_url());
    let keys = SharedCredentialsProvider::new(Credentials::from_keys("id", "secret", None));
    let aws = aws.load().await.unwrap().into_builder().credentials_provider(keys).build();
    let mut config = ConsumerConfig::default();
    for key in [ConfigKey::PollFloor, ConfigKey::PollCeiling] {
        config.set(key, POLL).unwrap();
    }
    KinesisSource::new(&aws, "orders".parse().unwrap(), &config, 1).unwrap()
}

/// A consumer of it without a handler, from the oldest record on.
pub async fn consumer(kinesis: &LocalKinesis, store: impl LeaseStore, name: &str) -> ConsumerBuilder {
    let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    let builder = Consumer::builder().group("g").worker(name).seed(seed).store(store);
    builder.source(source(kinesis).await).start(StartPosition::TrimHorizon)
}

/// Puts a record at this hash, and says into which shard it went.
pub fn put(kinesis: &LocalKinesis, key: &str, hash: u128, text: &str) -> ShardId {
    let request = PutRecordRequest::new(text.as_bytes().to_vec())
        .partition_key(key)
        .stream_name("orders")
        .explicit_hash_key(hash.to_string());
    ShardId::new(kinesis.model().call(&request).unwrap().shard_id).unwrap()
}

pub async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST_WAIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"))
}
