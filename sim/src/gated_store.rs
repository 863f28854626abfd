//! The lease store as one worker sees it: behind the gate of its process, with the defects of a broken variant.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rokini_lease::{
    GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, LeaseUpdate, Listing, ListingPage,
    ListingQuery, Position, Progress, Row, RowKey, RowOutcome, RowWrite, StoreError, StoreErrorKind,
    StoreOperation, WorkerId, WorkerState, WorkerUpdate,
};
use tokio::sync::oneshot;
use tokio::task::spawn;
use tokio::time::sleep;

use crate::faults::StorePath;
use crate::process_gate::{ProcessGate, lock};
use crate::recorder::Recorder;

/// What others are judged by where that is a defect.
pub(crate) const SHORT_FAILOVER: Duration = Duration::from_millis(1_200);

/// How long a call takes that gets no answer.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// Defects of the store, to show that the checks see what they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreBug {
    /// Hand-overs leave the position out.
    DropsPositions,
    /// Children are inserted without their parents.
    DropsParents,
    /// Children are not inserted, though the caller is told so.
    DropsChildren,
    /// Every acquisition of one lease in three is refused, and every claim.
    RefusesSome,
    /// Each heartbeat is sent twice, the second time with the old condition.
    RepeatsHeartbeats,
    /// Rows of workers are never removed.
    KeepsWorkers,
    /// The worker claims a shard of another now and then, without need.
    ClaimsNeedlessly,
    /// Positions are stored lower than they are, under the conditions of a seek.
    LowersPositions,
    /// A record of which a part is done is stored as done.
    RoundsPositions,
    /// A row of a worker whose insert got no answer is taken to be there.
    AssumesJoined,
    /// Rows of other workers are read with a failover time of little more than a second.
    ShortensFailover,
    /// A shard that is left to nobody is paused.
    PausesWhatItLeaves,
}

/// The store as one worker sees it.
#[derive(Debug, Clone)]
pub struct GatedStore<S> {
    inner: S,
    gate: ProcessGate,
    bug: Option<StoreBug>,
    calls: Arc<Mutex<u64>>,
    me: Arc<Mutex<Option<WorkerId>>>,
    /// The parts of the way that fail.
    paths: Arc<Mutex<BTreeSet<StorePath>>>,
    /// Who is told which rows of workers are this worker's, under its number.
    recorder: Option<(Recorder, u32)>,
    /// What each call takes, and what a listing of everything takes beside it.
    latency: (Duration, Duration),
}

impl<S: LeaseStore + Clone> GatedStore<S> {
    pub(crate) fn new(inner: S, gate: ProcessGate, bug: Option<StoreBug>) -> Self {
        Self {
            inner,
            gate,
            bug,
            calls: Arc::default(),
            me: Arc::default(),
            paths: Arc::default(),
            recorder: None,
            latency: Default::default(),
        }
    }

    /// Tells the recorder which rows of workers are those of this worker.
    pub(crate) fn telling(mut self, recorder: Recorder, worker: u32) -> Self {
        self.recorder = Some((recorder, worker));
        self
    }

    /// A part of the way fails from now on, or works again.
    pub(crate) fn fail(&self, path: StorePath, on: bool) {
        let mut paths = lock(&self.paths);
        if on {
            paths.insert(path);
        } else {
            paths.remove(&path);
        }
    }

    /// The whole way works again.
    pub(crate) fn heal(&self) {
        lock(&self.paths).clear();
    }

    fn shorten_failovers(&self, view: &mut GroupView) {
        for row in view.workers.iter_mut().filter(|_| self.has_bug(StoreBug::ShortensFailover)) {
            row.report.failover = SHORT_FAILOVER;
        }
    }

    fn failing(&self, operation: StoreOperation) -> Option<StorePath> {
        lock(&self.paths).iter().find(|path| path.has(operation)).copied()
    }

    /// The way of a call that fails on it.
    async fn refuse(&self, path: StorePath, write: bool) -> StoreError {
        match path {
            StorePath::Everything => {
                sleep(NO_ANSWER).await;
                unanswered(write)
            }
            StorePath::Reads => StoreError::new(StoreErrorKind::Throttled, "asked for too much"),
            StorePath::Permission => StoreError::new(StoreErrorKind::Permission, "no write is allowed"),
            _ => StoreError::new(StoreErrorKind::Unavailable, "this call fails"),
        }
    }

