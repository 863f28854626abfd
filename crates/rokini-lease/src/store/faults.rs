//! Disturbs the calls on their way to another store, as told, the same way for the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{LeaseStore, Listing, StoreOperation};
use crate::{
    Epoch, GroupId, GroupRow, GroupUpdate, GroupView, LeaseKey, LeaseRow, LeaseUpdate, StoreError,
    StoreErrorKind, StreamId, StreamRow, WorkerId, WorkerRow, WorkerUpdate, WriteOutcome,
};

mod stale;

/// Listings remembered, per group and kind, for stale ones.
const HISTORY: usize = 4;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFault {
    /// It fails and never reaches the store.
    FailBefore,
    /// It takes effect, and its reply is lost: an error that says so for writes.
    LoseReply,
    /// It takes effect, its reply is lost, and it is made once more within the call, as an SDK does. What that
    /// comes to is settled as the contract of [`LeaseStore`] says.
    Retry,
    /// It is refused by the rate limits.
    Throttle,
    /// It takes this much longer before it reaches the store. Delays add up.
    Delay(Duration),
    /// It takes this much longer after it has reached the store.
    DelayReply(Duration),
    /// A listing shows each row as of some earlier listing. Other calls are left alone.
    StaleListing,
}

/// The calls that a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultTarget {
    /// Every call but `init`.
    All,
    /// Calls that can change a row.
    Writes,
    /// Calls that only read.
    Reads,
    /// Calls of one kind.
    Only(StoreOperation),
}

impl From<StoreOperation> for FaultTarget {
    fn from(operation: StoreOperation) -> Self {
        Self::Only(operation)
    }
}

impl FaultTarget {
    fn has(self, operation: StoreOperation) -> bool {
        match self {
            Self::All => operation != StoreOperation::Init,
            Self::Writes => operation.is_write(),
            Self::Reads => !operation.is_write() && operation != StoreOperation::Init,
            Self::Only(one) => one == operation,
        }
    }
}

#[derive(Debug)]
struct Rule {
    target: FaultTarget,
    fault: StoreFault,
    when: When,
}

#[derive(Debug)]
enum When {
    /// The next so many calls.
    Next(u32),
    /// Each call with this probability.
    Chance(f64),
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    rules: Vec<Rule>,
    out: bool,
    injected: u64,
    history: BTreeMap<(GroupId, bool), VecDeque<Arc<GroupView>>>,
}

/// Disturbs the calls to another store: by script, by chance, or all of them. Clones share the store and the
/// script; two wrappers around clones of one [`crate::MemoryStore`] are two links to one store.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use rokini_lease::store::{Listing, StoreOperation};
/// use rokini_lease::{StoreFault, FaultyStore, GroupId, LeaseStore, MemoryStore};
/// let store = FaultyStore::new(MemoryStore::new(), 1);
/// store.next(StoreOperation::ListWorkers, StoreFault::Throttle, 1);
/// let group = GroupId::new("billing")?;
/// assert!(store.list(&group, Listing::Workers).await.is_err());
/// assert!(store.list(&group, Listing::Workers).await.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: Arc<S>,
    state: Arc<Mutex<State>>,
}

impl<S> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), state: Arc::clone(&self.state) }
    }
}

/// What one call meets.
#[derive(Debug, Default)]
struct Course {
    write: bool,
    delay: Duration,
    delay_reply: Duration,
    /// The call fails with this before it reaches the store.
    refusal: Option<StoreErrorKind>,
    lose_reply: bool,
    retry: bool,
    stale: bool,
}

impl<S: LeaseStore> FaultyStore<S> {
    /// No faults yet. `seed` decides everything left to chance.
    pub fn new(inner: S, seed: u64) -> Self {
        let state = State {
            rng: SmallRng::seed_from_u64(seed),
            rules: Vec::new(),
            out: false,
            injected: 0,
            history: BTreeMap::new(),
        };
        Self { inner: Arc::new(inner), state: Arc::new(Mutex::new(state)) }
    }

    /// The next `times` calls of the target meet the fault.
    pub fn next(&self, target: impl Into<FaultTarget>, fault: StoreFault, times: u32) {
        self.rule(target.into(), fault, When::Next(times));
    }

