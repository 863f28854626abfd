//! The registry as OTLP metrics.

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
    begun_millis: u64,
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
            begun_millis: now_millis,
        })
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
fn request(registry: &Registry, begun: u64, now: u64) -> ExportMetricsServiceRequest {
    let nanos = |millis: u64| millis.saturating_mul(1_000_000);
    let number = |key: &Key, value| NumberDataPoint {
        attributes: attributes(key),
        start_time_unix_nano: nanos(begun),
        time_unix_nano: nanos(now),
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let point = |(key, cell): &(Key, Cell)| match cell {
        Cell::Counter(value) => {
            let value = i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            Point::Number(number(key, number_data_point::Value::AsInt(value)))
        }
        Cell::Gauge(bits) => {
            let value = f64::from_bits(bits.load(Ordering::Relaxed));
            Point::Number(number(key, number_data_point::Value::AsDouble(value)))
        }
        Cell::Histogram(buckets) => {
            let values = buckets.read();
            Point::Histogram(HistogramDataPoint {
                attributes: attributes(key),
                start_time_unix_nano: nanos(begun),
                time_unix_nano: nanos(now),
                count: values.count(),
                sum: Some(values.sum),
                explicit_bounds: values.bounds.to_vec(),
                bucket_counts: values.counts,
                ..HistogramDataPoint::default()
            })
        }
    };
    let metrics = registry.snapshot().into_iter().filter(|(_, series)| !series.is_empty());
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
        let body = request(&self.registry, self.begun_millis, now_millis).encode_to_vec();
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
