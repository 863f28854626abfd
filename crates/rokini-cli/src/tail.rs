//! `rokini tail`: follows a stream without leases, and without a trace.

mod follow;
mod lineage;

use rokini::lease::{Position, ShardId};
use rokini::{ShardSelection, StartPosition, StreamRef, StreamSource};

use crate::aws::{AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::from::{self, From};
use crate::line::Format;
use crate::output::Output;
use follow::{Follow, Follower};

/// Follow a stream without leases
///
/// Writes the records of all shards to standard output as they come; takes no part in any group and stores nothing.
/// Shards that come from a split or merge are read after those they came from. The records of a shard are in order,
/// those of different shards as they arrive. Reads count against the 5 reads a second and shard that all
/// consumers share.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// Where to begin
    #[arg(long, value_name = "WHERE", default_value = "latest", allow_hyphen_values = true, long_help = from_help())]
    from: From,
    /// Only this shard, without those that come from it; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    shards: Vec<ShardId>,
    /// How to write records; --json is --format json
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Stop after N records
    #[arg(short = 'n', long = "lines", value_name = "N")]
    count: Option<u64>,
    /// Stop when every shard is read to its tip, in place of waiting for more
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

fn from_help() -> String {
    format!("Where to begin: {}", from::HELP)
}

const EXAMPLES: &str = "\
Examples:
  rokini tail orders                               what is put from now on
  rokini tail orders --from -10m --json            the last ten minutes and on
  rokini tail orders --from horizon --no-follow    everything there is
  rokini tail orders --shard shardId-000000000003 -n 1 --from horizon --format hex";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let aws = args.aws.load().await?;
    let stop = &context.stop;
    let follower = tokio::select! {
        follower = prepare(&args, &aws, context) => follower?,
        () = stop.requested() => return Ok(stop.status()),
    };
    let output = Output::stdout()?;
    tokio::select! {
        ended = follower.run(&output, context) => ended.map(|()| Status::DONE),
        // This is how one ends it.
        () = stop.requested() => Ok(Status::DONE),
        () = output.closed().cancelled() => Ok(Status::DONE),
    }
}

/// Finds out where to begin, with which shards.
async fn prepare(args: &Args, aws: &crate::aws::Aws, context: &Context) -> Result<Follower, CliError> {
    let (source, described) = aws.open(&args.stream).await?;
    let start = args.from.resolve(described.now_millis);
    start.check(described.now_millis)?;
    let (at, which) = match start {
        StartPosition::TrimHorizon => (Position::TrimHorizon, ShardSelection::TrimHorizon),
        StartPosition::Latest => (Position::AtTimestamp(described.now_millis), ShardSelection::Latest),
        StartPosition::AtTimestamp(millis) => {
            (Position::AtTimestamp(millis), ShardSelection::AtTimestamp(millis))
        }
        StartPosition::AtSequence(number) => (Position::at(number), ShardSelection::All),
        StartPosition::AfterSequence(number) => (Position::after(number), ShardSelection::All),
    };
    if matches!(at, Position::Sequence(..)) && args.shards.len() != 1 {
        return Err(CliError::usage("a sequence number belongs to one shard")
            .next(format!("name it: `rokini tail {} --from {start} --shard ID`", args.stream)));
    }
    let which = if args.shards.is_empty() { which } else { ShardSelection::All };
    let listed = source.list_shards(which).await.map_err(|error| aws.explain(error, Service::Kinesis))?;
    let shards = if args.shards.is_empty() {
        listed
    } else {
        let named = args.shards.iter().map(|id| {
            listed.iter().find(|shard| shard.id == *id).cloned().ok_or_else(|| {
                let known: Vec<_> = listed.iter().map(|shard| shard.id.as_str()).take(8).collect();
                let more = if listed.len() > known.len() { ", ..." } else { "" };
                CliError::usage(format!("stream `{}` has no shard `{id}`", args.stream))
                    .next(format!("its shards are {}{more}", known.join(", ")))
            })
        });
        named.collect::<Result<_, _>>()?
    };
    Ok(Follower::new(
        source,
        Follow {
            shards,
            at,
            descend: args.shards.is_empty(),
            format: if context.json { Format::Json } else { args.format },
            count: args.count,
            to_tips: args.no_follow,
        },
    ))
}
