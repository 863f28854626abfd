//! Fleets in virtual time: seeds, and what shows that the checks can see.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod defects;
mod mutants;
mod promises;
mod scale;
mod seeds;
mod support;
