//! `run --handler http`: records to a service by POST.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{LONGEST_WAIT, Local, Member};

/// What a service was asked, and when.
#[derive(Debug, Clone)]
struct Asked {
    at: Instant,
    headers: HeaderMap,
    version: hyper::Version,
    body: Vec<u8>,
}

type Answers = dyn Fn(usize, &Asked) -> (u16, &'static str, String) + Send + Sync;

struct Service {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Answers the n-th request by status, `Retry-After` and body.
    async fn start(answer: Arc<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/records", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let all = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes().to_vec();
                        let asked =
                            Asked { at: Instant::now(), headers: head.headers, version: head.version, body };
                        let number = all.lock().unwrap().len();
                        let (status, retry_after, body) = answer(number, &asked);
                        all.lock().unwrap().push(asked);
                        let mut response = Response::builder().status(status);
                        if !retry_after.is_empty() {
                            response = response.header("Retry-After", retry_after);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn until(&self, member: &Member, wanted: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let begun = Instant::now();
        loop {
            let asked = self.asked();
            if wanted(&asked) {
                return asked;
            }
            assert!(begun.elapsed() < LONGEST_WAIT, "{} requests\n{}", asked.len(), member.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The data of an event.
fn data(asked: &Asked) -> Vec<String> {
    let event: Value = serde_json::from_slice(&asked.body).unwrap();
    let records = event["Records"].as_array().unwrap().iter();
    let data = records.map(|record| {
        let data = record["kinesis"]["data"].as_str().unwrap();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
    });
    data.collect()
}

fn push(local: &Local, service: &Service, more: &[&str]) -> Member {
    let arguments =
        ["run", "orders", "--group", "g", "--worker", "w", "--handler", "http", "--url", &service.url];
    Member::spawn(local.rokini(&[&arguments, more].concat()))
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it_and_loses_nothing() {
    let local = Local::start(1).await;
    let data_put: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    local.put_hashed("orders", data_put.iter().map(|data| (0, data.clone()))).await;
    let service = Service::start(Arc::new(|number, _: &Asked| match number {
        0..=2 => (503, "1", String::new()),
        3 => (429, "", "slow down".to_owned()),
        _ => (204, "", String::new()),
    }))
    .await;
    // No record is given up because the service has no time.
    let mut member = push(&local, &service, &["--set", "on_failure=skip", "--set", "max_attempts=1"]);
    let asked = service.until(&member, |asked| asked.len() > 4).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(data(&asked[4]), data_put);
    for pair in asked.windows(2).take(3) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_secs(1), "{pause:?}");
    }
    let keys: Vec<_> = asked.iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "the same records have the same key: {keys:?}");
    let headers = &asked[0].headers;
    assert_eq!(
        (&headers["rokini-shard"], &headers["rokini-attempt"]),
        (&"shardId-000000000000".parse().unwrap(), &"1".parse().unwrap())
    );
    assert!(headers["rokini-epoch"].to_str().unwrap().parse::<u64>().is_ok());
    assert!(
        member.stderr().contains("HTTP 503") && member.stderr().contains("slow down"),
        "{}",
        member.stderr()
    );
}

#[tokio::test]
async fn m3_partial_failures_failures_and_broken_answers_are_tried_again_in_order() {
    let local = Local::start(1).await;
    local.put_hashed("orders", (0..10).map(|n| (0, n.to_string()))).await;
    let service = Service::start(Arc::new(|number, asked: &Asked| match number {
        0 => {
            let event: Value = serde_json::from_slice(&asked.body).unwrap();
            let failed = event["Records"][4]["kinesis"]["sequenceNumber"].as_str().unwrap();
            (200, "", format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":\"{failed}\"}}]}}"))
        }
        1 => (500, "", "boom".to_owned()),
        // As the emulator of Lambda's runtime interface says that a function failed.
        2 => (200, "", "{\"errorType\":\"ValueError\",\"errorMessage\":\"no\"}".to_owned()),
        _ => (200, "", String::new()),
    }))
    .await;
    let mut member = push(&local, &service, &[]);
    let asked = service.until(&member, |asked| asked.len() > 3).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let rest: Vec<String> = (4..10).map(|n| n.to_string()).collect();
    assert_eq!(data(&asked[0]).len(), 10);
    for (index, attempt) in [(1, "2"), (2, "3"), (3, "4")] {
        assert_eq!(data(&asked[index]), rest);
        assert_eq!(asked[index].headers["rokini-attempt"], attempt);
    }
}

#[tokio::test]
async fn cloud_events_headers_from_files_and_http2() {
    let local = Local::start(1).await;
    local.put_hashed("orders", [(0, "{\"a\":1}".to_owned()), (0, "plain".to_owned())]).await;
    std::fs::write(local.home().join("token"), "hush").unwrap();
    std::fs::write(local.home().join("headers"), "X-Tenant: acme\n").unwrap();
    for (format, requests) in
        [("cloudevents-binary", 2), ("cloudevents-structured", 2), ("cloudevents-batch", 1)]
    {
        let service = Service::start(Arc::new(|_, _: &Asked| (200, "", String::new()))).await;
        let more =
            ["--format", format, "--bearer-token-file", "token", "--header-file", "headers", "--http2"];
        let arguments = ["run", "orders", "--group", format, "--handler", "http", "--url", &service.url];
        let mut member = Member::spawn(local.rokini(&[&arguments[..], &more].concat()));
        let asked = service.until(&member, |asked| asked.len() >= requests).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        assert!(!member.stderr().contains("hush"));
        assert_eq!(asked[0].version, hyper::Version::HTTP_2);
        assert_eq!(
            (&asked[0].headers["authorization"], &asked[0].headers["x-tenant"]),
            (&"Bearer hush".parse().unwrap(), &"acme".parse().unwrap())
        );
        let kind = asked[0].headers["content-type"].to_str().unwrap().to_owned();
        let event: Value = serde_json::from_slice(&asked[0].body).unwrap();
        match format {
            "cloudevents-binary" => {
                let header = |name: &str| asked[0].headers[name].to_str().unwrap().to_owned();
                assert_eq!((kind.as_str(), event), ("application/json", serde_json::json!({"a": 1})));
                assert_eq!(
                    (header("ce-specversion"), header("ce-type")),
                    ("1.0".into(), "aws.kinesis.record".into())
                );
                assert!(header("ce-source").ends_with(":stream/orders"));
                assert_eq!(asked[1].body, b"plain");
            }
            "cloudevents-structured" => {
                assert!(kind.starts_with("application/cloudevents+json"));
                assert_eq!(
                    (&event["data"], &event["specversion"]),
                    (&serde_json::json!({"a": 1}), &"1.0".into())
                );
                let second: Value = serde_json::from_slice(&asked[1].body).unwrap();
                assert_eq!(second["data_base64"], "cGxhaW4=");
            }
            _ => {
                assert!(kind.starts_with("application/cloudevents-batch+json"));
                let ids: BTreeMap<_, _> =
                    event.as_array().unwrap().iter().map(|event| (event["id"].to_string(), ())).collect();
                assert_eq!(ids.len(), 2);
            }
        }
    }
}
