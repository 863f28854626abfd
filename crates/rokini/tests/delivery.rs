//! The consumer on the paused clock, with a stream and a lease store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

#[path = "delivery/harness.rs"]
mod harness;
#[path = "delivery/start.rs"]
mod start;
#[path = "delivery/stream.rs"]
mod stream;
