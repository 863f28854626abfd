//! What a worker knows of the others' rows, as its looks showed them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::row::{WorkerRow, WorkerState};
use crate::types::WorkerId;
use crate::watch::Look;

/// The rows of the workers, and whether this one is in reserve.
#[derive(Debug, Default)]
pub(super) struct FleetKnowledge {
    known: Mutex<Known>,
    in_reserve: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    rows: Arc<Vec<WorkerRow>>,
    /// Since when the rows of the dead are seen.
    fenced: BTreeMap<WorkerId, Instant>,
    /// For how long each heartbeat counter had stood at the last look at it.
    silences: BTreeMap<WorkerId, Duration>,
}

impl FleetKnowledge {
    fn with<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The workers, in the order of their ids.
    pub(super) fn rows(&self) -> Arc<Vec<WorkerRow>> {
        self.with(|known| Arc::clone(&known.rows))
    }

    /// Takes in the rows that a look showed at `now`, and what the watch made of them.
    pub(super) fn saw(
        &self,
        look: &Look,
        rows: &[WorkerRow],
        silences: BTreeMap<WorkerId, Duration>,
        now: Instant,
    ) {
        self.with(|known| {
            let mut merged: Vec<WorkerRow> = match look {
                Look::Whole => Vec::new(),
                Look::Block { after, until } => {
                    let outside = |row: &&WorkerRow| {
                        after.as_ref().is_some_and(|after| row.id <= *after)
                            || until.as_ref().is_some_and(|until| row.id > *until)
                    };
                    known.rows.iter().filter(outside).cloned().collect()
                }
            };
            merged.extend_from_slice(rows);
            merged.sort_by(|a, b| a.id.cmp(&b.id));
            let fenced = merged.iter().filter(|row| row.state == WorkerState::Fenced);
            let before = std::mem::take(&mut known.fenced);
            known.fenced =
                fenced.map(|row| (row.id.clone(), before.get(&row.id).copied().unwrap_or(now))).collect();
            known.silences = silences;
            known.rows = Arc::new(merged);
        });
    }

    /// For how long each heartbeat counter had stood at the last look at it.
    pub(super) fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        self.with(|known| known.silences.clone())
    }

    /// Since when the row of this dead worker is seen.
    pub(super) fn fenced_since(&self, id: &WorkerId) -> Option<Instant> {
        self.with(|known| known.fenced.get(id).copied())
    }

    /// How many workers without leases come before this one.
    pub(super) fn reserves_before(&self, me: &WorkerId) -> usize {
        let idle = |row: &&WorkerRow| row.state == WorkerState::Alive && row.load.leases == 0;
        self.rows().iter().take_while(|row| row.id < *me).filter(idle).count()
    }

    /// In reserve are workers without leases: their heartbeats are far apart.
    pub(super) fn is_in_reserve(&self) -> bool {
        self.in_reserve.load(Ordering::Relaxed)
    }

    /// Whether that changed.
    pub(super) fn set_in_reserve(&self, in_reserve: bool) -> bool {
        self.in_reserve.swap(in_reserve, Ordering::Relaxed) != in_reserve
    }
}
