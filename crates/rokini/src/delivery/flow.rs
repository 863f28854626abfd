//! What runs next, and what becomes of it. Knows no I/O and no clock: time is told, records come in, steps come out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rokini_lease::{Position, SequenceNumber};
use tokio::time::Instant;

use super::acks::{Ack, Word};
use super::case::{Case, Stage};
use super::lane::{Lane, Limits, lane_of};
use super::policy::{Policy, Verdict};
use super::spans::{Span, Spans};
use super::tracker::{Taken, Tracker};
use crate::types::backoff::Backoff;
use crate::{HandlerFailure, Record};

/// What a flow is told once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) lanes: usize,
    pub(crate) limits: Limits,
    /// Records, from the first that is not done, from which on no more are taken up.
    pub(crate) window_records: usize,
    /// The same in bytes.
    pub(crate) window_bytes: usize,
    pub(crate) policy: Policy,
    /// How long user code may keep an ack token.
    pub(crate) ack_timeout: Option<Duration>,
}

/// What is to be done in a lane that is free. Its end is told by `returned` or `buried`.
#[derive(Debug)]
pub(crate) enum Step {
    /// Call user code.
    Call { lane: usize, call: u64, records: Spans, attempt: u32 },
    /// Give records to the dead-letter sink.
    Bury { lane: usize, records: Vec<Record>, failure: HandlerFailure, attempts: u32, age: Duration },
}

/// Something to tell those who watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Failed {
        failure: HandlerFailure,
        first: Option<SequenceNumber>,
        failures: u32,
        retry_in: Option<Duration>,
    },
    Searching {
        first: SequenceNumber,
        records: usize,
    },
    Parked {
        first: SequenceNumber,
        key: String,
    },
    Unparked {
        key: String,
    },
    Skipped {
        records: Vec<SequenceNumber>,
        failure: HandlerFailure,
        failures: u32,
    },
    Buried {
        records: Vec<SequenceNumber>,
        failures: u32,
    },
    BuryFailed {
        first: SequenceNumber,
        error: String,
        failures: u32,
        retry_in: Duration,
    },
    Halted {
        first: SequenceNumber,
        failure: HandlerFailure,
        failures: u32,
    },
}

/// What runs in a lane.
#[derive(Debug)]
struct Current {
    call: u64,
    case: Case,
    /// Tokens given back as failed before the call returned.
    early: Vec<(Spans, Option<HandlerFailure>)>,
}

/// A call that returned, and left tokens.
#[derive(Debug)]
struct Outstanding {
    lane: usize,
    records: Spans,
    /// Tokens not heard of.
    left: usize,
    attempts: u32,
    since: Option<Instant>,
    search: bool,
    limit: Option<Instant>,
}

#[derive(Debug)]
struct Seat {
    lane: Lane,
    open: bool,
    current: Option<Current>,
    /// Failures in a row of the dead-letter sink.
    burials_failed: u32,
}

#[derive(Debug)]
pub(crate) struct Flow {
    rules: Rules,
    tracker: Tracker,
    seats: Vec<Seat>,
    running: usize,
    calls: u64,
    /// Calls with tokens not heard of.
    outstanding: BTreeMap<u64, Outstanding>,
    /// Records whose tokens are out, with their calls.
    awaited: BTreeMap<u64, u64>,
    ended: bool,
    halted: bool,
    told: Vec<Told>,
    rng: StdRng,
}

/// Between two calls of a search: half a second would add seconds to it, none would hammer on what is down.
const SEARCH: Duration = Duration::from_millis(100);

impl Flow {
    pub(crate) fn new(rules: Rules, start: Position, rng: StdRng) -> Self {
        let seat = |_| Seat { lane: Lane::default(), open: false, current: None, burials_failed: 0 };
        Self {
            rules,
            tracker: Tracker::new(start),
            seats: (0..rules.lanes).map(seat).collect(),
            running: 0,
            calls: 0,
            outstanding: BTreeMap::new(),
            awaited: BTreeMap::new(),
            ended: false,
            halted: false,
            told: Vec::new(),
            rng,
        }
    }

    /// The processor of a lane is ready for records.
    pub(crate) fn open(&mut self, lane: usize) {
        self.seats[lane].open = true;
    }

