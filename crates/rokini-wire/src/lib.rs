#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![doc = include_str!("../README.md")]

mod aggregate;
mod answer;
mod blob;
pub mod cbor;
mod codec;
mod enums;
mod error;
pub mod events;
pub mod json;
mod md5;
mod operation;
pub mod shapes;
mod structure;
mod timestamp;

pub use rokini_types::{InvalidSequenceNumber, SequenceNumber};

pub use aggregate::{
    Aggregate, AggregateBuilder, AggregateError, UserRecordPlace, effective_hash, is_aggregate,
    read_aggregates,
};
pub use answer::{AnswerError, RecordPlace, RecordsAnswer};
pub use blob::Blob;
pub use codec::Codec;
pub use enums::{
    BillingCommitmentStatus, ConsumerStatus, EncryptionType, ErrorCode, MetricsName,
    QueueStartingPositionType, QueueStatus, RecordDistributionStrategy, ScalingType, ShardFilterType,
    ShardIteratorType, StreamMode, StreamStatus, TargetType,
};
pub use error::{DecodeError, ExceptionBody, ServiceError};
pub use md5::{Md5Digest, md5, md5_each, partition_key_hash};
pub use operation::{AnyRequest, AnyResponse, OPERATIONS, Operation, TARGET_PREFIX};
pub use timestamp::Timestamp;