    /// From now on each call of the target meets the fault with this probability (0 to 1).
    pub fn chance(&self, target: impl Into<FaultTarget>, fault: StoreFault, probability: f64) {
        self.rule(target.into(), fault, When::Chance(probability.clamp(0.0, 1.0)));
    }

    /// While on, no call reaches the store: each fails as unavailable, after the delays that are set for it.
    /// Writes then say that they may have applied, since a caller cannot know.
    pub fn outage(&self, on: bool) {
        self.state().out = on;
    }

    /// Ends the outage and forgets every fault set so far.
    pub fn heal(&self) {
        let mut state = self.state();
        state.out = false;
        state.rules.clear();
    }

    /// How many faults calls have met so far. Calls in an outage count once.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.state().injected
    }

    /// The store that the calls go to.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, target: FaultTarget, fault: StoreFault, when: When) {
        self.state().rules.push(Rule { target, fault, when });
    }

    fn course(&self, operation: StoreOperation) -> Course {
        let mut course = Course { write: operation.is_write(), ..Course::default() };
        let mut state = self.state();
        let State { rng, rules, injected, .. } = &mut *state;
        for rule in rules.iter_mut().filter(|rule| rule.target.has(operation)) {
            let met = match &mut rule.when {
                When::Next(0) => false,
                When::Next(times) => {
                    *times -= 1;
                    true
                }
                When::Chance(probability) => rng.random_bool(*probability),
            };
            if !met {
                continue;
            }
            *injected += 1;
            match rule.fault {
                StoreFault::FailBefore => {
                    course.refusal = course.refusal.or(Some(StoreErrorKind::Unavailable))
                }
                StoreFault::Throttle => course.refusal = course.refusal.or(Some(StoreErrorKind::Throttled)),
                StoreFault::LoseReply => course.lose_reply = true,
                StoreFault::Retry => course.retry = true,
                StoreFault::Delay(delay) => course.delay += delay,
                StoreFault::DelayReply(delay) => course.delay_reply += delay,
                StoreFault::StaleListing => course.stale = true,
            }
        }
        rules.retain(|rule| !matches!(rule.when, When::Next(0)));
        course
    }

    /// Fails when the store is out.
    fn reach(&self, course: &Course) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.out {
            state.injected += 1;
            let message = "the store does not answer: wait until it does";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message).may_have_applied(course.write));
        }
        match course.refusal {
            None => Ok(()),
            Some(StoreErrorKind::Throttled) => {
                let message = "the store is asked for too much: try again later";
                Err(StoreError::new(StoreErrorKind::Throttled, message))
            }
            Some(kind) => Err(StoreError::new(kind, "the store cannot be reached: try again")),
        }
    }

    async fn around<T>(
        &self,
        course: &Course,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if course.delay > Duration::ZERO {
            tokio::time::sleep(course.delay).await;
        }
        self.reach(course)?;
        let result = call.await?;
        if course.delay_reply > Duration::ZERO {
            tokio::time::sleep(course.delay_reply).await;
        }
        if course.lose_reply {
            let message = "the reply of the store was lost: read the row back";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message).may_have_applied(course.write));
        }
        Ok(result)
    }

    /// Makes a conditional write, once more where the course says so.
    async fn write<'a, R: Send>(
        &self,
        operation: impl Into<StoreOperation>,
        write: impl Fn() -> BoxFuture<'a, Result<WriteOutcome<R>, StoreError>> + Send + Sync,
        took_effect: impl Fn(&R) -> bool + Send + Sync,
    ) -> Result<WriteOutcome<R>, StoreError> {
        let course = self.course(operation.into());
        let call = async {
            let first = write().await?;
            if !course.retry {
                return Ok(first);
            }
            Ok(match write().await? {
                WriteOutcome::Applied { before: Some(before), after } if took_effect(&before) => {
                    WriteOutcome::Applied { before: None, after }
                }
                WriteOutcome::Refused { current: Some(current) } if took_effect(&current) => {
                    WriteOutcome::Applied { before: None, after: current }
                }
                other => other,
            })
        };
        self.around(&course, call).await
    }

    /// Shows a listing as of earlier ones, or remembers it for later.
    fn age(&self, group: &GroupId, listing: Listing, stale: bool, view: GroupView) -> GroupView {
        let mut state = self.state();
        let State { rng, history, .. } = &mut *state;
        let seen = history.entry((group.clone(), listing == Listing::All)).or_default();
        if stale && !seen.is_empty() {
            return stale::mix(seen, rng);
        }
        if seen.len() == HISTORY {
            seen.pop_front();
        }
        seen.push_back(Arc::new(view.clone()));
        view
    }
}

