//! `rokini tail`: follows a stream without leases, and stores nothing.

mod follow;
mod lineage;

use rokini::lease::{Position, Progress};
use rokini::{ShardDescription, ShardSelection, StartPosition, StreamRef, StreamSource};

use self::follow::{FollowOptions, Follower};
use crate::args::{STARTS, ShardName};
use crate::aws::{Aws, AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::Format;
use crate::output::Output;
use crate::text::first_names;

/// Follow a stream without leases
///
/// Writes the records of all shards to standard output as they come. It belongs to no group and stores nothing. Shards
/// that come from a split or merge are read after those they came from. The records of a shard are in order, those of
/// different shards as they arrive. Aggregates of the Kinesis Producer Library are unpacked. Reads count against the 5 reads a second that all consumers of a shard share.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// Where to start
    #[arg(long, alias = "start", value_name = "POSITION", default_value = "latest", allow_hyphen_values = true,
          long_help = start_help())]
    from: StartPosition,
    /// Only this shard, by its id or its number, without those that come from it; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    shards: Vec<ShardName>,
    /// How to write records. Default: text. --json is the same as --format json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write aggregates as they came, not their user records
    #[arg(long)]
    packed: bool,
    /// Write the sequence number before each record, `sequence:sub` for a user record of an aggregate. With --format text and
    /// hex; the others have it, or no place for it
    #[arg(long)]
    sequence_numbers: bool,
    /// Stop after N records
    #[arg(short = 'n', long = "lines", value_name = "N")]
    count: Option<u64>,
    /// Stop when the newest record of every shard is read, instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

fn start_help() -> String {
    format!("Where to start: {STARTS}")
}

const EXAMPLES: &str = "\
Examples:
  rokini tail orders                                  # what is put from now on
  rokini tail orders --from -10m --json               # from ten minutes ago on
  rokini tail orders --from trim_horizon --no-follow  # all records kept
  rokini tail orders --from trim_horizon --shard 3 -n 1 --format hex";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let format = match (args.format, context.json) {
        (Some(format), true) if format != Format::Json => {
            return Err(CliError::usage("`--json` and another `--format` contradict each other")
                .next("give one of them"));
        }
        (_, true) => Format::Json,
        (format, false) => format.unwrap_or(Format::Text),
    };
    if args.sequence_numbers && !matches!(format, Format::Text | Format::Hex) {
        let format = if format == Format::Json { "json" } else { "raw" };
        return Err(CliError::usage(format!("`--sequence-numbers` has no effect with `--format {format}`"))
            .next("remove it: JSON has `sequence` and `sub_sequence`, raw data have no place for it"));
    }
    let aws = args.aws.load().await?;
    let stop = &context.stop;
    let follower = tokio::select! {
        follower = prepare(&args, &aws, format) => follower?,
        () = stop.requested() => return Ok(stop.status()),
    };
    let output = Output::stdout()?;
    tokio::select! {
        ended = follower.run(&output, context) => ended.map(|()| Status::DONE),
        // A signal is how `tail` is ended.
        () = stop.requested() => Ok(Status::DONE),
        () = output.closed().cancelled() => Ok(Status::DONE),
    }
}

/// Finds out where to start, and with which shards.
async fn prepare(args: &Args, aws: &Aws, format: Format) -> Result<Follower, CliError> {
    let (source, described) = aws.open(&args.stream).await?;
    let start = args.from.resolve(described.now_millis);
    start.check(described.now_millis)?;
    let (at, selection) = match start {
        StartPosition::TrimHorizon => (Position::TrimHorizon, ShardSelection::TrimHorizon),
        StartPosition::Latest => (Position::AtTimestamp(described.now_millis), ShardSelection::Latest),
        StartPosition::AtTimestamp(millis) => {
            (Position::AtTimestamp(millis), ShardSelection::AtTimestamp(millis))
        }
        StartPosition::AtSequence(number) => (Position::at(number), ShardSelection::All),
        StartPosition::AfterSequence(number) => (Position::after(number), ShardSelection::All),
        StartPosition::AfterUserRecord(number, sub) => {
            (Position::Sequence(number, Progress::Through(sub)), ShardSelection::All)
        }
        other => return Err(CliError::usage(format!("reading cannot start at {other}"))),
    };
    if matches!(at, Position::Sequence(..)) && args.shards.len() != 1 {
        return Err(CliError::usage("a sequence number belongs to one shard")
            .next(format!("name it: `rokini tail {} --from {start} --shard ID`", args.stream)));
    }
    let selection = if args.shards.is_empty() { selection } else { ShardSelection::All };
    let listed = source.list_shards(selection).await.map_err(|error| aws.explain(error, Service::Kinesis))?;
    let shards = if args.shards.is_empty() { listed } else { named_shards(args, &listed)? };
    Ok(Follower::new(
        source,
        FollowOptions {
            shards,
            at,
            descend: args.shards.is_empty(),
            format,
            packed: args.packed,
            sequence_numbers: args.sequence_numbers,
            count: args.count,
            to_tips: args.no_follow,
        },
    ))
}

fn named_shards(args: &Args, listed: &[ShardDescription]) -> Result<Vec<ShardDescription>, CliError> {
    let named = args.shards.iter().map(|name| {
        listed.iter().find(|shard| name.names(&shard.id)).cloned().ok_or_else(|| {
            let known = first_names(listed.iter().map(|shard| &shard.id));
            CliError::usage(format!("stream `{}` has no shard `{name}`", args.stream))
                .next(format!("its shards are {known}"))
        })
    });
    named.collect()
}
