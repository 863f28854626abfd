//! What programs hold besides a processor: values, streams of records, and the like. On the paused clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test; each uses a part of the harness"
)]

#[path = "interfaces/broadcast.rs"]
mod broadcast;
#[path = "delivery/harness.rs"]
mod harness;
#[path = "interfaces/prepared.rs"]
mod prepared;
#[path = "interfaces/records.rs"]
mod records;
#[path = "delivery/stream.rs"]
mod stream;
#[path = "interfaces/typed.rs"]
mod typed;
