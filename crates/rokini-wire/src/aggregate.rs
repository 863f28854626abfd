//! Aggregates of the Kinesis Producer Library (KPL): one stream record that holds many user records.
//!
//! The format is a magic number, a message in protobuf, and the MD5 of that message. The message has a table of partition
//! keys, a table of explicit hash keys, and user records that refer to them. It is read in place: a user record is the
//! places of its data and keys.

mod protobuf;
mod read;
mod write;

pub use read::{Aggregate, AggregateError, UserRecordPlace, effective_hash, is_aggregate, read_aggregates};
pub use write::AggregateBuilder;

/// What an aggregate begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The length of the check sum at its end.
const CHECK_SUM: usize = 16;

/// Fields of the message, and of a user record in it.
mod field {
    pub(super) const PARTITION_KEY: u64 = 1;
    pub(super) const EXPLICIT_HASH_KEY: u64 = 2;
    pub(super) const RECORD: u64 = 3;

    pub(super) const RECORD_PARTITION_KEY: u64 = 1;
    pub(super) const RECORD_EXPLICIT_HASH_KEY: u64 = 2;
    pub(super) const RECORD_DATA: u64 = 3;
}

#[cfg(test)]
mod tests;
