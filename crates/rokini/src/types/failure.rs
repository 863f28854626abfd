//! How user code fails, and what becomes of the records then.

use std::fmt;
use std::time::Duration;

use crate::types::named::named;

/// Why a handler failed: any error; `?` makes one of it.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Which user code was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandlerCall {
    /// The function that makes a processor.
    Create,
    /// [`RecordProcessor::init`](crate::RecordProcessor::init)
    Init,
    /// [`RecordProcessor::process`](crate::RecordProcessor::process)
    Process,
    /// [`RecordProcessor::shard_ended`](crate::RecordProcessor::shard_ended)
    ShardEnded,
    /// [`RecordProcessor::shutdown_requested`](crate::RecordProcessor::shutdown_requested)
    ShutdownRequested,
    /// [`RecordProcessor::lease_lost`](crate::RecordProcessor::lease_lost)
    LeaseLost,
}

/// How user code failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandlerFailure {
    /// It returned this error, with its causes.
    Error(String),
    /// It panicked with this message.
    Panic(String),
    /// It did not return within this time.
    Timeout(Duration),
}

impl fmt::Display for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.write_str(error),
            Self::Panic(message) => write!(f, "panic: {message}"),
            Self::Timeout(limit) => write!(f, "no return within {limit:?}"),
        }
    }
}

impl std::error::Error for HandlerFailure {}

named! {
    /// What becomes of records that failed too often.
    #[derive(Default)]
    pub enum OnFailure {
        /// They are tried again for ever.
        #[default]
        Retry = "retry",
        /// Their shard stops, visibly, and stays with its worker.
        Halt = "halt",
        /// They are passed over; a note of them is stored with the position that passes them.
        Skip = "skip",
        /// They are given to the dead-letter sink; the position passes them once that has confirmed them.
        DeadLetter = "dead_letter",
    }
}
