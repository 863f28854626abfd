//! The protocol and its stores from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod conformance;
mod cost;
#[cfg(feature = "dynamo")]
mod dynamo;
mod model;
