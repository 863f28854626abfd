//! The local Kinesis as its clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod clients;
mod differential;
mod fidelity;
mod sdk;
