//! `rokini tail`: follows a stream without leases, and stores nothing. `rokini dump`: the same into a file.

mod decode;
mod dump;
mod follow;
mod lineage;
mod merge;
mod read_loop;
mod select;
mod stats;

use rokini::StartPosition;

pub(crate) use self::dump::{Args as DumpArgs, run as dump};
use self::follow::{FollowOptions, Follower};
use self::select::{ReadArgs, select, start_help};
use crate::aws::AwsArgs;
use crate::compression::Decompress;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::{Format, LineStyle};
use crate::output::Output;

/// Follow a stream without leases
///
/// Writes the records of all shards to standard output as they come. It belongs to no group and stores nothing. Shards
/// that come from a split or merge are read after those they came from. The records of a shard are in order, those of
/// different shards as they arrive. Aggregates of the Kinesis Producer Library are unpacked. Reads count against the 5 reads
/// a second that all consumers of a shard share.
///
/// It ends with status 0 after -n records, at the newest record with --no-follow, by an interrupt, and when the reader of
/// standard output goes away. It ends with an error when records may come that it does not read: the stream was deleted, no
/// shard goes on from one that ended, a shard was past its retention before it was read.
///
/// On a terminal, control characters in text are written as `\xNN`, so that no record can steer it. With --decompress auto
/// data packed by gzip or Zstandard are shown unpacked; what a subscription of CloudWatch Logs sends becomes one line for each
/// log event, and has log_group, log_stream and log_time in JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reading: ReadArgs,
    /// Where to start
    #[arg(long, alias = "start", value_name = "POSITION", default_value = "latest", allow_hyphen_values = true,
          long_help = start_help())]
    from: StartPosition,
    /// How to write records. Default: text. --json is the same as --format json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What becomes of compressed data
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Decompress::None)]
    decompress: Decompress,
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
    /// At the end, say to standard error what was read: records, bytes and lag of each shard
    #[arg(long, conflicts_with = "quiet")]
    stats: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini tail orders                                  # what is put from now on
  rokini tail orders --from -10m --json               # from ten minutes ago on
  rokini tail orders --from trim_horizon --no-follow  # all records kept
  rokini tail logs --decompress auto                  # a subscription of CloudWatch Logs
  rokini tail orders --from -1h --no-follow --stats > /dev/null
  rokini tail orders --from trim_horizon --shard 3 -n 1 --format hex";

impl Args {
    /// Whether its format is the same as `--json`.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Some(Format::Json)
    }
}

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
    let selection = tokio::select! {
        selection = select(&args.reading, args.from, &aws) => selection?,
        () = stop.requested() => return Ok(stop.status()),
    };
    let mut follower = Follower::new(
        selection,
        FollowOptions {
            style: LineStyle::stdout(format),
            decompress: args.decompress,
            packed: args.packed,
            sequence_numbers: args.sequence_numbers,
            count: args.count,
            to_tips: args.no_follow,
        },
    );
    let output = Output::stdout()?;
    let ended = tokio::select! {
        ended = follower.run(&output, context) => ended,
        // A signal is how `tail` is ended.
        () = stop.requested() => follower.unread(),
        () = output.closed().cancelled() => output.failure().map_or(Ok(()), Err),
    };
    if args.stats {
        follower.stats.show(context);
    }
    ended.map(|()| Status::DONE)
}
