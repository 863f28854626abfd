//! `run --handler http`: records to a service by POST.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::support::{LONGEST_WAIT, Local, Member};

/// What a service was asked, and when.
#[derive(Debug, Clone)]
struct Asked {
    at: Instant,
    headers: HeaderMap,
    version: hyper::Version,
    body: Vec<u8>,
}

/// What a service does with a request.
#[derive(Debug, Clone, Default)]
struct Reply {
    status: u16,
    retry_after: &'static str,
    body: String,
    /// How long it takes.
    delay: Duration,
    /// It closes the connection in its place, after so much of the answer.
    cut_after: Option<usize>,
}

impl From<(u16, &'static str, String)> for Reply {
    fn from((status, retry_after, body): (u16, &'static str, String)) -> Self {
        Self { status, retry_after, body, ..Self::default() }
    }
}

type Answers = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

/// What a service saw of those who use it.
#[derive(Debug, Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

struct Service {
    url: String,
    seen: Arc<Seen>,
}

async fn answer(request: Request<Incoming>, seen: &Seen, answers: &Answers) -> Response<Body> {
    let (head, body) = request.into_parts();
    let at_once = seen.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let asked = Asked { at: Instant::now(), headers: head.headers, version: head.version, body };
    let reply = {
        // Under one lock, so that each request has a number of its own.
        let mut all = seen.asked.lock().unwrap();
        let reply = answers(all.len(), &asked);
        all.push(asked);
        reply
    };
    tokio::time::sleep(reply.delay).await;
    seen.at_once.fetch_sub(1, Ordering::SeqCst);
    let mut response = Response::builder().status(reply.status.max(200));
    if !reply.retry_after.is_empty() {
        response = response.header("Retry-After", reply.retry_after);
    }
    let whole = Bytes::from(reply.body);
    let parts = match reply.cut_after {
        None => vec![Ok(Frame::data(whole))],
        Some(length) => {
            response = response.header("Content-Length", whole.len());
            vec![Ok(Frame::data(whole.slice(..length))), Err(std::io::Error::other("cut"))]
        }
    };
    response.body(StreamBody::new(futures::stream::iter(parts))).unwrap()
}

type Body = StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>>>;

impl Service {
    /// Answers the n-th request, over TLS where there is a configuration for it.
    async fn with<R: Into<Reply>>(
        tls: Option<ServerConfig>,
        answers: impl Fn(usize, &Asked) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/records", listener.local_addr().unwrap());
        let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        let seen = Arc::<Seen>::default();
        let answers: Arc<Answers> = Arc::new(move |number, asked| answers(number, asked).into());
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answers, tls) = (Arc::clone(&noted), Arc::clone(&answers), tls.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                    async move { Ok::<_, Infallible>(answer(request, &seen, &*answers).await) }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // Whoever goes away in the middle is no error here.
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(server.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// Answers the n-th request by status, `Retry-After` and body, or in full.
    async fn start<R: Into<Reply>>(answers: impl Fn(usize, &Asked) -> R + Send + Sync + 'static) -> Self {
        Self::with(None, answers).await
    }

    fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
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

fn push_to(local: &Local, group: &str, url: &str, more: &[&str]) -> Member {
    let arguments = ["run", "orders", "--group", group, "--worker", "w", "--handler", "http", "--url", url];
    let mut command = local.rokini(&[&arguments, more].concat());
    let root = local.home().join("root.pem");
    if root.exists() {
        command.env("SSL_CERT_FILE", root);
    }
    Member::spawn(command)
}

fn push(local: &Local, service: &Service, more: &[&str]) -> Member {
    push_to(local, "g", &service.url, more)
}

/// The data that were done, in the order of the requests: those of requests that were answered well.
fn done(asked: &[Asked], well: impl Fn(usize) -> bool) -> Vec<String> {
    let well = asked.iter().enumerate().filter(|(number, _)| well(*number));
    well.flat_map(|(_, asked)| data(asked)).collect()
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it_and_loses_nothing() {
    let local = Local::start(1).await;
    let data_put: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    local.put_hashed("orders", data_put.iter().map(|data| (0, data.clone()))).await;
    let service = Service::start(|number, _: &Asked| match number {
        0..=2 => (503, "1", String::new()),
        3 => (429, "", "slow down".to_owned()),
        _ => (204, "", String::new()),
    })
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
    let service = Service::start(|number, asked: &Asked| match number {
        0 => {
            let event: Value = serde_json::from_slice(&asked.body).unwrap();
            let failed = event["Records"][4]["kinesis"]["sequenceNumber"].as_str().unwrap();
            (200, "", format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":\"{failed}\"}}]}}"))
        }
        1 => (500, "", "boom".to_owned()),
        // As the emulator of Lambda's runtime interface says that a function failed.
        2 => (200, "", "{\"errorType\":\"ValueError\",\"errorMessage\":\"no\"}".to_owned()),
        _ => (200, "", String::new()),
    })
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
        let service = Service::start(|_, _: &Asked| (200, "", String::new())).await;
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

/// A function that was ended for want of time has done nothing, and one that is busy has seen nothing.
#[tokio::test]
async fn m3_the_runtime_interface_emulator_loses_nothing_when_its_function_takes_too_long_or_is_busy() {
    let local = Local::start(1).await;
    let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    local.put_hashed("orders", all.iter().map(|data| (0, data.clone()))).await;
    let service = Service::start(|number, _: &Asked| match number {
        0 => (200, "", "Task timed out after 3.00 seconds".to_owned()),
        1..=3 => (400, "", String::new()),
        _ => (200, "", "null".to_owned()),
    })
    .await;
    let url = service.url.replace("/records", "/2015-03-31/functions/function/invocations");
    // Of two tries one is used up by the time limit, and none by what was not taken.
    let more = ["--set", "on_failure=skip", "--set", "max_attempts=2", "--set", "bisect=false"];
    let mut member = push_to(&local, "g", &url, &more);
    let asked = service.until(&member, |asked| asked.len() > 4).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(done(&asked, |number| number == 4), all);
    let attempts: Vec<_> = asked.iter().map(|asked| asked.headers["rokini-attempt"].clone()).collect();
    assert_eq!(attempts, ["1", "2", "2", "2", "2"]);
    let said = member.stderr();
    assert!(
        said.contains("Task timed out after 3.00 seconds") && said.contains("works on another event"),
        "{said}"
    );
    assert!(!said.contains("skipped"), "{said}");
}

/// The emulator of today ends when it gets an event while it works on another one.
#[tokio::test]
async fn m3_the_runtime_interface_emulator_gets_one_event_at_a_time_whatever_the_shards() {
    let local = Local::start(4).await;
    local.put_evenly("orders", (0..80).map(|n| format!("{n:03}"))).await;
    let reply = |_, _: &Asked| Reply { delay: Duration::from_millis(20), ..Reply::default() };
    let service = Service::start(reply).await;
    let url = service.url.replace("/records", "/2015-03-31/functions/function/invocations");
    let more = ["--set", "batch_max_records=5", "--set", "concurrency=2"];
    let mut member = push_to(&local, "g", &url, &more);
    let asked = service.until(&member, |asked| done(asked, |_| true).len() >= 80).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let shards: BTreeSet<_> = asked
        .iter()
        .map(|asked| asked.headers["rokini-shard"].clone())
        .map(|shard| shard.to_str().unwrap().to_owned())
        .collect();
    assert_eq!((shards.len(), service.seen.most_at_once.load(Ordering::SeqCst)), (4, 1));
}

/// A service that does the work of a key once.
#[tokio::test]
async fn two_groups_at_one_service_do_not_hide_each_others_records() {
    let local = Local::start(1).await;
    let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    local.put_hashed("orders", all.iter().map(|data| (0, data.clone()))).await;
    let service = Service::start(|_, _: &Asked| (200, "", String::new())).await;
    for group in ["g", "other"] {
        let before = service.asked().len();
        let mut member = push_to(&local, group, &service.url, &[]);
        service.until(&member, |asked| done(asked, |number| number >= before).len() >= all.len()).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
    let asked = service.asked();
    let keys: BTreeSet<_> =
        asked.iter().map(|asked| asked.headers["idempotency-key"].to_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), asked.len(), "{keys:?}");
    assert!(keys.iter().filter(|key| key.starts_with("g/orders@")).count() > 0, "{keys:?}");
    assert!(keys.iter().filter(|key| key.starts_with("other/orders@")).count() > 0, "{keys:?}");
}

#[tokio::test]
async fn connections_are_kept_and_several_requests_at_once_are_for_several_keys() {
    let local = Local::start(1).await;
    let slow = |delay| move |_, _: &Asked| Reply { delay: Duration::from_millis(delay), ..Reply::default() };
    let service = Service::start(slow(0)).await;
    let all: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    local.put_hashed("orders", all.iter().map(|data| (0, data.clone()))).await;
    let small = ["--set", "batch_max_records=10"];
    let mut member = push(&local, &service, &small);
    let asked = service.until(&member, |asked| done(asked, |_| true).len() >= 200).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(done(&asked, |_| true), all);
    assert!(asked.len() >= 20 && asked[0].version == hyper::Version::HTTP_11);
    let seen = &service.seen;
    let counts = (seen.connections.load(Ordering::SeqCst), seen.most_at_once.load(Ordering::SeqCst));
    assert_eq!(counts, (1, 1), "connections, and requests at once");

    // Four at once, and those of each key one after the other.
    let service = Service::start(slow(50)).await;
    let mut member =
        push_to(&local, "four", &service.url, &[&small[..], &["--set", "concurrency=4"]].concat());
    let asked = service.until(&member, |asked| done(asked, |_| true).len() >= 200).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(done(&asked, |_| true).into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
    let most = service.seen.most_at_once.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at once");
    // One that was begun while another became free is kept as well.
    let connections = service.seen.connections.load(Ordering::SeqCst);
    assert!(connections < 10, "{connections} for {} requests", service.asked().len());
}

#[tokio::test]
async fn https_is_spoken_with_the_roots_of_the_system_and_with_no_one_else() {
    let local = Local::start(1).await;
    local.put_hashed("orders", [(0, "a".to_owned())]).await;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let tls = || {
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    };
    let ok = |_, _: &Asked| (200, "", String::new());
    // Of a root that is not theirs.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(local.home().join("root.pem"), other.cert.pem()).unwrap();
    let service = Service::with(Some(tls()), ok).await;
    let mut member = push(&local, &service, &[]);
    member.until("a refusal", |member| member.stderr().contains("certificate")).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(service.asked().is_empty(), "nothing goes to somebody unknown");

    std::fs::write(local.home().join("root.pem"), made.cert.pem()).unwrap();
    let mut member = push(&local, &service, &[]);
    let asked = service.until(&member, |asked| !asked.is_empty()).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!((data(&asked[0]), asked[0].version), (vec!["a".to_owned()], hyper::Version::HTTP_2));
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_breaks_off_is_a_failure_and_tried_again_in_order() {
    broken_answers(hyper::Version::HTTP_11, &[]).await;
    broken_answers(hyper::Version::HTTP_2, &["--http2"]).await;
}

async fn broken_answers(version: hyper::Version, more: &[&str]) {
    let local = Local::start(1).await;
    let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    local.put_hashed("orders", all.iter().map(|data| (0, data.clone()))).await;
    let service = Service::start(|number, _: &Asked| match number {
        0 => Reply { delay: Duration::from_secs(600), ..Reply::default() },
        1 | 2 => Reply { body: "x".repeat(1000), cut_after: Some(500 * (number - 1)), ..Reply::default() },
        _ => Reply::default(),
    })
    .await;
    let more = [&["--set", "handler_timeout=1s"], more].concat();
    let mut member = push(&local, &service, &more);
    let asked = service.until(&member, |asked| asked.len() > 3).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    for (number, asked) in asked.iter().enumerate() {
        assert_eq!(asked.version, version);
        assert_eq!(
            (data(asked), asked.headers["rokini-attempt"].to_str().unwrap()),
            (all.clone(), &*(number + 1).to_string())
        );
    }
    // What follows within a second of it is counted in the log, not told.
    assert!(member.stderr().contains("no answer within 1s"), "{}", member.stderr());
}

/// What cannot be looked at for `batchItemFailures` is a failure of these records, and no more than that.
#[tokio::test]
async fn m3_an_answer_that_is_too_long_is_a_failure_that_says_so() {
    let local = Local::start(1).await;
    local.put_hashed("orders", ["a", "b"].map(|data| (0, data.to_owned()))).await;
    let long = " ".repeat((6 << 20) + 1);
    let service = Service::start(move |number, _: &Asked| match number {
        // Of one that asks for patience nobody wants to know more.
        0 => (503, "", long.clone()),
        1..=3 => (200, "", long.clone()),
        _ => (200, "", long[1..].to_owned()),
    })
    .await;
    let more = [
        "--set",
        "on_failure=dead_letter",
        "--set",
        "max_attempts=2",
        "--set",
        "dead_letter=file:dead.jsonl",
    ];
    let mut member = push(&local, &service, &[&more[..], &["--set", "batch_max_records=1"]].concat());
    let asked = service.until(&member, |asked| asked.len() > 4).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let asked: Vec<_> =
        asked.iter().map(|asked| (data(asked).concat(), &asked.headers["rokini-attempt"])).collect();
    let told: Vec<_> =
        asked.iter().map(|(data, attempt)| (data.as_str(), attempt.to_str().unwrap())).collect();
    assert_eq!(told, [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]);
    let dead = std::fs::read_to_string(local.home().join("dead.jsonl")).unwrap();
    let dead: Vec<Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [dead] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!(dead["text"], "a", "{dead}");
    let why = dead["failure"].as_str().unwrap();
    assert!(why.contains("longer than 6291456 bytes") && why.contains("HTTP 200"), "{why}");
}

async fn down_for(down: Duration, most: usize) {
    let local = Local::start(4).await;
    let put = local.put_evenly("orders", (0..200).map(|n| format!("{n:03}"))).await;
    let begun = Instant::now();
    let is_well = move |asked: &Asked| asked.at.duration_since(begun) >= down;
    let service = Service::start(move |_, asked: &Asked| match is_well(asked) {
        true => (200, "", String::new()),
        false => (503, "", "down".to_owned()),
    })
    .await;
    let more = ["--set", "batch_max_records=10", "--set", "on_failure=skip", "--set", "max_attempts=1"];
    let mut member = push(&local, &service, &more);
    tokio::time::sleep(down.saturating_sub(begun.elapsed())).await;
    let well = |asked: &[Asked]| asked.iter().filter(|asked| is_well(asked)).flat_map(data).count();
    let asked = service.until(&member, |asked| well(asked) >= put.len()).await;
    eprintln!("all is done {:?} after it is well again", begun.elapsed().saturating_sub(down));
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let refused = asked.iter().filter(|asked| !is_well(asked)).count();
    eprintln!("{refused} requests while it was down for {down:?}, of 4 shards");
    assert!((4..=most).contains(&refused), "{refused} requests in {down:?}");
    let mut done = BTreeMap::<String, Vec<String>>::new();
    for asked in asked.iter().filter(|asked| is_well(asked)) {
        let shard = asked.headers["rokini-shard"].to_str().unwrap().to_owned();
        done.entry(shard).or_default().extend(data(asked));
    }
    assert_eq!(done.len(), 4);
    assert!(done.values().all(|data| data.is_sorted() && data.len() == 50), "{done:?}");
}

/// A minute of 503 would be as good, and nobody waits for it: eight seconds are four doublings.
#[tokio::test]
async fn a_service_that_is_down_for_all_shards_is_not_stormed_and_gets_everything_in_order() {
    down_for(Duration::from_secs(8), 4 * 6).await;
}

/// Seven requests of each shard: 500 ms doubling up to 30 s.
#[tokio::test]
#[ignore = "a minute and a half: every night, and by hand"]
async fn a_service_that_is_down_for_a_minute_is_not_stormed_and_gets_everything_in_order() {
    down_for(Duration::from_secs(60), 4 * 9).await;
}

/// An event has 6 MB at most, and a record that is larger goes alone: nothing is dropped, and nothing comes out of its place.
#[tokio::test]
async fn m3_large_records_are_cut_into_events_and_none_is_dropped() {
    let local = Local::start(1).await;
    let client = crate::fleet::kinesis(&local);
    let arn = client.describe_stream_summary().stream_name("orders").send().await.unwrap();
    let arn = arn.stream_description_summary().unwrap().stream_arn().to_owned();
    client.update_max_record_size().max_record_size_in_kib(10_240).stream_arn(arn).send().await.unwrap();
    // Base64 makes four bytes of three: three of the records of 1.3 MB fit into an event, and four do not.
    let sizes = [1_300_000, 1_300_000, 1_300_000, 1_300_000, (10 << 20) - 10, 10, 10];
    for (number, size) in sizes.into_iter().enumerate() {
        let record = format!("{number}-{}", "x".repeat(size - 2));
        let blob = aws_sdk_kinesis::primitives::Blob::new(record);
        loop {
            // A shard takes 1 MB a second.
            let put = client.put_record().stream_name("orders").partition_key("k").data(blob.clone());
            match put.send().await {
                Ok(_) => break,
                Err(error) => {
                    assert!(format!("{error:?}").contains("ProvisionedThroughputExceeded"), "{error:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    for more in [&[][..], &["--http2"]] {
        let service = Service::start(|_, _: &Asked| (200, "", String::new())).await;
        let group = if more.is_empty() { "one" } else { "two" };
        let mut member = push_to(&local, group, &service.url, more);
        let count = |asked: &[Asked]| asked.iter().map(|asked| data(asked).len()).sum::<usize>();
        let asked = service.until(&member, |asked| count(asked) >= sizes.len()).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let got: Vec<(String, usize)> = asked
            .iter()
            .flat_map(data)
            .map(|record| (record.split('-').next().unwrap().to_owned(), record.len()))
            .collect();
        let wanted: Vec<_> =
            sizes.iter().enumerate().map(|(number, size)| (number.to_string(), *size)).collect();
        assert_eq!(got, wanted);
        for asked in &asked {
            let (size, records) = (asked.body.len(), data(asked).len());
            assert!(size <= 6 << 20 || records == 1, "an event of {size} bytes has {records} records");
        }
        assert!(asked.iter().any(|asked| asked.body.len() > 6 << 20), "one is larger by itself");
        assert!(asked.len() < sizes.len(), "small ones go together");
    }
}
