//! What people do to a group from outside, while it runs or not: seek, pause, retire, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::WallClock;
use crate::error::StoreError;
use crate::position::Position;
use crate::row::{GroupView, LeaseRow, Notification, UnreadableRow, WorkerState};
use crate::store::LeaseStore;
use crate::store::LeaseStoreExt;
use crate::store::Listing;
use crate::types::{GroupId, LeaseKey, StreamId, WorkerId};
use crate::update::{GroupUpdate, LeaseUpdate, WorkerUpdate};
use crate::watch::FleetWatch;
use crate::write::WriteOutcome;

mod order;

/// How often a write is tried again because the lease changed hands meanwhile.
const TRIES: usize = 10;
/// Between two looks at the beats of workers.
const LOOK: Duration = Duration::from_millis(500);
/// Failover times for which the silence of a group is waited for.
const SILENCES: u32 = 5;

/// What an order is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All leases of the group.
    Group,
    /// All leases of one stream.
    Stream(StreamId),
    /// These leases.
    Leases(Vec<LeaseKey>),
}

/// What a seek does, or would do, to one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekStep {
    /// The lease.
    pub key: LeaseKey,
    /// The position it had.
    pub from: Position,
    /// The position it has, or would get.
    pub to: Position,
    /// The worker that holds it, and begins anew from there.
    pub owner: Option<WorkerId>,
    /// Whether it was written; `false` in a dry run, and where the lease stood there already and nobody held it.
    pub written: bool,
}

/// What a seek came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeekReport {
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// The leases, parents before their children.
    pub steps: Vec<SeekStep>,
}

/// What the deletion of a group removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteReport {
    /// Rows of workers.
    pub workers: usize,
    /// Leases, with their positions.
    pub leases: usize,
    /// Streams, with the start positions.
    pub streams: usize,
    /// Rows that could not be read, and are still there.
    pub left: Vec<UnreadableRow>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The group has no such lease.
    #[error("group `{group}` has no lease {keys}: list the group's leases")]
    UnknownLease {
        /// The group.
        group: GroupId,
        /// The leases, for people.
        keys: String,
    },
    /// The order contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// Workers of the group are alive.
    #[error("group `{group}` has live workers ({workers}): stop them first, or force it")]
    Alive {
        /// The group.
        group: GroupId,
        /// The workers, for people.
        workers: String,
    },
    /// The shard is not finished.
    #[error(
        "lease `{key}` stands at {position}, so its shard is not finished: let it be read to its end, or force it"
    )]
    NotEnded {
        /// The lease.
        key: LeaseKey,
        /// Its position.
        position: Position,
    },
    /// The lease changed hands too often meanwhile.
    #[error("lease `{0}` changes hands all the time: try again")]
    Moving(LeaseKey),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives orders to a group. They are conditional writes like those of workers, so they are safe on a running
/// fleet; a note tells the workers at once, and their next reconciliation otherwise.
#[derive(Clone)]
pub struct Operator {
    store: Arc<dyn LeaseStore>,
    group: GroupId,
    clock: WallClock,
    failover: Duration,
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

    /// The failover time of the group's workers: how long a beat must stand still for its worker to count as dead.
    /// Default 10 s, as in [`MemberConfig`](crate::MemberConfig).
    #[must_use]
    pub fn failover(mut self, failover: Duration) -> Self {
        self.failover = failover;
        self
    }

