//! The real AWS SDK against the local endpoints, over HTTP.

mod cbor;
mod client;
#[cfg(feature = "data")]
mod data;
#[cfg(feature = "dynamo")]
mod dynamo;
mod fan_out;
mod faults;
#[cfg(feature = "data")]
mod full_disk;
mod kinesis;
mod malformed;
mod measure;
mod mid_stream;
mod page;
pub(crate) mod safety;
#[cfg(feature = "tls")]
mod tls;
