//! Who is silent: heartbeats stamped with the watcher's own monotonic clock. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::row::{WorkerRow, WorkerState};
use crate::types::WorkerId;

/// Watches the heartbeats of a fleet.
///
/// A heartbeat counter that does not move for the failover time makes its worker *silent*: it may be fenced, under the
/// condition that the counter still stands. Time in which the watcher could not read, or could not send heartbeats itself,
/// does not count, so that an outage of the store does not end in mutual fencing.
#[derive(Debug)]
pub(crate) struct FleetWatch {
    failover: Duration,
    seen: BTreeMap<WorkerId, SeenHeartbeat>,
    last_read: Option<Instant>,
}

#[derive(Debug)]
struct SeenHeartbeat {
    value: u64,
    since: Instant,
    /// The longer of the watcher's failover time and the one on the row.
    limit: Duration,
}

impl FleetWatch {
    pub(crate) fn new(failover: Duration) -> Self {
        Self { failover, seen: BTreeMap::new(), last_read: None }
    }

    /// Takes in a listing that arrived at `now`. Stamping at arrival, not at the request, can only lengthen
    /// the wait.
    pub(crate) fn observe(&mut self, rows: &[WorkerRow], now: Instant) {
        if self.last_read.is_some_and(|last| now - last > self.failover / 2) {
            self.restart();
        }
        self.last_read = Some(now);
        let mut seen = std::mem::take(&mut self.seen);
        self.seen = rows
            .iter()
            .filter(|row| row.state != WorkerState::Fenced)
            .map(|row| {
                let limit = self.failover.max(row.report.failover);
                let standing = seen.remove(&row.id).filter(|beat| beat.value == row.heartbeat);
                let since = standing.map_or(now, |beat| beat.since);
                (row.id.clone(), SeenHeartbeat { value: row.heartbeat, since, limit })
            })
            .collect();
    }

    /// Counts anew for everyone.
    pub(crate) fn restart(&mut self) {
        self.seen.clear();
    }

    /// The workers other than `me` whose heartbeat counter did not move for the failover time, with that counter.
    pub(crate) fn silent(&self, me: &WorkerId, now: Instant) -> Vec<(WorkerId, u64)> {
        self.silent_workers(now).filter(|(id, _)| id != me).collect()
    }

    /// The workers whose heartbeat counter did not move for the failover time, with that counter.
    pub(crate) fn silent_workers(&self, now: Instant) -> impl Iterator<Item = (WorkerId, u64)> {
        self.seen
            .iter()
            .filter(move |(_, beat)| now.saturating_duration_since(beat.since) >= beat.limit)
            .map(|(id, beat)| (id.clone(), beat.value))
    }

    /// When the next worker other than `me` becomes silent unless its counter moves.
    pub(crate) fn next_deadline(&self, me: &WorkerId) -> Option<Instant> {
        self.seen.iter().filter(|(id, _)| *id != me).map(|(_, beat)| beat.since + beat.limit).min()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::types::WorkerName;

    const FAILOVER: Duration = Duration::from_secs(10);

    fn row(name: &str, heartbeat: u64) -> WorkerRow {
        let id = WorkerId::start(WorkerName::new(name).unwrap(), &mut StdRng::seed_from_u64(1));
        WorkerRow { heartbeat, ..WorkerRow::joining(id, None) }
    }

    fn watch_every_second(beats: impl Fn(u64) -> Option<u64>, seconds: u64) -> Vec<u64> {
        let (start, me) = (Instant::now(), row("me", 0).id);
        let mut watch = FleetWatch::new(FAILOVER);
        let mut silent_at = Vec::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            if let Some(beat) = beats(second) {
                watch.observe(&[row("a", beat)], now);
            }
            if !watch.silent(&me, now).is_empty() {
                silent_at.push(second);
            }
        }
        silent_at
    }

    #[tokio::test]
    async fn a_moving_beat_is_never_silent() {
        assert_eq!(watch_every_second(|s| Some(s / 9), 60), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn a_standing_beat_is_silent_after_the_failover_time() {
        assert_eq!(watch_every_second(|s| Some(s.min(5)), 17), vec![15, 16]);
    }

    #[tokio::test]
    async fn time_without_readings_does_not_count() {
        let silent = watch_every_second(|s| (!(3..20).contains(&s)).then_some(1), 32);
        assert_eq!(
            silent,
            vec![10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30, 31],
            "10..20 is before the gap is seen"
        );
    }

    #[tokio::test]
    async fn fenced_rows_are_not_watched_and_me_neither() {
        let now = Instant::now();
        let mut watch = FleetWatch::new(FAILOVER);
        let fenced = WorkerRow { state: WorkerState::Fenced, ..row("a", 1) };
        let me = row("me", 1);
        watch.observe(&[fenced, me.clone()], now);
        assert!(watch.silent(&me.id, now + 2 * FAILOVER).is_empty());
        assert_eq!(watch.next_deadline(&me.id), None);
    }
}
