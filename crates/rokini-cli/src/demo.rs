//! `rokini demo`: the main job, with everything embedded, and a proof at the end.

mod action;
mod chaos;
mod environment;
mod event;
mod fences;
mod fleet;
mod format;
mod history;
mod moves;
mod outputs;
mod picture;
mod producer;
mod progress;
mod report;
mod runner;
mod schedule;
mod screen;
mod snapshot;
mod timeline;
mod worker_line;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use rokini::{ConfigKey, ConsumerConfig, Retrieval};
use tokio::time::Instant;

use self::chaos::Chaos;
use self::progress::Progress;
use self::runner::{RunPlan, Runner};
use self::schedule::Schedule;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Watch a group of workers share a stream, lose workers and lose no record
///
/// Starts a local Kinesis and an embedded DynamoDB in this process, and workers (`rokini consume`) as processes of
/// their own. Records are put all the time, numbered per key. On its own it splits a shard, stops a worker, kills
/// another one and adds a new one. At the end it proves that nothing was lost and nothing came out of order. Needs
/// no AWS account and touches none.
///
/// With --reshard-every, --disturb-every or --faults it makes chaos instead, for as long as you like: shards split and
/// merge, workers are killed or frozen, calls fail, and handlers take their time and now and then fail. For each record
/// that is handled twice the cause is found.
///
/// On a terminal it shows a live table, elsewhere lines; with --json the last line is the result.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How long it runs, such as 90s or 30m
    #[arg(long = "for", alias = "seconds", default_value = "60s", value_name = "TIME", value_parser = time)]
    run: Duration,
    /// Records put in a second
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// Shards of the stream at the start
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Workers at the start: one is stopped, one is killed, at least one must be left
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=16))]
    workers: u16,
    /// When a silent worker counts as dead, such as 3s. Default: 10s, less where a shorter run leaves no room
    #[arg(long, value_name = "TIME", value_parser = failover)]
    failover: Option<Duration>,
    /// How the workers read: `polling` or `fan_out`
    #[arg(long, value_name = "HOW", default_value = "polling", value_parser = retrieval)]
    retrieval: Retrieval,
    /// Keep what the workers write to their standard error in this directory, one file each
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Write a picture of the run to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Split a shard or merge two, again and again
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Chaos")]
    reshard_every: Option<Duration>,
    /// Kill a worker and replace it, or freeze one for a while (SIGSTOP, SIGCONT), again and again
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Chaos")]
    disturb_every: Option<Duration>,
    /// The share of the workers' calls to Kinesis and DynamoDB that fail, such as 1%
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Chaos")]
    faults: Option<f64>,
    /// Decides what happens to which worker. Default: a random one, which the result shows
    #[arg(long, value_name = "N", help_heading = "Chaos")]
    seed: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  rokini demo                               # one minute
  rokini demo --for 20s --failover 3s       # as short as it makes sense
  rokini demo --json | tail -n 1            # only the result
  rokini demo --svg demo.svg                # and a picture of it
  # a soak test
  rokini demo --for 30m --workers 4 --shards 16 --rate 2000 \\
    --reshard-every 20s --disturb-every 30s --faults 1%";

/// Half of what a shard takes in a second (Kinesis limit), because keys do not spread evenly.
const RATE_PER_SHARD: u32 = 500;

/// The longest run. The embedded Kinesis keeps all records in memory, as the real one keeps them for a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A time as settings take it; a bare number is seconds.
fn time(text: &str) -> Result<Duration, String> {
    let accepted = "expected a time such as `90s` or `30m`, at least `1s` and at most `24h`";
    let time = rokini::parse_duration(text).map_err(|_| accepted)?;
    (Duration::from_secs(1)..=LONGEST).contains(&time).then_some(time).ok_or_else(|| accepted.to_owned())
}

/// `1%` or `0.01`.
fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(hundredths) => hundredths.parse().map(|share: f64| share / 100.0),
        None => text.parse(),
    };
    let share = share.ok().filter(|share| (0.0..=0.5).contains(share));
    share.ok_or_else(|| "expected a share such as `1%`, at most `50%`".to_owned())
}

