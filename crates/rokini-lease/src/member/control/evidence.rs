//! Rows of workers that died young: without them a worker that starts and dies again and again would look like a newcomer
//! each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::died_young;
use crate::row::GroupView;
use crate::types::WorkerId;

/// So many rows are enough, whatever the number of deaths: each is read at every look.
const ROWS: usize = 2;
/// For so many failover times each is kept.
const KEPT: u32 = 12;

/// Since when this worker knows of each.
#[derive(Debug, Default)]
pub(super) struct Evidence(BTreeMap<WorkerId, Instant>);

impl Evidence {
    /// Takes in a listing. The rows that are to stay for a while.
    pub(super) fn look(&mut self, view: &GroupView, failover: Duration, now: Instant) -> BTreeSet<WorkerId> {
        let before = std::mem::take(&mut self.0);
        let young = view.workers.iter().filter(|row| died_young(row));
        self.0 = young.map(|row| (row.id.clone(), before.get(&row.id).copied().unwrap_or(now))).collect();
        let recent = |since: Instant| now.saturating_duration_since(since) < failover * KEPT;
        let mut kept: Vec<(Instant, &WorkerId)> =
            self.0.iter().filter(|(_, since)| recent(**since)).map(|(id, since)| (*since, id)).collect();
        kept.sort_by(|a, b| b.cmp(a));
        kept.into_iter().take(ROWS).map(|(_, id)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{WorkerRow, WorkerState};

    #[tokio::test]
    async fn l12_the_last_two_of_the_young_dead_are_remembered_for_a_while() {
        let failover = Duration::from_secs(10);
        let dead = |n: u64, age: u64| {
            let mut row = WorkerRow::joining(format!("w{n}#{n:016x}").parse().unwrap(), None);
            (row.state, row.report.age) = (WorkerState::Fenced, Some(Duration::from_secs(age)));
            row
        };
        let (mut evidence, begun) = (Evidence::default(), Instant::now());
        let mut view = GroupView { workers: vec![dead(1, 3), dead(2, 3_600)], ..GroupView::default() };
        let mut kept = |view: &GroupView, seconds| {
            let kept = evidence.look(view, failover, begun + Duration::from_secs(seconds));
            kept.iter().map(|id| id.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(kept(&view, 0), ["w1"], "who died old is no sign");
        view.workers.extend([dead(3, 5), dead(4, 5)]);
        assert_eq!(kept(&view, 30), ["w3", "w4"]);
        assert_eq!(kept(&view, 149), ["w3", "w4"]);
        assert_eq!(kept(&view, 150), Vec::<String>::new());
    }
}
