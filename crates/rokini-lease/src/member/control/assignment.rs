//! Carries out this worker's part of the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::super::acquire::acquire;
use super::super::calls::{notify, pass_over_unreadable, update_lease};
use super::super::state::MemberState;
use super::Control;
use super::fencing::is_dead;
use crate::error::{StoreError, StoreErrorKind};
use crate::plan::{Move, active, plan_or_refuse};
use crate::row::{GroupView, LeaseRow, Notification, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId};
use crate::update::LeaseUpdate;

/// Store calls one worker makes at once for its part of a plan.
const CALLS_AT_ONCE: usize = 16;

impl Control {
    /// Compares the listing with what this worker believes, then carries out its part of the plan.
    pub(super) async fn reconcile_and_assign(&mut self, view: &GroupView) -> Result<(), StoreError> {
        self.reconcile(view).await?;
        let (moves, refused) = plan_or_refuse(view, self.state.config.policy.agreed(&view.workers));
        if let Some(why) = refused.as_deref()
            && refused != self.refused
        {
            let group = &self.state.group;
            tracing::warn!(%group, "the plan was refused, so nothing moves that somebody has: {why}");
        }
        self.refused = refused;
        self.watch_unassigned(&moves).await;
        let state = &self.state;
        let mut steps = steps(state, view, &moves);
        steps.extend(self.free_leases.look(view, &moves, &state.me).into_iter().map(Step::Acquire));
        let dead = dead_owners(state, &steps).await?;
        let steps = steps.into_iter().filter(|step| match step {
            Step::Acquire(LeaseRow { owner: Some(owner), .. }) => dead.get(owner) == Some(&true),
            _ => true,
        });
        let results: Vec<Result<(), StoreError>> = stream::iter(steps.collect::<Vec<_>>())
            .map(|step| async move { step.carry_out(state).await })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().try_for_each(pass_over_unreadable)?;
        self.retire_fenced(view).await
    }

    /// A free lease that falls to another worker: that one may have listed a moment earlier, seen other workers,
    /// and left the lease to this one. So this one looks again soon, and if the lease is still free, it says so.
    async fn watch_unassigned(&mut self, moves: &[Move]) {
        let free: BTreeMap<LeaseKey, WorkerId> = moves
            .iter()
            .filter(|to_do| to_do.from.is_none() && to_do.to != self.state.me)
            .map(|to_do| (to_do.key.clone(), to_do.to.clone()))
            .collect();
        let new = free.iter().any(|(key, to)| self.free_before.get(key) != Some(to));
        if new {
            (self.next_full, self.urgent) = (self.earliest_full, true);
        } else if !free.is_empty() {
            self.next_full = Instant::now() + self.state.config.heartbeat;
        }
        for (key, to) in free.iter().filter(|(key, to)| self.free_before.get(*key) == Some(to)) {
            notify(&self.state, to, Notification::Changed(key.clone())).await;
        }
        self.free_before = free;
    }
}

/// What this worker does for the plan.
fn steps(state: &MemberState, view: &GroupView, moves: &[Move]) -> Vec<Step> {
    let rows: BTreeMap<&LeaseKey, &LeaseRow> = view.leases.iter().map(|row| (&row.key, row)).collect();
    let workers: BTreeMap<&WorkerId, &WorkerRow> = view.workers.iter().map(|row| (&row.id, row)).collect();
    let mut steps: Vec<Step> = Vec::new();
    for to_do in moves {
        let Some(row) = rows.get(&to_do.key) else { continue };
        match &to_do.from {
            None if to_do.to == state.me => steps.push(Step::Acquire((*row).clone())),
            Some(from) if to_do.to == state.me => steps.push(Step::Claim((*row).clone(), from.clone())),
            Some(from) if *from == state.me && row.owner.as_ref() != Some(from) => {
                steps.push(Step::Unclaim((*row).clone()));
            }
            _ => {}
        }
    }
    // What this worker has claimed and nobody can hand over any more.
    let mine_to_take = active(view).filter(|row| {
        let owner_alive = row.owner.as_ref().and_then(|id| workers.get(id));
        row.claim.as_ref() == Some(&state.me)
            && owner_alive.is_none_or(|row| row.state == WorkerState::Fenced)
    });
    steps.extend(mine_to_take.map(|row| Step::Acquire(row.clone())));
    steps
}

/// Whether the owners of the leases to be acquired are dead, by consistent reads.
async fn dead_owners(state: &MemberState, steps: &[Step]) -> Result<BTreeMap<WorkerId, bool>, StoreError> {
    let mut owners = BTreeMap::new();
    for step in steps {
        let Step::Acquire(LeaseRow { owner: Some(owner), .. }) = step else { continue };
        if owners.contains_key(owner) {
            continue;
        }
        let dead = match state.store.worker(&state.group, owner).await {
            Ok(row) => is_dead(row.as_ref()),
            // Nobody can tell.
            Err(error) if error.kind() == StoreErrorKind::InvalidRow => false,
            Err(error) => return Err(error),
        };
        owners.insert(owner.clone(), dead);
    }
    Ok(owners)
}

/// One thing this worker does for the plan.
enum Step {
    Acquire(LeaseRow),
    Claim(LeaseRow, WorkerId),
    Unclaim(LeaseRow),
}

impl Step {
    async fn carry_out(self, state: &Arc<MemberState>) -> Result<(), StoreError> {
        let by = state.me.clone();
        match self {
            Self::Acquire(row) => acquire(state, &row).await,
            Self::Claim(row, owner) => {
                let update = LeaseUpdate::Claim { by, seen: row.epoch, over: row.claim };
                if update_lease(state, &row.key, &update).await?.is_applied() {
                    notify(state, &owner, Notification::Claimed(row.key)).await;
                }
                Ok(())
            }
            Self::Unclaim(row) => update_lease(state, &row.key, &LeaseUpdate::Unclaim { by }).await.map(drop),
        }
    }
}
