//! What the next heartbeat says of the shards.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::row::{ShardHealth, WorkerReport};
use crate::types::LeaseKey;

/// Shards that a row tells of at most, so that it stays small: with a long error each, 3 KB.
pub(super) const TOLD: usize = 8;

#[derive(Debug, Default)]
pub(super) struct ShardHealths(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    told: Vec<ShardHealth>,
    untold: u32,
    /// When a heartbeat was made sooner because of them, last.
    hurried: Option<Instant>,
}

impl ShardHealths {
    /// Takes these, the worst first. Whether a heartbeat is to be made at once: where one stalls that did not, or one does
    /// not any more, and none was made sooner within `apart`.
    pub(super) fn set(&self, mut reports: Vec<ShardHealth>, apart: Duration) -> bool {
        let untold = u32::try_from(reports.len().saturating_sub(TOLD)).unwrap_or(u32::MAX);
        reports.truncate(TOLD);
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = stalls(&current.told) != stalls(&reports);
        (current.told, current.untold) = (reports, untold);
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
        WorkerReport { shards: current.told.clone(), untold: current.untold, ..report }
    }
}

fn stalls(reports: &[ShardHealth]) -> Vec<(LeaseKey, Option<String>)> {
    let mut stalls: Vec<_> = reports
        .iter()
        .filter(|report| report.stalled.is_some())
        .map(|report| (report.key.clone(), report.stalled.clone()))
        .collect();
    stalls.sort();
    stalls
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
}
