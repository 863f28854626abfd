//! The local Kinesis beside ferrokinesis, in one run: what GetRecords serves, how fast a server starts, and a stream of
//! 10,000 shards. Prints a table.
//!
//!     cargo run --release --manifest-path benches/rivals/Cargo.toml
//!
//! Each server runs in a process of its own with one thread, is filled over HTTP by the same client, and its CPU time is
//! read from `/proc`: Linux only. Rates are for a second of the server's CPU time, so that a busy machine changes little.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measuring program")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program")]

mod client;
mod measure;
mod server;

use measure::Batches;
use rokini_local::wire::Codec;
use server::ServerKind;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => {}
        (Some("serve"), Some(kind)) => return server::serve(ServerKind::named(&kind)).await,
        _ => panic!("this program takes no arguments; its first lines say how it is run"),
    }
    println!("{:<68}{:>12}{:>14}{:>9}", "", "rokini-local", "ferrokinesis", "ratio");
    let batches = |codec, record_bytes, limit| Batches { codec, record_bytes, limit };
    for batches in [
        batches(Codec::Cbor, 1000, 10_000),
        batches(Codec::Cbor, 1000, 100),
        batches(Codec::Cbor, 50_000, 10_000),
        batches(Codec::Json, 1000, 10_000),
    ] {
        let title = format!(
            "GetRecords {:?} {} B, Limit {}: MB per server CPU-second",
            batches.codec, batches.record_bytes, batches.limit
        );
        let ours = measure::get_records(ServerKind::Rokini, &batches).await;
        let theirs = measure::get_records(ServerKind::Ferrokinesis, &batches).await;
        row(&title, &ours, &theirs, More::IsBetter);
    }
    let ours = measure::start(ServerKind::Rokini).await;
    let theirs = measure::start(ServerKind::Ferrokinesis).await;
    row(
        "bind to first answered read of 4 shards: ms, median of 20",
        &ours.median,
        &theirs.median,
        More::IsWorse,
    );
    row(
        "bind to first answered read of 4 shards: ms, slowest",
        &ours.slowest,
        &theirs.slowest,
        More::IsWorse,
    );
    let ours = measure::many_shards(ServerKind::Rokini).await;
    let theirs = measure::many_shards(ServerKind::Ferrokinesis).await;
    row(
        "10,000 shards: s from the start of the process to a page",
        &ours.started,
        &theirs.started,
        More::IsWorse,
    );
    row("10,000 shards: shards listed by following NextToken", &ours.listed, &theirs.listed, More::IsBetter);
    row("10,000 shards: MiB of memory at most", &ours.memory, &theirs.memory, More::IsWorse);
}

/// Which way a figure is good.
enum More {
    IsBetter,
    IsWorse,
}

/// A ratio above 1 is in favour of ours.
fn row(title: &str, ours: &f64, theirs: &f64, more: More) {
    let ratio = match more {
        More::IsBetter => ours / theirs,
        More::IsWorse => theirs / ours,
    };
    let digits = if *ours < 10.0 { 2 } else { 0 };
    println!("{title:<68}{ours:>12.digits$}{theirs:>14.digits$}{ratio:>9.1}");
}
