//! The heartbeat: the one write a quiet worker makes, and what keeps its leases valid.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rokini_types::Backoff;
use tokio::time::{Instant, sleep_until, timeout};

use super::state::{MemberState, StateEvent};
use crate::clock::{ClockReading, WallClock};
use crate::duty::stable_hash;
use crate::error::LeaseLostReason;
use crate::row::{WorkerLoad, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::supervise::supervise;
use crate::update::{MAILBOX_LIMIT, WorkerUpdate};
use crate::write::WriteOutcome;

const FIRST_RETRY: Duration = Duration::from_millis(50);
/// Short, so that after an outage a worker is heard again before the others may take its silence for its death.
const LONGEST_RETRY: Duration = Duration::from_millis(500);
/// Between two looks at the clocks, which may have jumped.
const CLOCK_LOOK: Duration = Duration::from_millis(500);
/// So many calls without an answer are remembered, hours of an outage: which of them took effect is asked for afterwards.
const UNANSWERED: usize = 1_000;
/// How often a row that another process beats on is tried to be fenced: each of its heartbeats takes one try away.
const FENCE_TRIES: usize = 3;

/// Gives each call that writes a heartbeat a value of its own. The time is in it, so that two processes that go on from one
/// image of a machine do not agree on their values for long.
pub(super) struct CallValues {
    pub(super) clock: WallClock,
    rng: StdRng,
}

impl CallValues {
    pub(super) fn new(clock: WallClock, rng: StdRng) -> Self {
        Self { clock, rng }
    }

    /// 40 bits: every look at the workers reads it.
    pub(super) fn next(&mut self) -> u64 {
        let (time, random) = (self.clock.millis().to_le_bytes(), self.rng.random::<u64>().to_le_bytes());
        stable_hash(&[&time, &random]) >> 24
    }
}

/// What came of a heartbeat.
enum Sent {
    Stored,
    /// This incarnation was declared dead, or its row is gone.
    Dead,
    /// A heartbeat is stored that no call of this process wrote.
    Foreign(Box<WorkerRow>),
}

/// What this incarnation knows of its own row.
struct OwnRow {
    /// The counter of the last heartbeat known to be stored.
    seen: u64,
    calls: CallValues,
    /// The calls since that got no answer, and when each began: at most one of them took effect.
    unanswered: VecDeque<(u64, ClockReading)>,
}

/// What is known of the own row outlives a panic: which calls may have been stored decides about life and death.
pub(super) async fn supervised(state: Arc<MemberState>, calls: CallValues) {
    let row = OwnRow { seen: 0, calls, unanswered: VecDeque::new() };
    let kept = (Arc::clone(&state), row);
    supervise(
        kept,
        |(state, row)| Box::pin(run(state, row)),
        |error| state.task_panicked("heartbeat", error),
    )
    .await;
}

async fn run(state: &MemberState, row: &mut OwnRow) {
    let longest = LONGEST_RETRY.min(state.config.heartbeat);
    let (backoff, mut failures) = (Backoff::new(FIRST_RETRY, longest), 0_u32);
    let mut next =
        Instant::now() + if row.seen == 0 { state.pace().first_heartbeat() } else { Duration::ZERO };
    let (mut outage, mut leaving) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            // At once, so that nobody gives this worker another lease.
            () = state.leaving.cancelled(), if !leaving => leaving = true,
            () = state.heartbeat_requested() => {}
            () = sleep_until(next.min(Instant::now() + CLOCK_LOOK)) => {
                state.look_at_the_clocks();
                let waits = failures > 0 || state.is_valid() || state.fleet.is_in_reserve();
                if waits && Instant::now() < next {
                    continue;
                }
            }
        }
        state.look_at_the_clocks();
        let begun = Instant::now();
        match row.send(state).await {
            Ok(Sent::Stored) => {
                if std::mem::take(&mut outage) {
                    state.outage_ended();
                }
                failures = 0;
                next = begun + state.heartbeat_interval();
            }
            Ok(Sent::Dead) => {
                state.stop(LeaseLostReason::Fenced);
                state.emit(StateEvent::Fenced);
                return;
            }
            Ok(Sent::Foreign(found)) => {
                tracing::error!(
                    worker = %state.me,
                    "another process sends heartbeats under this incarnation, such as a copy of this machine: both stop"
                );
                // Before anything else: what is stopped for good cannot do harm.
                state.stop(LeaseLostReason::SharedIncarnation);
                stop_the_other(state, *found).await;
                state.emit(StateEvent::SharedIncarnation);
                return;
            }
            Err(error) => {
                state.heartbeats.failed(&error);
                tracing::debug!(worker = %state.me, %error, "a heartbeat failed");
                if !outage && !state.is_heard() {
                    outage = true;
                    state.outage_began(error);
                }
                failures = failures.saturating_add(1);
                next = Instant::now() + backoff.delay(failures);
            }
        }
    }
}

