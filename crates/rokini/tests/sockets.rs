//! The consumer over sockets, against the local Kinesis: streams that fall silent, and random reshards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test; it uses a part of the harness"
)]

#[path = "delivery/harness.rs"]
mod harness;
#[path = "sockets/local.rs"]
mod local;
#[path = "sockets/reshards.rs"]
mod reshards;
#[path = "sockets/silence.rs"]
mod silence;
#[path = "delivery/stream.rs"]
mod stream;