/// `auto` would poll: nobody else reads the stream.
fn retrieval(text: &str) -> Result<Retrieval, String> {
    match text.parse() {
        Ok(retrieval @ (Retrieval::Polling | Retrieval::FanOut)) => Ok(retrieval),
        _ => Err("expected `polling` or `fan_out`".to_owned()),
    }
}

/// A failover time as workers take it.
fn failover(text: &str) -> Result<Duration, String> {
    let mut config = ConsumerConfig::default();
    config.set(ConfigKey::Failover, text).map_err(|error| error.to_string())?;
    if config.failover < Duration::from_secs(1) {
        return Err("the least is `1s`".to_owned());
    }
    Ok(config.failover)
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let start = Instant::now();
    let Args { run, rate, shards, workers, failover, retrieval, logs, svg, .. } = args;
    let Args { reshard_every, disturb_every, faults, seed, .. } = args;
    let wanted = reshard_every.is_some() || disturb_every.is_some() || faults.is_some();
    if seed.is_some() && !wanted {
        return Err(CliError::usage("`--seed` does nothing without chaos")
            .next("give `--reshard-every`, `--disturb-every` or `--faults`, or leave it out"));
    }
    let chaos = wanted.then(|| Chaos {
        reshard_every,
        disturb_every,
        faults: faults.unwrap_or_default(),
        seed: seed.unwrap_or_else(|| rand::random::<u32>().into()),
    });
    let schedule = match &chaos {
        Some(chaos) => Schedule::with_chaos(run, failover, chaos),
        None => Schedule::new(run, failover),
    };
    let schedule = schedule.map_err(|refusal| CliError::usage(refusal.to_string()))?;
    let most = RATE_PER_SHARD * u32::from(shards);
    if rate > most {
        return Err(CliError::usage(format!("{shards} shards do not take {rate} records a second")).next(
            format!("use `--rate {most}` or less, or `--shards {}` or more", rate.div_ceil(RATE_PER_SHARD)),
        ));
    }
    let unwritable = |error| CliError::new(Status::FAILED, "cannot write the picture").because(&error);
    // Created now, so that a path that cannot be written does not show only after the run.
    let picture = svg.map(File::create).transpose().map_err(unwritable)?;
    let mut progress = Progress::new(context.json, context.ui.stdout_colors(), run)?;
    let mut runner =
        Runner::begin(RunPlan { schedule, rate, shards, workers, retrieval, chaos, logs }, start).await?;
    let report = runner.run(&mut progress, &context.stop).await?;
    drop(progress);
    if let Some(mut file) = picture {
        file.write_all(runner.picture(&report).as_bytes()).map_err(unwritable)?;
    }
    if !report.ok {
        for (worker, lines) in runner.worker_errors() {
            context.ui.info(format_args!("{worker} wrote to its standard error:"));
            lines.iter().for_each(|line| context.ui.info(format_args!("  {line}")));
        }
    }
    runner.close().await;
    Ok(match (report.ok, report.interrupted) {
        (true, false) => Status::DONE,
        (true, true) => context.stop.status(),
        (false, _) => Status::FAILED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_as_people_write_them() {
        for (text, seconds) in [("20", 20), ("90s", 90), ("30m", 1800), ("24h", 86_400)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "999ms", "25h", "-1s", "2d", "soon"] {
            assert!(time(text).unwrap_err().contains("`30m`"), "{text}");
        }
        for (text, hundredths) in [("1%", 1), ("0.01", 1), ("0", 0), ("50%", 50)] {
            let read = share(text).unwrap();
            assert!((read * 100.0 - f64::from(hundredths)).abs() < 1e-9, "{text}: {read}");
        }
        for text in ["", "%", "51%", "-1%", "NaN", "inf", "one"] {
            assert!(share(text).unwrap_err().contains("`1%`"), "{text}");
        }
    }
}
