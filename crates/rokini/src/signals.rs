//! SIGTERM and SIGINT, for programs that want them to stop their consumer.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::consumer::handle::Handle;
use crate::consumer::shutdown_report::ShutdownReport;
use crate::types::error::{Error, ErrorKind};

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM: what Kubernetes, systemd and `docker stop` send.
    Terminate,
}

impl Signal {
    /// The number. A process that a signal ended early has 128 and this as its status, by custom.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

/// SIGINT and SIGTERM of this process, for as long as this value lives and after. The library never listens to
/// signals by itself: a program does, by making this value.
///
/// Signals that follow the first within 300 ms mean the same: `timeout`, process managers and terminals signal a
/// process and its group at once.
///
/// ```no_run
/// # async fn example(consumer: rokini::Consumer) -> Result<(), rokini::Error> {
/// use rokini::Signals;
///
/// let mut signals = Signals::install()?;
/// let handle = consumer.handle();
/// let report = tokio::select! {
///     report = consumer.run() => report?,
///     // The second one: what still runs is dropped.
///     signal = signals.shutdown(&handle) => std::process::exit(128 + i32::from(signal.number())),
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    first: Option<Instant>,
}

const ECHO: Duration = Duration::from_millis(300);

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, first: None })
    }

    async fn any(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { first: None })
    }

    async fn any(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Signals {
    /// Listens from here on; the signals have no other effect on the process any more. Within a Tokio runtime only.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the operating system refuses.
    pub fn install() -> Result<Self, Error> {
        Self::listen().map_err(|error| {
            let message = "signals cannot be listened to: check the limits of this process";
            Error::new(ErrorKind::Configuration, message).with_source(error)
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        loop {
            let signal = self.any().await;
            let now = Instant::now();
            match self.first {
                Some(first) if now - first <= ECHO => {}
                Some(_) => return signal,
                None => {
                    self.first = Some(now);
                    return signal;
                }
            }
        }
    }

    /// Stops the consumer at the first signal, as [`Handle::stop`] does, and returns at the second one. To be awaited
    /// beside [`Consumer::run`](crate::Consumer::run), which returns when the stop is done.
    pub async fn shutdown(&mut self, handle: &Handle) -> Signal {
        let signal = self.next().await;
        tracing::info!(?signal, "stopping; a second signal ends at once");
        let stopping = handle.stop();
        tokio::select! {
            biased;
            second = self.next() => return second,
            _ = stopping => {}
        }
        self.next().await
    }
}

impl crate::consumer::run::Consumer {
    /// As [`Consumer::run`](Self::run), and the first SIGTERM or SIGINT stops it in order, within
    /// [`ConfigKey::ShutdownDeadline`](crate::ConfigKey). A second one drops what still runs; the report then says what
    /// was abandoned ([`ShutdownReport::is_clean`]), and the others wait for the failover time.
    ///
    /// # Errors
    /// As [`Consumer::run`](Self::run), and [`ErrorKind::Configuration`] when signals cannot be listened to.
    pub async fn run_until_signal(self) -> Result<ShutdownReport, Error> {
        let mut signals = Signals::install()?;
        let handle = self.handle();
        // Not dropped before the report was asked for.
        let mut run = Box::pin(self.run());
        tokio::select! {
            report = &mut run => report,
            _ = signals.shutdown(&handle) => Ok(handle.shutdown(Duration::ZERO).await),
        }
    }
}
