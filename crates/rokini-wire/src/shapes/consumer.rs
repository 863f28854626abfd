//! Enhanced fan-out: registered consumers and subscriptions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::shard::ChildShard;
use crate::{ConsumerStatus, ShardIteratorType, Timestamp};

/// Registers a consumer, at most 20 a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterStreamConsumerRequest {
    /// ARN of the stream.
    #[serde(rename = "StreamARN")]
    pub stream_arn: String,
    /// Name, 1 to 128 of `a-zA-Z0-9_.-`.
    pub consumer_name: String,
    /// Tags to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// Answer to [`RegisterStreamConsumerRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterStreamConsumerResponse {
    /// The consumer.
    pub consumer: Consumer,
}

/// A registered consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Consumer {
    /// Name.
    pub consumer_name: String,
    /// ARN.
    #[serde(rename = "ConsumerARN")]
    pub consumer_arn: String,
    /// State.
    pub consumer_status: ConsumerStatus,
    /// When it was registered.
    pub consumer_creation_timestamp: Timestamp,
}

/// Removes a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeregisterStreamConsumerRequest {
    /// ARN of the stream; this or the name.
    #[serde(rename = "StreamARN", default, skip_serializing_if = "Option::is_none")]
    pub stream_arn: Option<String>,
    /// Name of the consumer; with the stream's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_name: Option<String>,
    /// ARN of the consumer.
    #[serde(rename = "ConsumerARN", default, skip_serializing_if = "Option::is_none")]
    pub consumer_arn: Option<String>,
}

/// Asks for a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeStreamConsumerRequest {
    /// ARN of the stream; this or the name.
    #[serde(rename = "StreamARN", default, skip_serializing_if = "Option::is_none")]
    pub stream_arn: Option<String>,
    /// Name of the consumer; with the stream's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_name: Option<String>,
    /// ARN of the consumer.
    #[serde(rename = "ConsumerARN", default, skip_serializing_if = "Option::is_none")]
    pub consumer_arn: Option<String>,
}

/// Answer to [`DescribeStreamConsumerRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeStreamConsumerResponse {
    /// The consumer.
    pub consumer_description: ConsumerDescription,
}

/// A registered consumer and its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConsumerDescription {
    /// Name.
    pub consumer_name: String,
    /// ARN.
    #[serde(rename = "ConsumerARN")]
    pub consumer_arn: String,
    /// State.
    pub consumer_status: ConsumerStatus,
    /// When it was registered.
    pub consumer_creation_timestamp: Timestamp,
    /// ARN of its stream.
    #[serde(rename = "StreamARN")]
    pub stream_arn: String,
}

/// Asks for a page of a stream's consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListStreamConsumersRequest {
    /// ARN of the stream.
    #[serde(rename = "StreamARN")]
    pub stream_arn: String,
    /// Continues an earlier answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
    /// Largest number in the answer, at most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i32>,
    /// Tells apart streams that had the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_creation_timestamp: Option<Timestamp>,
}

/// Answer to [`ListStreamConsumersRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListStreamConsumersResponse {
    /// The page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Vec<Consumer>>,
    /// Token for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartingPosition {
    /// How the place is given.
    #[serde(rename = "Type")]
    pub kind: ShardIteratorType,
    /// For `AT_` and `AFTER_SEQUENCE_NUMBER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<String>,
    /// For `AT_TIMESTAMP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// Asks for a shard's records to be pushed for five minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubscribeToShardRequest {
    /// ARN of the consumer.
    #[serde(rename = "ConsumerARN")]
    pub consumer_arn: String,
    /// The shard.
    pub shard_id: String,
    /// Where to start.
    pub starting_position: StartingPosition,
}

/// One pushed batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubscribeToShardEvent {
    /// The records, in order; may be empty.
    pub records: Vec<Record>,
    /// Where the next subscription goes on; absent at the end of a closed shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation_sequence_number: Option<String>,
    /// How far behind the tip of the shard this event is, in milliseconds.
    pub millis_behind_latest: i64,
    /// The shards that continue this one; only at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_shards: Option<Vec<ChildShard>>,
}
