//! Asking before something that cannot simply be done again.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::context::Context;
use crate::error::{CliError, Status};

/// Asks on the terminal, unless `yes`. Where nobody can be asked, `yes` is needed.
///
/// # Errors
/// When the answer is no, or nobody can be asked; `next` names the command that does it.
pub(super) async fn confirm(
    context: &Context,
    yes: bool,
    question: &str,
    next: &str,
) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if context.json || !io::stdin().is_terminal() || !context.talk.is_terminal() {
        return Err(
            CliError::usage(format!("{question} Nobody can be asked here, so nothing was done")).next(next)
        );
    }
    let asked = format!("{question} [y/N] ");
    let read = move || {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{asked}").and_then(|()| stderr.flush());
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    let answer = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).unwrap_or_default();
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(CliError::new(Status::FAILED, "not confirmed, so nothing was done").next(next))
}
