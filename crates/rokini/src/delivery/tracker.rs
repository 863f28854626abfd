//! Which records of a shard are done, and so how far the shard is: the end of the contiguous done prefix.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use rokini_lease::Position;
use tokio::time::Instant;

use super::spans::{Span, Spans};
use crate::Record;

/// Numbers the records of a hold, keeps those of which some are not done, and knows which are.
///
/// The records of one response stay or go together: their data may be slices of one buffer, so letting go of some
/// would free nothing.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Everything up to here is done.
    position: Position,
    /// The first record that is not done.
    prefix: u64,
    /// The number of the next record.
    end: u64,
    /// What is done after the first that is not: from and to.
    beyond: BTreeMap<u64, u64>,
    responses: VecDeque<Response>,
    bytes: usize,
}

#[derive(Debug)]
struct Response {
    first: u64,
    records: Arc<Vec<Record>>,
    millis_behind_latest: u64,
    bytes: usize,
    came: Instant,
}

impl Response {
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

/// Records as user code gets them.
#[derive(Debug)]
pub(crate) struct Taken {
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
            prefix: 0,
            end: 0,
            beyond: BTreeMap::new(),
            responses: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes up the next records of the shard, with data of this size.
    pub(crate) fn add(
        &mut self,
        records: Vec<Record>,
        bytes: usize,
        millis_behind_latest: u64,
        now: Instant,
    ) -> Span {
        let span = Span { from: self.end, to: self.end + records.len() as u64 };
        if !records.is_empty() {
            self.end = span.to;
            self.bytes += bytes;
            let records = Arc::new(records);
            let response = Response { first: span.from, records, millis_behind_latest, bytes, came: now };
            self.responses.push_back(response);
        }
        span
    }

    /// These records are done. Saying so twice changes nothing.
    pub(crate) fn done(&mut self, span: Span) {
        let mut span = Span { from: span.from.max(self.prefix), to: span.to.min(self.end) };
        if span.is_empty() {
            return;
        }
        if !self.beyond.is_empty() {
            span = self.joined(span);
        }
        if span.from > self.prefix {
            self.beyond.insert(span.from, span.to);
            return;
        }
        self.prefix = span.to;
        if let Some(last) = self.record(self.prefix - 1) {
            self.position = self.position.max(last.position());
        }
        while self.responses.front().is_some_and(|response| response.end() <= self.prefix) {
            self.bytes -= self.responses.pop_front().map_or(0, |response| response.bytes);
        }
    }

    /// The span with what is done around it.
    fn joined(&mut self, mut span: Span) -> Span {
        if let Some((&from, &to)) = self.beyond.range(..=span.from).next_back()
            && to >= span.from
        {
            span = Span { from, to: to.max(span.to) };
        }
        // What begins inside of it, or right after it, becomes part of it.
        while let Some((&from, &to)) = self.beyond.range(span.from..=span.to).next() {
            self.beyond.remove(&from);
            span.to = span.to.max(to);
        }
        span
    }

    /// Every record up to a position is done.
    pub(crate) fn done_through(&mut self, position: Position) {
        let mut to = self.prefix;
        for response in &self.responses {
            let within = response.records.partition_point(|record| record.position() <= position);
            to = to.max(response.first + within as u64);
            if within < response.records.len() {
                break;
            }
        }
        self.done(Span { from: self.prefix, to });
    }

    pub(crate) fn is_done(&self, number: u64) -> bool {
        number < self.prefix || self.beyond.range(..=number).next_back().is_some_and(|(_, to)| number < *to)
    }

    /// Everything up to here is done.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The first record that is not done.
    pub(crate) fn open(&self) -> Option<&Record> {
        self.record(self.prefix)
    }

    /// Records from the first that is not done to the last taken up.
    pub(crate) fn records(&self) -> usize {
        Span { from: self.prefix, to: self.end }.len()
    }

    /// The bytes of the responses they came in.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn response(&self, number: u64) -> Option<&Response> {
        // What is done in order is looked for in the first one.
        if let Some(front) = self.responses.front().filter(|front| number < front.end()) {
            return Some(front).filter(|front| front.first <= number);
        }
        let index = self.responses.partition_point(|response| response.end() <= number);
        self.responses.get(index).filter(|response| response.first <= number)
    }

    /// A record that is kept: one at or after the first that is not done.
    pub(crate) fn record(&self, number: u64) -> Option<&Record> {
        let response = self.response(number)?;
        response.records.get(usize::try_from(number - response.first).ok()?)
    }

    /// When a record was taken up.
    pub(crate) fn came(&self, number: u64) -> Option<Instant> {
        self.response(number).map(|response| response.came)
    }

    /// The records themselves. Those of one response in a row are not copied.
    pub(crate) fn take(&self, spans: &Spans) -> Taken {
        let last = spans.last().and_then(|last| self.response(last));
        let millis_behind_latest = last.map_or(0, |response| response.millis_behind_latest);
        if let (Some(span), Some(response)) = (spans.single(), last)
            && span.from >= response.first
        {
            let from = Span { from: response.first, to: span.from }.len();
            let range = from..from + span.len();
            let records = Arc::clone(&response.records);
            let whole = range.len() == records.len();
            let bytes = if whole { response.bytes } else { bytes_of(&records[range.clone()]) };
            return Taken { records, range, millis_behind_latest, bytes };
        }
        let records: Vec<Record> =
            spans.numbers().filter_map(|number| self.record(number).cloned()).collect();
        let (range, bytes) = (0..records.len(), bytes_of(&records));
        Taken { records: Arc::new(records), range, millis_behind_latest, bytes }
    }
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.data.len()).sum()
}

#[cfg(test)]
mod tests;
