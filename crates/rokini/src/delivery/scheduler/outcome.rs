//! What a call, an ack or the dead-letter sink makes of records.

use std::time::Duration;

use rand::Rng;
use rokini_lease::{Position, SequenceNumber};
use rokini_types::Backoff;
use tokio::time::Instant;

use super::{RunningBatch, Scheduler};
use crate::delivery::acks::{Ack, AckOutcome};
use crate::delivery::event::DeliveryEvent;
use crate::delivery::failed_batch::{BatchStage, FailedBatch};
use crate::delivery::failure_policy::FailureAction;
use crate::delivery::order_key::OrderKey;
use crate::delivery::ranges::RecordRanges;
use crate::delivery::unacked::CallOrigin;
use crate::types::backoff::DELIVERY;
use crate::types::failure::HandlerFailure;

/// Between two calls of a search for the failing record: half a second would add seconds to it, none would hammer on
/// what is down.
const BISECT_PAUSE: Duration = Duration::from_millis(100);

impl Scheduler {
    /// A call returned: `Ok(true)` where its tokens were taken. `done`: how many of its records user code is through with,
    /// where it sees them one by one. Acks that came before it are to be handed in before it.
    pub(crate) fn returned(
        &mut self,
        lane: usize,
        result: Result<bool, HandlerFailure>,
        done: Option<usize>,
        now: Instant,
        requested: impl Fn() -> Position,
    ) {
        let Some(RunningBatch { call, mut batch, early, .. }) = self.lanes[lane].running.take() else {
            return;
        };
        self.running -= 1;
        let mut delivered = batch.next_call();
        if let Some(done) = done {
            // Those after one that failed have not been tried.
            let tried = done + usize::from(result.is_err());
            if tried < delivered.len() {
                let (first, rest) = delivered.split_at(tried);
                self.put_back(lane, &batch, &rest);
                (delivered, batch.records) = (first.clone(), first);
            }
            if result.is_err() {
                self.complete(&delivered.split_at(done).0);
            }
        }
        match result {
            Ok(false) => {
                self.complete(&delivered);
                self.go_on(lane, batch, &delivered, now);
            }
            Ok(true) => {
                self.await_acks(lane, call, &batch, &delivered, now);
                if batch.stage == BatchStage::Bisect {
                    // Whether the half was good is not known yet, so the other half is not suspected.
                    let rest = batch.records.split_at(delivered.len()).1;
                    self.put_back(lane, &batch, &rest);
                    batch.stage = BatchStage::Deliver;
                }
                self.go_on(lane, batch, &delivered, now);
                for (records, failure) in early {
                    self.fail(call, &records, failure, now);
                }
            }
            Err(failure) => {
                self.tracker.mark_done_through(requested());
                let failing = delivered.only(|number| !self.tracker.is_done(number));
                if failing.is_empty() {
                    return self.go_on(lane, batch, &delivered, now);
                }
                if batch.stage == BatchStage::Bisect {
                    let rest = batch.records.split_at(delivered.len()).1;
                    self.put_back(lane, &batch, &rest);
                    batch.narrow(failing, now);
                } else {
                    batch.records = failing;
                }
                self.after_failure(lane, batch, failure, now);
            }
        }
    }

    /// The records come first again among those that wait, or, of a parked key, among those of the key.
    fn put_back(&mut self, lane: usize, batch: &FailedBatch, records: &RecordRanges) {
        let lane = &mut self.lanes[lane].lane;
        match &batch.key {
            Some(key) => lane.put_back_parked(key, records),
            None => lane.put_back(records, &self.tracker, &self.settings.limits),
        }
    }

    /// Notes a failure of these records, and does what the policy says.
    fn after_failure(&mut self, lane: usize, mut batch: FailedBatch, failure: HandlerFailure, now: Instant) {
        let first = self.first(&batch.records);
        batch.add_failure(failure.clone(), now);
        let failures = batch.attempts;
        let age = now.duration_since(batch.since);
        let action = match batch.stage {
            BatchStage::Bisect => FailureAction::Bisect,
            _ => self.settings.policy.after_failure(batch.records.len(), failures, age),
        };
        let retry_in = match action {
            FailureAction::Retry | FailureAction::Park => Some(self.delay(failures)),
            FailureAction::Bisect => Some(BISECT_PAUSE),
            FailureAction::Halt | FailureAction::Skip | FailureAction::DeadLetter => None,
        };
        batch.due = now + retry_in.unwrap_or_default();
        let (failed, first_failed) = (failure.clone(), Some(first));
        self.events.push(DeliveryEvent::Failed { failure: failed, first: first_failed, failures, retry_in });
        match action {
            FailureAction::Retry => {}
            FailureAction::Bisect => {
                if batch.stage != BatchStage::Bisect {
                    self.events.push(DeliveryEvent::Bisecting { first, records: batch.records.len() });
                }
                batch.stage = BatchStage::Bisect;
            }
            FailureAction::Park => return self.park(lane, batch, first),
            FailureAction::Halt => {
                if !std::mem::replace(&mut self.halted, true) {
                    self.events.push(DeliveryEvent::Halted { first, failure, failures });
                }
            }
            FailureAction::Skip => {
                let records = self.sequences(&batch.records);
                self.events.push(DeliveryEvent::Skipped { records, failure, failures });
                let skipped = std::mem::take(&mut batch.records);
                self.complete(&skipped);
                return self.go_on(lane, batch, &skipped, now);
            }
            FailureAction::DeadLetter => batch.stage = BatchStage::DeadLetter,
        }
        self.lanes[lane].lane.add_failed(batch, &self.tracker);
    }

