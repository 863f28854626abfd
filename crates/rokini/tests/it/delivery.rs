//! The consumer on the paused clock, with a stream and a lease store in memory.

mod acks;
mod aggregates;
mod balance;
mod batches;
mod fleet;
mod handlers;
mod keyless;
mod lanes;
#[cfg(feature = "prometheus")]
mod monitoring;
mod one_by_one;
mod options;
mod policy;
mod random;
mod reading;
mod recurring;
mod shard_end;
mod start;
mod stop;
mod streams;
