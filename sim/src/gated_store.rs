//! The lease store as one worker sees it: behind the gate of its process, with the defects of a broken variant.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rokini_lease::{
    GroupId, GroupView, LeaseKey, LeaseRow, LeaseStore, LeaseStoreExt, LeaseUpdate, ListedPart, Listing,
    ListingPart, Row, RowKey, RowOutcome, RowWrite, StoreError, StoreErrorKind, WorkerId, WorkerState,
    WorkerUpdate,
};
use tokio::sync::oneshot;
use tokio::task::spawn;
use tokio::time::sleep;

use crate::process_gate::{ProcessGate, lock};

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
}

/// The store as one worker sees it.
#[derive(Debug, Clone)]
pub struct GatedStore<S> {
    inner: S,
    gate: ProcessGate,
    bug: Option<StoreBug>,
    calls: Arc<Mutex<u64>>,
    me: Arc<Mutex<Option<WorkerId>>>,
    /// What each call takes, and what a listing of everything takes beside it.
    latency: (Duration, Duration),
}

impl<S: LeaseStore + Clone> GatedStore<S> {
    pub(crate) fn new(inner: S, gate: ProcessGate, bug: Option<StoreBug>) -> Self {
        Self { inner, gate, bug, calls: Arc::default(), me: Arc::default(), latency: Default::default() }
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
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.gate.before().await.map_err(|_| unanswered())?;
        self.travel(self.latency.0).await;
        let answer = call.await;
        self.gate.after().await.map_err(|_| unanswered())?;
        answer
    }

    /// A write that stands before a closed gate is made when it opens, whether its caller still waits or not: the
    /// request was on its way.
    async fn send<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.gate.is_frozen() {
            return self.call(call).await;
        }
        let (done, answer) = oneshot::channel();
        let gate = self.gate.clone();
        spawn(async move {
            if gate.thawed().await.is_ok() {
                // The caller may have given up.
                let _ = done.send(call.await);
            }
        });
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    }
}

fn unanswered() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "no answer").may_have_applied(true)
}

fn with_bug(bug: Option<StoreBug>, update: &LeaseUpdate) -> LeaseUpdate {
    let mut update = update.clone();
    if let (Some(StoreBug::DropsPositions), LeaseUpdate::HandOver { position, .. }) = (bug, &mut update) {
        *position = None;
    }
    update
}

fn is_refused(key: &LeaseKey) -> bool {
    key.shard.as_str().bytes().last().is_some_and(|last| last.is_multiple_of(3))
}

#[async_trait]
impl<S: LeaseStore + Clone> LeaseStore for GatedStore<S> {
    async fn init(&self) -> Result<(), StoreError> {
        self.call(self.inner.init()).await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        if listing == Listing::All {
            self.travel(self.latency.1).await;
        }
        let view = self.call(self.inner.list(group, listing)).await?;
        if self.has_bug(StoreBug::ClaimsNeedlessly) && listing == Listing::All && self.every_third_call() {
            self.claim_needlessly(group, &view).await?;
        }
        Ok(view)
    }

    async fn list_part(&self, group: &GroupId, part: &ListingPart) -> Result<ListedPart, StoreError> {
        if self.has_bug(StoreBug::ClaimsNeedlessly) {
            return Ok(part.of(self.list(group, part.whole()).await?));
        }
        self.call(self.inner.list_part(group, part)).await
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.call(self.inner.read(group, key)).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        match write {
            RowWrite::Insert(Row::Worker(row)) => {
                *lock(&self.me) = Some(row.id.clone());
                self.call(self.inner.write(group, write)).await
            }
            RowWrite::Insert(Row::Lease(row)) => self.insert_lease(group, (**row).clone()).await,
            RowWrite::UpdateWorker(..) => self.update_worker(group, write.clone()).await,
            RowWrite::UpdateLease(key, update) => self.update_lease(group, key, update).await,
            RowWrite::Delete(RowKey::Worker(id)) if self.has_bug(StoreBug::KeepsWorkers) => {
                self.keep_worker(group, id).await
            }
            _ => self.call(self.inner.write(group, write)).await,
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
        self.call(self.inner.write(group, &RowWrite::Insert(row.into()))).await
    }

    async fn update_worker(&self, group: &GroupId, write: RowWrite) -> Result<RowOutcome, StoreError> {
        let (store, group) = (self.inner.clone(), group.clone());
        let twice = self.has_bug(StoreBug::RepeatsHeartbeats)
            && matches!(write, RowWrite::UpdateWorker(_, WorkerUpdate::Heartbeat { .. }));
        self.send(async move {
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
        let (store, group, key) = (self.inner.clone(), group.clone(), key.clone());
        self.send(async move {
            let outcome = store.write(&group, &write).await?;
            if let RowOutcome::Stored { before: Some(Row::Lease(before)), after: Row::Lease(after) } =
                &outcome
                && lowers
            {
                let back = LeaseUpdate::Seek { seen: after.epoch, to: before.position };
                store.update_lease(&group, &key, &back).await?;
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
