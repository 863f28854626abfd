//! The local Kinesis as its clients see it.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod answers;
mod clients;
mod differential;
mod fidelity;
mod queues;
mod sdk;
mod service_model;
mod statements;
mod states;

/// Says that a test was skipped. Past the harness, which swallows what tests print that pass.
fn skipped(why: impl std::fmt::Display) {
    let thread = std::thread::current();
    let text = format!("\nskipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}
