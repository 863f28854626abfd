//! Signals: the first one asks for a clean end, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rokini::Signals;
use tokio_util::sync::CancellationToken;

use crate::error::Status;

/// A request to end the command.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    token: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new(), signal: Arc::new(AtomicU8::new(0)) }
    }

    /// Cancelled by the first signal.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns at the first signal.
    pub(crate) async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// The status of a command that was ended by the signal before it was done.
    pub(crate) fn status(&self) -> Status {
        Status::signal(self.signal.load(Ordering::Relaxed))
    }

    fn request(&self, signal: u8) {
        self.signal.store(signal, Ordering::Relaxed);
        self.token.cancel();
    }
}

/// Makes the first signal a request to end, and returns at the second.
pub(crate) async fn watch(mut signals: Signals, stop: &Stop) -> Status {
    stop.request(signals.next().await.number());
    Status::signal(signals.next().await.number())
}
