//! What the next heartbeat says of the shards, and of what else keeps the worker from doing its part.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::row::{HealthSummary, ShardHealth, WorkerReport, WorkerTrouble};
use crate::types::LeaseKey;

/// Shards that a row tells of one by one, so that it stays small: with a long error each, 3 KB.
pub(super) const TOLD: usize = 8;
/// Troubles of the worker that a row tells.
pub(super) const TROUBLES: usize = 2;

#[derive(Debug, Default)]
pub(super) struct ShardHealths(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    told: Vec<ShardHealth>,
    untold: u32,
    summaries: Vec<HealthSummary>,
    /// The shards that stall, with their causes.
    stalls: BTreeSet<(LeaseKey, String)>,
    troubles: Vec<WorkerTrouble>,
    /// When a heartbeat was made sooner because of any of them, last.
    hurried: Option<Instant>,
}

impl Reports {
    /// Whether a heartbeat may be made sooner: none was within `apart`.
    fn hurry(&mut self, apart: Duration) -> bool {
        let now = Instant::now();
        let due = self.hurried.is_none_or(|hurried| now.duration_since(hurried) >= apart);
        if due {
            self.hurried = Some(now);
        }
        due
    }
}

impl ShardHealths {
    /// Takes these, the worst first. Whether a heartbeat is to be made at once: where one stalls that did not, or one does
    /// not any more, and none was made sooner within `apart`.
    pub(super) fn set(&self, mut reports: Vec<ShardHealth>, apart: Duration) -> bool {
        let stall = |report: &ShardHealth| Some((report.key.clone(), report.stalled.clone()?));
        let stalls: BTreeSet<_> = reports.iter().filter_map(stall).collect();
        let rest = reports.split_off(TOLD.min(reports.len()));
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = current.stalls != stalls;
        current.untold = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        current.summaries = HealthSummary::of(&rest);
        (current.told, current.stalls) = (reports, stalls);
        changed && current.hurry(apart)
    }

    /// Takes these. Whether a heartbeat is to be made at once, as with shards.
    pub(super) fn set_troubles(&self, mut troubles: Vec<WorkerTrouble>, apart: Duration) -> bool {
        troubles.truncate(TROUBLES);
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let codes = |troubles: &[WorkerTrouble]| -> Vec<String> {
            troubles.iter().map(|trouble| trouble.code.clone()).collect()
        };
        let changed = codes(&current.troubles) != codes(&troubles);
        current.troubles = troubles;
        changed && current.hurry(apart)
    }

    /// The same report with what is told of the shards.
    pub(super) fn in_report(&self, report: WorkerReport) -> WorkerReport {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        WorkerReport {
            shards: current.told.clone(),
            untold: current.untold,
            summaries: current.summaries.clone(),
            troubles: current.troubles.clone(),
            ..report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_that_begins_hurries_one_heartbeat_and_rows_stay_small() {
        let reports = ShardHealths::default();
        let report = |shard: u32, stalled: Option<&str>| {
            let key = format!("s@1#{shard}").parse().unwrap();
            let mut report = ShardHealth::new(key, "handling", Duration::ZERO);
            report.stalled = stalled.map(str::to_owned);
            report
        };
        let apart = Duration::from_secs(4);
        assert!(!reports.set(vec![report(1, None)], apart), "only behind");
        assert!(reports.set(vec![report(1, Some("handler"))], apart));
        assert!(!reports.set(vec![report(1, Some("handler"))], apart), "it is told");
        assert!(!reports.set(vec![report(1, Some("failing"))], apart), "not again so soon");
        tokio::time::advance(apart).await;
        assert!(reports.set(Vec::new(), apart), "it is over");
        reports.set((0..20).map(|shard| report(shard, None)).collect(), apart);
        let report = reports.in_report(WorkerReport::default());
        assert_eq!((report.shards.len(), report.untold), (TOLD, 20 - TOLD as u32));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_of_the_worker_hurries_one_heartbeat_and_is_told_with_each() {
        let reports = ShardHealths::default();
        let apart = Duration::from_secs(4);
        let troubles = |codes: &[&str], message: &str| -> Vec<WorkerTrouble> {
            codes.iter().map(|code| WorkerTrouble::new(code, message)).collect()
        };
        assert!(!reports.set_troubles(Vec::new(), apart), "it is well");
        assert!(reports.set_troubles(troubles(&["stalled"], "for 10 s"), apart));
        tokio::time::advance(apart).await;
        assert!(!reports.set_troubles(troubles(&["stalled"], "for 14 s"), apart), "it is told");
        let report = reports.in_report(WorkerReport::default());
        assert_eq!(report.troubles, troubles(&["stalled"], "for 14 s"), "as it is now");
        assert!(reports.set_troubles(troubles(&["a", "b", "c"], "x"), apart));
        assert_eq!(reports.in_report(WorkerReport::default()).troubles.len(), TROUBLES);
        tokio::time::advance(apart).await;
        assert!(reports.set_troubles(Vec::new(), apart), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn o12_of_more_shards_than_a_row_has_room_for_each_has_its_cause_told() {
        let reports = ShardHealths::default();
        let key = |shard: u32| format!("s@1#shardId-{shard:012}").parse().unwrap();
        let stalled = |shards: std::ops::Range<u32>| -> Vec<ShardHealth> {
            let stalled = |shard| {
                let mut report = ShardHealth::new(key(shard), "handling", Duration::from_secs(12));
                report.stalled = Some("handler".to_owned());
                report
            };
            shards.map(stalled).collect()
        };
        let apart = Duration::from_secs(4);
        assert!(reports.set(stalled(0..20), apart));
        let row = WorkerReport { format: crate::row::ROW_FORMAT, ..WorkerReport::default() };
        let report = reports.in_report(row.clone());
        for shard in 0..20 {
            let told = report.of_shard(&key(shard)).unwrap().unwrap();
            assert_eq!((told.stalled.as_deref(), told.lag), (Some("handler"), Duration::from_secs(12)));
        }
        assert_eq!(report.of_shard(&key(20)), Some(None), "it is well");
        tokio::time::advance(apart).await;
        assert!(reports.set(stalled(0..19), apart), "one that is only summarized is over");
        assert_eq!(reports.in_report(row.clone()).of_shard(&key(19)), Some(None));
        // One of an earlier release has no summaries: of the rest it says nothing.
        let old = WorkerReport { summaries: Vec::new(), ..report };
        assert_eq!(old.of_shard(&key(19)), None);
    }
}