impl OwnRow {
    async fn send(&mut self, state: &MemberState) -> Result<Sent, String> {
        // A call that hangs must leave time for another one within the validity.
        let validity = state.config.validity();
        let limit = (validity.saturating_sub(state.config.heartbeat) / 2).min(validity / 3);
        loop {
            let begun = state.clock.read();
            let update = self.next_update(state, begun);
            let call = state.store.update_worker(&state.group, &state.me, &update);
            match timeout(limit, call).await {
                Ok(Ok(WriteOutcome::Applied { before, after })) => {
                    self.stored(state, after.heartbeat, begun);
                    match before {
                        Some(before) => {
                            if before.mailbox.len() >= MAILBOX_LIMIT {
                                // It was full, so more notifications may have been refused.
                                state.work.notifications_lost();
                            }
                            state.work.notifications_arrived(before.mailbox);
                        }
                        // The reply that had the notifications was lost.
                        None => state.work.notifications_lost(),
                    }
                    return Ok(Sent::Stored);
                }
                Ok(Ok(WriteOutcome::Refused { current: Some(row) }))
                    if row.state != WorkerState::Fenced && row.heartbeat > self.seen =>
                {
                    // An earlier call took effect although its reply was lost: it counts from its own beginning.
                    let Some(begun) = self.written_by(&row) else { return Ok(Sent::Foreign(Box::new(row))) };
                    self.stored(state, row.heartbeat, begun);
                    state.work.notifications_lost();
                }
                Ok(Ok(WriteOutcome::Refused { .. })) => return Ok(Sent::Dead),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("no answer from the lease store within {limit:?}")),
            }
        }
    }

    fn next_update(&mut self, state: &MemberState, begun: ClockReading) -> WorkerUpdate {
        let (call, leaving) = (self.calls.next(), state.leaving.is_cancelled());
        if self.unanswered.len() == UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((call, begun));
        WorkerUpdate::Heartbeat {
            seen: self.seen,
            call,
            load: WorkerLoad { leases: state.held_count() as u32 },
            state: if leaving { WorkerState::Leaving } else { WorkerState::Alive },
            streams: state.streams(),
            report: state.report(),
        }
    }

    /// When the call began that left the row like this; `None` where none of this process did.
    fn written_by(&self, row: &WorkerRow) -> Option<ClockReading> {
        let mut calls = self.unanswered.iter();
        calls.find(|(call, _)| row.heartbeat == self.seen + 1 && *call == row.call).map(|(_, begun)| *begun)
    }

    fn stored(&mut self, state: &MemberState, heartbeat: u64, begun: ClockReading) {
        self.seen = heartbeat;
        self.unanswered.clear();
        state.extend_validity(begun);
        state.heartbeats.stored(begun.running, state.pace().on_time());
    }
}

/// Fences the row that two processes beat on. One that lives on without the other does no harm, so this is tried a few
/// times only.
async fn stop_the_other(state: &MemberState, mut row: WorkerRow) {
    let limit = state.config.validity() / 3;
    for _ in 0..FENCE_TRIES {
        let fence = WorkerUpdate::Fence { seen: row.heartbeat };
        match timeout(limit, state.store.update_worker(&state.group, &state.me, &fence)).await {
            Ok(Ok(WriteOutcome::Refused { current: Some(current) }))
                if current.state != WorkerState::Fenced =>
            {
                row = current;
            }
            Ok(Ok(_)) => return,
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
