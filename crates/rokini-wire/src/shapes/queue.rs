//! Queues: a stream's records one by one, each acknowledged by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blob::Blob;
use crate::enums::{ErrorCode, QueueStartingPositionType, QueueStatus, TargetType};
use crate::shapes::channel::StreamFilter;
use crate::timestamp::Timestamp;

shapes! {
    /// Creates a queue on an on-demand stream.
    pub struct CreateQueueRequest {
        /// Name, 1 to 128 of `a-zA-Z0-9_.-`.
        pub queue_name: String,
        /// The stream, exactly one.
        pub stream_configuration_list: Vec<QueueStreamConfiguration>,
        /// How it behaves.
        pub queue_attributes: Option<QueueAttributes>,
        /// Tags to set, at most 50.
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// The stream of a queue, and where in it delivery begins.
    pub struct QueueStreamConfiguration {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// Where delivery begins; at the tip when absent.
        pub starting_position: Option<QueueStartingPosition>,
    }

    /// Where delivery begins.
    pub struct QueueStartingPosition {
        /// How the position is given.
        #[serde(rename = "Type")]
        pub kind: QueueStartingPositionType,
        /// For `AT_TIMESTAMP`.
        pub timestamp: Option<Timestamp>,
    }

    /// How a queue behaves.
    pub struct QueueAttributes {
        /// How long a record that was received stays hidden, in seconds: 0 to 43,200, 30 when absent.
        pub visibility_timeout_seconds: Option<i32>,
        /// What becomes of records that are received again and again.
        pub dead_letter_configuration: Option<DeadLetterConfiguration>,
    }

    /// What becomes of records that are received again and again.
    pub struct DeadLetterConfiguration {
        /// Whether they become dead letters.
        pub target_type: TargetType,
        /// After how many receives; required with `BUILT_IN`. 6 on a queue that was created without a configuration.
        pub max_receive_count: Option<i32>,
    }

    /// Answer to [`CreateQueueRequest`], [`UpdateQueueRequest`] and [`DescribeQueueRequest`].
    pub struct QueueResponse {
        /// The queue.
        pub queue_description: QueueDescription,
    }

    /// A queue.
    pub struct QueueDescription {
        /// Name.
        pub queue_name: String,
        /// ARN; its id is made by the service.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// State.
        pub queue_status: QueueStatus,
        /// When it was created.
        pub queue_creation_timestamp: Timestamp,
        /// Its stream.
        pub stream_configuration_list: Vec<QueueStreamConfiguration>,
        /// How it behaves.
        pub queue_attributes: Option<QueueAttributes>,
    }

    /// Changes how a queue behaves.
    pub struct UpdateQueueRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// What changes; what is absent stays.
        pub queue_attributes: QueueAttributes,
    }

    /// Asks for a queue.
    pub struct DescribeQueueRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
    }

    /// Deletes a queue.
    pub struct DeleteQueueRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
    }

    /// Asks for a page of the account's queues.
    pub struct ListQueuesRequest {
        /// Largest number in the answer.
        pub max_results: Option<i32>,
        /// Continues an earlier answer.
        pub next_token: Option<String>,
        /// Only queues of these streams.
        pub stream_filter: Option<Vec<StreamFilter>>,
    }

    /// Answer to [`ListQueuesRequest`].
    pub struct ListQueuesResponse {
        /// The page.
        pub queue_summaries: Vec<QueueSummary>,
        /// Token for the next page.
        pub next_token: Option<String>,
    }

    /// A queue in a listing.
    pub struct QueueSummary {
        /// Name.
        pub queue_name: String,
        /// ARN.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// State.
        pub queue_status: QueueStatus,
        /// When it was created.
        pub queue_creation_timestamp: Timestamp,
        /// Its stream.
        pub streams: Vec<QueueStream>,
    }

    /// The stream of a queue in a listing.
    pub struct QueueStream {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// When the stream was created.
        pub stream_creation_timestamp: Timestamp,
    }

    /// Answer to a call that receives records.
    pub struct ReceiveResponse {
        /// The records, at most ten, in no promised order; may be empty.
        pub queue_records: Vec<QueueRecord>,
    }

    /// A record as a queue gives it.
    pub struct QueueRecord {
        /// Names this delivery of the record.
        pub receipt_handle: String,
        /// Names the record, in every queue and at every delivery.
        pub record_id: String,
        /// The key it was written with.
        pub partition_key: Option<Arc<str>>,
        /// The data.
        pub data: Blob,
        /// When the stream took it.
        pub approximate_arrival_timestamp: Timestamp,
        /// When it was first received from this queue.
        pub first_receive_timestamp: Timestamp,
        /// How often it was received without being acknowledged, this time included.
        pub receive_count: i32,
    }

    /// The delivery of a record that something is done with.
    pub struct ReceiptEntry {
        /// Names the delivery.
        pub receipt_handle: String,
    }

    /// The delivery of a record, and how long the record stays hidden from now on.
    pub struct VisibilityEntry {
        /// Names the delivery.
        pub receipt_handle: String,
        /// In seconds: 0 to 43,200; 0 shows the record at once.
        pub visibility_timeout_seconds: i32,
    }

    /// Answer to a call about up to ten deliveries. That there is one does not say that each succeeded.
    pub struct EntriesResponse {
        /// Those with which it was done.
        pub successful: Vec<ReceiptEntry>,
        /// Those with which it was not.
        pub failed: Vec<FailedEntry>,
    }

    /// A delivery with which something could not be done.
    pub struct FailedEntry {
        /// Names the delivery.
        pub receipt_handle: String,
        /// Code of the error.
        pub error_code: ErrorCode,
        /// The reason for people.
        pub error_message: Option<String>,
    }

    /// Receives up to ten records.
    pub struct ReceiveQueueRecordsRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Largest number in the answer, 1 to 10, which is the default.
        pub limit: Option<i32>,
        /// How long to wait for the first, in seconds: 1 to 20, 9 when absent.
        pub wait_time_seconds: Option<i32>,
        /// How long they stay hidden, in seconds: 0 to 43,200; the queue's when absent.
        pub visibility_timeout_seconds: Option<i32>,
    }

    /// Acknowledges up to ten records: the queue gives them no more.
    pub struct AcknowledgeQueueRecordsRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Their deliveries.
        pub entries: Vec<ReceiptEntry>,
    }

    /// Changes how long up to ten records stay hidden.
    pub struct UpdateQueueRecordsVisibilityRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Their deliveries.
        pub entries: Vec<VisibilityEntry>,
    }

    /// Receives up to ten dead letters.
    pub struct ReceiveDeadLetterQueueRecordsRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Largest number in the answer, 1 to 10, which is the default.
        pub limit: Option<i32>,
        /// How long to wait for the first, in seconds: 1 to 20, 9 when absent.
        pub wait_time_seconds: Option<i32>,
        /// How long they stay hidden, in seconds: 0 to 43,200; the queue's when absent.
        pub visibility_timeout_seconds: Option<i32>,
    }

    /// Acknowledges up to ten dead letters: the queue gives them no more.
    pub struct AcknowledgeDeadLetterQueueRecordsRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Their deliveries.
        pub entries: Vec<ReceiptEntry>,
    }

    /// Changes how long up to ten dead letters stay hidden.
    pub struct UpdateDeadLetterQueueRecordsVisibilityRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Their deliveries.
        pub entries: Vec<VisibilityEntry>,
    }

    /// Makes up to ten dead letters records again.
    pub struct RestoreDeadLetterQueueRecordsRequest {
        /// ARN of the queue.
        #[serde(rename = "QueueARN")]
        pub queue_arn: String,
        /// Their deliveries.
        pub entries: Vec<ReceiptEntry>,
    }
}
