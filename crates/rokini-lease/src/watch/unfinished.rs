//! What somebody should have done and did not: leases of the dead, and loads that stay uneven.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::duty::duty_rank;
use crate::pace::Pace;
use crate::row::{WorkerRow, WorkerState};
use crate::types::WorkerId;

const CLEAR_UP: &[u8] = b"clear up after the dead";
/// Between two tries to clear up after the same dead, at most.
const RAREST: Duration = Duration::from_secs(600);

/// The rows of the dead, which stand until no lease names them any more. Whoever declared a worker dead moves its leases
/// at once; that a row still stands after a while is a task for the others, one after the other.
#[derive(Debug, Default)]
pub(crate) struct UnfinishedFences {
    seen: BTreeMap<WorkerId, Fenced>,
}

#[derive(Debug)]
struct Fenced {
    /// When this worker is to clear up.
    due: Instant,
    tries: u32,
}

impl UnfinishedFences {
    /// Takes in the rows of a look, `whole` where they are all there are.
    pub(crate) fn observe(
        &mut self,
        me: &WorkerId,
        rows: &[WorkerRow],
        whole: bool,
        pace: Pace,
        now: Instant,
    ) {
        self.seen.retain(|id, _| rows.iter().any(|row| row.id == *id) || !whole && !in_range(rows, id));
        let alive = || rows.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id);
        for row in rows.iter().filter(|row| row.state == WorkerState::Fenced) {
            let rank = || {
                let name = row.id.to_string();
                u32::try_from(duty_rank(&[CLEAR_UP, name.as_bytes()], me, alive())).unwrap_or(u32::MAX)
            };
            self.seen.entry(row.id.clone()).or_insert_with(|| {
                let turn = rank().min(100) + 1;
                Fenced { due: now + first_wait(pace) * turn, tries: 0 }
            });
        }
    }

    /// Whether this worker is to clear up now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.seen.values().any(|fenced| fenced.due <= now)
    }

    /// When it is, at the earliest.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.seen.values().map(|fenced| fenced.due).min()
    }

    /// It begins to: should it not succeed, it tries again, more and more rarely.
    pub(crate) fn begin(&mut self, pace: Pace, now: Instant) {
        for fenced in self.seen.values_mut().filter(|fenced| fenced.due <= now) {
            let wait = first_wait(pace) * 3 * 2_u32.saturating_pow(fenced.tries.min(10));
            (fenced.due, fenced.tries) = (now + wait.min(RAREST), fenced.tries + 1);
        }
    }
}

/// A little more than a look: by then whoever declared the death has moved the leases.
fn first_wait(pace: Pace) -> Duration {
    pace.look() * 4 / 3
}

/// Whether rows of a part of the fleet would show this one.
fn in_range(rows: &[WorkerRow], id: &WorkerId) -> bool {
    let first = rows.iter().map(|row| &row.id).min();
    let last = rows.iter().map(|row| &row.id).max();
    first.zip(last).is_none_or(|(first, last)| first <= id && id <= last)
}

/// Loads that stay uneven: leavers give their leases to whom they think the least loaded, and newcomers that come together
/// do not know of each other.
#[derive(Debug, Default)]
pub(crate) struct LoadWatch {
    /// The loads as they stand, and since when.
    standing: Option<(Vec<u32>, Instant)>,
    /// The loads after which nothing could be moved.
    settled: Vec<u32>,
}

impl LoadWatch {
    /// Whether uneven loads have stood for more than a heartbeat, which may be how old they are.
    pub(crate) fn observe(&mut self, rows: &[WorkerRow], pace: Pace, now: Instant) -> bool {
        let loads: Vec<u32> =
            rows.iter().filter(|row| row.state == WorkerState::Alive).map(|row| row.load.leases).collect();
        let (least, most) = (loads.iter().min().copied(), loads.iter().max().copied());
        if least.zip(most).is_none_or(|(least, most)| most <= least + 1) || loads == self.settled {
            self.standing = None;
            return false;
        }
        match &self.standing {
            Some((before, since)) if *before == loads => {
                let due = now - *since >= pace.heartbeat * 3 / 2;
                if due {
                    self.settled = loads;
                    self.standing = None;
                }
                due
            }
            _ => {
                self.standing = Some((loads, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{PACE, SECOND, fleet};

    #[tokio::test]
    async fn the_dead_are_cleared_up_after_by_one_after_the_other() {
        let (mut rows, now) = (fleet(5), Instant::now());
        rows[0].state = WorkerState::Fenced;
        let mut due: Vec<u64> = (rows[1..].iter())
            .map(|me| {
                let mut fences = UnfinishedFences::default();
                fences.observe(&me.id, &rows, true, PACE, now);
                (fences.next_due().unwrap() - now).as_secs()
            })
            .collect();
        due.sort_unstable();
        assert_eq!(due, [2, 4, 6, 8]);
    }

    #[tokio::test]
    async fn what_cannot_be_cleared_up_is_tried_more_and_more_rarely_and_forgotten_when_gone() {
        let (mut rows, start) = (fleet(2), Instant::now());
        rows[0].state = WorkerState::Fenced;
        let me = rows[1].id.clone();
        let mut fences = UnfinishedFences::default();
        let mut tries = 0;
        for second in 0..3_600 {
            let now = start + second * SECOND;
            fences.observe(&me, &rows, true, PACE, now);
            if fences.is_due(now) {
                fences.begin(PACE, now);
                tries += 1;
            }
        }
        assert!((8..=14).contains(&tries), "{tries}");
        fences.observe(&me, &rows[1..], false, PACE, start + 3_600 * SECOND);
        assert!(fences.next_due().is_some(), "a look at others shows nothing");
        fences.observe(&me, &rows[1..], true, PACE, start + 3_601 * SECOND);
        assert!(fences.next_due().is_none());
    }

    #[tokio::test]
    async fn uneven_loads_are_looked_into_once() {
        let (mut rows, start) = (fleet(3), Instant::now());
        let mut watch = LoadWatch::default();
        let mut seen = |loads: [u32; 3], second: u32| {
            rows.iter_mut().zip(loads).for_each(|(row, load)| row.load.leases = load);
            watch.observe(&rows, PACE, start + second * SECOND)
        };
        let looked: Vec<bool> = (0..20).map(|second| seen([3, 5, 4], second)).collect();
        assert_eq!(looked.iter().position(|looked| *looked), Some(6));
        assert_eq!(looked.iter().filter(|looked| **looked).count(), 1);
        assert!(!(20..40).any(|second| seen([4, 4, 5], second)));
        assert!((40..60).any(|second| seen([2, 5, 5], second)));
    }
}
