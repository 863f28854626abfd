//! Becomes a program that ends when this process's parent does.

use std::ffi::OsString;
use std::process::ExitCode;

/// The first argument that asks for it. For this program only.
pub(crate) const EXEC_CHILD: &str = "exec-child";

/// The words in front of a program that has to end with this process, whatever ends this process.
pub(super) fn launcher() -> Vec<OsString> {
    let this = std::env::current_exe().ok().filter(|_| cfg!(target_os = "linux"));
    let parent = std::process::id().to_string();
    this.map(|this| vec![this.into_os_string(), EXEC_CHILD.into(), parent.into()]).unwrap_or_default()
}

/// The first argument of the program that ends what processes have started, when this one is killed. For this program only.
pub(crate) const KEEP_GROUPS: &str = "keep-groups";

/// The words of that program.
pub(super) fn keeper() -> Vec<OsString> {
    let this = std::env::current_exe().ok();
    this.map(|this| vec![this.into_os_string(), KEEP_GROUPS.into()]).unwrap_or_default()
}

/// What a shell returns for a program that is not there.
const NOT_FOUND: u8 = 127;

/// Becomes the program. Returns only where that fails.
#[cfg(unix)]
pub(crate) fn exec_child(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    use std::os::unix::process::CommandExt;

    let parent = arguments.next().and_then(|parent| parent.to_str()?.parse::<i32>().ok());
    let Some(program) = arguments.next() else { return NOT_FOUND.into() };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        // Where the kernel refuses, it ends by its standard input alone.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
            // It has ended meanwhile.
            return NOT_FOUND.into();
        }
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("cannot start `{}`: {error}\n", program.display()),
    );
    NOT_FOUND.into()
}

#[cfg(not(unix))]
pub(crate) fn exec_child(_: impl Iterator<Item = OsString>) -> ExitCode {
    NOT_FOUND.into()
}
