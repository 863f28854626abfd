//! How the model behaves where Kinesis leaves a choice or where tests want one.

use std::time::Duration;

/// Settings of a [`Model`](crate::Model). Start from the default and change fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalSettings {
    /// Twelve digits that appear in ARNs and messages. Default `000000000000`.
    pub account_id: String,
    /// The region that appears in ARNs. Default `us-east-1`.
    pub region: String,
    /// How long a stream stays CREATING, UPDATING or DELETING, and a consumer CREATING or DELETING. Default zero: the
    /// change is complete when the call returns.
    pub status_change: Duration,
    /// Whether rates are limited as AWS limits them: those of shards, and those of calls. Default yes.
    pub throughput_limits: bool,
    /// Whether an operation such as CreateStream or DescribeStreamSummary can be called only a limited number of times a second by the
    /// account or for a stream, as AWS documents. Without effect where rates are not limited at all. Default yes.
    pub call_limits: bool,
    /// How long an iterator can be used. Default 5 minutes, as AWS documents for GetShardIterator.
    pub iterator_life: Duration,
    /// How long a subscription lasts. Default 5 minutes, as AWS documents for SubscribeToShard.
    pub subscription_life: Duration,
    /// How long a subscription without records stays silent before it pushes an event without records. Default 5 seconds.
    pub idle_event: Duration,
    /// How long a NextToken can be used. Default 300 seconds, as AWS documents for ListShards.
    pub token_life: Duration,
    /// Which answer about a closed shard reports the end. Default [`EndOfShard::WithLastRecords`].
    pub end_of_shard: EndOfShard,
    /// Largest number of open shards of provisioned streams. Default 20,000, the quota AWS documents for its largest
    /// regions.
    pub shard_limit: u32,
    /// Largest number of on-demand streams. Default 50, as AWS documents.
    pub on_demand_stream_limit: u32,
    /// Decides what is random. Default 0.
    pub seed: u64,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            account_id: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            status_change: Duration::ZERO,
            throughput_limits: true,
            call_limits: true,
            iterator_life: Duration::from_secs(300),
            subscription_life: Duration::from_secs(300),
            idle_event: Duration::from_secs(5),
            token_life: Duration::from_secs(300),
            end_of_shard: EndOfShard::WithLastRecords,
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
            seed: 0,
        }
    }
}

impl LocalSettings {
    pub(crate) fn limits_calls(&self) -> bool {
        self.throughput_limits && self.call_limits
    }
}

/// When GetRecords or SubscribeToShard says that a closed shard is at its end: nothing to continue from, and ChildShards.
///
/// The documentation allows both; a consumer must cope with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOfShard {
    /// In the answer that holds the last records.
    WithLastRecords,
    /// In an answer of its own, without records, after it.
    AfterLastRecords,
}
