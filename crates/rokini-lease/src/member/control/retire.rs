//! Removes what the dead leave.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Control;
use crate::error::StoreError;
use crate::row::{GroupView, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::WorkerId;

impl Control {
    /// Removes the rows of the dead that no lease names any more: until then they say that there is something left to do.
    /// What was on its way to them when they were declared dead has arrived by then.
    pub(super) async fn retire_fenced(&mut self, view: &GroupView) -> Result<(), StoreError> {
        let evidence = self.evidence.look(view, self.state.config.failover, Instant::now());
        // A lease that cannot be read may name any of them.
        if !view.unreadable.is_empty() {
            return Ok(());
        }
        // A seek back to a shard's end leaves its owner named, and nobody acquires an ended lease.
        let unfinished = view.leases.iter().filter(|row| !row.position.is_shard_end());
        let named: BTreeSet<&WorkerId> = unfinished.filter_map(|row| row.owner.as_ref()).collect();
        let (now, wait) = (Instant::now(), self.state.pace().look() * 4 / 3);
        for row in view.workers.iter().filter(|row| row.state == WorkerState::Fenced) {
            let ripe = self.state.fleet.fenced_since(&row.id).is_some_and(|since| now - since >= wait);
            if ripe && !named.contains(&row.id) && !evidence.contains(&row.id) {
                self.state.store.delete_worker(&self.state.group, &row.id).await?;
            }
        }
        Ok(())
    }
}
