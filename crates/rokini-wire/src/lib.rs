//! Bytes to values and back for Amazon Kinesis Data Streams, without any I/O.
//!
//! [`shapes`] holds the requests and responses, [`Operation`] ties them together, [`json`] and [`cbor`] read and write
//! them, [`events`] frames what is pushed. One definition serves both encodings of the service: [`Blob`], [`Timestamp`] and [`SequenceNumber`] know how each of
//! them looks in text and in binary.

mod blob;
pub mod cbor;
mod error;
pub mod events;
pub mod json;
mod names;
mod operation;
pub mod shapes;
mod timestamp;

pub use rokini_types::{InvalidSequenceNumber, SequenceNumber};

pub use blob::Blob;
pub use error::ServiceError;
pub use json::DecodeError;
pub use names::{
    ConsumerStatus, EncryptionType, ErrorCode, MetricsName, ScalingType, ShardFilterType, ShardIteratorType,
    StreamMode, StreamStatus,
};
pub use operation::{Operation, TARGET_PREFIX};
pub use timestamp::Timestamp;