    /// The processor of a lane does something else: nothing is handed out there until it is open again.
    pub(crate) fn close(&mut self, lane: usize) {
        self.seats[lane].open = false;
    }

    /// Takes up the next records, with data of this size.
    pub(crate) fn add(
        &mut self,
        records: Vec<Record>,
        bytes: usize,
        millis_behind_latest: u64,
        now: Instant,
    ) {
        let span = self.tracker.add(records, bytes, millis_behind_latest, now);
        let (tracker, limits) = (&self.tracker, &self.rules.limits);
        if let [seat] = &mut self.seats[..] {
            if !span.is_empty() {
                seat.lane.push(span, tracker, limits);
            }
            return;
        }
        for number in span.from..span.to {
            if let Some(record) = tracker.record(number) {
                let lane = lane_of(&record.partition_key, self.seats.len());
                self.seats[lane].lane.push(Span::one(number), tracker, limits);
            }
        }
    }

    /// No more records come: nothing waits to become a larger batch.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether records are to be taken up. One lane takes them when it has nothing else to do, or while a batch
    /// grows; several look ahead.
    pub(crate) fn wants_more(&self) -> bool {
        if self.ended || self.halted || self.is_full() {
            return false;
        }
        let [seat] = &self.seats[..] else { return true };
        if self.rules.limits.wait.is_zero() {
            seat.current.is_none() && seat.lane.is_empty() && !seat.lane.is_held_up()
        } else {
            !seat.lane.is_full(&self.rules.limits)
        }
    }

    /// Whether no more can be taken up before something is done.
    pub(crate) fn is_full(&self) -> bool {
        self.tracker.records() >= self.rules.window_records || self.tracker.bytes() >= self.rules.window_bytes
    }

    /// The next step, if one may begin now. What user code checkpointed (`asked`) is not tried again.
    pub(crate) fn next(&mut self, now: Instant, asked: impl Fn() -> Position) -> Option<Step> {
        if self.halted || self.running == self.seats.len() {
            return None;
        }
        (0..self.seats.len()).find_map(|lane| self.next_in(lane, now, &asked))
    }

    fn next_in(&mut self, lane: usize, now: Instant, asked: &impl Fn() -> Position) -> Option<Step> {
        loop {
            let flush = self.ended || self.is_full();
            let seat = &mut self.seats[lane];
            if !seat.open || seat.current.is_some() || seat.lane.is_idle() {
                return None;
            }
            let mut case = if let Some(mut case) = take_due(&mut seat.lane, now, &self.rules.limits) {
                self.tracker.done_through(asked());
                case.records = case.records.only(|number| !self.tracker.is_done(number));
                case
            } else if let Some((key, records)) = seat.lane.release(&self.rules.limits) {
                Case { key: Some(key), ..Case::new(records, now) }
            } else if seat.lane.is_held_up() {
                return None;
            } else {
                let ready = seat.lane.ready(&self.tracker, &self.rules.limits, now)?;
                if ready > now && !flush {
                    return None;
                }
                Case::new(seat.lane.take(&self.tracker, &self.rules.limits), now)
            };
            if case.records.is_empty() {
                case.stage = Stage::Try;
                self.go_on(lane, case, &Spans::default(), now);
                continue;
            }
            self.calls += 1;
            let (call, trial) = (self.calls, case.trial());
            let step = match (case.stage, &case.failure) {
                (Stage::Bury, Some(failure)) => Step::Bury {
                    lane,
                    records: self.cloned(&trial),
                    failure: failure.clone(),
                    attempts: case.attempts,
                    age: now.duration_since(case.since),
                },
                _ => Step::Call { lane, call, records: trial, attempt: case.attempts.saturating_add(1) },
            };
            self.seats[lane].current = Some(Current { call, case, early: Vec::new() });
            self.running += 1;
            return Some(step);
        }
    }

    fn cloned(&self, records: &Spans) -> Vec<Record> {
        records.numbers().filter_map(|number| self.tracker.record(number).cloned()).collect()
    }

    fn sequences(&self, records: &Spans) -> Vec<SequenceNumber> {
        let record = |number| self.tracker.record(number);
        records.numbers().filter_map(record).map(|record| record.sequence_number).collect()
    }

    fn first(&self, records: &Spans) -> SequenceNumber {
        let record = records.start().and_then(|number| self.tracker.record(number));
        record.map(|record| record.sequence_number).unwrap_or_default()
    }

