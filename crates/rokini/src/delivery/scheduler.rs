//! What runs next, and what becomes of it. Does no I/O and reads no clock: times and records come in, steps come out.

mod outcome;

use std::time::Duration;

use rand::rngs::StdRng;
use rokini_lease::{Position, SequenceNumber};
use tokio::time::Instant;

use super::event::DeliveryEvent;
use super::failed_batch::{BatchStage, FailedBatch};
use super::failure_policy::FailurePolicy;
use super::lane::{BatchLimits, Lane};
use super::order_key::lane_of;
use super::ranges::{RecordRange, RecordRanges};
use super::tracker::{Hold, RecordSlice, Tracker};
use super::unacked::UnackedCalls;
use crate::types::failure::HandlerFailure;
use crate::types::record::Record;

/// How records go through user code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeliverySettings {
    /// Calls at the same time, each with the records of its own partition keys.
    pub(crate) lanes: usize,
    /// User code sees the records of a call one by one: each is done, or fails, by itself.
    pub(crate) one_by_one: bool,
    pub(crate) limits: BatchLimits,
    /// Records, from the first that is not done, from which on no more are taken up.
    pub(crate) window_records: usize,
    /// The same in bytes.
    pub(crate) window_bytes: usize,
    pub(crate) policy: FailurePolicy,
    /// How long user code may keep an ack token.
    pub(crate) ack_timeout: Option<Duration>,
}

/// What is to be done in a lane that is free. `returned` or `dead_lettered` says how it ended.
#[derive(Debug)]
pub(crate) enum DeliveryStep {
    CallHandler { lane: usize, call: u64, records: RecordRanges, attempt: u32 },
    DeadLetter { lane: usize, records: Vec<Record>, failure: HandlerFailure, attempts: u32, age: Duration },
}

/// A batch that user code, or the dead-letter sink, has now.
#[derive(Debug)]
struct RunningBatch {
    call: u64,
    batch: FailedBatch,
    /// So many of its records are known to be done, where user code sees them one by one.
    done: usize,
    /// Tokens that failed, or were given back, before the call returned.
    early: Vec<(RecordRanges, Option<HandlerFailure>)>,
}

#[derive(Debug)]
struct LaneState {
    lane: Lane,
    /// Whether the lane's processor is ready for records.
    open: bool,
    running: Option<RunningBatch>,
    /// Failures in a row of the dead-letter sink.
    sink_failures: u32,
}

/// The records of one hold of a shard, from taken up to done.
#[derive(Debug)]
pub(crate) struct Scheduler {
    settings: DeliverySettings,
    tracker: Tracker,
    lanes: Vec<LaneState>,
    running: usize,
    calls: u64,
    unacked: UnackedCalls,
    ended: bool,
    halted: bool,
    events: Vec<DeliveryEvent>,
    rng: StdRng,
}

impl Scheduler {
    pub(crate) fn new(settings: DeliverySettings, start: Position, rng: StdRng) -> Self {
        let lane = |_| LaneState { lane: Lane::default(), open: false, running: None, sink_failures: 0 };
        Self {
            settings,
            tracker: Tracker::new(start),
            lanes: (0..settings.lanes).map(lane).collect(),
            running: 0,
            calls: 0,
            unacked: UnackedCalls::default(),
            ended: false,
            halted: false,
            events: Vec::new(),
            rng,
        }
    }

    /// The processor of a lane is ready for records.
    pub(crate) fn open(&mut self, lane: usize) {
        self.lanes[lane].open = true;
    }

    /// The processor of a lane does something else: nothing is handed out there until it is open again.
    pub(crate) fn close(&mut self, lane: usize) {
        self.lanes[lane].open = false;
    }

