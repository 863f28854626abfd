//! Carries out this worker's part of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::super::acquire::{Assigned, acquire, assign};
use super::super::calls::{notify, pass_over_unreadable, update_lease};
use super::super::state::MemberState;
use super::super::watching::is_dead;
use super::{Control, SOON};
use crate::error::{StoreError, StoreErrorKind};
use crate::plan::{Move, active, plan_or_refuse};
use crate::row::{GroupView, LeaseRow, WorkerNotification, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId};
use crate::update::LeaseUpdate;
use crate::watch::ListingCauses;

/// Store calls one worker makes at once for its part of a plan.
const CALLS_AT_ONCE: usize = 16;

impl Control {
    /// Carries out this worker's part of the plan, and what `causes` says of the others' parts.
    pub(super) async fn assign(&mut self, view: &GroupView, causes: ListingCauses) -> Result<(), StoreError> {
        let (moves, refused) = plan_or_refuse(view, self.state.config.policy.agreed(&view.workers));
        let moves = with_claims_on_the_dead(view, moves);
        if let Some(why) = refused.as_deref()
            && refused != self.refused
        {
            let group = &self.state.group;
            tracing::warn!(%group, "the plan was refused, so nothing moves that somebody has: {why}");
        }
        self.refused = refused;
        let state = &self.state;
        let mut steps = steps(state, view, &moves, causes);
        // A plan is advice, a free lease is a fact: what stays free is for the next in line.
        let overdue = self.free_leases.look(view, &moves, &state.me);
        let is_overdue = |row: &LeaseRow| overdue.iter().any(|other| other.key == row.key);
        steps.retain(|step| !matches!(step, Step::Assign(row, _) if is_overdue(row)));
        steps.extend(overdue.iter().cloned().map(Step::Acquire));
        let dead = dead_owners(state, &steps).await?;
        let steps = steps.into_iter().filter(|step| match step {
            Step::Acquire(LeaseRow { owner: Some(owner), .. })
            | Step::Assign(LeaseRow { owner: Some(owner), .. }, _) => dead.get(owner) == Some(&true),
            _ => true,
        });
        let results: Vec<Result<(), StoreError>> = stream::iter(steps.collect::<Vec<_>>())
            .map(|step| async move { step.carry_out(state).await })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        self.watch_unassigned(&moves);
        results.into_iter().try_for_each(pass_over_unreadable)
    }

    /// Leases that nobody has and that fall to another worker: this one looks again soon, whether somebody has them by
    /// then.
    fn watch_unassigned(&mut self, moves: &[Move]) {
        let free: BTreeMap<LeaseKey, WorkerId> = moves
            .iter()
            .filter(|to_do| to_do.from.is_none() && to_do.to != self.state.me)
            .map(|to_do| (to_do.key.clone(), to_do.to.clone()))
            .collect();
        if !free.is_empty() {
            let known = free == self.free_before;
            let soon = Instant::now() + if known { self.state.pace().look() } else { SOON };
            self.schedule.ask(soon, ListingCauses::UNASSIGNED);
        }
        self.free_before = free;
    }
}

/// What this worker does for the plan.
fn steps(state: &MemberState, view: &GroupView, moves: &[Move], causes: ListingCauses) -> Vec<Step> {
    let rows: BTreeMap<&LeaseKey, &LeaseRow> = view.leases.iter().map(|row| (&row.key, row)).collect();
    let mut steps: Vec<Step> = Vec::new();
    for to_do in moves {
        let Some(row) = rows.get(&to_do.key) else { continue };
        let (row, to) = ((*row).clone(), to_do.to.clone());
        match &to_do.from {
            None if to == state.me => steps.push(Step::Acquire(row)),
            None if causes.place_unassigned => steps.push(Step::Assign(row, to)),
            None => {}
            Some(from) if *from == state.me && row.owner.as_ref() != Some(from) => {
                steps.push(Step::Unclaim(row));
            }
            Some(from) if to == state.me => steps.push(Step::Claim { row, from: from.clone(), to }),
            // What is on its way to somebody goes there first.
            Some(from)
                if row.claim.is_none()
                    && (*from == state.me && causes.place_unassigned || causes.balance_others) =>
            {
                steps.push(Step::Claim { row, from: from.clone(), to });
            }
            _ => {}
        }
    }
    steps
}

