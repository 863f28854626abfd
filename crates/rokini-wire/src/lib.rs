#![doc = include_str!("../README.md")]

mod answer;
mod blob;
pub mod cbor;
mod codec;
mod enums;
mod error;
pub mod events;
pub mod json;
mod operation;
pub mod shapes;
mod timestamp;

pub use rokini_types::{InvalidSequenceNumber, SequenceNumber};

pub use answer::{AnswerError, RecordPlace, RecordsAnswer};
pub use blob::Blob;
pub use codec::Codec;
pub use enums::{
    ConsumerStatus, EncryptionType, ErrorCode, MetricsName, ScalingType, ShardFilterType, ShardIteratorType,
    StreamMode, StreamStatus,
};
pub use error::{DecodeError, ServiceError};
pub use operation::{AnyRequest, AnyResponse, OPERATIONS, Operation, TARGET_PREFIX};
pub use timestamp::Timestamp;
