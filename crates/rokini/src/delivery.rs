//! From records read to records done: what is done, what may run next, what to do after a failure. Everything here
//! decides; the dispatcher of a shard carries it out.

pub(crate) mod acks;
pub(crate) mod call_marks;
pub(crate) mod event;
mod failed_batch;
pub(crate) mod failure_policy;
pub(crate) mod lane;
mod order_key;
pub(crate) mod ranges;
pub(crate) mod scheduler;
pub(crate) mod tracker;
mod unacked;
