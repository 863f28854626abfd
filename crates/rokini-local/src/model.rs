//! Kinesis as pure code: requests and the time go in, answers come out.
//!
//! Nothing here waits, spawns, reads a clock or touches a socket. What takes time in the service (creating, splitting)
//! happens when a later call shows that its time has come, and is dated to that time.

mod account;
mod call_rates;
mod consumer;
mod consumers;
mod encryption;
mod errors;
mod kms_keys;
mod lifecycle;
mod list_shards;
mod monitoring;
mod operations;
mod put;
mod rate_limiter;
mod read;
mod reshard;
mod retention;
mod scale;
mod sequence;
mod shard;
mod stream;
mod streams;
mod subscription;
mod tags;
mod target;
mod token;
mod validation;

pub use account::Model;
pub use operations::ModelRequest;
#[cfg(feature = "data")]
pub(crate) use operations::changes_something;
pub(crate) use operations::{CallModel, answer_any, target_of};
pub use subscription::{Subscription, SubscriptionPoll};
pub(crate) use target::ResolvedTarget;
