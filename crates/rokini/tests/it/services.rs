//! Each monitoring service against a receiver that decodes what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_types::SdkConfig;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message;
use rokini::lease::MemoryStore;
use rokini::{ConfigKey, ConsumerBuilder, ConsumerConfig, Event, EventCode, Metric, OtlpTraces};
use tokio::net::TcpListener;

use crate::harness;
use crate::stream::Stream;

/// Path, headers, body without its compression.
type Got = (String, BTreeMap<String, String>, Vec<u8>);

/// Requests as they arrived.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Got>>>);

impl Receiver {
    /// Answers everything with this status.
    async fn start(status: u16) -> (Self, SocketAddr) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let got = got.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let got = got.clone();
                    async move {
                        got.take(request).await;
                        // An empty map in CBOR, an empty message in protobuf.
                        let answer =
                            Response::builder().status(status).header("smithy-protocol", "rpc-v2-cbor");
                        answer.body(Full::new(Bytes::from_static(&[0xa0])))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (receiver, address)
    }

    async fn take(&self, request: Request<Incoming>) {
        let path = request.uri().path().to_owned();
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers: BTreeMap<String, String> = request.headers().iter().map(header).collect();
        let mut body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
        if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
            let mut whole = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut whole).unwrap();
            body = whole;
        }
        self.0.lock().unwrap().push((path, headers, body));
    }

    fn all(&self) -> Vec<Got> {
        self.0.lock().unwrap().clone()
    }
}

const RECORDS: u64 = 12_345;
const SIZE: u64 = 7;

/// So many shards with `RECORDS` records among them, then nothing more.
fn stream(shards: usize) -> Stream {
    let stream = Stream::new(shards).per_read(1_000).took(Duration::from_millis(5));
    (0..RECORDS as usize).for_each(|n| _ = stream.put_bytes(n % shards, &[b'x'; SIZE as usize]));
    stream
}

fn aws(endpoint: SocketAddr) -> SdkConfig {
    let credentials = aws_credential_types::Credentials::from_keys("id", "secret", None);
    SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
        .region(aws_types::region::Region::new("eu-west-1"))
        .endpoint_url(format!("http://{endpoint}"))
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
        .build()
}

/// Counts the records that reach the handler: a shard that begins anew brings its own again.
fn builder(shards: usize, count: &Arc<AtomicU64>) -> ConsumerBuilder {
    let count = Arc::clone(count);
    let consumer = harness::builder(&stream(shards), MemoryStore::new(), "w").group("billing");
    consumer.for_each_batch(move |batch| {
        count.fetch_add(batch.len() as u64, Ordering::SeqCst);
        async { Ok(()) }
    })
}

/// Runs until every record is processed, and stops. What it told.
async fn run_through(builder: ConsumerBuilder) -> Vec<EventCode> {
    let consumer = builder.build().await.unwrap();
    let handle = consumer.handle();
    let mut events = handle.events();
    let run = tokio::spawn(consumer.run());
    let processed = || {
        let text = handle.prometheus().unwrap();
        let counts = text.lines().filter(|line| line.starts_with(Metric::RecordsProcessed.name()));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    while processed() < RECORDS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    handle.shutdown(Duration::from_secs(5)).await;
    run.await.unwrap().unwrap();
    std::iter::from_fn(|| events.try_recv().ok()).map(|event: Event| event.code()).collect()
}

/// A field of a CBOR map.
fn field<'v>(value: &'v ciborium::Value, name: &str) -> Option<&'v ciborium::Value> {
    let entries = value.as_map().unwrap();
    entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn number(value: &ciborium::Value, name: &str) -> f64 {
    match field(value, name).unwrap() {
        ciborium::Value::Float(number) => *number,
        other => i128::from(other.as_integer().unwrap()) as f64,
    }
}

