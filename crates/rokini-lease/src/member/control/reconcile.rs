//! Compares what the store says with what this worker believes. A listing may be stale, so differences are settled by
//! consistent reads.

use std::collections::BTreeSet;

use super::super::acquire::take_up;
use super::super::calls::pass_over_unreadable;
use super::super::hold::Hold;
use super::super::hold_table::OwnRow;
use super::super::state::MemberState;
use super::super::watching::is_dead;
use super::Control;
use crate::error::{LeaseLostReason, StoreError};
use crate::row::{GroupView, LeaseRow, WorkerNotification, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId};

impl Control {
    /// The listing may lag behind what this worker wrote itself, or is about to. Which leases it shows as they were
    /// before this worker had them.
    pub(super) fn believe_own_writes(&self, view: &mut GroupView) -> Vec<LeaseKey> {
        for row in view.workers.iter_mut().filter(|row| row.id == self.state.me) {
            row.streams = self.state.streams();
            row.report.unable.clone_from(&self.state.report().unable);
        }
        let mut behind = Vec::new();
        for row in &mut view.leases {
            if let Some(hold) = self.state.hold(&row.key).filter(|hold| hold.epoch > row.epoch) {
                row.owner = Some(self.state.me.clone());
                row.epoch = hold.epoch;
                row.claim = None;
                behind.push(row.key.clone());
            }
        }
        behind
    }

    /// Every lease that names this worker has a task, and every task a lease that names this worker. The
    /// listing may be stale, so differences are settled by consistent reads.
    pub(super) async fn reconcile(&self, view: &GroupView) -> Result<(), StoreError> {
        let state = &self.state;
        if view.group.paused_at.is_some() != state.is_group_paused() {
            self.check_row(&WorkerNotification::GroupChanged).await?;
        }
        let mut doubtful: BTreeSet<&LeaseKey> = BTreeSet::new();
        let mut seen: BTreeSet<&LeaseKey> = BTreeSet::new();
        for row in &view.leases {
            let names_me = row.owner.as_ref() == Some(&state.me);
            match state.hold(&row.key) {
                Some(hold)
                    if names_me && row.epoch == hold.epoch && row.paused == hold.pause.borrow().lease =>
                {
                    seen.insert(&row.key);
                    // A claim left by the dead binds nobody.
                    let alive = |id: &WorkerId| {
                        view.workers.iter().any(|row| row.id == *id && row.state == WorkerState::Alive)
                    };
                    check_hold(state, &hold, Some(row), alive);
                }
                None if !names_me || state.own_row(row) == OwnRow::InOrder => {}
                _ => {
                    doubtful.insert(&row.key);
                }
            }
        }
        let holds = state.holds();
        doubtful.extend(holds.iter().map(|hold| &hold.key).filter(|key| !seen.contains(*key)));
        for key in doubtful {
            pass_over_unreadable(self.check_row(&WorkerNotification::Changed(key.clone())).await)?;
        }
        Ok(())
    }

    /// Reads the row that a notification is about.
    pub(super) async fn check_row(&self, notification: &WorkerNotification) -> Result<(), StoreError> {
        let key = match notification {
            WorkerNotification::Claimed(key)
            | WorkerNotification::Assigned(key)
            | WorkerNotification::Changed(key) => key,
            WorkerNotification::GroupChanged => {
                self.state.set_group(&self.state.store.group(&self.state.group).await?);
                return Ok(());
            }
            // As when it stops: it gives up what it has, and takes no more. Its process goes on until it is stopped.
            WorkerNotification::Drain => {
                self.state.leaving.cancel();
                self.state.request_heartbeat();
                return Ok(());
            }
        };
        let before = self.state.hold(key);
        let row = self.state.store.lease(&self.state.group, key).await?;
        if let Some(hold) = before.filter(|hold| self.state.holds_still(hold)) {
            check_hold(&self.state, &hold, row.as_ref(), |_| true);
        }
        match row {
            Some(row) if row.owner.as_ref() == Some(&self.state.me) => take_up(&self.state, row).await,
            Some(row) if row.owner.is_none() => {
                self.state.request_reconcile();
                Ok(())
            }
            // Its owner may have left it behind.
            Some(LeaseRow { owner: Some(owner), position, .. })
                if matches!(notification, WorkerNotification::Changed(_)) && !position.is_shard_end() =>
            {
                if is_dead(self.state.store.worker(&self.state.group, &owner).await?.as_ref()) {
                    self.state.request_reconcile();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a hold still stands by a row that is not older than it, and whether somebody asks for it.
fn check_hold(state: &MemberState, hold: &Hold, row: Option<&LeaseRow>, alive: impl Fn(&WorkerId) -> bool) {
    let cause = match row {
        None => LeaseLostReason::Deleted,
        Some(row) if row.owner.as_ref() == Some(&state.me) && row.epoch == hold.epoch => {
            hold.pause
                .send_if_modified(|pause| std::mem::replace(&mut pause.lease, row.paused) != row.paused);
            if let Some(claimer) = row.claim.as_ref().filter(|id| **id != state.me && alive(id)) {
                hold.claimed(claimer.clone());
            }
            return;
        }
        // Epochs only grow: this row is another one, made after the one that was held was deleted.
        Some(row) if row.epoch <= hold.epoch => {
            state.lose(hold, LeaseLostReason::Deleted);
            return state.forget_given_up(&hold.key);
        }
        Some(row) if row.owner.as_ref() == Some(&state.me) => LeaseLostReason::Seek,
        Some(_) => LeaseLostReason::Taken,
    };
    state.lose(hold, cause);
}
