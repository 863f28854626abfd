//! Permissions that are tried by dry runs of Kinesis: the call is checked, and nothing is done.
//!
//! A service that does not know dry runs would do what it is asked. So the first dry run is always of a call that reads, and the
//! others are made only where that was understood.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StartingPosition};
use rokini::{ConsumerConfig, DeadLetterTarget, StreamRef};
use tokio::time::sleep;

use super::call::call;
use super::check::Check;
use crate::aws::{Aws, Service};

pub(super) const PUT: &str = "kinesis:PutRecords";
pub(super) const SUBSCRIBE: &str = "kinesis:SubscribeToShard";
/// A stream takes one dry run a second, whatever its operation (API reference of Kinesis Data Streams, `DryRun`).
const APART: Duration = Duration::from_millis(1_100);
/// How often one is made that others of the same stream were in the way of.
const TRIES: u32 = 4;
/// What the service answers to callers that are allowed to: the call would have succeeded, or the consumer has a subscription
/// to the shard already.
const ALLOWED: [&str; 2] = ["DryRunOperationException", "ResourceInUseException"];

/// What can be tried so of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DryRuns {
    /// One of its shards.
    pub(super) shard: String,
    /// The group's registered consumer, where it has one.
    pub(super) consumer: Option<String>,
}

/// What dry runs say; nothing where the service does not know them.
pub(super) async fn dry_runs(
    config: &ConsumerConfig,
    aws: &Aws,
    streams: &[(StreamRef, DryRuns)],
) -> Vec<Check> {
    let client = Client::new(&aws.config);
    let target = match &config.dead_letter {
        Some(DeadLetterTarget::Kinesis(stream)) => Some(stream),
        _ => None,
    };
    let mut checks = Vec::new();
    let mut known = None;
    for (stream, tried) in streams {
        if tried.consumer.is_none() && (target.is_none() || known.is_some()) {
            continue;
        }
        let knows = knows_dry_runs(&client, stream, &tried.shard, aws).await;
        known = known.max(Some(knows));
        if let Some(consumer) = tried.consumer.as_ref().filter(|_| knows) {
            sleep(APART).await;
            checks.push(subscribe(&client, consumer, &tried.shard, aws).await);
        }
    }
    if let Some(target) = target.filter(|_| known == Some(true)) {
        // It may be one of those that were just asked.
        sleep(APART).await;
        checks.push(put(&client, target, aws).await);
    }
    checks
}

/// Whether the service knows dry runs: asked by a call that only reads.
async fn knows_dry_runs(client: &Client, stream: &StreamRef, shard: &str, aws: &Aws) -> bool {
    let action = "kinesis:GetShardIterator";
    let asked = tried(action, aws, || {
        client
            .get_shard_iterator()
            .set_stream_arn(stream.arn().map(str::to_owned))
            .set_stream_name(stream.arn().is_none().then(|| stream.name().to_owned()))
            .shard_id(shard)
            .shard_iterator_type(ShardIteratorType::Latest)
            .dry_run(true)
            .send()
    });
    asked.await == Ok(true)
}

async fn subscribe(client: &Client, consumer: &str, shard: &str, aws: &Aws) -> Check {
    let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().ok();
    let asked = tried(SUBSCRIBE, aws, || {
        let call = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard).dry_run(true);
        call.set_starting_position(latest.clone()).send()
    });
    said(SUBSCRIBE, asked.await)
}

async fn put(client: &Client, stream: &StreamRef, aws: &Aws) -> Check {
    let record =
        PutRecordsRequestEntry::builder().data(Blob::new("rokini doctor")).partition_key("rokini-doctor");
    let record = record.build().ok();
    let asked = tried(PUT, aws, || {
        client
            .put_records()
            .set_stream_arn(stream.arn().map(str::to_owned))
            .set_stream_name(stream.arn().is_none().then(|| stream.name().to_owned()))
            .set_records(record.clone().map(|record| vec![record]))
            .dry_run(true)
            .send()
    });
    said(PUT, asked.await)
}

fn said(action: &str, asked: Result<bool, Check>) -> Check {
    match asked {
        Ok(true) => Check::ok(action, "allowed, says a dry run"),
        // The service knew dry runs a moment ago.
        Ok(false) => {
            Check::warn(action, "done and not only checked", "report it: this service ignores `DryRun` here")
        }
        Err(check) => check,
    }
}

/// Makes a dry run, again where others were in its way. Whether it was one: `false` where the call was answered.
async fn tried<T, E, F>(
    action: &'static str,
    aws: &Aws,
    send: impl Fn() -> F + Send + Sync,
) -> Result<bool, Check>
where
    T: Send,
    F: Future<Output = Result<T, SdkError<E>>> + Send,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let mut tries = 0;
    loop {
        tries += 1;
        let mut is_throttled = false;
        let sent = async {
            match send().await {
                Ok(_) => Ok(false),
                Err(error) if error.code().is_some_and(|code| ALLOWED.contains(&code)) => Ok(true),
                Err(error) => {
                    is_throttled = error
                        .code()
                        .is_some_and(|code| code.contains("Throttl") || code.contains("LimitExceeded"));
                    Err(error)
                }
            }
        };
        let answered = call(action, Box::pin(sent), Service::Kinesis, aws).await;
        if answered.is_ok() || !is_throttled || tries == TRIES {
            return answered;
        }
        sleep(APART).await;
    }
}
