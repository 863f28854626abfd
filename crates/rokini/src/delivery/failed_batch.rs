//! Records that go through user code together, and what their failures make of them.

use tokio::time::Instant;

use super::order_key::OrderKey;
use super::ranges::RecordRanges;
use crate::types::failure::HandlerFailure;

/// What is to be done with the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchStage {
    /// User code is called with all of them.
    Deliver,
    /// One of them fails: user code is called with the first half of them.
    Bisect,
    /// They are given up, and go to the dead-letter sink.
    DeadLetter,
}

/// Records that failed together. Also those on their first way through user code, which have no failure yet.
#[derive(Debug, Clone)]
pub(crate) struct FailedBatch {
    pub(crate) records: RecordRanges,
    pub(crate) stage: BatchStage,
    /// Failures with these records.
    pub(crate) attempts: u32,
    /// The first failure.
    pub(crate) since: Instant,
    /// Nothing is done with them before this.
    pub(crate) due: Instant,
    /// The last failure.
    pub(crate) failure: Option<HandlerFailure>,
    /// The partition key that is parked because of them: other keys go on.
    pub(crate) key: Option<OrderKey>,
    /// The call whose tokens gave the records back, if none of them failed.
    pub(crate) given_back: Option<u64>,
}

impl FailedBatch {
    pub(crate) fn new(records: RecordRanges, now: Instant) -> Self {
        let (since, due) = (now, now);
        let (stage, given_back) = (BatchStage::Deliver, None);
        Self { records, stage, attempts: 0, since, due, failure: None, key: None, given_back }
    }

    /// What goes into the next call.
    pub(crate) fn next_call(&self) -> RecordRanges {
        match self.stage {
            BatchStage::Deliver | BatchStage::DeadLetter => self.records.clone(),
            BatchStage::Bisect => self.records.split_at(self.records.len().div_ceil(2)).0,
        }
    }

    /// Notes a failure with these records at this time.
    pub(crate) fn add_failure(&mut self, failure: HandlerFailure, now: Instant) {
        if self.attempts == 0 && self.failure.is_none() {
            self.since = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.failure = Some(failure);
    }

    /// The failing record is among these: all others are done, or will be tried after them.
    pub(crate) fn narrow(&mut self, records: RecordRanges, now: Instant) {
        if records.len() <= 1 {
            // From here on it is one record, which has not had its own tries yet.
            self.stage = BatchStage::Deliver;
            self.attempts = 0;
        }
        self.records = records;
        self.due = now;
    }
}
