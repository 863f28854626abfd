//! The simulation: real consumers on a model Kinesis and a faulty store, in virtual time, from one seed.
//!
//! A run injects faults into a fleet for a while, ends them, and then applies each [`Check`]. That each check can see
//! what it looks for is shown by broken variants ([`Mutant`]): `tests/it/mutants.rs` has at least one for each.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]

mod check;
mod checked_store;
mod faults;
mod gated_store;
mod incidents;
mod key_limits;
mod operator;
mod process_gate;
mod quiescence;
mod recorder;
mod scale;
mod scenario;
mod shard_ref;
mod shrink;
mod step;
mod stream;
mod worker;
mod world;

pub use check::{Check, Violation};
pub use checked_store::CheckedStore;
pub use faults::{FaultProfile, StorePath};
pub use gated_store::{GatedStore, StoreBug};
pub use key_limits::KeyLoad;
pub use operator::OperatorCommand;
pub use process_gate::{CrashPoint, ProcessGate};
pub use recorder::Recorder;
pub use rokini_history::Cause;
pub use rokini_local::EndOfShard;
pub use scale::{ConsumerPhase, Scale, scale, time_of_plan};
pub use scenario::{Mutant, Report, Run, run};
pub use shard_ref::ShardRef;
pub use shrink::shrink;
pub use step::{Script, Step};
pub use stream::link::{Link, ReaderBug};
pub use stream::model::{ListingFault, ShardFault, SimStream, StreamProfile};
pub use worker::{DeliveryMode, HandlerProfile, SimWorker, Ways, WorkerSpec};
pub use world::{SimError, StreamGroup, Summary, World};
