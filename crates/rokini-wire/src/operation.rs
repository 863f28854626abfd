//! Which response belongs to which request, and requests and responses of any operation.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::error::DecodeError;
use crate::shapes::account::*;
use crate::shapes::channel::*;
use crate::shapes::consumer::*;
use crate::shapes::queue::*;
use crate::shapes::record::*;
use crate::shapes::shard::*;
use crate::shapes::stream::*;
use crate::shapes::tags::*;

/// A request that knows its name and its response.
pub trait Operation: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// What the service answers.
    type Response: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The name after the dot in `X-Amz-Target`.
    const NAME: &'static str;
}

/// What stands before the dot in `X-Amz-Target`.
pub const TARGET_PREFIX: &str = "Kinesis_20131202";

macro_rules! operations {
    ($($name:ident: $request:ident => $response:ident,)+) => {
        $(impl Operation for $request {
            type Response = $response;
            const NAME: &'static str = stringify!($name);
        })+

        /// The names of all operations, in alphabetical order.
        pub const OPERATIONS: &[&str] = &[$(stringify!($name)),+];

        /// A request of any operation. As data, `{"operation": NAME, "request": BODY}`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "operation", content = "request")]
        #[non_exhaustive]
        pub enum AnyRequest {
            $(#[doc = concat!("Of ", stringify!($name), ".")] $name($request),)+
        }

        impl AnyRequest {
            /// Name of the operation.
            #[must_use]
            pub const fn operation(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)+
                }
            }

            /// Reads the body of a request of the named operation; `None` if there is no such operation.
            ///
            /// # Errors
            /// [`DecodeError`] if the body is not of this encoding or not this request.
            pub fn decode(operation: &str, codec: Codec, body: &[u8]) -> Option<Result<Self, DecodeError>> {
                match operation {
                    $(stringify!($name) => Some(codec.decode(body).map(Self::$name)),)+
                    _ => None,
                }
            }
        }

        /// A response of any operation.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum AnyResponse {
            $(#[doc = concat!("Of ", stringify!($name), ".")] $name($response),)+
        }

        impl AnyResponse {
            /// Writes the body.
            #[must_use]
            pub fn encode(&self, codec: Codec) -> Vec<u8> {
                match self {
                    $(Self::$name(response) => codec.encode(response),)+
                }
            }
        }
    };
}

operations! {
    AcknowledgeDeadLetterQueueRecords: AcknowledgeDeadLetterQueueRecordsRequest => EntriesResponse,
    AcknowledgeQueueRecords: AcknowledgeQueueRecordsRequest => EntriesResponse,
    AddTagsToStream: AddTagsToStreamRequest => EmptyResponse,
    CreateChannel: CreateChannelRequest => EmptyResponse,
    CreateQueue: CreateQueueRequest => QueueResponse,
    CreateStream: CreateStreamRequest => EmptyResponse,
    DecreaseStreamRetentionPeriod: DecreaseStreamRetentionPeriodRequest => EmptyResponse,
    DeleteChannel: DeleteChannelRequest => EmptyResponse,
    DeleteQueue: DeleteQueueRequest => EmptyResponse,
    DeleteResourcePolicy: DeleteResourcePolicyRequest => EmptyResponse,
    DeleteStream: DeleteStreamRequest => EmptyResponse,
    DeregisterStreamConsumer: DeregisterStreamConsumerRequest => EmptyResponse,
    DescribeAccountSettings: DescribeAccountSettingsRequest => AccountSettingsResponse,
    DescribeChannel: DescribeChannelRequest => EmptyResponse,
    DescribeLimits: DescribeLimitsRequest => DescribeLimitsResponse,
    DescribeQueue: DescribeQueueRequest => QueueResponse,
    DescribeStream: DescribeStreamRequest => DescribeStreamResponse,
    DescribeStreamConsumer: DescribeStreamConsumerRequest => DescribeStreamConsumerResponse,
    DescribeStreamSummary: DescribeStreamSummaryRequest => DescribeStreamSummaryResponse,
    DisableEnhancedMonitoring: DisableEnhancedMonitoringRequest => EnhancedMonitoringResponse,
    EnableEnhancedMonitoring: EnableEnhancedMonitoringRequest => EnhancedMonitoringResponse,
    GetRecords: GetRecordsRequest => GetRecordsResponse,
    GetResourcePolicy: GetResourcePolicyRequest => GetResourcePolicyResponse,
    GetShardIterator: GetShardIteratorRequest => GetShardIteratorResponse,
    IncreaseStreamRetentionPeriod: IncreaseStreamRetentionPeriodRequest => EmptyResponse,
    ListChannels: ListChannelsRequest => ListChannelsResponse,
    ListQueues: ListQueuesRequest => ListQueuesResponse,
    ListShards: ListShardsRequest => ListShardsResponse,
    ListStreamConsumers: ListStreamConsumersRequest => ListStreamConsumersResponse,
    ListStreams: ListStreamsRequest => ListStreamsResponse,
    ListTagsForResource: ListTagsForResourceRequest => ListTagsForResourceResponse,
    ListTagsForStream: ListTagsForStreamRequest => ListTagsForStreamResponse,
    MergeShards: MergeShardsRequest => EmptyResponse,
    PutRecord: PutRecordRequest => PutRecordResponse,
    PutRecords: PutRecordsRequest => PutRecordsResponse,
    PutResourcePolicy: PutResourcePolicyRequest => EmptyResponse,
    ReceiveDeadLetterQueueRecords: ReceiveDeadLetterQueueRecordsRequest => ReceiveResponse,
    ReceiveQueueRecords: ReceiveQueueRecordsRequest => ReceiveResponse,
    RegisterStreamConsumer: RegisterStreamConsumerRequest => RegisterStreamConsumerResponse,
    RemoveTagsFromStream: RemoveTagsFromStreamRequest => EmptyResponse,
    RestoreDeadLetterQueueRecords: RestoreDeadLetterQueueRecordsRequest => EntriesResponse,
    SplitShard: SplitShardRequest => EmptyResponse,
    StartStreamEncryption: StartStreamEncryptionRequest => EmptyResponse,
    StopStreamEncryption: StopStreamEncryptionRequest => EmptyResponse,
    SubscribeToShard: SubscribeToShardRequest => SubscribeToShardEvent,
    TagResource: TagResourceRequest => EmptyResponse,
    UntagResource: UntagResourceRequest => EmptyResponse,
    UpdateAccountSettings: UpdateAccountSettingsRequest => AccountSettingsResponse,
    UpdateChannel: UpdateChannelRequest => EmptyResponse,
    UpdateDeadLetterQueueRecordsVisibility: UpdateDeadLetterQueueRecordsVisibilityRequest => EntriesResponse,
    UpdateMaxRecordSize: UpdateMaxRecordSizeRequest => EmptyResponse,
    UpdateQueue: UpdateQueueRequest => QueueResponse,
    UpdateQueueRecordsVisibility: UpdateQueueRecordsVisibilityRequest => EntriesResponse,
    UpdateShardCount: UpdateShardCountRequest => UpdateShardCountResponse,
    UpdateStreamMode: UpdateStreamModeRequest => EmptyResponse,
    UpdateStreamRecordDistributionStrategy: UpdateStreamRecordDistributionStrategyRequest => EmptyResponse,
    UpdateStreamWarmThroughput: UpdateStreamWarmThroughputRequest => UpdateStreamWarmThroughputResponse,
}