#[tokio::test]
async fn cloudwatch_gets_sums_that_agree_with_what_was_processed() {
    let (receiver, address) = Receiver::start(200).await;
    let count = Arc::<AtomicU64>::default();
    let builder = builder(1_200, &count)
        .aws(&aws(address))
        .set(ConfigKey::Monitoring, "cloudwatch,prometheus")
        .set(ConfigKey::CloudWatchInterval, "1s")
        .set(ConfigKey::CloudWatchResolution, "1s");
    run_through(builder).await;
    let processed = count.load(Ordering::SeqCst);
    let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut calls = BTreeSet::new();
    for (path, headers, body) in receiver.all() {
        assert!(path.ends_with("/operation/PutMetricData"), "{path}");
        // A busy machine answers late, and then the SDK tries again.
        if !calls.insert(headers["amz-sdk-invocation-id"].clone()) {
            continue;
        }
        assert_eq!(headers["smithy-protocol"], "rpc-v2-cbor");
        assert!(body.len() < 1_000_000, "{}", body.len());
        let request: ciborium::Value = ciborium::from_reader(&body[..]).unwrap();
        assert_eq!(field(&request, "Namespace").unwrap().as_text(), Some("billing"));
        let data = field(&request, "MetricData").unwrap().as_array().unwrap();
        assert!((1..=1_000).contains(&data.len()), "{}", data.len());
        for datum in data {
            let name = field(datum, "MetricName").unwrap().as_text().unwrap().to_owned();
            assert_eq!(number(datum, "StorageResolution"), 1.0);
            let dimensions = field(datum, "Dimensions").unwrap().as_array().unwrap().iter();
            let of = |dimension: &ciborium::Value, part| {
                field(dimension, part).unwrap().as_text().unwrap().to_owned()
            };
            let dimensions: BTreeMap<String, String> =
                dimensions.map(|dimension| (of(dimension, "Name"), of(dimension, "Value"))).collect();
            let stats = field(datum, "StatisticValues").unwrap();
            assert!(
                number(stats, "Minimum") <= number(stats, "Maximum") && number(stats, "SampleCount") >= 1.0
            );
            if name == "RecordsProcessed" {
                assert_eq!(dimensions.keys().collect::<Vec<_>>(), ["Operation", "ShardId"]);
            }
            *sums.entry((dimensions["Operation"].clone(), name)).or_default() += number(stats, "Sum");
        }
    }
    let sum = |operation: &str, name: &str| sums.get(&(operation.to_owned(), name.to_owned())).copied();
    assert_eq!(sum("ProcessTask", "RecordsProcessed"), Some(processed as f64));
    assert_eq!(sum("ProcessTask", "DataBytesProcessed"), Some((processed * SIZE) as f64));
    assert!(sum("TakeLeases", "TakenLeases") >= Some(1_200.0));
    assert!(sum("RenewAllLeases", "CurrentLeases") > Some(0.0) && sum("Rokini", "Ready") > Some(0.0));
    assert_eq!(sum("ProcessTask", "KinesisDataFetcher.getRecords.Time"), None, "detailed only");
    assert!(calls.len() > 4, "{}", calls.len());
}

#[tokio::test]
async fn a_cloudwatch_that_fails_never_touches_the_data_path() {
    // A permanent error, and one that hangs.
    let (_receiver, refuses) = Receiver::start(403).await;
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [refuses, hangs.local_addr().unwrap()] {
        let builder = builder(2, &Arc::default())
            .aws(&aws(address))
            .set(ConfigKey::Monitoring, "cloudwatch,prometheus")
            .set(ConfigKey::CloudWatchInterval, "1s");
        let told = run_through(builder).await;
        assert!(told.contains(&EventCode::Stopped));
        assert_eq!(told.contains(&EventCode::ExportFailed), address == refuses);
    }
}

#[tokio::test]
async fn otlp_metrics_agree_with_what_was_processed() {
    let (receiver, address) = Receiver::start(200).await;
    let count = Arc::<AtomicU64>::default();
    let builder = builder(3, &count)
        .set(ConfigKey::Monitoring, "otlp,prometheus")
        .set(ConfigKey::OtlpEndpoint, format!("http://{address}/"))
        .set(ConfigKey::OtlpHeaders, "x-key=secret")
        .set(ConfigKey::OtlpInterval, "1s");
    run_through(builder).await;
    let requests = receiver.all();
    assert!(requests.len() >= 3, "{}", requests.len());
    let (path, headers, body) = requests.last().unwrap();
    assert_eq!((path.as_str(), headers["content-type"].as_str()), ("/v1/metrics", "application/x-protobuf"));
    assert_eq!(headers["x-key"], "secret");
    let last = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
    let resource = &last.resource_metrics[0];
    let metrics = &resource.scope_metrics[0].metrics;
    let find = |metric: Metric| metrics.iter().find(|found| found.name == metric.otlp_name()).unwrap();
    let Some(Data::Sum(records)) = &find(Metric::RecordsProcessed).data else { panic!("a sum") };
    assert!(records.is_monotonic && records.data_points.len() == 3);
    let number = |value: &Option<Value>| match value {
        Some(Value::AsInt(count)) => *count as u64,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        records.data_points.iter().map(|point| number(&point.value)).sum::<u64>(),
        count.load(Ordering::SeqCst)
    );
    assert!(records.data_points.iter().all(|point| point.start_time_unix_nano < point.time_unix_nano));
    let Some(Data::Histogram(fetches)) = &find(Metric::FetchTime).data else { panic!("a histogram") };
    for point in &fetches.data_points {
        assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert!((point.sum.unwrap() - point.count as f64 * 0.005).abs() < 1e-6);
    }
    assert_eq!(find(Metric::FetchTime).unit, "s");
}

#[tokio::test]
async fn otlp_gets_the_spans_of_the_program() {
    use opentelemetry::trace::{Span as _, Tracer as _};
    let (receiver, address) = Receiver::start(200).await;
    let mut config = ConsumerConfig::default();
    config.set(ConfigKey::OtlpEndpoint, &format!("http://{address}")).unwrap();
    let traces = OtlpTraces::new(&config, "billing", &rokini::HttpOptions::default()).unwrap();
    for n in 0..10 {
        traces.tracer().start(format!("batch {n}")).end();
    }
    traces.shutdown().await.unwrap();
    let mut names: Vec<String> = Vec::new();
    for (path, _, body) in receiver.all() {
        assert_eq!(path, "/v1/traces");
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        names.extend(spans.flat_map(|scope| scope.spans).map(|span| span.name));
    }
    names.sort();
    assert_eq!(names, (0..10).map(|n| format!("batch {n}")).collect::<Vec<_>>());
}
