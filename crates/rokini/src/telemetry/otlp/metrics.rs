//! The registry as OTLP metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Key;
use opentelemetry_http::{HttpClient, Request};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as OtlpMetric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::client::{Client, endpoint};
use crate::aws::HttpOptions;
use crate::config::{ConfigKey, Monitoring, Settings};
use crate::telemetry::export::Exporter;
use crate::telemetry::metric::{Metric, MetricKind, MetricUnit};
use crate::telemetry::registry::{Cell, Registry};
use crate::types::error::{Error, ErrorKind};

/// Sends every series with its value so far (cumulative).
pub(crate) struct OtlpMetrics {
    client: Client,
    registry: Arc<Registry>,
    endpoint: String,
    /// The same without user and password.
    shown: String,
    headers: Vec<(String, String)>,
    interval: Duration,
    starts: Starts,
}

impl fmt::Debug for OtlpMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpMetrics").field("endpoint", &self.shown).finish_non_exhaustive()
    }
}

impl OtlpMetrics {
    /// To be called in a runtime.
    pub(crate) fn new(
        registry: Arc<Registry>,
        settings: &Settings,
        http: &HttpOptions,
        now_millis: u64,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(http)?,
            registry,
            endpoint: endpoint(&settings.otlp_endpoint, "metrics"),
            shown: endpoint(&settings.shown(ConfigKey::OtlpEndpoint).unwrap_or_default(), "metrics"),
            headers: settings.otlp_headers.clone(),
            interval: settings.otlp_interval,
            starts: Starts { last: now_millis, series: BTreeMap::new() },
        })
    }
}

/// When each series began, in milliseconds since the Unix epoch: a sum that begins anew needs a start of its own, or what it
/// counts is taken for what the one before it had counted.
#[derive(Debug)]
struct Starts {
    /// The last flush, or the beginning.
    last: u64,
    series: BTreeMap<(Metric, Key), (Cell, u64)>,
}

/// A metric with its series, each with its start.
type Started = (Metric, Vec<(Key, Cell, u64)>);

