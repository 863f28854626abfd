//! `rokini stream`: makes, changes and shows streams, on any endpoint.

mod create;
mod delete;
mod describe;
mod list;
mod reshard;
mod scale;
mod stream_client;

use clap::Subcommand;

use crate::context::Context;
use crate::error::{CliError, Status};

/// Make, reshard, show and delete streams
///
/// What changes a stream returns once the stream is ACTIVE again. On AWS a split, a merge or a scaling costs as the
/// shards do: see the pricing of Kinesis Data Streams.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream create orders --shards 4
  rokini stream describe orders
  rokini stream split orders 0";

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Describe(describe::Args),
    Create(create::Args),
    Split(reshard::SplitArgs),
    Merge(reshard::MergeArgs),
    Scale(scale::Args),
    Delete(delete::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let command = Box::pin(async {
        match args.command {
            Command::List(args) => list::run(args, context).await,
            Command::Describe(args) => describe::run(args, context).await,
            Command::Create(args) => create::run(args, context).await,
            Command::Split(args) => reshard::split(args, context).await,
            Command::Merge(args) => reshard::merge(args, context).await,
            Command::Scale(args) => scale::run(args, context).await,
            Command::Delete(args) => delete::run(args, context).await,
        }
    });
    // What was asked of the service before stands: only the wait for it ends.
    context.unless_stopped(command).await
}
