//! Shards: list, split, merge.

use rokini_types::SequenceNumber;

use crate::enums::ShardFilterType;
use crate::timestamp::Timestamp;

shapes! {
    /// A range of hash keys, both ends included, as decimal numbers below 2^128.
    pub struct HashKeyRange {
        /// The first hash key.
        pub starting_hash_key: String,
        /// The last hash key.
        pub ending_hash_key: String,
    }

    /// The sequence numbers a shard can hold.
    pub struct SequenceNumberRange {
        /// The first sequence number.
        pub starting_sequence_number: SequenceNumber,
        /// The last sequence number; absent while the shard is open.
        pub ending_sequence_number: Option<SequenceNumber>,
    }

    /// A shard with its place in the stream.
    pub struct Shard {
        /// Id, `shardId-` and twelve digits.
        pub shard_id: String,
        /// The shard this one came from, if it still exists.
        pub parent_shard_id: Option<String>,
        /// The second parent after a merge.
        pub adjacent_parent_shard_id: Option<String>,
        /// Hash keys it takes.
        pub hash_key_range: HashKeyRange,
        /// Sequence numbers it can hold.
        pub sequence_number_range: SequenceNumberRange,
    }

    /// A shard that continues one just read to its end.
    pub struct ChildShard {
        /// Id.
        pub shard_id: String,
        /// Its parents: one after a split, two after a merge.
        pub parent_shards: Vec<String>,
        /// Hash keys it takes.
        pub hash_key_range: HashKeyRange,
    }

    /// Narrows a listing of shards.
    pub struct ShardFilter {
        /// Which shards.
        #[serde(rename = "Type")]
        pub kind: ShardFilterType,
        /// For `AFTER_SHARD_ID`: the listing starts after it.
        pub shard_id: Option<String>,
        /// For `AT_TIMESTAMP` and `FROM_TIMESTAMP`.
        pub timestamp: Option<Timestamp>,
    }

    /// Asks for a page of a stream's shards.
    pub struct ListShardsRequest {
        stream_name | stream_arn,
        /// Continues an earlier answer; valid for 300 seconds; excludes naming the stream.
        pub next_token: Option<String>,
        /// The listing starts after this shard.
        pub exclusive_start_shard_id: Option<String>,
        /// Largest number of shards in the answer: default and most 1,000.
        pub max_results: Option<i32>,
        /// Tells apart streams that had the same name.
        pub stream_creation_timestamp: Option<Timestamp>,
        /// Narrows the listing.
        pub shard_filter: Option<ShardFilter>,
    }

    /// Answer to [`ListShardsRequest`].
    pub struct ListShardsResponse {
        /// The page.
        pub shards: Option<Vec<Shard>>,
        /// Token for the next page; absent on the last.
        pub next_token: Option<String>,
    }

    /// Splits one shard in two.
    pub struct SplitShardRequest {
        stream_name | stream_arn,
        /// Id of the shard.
        pub shard_to_split: String,
        /// First hash key of the upper child.
        pub new_starting_hash_key: String,
    }

    /// Merges two adjacent shards.
    pub struct MergeShardsRequest {
        stream_name | stream_arn,
        /// One of the two shards.
        pub shard_to_merge: String,
        /// The other shard, adjacent by its hash keys.
        pub adjacent_shard_to_merge: String,
    }
}
