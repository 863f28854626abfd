//! What has to hold in a run.

use std::fmt;

/// One thing that must hold. The test `each_check_trips` has a broken variant for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Every record put is done in the end: some call that had it returned well.
    Delivered,
    /// No position is stored behind which something is not done.
    Stored,
    /// First deliveries of a key come in the order of its puts, and what comes again is done in it.
    InOrder,
    /// A record comes again only after a crash, after a time in which its worker could not store positions, after a
    /// seek, or if no call that had it returned well; and no record whose position had to be stored by then.
    Once,
    /// No two workers are valid owners of one shard at any handler's start or end.
    OneOwner,
    /// No handler begins under an older epoch than one before it.
    Fresh,
    /// Stored positions fall by an operator's command only, epochs never, and the end of a shard stays its end.
    Positions,
    /// At every shard's end the unfinished leases cover all hash keys.
    Covered,
    /// At rest every unfinished shard is held by a live worker.
    Owned,
    /// At rest the most and the least loaded worker differ by at most one shard.
    Even,
    /// At rest nothing moves.
    Still,
    /// At rest no condition of a write fails.
    NoConflicts,
    /// A record waits no longer than what was done to its shard and the worker that had it explains, also while faults
    /// last; a worker that is well takes over in time.
    Prompt,
    /// At rest a record put into any shard is done within seconds.
    Answers,
    /// Who starts after everybody stopped goes on where they were, with every shard.
    Resumes,
    /// No operator's order does what it must not: a group that lives is not deleted.
    Orders,
    /// A consumer ends only when it is stopped.
    Running,
    /// Only a worker that was cut off is declared dead.
    Fences,
    /// Nothing stays behind: no row of a worker that is gone, no task.
    Tidy,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 19] = [
        Self::Delivered,
        Self::Stored,
        Self::InOrder,
        Self::Once,
        Self::OneOwner,
        Self::Fresh,
        Self::Positions,
        Self::Covered,
        Self::Owned,
        Self::Even,
        Self::Still,
        Self::NoConflicts,
        Self::Prompt,
        Self::Answers,
        Self::Resumes,
        Self::Orders,
        Self::Running,
        Self::Fences,
        Self::Tidy,
    ];
}

/// A check that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub check: Check,
    /// How.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl From<rokini_history::Check> for Check {
    fn from(check: rokini_history::Check) -> Self {
        match check {
            rokini_history::Check::Delivered => Self::Delivered,
            rokini_history::Check::Stored => Self::Stored,
            rokini_history::Check::InOrder => Self::InOrder,
            rokini_history::Check::Once => Self::Once,
            rokini_history::Check::Fresh => Self::Fresh,
            rokini_history::Check::Prompt => Self::Prompt,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.what)
    }
}
