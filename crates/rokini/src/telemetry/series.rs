//! The series of one shard, stream, code or worker: made once and kept where their values arise.

use metrics::Label;

use super::metric::{Metric, MetricKind, MetricScope};
use super::recorders::{Handle, Recorders};
use super::registry::Registry;

/// One series for each metric of a scope, all with the same labels.
#[derive(Debug)]
pub(crate) struct Series {
    labels: Vec<Label>,
    handles: Vec<(Metric, Vec<Handle>)>,
}

impl Series {
    /// The metrics of a scope of which `wants` wants the kind.
    pub(crate) fn new(
        recorders: &Recorders,
        scope: MetricScope,
        labels: Vec<Label>,
        wants: impl Fn(MetricKind) -> bool,
    ) -> Self {
        let metrics = Metric::ALL.iter().filter(|metric| metric.scope() == scope && wants(metric.kind()));
        let handles = metrics.map(|metric| (*metric, recorders.register(*metric, &labels))).collect();
        Self { labels, handles }
    }

    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    fn handles(&self, metric: Metric) -> impl Iterator<Item = &Handle> {
        self.handles.iter().filter(move |(found, _)| *found == metric).flat_map(|(_, handles)| handles)
    }

    pub(crate) fn count(&self, metric: Metric, more: u64) {
        for handle in self.handles(metric) {
            if let Handle::Counter(counter) = handle {
                counter.increment(more);
            }
        }
    }

    pub(crate) fn set(&self, metric: Metric, value: f64) {
        for handle in self.handles(metric) {
            if let Handle::Gauge(gauge) = handle {
                gauge.set(value);
            }
        }
    }

    /// Of what is not there any more: nothing.
    pub(crate) fn clear_gauges(&self) {
        for (_, handles) in &self.handles {
            for handle in handles {
                if let Handle::Gauge(gauge) = handle {
                    gauge.set(0.0);
                }
            }
        }
    }

    pub(crate) fn record(&self, metric: Metric, value: f64) {
        for handle in self.handles(metric) {
            if let Handle::Histogram(histogram) = handle {
                histogram.record(value);
            }
        }
    }

    /// Removes the series from the registry. Recorders of the application keep theirs, since the facade offers no call
    /// for it.
    pub(crate) fn forget(&self, registry: Option<&Registry>) {
        let Some(registry) = registry else { return };
        self.handles.iter().for_each(|(metric, _)| registry.remove(*metric, &self.labels));
    }
}

/// The gauges of a shard, or of all shards of a stream where shards have no label.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ShardValues {
    pub(crate) lag: f64,
    pub(crate) behind: Option<f64>,
    pub(crate) until_loss: Option<f64>,
    pub(crate) stalled: f64,
}

impl ShardValues {
    /// Those of two shards as one.
    pub(crate) fn and(self, other: Self) -> Self {
        let both = |pick: fn(f64, f64) -> f64, a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            lag: self.lag.max(other.lag),
            behind: both(f64::max, self.behind, other.behind),
            until_loss: both(f64::min, self.until_loss, other.until_loss),
            stalled: self.stalled + other.stalled,
        }
    }

    pub(crate) fn set(&self, series: &Series) {
        series.set(Metric::Lag, self.lag);
        series.set(Metric::Stalled, self.stalled);
        for (metric, value) in [(Metric::Behind, self.behind), (Metric::UntilDataLoss, self.until_loss)] {
            if let Some(value) = value {
                series.set(metric, value);
            }
        }
    }

    /// Of a shard that left: nothing lags here.
    pub(crate) fn departed() -> Self {
        Self { behind: Some(0.0), ..Self::default() }
    }
}
