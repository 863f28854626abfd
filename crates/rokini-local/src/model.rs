//! Kinesis as pure code: requests and the time go in, answers come out.
//!
//! Nothing here waits, spawns, reads a clock or touches a socket. What takes time in the service (creating, splitting)
//! happens when a later call shows that its time has come, and is dated to that time.

mod account;
mod billing;
mod call_rates;
mod caller;
mod changed;
mod channels;
mod commitment;
mod constraints;
mod consumer;
mod consumers;
mod distribution;
mod encryption;
mod errors;
#[cfg(feature = "data")]
mod kept;
#[cfg(feature = "data")]
mod kept_state;
mod kms_keys;
mod lifecycle;
mod list_shards;
mod monitoring;
mod operations;
mod overview;
mod policies;
mod policy;
mod put;
mod queue;
mod queues;
mod rate_limiter;
mod read;
mod receive;
mod reshard;
mod retention;
mod scale;
mod scope;
mod sequence;
mod shard;
mod stream;
mod streams;
mod subscription;
mod tags;
mod target;
mod token;

pub use account::Model;
pub use caller::Caller;
pub use changed::Changed;
pub(crate) use constraints::{fault_in_body, lower_first, wrong_kind_in_body};
#[cfg(feature = "data")]
pub(crate) use kept_state::{Effect, KeptRecords, KeptState, LiveShards};
pub use operations::ModelRequest;
#[cfg(feature = "data")]
pub(crate) use operations::changes_something;
pub(crate) use operations::{CallModel, answer_any, target_of};
pub(crate) use overview::RecordView;
pub(crate) use read::iterator_position;
pub(crate) use scope::is_account;
#[cfg(feature = "dynamo")]
pub(crate) use scope::partition_of;
pub(crate) use scope::{Scope, StreamKey};
pub(crate) use shard::shard_id;
pub use subscription::{Subscription, SubscriptionPoll};
pub(crate) use target::ResolvedTarget;
