//! The library as programs use it: on the paused clock, over sockets, and in processes of its own.
//!
//! One binary for all of it: linking the AWS SDK takes longer than most of these tests.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod aws;
mod child;
#[cfg(feature = "sqs")]
mod dead_letter;
mod delivery;
mod docs;
mod examples;
mod harness;
mod idle;
#[cfg(feature = "json")]
mod interfaces;
mod network;
mod polling;
#[cfg(all(feature = "cloudwatch", feature = "otlp", feature = "prometheus"))]
mod services;
#[cfg(unix)]
mod signals;
mod sockets;
mod spans;
mod stream;
mod supervision;

/// Says that a test was skipped. Past the harness, which swallows what tests print that pass.
fn skipped(why: impl std::fmt::Display) {
    let thread = std::thread::current();
    let text = format!("\nskipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}
