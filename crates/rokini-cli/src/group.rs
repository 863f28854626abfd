//! `rokini group`: what the lease table says about a group.

mod show;

use clap::Subcommand;

use crate::context::Context;
use crate::error::{CliError, Status};

/// Look at the members of a group and their shards
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rokini group show billing")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    match args.command {
        Command::Show(args) => show::run(args, context).await,
    }
}