#[async_trait]
impl<S: LeaseStore> LeaseStore for FaultyStore<S> {
    async fn init(&self) -> Result<(), StoreError> {
        self.around(&self.course(StoreOperation::Init), self.inner.init()).await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        let course = self.course(listing.into());
        let view = self.around(&course, self.inner.list(group, listing)).await?;
        Ok(match listing {
            Listing::WorkersNow => view,
            _ => self.age(group, listing, course.stale, view),
        })
    }

    async fn worker(&self, group: &GroupId, id: &WorkerId) -> Result<Option<WorkerRow>, StoreError> {
        self.around(&self.course(StoreOperation::Read), self.inner.worker(group, id)).await
    }

    async fn lease(&self, group: &GroupId, key: &LeaseKey) -> Result<Option<LeaseRow>, StoreError> {
        self.around(&self.course(StoreOperation::Read), self.inner.lease(group, key)).await
    }

    async fn stream(&self, group: &GroupId, id: &StreamId) -> Result<Option<StreamRow>, StoreError> {
        self.around(&self.course(StoreOperation::Read), self.inner.stream(group, id)).await
    }

    async fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        let insert = || self.inner.insert_worker(group, row);
        self.write(StoreOperation::Insert, insert, |current| current == row).await
    }

    async fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        let insert = || self.inner.insert_lease(group, row);
        self.write(StoreOperation::Insert, insert, |current| current == row).await
    }

    async fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> Result<WriteOutcome<StreamRow>, StoreError> {
        let insert = || self.inner.insert_stream(group, row);
        self.write(StoreOperation::Insert, insert, |current| current == row).await
    }

    async fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        update: &WorkerUpdate,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        let write = || self.inner.update_worker(group, id, update);
        self.write(update, write, |row| update.took_effect(row)).await
    }

    async fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        update: &LeaseUpdate,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        let write = || self.inner.update_lease(group, key, update);
        self.write(update, write, |row| update.took_effect(row)).await
    }

    async fn delete_worker(&self, group: &GroupId, id: &WorkerId) -> Result<(), StoreError> {
        let course = self.course(StoreOperation::Delete);
        let delete = async {
            if course.retry {
                self.inner.delete_worker(group, id).await?;
            }
            self.inner.delete_worker(group, id).await
        };
        self.around(&course, delete).await
    }

    async fn delete_lease(&self, group: &GroupId, key: &LeaseKey, seen: Epoch) -> Result<bool, StoreError> {
        let course = self.course(StoreOperation::Delete);
        let delete = async {
            if course.retry {
                self.inner.delete_lease(group, key, seen).await?;
            }
            self.inner.delete_lease(group, key, seen).await
        };
        self.around(&course, delete).await
    }

    async fn group(&self, group: &GroupId) -> Result<GroupRow, StoreError> {
        self.around(&self.course(StoreOperation::Read), self.inner.group(group)).await
    }

    async fn update_group(&self, group: &GroupId, update: &GroupUpdate) -> Result<GroupRow, StoreError> {
        let course = self.course(StoreOperation::UpdateGroup);
        let call = async {
            if course.retry {
                self.inner.update_group(group, update).await?;
            }
            self.inner.update_group(group, update).await
        };
        self.around(&course, call).await
    }

    async fn delete_stream(&self, group: &GroupId, id: &StreamId) -> Result<(), StoreError> {
        self.around(&self.course(StoreOperation::Delete), self.inner.delete_stream(group, id)).await
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StoreError> {
        self.around(&self.course(StoreOperation::Delete), self.inner.delete_group(group)).await
    }
}

#[cfg(test)]
mod tests;
