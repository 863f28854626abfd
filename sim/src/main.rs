//! Runs seeds until one fails, and says how to replay it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use sim::{Cause, FaultKind, FaultProfile, Limits, Report, Run, Scale, SimError};

/// Simulates fleets: real consumers, model Kinesis, faulty store, virtual time, seeds.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many at once; default: as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// Print what happened in each run.
    #[arg(long)]
    log: bool,
    /// Print one line for each run: the seed and a hash over everything that happened in it.
    #[arg(long)]
    digest: bool,
    /// Do not stop at the first failure.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    smaller: Smaller,
}

/// What differs from the runs that the seeds stand for.
#[derive(clap::Args)]
struct Smaller {
    /// These faults instead of the seed's own.
    #[arg(long, global = true)]
    profile: Option<FaultProfile>,
    /// At most so many steps.
    #[arg(long, global = true)]
    steps: Option<u32>,
    /// At most so many workers at the start.
    #[arg(long, global = true)]
    first_workers: Option<u32>,
    /// Without these faults.
    #[arg(long, value_delimiter = ',', global = true)]
    without: Vec<FaultKind>,
}

impl Smaller {
    fn run(self) -> Run {
        let Self { profile, steps, first_workers, without } = self;
        let limits = Limits { steps, workers: first_workers, without: without.into_iter().collect() };
        Run { profile, limits, ..Run::default() }
    }
}

/// The options that give a run again.
fn options(run: &Run) -> String {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let mut options = String::new();
    if let Some(profile) = run.profile {
        options += &format!(" --profile {}", name(&|| profile.to_possible_value()));
    }
    if let Some(steps) = run.limits.steps {
        options += &format!(" --steps {steps}");
    }
    if let Some(workers) = run.limits.workers {
        options += &format!(" --first-workers {workers}");
    }
    let without: Vec<String> =
        run.limits.without.iter().map(|kind| name(&|| kind.to_possible_value())).collect();
    if !without.is_empty() {
        options += &format!(" --without {}", without.join(","));
    }
    options
}

#[derive(Subcommand)]
enum Command {
    /// Makes the run of a failing seed smaller for as long as it fails the same check.
    Shrink {
        /// The seed.
        seed: u64,
    },
    /// A large fleet of members without shards behind their leases: start, quiet, joins, kills.
    Scale {
        /// Shards.
        #[arg(long, default_value_t = 10_000)]
        shards: usize,
        /// Workers at the start.
        #[arg(long, default_value_t = 200)]
        workers: usize,
        /// Workers that join then.
        #[arg(long, default_value_t = 20)]
        joins: usize,
        /// Workers that crash at once after that.
        #[arg(long, default_value_t = 20)]
        kills: usize,
        /// Minutes for which the quiet fleet is watched.
        #[arg(long, default_value_t = 5)]
        quiet: u64,
    },
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    put: u64,
    workers: u64,
    longest_wait: u64,
    causes: BTreeMap<Cause, u64>,
    failed: Vec<u64>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.put += report.put;
        self.workers += u64::from(report.workers);
        self.longest_wait = self.longest_wait.max(report.longest_wait);
        for (cause, count) in &report.causes {
            *self.causes.entry(*cause).or_default() += count;
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let run = args.smaller.run();
    match args.command {
        Some(Command::Shrink { seed }) => return shrink(&run, seed),
        Some(Command::Scale { shards, workers, joins, kills, quiet }) => {
            let quiet = Duration::from_secs(quiet * 60);
            return scale(Scale { shards, workers, joins, kills, quiet });
        }
        None => {}
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.unwrap_or(cores).clamp(1, 64);
    let next = AtomicU64::new(args.from);
    let stop = AtomicBool::new(false);
    let (done, reports) = mpsc::channel::<(u64, Result<Report, SimError>)>();
    let begun = Instant::now();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (done, next, stop, run) = (done.clone(), &next, &stop, &run);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from + args.seeds || done.send((seed, run.seed(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (seed, report) in reports {
            if !show(seed, &run, &report, args.log) {
                sum.failed.push(seed);
                if !args.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if let Ok(report) = &report {
                if args.digest {
                    println!("{seed} {:016x}", report.digest);
                }
                sum.add(report);
            }
            if sum.runs.is_multiple_of(500) || sum.runs == args.seeds {
                let rate = sum.runs as f64 / begun.elapsed().as_secs_f64();
                eprintln!(
                    "{} seeds, {rate:.1}/s with {jobs} at once, {} workers, {} records put, repeated records {:?}, longest \
                     unexplained wait {} ms",
                    sum.runs, sum.workers, sum.put, sum.causes, sum.longest_wait
                );
            }
        }
    });
    if sum.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} of {} seeds failed: {:?}", sum.failed.len(), sum.runs, sum.failed);
    ExitCode::FAILURE
}

/// Whether all is well; if not, what is wrong and how to see it again.
fn show(seed: u64, run: &Run, report: &Result<Report, SimError>, log: bool) -> bool {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("seed {seed} did not run: {error}");
            return false;
        }
    };
    if log {
        println!("{}", report.log);
    }
    if report.violations.is_empty() {
        return true;
    }
    for violation in report.violations.iter().take(10) {
        println!("{violation}");
    }
    println!("seed {seed} ({:?}) failed {} checks", report.profile, report.violations.len());
    let options = options(run);
    println!("replay: cargo run --profile sim -p sim -- --seeds 1 --from {seed}{options} --log");
    println!("shrink: cargo run --profile sim -p sim -- shrink {seed}{options}");
    false
}

fn shrink(run: &Run, seed: u64) -> ExitCode {
    match sim::shrink(run, seed, &|smaller| eprintln!("fails with{}", options(smaller))) {
        Ok(Some((smallest, report))) => {
            show(seed, &smallest, &Ok(report), false);
            ExitCode::FAILURE
        }
        Ok(None) => {
            println!("seed {seed} does not fail");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn scale(scale: Scale) -> ExitCode {
    let measured = sim::scale(scale, 1).and_then(|phases| Ok((phases, sim::time_of_plan(scale)?)));
    match measured {
        Ok((phases, plan)) => {
            phases.iter().for_each(|phase| println!("{phase}"));
            println!("one plan: {plan:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
