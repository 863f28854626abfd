//! What happens to handlers in other processes, for whoever watches.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    /// The call it worked on was given up: the lease is lost, or the deadline of a shutdown has passed.
    GivenUp,
    /// It broke the protocol, in this way.
    Protocol(String),
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(limit) => write!(f, "it was not ready within {limit:?}"),
            Self::Answer(limit) => write!(f, "it did not answer within {limit:?}"),
            Self::Stop(limit) => write!(f, "it did not end within {limit:?}"),
            Self::GivenUp => f.write_str("the call it worked on was given up"),
            Self::Protocol(what) => write!(f, "it broke the protocol: {what}"),
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
    /// A process wrote more lines than are shown.
    OutputSuppressed {
        /// The process.
        pid: u32,
        /// The shard.
        shard: Option<Arc<str>>,
        /// How many lines were held back.
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
}

/// Watches handlers. Its method is called on the way of records: it must neither block nor take long.
pub trait HandlerObserver: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &HandlerEvent);
}

/// How often what happened, since the handlers were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerCounts {
    /// Processes that were started.
    pub started: u64,
    /// Tries to start one that failed.
    pub start_failures: u64,
    /// Processes that ended.
    pub exited: u64,
    /// Of these, those that ended by themselves although nobody had asked them to.
    pub exited_unasked: u64,
    /// Processes that were ended by force.
    pub killed: u64,
    /// Lines of output that were held back.
    pub suppressed_lines: u64,
    /// Times that a service took no records.
    pub unavailable: u64,
}

/// Counts events, and tells an observer.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Inner>);

#[derive(Default)]
struct Inner {
    observer: Option<Arc<dyn HandlerObserver>>,
    counts: [AtomicU64; 7],
}

impl Events {
    pub(crate) fn new(observer: Option<Arc<dyn HandlerObserver>>) -> Self {
        Self(Arc::new(Inner { observer, counts: Default::default() }))
    }

    pub(crate) fn emit(&self, event: &HandlerEvent) {
        let add = |index: usize, more: u64| {
            self.0.counts[index].fetch_add(more, Ordering::Relaxed);
        };
        match event {
            HandlerEvent::Started { .. } => add(0, 1),
            HandlerEvent::StartFailed { .. } => add(1, 1),
            HandlerEvent::Exited { asked, .. } => {
                add(2, 1);
                add(3, u64::from(!asked));
            }
            HandlerEvent::Killed { .. } => add(4, 1),
            HandlerEvent::OutputSuppressed { lines, .. } => add(5, *lines),
            HandlerEvent::Unavailable { .. } => add(6, 1),
            HandlerEvent::Output { .. } | HandlerEvent::EndNotCheckpointed { .. } => {}
        }
        if let Some(observer) = &self.0.observer {
            observer.event(event);
        }
    }

    pub(crate) fn counts(&self) -> HandlerCounts {
        let count = |index: usize| self.0.counts[index].load(Ordering::Relaxed);
        HandlerCounts {
            started: count(0),
            start_failures: count(1),
            exited: count(2),
            exited_unasked: count(3),
            killed: count(4),
            suppressed_lines: count(5),
            unavailable: count(6),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.counts()).finish()
    }
}
