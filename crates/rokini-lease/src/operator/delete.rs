//! Removes a group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::report::{DeleteReport, OperatorError, SilentWorkers};
use super::{Operator, TRIES};
use crate::pace::is_in_reserve;
use crate::row::{WorkerNotification, WorkerRow, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::types::WorkerId;
use crate::update::WorkerUpdate;
use crate::watch::FleetWatch;

/// Between two listings of the workers.
const LISTING_INTERVAL: Duration = Duration::from_millis(500);
/// For how many failover times the silence of a group is waited for.
const SILENCES: u32 = 5;

impl Operator {
    /// Removes everything the group has in the store: positions, start positions, workers. A group of the same name
    /// begins anew afterwards.
    ///
    /// Watches workers that do not say that they are dead, as [`Operator::wait_for_no_heartbeats`] does, and ends where somebody
    /// joins meanwhile. `force` does not: workers that live then lose everything, and begin anew when they join again.
    ///
    /// # Errors
    /// [`OperatorError::Alive`] without `force`; [`OperatorError::Store`].
    pub async fn delete_group(&self, force: bool) -> Result<DeleteReport, OperatorError> {
        if force {
            return self.delete(None).await;
        }
        self.delete_watched(&self.wait_for_no_heartbeats().await?).await
    }

    /// As [`Operator::delete_group`], of a group whose workers were watched before.
    ///
    /// # Errors
    /// [`OperatorError::Alive`] where a worker is there that was not watched; [`OperatorError::Store`].
    pub async fn delete_watched(&self, silent: &SilentWorkers) -> Result<DeleteReport, OperatorError> {
        self.delete(Some(silent)).await
    }

    async fn delete(&self, silent: Option<&SilentWorkers>) -> Result<DeleteReport, OperatorError> {
        // As sets: a listing may lag behind and show what is gone.
        let (mut workers, mut leases, mut streams) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..TRIES {
            let view = self.list().await?;
            if view.workers.is_empty() && view.leases.is_empty() && view.streams.is_empty() {
                self.store.delete_group(&self.group).await?;
                return Ok(DeleteReport {
                    workers: workers.len(),
                    leases: leases.len(),
                    streams: streams.len(),
                    left: view.unreadable,
                });
            }
            // Whoever came since was not watched.
            let lives = |row: &&WorkerRow| {
                row.state != WorkerState::Fenced && silent.is_some_and(|silent| !silent.0.contains(&row.id))
            };
            let alive: Vec<String> =
                view.workers.iter().filter(lives).map(|row| row.id.name.to_string()).collect();
            if !alive.is_empty() {
                return Err(OperatorError::Alive { group: self.group.clone(), workers: alive.join(", ") });
            }
            // Workers first: whoever lives learns that it is over before its leases vanish.
            for row in view.workers {
                self.store.delete_worker(&self.group, &row.id).await?;
                workers.insert(row.id);
            }
            for row in view.leases {
                if self.store.delete_lease(&self.group, &row.key, row.epoch).await? {
                    leases.insert(row.key);
                }
            }
            for row in view.streams {
                self.store.delete_stream(&self.group, &row.id).await?;
                streams.insert(row.id);
            }
            sleep(LISTING_INTERVAL).await;
        }
        let workers = "they make their rows anew".to_owned();
        Err(OperatorError::Alive { group: self.group.clone(), workers })
    }

    /// A worker without leases sends heartbeats rarely, but answers whoever leaves it a notification.
    async fn ask_those_in_reserve(&self) -> Result<(), OperatorError> {
        let workers = self.store.list(&self.group, Listing::Workers).await?.workers;
        for row in workers.iter().filter(|row| is_in_reserve(row.report.interval, row.report.failover)) {
            let ask = WorkerUpdate::Notify(WorkerNotification::GroupChanged);
            self.store.update_worker(&self.group, &row.id, &ask).await?;
        }
        Ok(())
    }

    /// Returns once no worker that is not fenced has sent a heartbeat for its failover time, the longer of the caller's and the
    /// one on its row; fails as soon as one does. For what has to be done before [`Operator::delete_watched`].
    ///
    /// # Errors
    /// [`OperatorError::Alive`]; [`OperatorError::Store`].
    pub async fn wait_for_no_heartbeats(&self) -> Result<SilentWorkers, OperatorError> {
        let mut watch = FleetWatch::new(self.failover);
        let mut first: BTreeMap<WorkerId, u64> = BTreeMap::new();
        // Listings that are too far apart prove nothing.
        let pause = LISTING_INTERVAL.min(self.failover / 8);
        let begun = Instant::now();
        self.ask_those_in_reserve().await?;
        loop {
            let mut workers = self.store.list(&self.group, Listing::Workers).await?.workers;
            workers.retain(|row| row.state != WorkerState::Fenced);
            let patience = workers.iter().map(|row| row.report.failover.max(row.report.interval * 3));
            let longest = patience.fold(self.failover, Duration::max);
            watch.observe(&workers, true, Instant::now());
            let moved =
                |row: &&WorkerRow| *first.entry(row.id.clone()).or_insert(row.heartbeat) != row.heartbeat;
            let alive: Vec<String> =
                workers.iter().filter(moved).map(|row| row.id.name.to_string()).collect();
            if !alive.is_empty() {
                return Err(OperatorError::Alive { group: self.group.clone(), workers: alive.join(", ") });
            }
            let silent: BTreeSet<WorkerId> = watch.silent_workers(Instant::now()).map(|(id, _)| id).collect();
            if workers.iter().all(|row| silent.contains(&row.id)) {
                return Ok(SilentWorkers(silent));
            }
            if begun.elapsed() > SILENCES * longest {
                let workers = "the lease store answers too slowly to tell".to_owned();
                return Err(OperatorError::Alive { group: self.group.clone(), workers });
            }
            sleep(pause).await;
        }
    }
}
