//! Changes over how many partition keys the leases of a group are spread, while its workers run.
//!
//! The layout row first names the keys that the rows go to; from then on every store looks there too. Then the rows go, one
//! by one, each in one transaction that leaves a forwarding row in its place. So at any moment a row is at one place, and
//! whoever does not know of the change yet meets the forwarding row and learns of it, a worker by its next heartbeat at the
//! latest. Once everything has gone, and a failover time has passed in which each worker had to send one, the layout row
//! names the new keys alone, and the forwarding rows are removed. Each step is one conditional write, and what is left of
//! them shows in the table: whoever begins again goes on where another one ended.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use futures::future::join_all;
use rokini_types::Backoff;
use tokio::time::{Instant, sleep, sleep_until};

use super::DynamoStore;
use super::attributes::{Item, LAYOUT_ROW, LEASE_PREFIX, Partition, ROW, WORKER_PREFIX, is_forwarding};
use super::calls::WorkerRange;
use super::items::StoredRow;
use super::layout::{Layout, LayoutRow};
use crate::clock::WallClock;
use crate::error::StoreError;
use crate::row::WorkerState;
use crate::types::GroupId;

/// Rows of one key that are read at once.
const PAGE: u32 = 500;
/// Rows that go at once.
const AT_ONCE: usize = 10;
/// How often a row is tried while the table cannot be reached or slows down.
const TRIES: u32 = 8;
const PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// Workers whose rows say less do not look for a row that went on.
const FORMAT: u32 = 4;

/// How [`DynamoStore::repartition`] goes about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Repartition {
    /// How many rows go in a second, at most. Each costs 2 write units of the key it leaves and 2 of the one it goes to, beside
    /// what the group needs of them. Default 100: a fifth of what DynamoDB gives a key.
    pub rows_per_second: u32,
    /// How long the forwarding rows stay after the last row went: by then every worker that lives must have sent a heartbeat.
    /// Default: the longest failover time of the group's workers, and 10 s at least.
    pub settle: Option<Duration>,
}

impl Default for Repartition {
    fn default() -> Self {
        Self { rows_per_second: 100, settle: None }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepartitionPhase {
    /// Rows go to their new keys.
    Moving,
    /// All of them went; workers learn of it.
    Settling,
    /// What they left is removed.
    Clearing,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepartitionProgress {
    /// What is being done.
    pub phase: RepartitionPhase,
    /// Rows that went so far, or that were removed.
    pub rows: u64,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepartitionReport {
    /// Over how many keys the leases were spread.
    pub from: NonZeroU16,
    /// And are now.
    pub to: NonZeroU16,
    /// Rows that this call moved.
    pub rows: u64,
    /// Whether it went on with a change that had begun before.
    pub resumed: bool,
}

/// Over how many partition keys the leases of a group are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseKeys {
    /// Where they are, or come from.
    pub now: NonZeroU16,
    /// Where they are going, while they go.
    pub next: Option<NonZeroU16>,
}

/// Why a group was not repartitioned, or not to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepartitionError {
    /// Another change has begun.
    #[error(
        "the leases of group `{group}` are on their way to {to} partition keys: finish that first, with `{to}`"
    )]
    Begun {
        /// The group.
        group: GroupId,
        /// Where they are going.
        to: NonZeroU16,
    },
    /// Workers of a release that does not look for rows that went on.
    #[error(
        "workers of group `{group}` run a release that cannot follow its leases to other partition keys: {workers}; upgrade or \
         stop them first"
    )]
    OldWorkers {
        /// The group.
        group: GroupId,
        /// Their names.
        workers: String,
    },
    /// Somebody else ended it, or deleted the group.
    #[error("group `{group}` was repartitioned or deleted by somebody else meanwhile: look at it again")]
    Overtaken {
        /// The group.
        group: GroupId,
    },
    /// The store failed; the group goes on as it is, and another call goes on where this one ended.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DynamoStore {
    /// Over how many partition keys the leases of a group are spread, read now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lease_keys(&self, group: &GroupId) -> Result<LeaseKeys, StoreError> {
        let row = self.layouts.ask(&self.calls, group).await?;
        Ok(LeaseKeys { now: row.current.keys, next: row.next.map(|next| next.keys) })
    }

    /// Spreads the leases of a group over another number of partition keys, while its workers go on. Nothing is lost or read
    /// again: a row is at one place at any moment. Listings cost up to four times as much meanwhile.
    ///
    /// Where it ends early, by an error or with its process, the group goes on as it is, and another call with the same number
    /// goes on where it ended. Two at once do no harm. Needs no more permissions than a worker: a transaction is made of
    /// `PutItem`.
    ///
    /// # Errors
    /// [`RepartitionError`].
    pub async fn repartition(
        &self,
        group: &GroupId,
        keys: NonZeroU16,
        how: &Repartition,
        progress: impl Fn(RepartitionProgress) + Send + Sync,
    ) -> Result<RepartitionReport, RepartitionError> {
        let mut work = Work { store: self, group, how, progress: &progress, rows: 0, next: Instant::now() };
        work.run(keys).await
    }

    /// Removes the row that says where the group's rows are, and what is left of those that went on.
    pub(super) async fn delete_layout(&self, group: &GroupId) -> Result<(), StoreError> {
        let base = Partition::from(group);
        if let Some(row) = self.calls.get::<LayoutRow>(&base, LAYOUT_ROW).await? {
            let mut places = row.places(group);
            places.extend(row.cleared.into_iter().flat_map(|cleared| cleared.places(group)));
            for place in places {
                for (key, _) in self.rows_at(&place, true).await? {
                    self.calls.clear(&place, &key).await?;
                }
            }
            self.calls.delete::<LayoutRow>(&base, LAYOUT_ROW.to_owned()).await?;
        }
        self.layouts.forget(group);
        Ok(())
    }

    /// The rows of workers and leases under a key, or the forwarding rows, consistently.
    async fn rows_at(&self, place: &Partition, forwarding: bool) -> Result<Vec<(String, Item)>, StoreError> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let (items, last) = self.calls.items(place, &after, PAGE, true).await?;
            let members = items.into_iter().filter_map(|item| {
                let row = item.get(ROW)?.as_s().ok()?.clone();
                let is_member = row.starts_with(WORKER_PREFIX) || row.starts_with(LEASE_PREFIX);
                (is_member && is_forwarding(&item) == forwarding).then_some((row, item))
            });
            rows.extend(members);
            match last {
                Some(last) => after = last,
                None => return Ok(rows),
            }
        }
    }
}

