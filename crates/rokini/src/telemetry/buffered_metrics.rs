//! What was recorded of a shard and is not yet handed to the recorders. Their memory is cold by the time of the next
//! batch: one visit for many batches costs a fraction of one for each.

use std::sync::Arc;
use std::time::Duration;

use super::metric::Metric;
use super::series::Series;
use crate::shard::observer::{BatchSize, ShardObserver};
use crate::source::stream_source::SubscriptionCounts;

/// Times kept at most.
const KEPT: usize = u32::BITS as usize;

/// The numbers of the last batches of a shard.
#[derive(Debug)]
pub(crate) struct BufferedMetrics {
    /// Whether anybody wants them.
    on: bool,
    records: u64,
    bytes: u64,
    kept: usize,
    /// Which times are those of reads: a bit each.
    reads: u32,
    /// In seconds.
    times: [f64; KEPT],
    series: Arc<Series>,
    /// Of its stream.
    stream: Option<Arc<Series>>,
}

impl BufferedMetrics {
    pub(crate) fn new(on: bool, series: Arc<Series>, stream: Option<Arc<Series>>) -> Self {
        Self { on, records: 0, bytes: 0, kept: 0, reads: 0, times: [0.0; KEPT], series, stream }
    }

    fn add(&mut self, took: Duration, read: bool) {
        if !self.on {
            return;
        }
        if self.kept == KEPT {
            self.flush();
        }
        self.times[self.kept] = took.as_secs_f64();
        self.reads |= u32::from(read) << self.kept;
        self.kept += 1;
    }
}

impl ShardObserver for BufferedMetrics {
    fn read(&mut self, took: Duration) {
        self.add(took, true);
    }

    fn handled(&mut self, took: Duration, done: Option<BatchSize>) {
        if let Some(size) = done.filter(|_| self.on) {
            self.records += size.records;
            self.bytes += size.bytes;
        }
        self.add(took, false);
    }

    fn subscribed(&mut self, counts: SubscriptionCounts) {
        if let Some(stream) = &self.stream {
            stream.count(Metric::Subscriptions, counts.begun);
            stream.count(Metric::SubscriptionsInUse, counts.in_use);
        }
    }

    fn flush(&mut self) {
        for (place, time) in self.times.iter().take(self.kept).enumerate() {
            let read = self.reads >> place & 1 == 1;
            self.series.record(if read { Metric::FetchTime } else { Metric::HandlerTime }, *time);
        }
        (self.kept, self.reads) = (0, 0);
        if self.records > 0 {
            self.series.count(Metric::RecordsProcessed, std::mem::take(&mut self.records));
            self.series.count(Metric::BytesProcessed, std::mem::take(&mut self.bytes));
        }
    }
}

/// Nothing is left behind.
impl Drop for BufferedMetrics {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metric::MetricScope;
    use crate::telemetry::recorders::Recorders;
    use crate::telemetry::registry::{Cell, Registry};
    use std::sync::atomic::Ordering;

    /// Records and bytes; count and sum of the times of calls and of reads.
    fn recorded(registry: &Registry) -> (u64, u64, [(u64, f64); 2]) {
        let snapshot = registry.snapshot();
        let cell = |metric| {
            let series = snapshot.iter().find(|(found, _)| *found == metric);
            series.map(|(_, cells)| cells[0].1.clone()).unwrap_or_else(|| panic!("{metric:?}"))
        };
        let counted = |metric| match cell(metric) {
            Cell::Counter(value) => value.load(Ordering::Relaxed),
            other => panic!("{other:?}"),
        };
        let timed = |metric| match cell(metric) {
            Cell::Histogram(buckets) => (buckets.read().counts.iter().sum(), buckets.read().sum),
            other => panic!("{other:?}"),
        };
        let times = [timed(Metric::HandlerTime), timed(Metric::FetchTime)];
        (counted(Metric::RecordsProcessed), counted(Metric::BytesProcessed), times)
    }

    #[test]
    fn t2_nothing_is_lost_between_batches_and_recorders() {
        let registry = Arc::new(Registry::default());
        let mut recorders = Recorders::default();
        recorders.add(Arc::clone(&registry) as _);
        let mut buffered = BufferedMetrics::new(
            true,
            Arc::new(Series::new(&recorders, MetricScope::Shard, Vec::new(), |_| true)),
            None,
        );
        let batch = BatchSize { records: 10, bytes: 1_000 };
        for call in 0..100 {
            buffered.read(Duration::from_secs(1));
            // Every tenth fails.
            buffered.handled(Duration::from_secs(2), (call % 10 != 0).then_some(batch));
        }
        // Not yet all of it; a multiple of what is kept.
        assert_eq!(recorded(&registry).2, [(96, 192.0), (96, 96.0)]);
        buffered.flush();
        let expected = (900, 90_000, [(100, 200.0), (100, 100.0)]);
        assert_eq!(recorded(&registry), expected);
        buffered.flush();
        assert_eq!(recorded(&registry), expected, "once");
        buffered.handled(Duration::from_secs(3), Some(batch));
        drop(buffered);
        assert_eq!(recorded(&registry), (910, 91_000, [(101, 203.0), (100, 100.0)]));
    }
}
