//! The simulation: the real consumers on a model Kinesis and a faulty store, in virtual time, from one seed.
//!
//! A run disturbs a fleet for a while, leaves it in peace, and then judges it by each [`Check`]. That the judge can
//! see what it looks for is shown by broken variants ([`Mutant`]): `tests/it/mutants.rs` has one for each check.

mod check;
mod court;
mod gate;
mod ledger;
mod scale;
mod scenario;
mod stream;
mod witness;
mod worker;
mod world;

pub use check::{Check, Violation};
pub use court::Court;
pub use gate::{Gate, GatedStore, Trick, Where};
pub use ledger::{CallEnd, CallId, Cause, Ledger, Place};
pub use rokini_local::EndOfShard;
pub use scale::{Phase, Scale, scale, time_of_plan};
pub use scenario::{Mutant, Report, Run, Weather, run};
pub use stream::{Link, Manners, Mischief, ShardFault, SimStream};
pub use witness::Witness;
pub use worker::{Hire, Manner, SimWorker};
pub use world::{FAILOVER_MILLIS, Failure, Lane, Order, Verdict, World};
