//! What happens to handlers in other processes, for whoever watches.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use rokini::HandlerStats;
use rokini::lease::panic_message;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::usage::{self, Usage, UsageMeter};

/// Which of its streams a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why a process was ended by force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillReason {
    /// It was not ready within this time after its start.
    Start(Duration),
    /// It did not answer within this time.
    Answer(Duration),
    /// It did not end within this time after it was asked to.
    Stop(Duration),
    /// It closed its standard output and went on: nothing could be answered any more.
    ClosedOutput,
    /// The call it worked on was given up: the lease is lost, or the deadline of a shutdown has passed.
    GivenUp,
    /// It broke the protocol, in this way.
    Protocol(String),
    /// A task that looks after it panicked: nobody would notice what it does.
    Unwatched,
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(limit) => write!(f, "it was not ready within {limit:?}"),
            Self::Answer(limit) => write!(f, "it did not answer within {limit:?}"),
            Self::Stop(limit) => write!(f, "it did not end within {limit:?}"),
            Self::ClosedOutput => {
                f.write_str("it closed its standard output, so that it could answer nothing any more")
            }
            Self::GivenUp => f.write_str("the call it worked on was given up"),
            Self::Protocol(what) => write!(f, "it broke the protocol: {what}"),
            Self::Unwatched => f.write_str("a task that looks after it panicked"),
        }
    }
}

/// What happens to handlers in other processes. `pid` is the number of the process, `shard` the shard it worked on last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerEvent {
    /// A process was started.
    Started {
        /// The process.
        pid: u32,
    },
    /// A process could not be started, or was not ready in time. Records wait, and it is tried again.
    StartFailed {
        /// The shard that waits for it.
        shard: Option<Arc<str>>,
        /// What happened.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A process ended.
    Exited {
        /// The process.
        pid: u32,
        /// The shard.
        shard: Option<Arc<str>>,
        /// How it ended.
        status: ExitStatus,
        /// Whether it was asked to.
        asked: bool,
    },
    /// A process and its group are ended by force.
    Killed {
        /// The process.
        pid: u32,
        /// The shard.
        shard: Option<Arc<str>>,
        /// Why.
        reason: KillReason,
    },
    /// A process wrote a line that is not part of its protocol.
    Output {
        /// The process.
        pid: u32,
        /// The shard.
        shard: Option<Arc<str>>,
        /// Where it wrote it.
        stream: OutputStream,
        /// The line, without its end.
        line: String,
    },
    /// A process wrote more than is shown.
    OutputSuppressed {
        /// The process.
        pid: u32,
        /// The shard.
        shard: Option<Arc<str>>,
        /// How many lines were held back, or cut off.
        lines: u64,
    },
    /// A service does not take records at present. They wait, and it is tried again; that is no failure of theirs.
    Unavailable {
        /// The shard.
        shard: Option<Arc<str>>,
        /// What it answered.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// An application of the KCL ended a shard without a checkpoint, again and again, and the shard is finished without
    /// one.
    EndNotCheckpointed {
        /// The shard.
        shard: Option<Arc<str>>,
        /// How often it was asked.
        times: u32,
    },
    /// A task of this crate panicked. What it looked after begins anew, or is ended by force; please report it.
    TaskPanicked {
        /// What it did.
        task: &'static str,
        /// What the panic said.
        error: String,
    },
}

/// Watches handlers. Its method is called on the way of records: it must neither block nor take long. A panic of it is logged,
/// and nothing else comes of it.
pub trait HandlerObserver: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &HandlerEvent);
}

/// Counts events, and tells an observer.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Inner>);

#[derive(Default)]
struct Inner {
    observer: Option<Arc<dyn HandlerObserver>>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    stats: HandlerStats,
    running: BTreeSet<u32>,
}

impl Events {
    pub(crate) fn new(observer: Option<Arc<dyn HandlerObserver>>) -> Self {
        Self(Arc::new(Inner { observer, noted: Mutex::default() }))
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn emit(&self, event: &HandlerEvent) {
        self.noted().note(event);
        let Some(observer) = &self.0.observer else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer.event(event))) {
            tracing::error!(error = panic_message(&*panic), ?event, "an observer of handlers panicked");
        }
    }

    /// Does a part of what looks after handlers. `None`: it panicked, and that was told.
    pub(crate) async fn guard<T>(&self, task: &'static str, work: impl Future<Output = T>) -> Option<T> {
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(done) => Some(done),
            Err(panic) => {
                self.panicked(task, panic_message(&*panic));
                None
            }
        }
    }

    /// Tells that a task panicked.
    pub(crate) fn panicked(&self, task: &'static str, error: String) {
        tracing::error!(task, error, "a task that looks after handlers panicked");
        self.emit(&HandlerEvent::TaskPanicked { task, error });
    }

    pub(crate) fn stats(&self) -> HandlerStats {
        self.noted().stats
    }

    /// Looks again and again at what the processes use of the machine. Never returns.
    pub(crate) async fn measure(&self, tracker: &TaskTracker) -> Infallible {
        let mut meter = UsageMeter::default();
        loop {
            let groups = self.noted().running.clone();
            let looked = tracker.spawn_blocking(move || (meter.look(&groups), meter)).await;
            // It ends by a panic only, and the meter with it.
            let (usage, kept) = looked.unwrap_or_default();
            meter = kept;
            self.noted().used(usage);
            sleep(usage::EVERY).await;
        }
    }
}

impl Noted {
    fn used(&mut self, usage: Usage) {
        self.stats.resident_bytes = usage.resident_bytes;
        self.stats.cpu = self.stats.cpu.max(usage.cpu);
    }

    fn note(&mut self, event: &HandlerEvent) {
        let stats = &mut self.stats;
        match event {
            HandlerEvent::Started { pid } => {
                stats.started += 1;
                self.running.insert(*pid);
            }
            HandlerEvent::StartFailed { .. } => stats.start_failures += 1,
            HandlerEvent::Exited { pid, asked, .. } => {
                stats.exited += u64::from(!asked);
                self.running.remove(pid);
            }
            HandlerEvent::Killed { .. } => stats.killed += 1,
            HandlerEvent::OutputSuppressed { lines, .. } => stats.suppressed_lines += lines,
            HandlerEvent::Unavailable { .. } => stats.unavailable += 1,
            HandlerEvent::Output { .. }
            | HandlerEvent::EndNotCheckpointed { .. }
            | HandlerEvent::TaskPanicked { .. } => {}
        }
        stats.running = self.running.len() as u64;
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.stats()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<HandlerEvent>>);

    impl HandlerObserver for Told {
        fn event(&self, event: &HandlerEvent) {
            self.0.lock().unwrap().push(event.clone());
            assert!(!matches!(event, HandlerEvent::Started { .. }), "an observer with a defect");
        }
    }

    #[tokio::test]
    async fn a_panic_of_a_task_is_told_and_one_of_an_observer_ends_nothing() {
        let told = Arc::new(Told::default());
        let events = Events::new(Some(told.clone()));
        events.emit(&HandlerEvent::Started { pid: 7 });
        assert_eq!(events.stats().started, 1);
        assert_eq!(events.guard("a part", async { 3 }).await, Some(3));
        assert_eq!(events.guard("a part", async { panic!("no such thing") }).await, None::<()>);
        let (task, error) = ("a part", "no such thing".to_owned());
        let wanted = [HandlerEvent::Started { pid: 7 }, HandlerEvent::TaskPanicked { task, error }];
        assert_eq!(*told.0.lock().unwrap(), wanted);
    }
}
