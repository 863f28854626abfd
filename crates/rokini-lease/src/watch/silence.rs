//! Who is silent: heartbeats stamped with the watcher's own monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::pace::{is_in_reserve, patience};
use crate::row::{WorkerRow, WorkerState};
use crate::types::WorkerId;

/// Watches the heartbeats of a fleet.
///
/// A heartbeat counter that does not move for the failover time, the longer one of the watcher's and the row's, makes its
/// worker *silent*: it may be fenced, under the condition that the counter still stands. What is known does not go when
/// looks fail for a while: a counter that stands where it stood before did not move in between. Whether that is the
/// worker's silence or the store's is for the watcher's own heartbeats to say.
///
/// A worker in reserve announces heartbeats far apart. It has no leases, and it answers whoever leaves it a
/// notification: one that does not is judged as any other, from when its mailbox was seen to wait.
#[derive(Debug)]
pub(crate) struct FleetWatch {
    failover: Duration,
    seen: BTreeMap<WorkerId, SeenHeartbeat>,
    /// The last look.
    looked: Option<Instant>,
}

#[derive(Debug)]
struct SeenHeartbeat {
    value: u64,
    since: Instant,
    limit: Duration,
    /// A worker in reserve that was not asked for anything.
    unasked: bool,
    /// The last look that showed it.
    looked: Instant,
}

impl SeenHeartbeat {
    fn after(before: Option<Self>, row: &WorkerRow, failover: Duration, now: Instant) -> Self {
        let (interval, failover) = (row.report.interval, failover.max(row.report.failover));
        let unasked = is_in_reserve(interval, failover) && row.mailbox.is_empty();
        let limit = if unasked { patience(interval, failover) } else { failover };
        let standing = before.filter(|before| before.value == row.heartbeat);
        // Of the silence of one that nobody waited for, nothing counts.
        let since = standing.filter(|before| unasked || !before.unasked).map_or(now, |before| before.since);
        Self { value: row.heartbeat, since, limit, unasked, looked: now }
    }
}

impl FleetWatch {
    pub(crate) fn new(failover: Duration) -> Self {
        Self { failover, seen: BTreeMap::new(), looked: None }
    }

    /// Takes in rows that arrived at `now`, `whole` where they are all there are. Stamping at arrival, not at the request,
    /// can only lengthen the wait.
    pub(crate) fn observe(&mut self, rows: &[WorkerRow], whole: bool, now: Instant) {
        let mut before = std::mem::take(&mut self.seen);
        for row in rows.iter().filter(|row| row.state != WorkerState::Fenced) {
            let seen = SeenHeartbeat::after(before.remove(&row.id), row, self.failover, now);
            self.seen.insert(row.id.clone(), seen);
        }
        if !whole {
            before.retain(|id, _| rows.iter().all(|row| row.id != *id));
            self.seen.append(&mut before);
        }
        self.looked = Some(now);
    }

    /// For how long each heartbeat counter had stood when it was last looked at.
    pub(crate) fn silences(&self) -> BTreeMap<WorkerId, Duration> {
        self.seen.iter().map(|(id, seen)| (id.clone(), seen.looked - seen.since)).collect()
    }

    /// The workers of the last look, other than `me`, whose heartbeat counter did not move for their failover time, with
    /// that counter and for how long they are silent beyond it.
    pub(crate) fn silent(&self, me: &WorkerId, now: Instant) -> Vec<(WorkerId, u64, Duration)> {
        self.others(me)
            .filter_map(|(id, seen)| {
                let beyond = now.saturating_duration_since(seen.since).checked_sub(seen.limit)?;
                Some((id.clone(), seen.value, beyond))
            })
            .collect()
    }

    /// The workers that have been silent for their failover time, by id and counter, whoever looked last.
    pub(crate) fn silent_workers(&self, now: Instant) -> impl Iterator<Item = (WorkerId, u64)> {
        self.seen
            .iter()
            .filter(move |(_, seen)| now.saturating_duration_since(seen.since) >= seen.limit)
            .map(|(id, seen)| (id.clone(), seen.value))
    }

    /// When the next worker other than `me` becomes silent unless its counter moves.
    pub(crate) fn next_deadline(&self, me: &WorkerId) -> Option<Instant> {
        self.others(me).map(|(_, seen)| seen.since + seen.limit).min()
    }

