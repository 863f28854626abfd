//! Showing something again and again.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use tokio::time::sleep;

use crate::error::{CliError, Status};
use crate::output::Output;

/// Whether to go on showing.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// Show it again every so often, 2s unless said, until interrupted
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s",
          value_parser = crate::args::interval)]
    watch: Option<Duration>,
}

impl WatchArgs {
    /// Runs it once, or again and again; on a terminal each time on an empty screen.
    pub(super) async fn repeat(
        &self,
        run: impl AsyncFn() -> Result<Status, CliError>,
    ) -> Result<Status, CliError> {
        let Some(every) = self.watch else { return run().await };
        loop {
            if stdout().is_terminal() {
                Output::stdout()?.write(b"\x1b[H\x1b[2J".to_vec()).await?;
            }
            run().await?;
            sleep(every).await;
        }
    }
}