    fn complete(&mut self, records: &Spans) {
        for span in records.iter() {
            self.tracker.done(span);
        }
    }

    /// The records of a call.
    pub(crate) fn take(&self, records: &Spans) -> Taken {
        self.tracker.take(records)
    }

    /// A call returned: `Ok(true)` where its tokens were taken. What was told by tokens before is to be told before.
    pub(crate) fn returned(
        &mut self,
        lane: usize,
        result: Result<bool, HandlerFailure>,
        now: Instant,
        asked: impl Fn() -> Position,
    ) {
        let Some(Current { call, mut case, early }) = self.seats[lane].current.take() else { return };
        self.running -= 1;
        let trial = case.trial();
        match result {
            Ok(false) => {
                self.complete(&trial);
                self.go_on(lane, case, &trial, now);
            }
            Ok(true) => {
                self.await_acks(lane, call, &case, &trial, now);
                if case.stage == Stage::Search {
                    // Whether the half was good is not known yet, so the other half is not suspected.
                    let rest = case.records.split_at(trial.len()).1;
                    self.put_back(lane, &case, &rest);
                    case.stage = Stage::Try;
                }
                self.go_on(lane, case, &trial, now);
                for (records, failure) in early {
                    self.fail(call, &records, failure, now);
                }
            }
            Err(failure) => {
                self.tracker.done_through(asked());
                let failing = trial.only(|number| !self.tracker.is_done(number));
                if failing.is_empty() {
                    return self.go_on(lane, case, &trial, now);
                }
                if case.stage == Stage::Search {
                    let rest = case.records.split_at(trial.len()).1;
                    self.put_back(lane, &case, &rest);
                    case.narrow(failing, now);
                } else {
                    case.records = failing;
                }
                self.failed(lane, case, failure, now);
            }
        }
    }

    /// The records come first again among those that wait, or, of a parked key, among those of the key.
    fn put_back(&mut self, lane: usize, case: &Case, records: &Spans) {
        let lane = &mut self.seats[lane].lane;
        match &case.key {
            Some(key) => lane.put_behind(key, records),
            None => lane.put_back(records, &self.tracker, &self.rules.limits),
        }
    }

    /// After a failure, noted here.
    fn failed(&mut self, lane: usize, mut case: Case, failure: HandlerFailure, now: Instant) {
        let first = self.first(&case.records);
        case.failed(failure.clone(), now);
        let failures = case.attempts;
        let verdict = match case.stage {
            Stage::Search => Verdict::Search,
            _ => self.rules.policy.judge(case.records.len(), failures, now.duration_since(case.since)),
        };
        let pause = match verdict {
            Verdict::Again | Verdict::Park => Some(Backoff::DELIVERY.delay(failures, &mut self.rng)),
            Verdict::Search => Some(SEARCH),
            Verdict::Halt | Verdict::Skip | Verdict::Bury => None,
        };
        case.due = now + pause.unwrap_or_default();
        self.told.push(Told::Failed {
            failure: failure.clone(),
            first: Some(first),
            failures,
            retry_in: pause,
        });
        match verdict {
            Verdict::Again => {}
            Verdict::Search => {
                if case.stage != Stage::Search {
                    self.told.push(Told::Searching { first, records: case.records.len() });
                }
                case.stage = Stage::Search;
            }
            Verdict::Park => return self.park(lane, case, first),
            Verdict::Halt => {
                if !std::mem::replace(&mut self.halted, true) {
                    self.told.push(Told::Halted { first, failure, failures });
                }
            }
            Verdict::Skip => {
                let records = self.sequences(&case.records);
                self.told.push(Told::Skipped { records, failure, failures });
                let skipped = std::mem::take(&mut case.records);
                self.complete(&skipped);
                return self.go_on(lane, case, &skipped, now);
            }
            Verdict::Bury => case.stage = Stage::Bury,
        }
        self.seats[lane].lane.add_case(case, &self.tracker);
    }

    fn park(&mut self, lane: usize, mut case: Case, first: SequenceNumber) {
        // Of a record that is done meanwhile nothing may be left.
        let record = case.records.start().and_then(|number| self.tracker.record(number));
        let key = case.key.take().or_else(|| record.map(|record| Arc::clone(&record.partition_key)));
        let lane = &mut self.seats[lane].lane;
        if let Some(key) = &key
            && lane.park(key, &self.tracker, &self.rules.limits)
        {
            self.told.push(Told::Parked { first, key: key.to_string() });
        }
        case.key = key;
        lane.add_case(case, &self.tracker);
    }