    /// Takes up the next records, with data of this size. `hold` is dropped when they are let go of.
    pub(crate) fn add(
        &mut self,
        records: Vec<Record>,
        bytes: usize,
        millis_behind_latest: u64,
        hold: Option<Hold>,
        now: Instant,
    ) {
        let range = self.tracker.add(records, bytes, millis_behind_latest, hold, now);
        let (tracker, limits) = (&self.tracker, &self.settings.limits);
        if let [only] = &mut self.lanes[..] {
            if !range.is_empty() {
                only.lane.push(range, tracker, limits);
            }
            return;
        }
        for number in range.from..range.to {
            if let Some(record) = tracker.record(number) {
                let lane = lane_of(record, self.lanes.len());
                self.lanes[lane].lane.push(RecordRange::one(number), tracker, limits);
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
        let [only] = &self.lanes[..] else { return true };
        if self.settings.limits.wait.is_zero() {
            only.running.is_none() && only.lane.is_empty() && !only.lane.is_blocked()
        } else {
            !only.lane.is_full(&self.settings.limits)
        }
    }

    /// Whether no more can be taken up before something is done.
    pub(crate) fn is_full(&self) -> bool {
        self.tracker.outstanding_records() >= self.settings.window_records
            || self.tracker.outstanding_bytes() >= self.settings.window_bytes
    }

    /// The next step, if one may begin now. Records up to what user code checkpointed (`requested`) are not tried
    /// again.
    pub(crate) fn next(&mut self, now: Instant, requested: impl Fn() -> Position) -> Option<DeliveryStep> {
        if self.halted || self.running == self.lanes.len() {
            return None;
        }
        (0..self.lanes.len()).find_map(|lane| self.next_in(lane, now, &requested))
    }

    fn next_in(
        &mut self,
        lane: usize,
        now: Instant,
        requested: &impl Fn() -> Position,
    ) -> Option<DeliveryStep> {
        loop {
            let mut batch = self.next_batch(lane, now, requested)?;
            if batch.records.is_empty() {
                batch.stage = BatchStage::Deliver;
                self.go_on(lane, batch, &RecordRanges::default(), now);
                continue;
            }
            self.calls += 1;
            let (call, records) = (self.calls, batch.next_call());
            let step = match (batch.stage, &batch.failure) {
                (BatchStage::DeadLetter, Some(failure)) => DeliveryStep::DeadLetter {
                    lane,
                    records: self.cloned(&records),
                    failure: failure.clone(),
                    attempts: batch.attempts,
                    age: now.duration_since(batch.since),
                },
                _ => {
                    let attempt = batch.attempts.saturating_add(1);
                    DeliveryStep::CallHandler { lane, call, records, attempt }
                }
            };
            self.lanes[lane].running = Some(RunningBatch { call, batch, done: 0, early: Vec::new() });
            self.running += 1;
            return Some(step);
        }
    }

    /// The next batch of a lane, if one may begin now: what failed, then what waited behind a parked key, then what is
    /// new. Empty where the records that failed are done by now.
    fn next_batch(
        &mut self,
        lane: usize,
        now: Instant,
        requested: &impl Fn() -> Position,
    ) -> Option<FailedBatch> {
        let flush = self.ended || self.is_full();
        let limits = &self.settings.limits;
        let LaneState { lane, open: true, running: None, .. } = &mut self.lanes[lane] else { return None };
        if lane.is_idle() {
            return None;
        }
        // A record that failed has its own tries.
        let together = if self.settings.one_by_one { 1 } else { limits.records };
        if let Some(mut batch) = take_due(lane, now, together) {
            self.tracker.mark_done_through(requested());
            batch.records = batch.records.only(|number| !self.tracker.is_done(number));
            return Some(batch);
        }
        if let Some((key, records)) = lane.release(limits) {
            return Some(FailedBatch { key: Some(key), ..FailedBatch::new(records, now) });
        }
        if lane.is_blocked() {
            return None;
        }
        let ready = lane.ready(&self.tracker, limits, now)?;
        if ready > now && !flush {
            return None;
        }
        Some(FailedBatch::new(lane.take(&self.tracker, limits), now))
    }

    fn cloned(&self, records: &RecordRanges) -> Vec<Record> {
        records.numbers().filter_map(|number| self.tracker.record(number).cloned()).collect()
    }

    fn sequences(&self, records: &RecordRanges) -> Vec<SequenceNumber> {
        let record = |number| self.tracker.record(number);
        records.numbers().filter_map(record).map(|record| record.sequence_number).collect()
    }

    fn first(&self, records: &RecordRanges) -> SequenceNumber {
        let record = records.start().and_then(|number| self.tracker.record(number));
        record.map(|record| record.sequence_number).unwrap_or_default()
    }

    fn complete(&mut self, records: &RecordRanges) {
        for range in records.iter() {
            self.tracker.mark_done(range);
        }
    }

    /// User code that sees the records of a call one by one is through with so many of them. Whether that is news.
    pub(crate) fn progressed(&mut self, lane: usize, done: usize) -> bool {
        let Some(running) = self.lanes[lane].running.as_mut().filter(|running| running.done < done) else {
            return false;
        };
        running.done = done;
        let (records, _) = running.batch.next_call().split_at(done);
        self.complete(&records);
        true
    }

    /// The records of a call.
    pub(crate) fn slice(&self, records: &RecordRanges) -> RecordSlice {
        self.tracker.slice(records)
    }

    /// When tokens that are out count as failed.
    pub(crate) fn ack_deadline(&self) -> Option<Instant> {
        self.unacked.deadline()
    }

    /// When something can begin that cannot begin now.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.halted {
            return self.ack_deadline();
        }
        let free = self.lanes.iter().filter(|state| state.open && state.running.is_none());
        let due = free.filter_map(|LaneState { lane, .. }| {
            let failed = lane.next_failed().map(|(_, due)| due);
            let released = lane.can_release().then_some(now);
            let batch =
                (!lane.is_blocked()).then(|| lane.ready(&self.tracker, &self.settings.limits, now)).flatten();
            [failed, released, batch].into_iter().flatten().min()
        });
        due.chain(self.ack_deadline()).min()
    }

