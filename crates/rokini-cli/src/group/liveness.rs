//! Whether workers are alive: their heartbeats, watched for a little while.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::lease::{
    GroupId, LeaseRow, LeaseStoreExt, Listing, ShardHealth, StoreErrorKind, WorkerId, WorkerNotification,
    WorkerRow, WorkerState, WorkerUpdate,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::group_handle::LeaseTable;
use crate::error::CliError;

/// Between two listings of the workers.
const PAUSE: Duration = Duration::from_millis(400);
/// How long the table may take to say whether it takes writes.
const WRITE_WAIT: Duration = Duration::from_secs(3);
/// A worker that no group has.
const NOBODY: &str = "rokini-nobody#0";

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
    /// Why the table takes no writes, where a worker is silent for that: no heartbeat can arrive.
    pub(crate) unwritable: Option<String>,
}

impl WatchedWorkers {
    /// As the rows say: whoever is not fenced counts as alive.
    pub(super) fn of_rows(rows: &[WorkerRow]) -> Self {
        let liveness = rows.iter().map(|row| (row.id.clone(), Liveness::of(row, true))).collect();
        Self { liveness, rows: rows.to_vec(), unwritable: None }
    }

    fn has_silent(&self) -> bool {
        self.liveness.values().any(|liveness| *liveness == Liveness::Silent)
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
    let mut watched =
        WatchedWorkers { liveness: liveness.collect(), rows: workers.to_vec(), unwritable: None };
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
    if watched.has_silent() {
        watched.unwritable = refusal_of_writes(table, group).await;
    }
    Ok(watched)
}

/// Why the table refuses writes, if it does so for want of capacity: asked by a change to the row of a worker that does not exist,
/// which changes nothing. One that this caller may not make says nothing of others.
async fn refusal_of_writes(table: &LeaseTable, group: &GroupId) -> Option<String> {
    let nobody = NOBODY.parse().ok()?;
    let change = WorkerUpdate::Notify(WorkerNotification::GroupChanged);
    match timeout(WRITE_WAIT, table.store.update_worker(group, &nobody, &change)).await {
        Ok(Err(error)) if error.kind() == StoreErrorKind::Throttled => Some(error.to_string()),
        _ => None,
    }
}

/// What a command that shows a group again and again has seen of its workers so far.
#[derive(Debug, Default)]
pub(super) struct SeenWorkers {
    /// The counter of each worker, and since when it stands.
    beats: BTreeMap<WorkerId, (u64, Instant)>,
    unwritable: Option<String>,
}

impl SeenWorkers {
    /// The workers by the frames so far: without waiting, so that whoever was not heard yet may still be alive.
    pub(super) async fn look(
        &mut self,
        table: &LeaseTable,
        group: &GroupId,
        rows: &[WorkerRow],
    ) -> WatchedWorkers {
        let watched = self.judge(rows, table.config.heartbeat_interval(), Instant::now());
        self.unwritable = match (watched.has_silent(), self.unwritable.take()) {
            (false, _) => None,
            (true, Some(known)) => Some(known),
            (true, None) => refusal_of_writes(table, group).await,
        };
        WatchedWorkers { unwritable: self.unwritable.clone(), ..watched }
    }

    fn judge(&mut self, rows: &[WorkerRow], heartbeat: Duration, now: Instant) -> WatchedWorkers {
        self.beats.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let mut watched = WatchedWorkers::of_rows(rows);
        for row in rows {
            let (counter, since) = self.beats.entry(row.id.clone()).or_insert((row.heartbeat, now));
            if *counter != row.heartbeat {
                (*counter, *since) = (row.heartbeat, now);
            }
            let patience = patience(row, heartbeat);
            let is_heard = patience.is_zero() || now.duration_since(*since) < patience;
            watched.liveness.insert(row.id.clone(), Liveness::of(row, is_heard));
        }
        watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn o4_frames_come_at_once_and_tell_who_is_silent_once_that_shows() {
        let mut rows = vec![
            WorkerRow::joining("w#1".parse().unwrap(), None),
            WorkerRow::joining("frozen#1".parse().unwrap(), None),
            WorkerRow::joining("reserve#1".parse().unwrap(), None),
        ];
        rows[2].report.interval = Duration::from_secs(120);
        let (mut seen, second) = (SeenWorkers::default(), Duration::from_secs(1));
        let names = |watched: &WatchedWorkers| -> Vec<String> {
            watched.alive().map(|id| id.name.to_string()).collect()
        };
        assert_eq!(names(&seen.judge(&rows, second, Instant::now())).len(), 3, "nobody was waited for");
        for _ in 0..3 {
            tokio::time::advance(second).await;
            rows[0].heartbeat += 1;
            let alive = names(&seen.judge(&rows, second, Instant::now()));
            assert!(alive.contains(&"w".to_owned()) && alive.contains(&"reserve".to_owned()), "{alive:?}");
        }
        let watched = seen.judge(&rows, second, Instant::now());
        assert_eq!(watched.liveness[&rows[1].id], Liveness::Silent, "for 3 s of 2.5 s");
        rows[1].heartbeat += 1;
        assert_eq!(names(&seen.judge(&rows, second, Instant::now())).len(), 3, "it is heard again");
    }

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
