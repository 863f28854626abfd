//! Showing something of a group again and again.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::group_handle::{GroupHandle, ScopedGroupArgs};
use super::observe::Seen;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Whether to go on showing.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// Show it again every so often, 2s unless said, until interrupted: at once, with what is known by then. A worker that sends
    /// no heartbeat shows after two and a half of them
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s",
          value_parser = crate::args::interval)]
    watch: Option<Duration>,
}

impl WatchArgs {
    /// Shows a group once, or again and again, with what the frames before have seen; on a terminal each time on an empty screen.
    pub(super) async fn repeat(
        &self,
        group: &ScopedGroupArgs,
        context: &Context,
        mut show: impl AsyncFnMut(&GroupHandle, Option<&mut Seen>) -> Result<Status, CliError>,
    ) -> Result<Status, CliError> {
        let mut handle = group.open().await?;
        let Some(every) = self.watch else { return show(&handle, None).await };
        let mut seen = Seen::default();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            if stdout().is_terminal() {
                Output::stdout()?.write(b"\x1b[H\x1b[2J".to_vec()).await?;
            }
            show(&handle, Some(&mut seen)).await?;
            ticks.tick().await;
            match handle.refresh().await {
                Ok(()) => {}
                // It may answer again, and who looks on is told meanwhile.
                Err(error) if error.status == Status::UNAVAILABLE => {
                    context.ui.warn(format_args!("what follows is as it was: {}", error.what));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
