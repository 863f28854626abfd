//! Whether workers are alive: their heartbeats, watched for a little while.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::lease::{Listing, WorkerId, WorkerRow, WorkerState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::group_handle::GroupHandle;
use crate::error::CliError;

/// Between two listings of the workers.
const PAUSE: Duration = Duration::from_millis(400);

/// What a worker does, as far as its row and its heartbeats show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Liveness {
    /// Its heartbeat counter rose, or was not watched.
    Alive,
    /// It stops, and hands over what it has.
    Leaving,
    /// No heartbeat came while it was watched.
    Silent,
    /// It was declared dead.
    Fenced,
}

impl Liveness {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Silent => "silent",
            Self::Fenced => "fenced",
        }
    }

    fn of(row: &WorkerRow, has_heartbeat: bool) -> Self {
        match row.state {
            WorkerState::Fenced => Self::Fenced,
            _ if !has_heartbeat => Self::Silent,
            WorkerState::Leaving => Self::Leaving,
            WorkerState::Alive => Self::Alive,
        }
    }
}

/// By worker.
pub(crate) type WorkerLiveness = BTreeMap<WorkerId, Liveness>;

/// As the rows say: whoever is not fenced counts as alive.
pub(crate) fn from_rows(workers: &[WorkerRow]) -> WorkerLiveness {
    workers.iter().map(|row| (row.id.clone(), Liveness::of(row, true))).collect()
}

/// Watches until every worker that is not fenced has had a heartbeat, for two heartbeats and a half at most.
pub(crate) async fn watch(handle: &GroupHandle) -> Result<WorkerLiveness, CliError> {
    let heartbeat = handle.table.config.heartbeat;
    let until = Instant::now() + heartbeat * 5 / 2;
    let first: BTreeMap<&WorkerId, u64> =
        handle.view.workers.iter().map(|row| (&row.id, row.heartbeat)).collect();
    let mut workers: WorkerLiveness =
        handle.view.workers.iter().map(|row| (row.id.clone(), Liveness::of(row, false))).collect();
    while workers.values().any(|liveness| *liveness == Liveness::Silent) && Instant::now() < until {
        sleep(PAUSE).await;
        let rows = handle.table.list(&handle.group, Listing::Workers).await?.workers;
        for row in &rows {
            let has_heartbeat = first.get(&row.id).is_none_or(|counter| *counter != row.heartbeat);
            if has_heartbeat || row.state == WorkerState::Fenced {
                workers.insert(row.id.clone(), Liveness::of(row, true));
            }
        }
        // A worker whose row is gone by now has left.
        workers.retain(|id, _| rows.iter().any(|row| row.id == *id));
    }
    Ok(workers)
}
