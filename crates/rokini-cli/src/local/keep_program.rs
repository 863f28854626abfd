//! A small process between `rokini local` and its program. It ends what is left once `rokini local` has ended, also where nothing of
//! that could end anything: by SIGKILL.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::descendants::Descendants;
use super::program_status::{cannot_run, status_of};
use crate::args::{Color, Global};
use crate::error::{CliError, Status};
use crate::ui::Ui;

/// The first argument that asks for it. For this program only.
pub(crate) const KEEP_PROGRAM: &str = "keep-program";

/// How it is told to pass on a signal. Signals of these names themselves come from a terminal, or for a whole group, and the program
/// has got them too.
pub(super) fn order(signal: Signal) -> Signal {
    if signal == Signal::INT { Signal::USR1 } else { Signal::USR2 }
}

/// The words in front of the program; none where this one cannot be found.
pub(super) fn words(json: bool) -> Vec<OsString> {
    let Ok(this) = std::env::current_exe() else { return Vec::new() };
    let parent = std::process::id().to_string();
    vec![this.into_os_string(), KEEP_PROGRAM.into(), parent.into(), json.to_string().into()]
}

/// Runs the program that is named behind those words, and returns its status.
pub(crate) fn keep_program(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut word = || arguments.next().unwrap_or_default();
    let (parent, json, program) = (word(), word() == "true", word());
    let parent = parent.to_str().and_then(|parent| Pid::from_raw(parent.parse().ok()?));
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Status::FAILED, "cannot start the runtime").because(&error))
        .and_then(|runtime| runtime.block_on(run(parent, program, arguments)));
    let global = Global { json, quiet: false, verbose: 0, log_format: None, color: Color::Auto };
    ended.unwrap_or_else(|error| Ui::new(&global).report(&error)).into()
}

async fn run(
    parent: Option<Pid>,
    program: OsString,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Status, CliError> {
    let failed = |error: io::Error| CliError::new(Status::FAILED, "cannot keep a program").because(&error);
    let listen = |kind| signal(kind).map_err(failed);
    let mut parent_ended = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::user_defined1())?;
    let mut terminate = listen(SignalKind::user_defined2())?;
    // Listened to, so that this process outlives them: whether the program does is for the program.
    let _outlived =
        [listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?, listen(SignalKind::quit())?];
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| failed(error.into()))?;
    let mut descendants = Descendants::adopt().map_err(failed)?;
    let is_orphan = || getppid() != parent;
    if is_orphan() {
        return Ok(Status::signal(9));
    }
    let mut command = Command::new(&program);
    let mut child = command.args(arguments).spawn().map_err(|error| cannot_run(&program, &error))?;
    let number = child.id();
    let id = number.and_then(|id| Pid::from_raw(id.cast_signed()));
    let pass_on = |signal| {
        if let Some(Err(error)) = id.map(|id| kill_process(id, signal)) {
            tracing::debug!(%error, "the program could not be signalled");
        }
    };
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            never = descendants.reap(number) => match never {},
            _ = interrupt.recv() => pass_on(Signal::INT),
            _ = terminate.recv() => pass_on(Signal::TERM),
            _ = parent_ended.recv() => if is_orphan() {
                descendants.end_at_once().await;
                return Ok(Status::signal(9));
            },
        }
    };
    descendants.end().await;
    ended.map(status_of).map_err(failed)
}
