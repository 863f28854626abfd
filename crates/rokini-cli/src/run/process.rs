//! How the processes of a handler are started.

use std::ffi::OsString;
use std::path::Path;

use rokini::ConsumerConfig;
use rokini_handlers::ProcessSettings;

use super::args::{HandlerArgs, HandlerKind};
use super::exec_child::{keeper, launcher};
use crate::error::CliError;

/// How the processes of a handler are started. `by_file`: a command out of a file.
pub(super) fn process_settings(
    handler: &HandlerArgs,
    kind: HandlerKind,
    by_file: Option<&[String]>,
    config: &ConsumerConfig,
) -> Result<ProcessSettings, CliError> {
    let mut command = handler.command.clone();
    if command.is_empty() {
        command = by_file.unwrap_or_default().iter().map(OsString::from).collect();
    }
    let Some(program) = command.first() else {
        return Err(CliError::usage("no program is named").next(format!(
            "give it after `--`: `rokini run STREAM --group NAME --handler {} -- PROGRAM`",
            kind.name()
        )));
    };
    require_program(Path::new(program))?;
    let mut settings = ProcessSettings::new(command);
    settings.launcher = launcher();
    settings.keeper = keeper();
    settings.batch_timeout = config.handler_timeout;
    if let Some(spares) = handler.spares {
        check_spares(spares, config)?;
        settings.spares = spares;
    }
    settings.start_timeout = handler.start_timeout.unwrap_or(settings.start_timeout);
    settings.stop_timeout = handler.stop_timeout.unwrap_or(settings.stop_timeout);
    Ok(settings)
}

/// Each spare has the memory of its interpreter from the start, 10 MB and more, and a few start at a time.
const MOST_SPARES: usize = 1_000;

/// Spares beyond what a worker can have work for are never taken.
fn check_spares(spares: usize, config: &ConsumerConfig) -> Result<(), CliError> {
    if spares > MOST_SPARES {
        return Err(CliError::usage(format!("`--spares {spares}` is more than {MOST_SPARES}")).next(
            "each spare is a process with an interpreter's memory, 10 MB and more: give as many as shards may come at once",
        ));
    }
    let lanes = config.concurrency.get();
    let most = config.max_leases.and_then(|most| usize::try_from(most.get()).ok()?.checked_mul(lanes));
    match most {
        Some(most) if spares > most => Err(CliError::usage(format!(
            "`--spares {spares}` is more than this worker can have work for: {most} processes, by `max_leases` and `concurrency`"
        ))
        .next(format!("give `--spares {most}` or fewer, or raise `max_leases`"))),
        _ => Ok(()),
    }
}

/// A program that is not there, or may not be executed, is a mistake to be told at once.
fn require_program(program: &Path) -> Result<(), CliError> {
    let named = program.display();
    if program.components().count() > 1 {
        if program.is_file() && !is_executable(program) {
            return Err(CliError::usage(format!("`{named}` may not be executed"))
                .next(format!("`chmod +x {named}`, or name its interpreter before it")));
        }
        if program.is_file() {
            return Ok(());
        }
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| is_executable(&folder.join(program))) {
            return Ok(());
        }
    }
    Err(CliError::usage(format!("there is no program `{named}`"))
        .next("give its path, or check `PATH`; no shell looks at the words after `--`"))
}

#[cfg(unix)]
fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(program: &Path) -> bool {
    program.is_file()
}
