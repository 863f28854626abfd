//! Declares the silent dead, and removes what they leave.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Control;
use crate::duty::{duty_rank, interval_number};
use crate::error::StoreError;
use crate::row::{GroupView, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::WorkerId;
use crate::update::WorkerUpdate;
use crate::write::WriteOutcome;

/// The duty of removing the rows of the dead.
const RETIRE_FENCED: &[u8] = b"retire fenced workers";

impl Control {
    /// Declares those dead whose heartbeat counter did not move for the failover time. Only while this worker's own
    /// heartbeats arrive: otherwise the silence may be the store's.
    pub(super) async fn fence_expired_workers(&mut self, workers: &[WorkerRow]) -> Result<bool, StoreError> {
        if !self.state.is_valid() {
            return Ok(false);
        }
        let mut fenced = false;
        for (id, seen) in self.watch.silent(&self.state.me, Instant::now()) {
            if workers.iter().any(|row| row.id == id && row.heartbeat == seen) {
                let update = WorkerUpdate::Fence { seen };
                let outcome = self.state.store.update_worker(&self.state.group, &id, &update).await?;
                let dead = is_dead(match &outcome {
                    WriteOutcome::Applied { after, .. } => Some(after),
                    WriteOutcome::Refused { current } => current.as_ref(),
                });
                if outcome.is_applied() {
                    tracing::warn!(worker = %id, by = %self.state.me, "declared dead after its heartbeats stopped");
                }
                fenced |= dead;
            }
        }
        Ok(fenced)
    }

    /// Removes the rows of the dead that no lease names any more. One worker does it, another one in each interval: one that
    /// lives but does not get on with it holds it up no longer than that.
    pub(super) async fn retire_fenced(&mut self, view: &GroupView) -> Result<(), StoreError> {
        let evidence = self.evidence.look(view, self.state.config.failover, Instant::now());
        let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id);
        let interval = interval_number(self.state.clock.millis(), self.state.config.reconcile);
        let duty = [RETIRE_FENCED, &interval.to_le_bytes()];
        // A lease that cannot be read may name any of them.
        if duty_rank(&duty, &self.state.me, alive) > 0 || !view.unreadable.is_empty() {
            return Ok(());
        }
        // A seek back to a shard's end leaves its owner named, and nobody acquires an ended lease.
        let unfinished = view.leases.iter().filter(|row| !row.position.is_shard_end());
        let named: BTreeSet<&WorkerId> = unfinished.filter_map(|row| row.owner.as_ref()).collect();
        for row in &view.workers {
            let stays = named.contains(&row.id) || evidence.contains(&row.id);
            if row.state == WorkerState::Fenced && !stays {
                self.state.store.delete_worker(&self.state.group, &row.id).await?;
            }
        }
        Ok(())
    }
}

/// Fenced, or gone: both by a consistent read.
pub(super) fn is_dead(row: Option<&WorkerRow>) -> bool {
    row.is_none_or(|row| row.state == WorkerState::Fenced)
}
