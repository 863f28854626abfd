//! Calls that returned and left ack tokens with user code.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::ranges::RecordRanges;

/// Where the records of a call came from: what they go on with when their tokens fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallOrigin {
    pub(super) lane: usize,
    /// Failures before the call.
    pub(super) attempts: u32,
    /// The first of them.
    pub(super) since: Option<Instant>,
    /// Whether the call was part of a search for the failing record.
    pub(super) bisecting: bool,
}

#[derive(Debug)]
struct UnackedCall {
    origin: CallOrigin,
    records: RecordRanges,
    /// Tokens that have said nothing yet.
    left: usize,
    /// When they count as failed.
    deadline: Option<Instant>,
}

/// The calls of a shard with tokens that have said nothing yet.
#[derive(Debug, Default)]
pub(super) struct UnackedCalls {
    calls: BTreeMap<u64, UnackedCall>,
    /// Records whose tokens are out, with the last call that delivered them.
    in_flight: BTreeMap<u64, u64>,
}

impl UnackedCalls {
    /// From now on the tokens of these records are waited for.
    pub(super) fn insert(
        &mut self,
        call: u64,
        records: RecordRanges,
        origin: CallOrigin,
        deadline: Option<Instant>,
    ) {
        for number in records.numbers() {
            self.in_flight.insert(number, call);
        }
        self.calls.insert(call, UnackedCall { origin, left: records.len(), records, deadline });
    }

    /// These records are done. The token of an earlier call counts as well as that of the last one.
    pub(super) fn done(&mut self, records: &RecordRanges) {
        for number in records.numbers() {
            if let Some(call) = self.in_flight.remove(&number) {
                self.settle(call, 1);
            }
        }
    }

    /// Those of the records that this call was the last to deliver: they are not waited for any more.
    pub(super) fn take_failed(
        &mut self,
        call: u64,
        records: &RecordRanges,
    ) -> Option<(CallOrigin, RecordRanges)> {
        let failed = records.only(|number| self.in_flight.get(&number) == Some(&call));
        let origin = self.calls.get(&call).filter(|_| !failed.is_empty())?.origin;
        for number in failed.numbers() {
            self.in_flight.remove(&number);
        }
        self.settle(call, failed.len());
        Some((origin, failed))
    }

    fn settle(&mut self, call: u64, tokens: usize) {
        if let Some(unacked) = self.calls.get_mut(&call) {
            unacked.left = unacked.left.saturating_sub(tokens);
            if unacked.left == 0 {
                self.calls.remove(&call);
            }
        }
    }

    /// The first call whose tokens count as failed by now, with its records.
    pub(super) fn expired(&self, now: Instant) -> Option<(u64, RecordRanges)> {
        let (call, unacked) = self.calls.first_key_value()?;
        let expired = unacked.deadline.is_some_and(|deadline| deadline <= now);
        expired.then(|| (*call, unacked.records.clone()))
    }

    /// Nothing of this call is waited for any more.
    pub(super) fn forget(&mut self, call: u64) {
        self.calls.remove(&call);
    }

    /// When the next tokens count as failed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // Calls return in about the order in which they begin.
        self.calls.values().next().and_then(|unacked| unacked.deadline)
    }

    #[cfg(test)]
    pub(super) fn is_in_flight(&self, number: u64) -> bool {
        self.in_flight.contains_key(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}
