//! The simulation: the real consumers on a model Kinesis and a faulty store, in virtual time, from one seed.
//!
//! A run disturbs a fleet for a while, leaves it in peace, and then judges: every record reached a handler, in order
//! per key, no handler began under a stale epoch, every shard is owned by a live worker, and nothing moves any more.

mod ledger;
mod scenario;
mod stream;

pub use ledger::{Ledger, Violation};
pub use scenario::{Report, Weather, run};
