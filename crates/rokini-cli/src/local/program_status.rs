//! What is said of a program that cannot be run, and of one that has ended.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::error::{CliError, Status};

pub(super) fn cannot_run(program: &OsStr, error: &io::Error) -> CliError {
    CliError::usage(format!("`{}` cannot be run", program.display()))
        .because(error)
        .next("what follows `--` is a program and its arguments, such as `-- pytest -x`")
}

/// As shells give it: 128 and the number of the signal that ended it.
pub(super) fn status_of(ended: ExitStatus) -> Status {
    let code = ended.code().or_else(|| Some(128 + ended.signal()?)).unwrap_or(1);
    u8::try_from(code).map_or(Status::FAILED, Status)
}