/// What somebody has claimed whose owner is dead goes to the claimer like a lease that nobody has: no hand-over brings it any
/// more, and the claimer may look at the leases rarely.
fn with_claims_on_the_dead(view: &GroupView, moves: Vec<Move>) -> Vec<Move> {
    let workers: BTreeMap<&WorkerId, &WorkerRow> = view.workers.iter().map(|row| (&row.id, row)).collect();
    let unreadable: BTreeSet<&WorkerId> = view.unreadable_workers().collect();
    let is_dead = |id: &WorkerId| !unreadable.contains(id) && is_dead(workers.get(id).copied());
    let mut moves: BTreeMap<LeaseKey, Move> =
        moves.into_iter().map(|to_do| (to_do.key.clone(), to_do)).collect();
    for row in active(view).filter(|row| row.owner.as_ref().is_none_or(is_dead)) {
        let alive = |id: &&WorkerId| workers.get(id).is_some_and(|row| row.state == WorkerState::Alive);
        let Some(claimer) = row.claim.as_ref().filter(alive) else { continue };
        // Where the plan takes it for free, it has found that the claimer cannot read it.
        if moves.get(&row.key).is_none_or(|to_do| to_do.from.is_some()) {
            let (key, to) = (row.key.clone(), claimer.clone());
            moves.insert(key.clone(), Move { key, from: None, to });
        }
    }
    moves.into_values().collect()
}

/// Whether the owners of the leases to be acquired are dead, by consistent reads.
async fn dead_owners(state: &MemberState, steps: &[Step]) -> Result<BTreeMap<WorkerId, bool>, StoreError> {
    let mut owners = BTreeMap::new();
    for step in steps {
        let (Step::Acquire(LeaseRow { owner: Some(owner), .. })
        | Step::Assign(LeaseRow { owner: Some(owner), .. }, _)) = step
        else {
            continue;
        };
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
    /// Gives a lease that nobody has to another worker.
    Assign(LeaseRow, WorkerId),
    /// Asks for a lease, for this worker or in the name of another.
    Claim {
        row: LeaseRow,
        from: WorkerId,
        to: WorkerId,
    },
    Unclaim(LeaseRow),
}

impl Step {
    async fn carry_out(self, state: &Arc<MemberState>) -> Result<(), StoreError> {
        match self {
            Self::Acquire(row) => acquire(state, &row).await,
            Self::Assign(row, to) => match assign(state, &row, &to).await? {
                Assigned::Done | Assigned::Waits => Ok(()),
                // A plan is advice, a free lease is a fact.
                Assigned::Refused if state.has_room() && state.reads(&row.key.stream) => {
                    acquire(state, &row).await
                }
                Assigned::Refused => Ok(()),
            },
            Self::Claim { row, from, to } => claim(state, row, from, to).await,
            Self::Unclaim(row) => {
                let update = LeaseUpdate::Unclaim { by: state.me.clone() };
                update_lease(state, &row.key, &update).await.map(drop)
            }
        }
    }
}

async fn claim(
    state: &Arc<MemberState>,
    row: LeaseRow,
    from: WorkerId,
    to: WorkerId,
) -> Result<(), StoreError> {
    let update = LeaseUpdate::Claim { by: to.clone(), seen: row.epoch, over: row.claim };
    if !update_lease(state, &row.key, &update).await?.is_applied() {
        return Ok(());
    }
    if to == state.me {
        state.expect(row.key.clone());
    }
    if from == state.me {
        if let Some(hold) = state.hold(&row.key) {
            hold.claimed(to);
        }
    } else {
        notify(state, &from, WorkerNotification::Claimed(row.key)).await;
    }
    Ok(())
}
