//! `rokini completions` and `rokini man`: made from the same definition of the arguments as the help.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Write completions for a shell to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETION_EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Write man pages into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(crate) struct ManArgs {
    /// The directory, such as /usr/share/man/man1
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  rokini completions bash > /etc/bash_completion.d/rokini
  rokini completions zsh > ~/.zfunc/_rokini";

const MAN_EXAMPLES: &str = "\
Examples:
  rokini man --to /usr/share/man/man1";

pub(crate) async fn completions<C: CommandFactory>(args: CompletionArgs) -> Result<Status, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "rokini", &mut script);
    Output::stdout()?.write(script).await?;
    Ok(Status::DONE)
}

pub(crate) fn man<C: CommandFactory>(args: &ManArgs, context: &Context) -> Result<Status, CliError> {
    clap_mangen::generate_to(C::command(), &args.to).map_err(|error| {
        CliError::new(Status::FAILED, format!("cannot write man pages into `{}`", args.to.display()))
            .because(&error)
            .next("make the directory, or name another")
    })?;
    context.ui.info(format_args!("`MANPATH` or `man -l {}/rokini.1` shows them", args.to.display()));
    Ok(Status::DONE)
}