struct Work<'a, P> {
    store: &'a DynamoStore,
    group: &'a GroupId,
    how: &'a Repartition,
    progress: &'a P,
    /// Rows done so far in this phase.
    rows: u64,
    /// When the next rows may go.
    next: Instant,
}

impl<P: Fn(RepartitionProgress) + Send + Sync> Work<'_, P> {
    async fn run(&mut self, keys: NonZeroU16) -> Result<RepartitionReport, RepartitionError> {
        let mut layout = self.ask().await?;
        let resumed = layout.next.is_some() || layout.cleared.is_some();
        let from = layout.cleared.unwrap_or(layout.current).keys;
        if layout.next.is_none() && layout.cleared.is_some() {
            layout = self.clear(layout).await?;
        }
        let next = match layout.next {
            Some(next) if next.keys != keys => {
                return Err(RepartitionError::Begun { group: self.group.clone(), to: next.keys });
            }
            Some(next) => next,
            None if layout.current.keys == keys => {
                return Ok(RepartitionReport { from, to: keys, rows: 0, resumed });
            }
            None => {
                self.check_workers().await?;
                let next = layout.current.next(keys, &WallClock::system());
                layout = self.change(layout, LayoutRow { next: Some(next), ..layout }).await?;
                next
            }
        };
        let settle = self.settle_time().await?;
        self.carry_all(&layout, next).await?;
        let rows = self.rows;
        // A worker whose heartbeats do not arrive for so long has no valid lease.
        self.tell(RepartitionPhase::Settling);
        sleep(settle).await;
        // What was put there by those who did not know.
        self.carry_all(&layout, next).await?;
        let rows = rows.max(self.rows);
        let switched = LayoutRow { current: next, next: None, cleared: Some(layout.current) };
        let layout = self.change(layout, switched).await?;
        self.clear(layout).await?;
        Ok(RepartitionReport { from, to: keys, rows, resumed })
    }

    async fn ask(&self) -> Result<LayoutRow, StoreError> {
        self.store.layouts.ask(&self.store.calls, self.group).await
    }

    /// Stores the next step of the layout, unless it is another one by now.
    async fn change(&self, seen: LayoutRow, to: LayoutRow) -> Result<LayoutRow, RepartitionError> {
        if !self.store.calls.change_layout(self.group, seen, to).await? && self.ask().await? != to {
            return Err(RepartitionError::Overtaken { group: self.group.clone() });
        }
        Ok(self.ask().await?)
    }

    async fn check_workers(&self) -> Result<(), RepartitionError> {
        let workers = self.store.list_workers(self.group, &WorkerRange::default(), true).await?.workers;
        let old = workers.iter().filter(|row| row.state != WorkerState::Fenced && row.report.format < FORMAT);
        let names: BTreeSet<&str> = old.map(|row| row.id.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let workers = names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Err(RepartitionError::OldWorkers { group: self.group.clone(), workers })
    }

    async fn settle_time(&self) -> Result<Duration, StoreError> {
        if let Some(settle) = self.how.settle {
            return Ok(settle);
        }
        let workers = self.store.list_workers(self.group, &WorkerRange::default(), true).await?.workers;
        let failover = workers.iter().map(|row| row.report.failover).max();
        Ok(failover.unwrap_or_default().max(Duration::from_secs(10)))
    }

    fn tell(&self, phase: RepartitionPhase) {
        (self.progress)(RepartitionProgress { phase, rows: self.rows });
    }

    /// Refuses to go on where the layout is another one by now: the rows may be those of a group that began anew.
    async fn require(&self, layout: &LayoutRow) -> Result<(), RepartitionError> {
        match again(|| self.ask()).await? == *layout {
            true => Ok(()),
            false => Err(RepartitionError::Overtaken { group: self.group.clone() }),
        }
    }

    /// Until a pass over every place finds nothing that has to go.
    async fn carry_all(&mut self, layout: &LayoutRow, next: Layout) -> Result<(), RepartitionError> {
        let mut found = true;
        while std::mem::take(&mut found) {
            for place in layout.current.places(self.group) {
                let rows = again(|| self.store.rows_at(&place, false)).await?;
                found |= !rows.is_empty();
                for some in rows.chunks(AT_ONCE) {
                    self.pace(some.len()).await;
                    self.require(layout).await?;
                    self.carry(&place, some, next).await?;
                    self.tell(RepartitionPhase::Moving);
                }
            }
        }
        Ok(())
    }

    async fn carry(
        &mut self,
        place: &Partition,
        rows: &[(String, Item)],
        next: Layout,
    ) -> Result<(), StoreError> {
        let (calls, group) = (&self.store.calls, self.group);
        let carried = rows.iter().map(|(row, _)| async move {
            let to = next.place(group, row);
            again(|| calls.carry(place, &to, row)).await
        });
        for carried in join_all(carried).await {
            self.rows += u64::from(carried?);
        }
        Ok(())
    }

    /// Removes what the rows left, and rows that were put there although they went on.
    async fn clear(&mut self, layout: LayoutRow) -> Result<LayoutRow, RepartitionError> {
        let (store, Some(cleared)) = (self.store, layout.cleared) else { return Ok(layout) };
        self.rows = 0;
        for place in cleared.places(self.group) {
            for (row, _) in again(|| store.rows_at(&place, false)).await? {
                self.require(&layout).await?;
                let to = layout.current.place(self.group, &row);
                again(|| store.calls.carry(&place, &to, &row)).await?;
            }
            let rows = again(|| store.rows_at(&place, true)).await?;
            for some in rows.chunks(AT_ONCE) {
                self.pace(some.len()).await;
                self.require(&layout).await?;
                let cleared = some.iter().map(|(row, _)| {
                    let place = &place;
                    async move { again(|| store.calls.clear(place, row)).await }
                });
                for cleared in join_all(cleared).await {
                    cleared?;
                    self.rows += 1;
                }
                self.tell(RepartitionPhase::Clearing);
            }
        }
        self.change(layout, LayoutRow { cleared: None, ..layout }).await
    }

    /// Waits until so many rows more may go.
    async fn pace(&mut self, rows: usize) {
        sleep_until(self.next).await;
        let time = Duration::from_secs(rows as u64) / self.how.rows_per_second.max(1);
        self.next = self.next.max(Instant::now()) + time;
    }
}

/// Tries again what may go through later.
async fn again<T, F>(mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Err(error) if error.is_retryable() && failures < TRIES => {
                failures += 1;
                tracing::debug!(%error, "a row could not go to its new key, trying again");
                sleep(PAUSE.delay(failures)).await;
            }
            outcome => return outcome,
        }
    }
}

impl super::calls::Calls {
    /// Stores a layout where the one seen is. Whether it was.
    async fn change_layout(
        &self,
        group: &GroupId,
        seen: LayoutRow,
        to: LayoutRow,
    ) -> Result<bool, StoreError> {
        let base = Partition::from(group);
        let stored = self.item(&base, LAYOUT_ROW).await?;
        let is_seen = match &stored {
            None => seen == LayoutRow::default(),
            Some(item) => LayoutRow::read(item).is_ok_and(|row| row == seen),
        };
        if !is_seen {
            return Ok(false);
        }
        self.replace(to.item(&base), stored.as_ref()).await
    }
}

impl fmt::Display for RepartitionPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Moving => "moving",
            Self::Settling => "settling",
            Self::Clearing => "clearing",
        })
    }
}