    /// Sets the position of leases. Whoever holds one stops, begins anew from there, and can store nothing from
    /// before. Each lease keeps the position it had, for [`Operator::undo_seek`].
    ///
    /// Ended shards begin anew too, before their children where both are in the scope. `LATEST` is
    /// [`Position::AtTimestamp`] with the stream's time. Leases that were written before an error stay so: the same
    /// order can be given again.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] for the end of a shard, and for a sequence number with more than one lease;
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Moving`]; [`OperatorError::Store`].
    pub async fn seek(
        &self,
        scope: &Scope,
        to: Position,
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        let view = self.list().await?;
        let leases = self.select(&view, scope)?;
        match to {
            Position::ShardEnd => {
                return Err(OperatorError::Invalid(
                    "a shard's end cannot be sought: its children would never begin; retire the lease, or seek to a \
                     time after its last record"
                        .to_owned(),
                ));
            }
            Position::Sequence(..) if leases.len() != 1 => {
                return Err(OperatorError::Invalid(format!(
                    "a sequence number belongs to one shard, but {} leases are to seek to it: name one lease, or seek \
                     to a time",
                    leases.len()
                )));
            }
            _ => {}
        }
        self.seek_each(&view, leases, |_| Some(to), dry_run).await
    }

    /// Sets leases back to where they stood before their last seek. Undoing that again redoes the seek.
    ///
    /// # Errors
    /// As [`Operator::seek`]; [`OperatorError::Invalid`] where none of the leases was ever sought.
    pub async fn undo_seek(&self, scope: &Scope, dry_run: bool) -> Result<SeekReport, OperatorError> {
        let view = self.list().await?;
        let leases = self.select(&view, scope)?;
        if leases.iter().all(|row| row.previous.is_none()) {
            return Err(OperatorError::Invalid(
                "there is no seek to undo: no position was set yet".to_owned(),
            ));
        }
        self.seek_each(&view, leases, |row| row.previous, dry_run).await
    }

    async fn seek_each(
        &self,
        view: &GroupView,
        leases: Vec<&LeaseRow>,
        to: impl Fn(&LeaseRow) -> Option<Position>,
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        let mut report = SeekReport { dry_run, steps: Vec::new() };
        // Parents first: a child that is sought waits for a parent that has begun anew, not for one at its end.
        for row in order::parents_first(&leases) {
            let Some(to) = to(row) else { continue };
            let (from, owner) = (row.position, row.owner.clone());
            let mut step = SeekStep { key: row.key.clone(), from, to, owner, written: false };
            if !dry_run && (row.owner.is_some() || from != to) {
                step = self.seek_one(view, row, to).await?;
            }
            report.steps.push(step);
        }
        if report.steps.iter().any(|step| step.written && step.owner.is_none()) {
            // Nobody is told by these themselves: whoever looks at one looks at all.
            let first = report.steps.iter().find(|step| step.written && step.owner.is_none());
            let alive = view.workers.iter().find(|row| row.state == WorkerState::Alive);
            if let Some((worker, step)) = alive.zip(first) {
                self.tell(&worker.id, Notification::Changed(step.key.clone())).await;
            }
        }
        Ok(report)
    }

    async fn seek_one(
        &self,
        view: &GroupView,
        row: &LeaseRow,
        to: Position,
    ) -> Result<SeekStep, OperatorError> {
        let mut row = row.clone();
        let mut uncertain: Option<LeaseRow> = None;
        for _ in 0..TRIES {
            let step = |from: &LeaseRow, owner| SeekStep {
                key: from.key.clone(),
                from: from.position,
                to,
                owner,
                written: true,
            };
            let update = LeaseUpdate::Seek { seen: row.epoch, to };
            let current = match self.store.update_lease(&self.group, &row.key, &update).await {
                Ok(WriteOutcome::Applied { before, after }) => {
                    self.tell_owner(view, &after).await;
                    return Ok(step(before.as_ref().unwrap_or(&row), after.owner));
                }
                Ok(WriteOutcome::Refused { current }) => current,
                Err(error) if error.is_ambiguous() => {
                    uncertain = Some(row.clone());
                    self.store.lease(&self.group, &row.key).await?
                }
                Err(error) => return Err(error.into()),
            };
            let Some(current) = current else { return Err(self.unknown(&[row.key])) };
            if let Some(before) = &uncertain
                && current.epoch == before.epoch.next()
                && current.previous == Some(before.position)
                && current.owner == before.owner
            {
                // An earlier try took effect, and the position may have moved since.
                self.tell_owner(view, &current).await;
                return Ok(step(before, current.owner.clone()));
            }
            row = current;
        }
        Err(OperatorError::Moving(row.key))
    }

    /// Stops the reading of shards. Leases are held and moved as ever, positions of what was fetched are stored,
    /// and nothing expires. The order is stored: it outlives workers, and also holds for leases that come later
    /// where it is about the group. Pauses of the group and of single leases are apart: each must be resumed.
    ///
    /// # Errors
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Store`].
    pub async fn pause(&self, scope: &Scope) -> Result<(), OperatorError> {
        self.set_paused(scope, true).await
    }

    /// Lets the reading of shards go on.
    ///
    /// # Errors
    /// As [`Operator::pause`].
    pub async fn resume(&self, scope: &Scope) -> Result<(), OperatorError> {
        self.set_paused(scope, false).await
    }

    async fn set_paused(&self, scope: &Scope, paused: bool) -> Result<(), OperatorError> {
        if *scope == Scope::Group {
            let update =
                if paused { GroupUpdate::Pause { at: self.clock.millis() } } else { GroupUpdate::Resume };
            self.store.update_group(&self.group, &update).await?;
            let workers = self.store.list(&self.group, Listing::Workers).await?.workers;
            for worker in workers.iter().filter(|row| row.state == WorkerState::Alive) {
                self.tell(&worker.id, Notification::GroupChanged).await;
            }
            return Ok(());
        }
        let view = self.list().await?;
        for row in self.select(&view, scope)? {
            let update = LeaseUpdate::Pause { paused };
            match self.store.update_lease(&self.group, &row.key, &update).await? {
                WriteOutcome::Applied { after, .. } => self.tell_owner(&view, &after).await,
                WriteOutcome::Refused { current: Some(_) } => {}
                WriteOutcome::Refused { current: None } => {
                    return Err(self.unknown(std::slice::from_ref(&row.key)));
                }
            }
        }
        Ok(())
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
                    self.tell(owner, Notification::Changed(key.clone())).await;
                }
                return Ok(row);
            }
        }
        Err(OperatorError::Moving(key.clone()))
    }

    /// Removes everything the group has in the store: positions, start positions, workers. A group of the same name
    /// begins anew afterwards.
    ///
    /// Watches workers that do not say that they are dead for up to the failover time. `force` does not: workers
    /// that live then lose everything, and begin anew when they join again.
    ///
    /// # Errors
    /// [`OperatorError::Alive`] without `force`; [`OperatorError::Store`].
    pub async fn delete_group(&self, force: bool) -> Result<DeleteReport, OperatorError> {
        if !force {
            self.wait_for_silence().await?;
        }
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
            sleep(LOOK).await;
        }
        let workers = "they make their rows anew".to_owned();
        Err(OperatorError::Alive { group: self.group.clone(), workers })
    }

    /// Returns once no worker that is not fenced has beaten for the failover time; fails as soon as one beats.
    async fn wait_for_silence(&self) -> Result<(), OperatorError> {
        let mut watch = FleetWatch::new(self.failover);
        let mut first: BTreeMap<WorkerId, u64> = BTreeMap::new();
        // Looks that are too far apart prove nothing.
        let pause = LOOK.min(self.failover / 8);
        let until = tokio::time::Instant::now() + SILENCES * self.failover;
        loop {
            let mut workers = self.store.list(&self.group, Listing::Workers).await?.workers;
            workers.retain(|row| row.state != WorkerState::Fenced);
            watch.observe(&workers, tokio::time::Instant::now());
            let beats = |row: &&crate::row::WorkerRow| {
                *first.entry(row.id.clone()).or_insert(row.heartbeat) != row.heartbeat
            };
            let alive: Vec<String> =
                workers.iter().filter(beats).map(|row| row.id.name.to_string()).collect();
            if !alive.is_empty() {
                return Err(OperatorError::Alive { group: self.group.clone(), workers: alive.join(", ") });
            }
            let silent: BTreeSet<WorkerId> =
                watch.silent_workers(tokio::time::Instant::now()).map(|(id, _)| id).collect();
            if workers.iter().all(|row| silent.contains(&row.id)) {
                return Ok(());
            }
            if tokio::time::Instant::now() > until {
                let workers = "the lease store answers too slowly to tell".to_owned();
                return Err(OperatorError::Alive { group: self.group.clone(), workers });
            }
            sleep(pause).await;
        }
    }

    async fn list(&self) -> Result<GroupView, OperatorError> {
        Ok(self.store.list(&self.group, Listing::All).await?)
    }

    fn select<'a>(&self, view: &'a GroupView, scope: &Scope) -> Result<Vec<&'a LeaseRow>, OperatorError> {
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

    fn unknown(&self, keys: &[LeaseKey]) -> OperatorError {
        let keys = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        OperatorError::UnknownLease { group: self.group.clone(), keys }
    }

    async fn tell_owner(&self, view: &GroupView, row: &LeaseRow) {
        let alive = |id: &&WorkerId| {
            !view.workers.iter().any(|row| row.id == **id && row.state == WorkerState::Fenced)
        };
        if let Some(owner) = row.owner.as_ref().filter(alive) {
            self.tell(owner, Notification::Changed(row.key.clone())).await;
        }
    }

    /// A hint, so a failure is no error.
    async fn tell(&self, worker: &WorkerId, note: Notification) {
        if let Err(error) = self.store.update_worker(&self.group, worker, &WorkerUpdate::Notify(note)).await {
            tracing::debug!(to = %worker, %error, "a note was not delivered");
        }
    }
}
