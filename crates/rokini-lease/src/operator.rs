//! What people do to a group from outside, while it runs or not: seek, pause, retire, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::WallClock;
use crate::row::{GroupView, LeaseRow, WorkerNotification, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::types::{GroupId, LeaseKey, WorkerId};
use crate::update::WorkerUpdate;

mod delete;
mod history;
mod lineage;
mod pause;
mod placement;
mod report;
mod seek;

pub use report::{DeleteReport, OperatorError, PauseReport, Scope, SeekChange, SeekReport, SilentWorkers};

/// How often a write is tried again because the lease changed hands meanwhile.
pub(super) const TRIES: usize = 10;

/// Carries out commands on a group. They are conditional writes like those of workers, so they are safe on a running
/// fleet; workers learn of them by notifications at once, and by their next reconciliation otherwise.
#[derive(Clone)]
pub struct Operator {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) group: GroupId,
    pub(super) clock: WallClock,
    pub(super) failover: Duration,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Operator {
    /// For this group.
    #[must_use]
    pub fn new(store: Arc<dyn LeaseStore>, group: GroupId, clock: WallClock) -> Self {
        Self { store, group, clock, failover: Duration::from_secs(10) }
    }

    /// The failover time of the group's workers: how long a worker must send no heartbeat to count as dead.
    /// Default 10 s, as in [`MemberConfig`](crate::MemberConfig).
    #[must_use]
    pub fn failover(mut self, failover: Duration) -> Self {
        self.failover = failover;
        self
    }

    /// Removes the lease of a finished shard, with its position. Where the stream still lists the shard and no
    /// descendant of it has a lease, the next audit gives it a lease again.
    ///
    /// `force` removes it whatever it says: for a shard that is gone. Its holder loses it.
    ///
    /// # Errors
    /// [`OperatorError::UnknownLease`]; [`OperatorError::NotEnded`] without `force`; [`OperatorError::Moving`];
    /// [`OperatorError::Store`].
    pub async fn retire(&self, key: &LeaseKey, force: bool) -> Result<LeaseRow, OperatorError> {
        for _ in 0..TRIES {
            let row = self.store.lease(&self.group, key).await?;
            let row = row.ok_or_else(|| self.unknown(std::slice::from_ref(key)))?;
            if !force && !row.position.is_shard_end() {
                return Err(OperatorError::NotEnded { key: key.clone(), position: row.position });
            }
            if self.store.delete_lease(&self.group, key, row.epoch).await? {
                if let Some(owner) = &row.owner {
                    self.notify(owner, WorkerNotification::Changed(key.clone())).await;
                }
                return Ok(row);
            }
        }
        Err(OperatorError::Moving(key.clone()))
    }

    pub(super) async fn list(&self) -> Result<GroupView, OperatorError> {
        Ok(self.store.list(&self.group, Listing::All).await?)
    }

    pub(super) fn select<'a>(
        &self,
        view: &'a GroupView,
        scope: &Scope,
    ) -> Result<Vec<&'a LeaseRow>, OperatorError> {
        let keys = match scope {
            Scope::Group => return Ok(view.leases.iter().collect()),
            Scope::Stream(stream) => {
                return Ok(view.leases.iter().filter(|row| row.key.stream == *stream).collect());
            }
            Scope::Leases(keys) => keys,
        };
        let rows: BTreeMap<&LeaseKey, &LeaseRow> = view.leases.iter().map(|row| (&row.key, row)).collect();
        let unknown: Vec<LeaseKey> = keys.iter().filter(|key| !rows.contains_key(key)).cloned().collect();
        if !unknown.is_empty() {
            return Err(self.unknown(&unknown));
        }
        let wanted: BTreeSet<&LeaseKey> = keys.iter().collect();
        Ok(wanted.into_iter().filter_map(|key| rows.get(key).copied()).collect())
    }

    pub(super) fn unknown(&self, keys: &[LeaseKey]) -> OperatorError {
        let keys = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        OperatorError::UnknownLease { group: self.group.clone(), keys }
    }

    pub(super) async fn notify_owner(&self, view: &GroupView, row: &LeaseRow) {
        let alive = |id: &&WorkerId| {
            !view.workers.iter().any(|row| row.id == **id && row.state == WorkerState::Fenced)
        };
        if let Some(owner) = row.owner.as_ref().filter(alive) {
            self.notify(owner, WorkerNotification::Changed(row.key.clone())).await;
        }
    }

    /// A hint, so a failure is no error.
    pub(super) async fn notify(&self, worker: &WorkerId, notification: WorkerNotification) {
        if let Err(error) =
            self.store.update_worker(&self.group, worker, &WorkerUpdate::Notify(notification)).await
        {
            tracing::debug!(to = %worker, %error, "a notification was not delivered");
        }
    }
}
