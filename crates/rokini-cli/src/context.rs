//! What every command gets.

use serde::Serialize;

use crate::error::{CliError, Status};
use crate::output::Output;
use crate::stop::Stop;
use crate::ui::Ui;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--json`
    pub(crate) json: bool,
    /// Standard error.
    pub(crate) ui: Ui,
    /// Cancelled by the first signal.
    pub(crate) stop: Stop,
}

impl Context {
    /// Runs a command to its end, or until the first signal. What it asked of a service before stands.
    ///
    /// # Errors
    /// Those of the command.
    pub(crate) async fn unless_stopped(
        &self,
        command: impl Future<Output = Result<Status, CliError>>,
    ) -> Result<Status, CliError> {
        tokio::select! {
            done = command => done,
            () = self.stop.requested() => {
                self.ui.progress_done();
                Ok(self.stop.status())
            }
        }
    }

    /// Writes what a command found to standard output: a line of JSON, or text.
    pub(crate) async fn show(
        &self,
        result: &(impl Serialize + Sync),
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        let output = Output::stdout()?;
        if self.json { output.json(result).await } else { output.write(text().into_bytes()).await }
    }
}
