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

#[path = "delivery/acks.rs"]
mod acks;
#[path = "delivery/balance.rs"]
mod balance;
#[path = "delivery/batches.rs"]
mod batches;
#[path = "delivery/fleet.rs"]
mod fleet;
#[path = "delivery/handlers.rs"]
mod handlers;
#[path = "delivery/harness.rs"]
mod harness;
#[path = "delivery/lanes.rs"]
mod lanes;
#[path = "delivery/monitoring.rs"]
mod monitoring;
#[path = "delivery/options.rs"]
mod options;
#[path = "delivery/policy.rs"]
mod policy;
#[path = "delivery/reading.rs"]
mod reading;
#[path = "delivery/recurring.rs"]
mod recurring;
#[path = "delivery/shard_end.rs"]
mod shard_end;
#[path = "delivery/start.rs"]
mod start;
#[path = "delivery/stop.rs"]
mod stop;
#[path = "delivery/storm.rs"]
mod storm;
#[path = "delivery/stream.rs"]
mod stream;
#[path = "delivery/streams.rs"]
mod streams;
