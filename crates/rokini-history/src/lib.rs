//! The history of a run: which records were put, which worker handled which of them when and under which epoch, and
//! what that proves.
//!
//! Pure: times are durations since the start of the run, handed in. Two kinds of observers use it. One that stands
//! inside the handlers sees calls begin and end ([`Observed::InCall`]). One that reads the workers' output through a
//! pipe each sees only records, and of two records from different pipes it cannot always tell which was written first
//! ([`Observed::InRound`]).
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]

mod cause;
mod findings;
mod history;
mod judge;
mod order;
mod record;
#[cfg(test)]
mod tests;

pub use cause::{Cause, ExpectedRepeat, Repeat};
pub use findings::{Check, Disorder, Findings, LeftBehind, PassedOver, StaleCall, Violation};
pub use history::{History, ShardState};
pub use record::{
    CallEnd, CallId, Delivery, ExtendedSequenceNumber, Observed, ObservedHold, Place, Process, Put,
};
