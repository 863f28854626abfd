//! What users implement and hold: processors, batches, the context of a shard.

pub(crate) mod batch;
pub(crate) mod closure;
pub(crate) mod decode;
pub(crate) mod erased;
pub(crate) mod factory;
pub(crate) mod one_by_one;
pub(crate) mod prepared;
pub(crate) mod record_processor;
pub(crate) mod shard_context;
pub(crate) mod tracing_span;
