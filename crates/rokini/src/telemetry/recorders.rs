//! The recorders that get the numbers of a consumer, and the handles that they gave for one series.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use super::metric::{Metric, MetricKind, MetricUnit};

/// Where the numbers of a consumer go.
#[derive(Clone, Default)]
pub(crate) struct Recorders(Vec<Arc<dyn Recorder + Send + Sync>>);

const METADATA: Metadata<'static> = Metadata::new("rokini", Level::INFO, Some("rokini"));

/// What one recorder gave for one series.
#[derive(Debug)]
pub(super) enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Recorders {
    /// Adds one, and describes to it what will come.
    pub(crate) fn add(&mut self, recorder: Arc<dyn Recorder + Send + Sync>) {
        for metric in Metric::ALL {
            let unit = match metric.unit() {
                MetricUnit::Count => Unit::Count,
                MetricUnit::Seconds => Unit::Seconds,
                MetricUnit::Bytes => Unit::Bytes,
            };
            let (name, unit) = (KeyName::from_const_str(metric.name()), Some(unit));
            match metric.kind() {
                MetricKind::Counter => recorder.describe_counter(name, unit, metric.help().into()),
                MetricKind::Gauge => recorder.describe_gauge(name, unit, metric.help().into()),
                MetricKind::Histogram => recorder.describe_histogram(name, unit, metric.help().into()),
            }
        }
        self.0.push(recorder);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The handle of each recorder.
    pub(super) fn register(&self, metric: Metric, labels: &[Label]) -> Vec<Handle> {
        let key = Key::from_parts(metric.name(), labels.to_vec());
        let register = |recorder: &Arc<dyn Recorder + Send + Sync>| match metric.kind() {
            MetricKind::Counter => Handle::Counter(recorder.register_counter(&key, &METADATA)),
            MetricKind::Gauge => Handle::Gauge(recorder.register_gauge(&key, &METADATA)),
            MetricKind::Histogram => Handle::Histogram(recorder.register_histogram(&key, &METADATA)),
        };
        self.0.iter().map(register).collect()
    }
}

impl fmt::Debug for Recorders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorders").field(&self.0.len()).finish()
    }
}
