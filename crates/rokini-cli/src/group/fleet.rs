//! Whether workers live: their beats, looked at again and again for a little while.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::lease::{Listing, WorkerId, WorkerRow, WorkerState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::opened::Opened;
use crate::error::CliError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(400);

/// What a worker does, as far as its row and its beat say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Life {
    /// It beats, or was not looked at for long.
    Alive,
    /// It stops, and hands over what it has.
    Leaving,
    /// Its beat stood still while it was looked at.
    Silent,
    /// It was declared dead.
    Fenced,
}

impl Life {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Silent => "silent",
            Self::Fenced => "fenced",
        }
    }

    fn of(row: &WorkerRow, beats: bool) -> Self {
        match row.state {
            WorkerState::Fenced => Self::Fenced,
            _ if !beats => Self::Silent,
            WorkerState::Leaving => Self::Leaving,
            WorkerState::Alive => Self::Alive,
        }
    }
}

/// The workers of a group.
pub(crate) type Lives = BTreeMap<WorkerId, Life>;

/// As the rows stand: whoever is not fenced is taken to beat.
pub(crate) fn believed(workers: &[WorkerRow]) -> Lives {
    workers.iter().map(|row| (row.id.clone(), Life::of(row, true))).collect()
}

/// Looks on until every worker that is not fenced has beaten, for two heartbeats and a half at most.
pub(crate) async fn watched(opened: &Opened) -> Result<Lives, CliError> {
    let heartbeat = opened.table.config.heartbeat;
    let until = Instant::now() + heartbeat * 5 / 2;
    let first: BTreeMap<&WorkerId, u64> = opened.view.workers.iter().map(|row| (&row.id, row.beat)).collect();
    let mut lives: Lives =
        opened.view.workers.iter().map(|row| (row.id.clone(), Life::of(row, false))).collect();
    while lives.values().any(|life| *life == Life::Silent) && Instant::now() < until {
        sleep(PAUSE).await;
        let rows = opened.table.list(&opened.group, Listing::Workers).await?.workers;
        for row in &rows {
            let beaten = first.get(&row.id).is_none_or(|beat| *beat != row.beat);
            if beaten || row.state == WorkerState::Fenced {
                lives.insert(row.id.clone(), Life::of(row, true));
            }
        }
        // Who is gone meanwhile has left.
        lives.retain(|id, _| rows.iter().any(|row| row.id == *id));
    }
    Ok(lives)
}
