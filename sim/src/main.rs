//! Runs seeds until one fails, and says how to replay it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand, ValueEnum};
use sim::{Cause, FaultProfile, Mutant, Report, Run, Scale, Script, SimError};

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
    /// Take a first seed that nobody has chosen, and print it.
    #[arg(long, conflicts_with = "from")]
    random: bool,
    /// Run the steps of these files in place of seeds.
    #[arg(long, value_name = "FILE", global = true)]
    steps: Vec<PathBuf>,
    /// How many at once; default: as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// Print what happened in each run.
    #[arg(long)]
    log: bool,
    /// Print that, and every write of the table.
    #[arg(long)]
    trace: bool,
    /// Print one line for each run: the seed and a hash over everything that happened in it.
    #[arg(long)]
    digest: bool,
    /// Do not stop at the first failure.
    #[arg(long)]
    keep_going: bool,
    /// Where the steps of a run that fails are kept, made as few as possible.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/sim-failures")]
    keep: PathBuf,
    /// Keep the steps of runs that fail as they are: making them fewer takes a hundred runs.
    #[arg(long)]
    no_shrink: bool,
    /// These faults instead of the seed's own.
    #[arg(long, global = true)]
    profile: Option<FaultProfile>,
    /// A broken variant.
    #[arg(long, global = true)]
    mutant: Option<Mutant>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the run of a failing seed, or those of `--steps`, smaller for as long as it fails the same check.
    Shrink {
        /// The seed.
        seed: Option<u64>,
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
        /// Shards that are split within 10 s then, in the middle of which one worker crashes.
        #[arg(long, default_value_t = 1_000)]
        splits: usize,
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
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, SimError> {
    let mut args = Args::parse();
    let run = Run { profile: args.profile, mutant: args.mutant, traced: args.trace };
    match args.command {
        Some(Command::Shrink { seed }) => {
            let drawn = seed.into_iter().map(|seed| Ok(Script::draw(seed, args.profile)));
            for script in drawn.chain(args.steps.iter().map(read)).collect::<Result<Vec<_>, _>>()? {
                shrink(&run, script, &args.keep)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Scale { shards, workers, joins, kills, splits, quiet }) => {
            let quiet = Duration::from_secs(quiet * 60);
            return Ok(scale(Scale { shards, workers, joins, kills, splits, quiet }));
        }
        None => {}
    }
    if args.random {
        args.from = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        println!("the first seed is {}", args.from);
    }
    let scripts = args.steps.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(run_all(&args, &run, &scripts))
}

fn read(file: &PathBuf) -> Result<Script, SimError> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Script::from_text(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Runs the scripts, or the seeds where there are none.
fn run_all(args: &Args, run: &Run, scripts: &[Script]) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.unwrap_or(cores).clamp(1, 64);
    let count = if scripts.is_empty() { args.seeds } else { scripts.len() as u64 };
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (done, reports) = mpsc::channel::<(u64, Result<Report, SimError>)>();
    let begun = Instant::now();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (done, next, stop) = (done.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let script = scripts.get(at as usize).cloned();
                    let script = script.unwrap_or_else(|| Script::draw(args.from + at, args.profile));
                    if done.send((script.seed, run.script(script))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (seed, report) in reports {
            if !show(args, run, seed, &report) {
                sum.failed.push(seed);
                if !args.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if let Ok(report) = &report {
                sum.add(report);
            }
            if sum.runs.is_multiple_of(500) || sum.runs == count {
                let rate = sum.runs as f64 / begun.elapsed().as_secs_f64();
                eprintln!(
                    "{} runs, {rate:.1}/s with {jobs} at once, {} workers, {} records put, repeated records {:?}, longest \
                     unexplained wait {} ms",
                    sum.runs, sum.workers, sum.put, sum.causes, sum.longest_wait
                );
            }
        }
    });
    if sum.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} of {} runs failed: {:?}", sum.failed.len(), sum.runs, sum.failed);
    ExitCode::FAILURE
}

/// Whether all is well; if not, what is wrong and how to see it again.
fn show(args: &Args, run: &Run, seed: u64, report: &Result<Report, SimError>) -> bool {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("seed {seed} did not run: {error}");
            return false;
        }
    };
    if args.log || args.trace {
        println!("{}", report.log);
    }
    if args.digest {
        println!("{seed} {:016x}", report.digest);
    }
    if report.violations.is_empty() {
        return true;
    }
    say(report);
    let kept = if args.no_shrink {
        keep(&args.keep, &report.script, run.mutant)
    } else {
        shrink(run, report.script.clone(), &args.keep)
    };
    if let Err(error) = kept {
        eprintln!("the steps of seed {seed} are not kept: {error}");
    }
    false
}

fn say(report: &Report) {
    for violation in report.violations.iter().take(10) {
        println!("{violation}");
    }
    let Script { seed, profile, steps, .. } = &report.script;
    println!("seed {seed} ({profile:?}, {} steps) failed {} checks", steps.len(), report.violations.len());
}

fn shrink(run: &Run, script: Script, directory: &Path) -> Result<(), SimError> {
    let seed = script.seed;
    match sim::shrink(run, script, &|_| {})? {
        Some(report) => {
            println!("made smaller:");
            say(&report);
            keep(directory, &report.script, run.mutant)
        }
        None => {
            println!("seed {seed} does not fail");
            Ok(())
        }
    }
}

/// Keeps the steps of a run, and says how to run them.
fn keep(directory: &Path, script: &Script, mutant: Option<Mutant>) -> Result<(), SimError> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join(format!("{}.json", script.seed));
    std::fs::write(&file, script.to_text())?;
    let mutant = mutant.and_then(|mutant| mutant.to_possible_value());
    let mutant = mutant.map_or(String::new(), |mutant| format!(" --mutant {}", mutant.get_name()));
    println!("replay: cargo run --profile sim -p sim -- --steps {}{mutant} --trace", file.display());
    Ok(())
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
