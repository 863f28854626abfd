//! One worker's part in its group: join, beat, watch, take and give leases, leave.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::WallClock;
use crate::error::StoreError;
use crate::lease::Lease;
use crate::plan::AssignmentPolicy;
use crate::process::ProcessIdentity;
use crate::row::GroupView;
use crate::store::LeaseStore;
use crate::store::LeaseStoreExt;
use crate::types::{GroupId, StreamId, WorkerId, WorkerName};

mod beats;
mod control;
mod heartbeat;
mod join;
mod outbox;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

pub use beats::HeartbeatStats;
use shared::Shared;

/// How a worker takes part in its group. All workers of a group should have the same `failover`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemberConfig {
    /// Time between heartbeats, and between looks at the fleet. Default 1 s. One write and one small read each.
    pub heartbeat: Duration,
    /// How long a worker must be silent before the others take its leases. Default 10 s. A worker stops using
    /// its leases after three quarters of it without a heartbeat of its own.
    pub failover: Duration,
    /// Time between full listings in a quiet fleet, which mend whatever hints were lost. Default 30 s. Longer, up to
    /// 10 minutes, where workers times leases exceed 150,000: the group's listings then read 250 units a second.
    pub reconcile: Duration,
    /// How leases are spread. Default: evenly. Must be the same for all workers of the group.
    pub policy: AssignmentPolicy,
    /// The most leases this worker takes. Default: no limit.
    pub max_leases: Option<u32>,
    /// The streams this worker reads at first, see [`Member::set_streams`]. Default: all of the group's.
    pub streams: Option<BTreeSet<StreamId>>,
    /// Vouches that no two live processes ever use one worker name (a `StatefulSet`, for example). A restart
    /// then takes over from its predecessor after two silent heartbeats instead of the failover time. Default
    /// off.
    pub unique_worker_names: bool,
    /// Where this process runs; lets a restart on the same host prove that its predecessor is gone. Default:
    /// as the system tells.
    pub process: Option<ProcessIdentity>,
}

impl Default for MemberConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            failover: Duration::from_secs(10),
            reconcile: Duration::from_secs(30),
            policy: AssignmentPolicy::default(),
            max_leases: None,
            streams: None,
            unique_worker_names: false,
            process: ProcessIdentity::current(),
        }
    }
}

impl MemberConfig {
    /// How long after the start of a successful heartbeat the worker may use its leases: three quarters of the
    /// failover time. The last quarter is the margin for clocks that run at different speeds and for handler
    /// calls that have begun.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.failover * 3 / 4
    }

    fn check(&self) -> Result<(), JoinError> {
        if self.heartbeat.is_zero() || self.heartbeat * 3 > self.validity() {
            return Err(JoinError::Config(format!(
                "three heartbeats must fit into three quarters of the failover time: heartbeat={:?} \
                 failover={:?}; lower the heartbeat to {:?} or raise the failover time to {:?}",
                self.heartbeat,
                self.failover,
                self.validity() / 3,
                self.heartbeat * 4,
            )));
        }
        if self.reconcile < self.heartbeat {
            return Err(JoinError::Config(format!(
                "the reconcile interval is below the heartbeat: reconcile={:?} heartbeat={:?}",
                self.reconcile, self.heartbeat
            )));
        }
        Ok(())
    }
}

/// Why a worker could not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A live worker of the group has this name already.
    #[error(
        "a live worker of group `{group}` is named `{name}` already (incarnation {incarnation}): stop it, or start \
         this one under another name"
    )]
    DuplicateName {
        /// The group.
        group: GroupId,
        /// The name both have.
        name: WorkerName,
        /// The other one.
        incarnation: crate::types::Incarnation,
    },
    /// The settings contradict each other.
    #[error("{0}")]
    Config(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a member tells the consumer it works for.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A lease to work on. Dropping it without `hand_over` or `finish` gives it back to the member, which
    /// grants it again.
    Granted(Lease),
    /// This incarnation was declared dead. Its leases are lost; join again.
    Fenced,
    /// Heartbeats have not arrived for so long that handlers pause.
    OutageBegan {
        /// The last error, for people.
        error: String,
    },
    /// Heartbeats arrive again; nothing was lost.
    OutageEnded,
}

/// A worker that takes part in a group. Clones are handles to the same.
#[derive(Clone)]
pub struct Member {
    shared: Arc<Shared>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.shared.me).finish_non_exhaustive()
    }
}

impl Member {
    /// Joins the group: inserts the worker row and starts the heartbeat and the watch on `tracker`.
    ///
    /// Where a predecessor of the same name left a row, waits until it is certain that it is dead: the failover
    /// time, or two heartbeats where its death is proven or vouched for.
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
        mut rng: StdRng,
        tracker: &TaskTracker,
    ) -> Result<(Self, mpsc::UnboundedReceiver<MemberEvent>), JoinError> {
        config.check()?;
        let me = WorkerId::start(name, &mut rng);
        let valid_until = join::join(&*store, &group, &me, &config).await?;
        let (shared, events) = Shared::new(store, group, me, config, clock, valid_until);
        tracker.spawn(heartbeat::run(Arc::clone(&shared)));
        tracker.spawn(control::run(Arc::clone(&shared), rng));
        Ok((Self { shared }, events))
    }

    /// This incarnation.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.shared.me
    }

    /// Whether heartbeats arrive, so that leases may be used.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.shared.is_valid()
    }

    /// Looks at all leases now, for example after some were created.
    pub fn wake(&self) {
        self.shared.look_now();
    }

    /// Reads these streams from now on, `None` for all of the group's: leases of others do not fall to this worker
    /// any more, and the tasks of those it holds are asked to hand over. The others learn so with the next
    /// heartbeat, which is made at once.
    pub fn set_streams(&self, streams: Option<BTreeSet<StreamId>>) {
        self.shared.set_streams(streams);
    }

    /// Takes no more leases, and asks the tasks of those held to hand over: every [`Lease`] sees
    /// [`Lease::yield_requested`]. Leases handed over from now on go straight to the least loaded workers.
    pub fn begin_leave(&self) {
        self.shared.leaving.cancel();
    }

    /// Ends the heartbeat and removes the worker row. Leases still held are lost, and free for others as soon
    /// as they look. Tries until `deadline`; a row that could not be removed is fenced by others in time.
    pub async fn leave(&self, deadline: Instant) {
        self.begin_leave();
        self.shared.stop(crate::error::LostCause::Stopped);
        let remove = async {
            while let Err(error) = self.shared.store.delete_worker(&self.shared.group, &self.shared.me).await
            {
                tracing::debug!(error = %error, "could not remove the worker row, trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout_at(deadline, remove).await.is_err() {
            tracing::warn!(worker = %self.shared.me, "the worker row could not be removed in time");
        }
    }

    /// The last full listing this worker saw.
    #[must_use]
    pub fn snapshot(&self) -> Arc<GroupView> {
        self.shared.view()
    }

    /// The heartbeats of this incarnation so far.
    #[must_use]
    pub fn heartbeats(&self) -> HeartbeatStats {
        self.shared.beats.seen()
    }

    /// How many leases this worker holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.held_count()
    }
}
