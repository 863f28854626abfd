//! What the next heartbeat says of the shards.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::row::{HealthSummary, ShardHealth, WorkerReport};
use crate::types::LeaseKey;

/// Shards that a row tells of one by one, so that it stays small: with a long error each, 3 KB.
pub(super) const TOLD: usize = 8;

#[derive(Debug, Default)]
pub(super) struct ShardHealths(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    told: Vec<ShardHealth>,
    untold: u32,
    summaries: Vec<HealthSummary>,
    /// The shards that stall, with their causes.
    stalls: BTreeSet<(LeaseKey, String)>,
    /// When a heartbeat was made sooner because of them, last.
    hurried: Option<Instant>,
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
        let now = Instant::now();
        let due = current.hurried.is_none_or(|hurried| now.duration_since(hurried) >= apart);
        if changed && due {
            current.hurried = Some(now);
        }
        changed && due
    }

    /// The same report with what is told of the shards.
    pub(super) fn in_report(&self, report: WorkerReport) -> WorkerReport {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        WorkerReport {
            shards: current.told.clone(),
            untold: current.untold,
            summaries: current.summaries.clone(),
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
