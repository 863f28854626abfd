//! Whether standard output was closed by whoever started this process.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::CliError;

/// As it was before Rust's runtime opened `/dev/null` in the place of what was closed, from when on nobody can tell any more.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "what is called before the runtime begins stands in a section of its own")]
mod before_main {
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::Ordering;

    use super::WAS_CLOSED;

    // SAFETY: the section holds functions of this type, which are called once, before `main`.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: it is only asked about, and where it is closed that is the answer.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        WAS_CLOSED.store(rustix::io::fcntl_getfd(stdout).is_err(), Ordering::Relaxed);
    }
}

/// Refuses a standard output that was closed by whoever started this process, or that is open for reading only: everything would go
/// nowhere, and count as done. Who throws records away on purpose opens `/dev/null`, for writing or for both.
///
/// # Errors
/// When standard output is closed, or cannot be written.
pub(crate) fn refuse_closed_stdout() -> Result<(), CliError> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(CliError::usage("standard output is closed, so every record would be lost")
            .next("give it a file, a pipe or a terminal; to throw records away on purpose, `> /dev/null`"));
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;

        let flags = rustix::fs::fcntl_getfl(io::stdout());
        if flags.is_ok_and(|flags| !flags.intersects(OFlags::WRONLY | OFlags::RDWR)) {
            return Err(CliError::usage(
                "standard output is open for reading only, so every record would be lost",
            )
            .next("give it a file, a pipe or a terminal that can be written"));
        }
    }
    Ok(())
}
