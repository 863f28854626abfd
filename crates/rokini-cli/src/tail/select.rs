//! What to read: the stream, its shards, and where to start.

use rokini::lease::{Position, Progress, ShardId};
use rokini::{KinesisSource, ShardDescription, ShardSelection, StartPosition, StreamRef, StreamSource};

use crate::args::{STARTS, ShardName};
use crate::aws::{Aws, Service};
use crate::error::CliError;
use crate::text::first_names;

/// What to read, as it was asked for.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    /// The stream: its name, or its ARN
    pub(super) stream: StreamRef,
    /// Only this shard, by its id or its number, without those that come from it; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(super) shards: Vec<ShardName>,
}

/// What to read, as it was found.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) aws: Aws,
    pub(super) source: KinesisSource,
    pub(super) shards: Vec<ShardDescription>,
    /// Where these shards start; those that come later start at their oldest record.
    pub(super) at: Position,
    /// All shards that the stream has, where those are to be followed too that come from these.
    pub(super) listed: Option<Vec<ShardDescription>>,
}

pub(super) fn start_help() -> String {
    format!("Where to start: {STARTS}")
}

/// Finds out where to start, and with which shards.
pub(super) async fn select(args: &ReadArgs, from: StartPosition, aws: &Aws) -> Result<Selection, CliError> {
    let (source, described) = aws.open(&args.stream).await?;
    let start = from.resolve(described.now_millis);
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
    let list =
        async |which| source.list_shards(which).await.map_err(|error| aws.explain(error, Service::Kinesis));
    let all = list(ShardSelection::All).await?;
    if !args.shards.is_empty() {
        let shards = named_shards(args, &all)?;
        return Ok(Selection { aws: aws.clone(), source, shards, at, listed: None });
    }
    // After the other listing: what is made between the two is new to it.
    let shards = list(selection).await?;
    Ok(Selection { aws: aws.clone(), source, shards, at, listed: Some(all) })
}

/// The shard has no such position.
pub(super) fn no_start(shard: &ShardId, at: Position, error: &rokini::Error) -> CliError {
    CliError::usage(format!("shard {shard} cannot be read from {at}")).because(error).next(format!(
        "take the number from a record of this shard: `rokini tail STREAM --shard {shard} --json` shows them"
    ))
}

fn named_shards(args: &ReadArgs, listed: &[ShardDescription]) -> Result<Vec<ShardDescription>, CliError> {
    let named = args.shards.iter().map(|name| {
        listed.iter().find(|shard| name.names(&shard.id)).cloned().ok_or_else(|| {
            let known = first_names(listed.iter().map(|shard| &shard.id));
            CliError::usage(format!("stream `{}` has no shard `{name}`", args.stream))
                .next(format!("its shards are {known}"))
        })
    });
    named.collect()
}
