//! The heartbeat: the one write a quiet worker makes, and what keeps its leases valid.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rokini_types::Backoff;
use tokio::time::{Instant, sleep_until, timeout};

use super::state::{MemberState, StateEvent};
use crate::clock::WallClock;
use crate::duty::stable_hash;
use crate::error::LostCause;
use crate::row::{WorkerLoad, WorkerState};
use crate::store::LeaseStoreExt;
use crate::update::{MAILBOX_LIMIT, WorkerUpdate};
use crate::write::WriteOutcome;

const FIRST_RETRY: Duration = Duration::from_millis(50);

/// Gives each call that writes a heartbeat a value of its own. The time is in it, so that two processes that go on from one
/// image of a machine do not agree on their values for long.
pub(super) struct CallValues {
    clock: WallClock,
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

pub(super) async fn run(state: Arc<MemberState>, mut calls: CallValues) {
    let mut seen = 0;
    let (backoff, mut failures) = (Backoff::new(FIRST_RETRY, state.config.heartbeat), 0_u32);
    let mut next = Instant::now() + state.config.heartbeat;
    let (mut outage, mut leaving) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            // At once, so that nobody gives this worker another lease.
            () = state.leaving.cancelled(), if !leaving => leaving = true,
            () = state.heartbeat_requested() => {}
            () = sleep_until(next) => {}
        }
        let begun = Instant::now();
        match send(&state, &mut seen, &mut calls).await {
            Ok(true) => {
                // Counted from before the call, so the time a slow store took is not given away.
                state.extend_validity(begun + state.config.validity());
                state.heartbeats.stored(begun);
                if std::mem::take(&mut outage) {
                    state.outage_ended();
                }
                failures = 0;
                next = begun + state.config.heartbeat;
            }
            Ok(false) => {
                state.stop(LostCause::Fenced);
                state.emit(StateEvent::Fenced);
                return;
            }
            Err(error) => {
                state.heartbeats.failed();
                tracing::debug!(worker = %state.me, %error, "a heartbeat failed");
                if !outage && !state.is_valid() {
                    outage = true;
                    state.emit(StateEvent::OutageBegan { error });
                }
                failures = failures.saturating_add(1);
                next = Instant::now() + backoff.delay(failures);
            }
        }
    }
}

/// Sends one heartbeat. `false` once this incarnation is dead.
async fn send(state: &MemberState, seen: &mut u64, calls: &mut CallValues) -> Result<bool, String> {
    // A call that hangs must leave time for another one within the validity.
    let limit = state.config.validity() / 3;
    loop {
        let leaving = state.leaving.is_cancelled();
        let update = WorkerUpdate::Heartbeat {
            seen: *seen,
            call: calls.next(),
            load: WorkerLoad { leases: state.held_count() as u32 },
            state: if leaving { WorkerState::Leaving } else { WorkerState::Alive },
            streams: state.streams(),
            report: state.report(),
        };
        let call = state.store.update_worker(&state.group, &state.me, &update);
        match timeout(limit, call).await {
            Ok(Ok(WriteOutcome::Applied { before, after })) => {
                *seen = after.heartbeat;
                match before {
                    Some(before) => {
                        if before.mailbox.len() >= MAILBOX_LIMIT {
                            // It was full, so more notifications may have been refused.
                            state.notifications_lost();
                        }
                        state.notifications_arrived(before.mailbox);
                    }
                    // The reply that had the notifications was lost.
                    None => state.notifications_lost(),
                }
                return Ok(true);
            }
            // Only this worker moves its heartbeat: an earlier one took effect although its reply was lost.
            Ok(Ok(WriteOutcome::Refused { current: Some(row) }))
                if row.state != WorkerState::Fenced && row.heartbeat > *seen =>
            {
                *seen = row.heartbeat;
                state.notifications_lost();
            }
            Ok(Ok(WriteOutcome::Refused { .. })) => return Ok(false),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer from the lease store within {limit:?}")),
        }
    }
}