    /// These records of a case are dealt with: on with the others of it, if there are any.
    fn go_on(&mut self, lane: usize, mut case: Case, dealt_with: &Spans, now: Instant) {
        if case.stage == Stage::Search {
            // The first half is good, so the failing record is in the other one.
            let rest = case.records.split_at(dealt_with.len()).1;
            if !rest.is_empty() {
                case.narrow(rest, now);
                return self.seats[lane].lane.add_case(case, &self.tracker);
            }
        }
        let Some(key) = case.key.take() else { return };
        if self.seats[lane].lane.unpark(&key) {
            self.told.push(Told::Unparked { key: key.to_string() });
        }
    }

    /// The dead-letter sink has the records of a lane, or not.
    pub(crate) fn buried(&mut self, lane: usize, result: Result<(), String>, now: Instant) {
        let Some(Current { mut case, .. }) = self.seats[lane].current.take() else { return };
        self.running -= 1;
        let trial = case.trial();
        match result {
            Ok(()) => {
                self.seats[lane].burials_failed = 0;
                let (records, failures) = (self.sequences(&trial), case.attempts);
                self.told.push(Told::Buried { records, failures });
                self.complete(&trial);
                self.go_on(lane, case, &trial, now);
            }
            Err(error) => {
                let seat = &mut self.seats[lane];
                seat.burials_failed = seat.burials_failed.saturating_add(1);
                let failures = seat.burials_failed;
                let retry_in = Backoff::DELIVERY.delay(failures, &mut self.rng);
                case.due = now + retry_in;
                let first = self.first(&trial);
                self.told.push(Told::BuryFailed { first, error, failures, retry_in });
                if self.rules.policy.park {
                    return self.park(lane, case, first);
                }
                self.seats[lane].lane.add_case(case, &self.tracker);
            }
        }
    }

    fn await_acks(&mut self, lane: usize, call: u64, case: &Case, trial: &Spans, now: Instant) {
        let records = trial.only(|number| !self.tracker.is_done(number));
        if records.is_empty() {
            return;
        }
        for number in records.numbers() {
            self.awaited.insert(number, call);
        }
        let outstanding = Outstanding {
            lane,
            left: records.len(),
            records,
            attempts: case.attempts,
            since: (case.attempts > 0 || case.failure.is_some()).then_some(case.since),
            search: case.stage == Stage::Search,
            limit: self.rules.ack_timeout.map(|limit| now + limit),
        };
        self.outstanding.insert(call, outstanding);
    }

    /// A token was used.
    pub(crate) fn acked(&mut self, ack: Ack, now: Instant) {
        let Ack { call, records, word } = ack;
        let failure = match word {
            Word::Done => {
                for number in records.numbers() {
                    // An earlier call's token counts as well as the last one's.
                    if let Some(call) = self.awaited.remove(&number) {
                        self.heard(call, 1);
                    }
                }
                return self.complete(&records);
            }
            Word::Failed(failure) => Some(failure),
            Word::Dropped => {
                Some(HandlerFailure::Error("an ack token was dropped without an ack".to_owned()))
            }
            Word::GivenBack => None,
        };
        let current = self.seats.iter_mut().filter_map(|seat| seat.current.as_mut());
        match current.into_iter().find(|current| current.call == call) {
            Some(current) => current.early.push((records, failure)),
            None => self.fail(call, &records, failure, now),
        }
    }

    fn heard(&mut self, call: u64, tokens: usize) {
        if let Some(outstanding) = self.outstanding.get_mut(&call) {
            outstanding.left = outstanding.left.saturating_sub(tokens);
            if outstanding.left == 0 {
                self.outstanding.remove(&call);
            }
        }
    }