    /// Every call takes so long, and a listing of everything so much more.
    pub(crate) fn with_latency(mut self, call: Duration, listing: Duration) -> Self {
        self.latency = (call, listing);
        self
    }

    async fn travel(&self, time: Duration) {
        if !time.is_zero() {
            sleep(time).await;
        }
    }

    fn has_bug(&self, bug: StoreBug) -> bool {
        self.bug == Some(bug)
    }

    /// Every third call.
    fn every_third_call(&self) -> bool {
        let mut calls = lock(&self.calls);
        *calls += 1;
        calls.is_multiple_of(3)
    }

    async fn claim_needlessly(&self, group: &GroupId, view: &GroupView) -> Result<(), StoreError> {
        let Some(by) = lock(&self.me).clone() else { return Ok(()) };
        let others = |row: &&LeaseRow| row.owner.as_ref().is_some_and(|owner| *owner != by);
        if let Some(row) = view.leases.iter().find(others) {
            let claim = LeaseUpdate::Claim { by: by.clone(), seen: row.epoch, over: row.claim.clone() };
            self.inner.update_lease(group, &row.key, &claim).await?;
        }
        Ok(())
    }

    async fn call<T: Send>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let write = operation.is_write();
        self.gate.before().await.map_err(|_| unanswered(write))?;
        self.travel(self.latency.0).await;
        let failing = self.failing(operation);
        if let Some(path) = failing.filter(|path| *path != StorePath::Replies) {
            return Err(self.refuse(path, write).await);
        }
        let answer = call.await;
        self.gate.after().await.map_err(|_| unanswered(write))?;
        if failing.is_some() {
            sleep(NO_ANSWER).await;
            return Err(unanswered(write));
        }
        answer
    }

    /// A write that stands before a closed gate is made when it opens, whether its caller still waits or not: the
    /// request was on its way.
    async fn send<T: Send + 'static>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.gate.is_frozen() {
            return self.call(operation, call).await;
        }
        let (done, answer) = oneshot::channel();
        let gate = self.gate.clone();
        spawn(async move {
            if gate.thawed().await.is_ok() {
                // The caller may have given up.
                let _ = done.send(call.await);
            }
        });
        answer.await.unwrap_or_else(|_| Err(unanswered(true)))
    }
}

fn unanswered(write: bool) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "no answer").may_have_applied(write)
}

fn with_bug(bug: Option<StoreBug>, update: &LeaseUpdate) -> LeaseUpdate {
    let mut update = update.clone();
    if let (Some(StoreBug::DropsPositions), LeaseUpdate::HandOver { position, .. }) = (bug, &mut update) {
        *position = None;
    }
    if let (Some(StoreBug::RoundsPositions), LeaseUpdate::Checkpoint { position, .. }) = (bug, &mut update)
        && let Position::Sequence(sequence, Progress::Through(_)) = *position
    {
        *position = Position::after(sequence);
    }
    update
}

fn is_refused(key: &LeaseKey) -> bool {
    key.shard.as_str().bytes().last().is_some_and(|last| last.is_multiple_of(3))
}

