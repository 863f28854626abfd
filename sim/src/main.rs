//! Runs seeds until one fails, and says how to replay it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Simulates fleets: real consumers, model Kinesis, faulty store, virtual time, seeds.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Print what happened in each run.
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begun = Instant::now();
    let (mut put, mut twice) = (0, 0);
    for (done, seed) in (args.from..args.from + args.seeds).enumerate() {
        let report = match sim::run(seed) {
            Ok(report) => report,
            Err(error) => {
                eprintln!("seed {seed} did not run: {error}");
                return ExitCode::FAILURE;
            }
        };
        if args.log || !report.violations.is_empty() {
            println!("{}", report.log);
        }
        if !report.violations.is_empty() {
            for violation in report.violations.iter().take(20) {
                println!("{violation}");
            }
            println!("seed {seed} ({:?}) broke {} promises", report.weather, report.violations.len());
            println!("replay: cargo run --release -p sim -- --seeds 1 --from {seed} --log");
            return ExitCode::FAILURE;
        }
        put += report.put;
        twice += report.duplicates;
        let done = done as u64 + 1;
        if done.is_multiple_of(100) || done == args.seeds {
            let rate = done as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{done} seeds, {rate:.1}/s, {put} records put, {twice} came twice");
        }
    }
    ExitCode::SUCCESS
}
