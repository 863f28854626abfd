//! The words that every other room uses: errors, names, failures, delays. Knows none of the rooms above it.

pub(crate) mod backoff;
pub(crate) mod dead_letter_target;
pub(crate) mod drained;
pub(crate) mod duration;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod log_limiter;
pub(crate) mod named;
pub(crate) mod phase;
pub(crate) mod record;
pub(crate) mod rfc3339;
pub(crate) mod shard_state;
pub(crate) mod stall;
pub(crate) mod start_position;
pub(crate) mod stream_ref;
