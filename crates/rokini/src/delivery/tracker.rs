//! Which records of a shard are done, and so how far the shard is: the end of the contiguous done prefix.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rokini_lease::Position;
use tokio::time::Instant;

use super::ranges::{RecordRange, RecordRanges};
use crate::types::record::Record;

/// Numbers the records of a hold, keeps those that are not done, and knows which are.
///
/// The records of one response stay or go together: their data may be slices of one buffer, so letting go of some
/// would free nothing.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Everything up to here is done.
    position: Position,
    /// The first record that is not done.
    first_open: u64,
    /// The number of the next record.
    end: u64,
    /// Ranges of records that are done after the first that is not: from and to.
    done_ahead: BTreeMap<u64, u64>,
    responses: VecDeque<Response>,
    bytes: usize,
}

/// What is let go of together with the records of a response: their part of a budget.
pub(crate) type Hold = Box<dyn fmt::Debug + Send>;

#[derive(Debug)]
struct Response {
    first: u64,
    /// One past the number of its last record.
    end: u64,
    /// The position of its last record.
    last: Position,
    /// Let go of once all of them are done, although records before them are not.
    records: Option<(Arc<Vec<Record>>, Option<Hold>)>,
    millis_behind_latest: u64,
    bytes: usize,
    added: Instant,
}

impl Response {
    fn record(&self, number: u64) -> Option<&Record> {
        let (records, _) = self.records.as_ref()?;
        records.get(usize::try_from(number - self.first).ok()?)
    }
}

/// Records as user code gets them.
#[derive(Debug)]
pub(crate) struct RecordSlice {
    pub(crate) records: Arc<Vec<Record>>,
    pub(crate) range: Range<usize>,
    pub(crate) millis_behind_latest: u64,
    /// The size of their data.
    pub(crate) bytes: usize,
}

impl Tracker {
    pub(crate) fn new(start: Position) -> Self {
        Self {
            position: start,
            first_open: 0,
            end: 0,
            done_ahead: BTreeMap::new(),
            responses: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes up the next records of the shard, with data of this size. `hold` is dropped when they are let go of.
    pub(crate) fn add(
        &mut self,
        records: Vec<Record>,
        bytes: usize,
        millis_behind_latest: u64,
        hold: Option<Hold>,
        now: Instant,
    ) -> RecordRange {
        let range = RecordRange { from: self.end, to: self.end + records.len() as u64 };
        if let Some(last) = records.last().map(Record::position) {
            self.end = range.to;
            self.bytes += bytes;
            let (first, end) = (range.from, range.to);
            let records = Some((Arc::new(records), hold));
            let response = Response { first, end, last, records, millis_behind_latest, bytes, added: now };
            self.responses.push_back(response);
        }
        range
    }

    /// These records are done. Saying so twice changes nothing.
    pub(crate) fn mark_done(&mut self, range: RecordRange) {
        let mut range = RecordRange { from: range.from.max(self.first_open), to: range.to.min(self.end) };
        if range.is_empty() {
            return;
        }
        if !self.done_ahead.is_empty() {
            range = self.joined(range);
        }
        if range.from > self.first_open {
            self.done_ahead.insert(range.from, range.to);
            self.let_go_within(range);
            return;
        }
        self.first_open = range.to;
        if let Some(last) = self.position_of(self.first_open - 1) {
            self.position = self.position.max(last);
        }
        while self.responses.front().is_some_and(|response| response.end <= self.first_open) {
            self.bytes -= self.responses.pop_front().map_or(0, |response| response.bytes);
        }
    }

    /// Lets go of the records of responses all of which lie in a range that is done.
    fn let_go_within(&mut self, done: RecordRange) {
        let from = self.responses.partition_point(|response| response.first < done.from);
        for response in self.responses.range_mut(from..).take_while(|response| response.end <= done.to) {
            response.records = None;
        }
    }

    fn position_of(&self, number: u64) -> Option<Position> {
        let response = self.response(number)?;
        if number + 1 == response.end {
            return Some(response.last);
        }
        response.record(number).map(Record::position)
    }

    /// The range together with what is done around it.
    fn joined(&mut self, mut range: RecordRange) -> RecordRange {
        if let Some((&from, &to)) = self.done_ahead.range(..=range.from).next_back()
            && to >= range.from
        {
            range = RecordRange { from, to: to.max(range.to) };
        }
        // What begins inside of it, or right after it, becomes part of it.
        while let Some((&from, &to)) = self.done_ahead.range(range.from..=range.to).next() {
            self.done_ahead.remove(&from);
            range.to = range.to.max(to);
        }
        range
    }

    /// Every record up to a position is done.
    pub(crate) fn mark_done_through(&mut self, position: Position) {
        let mut to = self.first_open;
        for response in &self.responses {
            if response.last <= position {
                to = to.max(response.end);
                continue;
            }
            // What was let go of is done anyway.
            if let Some((records, _)) = &response.records {
                let within = records.partition_point(|record| record.done_at() <= position);
                to = to.max(response.first + within as u64);
            }
            break;
        }
        self.mark_done(RecordRange { from: self.first_open, to });
    }

    pub(crate) fn is_done(&self, number: u64) -> bool {
        number < self.first_open
            || self.done_ahead.range(..=number).next_back().is_some_and(|(_, to)| number < *to)
    }

    /// Everything up to here is done.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The first record that is not done.
    pub(crate) fn first_open(&self) -> Option<&Record> {
        self.record(self.first_open)
    }

    /// How many records there are from the first that is not done to the last taken up.
    pub(crate) fn outstanding_records(&self) -> usize {
        RecordRange { from: self.first_open, to: self.end }.len()
    }

    /// The bytes of the responses they came in.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        self.bytes
    }

    fn response(&self, number: u64) -> Option<&Response> {
        // What is done in order is looked for in the first one.
        if let Some(front) = self.responses.front().filter(|front| number < front.end) {
            return Some(front).filter(|front| front.first <= number);
        }
        let index = self.responses.partition_point(|response| response.end <= number);
        self.responses.get(index).filter(|response| response.first <= number)
    }

    /// A record that is kept: one at or after the first that is not done.
    pub(crate) fn record(&self, number: u64) -> Option<&Record> {
        self.response(number)?.record(number)
    }

    /// When a record was taken up.
    pub(crate) fn added_at(&self, number: u64) -> Option<Instant> {
        self.response(number).map(|response| response.added)
    }

    /// The records themselves. Those of one response in a row are not copied.
    pub(crate) fn slice(&self, ranges: &RecordRanges) -> RecordSlice {
        let last = ranges.last().and_then(|last| self.response(last));
        let millis_behind_latest = last.map_or(0, |response| response.millis_behind_latest);
        if let (Some(range), Some(response)) = (ranges.single(), last)
            && range.from >= response.first
            && let Some((records, _)) = &response.records
        {
            let from = RecordRange { from: response.first, to: range.from }.len();
            let range = from..from + range.len();
            let records = Arc::clone(records);
            let whole = range.len() == records.len();
            let bytes = if whole { response.bytes } else { bytes_of(&records[range.clone()]) };
            return RecordSlice { records, range, millis_behind_latest, bytes };
        }
        let records: Vec<Record> =
            ranges.numbers().filter_map(|number| self.record(number).cloned()).collect();
        let (range, bytes) = (0..records.len(), bytes_of(&records));
        RecordSlice { records: Arc::new(records), range, millis_behind_latest, bytes }
    }
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.data().len()).sum()
}

#[cfg(test)]
mod tests;
