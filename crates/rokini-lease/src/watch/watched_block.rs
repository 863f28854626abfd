//! Who watches whom: in a small fleet everybody watches everybody, in a large one a block of the worker rows, which one
//! small query reads; a few sentinels watch everybody in any case.

use tokio::time::{Duration, Instant};

use crate::duty::{duty_rank, first_on_duty};
use crate::pace::{BLOCK, Pace, SENTINELS};
use crate::row::{WorkerRow, WorkerState};
use crate::types::WorkerId;

const WATCH_EVERYBODY: &[u8] = b"watch everybody";

/// The worker rows to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// All of them.
    Whole,
    /// Those after one id and up to another; `None` without a bound.
    Block { after: Option<WorkerId>, until: Option<WorkerId> },
}

/// What a worker knows of the fleet, as far as it decides where to look.
#[derive(Debug)]
pub(crate) struct WatchedBlock {
    me: WorkerId,
    /// The workers of the last look at everybody that were not declared dead, in order.
    fleet: Vec<WorkerId>,
    /// How many of those that take part come before this one in the order of sentinels.
    rank: usize,
    whole_at: Option<Instant>,
    /// Until when everybody is looked at: deaths come together.
    alarmed_until: Option<Instant>,
    /// Sentinels look at everybody with every second look.
    skipped: bool,
}

impl WatchedBlock {
    pub(crate) fn new(me: WorkerId) -> Self {
        Self { me, fleet: Vec::new(), rank: 0, whole_at: None, alarmed_until: None, skipped: false }
    }

    /// Where to look at `now`.
    pub(crate) fn next(&self, pace: Pace, in_reserve: bool, now: Instant) -> Look {
        let outdated = |at: Instant| now - at >= pace.whole_look(self.fleet.len(), in_reserve);
        let whole = self.fleet.len() <= BLOCK
            || self.whole_at.is_none_or(outdated)
            || self.alarmed_until.is_some_and(|until| now < until)
            || self.is_sentinel() && self.skipped;
        let place = self.fleet.binary_search(&self.me);
        match place {
            Ok(place) if !whole => {
                let (start, end) = bounds(place, self.fleet.len());
                let after = start.checked_sub(1).and_then(|n| self.fleet.get(n)).cloned();
                let until = if end == self.fleet.len() { None } else { self.fleet.get(end - 1).cloned() };
                Look::Block { after, until }
            }
            _ => Look::Whole,
        }
    }

    /// Takes in what a look showed.
    pub(crate) fn learn(&mut self, look: &Look, rows: &[WorkerRow], now: Instant) {
        match look {
            Look::Whole => {
                self.fleet.clear();
                let living = rows.iter().filter(|row| row.state != WorkerState::Fenced);
                self.fleet.extend(living.map(|row| row.id.clone()));
                self.fleet.sort();
                let taking_part = rows.iter().filter(|row| row.state == WorkerState::Alive);
                self.rank = duty_rank(&[WATCH_EVERYBODY], &self.me, taking_part.map(|row| &row.id));
                (self.whole_at, self.skipped) = (Some(now), false);
            }
            // Many came: their places are not known yet.
            Look::Block { .. } if rows.len() > 2 * BLOCK => self.whole_at = None,
            Look::Block { .. } => self.skipped = true,
        }
    }

    /// Looks at everybody for a while, because somebody died.
    pub(crate) fn alarm(&mut self, until: Instant) {
        self.alarmed_until = Some(until);
    }

    /// Looks at everybody next.
    pub(crate) fn look_around(&mut self) {
        self.whole_at = None;
    }

    pub(crate) fn is_sentinel(&self) -> bool {
        self.rank < SENTINELS
    }

    /// Whether this worker is the first of the sentinels.
    pub(crate) fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// The sentinels among these workers.
    pub(crate) fn sentinels(rows: &[WorkerRow]) -> Vec<WorkerId> {
        let alive = rows.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id);
        first_on_duty(&[WATCH_EVERYBODY], alive, SENTINELS)
    }

    /// How much later than the sentinels this worker declares somebody dead: so that deaths that come together are dealt
    /// with together.
    pub(crate) fn deference(&self, pace: Pace) -> Duration {
        if self.is_sentinel() { Duration::ZERO } else { pace.look() }
    }
}

