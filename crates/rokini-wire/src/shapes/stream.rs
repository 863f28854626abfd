//! Streams: create, delete, describe, list, and change as a whole.

use std::collections::BTreeMap;

use crate::enums::{
    EncryptionType, MetricsName, RecordDistributionStrategy, ScalingType, StreamMode, StreamStatus,
};
use crate::shapes::shard::Shard;
use crate::timestamp::Timestamp;

shapes! {
    /// The capacity mode of a stream.
    pub struct StreamModeDetails {
        /// Provisioned or on-demand.
        pub stream_mode: StreamMode,
    }

    /// Throughput an on-demand stream is kept ready for.
    pub struct WarmThroughput {
        /// Wanted, in MiB per second.
        #[serde(rename = "TargetMiBps")]
        pub target_mibps: Option<i32>,
        /// Reached, in MiB per second.
        #[serde(rename = "CurrentMiBps")]
        pub current_mibps: Option<i32>,
    }

    /// Shard-level metrics switched on for a stream.
    pub struct EnhancedMetrics {
        /// Names of the metrics.
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// Creates a stream.
    pub struct CreateStreamRequest {
        /// Name of the new stream, 1 to 128 of `a-zA-Z0-9_.-`.
        pub stream_name: String,
        /// Number of shards; required for a provisioned stream.
        pub shard_count: Option<i32>,
        /// Capacity mode; provisioned when absent.
        pub stream_mode_details: Option<StreamModeDetails>,
        /// Tags to set, at most 50.
        pub tags: Option<BTreeMap<String, String>>,
        /// Throughput to keep ready, in MiB per second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
        /// Largest record, in KiB: 1,024 (the default) to 10,240.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
        /// Who chooses the shard of a record; only for an on-demand stream.
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
    }

    /// Deletes a stream and its records.
    pub struct DeleteStreamRequest {
        stream_name | stream_arn,
        /// Whether registered consumers are removed along; without it they make the call fail.
        pub enforce_consumer_deletion: Option<bool>,
    }

    /// Asks for a stream and a page of its shards.
    pub struct DescribeStreamRequest {
        stream_name | stream_arn,
        /// Largest number of shards in the answer: default and most 100.
        pub limit: Option<i32>,
        /// The page starts after this shard.
        pub exclusive_start_shard_id: Option<String>,
    }

    /// Answer to [`DescribeStreamRequest`].
    pub struct DescribeStreamResponse {
        /// The stream.
        pub stream_description: StreamDescription,
    }

    /// A stream and a page of its shards.
    pub struct StreamDescription {
        /// Name.
        pub stream_name: String,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// State.
        pub stream_status: StreamStatus,
        /// Capacity mode.
        pub stream_mode_details: Option<StreamModeDetails>,
        /// The page of shards, open and closed.
        pub shards: Vec<Shard>,
        /// Whether more shards follow this page.
        pub has_more_shards: bool,
        /// How long records are kept, in hours.
        pub retention_period_hours: i32,
        /// When the stream was created.
        pub stream_creation_timestamp: Timestamp,
        /// Shard-level metrics in force.
        pub enhanced_monitoring: Vec<EnhancedMetrics>,
        /// Encryption at rest.
        pub encryption_type: Option<EncryptionType>,
        /// KMS key, when encrypted.
        pub key_id: Option<String>,
    }

    /// Asks for a stream without its shards.
    pub struct DescribeStreamSummaryRequest {
        stream_name | stream_arn,
    }

    /// Answer to [`DescribeStreamSummaryRequest`].
    pub struct DescribeStreamSummaryResponse {
        /// The stream.
        pub stream_description_summary: StreamDescriptionSummary,
    }

    /// A stream without its shards.
    pub struct StreamDescriptionSummary {
        /// Name.
        pub stream_name: String,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// State.
        pub stream_status: StreamStatus,
        /// Capacity mode.
        pub stream_mode_details: Option<StreamModeDetails>,
        /// How long records are kept, in hours.
        pub retention_period_hours: i32,
        /// When the stream was created.
        pub stream_creation_timestamp: Timestamp,
        /// Shard-level metrics in force.
        pub enhanced_monitoring: Vec<EnhancedMetrics>,
        /// Encryption at rest.
        pub encryption_type: Option<EncryptionType>,
        /// KMS key, when encrypted.
        pub key_id: Option<String>,
        /// Number of open shards.
        pub open_shard_count: i32,
        /// Number of registered consumers.
        pub consumer_count: Option<i32>,
        /// Throughput kept ready.
        pub warm_throughput: Option<WarmThroughput>,
        /// Largest record, in KiB.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
        /// Number of channels.
        pub channel_count: Option<i32>,
        /// Who chooses the shard of a record; only of an on-demand stream.
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
        /// Number of queues.
        pub queue_count: Option<i32>,
        /// Reserved by the service; never set.
        pub stream_id: Option<String>,
    }

    /// Asks for a page of the account's streams.
    pub struct ListStreamsRequest {
        /// Largest number of streams in the answer: default and most 100.
        pub limit: Option<i32>,
        /// The page starts after this name.
        pub exclusive_start_stream_name: Option<String>,
        /// Continues an earlier answer.
        pub next_token: Option<String>,
    }

    /// Answer to [`ListStreamsRequest`].
    pub struct ListStreamsResponse {
        /// Names, in order.
        pub stream_names: Vec<String>,
        /// Whether more follow.
        pub has_more_streams: bool,
        /// Token for the next page.
        pub next_token: Option<String>,
        /// The same streams with their state.
        pub stream_summaries: Option<Vec<StreamSummary>>,
    }

    /// A stream in a listing.
    pub struct StreamSummary {
        /// Name.
        pub stream_name: String,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// State.
        pub stream_status: StreamStatus,
        /// Capacity mode.
        pub stream_mode_details: Option<StreamModeDetails>,
        /// When the stream was created.
        pub stream_creation_timestamp: Option<Timestamp>,
    }

    /// Changes the number of open shards.
    pub struct UpdateShardCountRequest {
        stream_name | stream_arn,
        /// The wanted number, at most twice and at least half the present one.
        pub target_shard_count: i32,
        /// How to scale; only uniform exists.
        pub scaling_type: ScalingType,
    }

    /// Answer to [`UpdateShardCountRequest`].
    pub struct UpdateShardCountResponse {
        /// Name.
        pub stream_name: Option<String>,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// Open shards before.
        pub current_shard_count: Option<i32>,
        /// Open shards wanted.
        pub target_shard_count: Option<i32>,
    }

    /// Changes the capacity mode.
    pub struct UpdateStreamModeRequest {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// The new mode.
        pub stream_mode_details: StreamModeDetails,
        /// Throughput to keep ready, in MiB per second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
        stream_id,
    }

    /// Changes who chooses the shard of a record of an on-demand stream.
    pub struct UpdateStreamRecordDistributionStrategyRequest {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// The new strategy.
        pub record_distribution_strategy: RecordDistributionStrategy,
        stream_id,
    }

    /// Changes the throughput an on-demand stream is kept ready for.
    pub struct UpdateStreamWarmThroughputRequest {
        stream_name | stream_arn,
        /// Throughput to keep ready, in MiB per second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: i32,
    }

    /// Answer to [`UpdateStreamWarmThroughputRequest`].
    pub struct UpdateStreamWarmThroughputResponse {
        /// Name.
        pub stream_name: Option<String>,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// The throughput wanted and reached.
        pub warm_throughput: Option<WarmThroughput>,
    }

    /// Changes the size of the largest record accepted.
    pub struct UpdateMaxRecordSizeRequest {
        /// ARN of the stream; this or the name.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// In KiB: 1,024 to 10,240.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: i32,
        stream_id,
    }

    /// Keeps records longer.
    pub struct IncreaseStreamRetentionPeriodRequest {
        stream_name | stream_arn,
        /// In hours, at most 8,760.
        pub retention_period_hours: i32,
    }

    /// Keeps records less long.
    pub struct DecreaseStreamRetentionPeriodRequest {
        stream_name | stream_arn,
        /// In hours, at least 24.
        pub retention_period_hours: i32,
    }

    /// Turns encryption at rest on.
    pub struct StartStreamEncryptionRequest {
        stream_name | stream_arn,
        /// Must be KMS.
        pub encryption_type: EncryptionType,
        /// KMS key: id, ARN or alias.
        pub key_id: String,
    }

    /// Turns encryption at rest off.
    pub struct StopStreamEncryptionRequest {
        stream_name | stream_arn,
        /// Must be KMS.
        pub encryption_type: EncryptionType,
        /// KMS key in use.
        pub key_id: String,
    }

    /// Turns shard-level metrics on.
    pub struct EnableEnhancedMonitoringRequest {
        stream_name | stream_arn,
        /// Names of the metrics.
        pub shard_level_metrics: Vec<MetricsName>,
    }

    /// Turns shard-level metrics off.
    pub struct DisableEnhancedMonitoringRequest {
        stream_name | stream_arn,
        /// Names of the metrics.
        pub shard_level_metrics: Vec<MetricsName>,
    }

    /// Answer to a change of shard-level metrics.
    pub struct EnhancedMonitoringResponse {
        /// Name.
        pub stream_name: Option<String>,
        /// ARN.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        /// Metrics that were on before.
        pub current_shard_level_metrics: Option<Vec<MetricsName>>,
        /// Metrics that are on now.
        pub desired_shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// Asks for the account's limits.
    pub struct DescribeLimitsRequest {}

    /// Answer to [`DescribeLimitsRequest`].
    pub struct DescribeLimitsResponse {
        /// Largest number of open shards in the account.
        pub shard_limit: i32,
        /// Open shards now.
        pub open_shard_count: i32,
        /// On-demand streams now.
        pub on_demand_stream_count: i32,
        /// Largest number of on-demand streams.
        pub on_demand_stream_count_limit: i32,
        /// Channels now.
        pub channel_count: Option<i32>,
        /// Largest number of channels.
        pub channel_count_limit: Option<i32>,
    }

    /// An answer without members.
    pub struct EmptyResponse {}
}
