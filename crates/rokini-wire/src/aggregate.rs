//! Aggregates of the Kinesis Producer Library (KPL): one stream record that holds many user records.
//!
//! The format is a magic number, a message in protobuf, and the MD5 of that message. The message has a table of partition
//! keys, a table of explicit hash keys, and user records that refer to them. It is read in place: a user record is the
//! places of its data and keys.

mod layout;
mod protobuf;
mod read;
mod write;

pub use read::{Aggregate, AggregateError, UserRecordPlace, effective_hash, is_aggregate, read_aggregates};
pub use write::AggregateBuilder;

#[cfg(test)]
mod tests;
