//! What can go wrong between a worker and its store.

use std::error::Error as StdError;
use std::fmt;

/// What the caller of a store can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Unreachable, timed out, overloaded: the same call may go through later.
    Unavailable,
    /// Refused by the store's rate limits: the same call goes through later and slower.
    Throttled,
    /// The credentials do not allow the action.
    Permission,
    /// The table (or database) does not exist.
    MissingTable,
    /// The table exists with another layout.
    InvalidSchema,
    /// A stored row cannot be read.
    InvalidRow,
    /// The request itself is wrong: configuration, region, credentials.
    Configuration,
}

/// An error of a lease store: what kind, what was tried on which resource, and what to do next.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    may_have_applied: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error with a message that says what was tried, on what, and what to do next.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), may_have_applied: false, source: None }
    }

    /// The same, for a write whose effect is unknown: the request may have reached the store.
    #[must_use]
    pub fn may_have_applied(mut self, may: bool) -> Self {
        self.may_have_applied = may;
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether a write that failed with this error may have taken effect all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.may_have_applied
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Throttled)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Why a lease is not (or no longer) held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseLostReason {
    /// This worker was silent for longer than the failover time and was declared dead.
    Fenced,
    /// Another process works under this worker's incarnation, such as a copy of the machine it runs on: both stop.
    SharedIncarnation,
    /// Another worker, or an operator, changed the lease.
    Taken,
    /// An operator set another position; the lease comes back from there.
    Seek,
    /// The lease was deleted.
    Deleted,
    /// The member stopped.
    Stopped,
}

impl fmt::Display for LeaseLostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fenced => "this worker was declared dead after its heartbeats did not arrive",
            Self::SharedIncarnation => "another process works under this worker's incarnation",
            Self::Taken => "another worker holds it",
            Self::Seek => "an operator set its position",
            Self::Deleted => "the lease was deleted",
            Self::Stopped => "this worker stopped",
        })
    }
}

/// An error of an operation on a held lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The lease is not held any more: nothing was stored. Stop working on it.
    #[error("the lease is lost: {0}")]
    Lost(LeaseLostReason),
    /// The position is lower than one already stored under this hold.
    #[error("position {given} is behind {stored}, which is stored already")]
    Behind {
        /// What was asked for.
        given: crate::position::Position,
        /// What is stored.
        stored: crate::position::Position,
    },
    /// More bytes of application state beside a pending position than a lease holds.
    #[error(
        "the state beside a pending position has {given} bytes, the limit is {limit}: keep the rest elsewhere"
    )]
    StateTooLarge {
        /// The bytes given.
        given: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The store failed. The lease is still held.
    #[error(transparent)]
    Store(#[from] StoreError),
}
