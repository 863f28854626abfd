//! What stands between one worker and the world: it can be frozen, and it can die in any call.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rokini_lease::{
    Epoch, GroupId, GroupRow, GroupUpdate, GroupView, LeaseKey, LeaseRow, LeaseStore, LeaseUpdate, Listing,
    StoreError, StoreErrorKind, StreamId, StreamRow, WorkerId, WorkerRow, WorkerState, WorkerUpdate,
    WriteOutcome,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn;
use tokio::time::sleep;

/// Where in a call a worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Before it takes effect.
    Before,
    /// After it took effect, without its answer.
    After,
}

/// Defects of the store, to show that the judge sees what they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// Hand-overs leave the position out.
    DropsPositions,
    /// Children are inserted without their parents.
    DropsParents,
    /// Children are not inserted, though the caller is told so.
    DropsChildren,
    /// Every acquisition of one lease in three is refused, and every claim.
    RefusesSome,
    /// Each heartbeat is sent twice, the second time with the old condition.
    BeatsTwice,
    /// Rows of workers are never removed.
    KeepsWorkers,
    /// The worker claims a shard of another now and then, without need.
    ClaimsTooMuch,
    /// Positions are stored lower than they are, under the conditions of a seek.
    LowersPositions,
}

/// A worker's gate to the world. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<Mutex<State>>,
    /// Wakes in the order of arrival, which a watch channel does not.
    opens: Arc<Notify>,
    fuse: Arc<Mutex<Option<(u32, Where)>>>,
    died: mpsc::UnboundedSender<u32>,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Frozen,
    /// The process is gone: what is left of it in this one gets nothing out.
    Dead,
}

/// The process is dead: its calls are not made.
#[derive(Debug)]
pub(crate) struct Dead;

impl Gate {
    pub(crate) fn new(number: u32, died: mpsc::UnboundedSender<u32>) -> Self {
        let state = Arc::new(Mutex::new(State::Open));
        Self { state, opens: Arc::default(), fuse: Arc::default(), died, number }
    }

    /// Nothing goes out or comes in any more, until it thaws. What was on its way then goes on.
    pub fn freeze(&self, on: bool) {
        self.set(if on { State::Frozen } else { State::Open });
    }

    /// The worker is dead from now on.
    pub fn kill(&self) {
        self.set(State::Dead);
    }

    fn set(&self, new: State) {
        let mut state = lock(&self.state);
        if *state != State::Dead {
            *state = new;
        }
        drop(state);
        self.opens.notify_waiters();
    }

    /// The worker dies in the call that comes after so many others.
    pub fn die_in(&self, calls: u32, at: Where) {
        *self.fuse() = Some((calls, at));
    }

    /// Neither frozen nor about to die.
    pub fn heal(&self) {
        *self.fuse() = None;
        if self.is_frozen() {
            self.freeze(false);
        }
    }

    /// Whether the worker stands still.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        *lock(&self.state) == State::Frozen
    }

    fn fuse(&self) -> MutexGuard<'_, Option<(u32, Where)>> {
        lock(&self.fuse)
    }

    /// Waits while the worker is frozen.
    pub(crate) async fn thawed(&self) -> Result<(), Dead> {
        loop {
            let mut opens = pin!(self.opens.notified());
            opens.as_mut().enable();
            match *lock(&self.state) {
                State::Open => return Ok(()),
                State::Dead => return Err(Dead),
                State::Frozen => {}
            }
            opens.await;
        }
    }

    /// The way out.
    pub(crate) async fn before(&self) -> Result<(), Dead> {
        let dies = match &mut *self.fuse() {
            Some((0, Where::Before)) => true,
            Some((calls, _)) if *calls > 0 => {
                *calls -= 1;
                false
            }
            _ => false,
        };
        if dies {
            self.die();
        }
        self.thawed().await
    }

    /// The way back.
    pub(crate) async fn after(&self) -> Result<(), Dead> {
        if matches!(*self.fuse(), Some((0, Where::After))) {
            self.die();
        }
        self.thawed().await
    }

    fn die(&self) {
        self.kill();
        // Nobody asks once the run is over.
        let _ = self.died.send(self.number);
    }
}

/// The store as one worker sees it.
#[derive(Debug, Clone)]
pub struct GatedStore<S> {
    inner: S,
    gate: Gate,
    trick: Option<Trick>,
    calls: Arc<Mutex<u64>>,
    me: Arc<Mutex<Option<WorkerId>>>,
    /// What each call takes, and what a listing of everything takes beside it.
    latency: (Duration, Duration),
}

