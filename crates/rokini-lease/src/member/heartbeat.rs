//! The heartbeat: the one write a quiet worker makes, and what keeps its leases valid.

use std::sync::Arc;
use std::time::Duration;

use rokini_types::Backoff;
use tokio::time::{Instant, sleep_until, timeout};

use super::MemberEvent;
use super::shared::Shared;
use crate::error::LostCause;
use crate::row::{WorkerLoad, WorkerState};
use crate::store::LeaseStoreExt;
use crate::update::MAILBOX_LIMIT;
use crate::update::WorkerUpdate;
use crate::write::WriteOutcome;

const FIRST_RETRY: Duration = Duration::from_millis(50);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut seen = 0;
    let (backoff, mut failures) = (Backoff::new(FIRST_RETRY, shared.config.heartbeat), 0_u32);
    let mut next = Instant::now() + shared.config.heartbeat;
    let (mut outage, mut leaving) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            // At once, so that nobody gives this worker another lease.
            () = shared.leaving.cancelled(), if !leaving => leaving = true,
            () = shared.beat_asked() => {}
            () = sleep_until(next) => {}
        }
        let begun = Instant::now();
        match beat(&shared, &mut seen).await {
            Ok(true) => {
                // Counted from before the call, so the time a slow store took is not given away.
                shared.extend_validity(begun + shared.config.validity());
                shared.beats.stored(begun);
                if std::mem::take(&mut outage) {
                    shared.outage_ended();
                }
                failures = 0;
                next = begun + shared.config.heartbeat;
            }
            Ok(false) => {
                shared.stop(LostCause::Fenced);
                shared.tell(MemberEvent::Fenced);
                return;
            }
            Err(error) => {
                shared.beats.failed();
                tracing::debug!(worker = %shared.me, %error, "a heartbeat failed");
                if !outage && !shared.is_valid() {
                    outage = true;
                    shared.tell(MemberEvent::OutageBegan { error });
                }
                failures = failures.saturating_add(1);
                next = Instant::now() + backoff.delay(failures);
            }
        }
    }
}

/// One heartbeat. `false` once this incarnation is dead.
async fn beat(shared: &Shared, seen: &mut u64) -> Result<bool, String> {
    // A call that hangs must leave time for another one within the validity.
    let limit = shared.config.validity() / 3;
    loop {
        let leaving = shared.leaving.is_cancelled();
        let update = WorkerUpdate::Heartbeat {
            seen: *seen,
            load: WorkerLoad { leases: shared.held_count() as u32 },
            state: if leaving { WorkerState::Leaving } else { WorkerState::Alive },
            streams: shared.streams(),
        };
        let call = shared.store.update_worker(&shared.group, &shared.me, &update);
        match timeout(limit, call).await {
            Ok(Ok(WriteOutcome::Applied { before, after })) => {
                *seen = after.heartbeat;
                match before {
                    Some(before) => {
                        if before.mailbox.len() >= MAILBOX_LIMIT {
                            // There were more notes than it takes, and those were refused.
                            shared.notes_were_lost();
                        }
                        shared.notes_arrived(before.mailbox);
                    }
                    // The reply that had the notes was lost.
                    None => shared.notes_were_lost(),
                }
                return Ok(true);
            }
            // Only this worker moves its heartbeat: an earlier one took effect although its reply was lost.
            Ok(Ok(WriteOutcome::Refused { current: Some(row) }))
                if row.state != WorkerState::Fenced && row.heartbeat > *seen =>
            {
                *seen = row.heartbeat;
                shared.notes_were_lost();
            }
            Ok(Ok(WriteOutcome::Refused { .. })) => return Ok(false),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer from the lease store within {limit:?}")),
        }
    }
}
