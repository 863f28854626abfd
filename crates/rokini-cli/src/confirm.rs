//! Asking before something that cannot simply be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::context::Context;
use crate::error::{CliError, Status};

/// Asks on the terminal whether to do it, unless `yes`. `action` is a sentence that begins with a verb, without a full
/// stop; `next` says how to do it without being asked.
///
/// # Errors
/// When the answer is no, or there is no terminal to ask on.
pub(crate) async fn confirm(context: &Context, yes: bool, action: &str, next: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if context.json || !io::stdin().is_terminal() || !context.ui.is_terminal() {
        let reason = if context.json { "`--json` does not ask" } else { "there is no terminal to ask on" };
        return Err(CliError::usage(format!("not confirmed, so nothing was done: {action}"))
            .reason(reason)
            .next(next));
    }
    let question = format!("{action}? [y/N] ");
    let read = move || {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    let answer = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).unwrap_or_default();
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(CliError::new(Status::FAILED, "not confirmed, so nothing was done").next(next))
}
