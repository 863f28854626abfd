//! The consumer: what a program builds, holds and runs. The one room that knows all others and wires them.

mod assembly;
pub(crate) mod builder;
mod control;
pub(crate) mod handle;
pub(crate) mod run;
mod shard_tasks;
pub(crate) mod shutdown_report;
mod sources;
mod start;
pub(crate) mod status;
