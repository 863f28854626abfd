//! Records that go through user code together: a batch, and what a failure makes of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::spans::Spans;
use crate::HandlerFailure;

/// What is to be done with the records of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// User code is called with all of them.
    Try,
    /// One of them fails: user code is called with the first half of them.
    Search,
    /// They are given up, and go to the dead-letter sink.
    Bury,
}

/// Records in trouble, or on their first way through user code.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) records: Spans,
    pub(crate) stage: Stage,
    /// Failures with these records.
    pub(crate) attempts: u32,
    /// The first failure.
    pub(crate) since: Instant,
    /// Not before.
    pub(crate) due: Instant,
    /// The last failure.
    pub(crate) failure: Option<HandlerFailure>,
    /// The partition key that is parked because of it: other keys go on.
    pub(crate) key: Option<Arc<str>>,
}

impl Case {
    pub(crate) fn new(records: Spans, now: Instant) -> Self {
        let (since, due) = (now, now);
        Self { records, stage: Stage::Try, attempts: 0, since, due, failure: None, key: None }
    }

    /// What goes into the next call.
    pub(crate) fn trial(&self) -> Spans {
        match self.stage {
            Stage::Try | Stage::Bury => self.records.clone(),
            Stage::Search => self.records.split_at(self.records.len().div_ceil(2)).0,
        }
    }

    /// Notes a failure with these records at this time.
    pub(crate) fn failed(&mut self, failure: HandlerFailure, now: Instant) {
        if self.attempts == 0 && self.failure.is_none() {
            self.since = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.failure = Some(failure);
    }

    /// The search came down to these records: all others are done, or will be tried after them.
    pub(crate) fn narrow(&mut self, records: Spans, now: Instant) {
        if records.len() <= 1 {
            // From here on it is one record, which has not had its own tries yet.
            self.stage = Stage::Try;
            self.attempts = 0;
        }
        self.records = records;
        self.due = now;
    }
}
