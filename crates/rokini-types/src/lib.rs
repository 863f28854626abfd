//! The types that several crates of Rokini share, so that a value goes from one to the other without being
//! converted.

mod backoff;
mod sequence;

pub use backoff::Backoff;
pub use sequence::{InvalidSequenceNumber, SequenceNumber};
