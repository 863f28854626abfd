//! One worker's part in its group: join, send heartbeats, watch the others, take and give leases, leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::calls::send_outbox;
use self::state::MemberState;
use crate::clock::WallClock;
use crate::error::LeaseLostReason;
use crate::row::{GroupView, ShardHealth, WorkerRow, WorkerTrouble};
use crate::store::LeaseStore;
use crate::types::{GroupId, StreamId, WorkerId, WorkerName};

mod ability;
mod acquire;
mod calls;
mod config;
mod control;
mod control_health;
mod events;
mod fleet;
mod heartbeat;
mod heartbeat_stats;
mod hold;
mod hold_table;
mod join;
mod lease;
mod outbox;
mod pending_work;
mod shard_healths;
mod state;
#[cfg(test)]
mod tests;
mod watching;

pub use ability::StreamAbility;
pub use config::MemberConfig;
pub use control_health::CoordinationHealth;
pub use events::{MemberEvent, MemberEvents};
pub use heartbeat_stats::HeartbeatStats;
pub use join::{JoinAttempts, JoinError};
pub use lease::{HandedOver, Lease, LeaseValidity};

/// For so long a worker that leaves tries to send notifications that failed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// A worker that takes part in a group. Clones are handles to the same.
#[derive(Clone)]
pub struct Member {
    state: Arc<MemberState>,
    tasks: TaskTracker,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.state.me).finish_non_exhaustive()
    }
}

impl Member {
    /// Joins the group: inserts the worker row and starts the tasks for the heartbeat and the watch.
    ///
    /// Where a predecessor of the same name left a row, waits until it is certain that it is dead: the failover
    /// time, or two heartbeats where its death is proven or promised.
    ///
    /// `attempts` is one value for all tries of one start: where one fails with a store error, give it to the next.
    ///
    /// # Errors
    /// [`JoinError::DuplicateName`] when the predecessor lives, [`JoinError::Config`] when the settings
    /// contradict each other, [`JoinError::Store`] when the store fails.
    pub async fn join(
        store: Arc<dyn LeaseStore>,
        group: GroupId,
        name: WorkerName,
        config: MemberConfig,
        clock: WallClock,
        attempts: &JoinAttempts,
    ) -> Result<(Self, MemberEvents), JoinError> {
        config.check().map_err(JoinError::Config)?;
        let mut rng = attempts.rng();
        let mut calls = heartbeat::CallValues::new(clock.clone(), StdRng::from_rng(&mut rng));
        let joined = join::join(&*store, &group, &name, &config, &mut calls, attempts, &mut rng).await?;
        let (state, events) = MemberState::new(store, group, joined.me, config, clock, joined.begun);
        let tasks = TaskTracker::new();
        tasks.spawn(heartbeat::supervised(Arc::clone(&state), calls));
        tasks.spawn(watching::supervised(Arc::clone(&state)));
        tasks.spawn(control::supervised(Arc::clone(&state), rng));
        tasks.close();
        let events = MemberEvents::new(Arc::clone(&state), events);
        Ok((Self { state, tasks }, events))
    }

