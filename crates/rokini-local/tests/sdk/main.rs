//! The real AWS SDK against the local endpoints, over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod cbor;
mod client;
mod data;
mod dynamo;
mod fan_out;
mod faults;
mod kinesis;
mod malformed;
mod mid_stream;
mod tls;
