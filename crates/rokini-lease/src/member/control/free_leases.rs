//! Leases that stay free although the plan gives them to somebody else.

use std::collections::BTreeMap;

use crate::plan::{Move, may_take};
use crate::row::{GroupView, LeaseRow};
use crate::types::{LeaseKey, WorkerId};

/// For how many looks of this worker each has been free.
#[derive(Debug, Default)]
pub(super) struct FreeLeases(BTreeMap<LeaseKey, u32>);

impl FreeLeases {
    /// Takes in a listing with its plan. Those that are for this worker to take now.
    pub(super) fn look(&mut self, view: &GroupView, moves: &[Move], me: &WorkerId) -> Vec<LeaseRow> {
        let mut before = std::mem::take(&mut self.0);
        let free = moves.iter().filter(|to_do| to_do.from.is_none() && to_do.to != *me);
        self.0 = free
            .map(|to_do| {
                let looks = before.remove(&to_do.key).unwrap_or_default();
                (to_do.key.clone(), looks.saturating_add(1))
            })
            .collect();
        let mine = |row: &&LeaseRow| {
            self.0.get(&row.key).is_some_and(|looks| may_take(&row.key, me, *looks, &view.workers))
        };
        view.leases.iter().filter(mine).cloned().collect()
    }
}
