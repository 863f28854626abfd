//! Whether a shard is to leave: nothing new begins, and what runs ends. Until it is done it can be taken back.

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Drain(watch::Sender<bool>);

impl Drain {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn begin(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn withdraw(&self) {
        self.0.send_replace(false);
    }

    pub(super) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once it is on, or off. Cancel safe.
    pub(super) async fn until(&self, on: bool) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|current| *current == on).await;
    }
}
