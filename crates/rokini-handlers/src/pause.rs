//! Records that cannot be taken at present wait: that is no failure of theirs.

use std::time::Duration;

use rokini::Batch;
use tokio::time::{Instant, sleep, sleep_until};

/// A hand-over or a stop waits for the call that waits, so it waits in short pieces.
const LONGEST: Duration = Duration::from_millis(500);

/// Until when nothing is to be tried.
#[derive(Debug, Default)]
pub(crate) struct Pause(Option<Instant>);

impl Pause {
    /// Nothing is to be tried for so long.
    pub(crate) fn begin(&mut self, wait: Duration) {
        self.0 = (!wait.is_zero()).then(|| Instant::now() + wait);
    }

    /// Waits for a part of the pause, if there is one. Whether it is over.
    pub(crate) async fn is_over(&mut self, batch: &Batch) -> bool {
        let Some(end) = self.0 else { return true };
        if end > Instant::now() + LONGEST {
            tokio::select! {
                () = sleep(LONGEST) => {}
                () = batch.cancelled() => {}
            }
            return false;
        }
        sleep_until(end).await;
        self.0 = None;
        true
    }
}

/// The records come again after a short pause.
pub(crate) fn give_back(batch: &Batch) {
    batch.ack_token().give_back();
}
