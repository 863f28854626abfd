//! `rokini group`: shows groups, and gives them orders.

mod audit;
mod delete;
mod diagnosis;
mod events;
mod group_handle;
mod history;
mod lag;
mod list;
mod liveness;
mod observe;
mod page;
mod pause;
mod placement;
mod repartition;
mod repeat;
mod seek;
mod seek_effect;
mod shard_lag;
mod show;
mod why;

use clap::Subcommand;

pub(crate) use group_handle::{GroupHandle, ScopedGroupArgs};
pub(crate) use liveness::watch as watch_workers;

use crate::context::Context;
use crate::error::{CliError, Status};

/// Show groups: who has which shard, how far it is and why it does not move; seek, pause, move and delete them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  rokini group list
  rokini group show billing                     # every shard, and why it does not move
  rokini group why billing                      # only those that do not move
  rokini group seek billing --to -1h --dry-run  # what would going back an hour do?
  rokini group seek billing --to -1h --yes      # go back an hour
  rokini group undo billing --yes               # take that back";

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Lag(lag::Args),
    Why(why::Args),
    Audit(audit::Args),
    Events(events::Args),
    Page(page::Args),
    Seek(seek::Args),
    Undo(seek::UndoArgs),
    History(history::Args),
    Move(placement::MoveArgs),
    Drain(placement::DrainArgs),
    Pause(pause::Args),
    Resume(pause::ResumeArgs),
    Repartition(repartition::Args),
    Delete(delete::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let command = match args.command {
        // A signal is how it is ended.
        Command::Page(args) => return Box::pin(page::run(args, context)).await,
        command => command,
    };
    let command = async {
        match command {
            Command::Page(args) => page::run(args, context).await,
            Command::List(args) => list::run(args, context).await,
            Command::Show(args) => show::run(args, context).await,
            Command::Lag(args) => lag::run(args, context).await,
            Command::Why(args) => why::run(args, context).await,
            Command::Audit(args) => audit::run(args, context).await,
            Command::Events(args) => events::run(args, context).await,
            Command::History(args) => history::run(args, context).await,
            Command::Move(args) => placement::move_shard(args, context).await,
            Command::Drain(args) => placement::drain(args, context).await,
            Command::Seek(args) => seek::run(args, context).await,
            Command::Undo(args) => seek::undo(args, context).await,
            Command::Pause(args) => pause::run(args, context).await,
            Command::Resume(args) => pause::resume(args, context).await,
            Command::Repartition(args) => repartition::run(args, context).await,
            Command::Delete(args) => delete::run(args, context).await,
        }
    };
    context.unless_stopped(Box::pin(command)).await
}
