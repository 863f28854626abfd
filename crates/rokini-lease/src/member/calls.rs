//! Calls of a member to its store: lost replies of lease updates are settled, and notifications are hints.

use super::state::MemberState;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{LeaseRow, WorkerNotification, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId};
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::write::WriteOutcome;

/// A write whose lost reply is settled by reading the row back.
pub(super) async fn update_lease(
    state: &MemberState,
    key: &LeaseKey,
    update: &LeaseUpdate,
) -> Result<WriteOutcome<LeaseRow>, StoreError> {
    match state.store.update_lease(&state.group, key, update).await {
        Err(error) if error.is_ambiguous() => match state.store.lease(&state.group, key).await? {
            Some(row) if update.took_effect(&row) => Ok(WriteOutcome::Applied { before: None, after: row }),
            _ => Err(error),
        },
        other => other,
    }
}

/// Leaves a notification in a worker's mailbox. It is only a hint, so a failure is no error: it is sent again later where
/// that may still help. Returns whether the store answered.
pub(super) async fn notify(state: &MemberState, worker: &WorkerId, notification: WorkerNotification) -> bool {
    let update = WorkerUpdate::Notify(notification.clone());
    match state.store.update_worker(&state.group, worker, &update).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(to = %worker, %error, "a notification was not delivered");
            if error.is_retryable() {
                state.outbox.keep(worker.clone(), notification);
                state.work.wake();
            }
            false
        }
    }
}

/// Sends what could not be sent when it was due: one after the other, so that a store that does not answer is asked once. Whether
/// nothing is left.
pub(super) async fn send_outbox(state: &MemberState) -> bool {
    let mut kept = state.outbox.take().into_iter();
    for (to, notification) in kept.by_ref() {
        // What fails again is kept again.
        if !notify(state, &to, notification).await {
            break;
        }
    }
    kept.for_each(|(to, notification)| state.outbox.keep(to, notification));
    state.outbox.is_empty()
}

/// Leaves a notification in a worker's mailbox. Whether it is there, and its worker takes part.
pub(super) async fn tell(
    state: &MemberState,
    worker: &WorkerId,
    notification: WorkerNotification,
) -> Result<bool, StoreError> {
    let update = WorkerUpdate::Notify(notification);
    let outcome = state.store.update_worker(&state.group, worker, &update).await?;
    Ok(outcome.applied().is_some_and(|row| row.state == WorkerState::Alive))
}

/// One row that cannot be read must not keep this worker from its other leases.
pub(super) fn pass_over_unreadable(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.kind() == StoreErrorKind::InvalidRow => {
            tracing::debug!(%error, "left alone");
            Ok(())
        }
        other => other,
    }
}
