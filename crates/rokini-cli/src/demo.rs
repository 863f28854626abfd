//! `rokini demo`: the main job, with everything embedded, and a proof at the end.

mod board;
mod fleet;
mod ledger;
mod pipes;
mod play;
mod producer;
mod record;
mod report;
mod screen;
mod show;
mod stage;
mod timetable;

use std::time::Duration;

use rokini::{ConfigKey, ConsumerConfig};
use tokio::time::Instant;

use self::play::{Plan, Play};
use self::show::Show;
use self::timetable::Timetable;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Watch a group of workers share a stream, lose members and lose nothing
///
/// Starts a local Kinesis and an embedded DynamoDB in this process, and workers (`rokini consume`) as processes of
/// their own. Records are put all the time, numbered per key. On its own it splits a shard, stops a worker, kills
/// another one and adds a new one. At the end it proves that nothing was lost and nothing came out of order. Needs
/// no AWS account and touches none.
///
/// On a terminal it shows a live table, elsewhere lines; with --json the last line is the result.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How long it runs
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
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
}

const EXAMPLES: &str = "\
Examples:
  rokini demo                               one minute
  rokini demo --seconds 20 --failover 3s    as short as it makes sense
  rokini demo --json | tail -n 1            only the result";

/// Half of what a shard takes in a second (Kinesis limit), because keys do not spread evenly.
const RATE_PER_SHARD: u32 = 500;

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
    let Args { seconds, rate, shards, workers, failover } = args;
    let timetable = Timetable::new(Duration::from_secs(seconds), failover)
        .map_err(|refusal| CliError::usage(refusal.to_string()))?;
    let most = RATE_PER_SHARD * u32::from(shards);
    if rate > most {
        return Err(CliError::usage(format!("{shards} shards do not take {rate} records a second")).next(
            format!("use `--rate {most}` or less, or `--shards {}` or more", rate.div_ceil(RATE_PER_SHARD)),
        ));
    }
    let mut show = Show::new(context.json, context.talk.stdout_colors())?;
    let mut play = Play::begin(Plan { timetable, rate, shards, workers }, start).await?;
    let report = play.run(&mut show, &context.stop).await?;
    drop(show);
    if !report.ok {
        for (worker, said) in play.complaints() {
            context.talk.say(format_args!("{worker} said:"));
            said.iter().for_each(|line| context.talk.say(format_args!("  {line}")));
        }
    }
    play.close().await;
    Ok(match (report.ok, report.interrupted) {
        (true, false) => Status::DONE,
        (true, true) => context.stop.status(),
        (false, _) => Status::FAILED,
    })
}