/// The block of a fleet that a place belongs to: blocks are of about equal size.
fn bounds(place: usize, fleet: usize) -> (usize, usize) {
    let blocks = fleet.div_ceil(BLOCK).max(1);
    let start = |block: usize| (block * fleet).div_ceil(blocks);
    let block = (0..blocks).rfind(|block| start(*block) <= place).unwrap_or(0);
    (start(block), start(block + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{PACE, SECOND, fleet};

    fn within(look: &Look, row: &WorkerRow) -> bool {
        match look {
            Look::Whole => true,
            Look::Block { after, until } => {
                after.as_ref().is_none_or(|after| row.id > *after)
                    && until.as_ref().is_none_or(|until| row.id <= *until)
            }
        }
    }

    fn watcher(me: &WorkerRow, rows: &[WorkerRow], now: Instant) -> WatchedBlock {
        let mut block = WatchedBlock::new(me.id.clone());
        assert_eq!(block.next(PACE, false, now), Look::Whole, "nothing is known at first");
        block.learn(&Look::Whole, rows, now);
        block
    }

    #[tokio::test]
    async fn a_small_fleet_is_looked_at_as_a_whole() {
        let (rows, now) = (fleet(12), Instant::now());
        for me in &rows {
            assert_eq!(watcher(me, &rows, now).next(PACE, false, now + SECOND), Look::Whole);
        }
    }

    #[tokio::test]
    async fn blocks_cover_everybody_and_whoever_comes_in_between_and_nobody_twice() {
        for count in [13, 24, 25, 100, 1_000] {
            let (rows, now) = (fleet(count), Instant::now());
            let looks: Vec<Look> =
                rows.iter().map(|me| watcher(me, &rows, now).next(PACE, false, now + SECOND)).collect();
            assert!(looks.iter().zip(&rows).all(|(look, me)| within(look, me)), "everybody sees itself");
            let mut blocks = looks.clone();
            blocks.dedup();
            let late = WorkerRow::joining("w00007x#00000000000000ff".parse().unwrap(), None);
            for row in rows.iter().chain([&late]) {
                assert_eq!(blocks.iter().filter(|look| within(look, row)).count(), 1, "{count}: {row:?}");
            }
            let sizes = blocks.iter().map(|look| rows.iter().filter(|row| within(look, row)).count());
            assert!(sizes.clone().all(|size| (6..=BLOCK).contains(&size)), "{count}");
        }
    }

    #[tokio::test]
    async fn two_sentinels_watch_everybody_and_the_next_ones_take_their_place() {
        let (mut rows, now) = (fleet(200), Instant::now());
        let sentinels = WatchedBlock::sentinels(&rows);
        let known: Vec<WorkerId> = (rows.iter())
            .filter(|me| watcher(me, &rows, now).is_sentinel())
            .map(|me| me.id.clone())
            .collect();
        let sorted = sentinels.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!((known.len(), known.into_iter().collect()), (SENTINELS, sorted));
        let me = rows.iter().find(|row| row.id == sentinels[0]).unwrap().clone();
        let mut block = watcher(&me, &rows, now);
        let mut looks = Vec::new();
        for n in 1..=4 {
            let at = now + n * SECOND;
            let look = block.next(PACE, false, at);
            block.learn(&look, &rows, at);
            looks.push(look == Look::Whole);
        }
        assert_eq!(looks, [false, true, false, true]);
        rows.iter_mut()
            .filter(|row| sentinels.contains(&row.id))
            .for_each(|row| row.state = WorkerState::Fenced);
        let next = WatchedBlock::sentinels(&rows);
        assert!(next.len() == SENTINELS && next.iter().all(|id| !sentinels.contains(id)));
    }

    #[tokio::test]
    async fn after_a_death_everybody_is_looked_at_for_a_while() {
        let (rows, now) = (fleet(200), Instant::now());
        let me = rows.iter().find(|me| !watcher(me, &rows, now).is_sentinel()).unwrap();
        let mut block = watcher(me, &rows, now);
        block.alarm(now + 30 * SECOND);
        assert_eq!(block.next(PACE, false, now + 29 * SECOND), Look::Whole);
        assert_ne!(block.next(PACE, false, now + 30 * SECOND), Look::Whole);
        assert_eq!(block.next(PACE, false, now + 64 * SECOND), Look::Whole, "now and then");
    }
}