    fn delay(&mut self, failures: u32) -> Duration {
        DELIVERY.jittered(failures, self.rng.random_range(Backoff::JITTER))
    }

    fn park(&mut self, lane: usize, mut batch: FailedBatch, first: SequenceNumber) {
        // The record may be done meanwhile, and gone.
        let record = batch.records.start().and_then(|number| self.tracker.record(number));
        let key = batch.key.take().or_else(|| record.map(OrderKey::of));
        let lane = &mut self.lanes[lane].lane;
        if let Some(key) = &key
            && lane.park(key, &self.tracker, &self.settings.limits)
        {
            self.events.push(DeliveryEvent::Parked { first, key: key.to_string() });
        }
        batch.key = key;
        lane.add_failed(batch, &self.tracker);
    }

    /// These records of a batch are dealt with: on with the others of it, if there are any.
    pub(super) fn go_on(
        &mut self,
        lane: usize,
        mut batch: FailedBatch,
        dealt_with: &RecordRanges,
        now: Instant,
    ) {
        if batch.stage == BatchStage::Bisect {
            // The first half is good, so the failing record is in the other one.
            let rest = batch.records.split_at(dealt_with.len()).1;
            if !rest.is_empty() {
                batch.narrow(rest, now);
                return self.lanes[lane].lane.add_failed(batch, &self.tracker);
            }
        }
        let Some(key) = batch.key.take() else { return };
        if self.lanes[lane].lane.unpark(&key) {
            self.events.push(DeliveryEvent::Unparked { key: key.to_string() });
        }
    }

    /// The dead-letter sink has confirmed the records of a lane, or failed.
    pub(crate) fn dead_lettered(&mut self, lane: usize, result: Result<(), String>, now: Instant) {
        let Some(RunningBatch { mut batch, .. }) = self.lanes[lane].running.take() else { return };
        self.running -= 1;
        let given_up = batch.next_call();
        let state = &mut self.lanes[lane];
        match result {
            Ok(()) => {
                state.sink_failures = 0;
                let (records, failures) = (self.sequences(&given_up), batch.attempts);
                self.events.push(DeliveryEvent::DeadLettered { records, failures });
                self.complete(&given_up);
                self.go_on(lane, batch, &given_up, now);
            }
            Err(error) => {
                state.sink_failures = state.sink_failures.saturating_add(1);
                let failures = state.sink_failures;
                let retry_in = self.delay(failures);
                batch.due = now + retry_in;
                let first = self.first(&given_up);
                self.events.push(DeliveryEvent::DeadLetterFailed { first, error, failures, retry_in });
                if self.settings.policy.park {
                    return self.park(lane, batch, first);
                }
                self.lanes[lane].lane.add_failed(batch, &self.tracker);
            }
        }
    }

    fn await_acks(
        &mut self,
        lane: usize,
        call: u64,
        batch: &FailedBatch,
        delivered: &RecordRanges,
        now: Instant,
    ) {
        let records = delivered.only(|number| !self.tracker.is_done(number));
        if records.is_empty() {
            return;
        }
        let origin = CallOrigin {
            lane,
            attempts: batch.attempts,
            since: (batch.attempts > 0 || batch.failure.is_some()).then_some(batch.since),
            bisecting: batch.stage == BatchStage::Bisect,
        };
        let deadline = self.settings.ack_timeout.map(|limit| now + limit);
        self.unacked.insert(call, records, origin, deadline);
    }

    /// A token was used.
    pub(crate) fn acked(&mut self, ack: Ack, now: Instant) {
        let Ack { call, records, outcome } = ack;
        let failure = match outcome {
            AckOutcome::Done => {
                self.unacked.done(&records);
                return self.complete(&records);
            }
            AckOutcome::Failed(failure) => Some(failure),
            AckOutcome::Dropped => {
                Some(HandlerFailure::Error("an ack token was dropped without an ack".to_owned()))
            }
            AckOutcome::GivenBack(_) => None,
        };
        let mut running = self.lanes.iter_mut().filter_map(|state| state.running.as_mut());
        match running.find(|running| running.call == call) {
            Some(running) => running.early.push((records, failure)),
            None => self.fail(call, &records, failure, now),
        }
    }

    /// Records of a call that were not acked come again; those that have come again meanwhile do not. Without a
    /// failure they were given back.
    fn fail(&mut self, call: u64, records: &RecordRanges, failure: Option<HandlerFailure>, now: Instant) {
        let Some((origin, failed)) = self.unacked.take_failed(call, records) else { return };
        let mut batch = FailedBatch::new(failed, now);
        batch.attempts = origin.attempts;
        if let Some(since) = origin.since {
            batch.since = since;
            batch.failure.clone_from(&failure);
        }
        if origin.bisecting {
            batch.stage = BatchStage::Bisect;
            let failed = std::mem::take(&mut batch.records);
            batch.narrow(failed, now);
        }
        match failure {
            Some(failure) => self.after_failure(origin.lane, batch, failure, now),
            None => {
                batch.due = now + BISECT_PAUSE;
                batch.given_back = Some(call);
                self.lanes[origin.lane].lane.add_given_back(batch, &self.tracker);
            }
        }
    }

    /// Tokens that were kept for too long count as failed.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((call, records)) = self.unacked.expired(now) {
            let limit = self.settings.ack_timeout.unwrap_or_default();
            self.fail(call, &records, Some(HandlerFailure::Timeout(limit)), now);
            self.unacked.forget(call);
        }
    }
}
