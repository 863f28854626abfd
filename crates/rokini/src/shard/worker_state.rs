//! How a worker stands: how far it is in its life, its membership in the group, the shards it works on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rokini_lease::{LeaseKey, Member, StreamId};
use tokio::sync::watch;

use super::progress::ShardProgress;
use crate::types::phase::ConsumerPhase;

/// The shards of a worker, by lease.
pub(crate) type HeldShards = BTreeMap<LeaseKey, Arc<ShardProgress>>;

pub(crate) struct WorkerState {
    state: Mutex<State>,
    /// How many shards have left so far.
    left: watch::Sender<u64>,
}

struct State {
    phase: ConsumerPhase,
    member: Option<Member>,
    shards: HeldShards,
}

impl Default for WorkerState {
    fn default() -> Self {
        let state = State { phase: ConsumerPhase::Created, member: None, shards: BTreeMap::new() };
        Self { state: Mutex::new(state), left: watch::Sender::default() }
    }
}

impl fmt::Debug for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerState").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl WorkerState {
    pub(crate) fn phase(&self) -> ConsumerPhase {
        self.state.lock().phase
    }

    pub(crate) fn set_phase(&self, phase: ConsumerPhase) {
        self.state.lock().phase = phase;
    }

    /// Runs this unless the consumer has been started; the start waits until it has returned.
    pub(crate) fn before_start<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let state = self.state.lock();
        (state.phase == ConsumerPhase::Created).then(run)
    }

    /// `None` before the worker has joined its group, and while it joins anew.
    pub(crate) fn member(&self) -> Option<Member> {
        self.state.lock().member.clone()
    }

    pub(crate) fn set_member(&self, member: Option<Member>) {
        self.state.lock().member = member;
    }

    pub(crate) fn shards(&self) -> HeldShards {
        self.state.lock().shards.clone()
    }

    pub(crate) fn add(&self, shard: &Arc<ShardProgress>) {
        self.state.lock().shards.insert(LeaseKey::clone(shard.context.key()), Arc::clone(shard));
    }

    /// A later hold of the same shard stays.
    pub(crate) fn remove(&self, shard: &Arc<ShardProgress>) {
        let mut state = self.state.lock();
        let key: &LeaseKey = shard.context.key();
        if state.shards.get(key).is_some_and(|found| Arc::ptr_eq(found, shard)) {
            state.shards.remove(key);
        }
        drop(state);
        self.left.send_modify(|left| *left += 1);
    }

    /// Waits until no shard of the stream is worked on.
    pub(crate) async fn until_without(&self, stream: &StreamId) {
        let mut left = self.left.subscribe();
        while self.shards().keys().any(|key| key.stream == *stream) {
            if left.changed().await.is_err() {
                return;
            }
        }
    }

    /// Numbers that the shards only noted so far reach whoever collects them.
    pub(crate) fn flush_observers(&self) {
        self.shards().values().for_each(|shard| shard.flush_observer());
    }
}
