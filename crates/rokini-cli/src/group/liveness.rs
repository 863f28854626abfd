//! Whether workers are alive: their heartbeats, watched for a little while.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::lease::{GroupId, LeaseRow, Listing, ShardHealth, WorkerId, WorkerRow, WorkerState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::group_handle::LeaseTable;
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

/// How long a heartbeat of this worker is waited for: by its own interval, whatever this command's settings say.
fn patience(row: &WorkerRow, heartbeat: Duration) -> Duration {
    // One in reserve has nothing to fail over: it is not watched.
    row.report.silent_after().map_or(Duration::ZERO, |silent| silent.max(heartbeat * 5 / 2))
}

/// What was seen of the workers of a group.
#[derive(Debug, Default)]
pub(crate) struct WatchedWorkers {
    pub(crate) liveness: WorkerLiveness,
    /// Their rows as they were listed last.
    pub(crate) rows: Vec<WorkerRow>,
}

impl WatchedWorkers {
    /// As the rows say: whoever is not fenced counts as alive.
    pub(super) fn of_rows(rows: &[WorkerRow]) -> Self {
        let liveness = rows.iter().map(|row| (row.id.clone(), Liveness::of(row, true))).collect();
        Self { liveness, rows: rows.to_vec() }
    }

    /// Those that live, and those that stop.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &WorkerId> {
        let alive = |liveness: &Liveness| matches!(liveness, Liveness::Alive | Liveness::Leaving);
        self.liveness.iter().filter(move |(_, liveness)| alive(liveness)).map(|(id, _)| id)
    }

    /// What the owner of a shard says of it: `None` where it does not live, or does not say it, and `Some(None)` where the
    /// shard is well.
    pub(super) fn told(&self, lease: &LeaseRow) -> Option<Option<ShardHealth>> {
        let owner = lease.owner.as_ref()?;
        if !matches!(self.liveness.get(owner), Some(Liveness::Alive | Liveness::Leaving)) {
            return None;
        }
        self.rows.iter().find(|row| row.id == *owner)?.report.of_shard(&lease.key)
    }
}

/// Watches until every worker that is not fenced has had a heartbeat, for two and a half of its own heartbeats at most.
pub(crate) async fn watch(
    table: &LeaseTable,
    group: &GroupId,
    workers: &[WorkerRow],
) -> Result<WatchedWorkers, CliError> {
    let (begun, heartbeat) = (Instant::now(), table.config.heartbeat_interval());
    let patience: BTreeMap<&WorkerId, Duration> =
        workers.iter().map(|row| (&row.id, patience(row, heartbeat))).collect();
    let may_come = |id: &WorkerId| patience.get(id).is_some_and(|patience| begun.elapsed() < *patience);
    let first: BTreeMap<&WorkerId, u64> = workers.iter().map(|row| (&row.id, row.heartbeat)).collect();
    let liveness =
        workers.iter().map(|row| (row.id.clone(), Liveness::of(row, row.report.silent_after().is_none())));
    let mut watched = WatchedWorkers { liveness: liveness.collect(), rows: workers.to_vec() };
    while watched.liveness.iter().any(|(id, liveness)| *liveness == Liveness::Silent && may_come(id)) {
        sleep(PAUSE).await;
        let rows = table.list(group, Listing::Workers).await?.workers;
        for row in &rows {
            let has_heartbeat = first.get(&row.id).is_none_or(|counter| *counter != row.heartbeat);
            if has_heartbeat || row.state == WorkerState::Fenced {
                watched.liveness.insert(row.id.clone(), Liveness::of(row, true));
            }
        }
        // A worker whose row is gone by now has left.
        watched.liveness.retain(|id, _| rows.iter().any(|row| row.id == *id));
        watched.rows = rows;
    }
    Ok(watched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_each_worker_is_judged_by_its_own_heartbeat() {
        let mut row = WorkerRow::joining("w#1".parse().unwrap(), None);
        let seconds = Duration::from_secs;
        assert_eq!(patience(&row, seconds(1)), Duration::from_millis(2_500));
        row.report.interval = seconds(4);
        assert_eq!(patience(&row, seconds(1)), seconds(10));
        assert_eq!(patience(&row, seconds(6)), seconds(15), "the longer of both");
        row.report.interval = seconds(120);
        assert!(row.report.silent_after().is_none() && patience(&row, seconds(1)).is_zero());
    }
}
