//! `rokini stream split` and `rokini stream merge`.

use aws_sdk_kinesis::types::{HashKeyRange, Shard};
use rokini::StreamRef;
use serde_json::json;

use super::stream_client::{StreamClient, is_open};
use crate::args::ShardName;
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Split a shard in two
#[derive(Debug, clap::Args)]
#[command(after_help = SPLIT_EXAMPLES)]
pub(crate) struct SplitArgs {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// The shard: its id, or its number
    shard: ShardName,
    /// The first hash key of the second half, in decimal. Default: the middle of the shard's range
    #[arg(long, value_name = "HASH_KEY")]
    at: Option<u128>,
    #[command(flatten)]
    aws: AwsArgs,
}

const SPLIT_EXAMPLES: &str = "\
Examples:
  rokini stream split orders 0
  rokini stream split orders 3 --at 170141183460469231731687303715884105728";

/// Merge two shards whose hash ranges are neighbours
#[derive(Debug, clap::Args)]
#[command(after_help = MERGE_EXAMPLES)]
pub(crate) struct MergeArgs {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// One of the two: its id, or its number
    shard: ShardName,
    /// The other one. Default: the open shard whose range comes next
    adjacent: Option<ShardName>,
    #[command(flatten)]
    aws: AwsArgs,
}

const MERGE_EXAMPLES: &str = "\
Examples:
  rokini stream merge orders 0 1
  rokini stream merge orders 0    # with the next one by hash range";

/// The first and the last hash key of a shard.
pub(super) fn range(shard: &Shard) -> Option<(u128, u128)> {
    let HashKeyRange { starting_hash_key, ending_hash_key, .. } = shard.hash_key_range.as_ref()?;
    Some((starting_hash_key.parse().ok()?, ending_hash_key.parse().ok()?))
}

fn range_of(shard: &Shard) -> Result<(u128, u128), CliError> {
    range(shard).ok_or_else(|| {
        let what = format!("the hash range of shard `{}` cannot be read", shard.shard_id);
        CliError::new(Status::FAILED, what).next("check that the endpoint is a Kinesis endpoint")
    })
}

pub(crate) async fn split(args: SplitArgs, context: &Context) -> Result<Status, CliError> {
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let shards = kinesis.shards().await?;
    let shard = kinesis.open_shard(&args.shard, &shards)?;
    let (first, last) = range_of(shard)?;
    if first == last {
        let what = format!("shard `{}` has a single hash key and cannot be split", shard.shard_id);
        return Err(CliError::usage(what));
    }
    let at = args.at.unwrap_or(first + (last - first) / 2 + 1);
    if at <= first || at > last {
        let what = format!("shard `{}` cannot be split at {at}", shard.shard_id);
        return Err(CliError::usage(what).next(format!("choose a hash key from {} to {last}", first + 1)));
    }
    let call =
        kinesis.client.split_shard().shard_to_split(&shard.shard_id).new_starting_hash_key(at.to_string());
    let call = call.set_stream_name(kinesis.name()).set_stream_arn(kinesis.arn());
    Box::pin(call.send()).await.map_err(|error| kinesis.explain(error, "kinesis:SplitShard"))?;
    resharded(&kinesis, context, &[shard]).await
}

pub(crate) async fn merge(args: MergeArgs, context: &Context) -> Result<Status, CliError> {
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let shards = kinesis.shards().await?;
    let shard = kinesis.open_shard(&args.shard, &shards)?;
    let (first, last) = range_of(shard)?;
    let follows = |other: &&Shard| {
        is_open(other) && range(other).is_some_and(|(first, _)| Some(first) == last.checked_add(1))
    };
    let adjacent = match &args.adjacent {
        Some(name) => kinesis.open_shard(name, &shards)?,
        None => shards.iter().find(follows).ok_or_else(|| {
            let what = format!("no open shard of stream `{}` follows `{}`", kinesis.stream, shard.shard_id);
            CliError::usage(what)
                .next(format!("`rokini stream describe {}` shows their ranges", kinesis.stream))
        })?,
    };
    let (other_first, other_last) = range_of(adjacent)?;
    if last.checked_add(1) != Some(other_first) && other_last.checked_add(1) != Some(first) {
        let what = format!("shards `{}` and `{}` are no neighbours", shard.shard_id, adjacent.shard_id);
        return Err(CliError::usage(what)
            .next(format!("`rokini stream describe {}` shows their ranges", kinesis.stream)));
    }
    let call = kinesis.client.merge_shards().shard_to_merge(&shard.shard_id);
    let call = call.adjacent_shard_to_merge(&adjacent.shard_id);
    let call = call.set_stream_name(kinesis.name()).set_stream_arn(kinesis.arn());
    Box::pin(call.send()).await.map_err(|error| kinesis.explain(error, "kinesis:MergeShards"))?;
    resharded(&kinesis, context, &[shard, adjacent]).await
}

/// Waits for the change, and says which shards came of these.
async fn resharded(
    kinesis: &StreamClient,
    context: &Context,
    parents: &[&Shard],
) -> Result<Status, CliError> {
    kinesis.until_active(context).await?;
    let parents: Vec<&str> = parents.iter().map(|shard| shard.shard_id.as_str()).collect();
    let is_parent = |id: &Option<String>| id.as_deref().is_some_and(|id| parents.contains(&id));
    let shards = kinesis.shards().await?;
    let children = shards.iter().filter(|shard| is_parent(&shard.parent_shard_id));
    let children: Vec<&str> = children.map(|shard| shard.shard_id.as_str()).collect();
    let shown = json!({ "stream": kinesis.stream.to_string(), "parents": parents, "children": children });
    context.show(&shown, || format!("{} -> {}\n", parents.join(" + "), children.join(" + "))).await?;
    Ok(Status::DONE)
}
