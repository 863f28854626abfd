//! The leases that a worker believes it holds, and those it gave up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::hold::Hold;
use crate::row::LeaseRow;
use crate::types::{Epoch, LeaseKey};

/// What to do about a row that names this worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OwnRow {
    /// Nothing: held, or the task that had it has not ended yet.
    InOrder,
    /// Under a new epoch: take it up as it is.
    TakeUp,
    /// Under an epoch that was given up: acquire it anew.
    AcquireAgain,
}

/// The leases this worker believes it holds, and those it gave up.
#[derive(Default)]
pub(super) struct HoldTable {
    pub(super) held: BTreeMap<LeaseKey, Arc<Hold>>,
    /// `Lease` values that user tasks still have, held or lost.
    pub(super) in_use: BTreeSet<LeaseKey>,
    /// The highest epoch under which each lease was given up, and when. A stale listing still shows those.
    gave_up: BTreeMap<LeaseKey, (Epoch, Instant)>,
    /// The highest epoch known of each lease that was deleted and made anew.
    made_anew: BTreeMap<LeaseKey, Epoch>,
}

impl HoldTable {
    /// What was given up under this epoch or a later one is not granted by a reply that came late.
    pub(super) fn gave_up(&self, key: &LeaseKey, epoch: Epoch) -> bool {
        self.gave_up.get(key).is_some_and(|(gave_up, _)| epoch <= *gave_up)
    }

    /// The next epoch of a lease after all that is known of its key: held once and given up, or deleted meanwhile.
    pub(super) fn next_epoch(&self, key: &LeaseKey) -> Epoch {
        let gave_up = self.gave_up.get(key).map(|(epoch, _)| *epoch);
        gave_up.max(self.made_anew.get(key).copied()).map_or(Epoch(0), Epoch::next)
    }

    pub(super) fn own_row(&self, row: &LeaseRow) -> OwnRow {
        if row.position.is_shard_end() || self.in_use.contains(&row.key) || self.held.contains_key(&row.key) {
            OwnRow::InOrder
        } else if self.gave_up(&row.key, row.epoch) {
            OwnRow::AcquireAgain
        } else {
            OwnRow::TakeUp
        }
    }

    pub(super) fn give_up(&mut self, hold: &Hold) {
        self.held.remove(&hold.key);
        let before = self.gave_up.get(&hold.key).map_or(hold.epoch, |(epoch, _)| *epoch);
        self.gave_up.insert(hold.key.clone(), (before.max(hold.epoch), Instant::now()));
    }

    /// The lease was made anew, and its row begins at a low epoch: what it says is not old.
    pub(super) fn forget_given_up(&mut self, key: &LeaseKey) {
        if let Some((epoch, _)) = self.gave_up.remove(key) {
            let highest = self.made_anew.entry(key.clone()).or_default();
            *highest = epoch.max(*highest);
        }
    }

    /// Kept while the lease exists: a listing or a reply may arrive that is older than the one that showed these keys. So
    /// may that one be, and not show a lease that was given up within `recent`.
    pub(super) fn forget_all_but(&mut self, keys: &BTreeSet<&LeaseKey>, recent: Duration) {
        self.gave_up.retain(|key, (_, at)| keys.contains(key) || at.elapsed() < recent);
        self.made_anew.retain(|key, _| keys.contains(key));
    }
}
