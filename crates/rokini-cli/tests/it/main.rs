//! The binary as users run it: real processes against endpoints on loopback.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    reason = "a test"
)]

mod aggregates;
mod causes;
mod consume;
mod demo;
mod deployment;
mod doctor;
mod dumps;
mod fleet;
mod garbled;
mod group;
mod group_page;
mod handlers;
mod help;
mod images;
mod independent;
mod json_document;
mod local;
mod migrate;
mod monitoring;
mod on_call;
mod orders;
mod otlp;
mod pipes;
mod pressure;
mod processes;
mod put_input;
mod put_tail;
mod refusals;
mod settings;
mod soak;
mod standard_error;
mod stream;
mod support;
mod tail;
mod told;

/// Held by a test that measures how a fleet of processes reacts: two fleets would slow each other down.
fn one_fleet() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Says that a test was skipped. Past the harness, which swallows what tests print that pass.
fn skipped(why: impl std::fmt::Display) {
    let thread = std::thread::current();
    let text = format!("\nskipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
}
