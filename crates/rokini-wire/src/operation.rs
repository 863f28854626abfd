//! Which answer belongs to which request.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shapes::{consumer::*, record::*, shard::*, stream::*, tags::*};

/// A request that knows its name and its answer.
pub trait Operation: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What the service answers.
    type Response: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The name after the dot in `X-Amz-Target`.
    const NAME: &'static str;
}

/// What stands before the dot in `X-Amz-Target`.
pub const TARGET_PREFIX: &str = "Kinesis_20131202";

macro_rules! operations {
    ($($name:literal: $request:ty => $response:ty,)+) => {$(
        impl Operation for $request {
            type Response = $response;
            const NAME: &'static str = $name;
        }
    )+};
}

operations! {
    "AddTagsToStream": AddTagsToStreamRequest => Empty,
    "CreateStream": CreateStreamRequest => Empty,
    "DecreaseStreamRetentionPeriod": DecreaseStreamRetentionPeriodRequest => Empty,
    "DeleteStream": DeleteStreamRequest => Empty,
    "DeregisterStreamConsumer": DeregisterStreamConsumerRequest => Empty,
    "DescribeLimits": DescribeLimitsRequest => DescribeLimitsResponse,
    "DescribeStream": DescribeStreamRequest => DescribeStreamResponse,
    "DescribeStreamConsumer": DescribeStreamConsumerRequest => DescribeStreamConsumerResponse,
    "DescribeStreamSummary": DescribeStreamSummaryRequest => DescribeStreamSummaryResponse,
    "DisableEnhancedMonitoring": DisableEnhancedMonitoringRequest => EnhancedMonitoringResponse,
    "EnableEnhancedMonitoring": EnableEnhancedMonitoringRequest => EnhancedMonitoringResponse,
    "GetRecords": GetRecordsRequest => GetRecordsResponse,
    "GetShardIterator": GetShardIteratorRequest => GetShardIteratorResponse,
    "IncreaseStreamRetentionPeriod": IncreaseStreamRetentionPeriodRequest => Empty,
    "ListShards": ListShardsRequest => ListShardsResponse,
    "ListStreamConsumers": ListStreamConsumersRequest => ListStreamConsumersResponse,
    "ListStreams": ListStreamsRequest => ListStreamsResponse,
    "ListTagsForResource": ListTagsForResourceRequest => ListTagsForResourceResponse,
    "ListTagsForStream": ListTagsForStreamRequest => ListTagsForStreamResponse,
    "MergeShards": MergeShardsRequest => Empty,
    "PutRecord": PutRecordRequest => PutRecordResponse,
    "PutRecords": PutRecordsRequest => PutRecordsResponse,
    "RegisterStreamConsumer": RegisterStreamConsumerRequest => RegisterStreamConsumerResponse,
    "RemoveTagsFromStream": RemoveTagsFromStreamRequest => Empty,
    "SplitShard": SplitShardRequest => Empty,
    "StartStreamEncryption": StartStreamEncryptionRequest => Empty,
    "StopStreamEncryption": StopStreamEncryptionRequest => Empty,
    "SubscribeToShard": SubscribeToShardRequest => SubscribeToShardEvent,
    "TagResource": TagResourceRequest => Empty,
    "UntagResource": UntagResourceRequest => Empty,
    "UpdateMaxRecordSize": UpdateMaxRecordSizeRequest => Empty,
    "UpdateShardCount": UpdateShardCountRequest => UpdateShardCountResponse,
    "UpdateStreamMode": UpdateStreamModeRequest => Empty,
}
