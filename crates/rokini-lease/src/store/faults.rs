//! Disturbs the calls on their way to another store, as told, the same way for the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::contract::LeaseStore;
use super::listing::{Listing, ListingPage, ListingQuery};
use super::operation::StoreOperation;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{GroupView, Row, RowKey};
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

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
    /// It takes effect, and the store panics before it says so.
    Panic,
    /// A listing shows each row as of some earlier listing. Other calls are left alone.
    StaleListing,
}

/// The calls that a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
/// use rokini_lease::{FaultyStore, GroupId, LeaseStore, Listing, MemoryStore, StoreFault, StoreOperation};
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
struct CallFaults {
    write: bool,
    delay: Duration,
    delay_reply: Duration,
    /// The call fails with this before it reaches the store.
    refusal: Option<StoreErrorKind>,
    lose_reply: bool,
    panic: bool,
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

    fn faults_of(&self, operation: StoreOperation) -> CallFaults {
        let mut faults = CallFaults { write: operation.is_write(), ..CallFaults::default() };
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
                    faults.refusal = faults.refusal.or(Some(StoreErrorKind::Unavailable));
                }
                StoreFault::Throttle => faults.refusal = faults.refusal.or(Some(StoreErrorKind::Throttled)),
                StoreFault::LoseReply => faults.lose_reply = true,
                StoreFault::Panic => faults.panic = true,
                StoreFault::Retry => faults.retry = true,
                StoreFault::Delay(delay) => faults.delay += delay,
                StoreFault::DelayReply(delay) => faults.delay_reply += delay,
                StoreFault::StaleListing => faults.stale = true,
            }
        }
        rules.retain(|rule| !matches!(rule.when, When::Next(0)));
        faults
    }

    /// Whether listings of this kind may be shown as of earlier ones: those that are remembered are whole.
    fn may_be_stale(&self, operation: StoreOperation) -> bool {
        let stale = |rule: &Rule| rule.fault == StoreFault::StaleListing && rule.target.has(operation);
        self.state().rules.iter().any(stale)
    }

    /// Fails when the store is out.
    fn reach(&self, faults: &CallFaults) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.out {
            state.injected += 1;
            let message = "the store does not answer: wait until it does";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message).may_have_applied(faults.write));
        }
        match faults.refusal {
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
        faults: &CallFaults,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if faults.delay > Duration::ZERO {
            tokio::time::sleep(faults.delay).await;
        }
        self.reach(faults)?;
        let result = call.await?;
        if faults.delay_reply > Duration::ZERO {
            tokio::time::sleep(faults.delay_reply).await;
        }
        assert!(!faults.panic, "the store panics, as it was told to");
        if faults.lose_reply {
            let message = "the reply of the store was lost: read the row back";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message).may_have_applied(faults.write));
        }
        Ok(result)
    }

    /// Makes a write, and once more where it is retried.
    async fn tries(&self, group: &GroupId, write: &RowWrite, retry: bool) -> Result<RowOutcome, StoreError> {
        let first = self.inner.write(group, write).await?;
        if !retry {
            return Ok(first);
        }
        Ok(match self.inner.write(group, write).await? {
            RowOutcome::Stored { before: Some(before), after } if write.took_effect(Some(&before)) => {
                RowOutcome::Stored { before: None, after }
            }
            RowOutcome::Refused { current: Some(current) } if write.took_effect(Some(&current)) => {
                RowOutcome::Stored { before: None, after: current }
            }
            other => other,
        })
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
        self.around(&self.faults_of(StoreOperation::Init), self.inner.init()).await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        let faults = self.faults_of(listing.into());
        let view = self.around(&faults, self.inner.list(group, listing)).await?;
        Ok(match listing {
            Listing::WorkersNow => view,
            _ => self.age(group, listing, faults.stale, view),
        })
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        if self.may_be_stale(part.whole().into()) {
            return Ok(part.of(self.list(group, part.whole()).await?));
        }
        let faults = self.faults_of(part.whole().into());
        self.around(&faults, self.inner.list_part(group, part)).await
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.around(&self.faults_of(StoreOperation::Read), self.inner.read(group, key)).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let faults = self.faults_of(write.into());
        self.around(&faults, self.tries(group, write, faults.retry)).await
    }
}

#[cfg(test)]
mod tests;