impl<S: LeaseStore + Clone> GatedStore<S> {
    pub(crate) fn new(inner: S, gate: Gate, trick: Option<Trick>) -> Self {
        Self { inner, gate, trick, calls: Arc::default(), me: Arc::default(), latency: Default::default() }
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

    fn plays(&self, trick: Trick) -> bool {
        self.trick == Some(trick)
    }

    /// Every third call.
    fn now_and_then(&self) -> bool {
        let mut calls = lock(&self.calls);
        *calls += 1;
        calls.is_multiple_of(3)
    }

    async fn claim_too_much(&self, group: &GroupId, view: &GroupView) -> Result<(), StoreError> {
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
    async fn write<T: Send + 'static>(
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unanswered() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "no answer").may_have_applied(true)
}

fn twisted(trick: Option<Trick>, update: &LeaseUpdate) -> LeaseUpdate {
    let mut update = update.clone();
    if let (Some(Trick::DropsPositions), LeaseUpdate::HandOver { position, .. }) = (trick, &mut update) {
        *position = None;
    }
    update
}

fn is_unlucky(key: &LeaseKey) -> bool {
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
        if self.plays(Trick::ClaimsTooMuch) && listing == Listing::All && self.now_and_then() {
            self.claim_too_much(group, &view).await?;
        }
        Ok(view)
    }

    async fn worker(&self, group: &GroupId, id: &WorkerId) -> Result<Option<WorkerRow>, StoreError> {
        self.call(self.inner.worker(group, id)).await
    }

    async fn lease(&self, group: &GroupId, key: &LeaseKey) -> Result<Option<LeaseRow>, StoreError> {
        self.call(self.inner.lease(group, key)).await
    }

    async fn stream(&self, group: &GroupId, id: &StreamId) -> Result<Option<StreamRow>, StoreError> {
        self.call(self.inner.stream(group, id)).await
    }

    async fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        *lock(&self.me) = Some(row.id.clone());
        self.call(self.inner.insert_worker(group, row)).await
    }

    async fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        let mut row = row.clone();
        if !row.parents.is_empty() && self.plays(Trick::DropsChildren) {
            return Ok(WriteOutcome::Applied { before: None, after: row });
        }
        if self.plays(Trick::DropsParents) {
            row.parents.clear();
        }
        self.call(self.inner.insert_lease(group, &row)).await
    }

    async fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> Result<WriteOutcome<StreamRow>, StoreError> {
        self.call(self.inner.insert_stream(group, row)).await
    }

    async fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        update: &WorkerUpdate,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        let (store, group, id, update) = (self.inner.clone(), group.clone(), id.clone(), update.clone());
        let twice = self.plays(Trick::BeatsTwice) && matches!(update, WorkerUpdate::Heartbeat { .. });
        self.write(async move {
            let outcome = store.update_worker(&group, &id, &update).await;
            if twice {
                let _ = store.update_worker(&group, &id, &update).await;
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
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        let refused = match update {
            LeaseUpdate::Acquire { .. } => is_unlucky(key),
            LeaseUpdate::Claim { .. } => true,
            _ => false,
        };
        if refused && self.plays(Trick::RefusesSome) {
            return Ok(WriteOutcome::Refused { current: self.inner.lease(group, key).await? });
        }
        let lowers = self.plays(Trick::LowersPositions) && matches!(update, LeaseUpdate::Checkpoint { .. });
        let update = twisted(self.trick, update);
        let (store, group, key) = (self.inner.clone(), group.clone(), key.clone());
        self.write(async move {
            let outcome = store.update_lease(&group, &key, &update).await?;
            if let (true, WriteOutcome::Applied { before: Some(before), after }) = (lowers, &outcome) {
                let back = LeaseUpdate::Seek { seen: after.epoch, to: before.position };
                store.update_lease(&group, &key, &back).await?;
            }
            Ok(outcome)
        })
        .await
    }

    async fn delete_worker(&self, group: &GroupId, id: &WorkerId) -> Result<(), StoreError> {
        if self.plays(Trick::KeepsWorkers) {
            // It looks dead to the others all the same.
            if let Some(row) = self.inner.worker(group, id).await?
                && row.state != WorkerState::Fenced
            {
                self.inner.update_worker(group, id, &WorkerUpdate::Fence { seen: row.heartbeat }).await?;
            }
            return Ok(());
        }
        self.call(self.inner.delete_worker(group, id)).await
    }

    async fn delete_lease(&self, group: &GroupId, key: &LeaseKey, seen: Epoch) -> Result<bool, StoreError> {
        self.call(self.inner.delete_lease(group, key, seen)).await
    }

    async fn delete_stream(&self, group: &GroupId, id: &StreamId) -> Result<(), StoreError> {
        self.call(self.inner.delete_stream(group, id)).await
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StoreError> {
        self.call(self.inner.delete_group(group)).await
    }

    async fn group(&self, group: &GroupId) -> Result<GroupRow, StoreError> {
        self.call(self.inner.group(group)).await
    }

    async fn update_group(&self, group: &GroupId, update: &GroupUpdate) -> Result<GroupRow, StoreError> {
        self.call(self.inner.update_group(group, update)).await
    }
}
