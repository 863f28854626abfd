//! Which operations a stream takes in which of its states: one table of all that are about a stream, held against the endpoint.
//!
//! Where a state is refused, the API reference lists ResourceInUseException ("the resource must be in the ACTIVE state"), or the stream or
//! its shards are not there yet. That tags can be changed, consumers registered and policies set beside another change is a choice.

use std::collections::BTreeSet;
use std::time::Duration;

use rokini_local::LocalKinesis;
use rokini_local::wire::{OPERATIONS, Timestamp};

use crate::sdk::safety::{LOCALHOST, ask};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Taken,
    InUse,
    NotFound,
}
use Outcome::{InUse as U, NotFound as N, Taken as T};

/// Operations, the members beside the stream, and the outcomes while the stream is CREATING, UPDATING and DELETING.
const STATES: [(&str, &str, [Outcome; 3]); 33] = [
    ("AddTagsToStream", r#""Tags":{"a":"b"}"#, [U, T, U]),
    ("CreateQueue", r#""QueueName":"<name>","StreamConfigurationList":[{"StreamARN":"<arn>"}]"#, [U, U, U]),
    ("CreateStream", r#""ShardCount":1"#, [U, U, U]),
    ("DeleteStream", r#""EnforceConsumerDeletion":true"#, [U, T, U]),
    ("DeleteResourcePolicy", r#""ResourceARN":"<arn>""#, [N, N, N]),
    ("DescribeStream", "", [T, T, T]),
    ("DescribeStreamSummary", "", [T, T, T]),
    ("DisableEnhancedMonitoring", r#""ShardLevelMetrics":["ALL"]"#, [U, U, U]),
    ("EnableEnhancedMonitoring", r#""ShardLevelMetrics":["ALL"]"#, [U, U, U]),
    ("GetResourcePolicy", r#""ResourceARN":"<arn>""#, [N, N, N]),
    ("GetShardIterator", r#""ShardId":"shardId-000000000000","ShardIteratorType":"LATEST""#, [N, T, T]),
    ("IncreaseStreamRetentionPeriod", r#""RetentionPeriodHours":48"#, [U, U, U]),
    ("ListShards", "", [U, T, T]),
    ("ListStreamConsumers", r#""StreamARN":"<arn>""#, [U, T, T]),
    ("ListTagsForResource", r#""ResourceARN":"<arn>""#, [T, T, T]),
    ("ListTagsForStream", "", [T, T, T]),
    (
        "MergeShards",
        r#""ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001""#,
        [N, U, U],
    ),
    ("PutRecord", r#""Data":"AA==","PartitionKey":"k""#, [N, T, T]),
    ("PutRecords", r#""Records":[{"Data":"AA==","PartitionKey":"k"}]"#, [N, T, T]),
    ("PutResourcePolicy", r#""ResourceARN":"<arn>","Policy":"<policy>""#, [T, T, T]),
    ("RegisterStreamConsumer", r#""StreamARN":"<arn>","ConsumerName":"c""#, [U, T, U]),
    ("RemoveTagsFromStream", r#""TagKeys":["a"]"#, [U, T, U]),
    ("SplitShard", r#""ShardToSplit":"shardId-000000000000","NewStartingHashKey":"5""#, [N, U, U]),
    ("StartStreamEncryption", r#""EncryptionType":"KMS","KeyId":"k""#, [U, U, U]),
    ("StopStreamEncryption", r#""EncryptionType":"KMS","KeyId":"k""#, [U, U, U]),
    ("TagResource", r#""ResourceARN":"<arn>","Tags":{"a":"b"}"#, [U, T, U]),
    ("UntagResource", r#""ResourceARN":"<arn>","TagKeys":["a"]"#, [U, T, U]),
    ("UpdateMaxRecordSize", r#""StreamARN":"<arn>","MaxRecordSizeInKiB":2048"#, [U, U, U]),
    ("UpdateShardCount", r#""TargetShardCount":4,"ScalingType":"UNIFORM_SCALING""#, [U, U, U]),
    ("UpdateStreamMode", r#""StreamARN":"<arn>","StreamModeDetails":{"StreamMode":"ON_DEMAND"}"#, [U, U, U]),
    (
        "UpdateStreamRecordDistributionStrategy",
        r#""StreamARN":"<arn>","RecordDistributionStrategy":"AUTO""#,
        [U, U, U],
    ),
    ("UpdateStreamWarmThroughput", r#""WarmThroughputMiBps":6"#, [U, U, U]),
    ("DescribeLimits", "", [T, T, T]),
];

/// What is about no stream, or reaches it by an iterator, a consumer or a queue, whose states are their own; and
/// DecreaseStreamRetentionPeriod, which needs a longer period first (`statement_46`).
const OTHERS: [&str; 24] = [
    "AcknowledgeDeadLetterQueueRecords",
    "AcknowledgeQueueRecords",
    "CreateChannel",
    "DecreaseStreamRetentionPeriod",
    "DeleteChannel",
    "DeleteQueue",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeChannel",
    "DescribeQueue",
    "DescribeStreamConsumer",
    "GetRecords",
    "ListChannels",
    "ListQueues",
    "ListStreams",
    "ReceiveDeadLetterQueueRecords",
    "ReceiveQueueRecords",
    "RestoreDeadLetterQueueRecords",
    "SubscribeToShard",
    "UpdateAccountSettings",
    "UpdateChannel",
    "UpdateDeadLetterQueueRecordsVisibility",
    "UpdateQueue",
    "UpdateQueueRecordsVisibility",
];

const CHANGE: Duration = Duration::from_secs(10);

async fn call(local: &LocalKinesis, operation: &str, body: &str) -> String {
    let target = format!("Kinesis_20131202.{operation}");
    ask(local.address(), "POST /", &[LOCALHOST, ("X-Amz-Target", &target)], body).await
}

/// A stream in a state, by the state's place in the table.
async fn stream_in(local: &LocalKinesis, name: &str, operation: &str, state: usize) {
    let on_demand = ["CreateQueue", "UpdateStreamRecordDistributionStrategy", "UpdateStreamWarmThroughput"];
    let mode = if on_demand.contains(&operation) {
        r#""StreamModeDetails":{"StreamMode":"ON_DEMAND"}"#
    } else {
        r#""ShardCount":2"#
    };
    let made = call(local, "CreateStream", &format!(r#"{{"StreamName":"{name}",{mode}}}"#)).await;
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let change = match state {
        0 => return,
        1 => ("StartStreamEncryption", r#","EncryptionType":"KMS","KeyId":"k""#),
        _ => ("DeleteStream", ""),
    };
    local.advance(CHANGE);
    let changed = call(local, change.0, &format!(r#"{{"StreamName":"{name}"{}}}"#, change.1)).await;
    assert!(changed.starts_with("HTTP/1.1 200"), "{changed}");
}

#[tokio::test]
async fn a_stream_takes_in_each_state_what_the_table_says() {
    let start = Timestamp::from_secs(1_700_000_000);
    let builder = LocalKinesis::builder().virtual_time(start).status_change(CHANGE).call_limits(false);
    let local = builder.start().await.unwrap();
    let advantage = r#"{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}"#;
    call(&local, "UpdateAccountSettings", advantage).await;
    for (operation, members, outcomes) in STATES {
        for (state, outcome) in outcomes.into_iter().enumerate() {
            let name = format!("{operation}-{state}");
            stream_in(&local, &name, operation, state).await;
            let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
            let policy = r#"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kinesis:*\",\"Resource\":\"<arn>\"}]}"#;
            let members = members.replace("<policy>", policy).replace("<arn>", &arn).replace("<name>", &name);
            // By the stream's name where nothing else says which.
            let by_name = format!(r#""StreamName":"{name}","#);
            let by_name = if members.contains(&arn) || operation == "DescribeLimits" { "" } else { &by_name };
            let body = format!("{{{by_name}{members}}}").replace(",}", "}");
            let answer = call(&local, operation, &body).await;
            let seen = if answer.starts_with("HTTP/1.1 200") {
                T
            } else if answer.contains("ResourceInUseException") {
                U
            } else if answer.contains("ResourceNotFoundException") {
                N
            } else {
                panic!("{name}: {body}\n{answer}")
            };
            assert_eq!(seen, outcome, "{name}: {answer}");
            // Whatever is under way comes to its end: only so many streams may be CREATING or DELETING.
            local.advance(CHANGE);
        }
    }
}

#[test]
fn every_operation_is_in_the_table_or_about_no_streams_state() {
    let listed: BTreeSet<&str> = STATES.iter().map(|(name, ..)| *name).chain(OTHERS).collect();
    assert_eq!(listed, OPERATIONS.iter().copied().collect());
    assert_eq!(listed.len(), STATES.len() + OTHERS.len(), "each once");
}
