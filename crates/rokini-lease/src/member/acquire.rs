//! Taking leases: those that are free, those that name this worker, and the children of a shard that ended.

use std::sync::Arc;

use super::calls::{notify, tell, update_lease};
use super::hold_table::OwnRow;
use super::state::MemberState;
use crate::error::StoreError;
use crate::position::Position;
use crate::row::{LeaseRow, WorkerNotification};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId};
use crate::update::LeaseUpdate;
use crate::write::WriteOutcome;

/// Takes up the children of a finished shard that are ready: nobody else has seen them yet.
pub(super) async fn take_children(state: &Arc<MemberState>, children: &[LeaseRow]) {
    let limit = state.config.max_leases.map_or(usize::MAX, |limit| limit as usize);
    for child in children {
        if state.leaving.is_cancelled() || state.held_count() >= limit {
            break;
        }
        if let Err(error) = take_child(state, child).await {
            tracing::debug!(lease = %child.key, %error, "could not take up a child, leaving it to the plan");
        }
    }
    state.request_reconcile();
}

async fn take_child(state: &Arc<MemberState>, child: &LeaseRow) -> Result<(), StoreError> {
    let row = state.store.lease(&state.group, &child.key).await?;
    let Some(row) = row.filter(|row| !row.position.is_shard_end()) else { return Ok(()) };
    match &row.owner {
        None if state.reads(&row.key.stream) => acquire(state, &row).await,
        None => Ok(()),
        Some(owner) if *owner == state.me => take_up(state, row).await,
        // It may wait there for this end, where an operator set both back.
        Some(owner) => {
            notify(state, owner, WorkerNotification::Changed(row.key.clone())).await;
            Ok(())
        }
    }
}

/// Acquires a lease under the epoch seen, where its parents are done.
pub(super) async fn acquire(state: &Arc<MemberState>, row: &LeaseRow) -> Result<(), StoreError> {
    state.rise().await;
    if !state.is_valid() || !parents_are_done(state, row).await? {
        return Ok(());
    }
    let update = acquisition(state, row, state.me.clone());
    if let WriteOutcome::Applied { after, .. } = update_lease(state, &row.key, &update).await? {
        state.grant(after);
    }
    Ok(())
}

/// The write that gives a lease, whose owner is dead or nobody, to a worker.
pub(super) fn acquisition(state: &MemberState, row: &LeaseRow, by: WorkerId) -> LeaseUpdate {
    let view = state.view();
    let owner = view.workers.iter().find(|worker| Some(&worker.id) == row.owner.as_ref());
    let told = owner.and_then(|owner| owner.report.caught_up.get(&row.key.stream)).copied();
    // Of a shard that was never read there is nothing to be caught up with.
    let read = matches!(row.position, Position::Sequence(..));
    let caught_up_millis = told.filter(|told| read && Some(*told) > row.metadata.caught_up_millis);
    LeaseUpdate::Acquire { by, seen: row.epoch, at_least: state.epoch_floor(&row.key), caught_up_millis }
}

/// Gives a lease that nobody has to another worker. That one is told first, so that nothing is left in its name that it
/// never hears of; it reads the row more than once.
pub(super) async fn assign(
    state: &Arc<MemberState>,
    row: &LeaseRow,
    to: &WorkerId,
) -> Result<Assigned, StoreError> {
    if !state.is_valid() || !parents_are_done(state, row).await? {
        return Ok(Assigned::Waits);
    }
    if !tell(state, to, WorkerNotification::Assigned(row.key.clone())).await? {
        return Ok(Assigned::Refused);
    }
    let update = acquisition(state, row, to.clone());
    update_lease(state, &row.key, &update).await?;
    Ok(Assigned::Done)
}

/// What became of a lease that was to be given to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assigned {
    /// It is that worker's, or somebody else was faster.
    Done,
    /// Its parents are not done.
    Waits,
    /// That worker does not take part any more, or its mailbox is full.
    Refused,
}

/// Whether a shard may begin: the listing may show a child before its parents, so they are read. Past its first
/// record there is nothing to ask any more.
async fn parents_are_done(state: &MemberState, child: &LeaseRow) -> Result<bool, StoreError> {
    if matches!(child.position, Position::Sequence(..)) {
        return Ok(true);
    }
    for parent in &child.parents {
        let parent = LeaseKey::new(child.key.stream.clone(), parent.clone());
        let row = state.store.lease(&state.group, &parent).await?;
        if row.is_some_and(|row| !row.position.is_shard_end()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes up a lease whose row, read consistently, names this worker.
pub(super) async fn take_up(state: &Arc<MemberState>, row: LeaseRow) -> Result<(), StoreError> {
    match state.own_row(&row) {
        OwnRow::InOrder => Ok(()),
        // An operator set both back to their starts: it waits in this worker's name.
        OwnRow::TakeUp if !parents_are_done(state, &row).await? => Ok(()),
        OwnRow::TakeUp => {
            state.grant(row);
            Ok(())
        }
        OwnRow::AcquireAgain => acquire(state, &row).await,
    }
}
