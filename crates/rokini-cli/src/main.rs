//! The `rokini` binary. Here enter the environment, the wall clock, the standard streams and signals.
//!
//! stdout is data, stderr is talk. Nothing here exits: every way out returns a status from `main`.

mod aws;
mod consume;
mod context;
mod demo;
mod error;
mod from;
mod group;
mod line;
mod local;
mod output;
mod put;
mod stop;
mod table;
mod tail;
mod talk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rokini::Signals;

use crate::context::{Context, Global};
use crate::error::{CliError, Status};
use crate::stop::{Stop, watch};
use crate::talk::Talk;

/// Work with Amazon Kinesis Data Streams: consume as a fleet, put, tail, look at groups, and run all of it locally.
///
/// Data go to standard output, everything else to standard error. Region, credentials, profile and endpoints come
/// from the usual AWS settings (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_KINESIS`, ...).
#[derive(Debug, Parser)]
#[command(name = "rokini", version, max_term_width = 110, after_help = STATUSES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const STATUSES: &str = "\
Exit status:
  0    done; also when the reader of standard output went away
  1    not everything that was asked for happened
  2    wrong usage or configuration; also a stream, table or group that does not exist
  3    no permission, or no credentials
  4    a service cannot be reached, or is overloaded: the same command may work later
  70   a defect of rokini; please report it
  130  ended by an interrupt before the work was done, or by a second one (143: by SIGTERM)";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Local(local::Args),
    Put(put::Args),
    Tail(tail::Args),
    Consume(Box<consume::Args>),
    Group(group::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // Prints help to stdout and errors to stderr. A reader that is gone needs no help.
            let _ = refusal.print();
            return u8::try_from(refusal.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let talk = Talk::new(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::new(Status::FAILED, "cannot start the runtime").because(&error);
            return talk.give_up(&error).into();
        }
    };
    let status = runtime.block_on(work(cli, talk));
    // A thread that is blocked in a read or write of a standard stream must not keep the process.
    runtime.shutdown_background();
    status.into()
}

/// The variables that can be settings. Names that are not Unicode are none.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Runs the command until it is done or a second signal comes.
async fn work(cli: Cli, talk: Talk) -> Status {
    let stop = Stop::new();
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            let error = CliError::new(Status::FAILED, "cannot listen to signals").because(&error);
            return talk.give_up(&error);
        }
    };
    let context = Context { json: cli.global.json, talk, stop: stop.clone() };
    tokio::select! {
        result = Box::pin(dispatch(cli.command, &context)) => match result {
            Ok(status) => status,
            Err(error) => context.talk.give_up(&error),
        },
        status = watch(signals, &stop) => status,
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Status, CliError> {
    // Whether `consume` sends spans, its settings say.
    if !matches!(command, Command::Consume(_)) {
        context.talk.install_tracing(None);
    }
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Local(args) => local::run(args, context).await,
        Command::Put(args) => put::run(args, context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Consume(args) => consume::run(*args, context).await,
        Command::Group(args) => group::run(args, context).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
