//! Keeps the numbers of one consumer: a recorder that is a value, belongs to the consumer, and forgets the series of
//! a shard that left.
//!
//! The registry of `metrics-util` was weighed and not taken. It removes a series by its key as well, but its histograms keep
//! every value in memory until somebody drains them, which nobody does between two scrapes; a fixed number of buckets
//! needs a storage of one's own anyway, and with it what is left here is one map in the order in which metrics are
//! written. Removal of a series that has idled for a time, its other offer, is the wrong rule: a shard without traffic
//! is to keep its series, and one that left is to lose them at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::Mutex;

use super::metric::{Metric, MetricKind};

/// The numbers of one consumer by metric and labels.
#[derive(Default)]
pub(crate) struct Registry {
    series: Mutex<BTreeMap<Metric, BTreeMap<Key, Cell>>>,
}

/// One series. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// Buckets that a histogram has at most.
const BUCKETS: usize = 8;

/// A histogram of fixed buckets. One value costs two writes to two cache lines, mostly, and no memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Buckets {
    counts: [AtomicU64; BUCKETS],
    bounds: &'static [f64],
    sum: AtomicU64,
    /// Of the values since [`Buckets::take_extremes`].
    least: AtomicU64,
    greatest: AtomicU64,
}

/// A histogram at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) bounds: &'static [f64],
    /// Values of each bucket, one more than there are bounds.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

#[cfg(any(feature = "cloudwatch", feature = "otlp"))]
impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Changes an `f64` kept as its bits.
fn change(bits: &AtomicU64, new: impl Fn(f64) -> f64) {
    let change = |old| Some(new(f64::from_bits(old)).to_bits());
    // The closure never refuses.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            counts: Default::default(),
            bounds: bounds.get(..BUCKETS - 1).unwrap_or(bounds),
            sum: AtomicU64::new(0f64.to_bits()),
            least: AtomicU64::new(f64::INFINITY.to_bits()),
            greatest: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
        }
    }

    pub(crate) fn read(&self) -> Distribution {
        let counts = self.counts.iter().take(self.bounds.len() + 1);
        let counts = counts.map(|count| count.load(Ordering::Relaxed)).collect();
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        Distribution { bounds: self.bounds, counts, sum }
    }

    /// The least and the greatest value since the last call. For one reader.
    #[cfg(feature = "cloudwatch")]
    pub(crate) fn take_extremes(&self) -> Option<(f64, f64)> {
        let least = f64::from_bits(self.least.swap(f64::INFINITY.to_bits(), Ordering::Relaxed));
        let greatest = f64::from_bits(self.greatest.swap(f64::NEG_INFINITY.to_bits(), Ordering::Relaxed));
        (least <= greatest).then_some((least, greatest))
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let bucket = self.bounds.iter().take_while(|bound| **bound < value).count();
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        change(&self.sum, |sum| sum + value);
        let extreme = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        if value < extreme(&self.least) {
            change(&self.least, |least| least.min(value));
        }
        if value > extreme(&self.greatest) {
            change(&self.greatest, |greatest| greatest.max(value));
        }
    }
}

impl Cell {
    fn new(metric: Metric) -> Self {
        match metric.kind() {
            MetricKind::Counter => Self::Counter(Arc::default()),
            MetricKind::Gauge => Self::Gauge(Arc::new(AtomicU64::new(0f64.to_bits()))),
            MetricKind::Histogram => Self::Histogram(Arc::new(Buckets::new(metric.buckets()))),
        }
    }

    /// Whether both are the same series, and not one that was forgotten and one that came in its place.
    #[cfg(any(feature = "cloudwatch", feature = "otlp"))]
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter(one), Self::Counter(other)) | (Self::Gauge(one), Self::Gauge(other)) => {
                Arc::ptr_eq(one, other)
            }
            (Self::Histogram(one), Self::Histogram(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Registry {
    /// Every series there is now, metric by metric.
    pub(crate) fn snapshot(&self) -> Vec<(Metric, Vec<(Key, Cell)>)> {
        let series = self.series.lock();
        let copy =
            |cells: &BTreeMap<Key, Cell>| cells.iter().map(|(k, cell)| (k.clone(), cell.clone())).collect();
        series.iter().map(|(metric, cells)| (*metric, copy(cells))).collect()
    }

    /// Forgets one series.
    pub(crate) fn remove(&self, metric: Metric, labels: &[Label]) {
        if let Some(cells) = self.series.lock().get_mut(&metric) {
            cells.remove(&Key::from_parts(metric.name(), labels.to_vec()));
        }
    }

    /// Forgets every series.
    pub(crate) fn clear(&self) {
        self.series.lock().clear();
    }

    /// `None` for a name that is no metric of this library, or of another kind.
    fn cell(&self, key: &Key, kind: MetricKind) -> Option<Cell> {
        let mut known = Metric::ALL.iter().copied();
        let metric = known.find(|metric| metric.name() == key.name() && metric.kind() == kind)?;
        let mut series = self.series.lock();
        let cells = series.entry(metric).or_default();
        Some(cells.entry(key.clone()).or_insert_with(|| Cell::new(metric)).clone())
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, MetricKind::Counter) {
            Some(Cell::Counter(cell)) => Counter::from_arc(cell),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, MetricKind::Gauge) {
            Some(Cell::Gauge(cell)) => Gauge::from_arc(cell),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, MetricKind::Histogram) {
            Some(Cell::Histogram(cell)) => Histogram::from_arc(cell),
            _ => Histogram::noop(),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_each_value_in_the_bucket_that_ends_at_or_above_it() {
        let buckets = Buckets::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            buckets.record(value);
        }
        let read = buckets.read();
        assert_eq!((read.counts.as_slice(), read.sum), ([2, 2, 1].as_slice(), 14.0));
    }

    #[test]
    fn no_metric_has_more_buckets_than_there_is_room_for() {
        assert!(Metric::ALL.iter().all(|metric| metric.buckets().len() < BUCKETS));
    }

    #[cfg(feature = "cloudwatch")]
    #[test]
    fn extremes_are_those_since_the_last_read() {
        let buckets = Buckets::new(&[1.0]);
        assert_eq!(buckets.take_extremes(), None);
        [3.0, 0.5, 2.0].iter().for_each(|value| buckets.record(*value));
        assert_eq!(buckets.take_extremes(), Some((0.5, 3.0)));
        buckets.record(1.0);
        assert_eq!(buckets.take_extremes(), Some((1.0, 1.0)));
        assert_eq!(buckets.take_extremes(), None);
    }

    #[test]
    fn equal_labels_are_one_series() {
        let registry = Registry::default();
        let metadata = Metadata::new("rokini", metrics::Level::INFO, None);
        let key = Key::from_parts(Metric::Throttled.name(), vec![Label::new("shard", "0")]);
        registry.register_counter(&key, &metadata).increment(2);
        registry.register_counter(&key, &metadata).increment(3);
        let unknown = Key::from_name("unknown_total");
        registry.register_counter(&unknown, &metadata).increment(1);
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.len(), 1);
        let Cell::Counter(cell) = &snapshot[0].1[0].1 else { panic!("a counter") };
        assert_eq!(cell.load(Ordering::Relaxed), 5);
        registry.remove(Metric::Throttled, &[Label::new("shard", "0")]);
        assert!(registry.snapshot()[0].1.is_empty());
    }
}