    /// This incarnation.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.state.me
    }

    /// Whether heartbeats arrive as often as this worker means to send them. One without leases sends them rarely.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.state.is_heard()
    }

    /// Lists all leases now and carries out the plan, for example after some were created.
    pub fn request_reconcile(&self) {
        self.state.request_reconcile();
    }

    /// Reads these streams from now on, `None` for all of the group's: leases of others do not fall to this worker
    /// any more, and the tasks of those it holds are asked to hand over. The others learn so with the next
    /// heartbeat, which is made at once.
    pub fn set_streams(&self, streams: Option<BTreeSet<StreamId>>) {
        self.state.set_streams(streams);
    }

    /// This worker's ability to read a stream.
    #[must_use]
    pub fn ability(&self, stream: &StreamId) -> StreamAbility {
        StreamAbility::new(Arc::clone(&self.state), stream.clone())
    }

    /// Takes no more leases, and asks the tasks of those held to hand over: every [`Lease`] sees
    /// [`Lease::yield_requested`]. Leases handed over from now on go straight to the least loaded workers.
    pub fn begin_leave(&self) {
        self.state.leaving.cancel();
    }

    /// Ends the heartbeat and removes the worker row. Leases still held are lost, and free for others as soon
    /// as they list the group. Tries until `deadline`; a row that could not be removed is fenced by others in time.
    pub async fn leave(&self, deadline: Instant) {
        self.begin_leave();
        self.state.note_leases_left();
        self.stop();
        let remove = async {
            // Those to whom it left something know of it before it is gone: nobody sends it again then.
            let _ = tokio::time::timeout(LAST_WORDS, send_last_notifications(&self.state)).await;
            while let Err(error) = self.state.end_row().await {
                tracing::debug!(error = %error, "could not remove the worker row, trying again");
                tokio::time::sleep(RETRY).await;
            }
        };
        if tokio::time::timeout_at(deadline, remove).await.is_err() {
            tracing::warn!(worker = %self.state.me, "the worker row could not be removed in time");
        }
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(worker = %self.state.me, "tasks of the worker had not ended at the deadline");
        }
    }

    /// Ends the heartbeat and loses every lease, at once. Writes nothing: the others take this worker for dead in time.
    pub fn stop(&self) {
        self.begin_leave();
        self.state.stop(LeaseLostReason::Stopped);
    }

    /// The rows of the workers as this one's looks showed them last, in the order of their ids: in a fleet of up to 12 at
    /// most a look old, in a larger one up to a third of a second per worker, and for the nearest 12 a look.
    #[must_use]
    pub fn fleet(&self) -> Arc<Vec<WorkerRow>> {
        self.state.fleet.rows()
    }

    /// How the coordination of this worker gets on.
    #[must_use]
    pub fn coordination(&self) -> CoordinationHealth {
        // A worker that gives up its shards neither looks nor lists any more: nothing of it is overdue.
        if self.state.leaving.is_cancelled() {
            return CoordinationHealth::default();
        }
        self.state.health.health()
    }

    /// The last full listing this worker saw.
    #[must_use]
    pub fn snapshot(&self) -> Arc<GroupView> {
        self.state.view()
    }

    /// What the heartbeats say of the shards from now on: of those that are behind or make no progress, the worst first. The
    /// first 8 are told one by one, the others in short, by cause. A stall that begins or ends is told at once, in place of the next
    /// regular heartbeat; everything else with that.
    pub fn report_shards(&self, reports: Vec<ShardHealth>) {
        if self.state.shard_healths.set(reports, self.state.heartbeat_interval()) {
            self.state.request_heartbeat();
        }
    }

    /// What the heartbeats say from now on of what keeps this worker from doing its part, beside its shards: the first 2. What
    /// begins or ends is told at once, as with shards.
    pub fn report_troubles(&self, troubles: Vec<WorkerTrouble>) {
        if self.state.shard_healths.set_troubles(troubles, self.state.heartbeat_interval()) {
            self.state.request_heartbeat();
        }
    }

    /// The heartbeats of this incarnation so far.
    #[must_use]
    pub fn heartbeats(&self) -> HeartbeatStats {
        let stats = self.state.heartbeats.stats();
        let apart = self.state.heartbeat_interval() - self.state.config.heartbeat;
        HeartbeatStats { age: stats.age.saturating_sub(apart), ..stats }
    }

    /// Why the last heartbeat failed, for people; `None` where it was stored.
    #[must_use]
    pub fn heartbeat_error(&self) -> Option<String> {
        self.state.heartbeats.error()
    }

    /// For how long the heartbeat counter of each worker has stood, as far as this one's looks showed it.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        self.state.fleet.silences()
    }

    /// How many leases this worker holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held_count()
    }
}

async fn send_last_notifications(state: &MemberState) {
    while !send_outbox(state).await {
        tokio::time::sleep(RETRY).await;
    }
}