    /// A halted shard goes on: what failed gets its tries again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.halted = false;
        for batch in self.lanes.iter_mut().flat_map(|state| state.lane.failed()) {
            (batch.attempts, batch.failure) = (0, None);
            (batch.since, batch.due) = (now, now);
        }
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// What happened since this was asked last, in order.
    pub(crate) fn take_events(&mut self) -> Vec<DeliveryEvent> {
        std::mem::take(&mut self.events)
    }

    /// Everything up to here is done.
    pub(crate) fn position(&self) -> Position {
        self.tracker.position()
    }

    /// The first record that is not done.
    pub(crate) fn first_open(&self) -> Option<&Record> {
        self.tracker.first_open()
    }

    /// Whether every record went through user code; tokens may be out.
    pub(crate) fn is_handed_out(&self) -> bool {
        self.ended && self.lanes.iter().all(|state| state.running.is_none() && state.lane.is_idle())
    }

    /// Whether tokens are out.
    pub(crate) fn awaits_acks(&self) -> bool {
        !self.unacked.is_empty()
    }

    /// Whether records that failed wait to be tried again.
    pub(crate) fn has_failed(&self) -> bool {
        self.lanes.iter().any(|state| state.lane.has_failed())
    }

    /// Partition keys that wait while others go on.
    pub(crate) fn parked_keys(&self) -> usize {
        self.lanes.iter().map(|state| state.lane.parked_keys()).sum()
    }
}

/// The first failed batch whose time has come, together with others of as many failures that go into one call with it.
/// Of those that hold up the lane the first in the order of the shard comes first.
fn take_due(lane: &mut Lane, now: Instant, most: usize) -> Option<FailedBatch> {
    let (index, _) = lane.next_failed().filter(|(_, due)| *due <= now)?;
    let mut batch = lane.failed().swap_remove(index);
    if batch.stage != BatchStage::Deliver || batch.key.is_some() || batch.attempts == 0 {
        return Some(batch);
    }
    let (attempts, mut count) = (batch.attempts, batch.records.len());
    let merged = lane.failed().extract_if(.., |other| {
        let alike = other.stage == BatchStage::Deliver && other.key.is_none() && other.attempts == attempts;
        let merges = alike && count.saturating_add(other.records.len()) <= most;
        count += if merges { other.records.len() } else { 0 };
        merges
    });
    for other in merged {
        batch.records = batch.records.union(&other.records);
        batch.since = batch.since.min(other.since);
    }
    Some(batch)
}

#[cfg(test)]
mod tests;
