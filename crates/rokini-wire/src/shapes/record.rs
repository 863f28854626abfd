//! Records: put, iterate, get.

use std::sync::Arc;

use crate::shapes::shard::ChildShard;
use rokini_types::SequenceNumber;

use crate::blob::Blob;
use crate::enums::{EncryptionType, ErrorCode, ShardIteratorType};
use crate::timestamp::Timestamp;

shapes! {
    /// Writes one record.
    pub struct PutRecordRequest {
        stream_name | stream_arn,
        /// The data.
        pub data: Blob,
        /// Key whose MD5 chooses the shard, 1 to 256 characters. Required unless the stream distributes records by itself.
        pub partition_key: Option<Arc<str>>,
        /// Overrides the MD5 of the key: a decimal number below 2^128.
        pub explicit_hash_key: Option<String>,
        /// The new record's number will be greater than this.
        pub sequence_number_for_ordering: Option<String>,
        dry_run,
    }

    /// Answer to [`PutRecordRequest`].
    pub struct PutRecordResponse {
        /// Id of the shard that took the record.
        pub shard_id: String,
        /// The sequence number of the record in that shard.
        pub sequence_number: SequenceNumber,
        /// Encryption at rest.
        pub encryption_type: Option<EncryptionType>,
    }

    /// Writes up to 500 records; each can fail by itself.
    pub struct PutRecordsRequest {
        stream_name | stream_arn,
        /// The records.
        pub records: Vec<PutRecordsRequestEntry>,
        dry_run,
    }

    /// One record to write.
    pub struct PutRecordsRequestEntry {
        /// The data.
        pub data: Blob,
        /// Key whose MD5 chooses the shard, 1 to 256 characters. Required unless the stream distributes records by itself.
        pub partition_key: Option<Arc<str>>,
        /// Overrides the MD5 of the key: a decimal number below 2^128.
        pub explicit_hash_key: Option<String>,
    }

    /// Answer to [`PutRecordsRequest`].
    pub struct PutRecordsResponse {
        /// How many failed.
        pub failed_record_count: Option<i32>,
        /// One result for each record, in the order of the request.
        pub records: Vec<PutRecordsResultEntry>,
        /// Encryption at rest.
        pub encryption_type: Option<EncryptionType>,
    }

    /// What became of one record.
    pub struct PutRecordsResultEntry {
        /// The sequence number of the record, if it was written.
        pub sequence_number: Option<SequenceNumber>,
        /// Id of the shard that took the record, if it was written.
        pub shard_id: Option<String>,
        /// Code of the error, if the record was not written.
        pub error_code: Option<ErrorCode>,
        /// The reason for people.
        pub error_message: Option<String>,
    }

    /// Asks for an iterator to read a shard with.
    pub struct GetShardIteratorRequest {
        stream_name | stream_arn,
        /// The shard.
        pub shard_id: String,
        /// How the position is given.
        pub shard_iterator_type: ShardIteratorType,
        /// For `AT_` and `AFTER_SEQUENCE_NUMBER`.
        pub starting_sequence_number: Option<String>,
        /// For `AT_TIMESTAMP`.
        pub timestamp: Option<Timestamp>,
        dry_run,
    }

    /// Answer to [`GetShardIteratorRequest`].
    pub struct GetShardIteratorResponse {
        /// The iterator, valid for five minutes.
        pub shard_iterator: Option<String>,
    }

    /// Reads from an iterator.
    pub struct GetRecordsRequest {
        /// The iterator.
        pub shard_iterator: String,
        /// Largest number of records in the answer, at most (and by default) 10,000.
        pub limit: Option<i32>,
        /// ARN of the stream; this or the name.
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        stream_id,
        dry_run,
    }

    /// Answer to [`GetRecordsRequest`].
    pub struct GetRecordsResponse {
        /// The records, in order; may be empty.
        pub records: Vec<Record>,
        /// Where to go on; absent at the end of a closed shard.
        pub next_shard_iterator: Option<String>,
        /// How far behind the tip of the shard this answer is, in milliseconds.
        pub millis_behind_latest: Option<i64>,
        /// The shards that continue this one; only at its end.
        pub child_shards: Option<Vec<ChildShard>>,
    }

    /// A record as read.
    pub struct Record {
        /// The sequence number in the shard.
        pub sequence_number: SequenceNumber,
        /// When the stream took it.
        pub approximate_arrival_timestamp: Option<Timestamp>,
        /// The data.
        pub data: Blob,
        /// The key it was written with; absent in records that were not written through the API.
        pub partition_key: Option<Arc<str>>,
        /// Encryption at rest.
        pub encryption_type: Option<EncryptionType>,
    }
}
