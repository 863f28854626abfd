//! The simulation: real consumers on a model Kinesis and a faulty store, in virtual time, from one seed.
//!
//! A run injects faults into a fleet for a while, ends them, and then applies each [`Check`]. That each check can see
//! what it looks for is shown by broken variants ([`Mutant`]): `tests/it/mutants.rs` has at least one for each.

mod check;
mod checked_store;
mod faults;
mod gated_store;
mod operator;
mod process_gate;
mod recorder;
mod scale;
mod scenario;
mod shrink;
mod stream;
mod worker;
mod world;

pub use check::{Check, Violation};
pub use checked_store::CheckedStore;
pub use faults::{FaultKind, FaultProfile, Limits};
pub use gated_store::{GatedStore, StoreBug};
pub use operator::OperatorCommand;
pub use process_gate::{CrashPoint, ProcessGate};
pub use recorder::{Recorder, ShardRef};
pub use rokini_history::Cause;
pub use rokini_local::EndOfShard;
pub use scale::{Phase, Scale, scale, time_of_plan};
pub use scenario::{Mutant, Report, Run, run};
pub use shrink::shrink;
pub use stream::link::{Link, ReaderBug};
pub use stream::model::{ShardFault, SimStream, StreamProfile};
pub use worker::{HandlerProfile, SimWorker, WorkerSpec};
pub use world::{FAILOVER_MILLIS, SimError, StreamGroup, Summary, World};
