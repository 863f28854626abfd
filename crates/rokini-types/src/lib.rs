//! The types that several crates of Rokini share, so that a value goes from one to the other without being
//! converted.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]

mod backoff;
mod sequence;

pub use backoff::Backoff;
pub use sequence::{InvalidSequenceNumber, SequenceNumber};
