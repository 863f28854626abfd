//! A program that runs beside the local services, and for as long as which they run.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::context::Context;
use crate::error::{CliError, Status};
use crate::local::descendants::Descendants;
use crate::local::program_status::{cannot_run, status_of};

/// What the caller may have set for another endpoint: it would win over the variables, or break them.
const UNSET: [&str; 5] = [
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
];

/// Runs `command` with the variables, and returns its exit status. A signal that ends this command ends it first; what it leaves
/// running is ended after it.
pub(super) async fn run(
    command: &[OsString],
    variables: impl Iterator<Item = &(&'static str, String)>,
    context: &Context,
) -> Result<Status, CliError> {
    let mut words = keeper(context);
    words.extend(command.iter().cloned());
    let Some((first, rest)) = words.split_first() else { return Ok(Status::DONE) };
    let mut made = Command::new(first);
    for name in UNSET {
        made.env_remove(name);
    }
    made.args(rest).envs(variables.map(|(name, value)| (name, value)));
    let mut descendants = Descendants::adopt()
        .map_err(|error| CliError::new(Status::FAILED, "cannot take over processes").because(&error))?;
    // Nothing is left running where this process ends at once.
    let mut child = made.kill_on_drop(true).spawn().map_err(|error| cannot_run(first, &error))?;
    let id = child.id();
    let ended = async {
        tokio::select! {
            ended = child.wait() => ended,
            () = context.stop.requested() => {
                pass_on(&child, context.stop.status());
                child.wait().await
            }
        }
    };
    let ended = tokio::select! {
        ended = ended => ended,
        never = descendants.reap(id) => match never {},
    };
    descendants.end().await;
    let ended = ended
        .map_err(|error| CliError::new(Status::FAILED, "cannot wait for the program").because(&error))?;
    Ok(status_of(ended))
}

/// The words in front of the program that have it end with this process, whatever ends this process.
#[cfg(target_os = "linux")]
fn keeper(context: &Context) -> Vec<OsString> {
    super::keep_program::words(context.json || context.ui.is_json())
}

#[cfg(not(target_os = "linux"))]
fn keeper(_: &Context) -> Vec<OsString> {
    Vec::new()
}

/// Sends the child the signal that this process got.
fn pass_on(child: &Child, status: Status) {
    let interrupted = status == Status::signal(2);
    // A terminal sends its interrupts to the program as well, and a second one would cut its end short.
    if interrupted && io::stdin().is_terminal() {
        return;
    }
    let signal = if interrupted { Signal::INT } else { Signal::TERM };
    #[cfg(target_os = "linux")]
    let signal = super::keep_program::order(signal);
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = id.map(|id| kill_process(id, signal)) {
        tracing::debug!(%error, "the program could not be signalled");
    }
}