    /// Whether somebody other than `me` has been silent for half of its time.
    pub(crate) fn suspects(&self, me: &WorkerId, now: Instant) -> bool {
        self.others(me).any(|(_, seen)| now.saturating_duration_since(seen.since) >= seen.limit / 2)
    }

    fn others(&self, me: &WorkerId) -> impl Iterator<Item = (&WorkerId, &SeenHeartbeat)> {
        self.seen.iter().filter(move |(id, seen)| *id != me && Some(seen.looked) == self.looked)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::row::WorkerNotification;
    use crate::types::{Incarnation, WorkerName};

    const FAILOVER: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn row(name: &str, heartbeat: u64) -> WorkerRow {
        let id = WorkerId::new(WorkerName::new(name).unwrap(), Incarnation::new(1));
        WorkerRow { heartbeat, ..WorkerRow::joining(id, None) }
    }

    fn watch_every_second(rows: impl Fn(u64) -> Option<WorkerRow>, seconds: u64) -> Vec<u64> {
        let (start, me) = (Instant::now(), row("me", 0).id);
        let mut watch = FleetWatch::new(FAILOVER);
        let mut silent_at = Vec::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            if let Some(row) = rows(second) {
                watch.observe(&[row], true, now);
                if !watch.silent(&me, now).is_empty() {
                    silent_at.push(second);
                }
            }
        }
        silent_at
    }

    fn with(beats: impl Fn(u64) -> Option<u64>) -> impl Fn(u64) -> Option<WorkerRow> {
        move |second| Some(row("a", beats(second)?))
    }

    #[tokio::test]
    async fn a_moving_beat_is_never_silent() {
        assert_eq!(watch_every_second(with(|s| Some(s / 9)), 60), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn a_standing_beat_is_silent_after_the_failover_time() {
        assert_eq!(watch_every_second(with(|s| Some(s.min(5))), 17), vec![15, 16]);
    }

    #[tokio::test]
    async fn l13_looks_that_fail_take_nothing_from_what_is_known() {
        let standing = watch_every_second(with(|s| (!(3..20).contains(&s)).then_some(1)), 22);
        assert_eq!(standing, vec![20, 21], "it stood still all the while");
        let moving = watch_every_second(with(|s| (!(3..20).contains(&s)).then_some(s.min(20))), 32);
        assert_eq!(moving, vec![30, 31]);
    }

    #[tokio::test]
    async fn l4_the_longer_failover_time_counts() {
        let slow = |s: u64| {
            let mut row = row("a", s.min(5));
            row.report.failover = 3 * FAILOVER;
            Some(row)
        };
        assert_eq!(watch_every_second(slow, 37), vec![35, 36]);
    }

    #[tokio::test]
    async fn a_worker_in_reserve_is_judged_from_when_it_was_asked() {
        let reserve = |asked: u64| {
            move |s: u64| {
                let mut row = row("a", 7);
                row.report.interval = 120 * SECOND;
                if s >= asked {
                    row.mailbox.insert(WorkerNotification::GroupChanged);
                }
                Some(row)
            }
        };
        assert_eq!(watch_every_second(reserve(200), 212), vec![210, 211]);
        assert_eq!(watch_every_second(reserve(1_000), 302), vec![300, 301]);
    }

    #[tokio::test]
    async fn fenced_rows_are_not_watched_and_me_neither() {
        let now = Instant::now();
        let mut watch = FleetWatch::new(FAILOVER);
        let fenced = WorkerRow { state: WorkerState::Fenced, ..row("a", 1) };
        let me = row("me", 1);
        watch.observe(&[fenced, me.clone()], true, now);
        assert!(watch.silent(&me.id, now + 2 * FAILOVER).is_empty());
        assert_eq!(watch.next_deadline(&me.id), None);
    }

    #[tokio::test]
    async fn who_is_out_of_sight_is_not_judged_and_not_forgotten() {
        let (now, me) = (Instant::now(), row("me", 1).id);
        let mut watch = FleetWatch::new(FAILOVER);
        watch.observe(&[row("a", 1), row("b", 1)], true, now);
        watch.observe(&[row("a", 2)], false, now + 2 * FAILOVER);
        assert!(watch.silent(&me, now + 2 * FAILOVER).is_empty());
        watch.observe(&[row("a", 3), row("b", 1)], true, now + 3 * FAILOVER);
        let silent = watch.silent(&me, now + 3 * FAILOVER);
        assert_eq!(silent.len(), 1);
        assert_eq!((silent[0].0.name.as_str(), silent[0].2), ("b", 2 * FAILOVER));
    }
}