impl Starts {
    /// What is new was not there at the last flush, so it began no earlier.
    fn of(&mut self, snapshot: Vec<(Metric, Vec<(Key, Cell)>)>, now: u64) -> Vec<Started> {
        let (before, last) = (std::mem::take(&mut self.series), std::mem::replace(&mut self.last, now));
        let mut started = Vec::new();
        for (metric, series) in snapshot {
            let with_start = series.into_iter().map(|(key, cell)| {
                let place = (metric, key);
                let known = before.get(&place).filter(|(known, _)| known.is(&cell));
                let start = known.map_or(last, |(_, start)| *start);
                self.series.insert(place.clone(), (cell.clone(), start));
                (place.1, cell, start)
            });
            started.push((metric, with_start.collect()));
        }
        started
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(any_value::Value::StringValue(value.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

/// Labels as attributes, with OpenTelemetry's names where it has one.
fn attributes(key: &Key) -> Vec<KeyValue> {
    let name = |label: &str| match label {
        "group" => "messaging.consumer.group.name",
        "stream" => "messaging.destination.name",
        "shard" => "messaging.destination.partition.id",
        "worker" => "messaging.client.id",
        "code" => "rokini.event.code",
        _ => "rokini.label",
    };
    key.labels().map(|label| text(name(label.key()), label.value())).collect()
}

/// Every series there is.
fn request(started: Vec<Started>, now: u64) -> ExportMetricsServiceRequest {
    let nanos = |millis: u64| millis.saturating_mul(1_000_000);
    let number = |key: &Key, begun: u64, value| NumberDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: nanos(begun),
        time_unix_nano: nanos(now),
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let point = |(key, cell, begun): &(Key, Cell, u64)| match cell {
        Cell::Counter(value) => {
            let value = i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            Point::Number(number(key, *begun, number_data_point::Value::AsInt(value)))
        }
        Cell::Gauge(bits) => {
            let value = f64::from_bits(bits.load(Ordering::Relaxed));
            Point::Number(number(key, *begun, number_data_point::Value::AsDouble(value)))
        }
        Cell::Histogram(buckets) => {
            let values = buckets.read();
            Point::Histogram(HistogramDataPoint {
                attributes: attributes(key),
                start_time_unix_nano: nanos(*begun),
                time_unix_nano: nanos(now),
                count: values.count(),
                sum: Some(values.sum),
                explicit_bounds: values.bounds.to_vec(),
                bucket_counts: values.counts,
                ..HistogramDataPoint::default()
            })
        }
    };
    let metrics = started.into_iter().filter(|(_, series)| !series.is_empty());
    let metrics = metrics.map(|(metric, series)| whole(metric, series.iter().map(point).collect())).collect();
    let scope = InstrumentationScope {
        name: "rokini".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource = Resource { attributes: vec![text("service.name", "rokini")], ..Resource::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

enum Point {
    Number(NumberDataPoint),
    Histogram(HistogramDataPoint),
}

fn whole(metric: Metric, points: Vec<Point>) -> OtlpMetric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let (mut numbers, mut histograms) = (Vec::new(), Vec::new());
    for point in points {
        match point {
            Point::Number(point) => numbers.push(point),
            Point::Histogram(point) => histograms.push(point),
        }
    }
    let data = match metric.kind() {
        MetricKind::Counter => metric::Data::Sum(Sum {
            data_points: numbers,
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricKind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers }),
        MetricKind::Histogram => metric::Data::Histogram(Histogram {
            data_points: histograms,
            aggregation_temporality: cumulative,
        }),
    };
    let unit = match metric.unit() {
        MetricUnit::Seconds => "s",
        MetricUnit::Bytes => "By",
        MetricUnit::Count => "1",
    };
    OtlpMetric {
        name: metric.otlp_name(),
        description: metric.help(),
        unit: unit.to_owned(),
        data: Some(data),
        ..OtlpMetric::default()
    }
}

#[async_trait]
impl Exporter for OtlpMetrics {
    fn service(&self) -> Monitoring {
        Monitoring::Otlp
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn flush(&mut self, now_millis: u64) -> Result<(), Error> {
        let failed = |why: String| {
            Error::new(ErrorKind::Retry, format!("metrics were not sent to {}: {why}", self.shown))
        };
        let started = self.starts.of(self.registry.snapshot(), now_millis);
        let body = request(started, now_millis).encode_to_vec();
        let mut post = Request::post(&self.endpoint).header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let post = post.body(body.into()).map_err(|error| failed(error.to_string()))?;
        let response = self.client.send_bytes(post).await.map_err(|error| failed(error.to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(failed(format!("it answered {status}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Label, Recorder};

    use super::*;

    #[test]
    fn a_series_that_is_made_anew_has_a_start_of_its_own() {
        let registry = Registry::default();
        let metadata = metrics::Metadata::new("rokini", metrics::Level::INFO, None);
        let labels = |shard: &'static str| vec![Label::new("shard", shard)];
        let count = |shard: &'static str, more| {
            let key = Key::from_parts(Metric::RecordsProcessed.name(), labels(shard));
            registry.register_counter(&key, &metadata).increment(more);
        };
        let mut starts = Starts { last: 1_000, series: BTreeMap::new() };
        // Start in seconds, and value, of each shard.
        let mut sent = |now: u64| -> Vec<(u64, i64)> {
            let request = request(starts.of(registry.snapshot(), now), now);
            let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
            let Some(OtlpMetric { data: Some(metric::Data::Sum(sum)), .. }) = metrics.first() else {
                return Vec::new();
            };
            let points = sum.data_points.iter();
            points
                .map(|point| {
                    let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("a count") };
                    assert_eq!(point.time_unix_nano, now * 1_000_000);
                    (point.start_time_unix_nano / 1_000_000, value)
                })
                .collect()
        };
        count("0", 5);
        assert_eq!(sent(2_000), [(1_000, 5)]);
        count("0", 1);
        assert_eq!(sent(3_000), [(1_000, 6)]);
        // Back before the next flush, and with more than it had; another one is new.
        registry.remove(Metric::RecordsProcessed, &labels("0"));
        count("0", 9);
        count("1", 2);
        assert_eq!(sent(4_000), [(3_000, 9), (3_000, 2)]);
        // Back after a flush without it.
        registry.remove(Metric::RecordsProcessed, &labels("0"));
        assert_eq!(sent(5_000), [(3_000, 2)]);
        count("0", 1);
        assert_eq!(sent(6_000), [(5_000, 1), (3_000, 2)]);
    }
}
