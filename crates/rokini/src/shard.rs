//! One shard in this worker.

pub(crate) mod dispatcher;
pub(crate) mod fetch;
pub(crate) mod progress;
pub(crate) mod status;
pub(crate) mod task;
pub(crate) mod watchdog;
