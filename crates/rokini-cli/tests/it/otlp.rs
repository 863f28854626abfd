//! `rokini consume` with an OpenTelemetry collector, which decodes what it gets.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use tokio::net::TcpListener;

use crate::support::Local;

/// What arrived: path and body.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Bytes)>>>);

impl Collector {
    /// Its address too.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let all = collector.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let all = all.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let all = all.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        all.0.lock().unwrap().push((path, body));
                        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (collector, address)
    }

    fn of(&self, path: &str) -> Vec<Bytes> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match attribute(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

fn service(resource: Option<&Resource>) -> String {
    text(&resource.unwrap().attributes, "service.name")
}

#[tokio::test]
async fn a_collector_gets_metrics_and_spans_of_a_worker_that_agree() {
    let local = Local::start(2).await;
    let (collector, address) = Collector::start().await;
    let endpoint = format!("otlp_endpoint={address}");
    let settings = ["--set", "monitoring=otlp", "--set", &endpoint];
    let mut member = local.consume("orders", "g", "w", &settings);
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    local.run_with_input(&["put", "orders"], &lines).await.done();
    member.until("the records", |member| member.data().len() == 100).await;
    // What is not sent by now is sent at the end.
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    assert!(!said.contains("warning") && !said.contains("WARN"), "{said}");

    let mut spans: Vec<Span> = Vec::new();
    for body in collector.of("/v1/traces") {
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            assert_eq!(service(resource.resource.as_ref()), "rokini");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    let mut records = 0;
    for span in &spans {
        assert_eq!((span.name.as_str(), span.kind()), ("process orders", SpanKind::Consumer), "{span:?}");
        assert!(span.start_time_unix_nano < span.end_time_unix_nano);
        assert_eq!(text(&span.attributes, "messaging.system"), "aws_kinesis");
        assert_eq!(text(&span.attributes, "messaging.consumer.group.name"), "g");
        assert_eq!(text(&span.attributes, "messaging.client.id"), "w");
        match attribute(&span.attributes, "messaging.batch.message_count") {
            Some(Value::IntValue(count)) => records += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records, 100, "{spans:?}");

    let last = collector.of("/v1/metrics").pop().unwrap();
    let resource = ExportMetricsServiceRequest::decode(last).unwrap().resource_metrics.remove(0);
    assert_eq!(service(resource.resource.as_ref()), "rokini");
    let mut metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
    let processed = metrics.find(|metric| metric.name == "rokini.records_processed").unwrap();
    let Some(Data::Sum(sum)) = processed.data else { panic!("{processed:?}") };
    let counts = sum.data_points.iter().map(|point| match point.value {
        Some(number_data_point::Value::AsInt(count)) => count,
        other => panic!("{other:?}"),
    });
    assert_eq!(counts.sum::<i64>(), 100);
}
