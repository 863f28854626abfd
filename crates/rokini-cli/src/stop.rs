//! Signals: the first one asks for a clean end, the second one ends at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::Status;

/// The wish that the command ends.
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

const SIGINT: u8 = 2;

/// SIGINT and SIGTERM. They count from here on; as process 1 of a container they would do nothing otherwise.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
const SIGTERM: u8 = 15;

#[cfg(unix)]
impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => SIGINT,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Signals that follow the first one this soon mean the same: `timeout`, process managers and terminals signal a
/// process and its group at once.
const ECHO: Duration = Duration::from_millis(300);

impl Signals {
    /// Passes the first signal on, and returns at the second.
    pub(crate) async fn watch(mut self, stop: &Stop) -> Status {
        stop.request(self.next().await);
        let first = Instant::now();
        loop {
            let signal = self.next().await;
            if first.elapsed() > ECHO {
                return Status::signal(signal);
            }
        }
    }
}
