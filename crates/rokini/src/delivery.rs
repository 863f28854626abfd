//! From records read to records done: what is done, what may run next, what to do after a failure. Everything here
//! decides; the worker of a shard carries it out.

pub(crate) mod acks;
pub(crate) mod case;
pub(crate) mod flow;
pub(crate) mod lane;
pub(crate) mod policy;
pub(crate) mod spans;
pub(crate) mod tracker;
