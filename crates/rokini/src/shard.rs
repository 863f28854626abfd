//! One shard in this worker.

pub(crate) mod budget;
mod calls;
mod data_loss_warning;
mod dispatcher;
mod drain;
mod fetch;
pub(crate) mod held_shard;
pub(crate) mod observer;
pub(crate) mod progress;
pub(crate) mod resources;
mod retrieval_choice;
pub(crate) mod status;
mod stream_probe;
pub(crate) mod task;
mod watchdog;
pub(crate) mod worker_state;
