//! The DynamoDB store through the real SDK, over HTTP, against an embedded DynamoDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    reason = "a test"
)]

mod contract;
mod dynalite;
mod init;
mod lost_replies;
mod partitions;
mod proxy;
mod server;
mod table;