#[async_trait]
impl<S: LeaseStore + Clone> LeaseStore for GatedStore<S> {
    async fn init(&self) -> Result<(), StoreError> {
        self.call(StoreOperation::Init, self.inner.init()).await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        if listing == Listing::All {
            self.travel(self.latency.1).await;
        }
        let mut view = self.call(listing.into(), self.inner.list(group, listing)).await?;
        self.shorten_failovers(&mut view);
        if self.has_bug(StoreBug::ClaimsNeedlessly) && listing == Listing::All && self.every_third_call() {
            self.claim_needlessly(group, &view).await?;
        }
        Ok(view)
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        if self.has_bug(StoreBug::ClaimsNeedlessly) {
            return Ok(part.of(self.list(group, part.whole()).await?));
        }
        let mut listed = self.call(part.whole().into(), self.inner.list_part(group, part)).await?;
        self.shorten_failovers(&mut listed.view);
        Ok(listed)
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.call(StoreOperation::Read, self.inner.read(group, key)).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        match write {
            RowWrite::Insert(Row::Worker(row)) => {
                *lock(&self.me) = Some(row.id.clone());
                if let Some((recorder, worker)) = &self.recorder {
                    recorder.joined(&row.id, *worker);
                }
                let answer = self.call(StoreOperation::Insert, self.inner.write(group, write)).await;
                match answer {
                    Err(error) if error.is_retryable() && self.has_bug(StoreBug::AssumesJoined) => {
                        Ok(RowOutcome::Stored { before: None, after: row.clone().into() })
                    }
                    answer => answer,
                }
            }
            RowWrite::Insert(Row::Lease(row)) => self.insert_lease(group, (**row).clone()).await,
            RowWrite::UpdateWorker(..) => self.update_worker(group, write.clone()).await,
            RowWrite::UpdateLease(key, update) => self.update_lease(group, key, update).await,
            RowWrite::Delete(RowKey::Worker(id)) if self.has_bug(StoreBug::KeepsWorkers) => {
                self.keep_worker(group, id).await
            }
            _ => self.call(write.into(), self.inner.write(group, write)).await,
        }
    }
}

impl<S: LeaseStore + Clone> GatedStore<S> {
    async fn insert_lease(&self, group: &GroupId, mut row: LeaseRow) -> Result<RowOutcome, StoreError> {
        if !row.parents.is_empty() && self.has_bug(StoreBug::DropsChildren) {
            return Ok(RowOutcome::Stored { before: None, after: row.into() });
        }
        if self.has_bug(StoreBug::DropsParents) {
            row.parents.clear();
        }
        self.call(StoreOperation::Insert, self.inner.write(group, &RowWrite::Insert(row.into()))).await
    }

    async fn update_worker(&self, group: &GroupId, write: RowWrite) -> Result<RowOutcome, StoreError> {
        let (store, group) = (self.inner.clone(), group.clone());
        let twice = self.has_bug(StoreBug::RepeatsHeartbeats)
            && matches!(write, RowWrite::UpdateWorker(_, WorkerUpdate::Heartbeat { .. }));
        self.send((&write).into(), async move {
            let outcome = store.write(&group, &write).await;
            if twice {
                let _ = store.write(&group, &write).await;
            }
            outcome
        })
        .await
    }

    async fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        update: &LeaseUpdate,
    ) -> Result<RowOutcome, StoreError> {
        let refused = match update {
            LeaseUpdate::Acquire { .. } => is_refused(key),
            LeaseUpdate::Claim { .. } => true,
            _ => false,
        };
        if refused && self.has_bug(StoreBug::RefusesSome) {
            let current = self.inner.read(group, &RowKey::Lease(key.clone())).await?;
            return Ok(RowOutcome::Refused { current });
        }
        let lowers =
            self.has_bug(StoreBug::LowersPositions) && matches!(update, LeaseUpdate::Checkpoint { .. });
        let write = RowWrite::UpdateLease(key.clone(), with_bug(self.bug, update));
        let pauses = self.has_bug(StoreBug::PausesWhatItLeaves)
            && matches!(update, LeaseUpdate::HandOver { to: None, .. });
        let (store, group, key) = (self.inner.clone(), group.clone(), key.clone());
        self.send((&write).into(), async move {
            let outcome = store.write(&group, &write).await?;
            if let RowOutcome::Stored { before: Some(Row::Lease(before)), after: Row::Lease(after) } =
                &outcome
                && lowers
            {
                let back = LeaseUpdate::Seek { seen: after.epoch, to: before.position, order: None };
                store.update_lease(&group, &key, &back).await?;
            }
            if pauses {
                store.update_lease(&group, &key, &LeaseUpdate::Pause { paused: true, order: None }).await?;
            }
            Ok(outcome)
        })
        .await
    }

    /// The worker's row stays, and looks dead to the others all the same.
    async fn keep_worker(&self, group: &GroupId, id: &WorkerId) -> Result<RowOutcome, StoreError> {
        if let Some(row) = self.inner.worker(group, id).await?
            && row.state != WorkerState::Fenced
        {
            self.inner.update_worker(group, id, &WorkerUpdate::Fence { seen: row.heartbeat }).await?;
        }
        Ok(RowOutcome::Deleted)
    }
}
