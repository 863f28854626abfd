//! The model Kinesis as a source of records, in virtual time, over links that can be disturbed.

mod http;
pub(crate) mod link;
pub(crate) mod model;
mod reader;
mod source;
