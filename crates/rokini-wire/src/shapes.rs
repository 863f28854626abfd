//! Requests and responses of the Kinesis Data Streams API.
//!
//! A member the API requires is a plain type, any other is an `Option` that is left out when `None`. Members that only
//! widen a request and that no consumer, producer or operator's tool needs here are ignored on reading.

pub mod consumer;
pub mod record;
pub mod shard;
pub mod stream;
pub mod tags;
