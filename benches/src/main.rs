//! Measures. Each command prints one JSON object; the endpoints run in a process of their own, so that the figures are
//! the consumer's.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::time::Duration;

use clap::{Parser, Subcommand};

mod delivery;
mod endpoints;
mod error;
mod idle;
mod latency;
mod metrics;
mod plan;
mod process;
mod wire;

use self::error::Result;
use self::wire::Transport;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// From before PutRecord to the handler call, one consumer at default settings.
    Latency {
        /// Shards of the stream.
        #[arg(long, default_value_t = 4)]
        shards: i32,
        /// Records a second over all shards.
        #[arg(long, default_value_t = 20)]
        rate: u32,
        /// How long to measure, in seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// How the shards are read: `polling` or `fan_out`.
        #[arg(long, default_value = "polling")]
        retrieval: String,
    },
    /// Memory, threads and CPU time of one consumer on idle shards.
    Idle {
        /// Shards of the stream.
        #[arg(long, default_value_t = 20)]
        shards: i32,
        /// How long to measure, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// CPU time per record from a source in memory through a handler that does nothing, in batches and one by one: the
    /// barest loop, a consumer with one call at a time, and one with 16 lanes, in turns.
    Delivery {
        /// Records of each run.
        #[arg(long, default_value_t = 2_000_000)]
        records: usize,
        /// How often each is measured.
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// How long one worker needs for a plan, and the memory that takes.
    Plan {
        /// Leases of the group.
        #[arg(long, default_value_t = 10_000)]
        leases: usize,
        /// Workers of the group.
        #[arg(long, default_value_t = 200)]
        workers: usize,
    },
    /// What metrics cost: CPU time and allocations with and without them, in turns.
    MetricsCost {
        /// Records a second over all shards, in batches of 1,000.
        #[arg(long, default_value_t = 1_000_000)]
        rate: u64,
        /// Shards of the stream.
        #[arg(long, default_value_t = 10)]
        shards: usize,
        /// Rounds, each with consumers made anew.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Turns of each consumer in a round.
        #[arg(long, default_value_t = 12)]
        turns: usize,
        /// How long each turn, in milliseconds.
        #[arg(long, default_value_t = 150)]
        millis: u64,
    },
    /// How long a scrape takes and how large it is with very many shards in one worker.
    MetricsCardinality {
        /// Shards of the stream.
        #[arg(long, default_value_t = 10_000)]
        shards: usize,
    },
    /// What a record costs from the socket to the handler, as ratios: a loop of the stock SDK, the consumer in CBOR and in
    /// JSON, and the bytes received and dropped; plain and over TLS.
    Wire {
        /// How often each is measured.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// How long each is measured, in seconds.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Only answers of this shape: `1 KB x 1,000`, `100 B x 10,000`, `1 MB x 10`, `1 KB x 10,000`,
        /// `KPL 500 x 100 B x 100`, `fan-out 1 KB x 100`, `fan-out 1 KB x 1,000`, `fan-out 100 B x 10,000`. May be given several times.
        #[arg(long)]
        shape: Vec<String>,
        /// Only these rows, `stock SDK loop` for example. May be given several times.
        #[arg(long)]
        row: Vec<String>,
        /// Only `plain` or only `tls`.
        #[arg(long)]
        only: Option<Transport>,
    },
    /// Serves prepared answers until the standard input closes.
    #[command(hide = true)]
    ServeCanned {
        /// As in `wire`.
        #[arg(long)]
        shape: String,
    },
    /// Serves a stream `bench` and a DynamoDB until the standard input closes.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        shards: i32,
    },
}

fn main() -> Result<()> {
    let what = Args::parse().what;
    if let What::Wire { rounds, seconds, shape, row, only } = &what {
        // Each run has a thread and a runtime of its own.
        let transports = only.map_or(vec![Transport::Plain, Transport::Tls], |only| vec![only]);
        println!("{}", wire::measure(*rounds, Duration::from_secs(*seconds), shape, row, &transports)?);
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(what))
}

async fn run(what: What) -> Result<()> {
    match what {
        What::Wire { .. } => {}
        What::ServeCanned { shape } => wire::serve(wire::shape(&shape)?).await?,
        What::Latency { shards, rate, seconds, retrieval } => {
            let time = Duration::from_secs(seconds);
            println!("{}", latency::measure(shards, rate, time, &retrieval).await?);
        }
        What::Plan { leases, workers } => println!("{}", plan::measure(leases, workers)?),
        What::Idle { shards, seconds } => {
            println!("{}", idle::measure(shards, Duration::from_secs(seconds)).await?);
        }
        What::Delivery { records, rounds } => {
            println!("{}", delivery::measure(records, rounds).await?);
        }
        What::MetricsCost { rate, shards, rounds, turns, millis } => {
            let time = Duration::from_millis(millis);
            println!("{}", metrics::cost(rate, shards, rounds, turns, time).await?);
        }
        What::MetricsCardinality { shards } => println!("{}", metrics::cardinality(shards).await?),
        What::Serve { shards } => endpoints::serve(shards).await?,
    }
    Ok(())
}
