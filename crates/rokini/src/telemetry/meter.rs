//! The handles of each series, made once and kept where their values arise.

use metrics::{Counter, Gauge, Histogram, Label};

use super::metric::{Metric, MetricKind, MetricScope};
use super::recorders::Recorders;
use super::registry::Registry;

/// Forgets the series of these labels. Recorders of the application keep them: the facade offers no call for it.
fn forget(
    registry: Option<&Registry>,
    scope: MetricScope,
    labels: &[Label],
    which: impl Fn(MetricKind) -> bool,
) {
    let Some(registry) = registry else { return };
    for metric in Metric::ALL.iter().filter(|metric| metric.scope() == scope && which(metric.kind())) {
        registry.remove(*metric, labels);
    }
}

/// What is counted for one shard.
#[derive(Debug)]
pub(crate) struct ShardMeter {
    /// Whether anybody wants the numbers.
    pub(crate) on: bool,
    labels: Vec<Label>,
    pub(crate) records: Counter,
    pub(crate) bytes: Counter,
    pub(crate) handler: Histogram,
    pub(crate) fetch: Histogram,
    pub(crate) handler_failures: Counter,
    pub(crate) read_failures: Counter,
    pub(crate) throttled: Counter,
    pub(crate) skipped: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) dead_letter_failures: Counter,
    pub(crate) data_losses: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_failures: Counter,
}

impl ShardMeter {
    pub(crate) fn new(recorders: &Recorders, labels: Vec<Label>) -> Self {
        let counter = |metric| recorders.counter(metric, &labels);
        Self {
            on: !recorders.is_empty(),
            records: counter(Metric::RecordsProcessed),
            bytes: counter(Metric::BytesProcessed),
            handler: recorders.histogram(Metric::HandlerTime, &labels),
            fetch: recorders.histogram(Metric::FetchTime, &labels),
            handler_failures: counter(Metric::HandlerFailures),
            read_failures: counter(Metric::ReadFailures),
            throttled: counter(Metric::Throttled),
            skipped: counter(Metric::Skipped),
            dead_lettered: counter(Metric::DeadLettered),
            dead_letter_failures: counter(Metric::DeadLetterFailures),
            data_losses: counter(Metric::DataLoss),
            checkpoints: counter(Metric::Checkpoints),
            checkpoint_failures: counter(Metric::CheckpointFailures),
            labels,
        }
    }

    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    pub(crate) fn forget(&self, registry: Option<&Registry>) {
        forget(registry, MetricScope::Shard, &self.labels, |kind| kind != MetricKind::Gauge);
    }
}

/// The gauges of a shard, or of all shards of a stream where shards have no label.
#[derive(Debug)]
pub(crate) struct ShardGauges {
    labels: Vec<Label>,
    lag: Gauge,
    behind: Gauge,
    until_loss: Gauge,
    stalled: Gauge,
}

/// The values of [`ShardGauges`].
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
}

impl ShardGauges {
    pub(crate) fn new(recorders: &Recorders, labels: Vec<Label>) -> Self {
        let gauge = |metric| recorders.gauge(metric, &labels);
        Self {
            lag: gauge(Metric::Lag),
            behind: gauge(Metric::Behind),
            until_loss: gauge(Metric::UntilDataLoss),
            stalled: gauge(Metric::Stalled),
            labels,
        }
    }

    pub(crate) fn set(&self, values: ShardValues) {
        self.lag.set(values.lag);
        self.stalled.set(values.stalled);
        if let Some(behind) = values.behind {
            self.behind.set(behind);
        }
        if let Some(until_loss) = values.until_loss {
            self.until_loss.set(until_loss);
        }
    }

    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The shard left: where a series cannot be forgotten, it says that nothing lags here.
    pub(crate) fn forget(&self, registry: Option<&Registry>) {
        self.set(ShardValues { behind: Some(0.0), ..ShardValues::default() });
        forget(registry, MetricScope::Shard, &self.labels, |kind| kind == MetricKind::Gauge);
    }
}

/// What is counted for one stream.
#[derive(Debug)]
pub(crate) struct StreamMeter {
    labels: Vec<Label>,
    pub(crate) held: Gauge,
    pub(crate) gained: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) lost: Counter,
    pub(crate) ended: Counter,
    pub(crate) unheld: Gauge,
    pub(crate) holes: Gauge,
    pub(crate) group_lag: Gauge,
}

impl StreamMeter {
    pub(crate) fn new(recorders: &Recorders, labels: Vec<Label>) -> Self {
        let counter = |metric| recorders.counter(metric, &labels);
        let gauge = |metric| recorders.gauge(metric, &labels);
        Self {
            held: gauge(Metric::LeasesHeld),
            gained: counter(Metric::LeasesGained),
            handed_over: counter(Metric::LeasesHandedOver),
            lost: counter(Metric::LeasesLost),
            ended: counter(Metric::ShardsEnded),
            unheld: gauge(Metric::Unheld),
            holes: gauge(Metric::Holes),
            group_lag: gauge(Metric::GroupLag),
            labels,
        }
    }

    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    pub(crate) fn forget(&self, registry: Option<&Registry>) {
        for gauge in [&self.held, &self.unheld, &self.holes, &self.group_lag] {
            gauge.set(0.0);
        }
        forget(registry, MetricScope::Stream, &self.labels, |_| true);
    }
}

/// What is counted for the worker.
#[derive(Debug)]
pub(crate) struct WorkerMeter {
    pub(crate) heartbeats: Counter,
    pub(crate) heartbeat_failures: Counter,
    pub(crate) heartbeat_age: Gauge,
    pub(crate) valid: Gauge,
    pub(crate) live: Gauge,
    pub(crate) ready: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) desired_workers: Gauge,
}

impl WorkerMeter {
    pub(crate) fn new(recorders: &Recorders, labels: &[Label]) -> Self {
        let counter = |metric| recorders.counter(metric, labels);
        let gauge = |metric| recorders.gauge(metric, labels);
        Self {
            heartbeats: counter(Metric::Heartbeats),
            heartbeat_failures: counter(Metric::HeartbeatFailures),
            heartbeat_age: gauge(Metric::HeartbeatAge),
            valid: gauge(Metric::Valid),
            live: gauge(Metric::Live),
            ready: gauge(Metric::Ready),
            workers: gauge(Metric::Workers),
            desired_workers: gauge(Metric::DesiredWorkers),
        }
    }
}
