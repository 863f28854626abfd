//! Enhanced fan-out: registered consumers and subscriptions.

use std::collections::BTreeMap;

use crate::enums::{ConsumerStatus, ShardIteratorType};
use crate::shapes::record::Record;
use crate::shapes::shard::ChildShard;
use crate::timestamp::Timestamp;

shapes! {
    /// Registers a consumer, at most 20 a stream.
    pub struct RegisterStreamConsumerRequest {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// Name, 1 to 128 of `a-zA-Z0-9_.-`.
        pub consumer_name: String,
        /// Tags to set.
        pub tags: Option<BTreeMap<String, String>>,
        stream_id,
    }

    /// Answer to [`RegisterStreamConsumerRequest`].
    pub struct RegisterStreamConsumerResponse {
        /// The consumer.
        pub consumer: Consumer,
    }

    /// A registered consumer.
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
    pub struct DeregisterStreamConsumerRequest {
        /// ARN of the stream; this or the name.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// Name of the consumer; with the stream's ARN.
        pub consumer_name: Option<String>,
        /// ARN of the consumer.
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        stream_id,
    }

    /// Asks for a consumer.
    pub struct DescribeStreamConsumerRequest {
        /// ARN of the stream; this or the name.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// Name of the consumer; with the stream's ARN.
        pub consumer_name: Option<String>,
        /// ARN of the consumer.
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        stream_id,
    }

    /// Answer to [`DescribeStreamConsumerRequest`].
    pub struct DescribeStreamConsumerResponse {
        /// The consumer.
        pub consumer_description: ConsumerDescription,
    }

    /// A registered consumer and its stream.
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
    pub struct ListStreamConsumersRequest {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// Continues an earlier answer.
        pub next_token: Option<String>,
        /// Largest number in the answer, at most 100.
        pub max_results: Option<i32>,
        /// Tells apart streams that had the same name.
        pub stream_creation_timestamp: Option<Timestamp>,
        stream_id,
    }

    /// Answer to [`ListStreamConsumersRequest`].
    pub struct ListStreamConsumersResponse {
        /// The page.
        pub consumers: Option<Vec<Consumer>>,
        /// Token for the next page.
        pub next_token: Option<String>,
    }

    /// Where a subscription starts.
    pub struct StartingPosition {
        /// How the position is given.
        #[serde(rename = "Type")]
        pub kind: ShardIteratorType,
        /// For `AT_` and `AFTER_SEQUENCE_NUMBER`.
        pub sequence_number: Option<String>,
        /// For `AT_TIMESTAMP`.
        pub timestamp: Option<Timestamp>,
    }

    /// Asks for a shard's records to be pushed for five minutes.
    pub struct SubscribeToShardRequest {
        /// ARN of the consumer.
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: String,
        /// The shard.
        pub shard_id: String,
        /// Where to start.
        pub starting_position: StartingPosition,
        stream_id,
        dry_run,
    }

    /// One pushed batch.
    pub struct SubscribeToShardEvent {
        /// The records, in order; may be empty.
        pub records: Vec<Record>,
        /// Where the next subscription goes on; absent at the end of a closed shard.
        pub continuation_sequence_number: Option<String>,
        /// How far behind the tip of the shard this event is, in milliseconds.
        pub millis_behind_latest: i64,
        /// The shards that continue this one; only at its end.
        pub child_shards: Option<Vec<ChildShard>>,
    }
}
