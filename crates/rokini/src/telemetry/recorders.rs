//! One or several recorders as one: each number goes to all of them.

use std::fmt;
use std::sync::Arc;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Label, Level, Metadata,
    Recorder, Unit,
};

use super::metric::{Metric, MetricKind, MetricUnit};

/// Where the numbers of a consumer go.
#[derive(Clone, Default)]
pub(crate) struct Recorders(Vec<Arc<dyn Recorder + Send + Sync>>);

const METADATA: Metadata<'static> = Metadata::new("rokini", Level::INFO, Some("rokini"));

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

    pub(crate) fn counter(&self, metric: Metric, labels: &[Label]) -> Counter {
        let key = Key::from_parts(metric.name(), labels.to_vec());
        match self.0.as_slice() {
            [] => Counter::noop(),
            [one] => one.register_counter(&key, &METADATA),
            all => Counter::from_arc(Arc::new(All(all
                .iter()
                .map(|each| each.register_counter(&key, &METADATA))
                .collect()))),
        }
    }

    pub(crate) fn gauge(&self, metric: Metric, labels: &[Label]) -> Gauge {
        let key = Key::from_parts(metric.name(), labels.to_vec());
        match self.0.as_slice() {
            [] => Gauge::noop(),
            [one] => one.register_gauge(&key, &METADATA),
            all => Gauge::from_arc(Arc::new(All(all
                .iter()
                .map(|each| each.register_gauge(&key, &METADATA))
                .collect()))),
        }
    }

    pub(crate) fn histogram(&self, metric: Metric, labels: &[Label]) -> Histogram {
        let key = Key::from_parts(metric.name(), labels.to_vec());
        match self.0.as_slice() {
            [] => Histogram::noop(),
            [one] => one.register_histogram(&key, &METADATA),
            all => Histogram::from_arc(Arc::new(All(all
                .iter()
                .map(|each| each.register_histogram(&key, &METADATA))
                .collect()))),
        }
    }
}

impl fmt::Debug for Recorders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorders").field(&self.0.len()).finish()
    }
}

/// The same handle of several recorders.
struct All<H>(Box<[H]>);

impl CounterFn for All<Counter> {
    fn increment(&self, value: u64) {
        self.0.iter().for_each(|each| each.increment(value));
    }

    fn absolute(&self, value: u64) {
        self.0.iter().for_each(|each| each.absolute(value));
    }
}

impl GaugeFn for All<Gauge> {
    fn increment(&self, value: f64) {
        self.0.iter().for_each(|each| each.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.0.iter().for_each(|each| each.decrement(value));
    }

    fn set(&self, value: f64) {
        self.0.iter().for_each(|each| each.set(value));
    }
}

impl HistogramFn for All<Histogram> {
    fn record(&self, value: f64) {
        self.0.iter().for_each(|each| each.record(value));
    }
}