    /// Records of a call that were not acked come again; those that have come again meanwhile do not.
    fn fail(&mut self, call: u64, records: &Spans, failure: Option<HandlerFailure>, now: Instant) {
        let failing = records.only(|number| self.awaited.get(&number) == Some(&call));
        let Some(outstanding) = self.outstanding.get(&call).filter(|_| !failing.is_empty()) else { return };
        let (lane, search) = (outstanding.lane, outstanding.search);
        let mut case = Case::new(failing, now);
        case.attempts = outstanding.attempts;
        if let Some(since) = outstanding.since {
            case.since = since;
            case.failure.clone_from(&failure);
        }
        for number in case.records.numbers() {
            self.awaited.remove(&number);
        }
        self.heard(call, case.records.len());
        if search {
            case.stage = Stage::Search;
            let failing = std::mem::take(&mut case.records);
            case.narrow(failing, now);
        }
        match failure {
            Some(failure) => self.failed(lane, case, failure, now),
            None => {
                case.due = now + SEARCH;
                self.seats[lane].lane.add_case(case, &self.tracker);
            }
        }
    }

    /// Tokens kept for too long count as failed.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((&call, outstanding)) = self.outstanding.first_key_value()
            && outstanding.limit.is_some_and(|limit| limit <= now)
        {
            let records = outstanding.records.clone();
            let limit = self.rules.ack_timeout.unwrap_or_default();
            self.fail(call, &records, Some(HandlerFailure::Timeout(limit)), now);
            self.outstanding.remove(&call);
        }
    }

    /// When tokens count as failed that are out.
    pub(crate) fn ack_limit(&self) -> Option<Instant> {
        // Calls return in about the order in which they begin.
        self.outstanding.values().next().and_then(|outstanding| outstanding.limit)
    }

    /// When something can begin that cannot begin now.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.halted {
            return self.ack_limit();
        }
        let free = self.seats.iter().filter(|seat| seat.open && seat.current.is_none());
        let due = free.filter_map(|seat| {
            let case = seat.lane.due_case().map(|(_, due)| due);
            let held_up = seat.lane.is_held_up();
            let released = seat.lane.can_release().then_some(now);
            let batch = (!held_up).then(|| seat.lane.ready(&self.tracker, &self.rules.limits, now)).flatten();
            [case, released, batch].into_iter().flatten().min()
        });
        due.chain(self.ack_limit()).min()
    }

    /// A halted shard goes on: what failed gets its tries again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.halted = false;
        for case in self.seats.iter_mut().flat_map(|seat| seat.lane.cases()) {
            (case.attempts, case.failure) = (0, None);
            (case.since, case.due) = (now, now);
        }
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// What is to be told, in order.
    pub(crate) fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Everything up to here is done.
    pub(crate) fn position(&self) -> Position {
        self.tracker.position()
    }

    /// The first record that is not done.
    pub(crate) fn open_record(&self) -> Option<&Record> {
        self.tracker.open()
    }

    /// Whether every record went through user code; tokens may be out.
    pub(crate) fn is_handed_out(&self) -> bool {
        self.ended && self.seats.iter().all(|seat| seat.current.is_none() && seat.lane.is_idle())
    }

    /// Whether tokens are out.
    pub(crate) fn awaits_acks(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether records wait that failed.
    pub(crate) fn is_troubled(&self) -> bool {
        self.seats.iter().any(|seat| seat.lane.is_troubled())
    }

    /// Partition keys that wait while others go on.
    pub(crate) fn parked(&self) -> usize {
        self.seats.iter().map(|seat| seat.lane.parked()).sum()
    }
}

/// The first case whose time has come, together with others in trouble as much that go into one call with it. Of those
/// that hold up the lane the first in the order of the shard comes first.
fn take_due(lane: &mut Lane, now: Instant, limits: &Limits) -> Option<Case> {
    let (index, _) = lane.due_case().filter(|(_, due)| *due <= now)?;
    let mut case = lane.cases().swap_remove(index);
    if case.stage != Stage::Try || case.key.is_some() || case.attempts == 0 {
        return Some(case);
    }
    let (attempts, mut count) = (case.attempts, case.records.len());
    let merged = lane.cases().extract_if(.., |other| {
        let alike = other.stage == Stage::Try && other.key.is_none() && other.attempts == attempts;
        let merges = alike && count.saturating_add(other.records.len()) <= limits.records;
        count += if merges { other.records.len() } else { 0 };
        merges
    });
    for other in merged {
        case.records = case.records.union(&other.records);
        case.since = case.since.min(other.since);
    }
    Some(case)
}

#[cfg(test)]
mod tests;
