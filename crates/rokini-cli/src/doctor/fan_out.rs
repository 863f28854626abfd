//! The permissions for enhanced fan-out. Without one of them a group with `fan_out` does not get what it is configured for; one with
//! `auto` is polled.
//!
//! Who may not call hears that before anything is looked up. So a call about a consumer that does not exist shows the permission and
//! does nothing. To register is a write whatever it names, and is not tried.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use rokini::{ConsumerConfig, Retrieval};

use super::call::call;
use super::check::{Check, CheckStatus};
use super::dry_run::SUBSCRIBE;
use super::policy::DESCRIBE_CONSUMER;
use super::stream_facts::StreamFacts;
use crate::aws::{Aws, Service};

const DEREGISTER: &str = "kinesis:DeregisterStreamConsumer";
/// A consumer that no stream has.
const NOBODY: &str = "rokini-doctor-nobody";

/// What is to be said of them, and the ARN of the group's consumer where it is registered.
pub(super) async fn checks(
    config: &ConsumerConfig,
    stream: &StreamFacts,
    aws: &Aws,
) -> (Vec<Check>, Option<String>) {
    let client = Client::new(&aws.config);
    let nobody = format!("{}/consumer/{NOBODY}:1", stream.arn);
    let (described, registered) = registration(config, stream, &client, aws).await;
    let mut checks = vec![described];
    if registered.is_none() {
        // A dry run says it of one that is registered.
        let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().ok();
        let subscribe = client.subscribe_to_shard().consumer_arn(&nobody).shard_id("shardId-000000000000");
        let subscribe = subscribe.set_starting_position(latest).dry_run(true);
        let said = call(SUBSCRIBE, Box::pin(subscribe.send()), Service::Kinesis, aws).await;
        checks.push(tried(SUBSCRIBE, said.map(drop), "does not exist"));
    }
    if config.retrieval == Retrieval::Auto {
        let end = client.deregister_stream_consumer().consumer_arn(&nobody);
        let said = call(DEREGISTER, Box::pin(end.send()), Service::Kinesis, aws).await;
        checks.push(tried(DEREGISTER, said.map(drop), "does not exist"));
    }
    let checks = checks.into_iter().map(|check| weighed(config.retrieval, check)).collect();
    (checks, registered)
}

/// Whether the group's own registration may be looked at, and its name and ARN where it can be used.
async fn registration(
    config: &ConsumerConfig,
    stream: &StreamFacts,
    client: &Client,
    aws: &Aws,
) -> (Check, Option<String>) {
    let name = config.fan_out_consumer.clone().or_else(|| config.group.as_ref().map(ToString::to_string));
    let name = name.unwrap_or_else(|| NOBODY.to_owned());
    let describe = client.describe_stream_consumer().stream_arn(&stream.arn).consumer_name(&name);
    match call(DESCRIBE_CONSUMER, describe.send(), Service::Kinesis, aws).await {
        Ok(answer) => {
            let status = answer.consumer_description().map(|described| described.consumer_status().as_str());
            let check =
                Check::ok(DESCRIBE_CONSUMER, format!("{name} is registered, {}", status.unwrap_or("?")));
            let arn = answer.consumer_description().map(|described| described.consumer_arn().to_owned());
            (check, arn.filter(|_| status == Some("ACTIVE")))
        }
        Err(check) if check.what.contains("does not exist") => {
            let what = format!("{name} is not registered yet: the first worker does that");
            (Check::ok(DESCRIBE_CONSUMER, what), None)
        }
        Err(check) => (check, None),
    }
}

/// The answer that shows the permission is a refusal for another reason.
fn tried(action: &'static str, said: Result<(), Check>, allowed: &str) -> Check {
    match said {
        Err(check) if check.what.contains(allowed) => Check::ok(action, "allowed"),
        Err(check) => check,
        Ok(()) => {
            Check::warn(action, "answered, which it should not be", "report it: there is no such consumer")
        }
    }
}

/// What fails for `fan_out` is a warning for `auto`, which reads by polling then.
fn weighed(retrieval: Retrieval, check: Check) -> Check {
    match (retrieval, check.status) {
        (Retrieval::Auto, CheckStatus::Fail) => Check {
            status: CheckStatus::Warn,
            what: format!("{}; until then shards are polled", check.what),
            ..check
        },
        _ => check,
    }
}
