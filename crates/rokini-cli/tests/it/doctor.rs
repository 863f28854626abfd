//! `rokini doctor`: what it finds, and what it never does.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rokini_local::wire::ErrorCode;
use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo, LocalKinesis};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Ended, Endpoints, Local};

#[tokio::test]
async fn a_doctor_finds_the_one_action_that_is_missing() {
    let local = Local::start(1).await;
    let doctor = ["doctor", "orders", "--group", "g", "--json"];
    // The table is not there yet, and is made by nobody.
    let missing = local.run(&doctor).await;
    assert_eq!(missing.status, Some(1), "{missing:?}");
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));

    let well = local.run(&doctor).await.done();
    let well: Value = serde_json::from_str(&well).unwrap();
    assert_eq!((&well["ok"], &well["failed"]), (&true.into(), &0.into()), "{well:#}");
    let names: Vec<&str> =
        well["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    for action in [
        "credentials",
        "clock",
        "kinesis-endpoint",
        "dynamodb-endpoint",
        "kinesis:GetRecords",
        "table-layout",
        "dynamodb:PutItem",
        "cost",
    ] {
        assert!(names.contains(&action), "{action}: {names:?}");
    }

    for operation in ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"] {
        let code = ErrorCode::AccessDenied;
        let fault = Fault::Error { code, message: "not for you".to_owned(), status: None };
        let rule = local.kinesis.faults().add(FaultRule::on(operation, fault));
        let ended = local.run(&doctor).await;
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        let failed: Vec<&Value> =
            found["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail").collect();
        assert_eq!((ended.status, failed.len()), (Some(1), 1), "{operation}: {found:#}");
        assert_eq!(failed[0]["name"], format!("kinesis:{operation}"), "{found:#}");
        let next = failed[0]["next"].as_str().unwrap();
        assert!(next.contains(&format!("kinesis:{operation}")), "{next}");
        if operation == "DescribeStreamSummary" {
            let statement = "\"Resource\": \"arn:aws:kinesis:us-east-1:*:stream/orders\"";
            assert!(next.contains(statement) && next.contains("--policy"), "{next}");
        }
        assert!(local.kinesis.faults().remove(rule));
    }
    // Nothing was written.
    let shown = local.run(&["group", "list", "--json"]).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["groups"].as_array().unwrap().len(), 1, "{shown}");
}

/// What it says failed.
fn failed(ended: &Ended) -> Vec<(String, String)> {
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail");
    checks
        .map(|check| {
            let text = |member: &str| check[member].as_str().unwrap().to_owned();
            (text("name"), text("next"))
        })
        .collect()
}

#[tokio::test]
async fn a_doctor_finds_each_action_on_the_table_that_is_denied() {
    let kinesis = LocalKinesis::builder().stream("orders", 2).start().await.unwrap();
    let faults = Faults::new(1);
    let database = Database::memory().unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let dynamo = LocalDynamo::with_faults(database, address, faults.clone()).await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let local = Local { kinesis, dynamo, endpoints };
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    assert_eq!(member.stop().await, Some(0));

    let doctor = ["doctor", "orders", "--group", "g", "--json"];
    assert_eq!(failed(&local.run(&doctor).await), []);
    for operation in ["GetItem", "Query", "UpdateItem", "DeleteItem", "PutItem", "DescribeTable"] {
        let fault =
            Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
        let rule = faults.add(FaultRule::on(operation, fault));
        let ended = local.run(&doctor).await;
        if operation == "DescribeTable" {
            // Workers do without it.
            let warned: Value = serde_json::from_str(&ended.stdout).unwrap();
            let warned = warned["checks"]
                .as_array()
                .unwrap()
                .iter()
                .find(|check| check["name"] == "dynamodb:DescribeTable");
            assert_eq!((ended.status, &warned.unwrap()["status"]), (Some(0), &"warn".into()), "{ended:?}");
        } else {
            let found = failed(&ended);
            assert_eq!((ended.status, found.len()), (Some(1), 1), "{operation}: {ended:?}");
            assert_eq!(found[0].0, format!("dynamodb:{operation}"));
            assert!(found[0].1.contains("--policy"), "{found:?}");
        }
        assert!(faults.remove(rule));
    }
    // What cannot be tried is named, and whose the credentials are.
    let pushed = [&doctor[..], &["--config", "worker.toml"]].concat();
    let toml = "retrieval = \"fan_out\"\nmonitoring = \"cloudwatch\"\n";
    std::fs::write(local.home().join("worker.toml"), toml).unwrap();
    let mut command = local.rokini(&pushed);
    // Something that answers.
    command.env("AWS_ENDPOINT_URL_CLOUDWATCH", local.kinesis.endpoint_url());
    let said: Value = serde_json::from_str(&Ended::of(command).await.done()).unwrap();
    let status = |name: &str| {
        let checks = said["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("{name}: {said:#}"))
    };
    assert_eq!(status("kinesis:SubscribeToShard")["status"], "ok");
    for name in ["kinesis:RegisterStreamConsumer", "cloudwatch:PutMetricData"] {
        assert_eq!(status(name)["status"], "warn", "{name}");
    }
    for (name, words) in [
        ("credentials", "of the environment, without an end"),
        ("cloudwatch-endpoint", "connected in"),
        ("consumers", "0 of 20"),
        ("kinesis:DescribeStreamConsumer", "not registered yet"),
        ("cost", "the stream's 2 shards"),
        ("retention", "2 shards"),
    ] {
        assert_eq!(status(name)["status"], "ok", "{}", status(name));
        assert!(status(name)["what"].as_str().unwrap().contains(words), "{}", status(name));
    }
}

/// What it says, whatever the exit status.
fn said(ended: &Ended) -> Vec<Value> {
    let found: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    found["checks"].as_array().unwrap().clone()
}

/// The check of this name.
fn named<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {checks:#?}"))
}

/// With a stream for dead letters, and settings that use it.
async fn with_dead_letters() -> Local {
    let kinesis = LocalKinesis::builder().stream("orders", 1).stream("dead", 1).start().await.unwrap();
    let dynamo = LocalDynamo::in_memory().await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let toml = "retrieval = \"fan_out\"\ndead_letter = \"kinesis:dead\"\n";
    std::fs::write(endpoints.home().join("worker.toml"), toml).unwrap();
    Local { kinesis, dynamo, endpoints }
}

#[tokio::test]
async fn permissions_to_write_are_tried_by_dry_runs_and_nothing_is_written() {
    let local = with_dead_letters().await;
    let mut member = local.consume("orders", "g", "w", &["--set", "retrieval=fan_out"]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));

    let doctor = ["doctor", "orders", "--group", "g", "--config", "worker.toml", "--json"];
    let well = said(&local.run(&doctor).await);
    for action in ["kinesis:SubscribeToShard", "kinesis:PutRecords"] {
        let check = named(&well, action);
        assert_eq!(
            (&check["status"], check["what"].as_str().unwrap().contains("dry run")),
            (&"ok".into(), true),
            "{check}"
        );
    }
    assert_eq!(named(&well, "kinesis:RegisterStreamConsumer")["status"], "warn", "there is no dry run of it");

    for operation in ["SubscribeToShard", "PutRecords", "DescribeStreamConsumer"] {
        let fault =
            Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
        let rule = local.kinesis.faults().add(FaultRule::on(operation, fault));
        let ended = local.run(&doctor).await;
        let found = failed(&ended);
        assert_eq!((ended.status, found.len()), (Some(1), 1), "{operation}: {ended:?}");
        assert_eq!(found[0].0, format!("kinesis:{operation}"));
        assert!(local.kinesis.faults().remove(rule));
    }
    // The service answers, and says nothing of permissions.
    let code = ErrorCode::LimitExceeded;
    let fault = Fault::Error { code, message: "too many calls".to_owned(), status: None };
    local.kinesis.faults().add(FaultRule::on("DescribeStreamConsumer", fault));
    let throttled = said(&local.run(&doctor).await);
    let check = named(&throttled, "kinesis:DescribeStreamConsumer");
    assert_eq!(check["status"], "warn", "{check}");
    assert!(check["what"].as_str().unwrap().contains("not known"), "{check}");

    let read = local.run(&["tail", "dead", "--from", "trim_horizon", "--no-follow"]).await.done();
    assert_eq!(read, "", "nothing was written");
}

/// A server in front of another one that knows no dry runs: it passes over the member, as services do with those they do not
/// know.
async fn without_dry_runs(upstream: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = upstream.clone();
            let service = service_fn(move |request| pass_over(request, upstream.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

async fn pass_over(request: Request<Incoming>, to: String) -> Result<Response<Incoming>, hyper::Error> {
    let (mut parts, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes();
    if let Ok(Value::Object(mut members)) = serde_json::from_slice(&body) {
        members.remove("DryRun");
        body = serde_json::to_vec(&members).unwrap().into();
        parts.headers.insert("content-length", body.len().into());
    }
    let (mut sender, connection) =
        client::handshake(TokioIo::new(TcpStream::connect(&to).await.unwrap())).await?;
    tokio::spawn(connection);
    parts.headers.insert("host", to.parse().unwrap());
    sender.send_request(Request::from_parts(parts, Full::new(body))).await
}

#[tokio::test]
async fn a_service_that_knows_no_dry_runs_is_asked_for_nothing_that_writes() {
    let local = with_dead_letters().await;
    let mut member = local.consume("orders", "g", "w", &["--set", "retrieval=fan_out"]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));
    local.kinesis.forget_calls();
    let url = without_dry_runs(local.kinesis.endpoint_url()).await;
    let doctor = ["doctor", "orders", "--group", "g", "--config", "worker.toml", "--json"];
    let mut command = local.rokini(&doctor);
    command.env("AWS_ENDPOINT_URL_KINESIS", url);
    let checks = said(&Ended::of(command).await);
    for action in ["kinesis:SubscribeToShard", "kinesis:PutRecords"] {
        assert_eq!(named(&checks, action)["status"], "warn", "not tried: {checks:#?}");
    }
    assert_eq!(named(&checks, "kinesis:RegisterStreamConsumer")["status"], "warn", "not tried: {checks:#?}");
    let calls: Vec<String> = local.kinesis.calls().into_iter().map(|call| call.operation).collect();
    assert!(calls.contains(&"GetShardIterator".to_owned()), "{calls:?}");
    assert!(!calls.iter().any(|call| call == "PutRecords" || call == "SubscribeToShard"), "{calls:?}");
}

/// What is said of an endpoint: how it stands, the sentence and the next step.
fn of_endpoint(checks: &[Value], name: &str) -> (String, String, String) {
    let check = named(checks, name);
    let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
    (text("status"), text("what"), text("next"))
}

/// Takes connections and says nothing.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn an_endpoint_that_is_silent_is_waited_for_once_and_named() {
    let local = Local::start(1).await;
    let url = silent().await;
    let begun = Instant::now();
    // Those of the environment answer, and are not meant.
    let ended = local.run(&["doctor", "orders", "--group", "g", "--json", "--endpoint-url", &url]).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let checks = said(&ended);
    for name in ["kinesis-endpoint", "dynamodb-endpoint"] {
        let (status, what, _) = of_endpoint(&checks, name);
        assert!(status == "fail" && what.contains(&url), "{what}");
    }
    assert!(!ended.stdout.contains("doctor --terraform"), "{checks:#?}");
    let list = ["stream", "describe", "none", "--endpoint-url", &local.kinesis.endpoint_url()];
    let mut command = local.rokini(&list);
    command.env("AWS_ENDPOINT_URL_KINESIS", &url);
    let next = format!("--endpoint-url {}", local.kinesis.endpoint_url());
    Ended::of(command).await.refused(2, &["none", "next:", &next]);
}

/// Before the group is registered, and without dry runs.
#[tokio::test]
async fn what_fan_out_lacks_fails_where_it_is_configured_and_is_warned_of_with_auto() {
    let local = Local::start(1).await;
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));
    let doctor = async |retrieval: &str| {
        let mut command = local.rokini(&["doctor", "orders", "--group", "g", "--json"]);
        command.env("ROKINI_RETRIEVAL", retrieval).env("ROKINI_ALLOW_FAN_OUT", "true");
        Ended::of(command).await
    };
    for (operation, with) in [
        ("DescribeStreamConsumer", &["fan_out", "auto"][..]),
        ("SubscribeToShard", &["fan_out", "auto"]),
        ("DeregisterStreamConsumer", &["auto"]),
    ] {
        let fault =
            Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
        for retrieval in with {
            let name = format!("kinesis:{operation}");
            let well = said(&doctor(retrieval).await);
            assert_eq!(named(&well, &name)["status"], "ok", "{retrieval}: {well:#?}");
            let rule = local.kinesis.faults().add(FaultRule::on(operation, fault.clone()));
            let ended = doctor(retrieval).await;
            let check = named(&said(&ended), &name).clone();
            let (status, wanted) = if *retrieval == "auto" { (0, "warn") } else { (1, "fail") };
            assert_eq!((ended.status, &check["status"]), (Some(status), &wanted.into()), "{check}");
            assert!(check["next"].as_str().unwrap().contains(&format!("allow {name}")), "{check}");
            assert!(local.kinesis.faults().remove(rule));
        }
    }
    let shown = local.run(&["doctor", "--json"]).await;
    let stream = named(&said(&shown), "stream").clone();
    assert_eq!((shown.status, &stream["status"]), (Some(0), &"warn".into()), "{shown:?}");
    assert!(stream["what"].as_str().unwrap().contains("nothing of a stream was looked at"), "{stream}");
}

#[tokio::test]
async fn each_endpoint_is_dialled_and_the_step_that_fails_is_named() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let kinesis = LocalKinesis::builder().stream("orders", 1).tls(certificate.clone(), key);
    let kinesis = kinesis.start().await.unwrap();
    let dynamo = LocalDynamo::in_memory().await.unwrap();
    let url = format!("https://localhost:{}", kinesis.address().port());
    let local = Local { endpoints: Endpoints::new(url.clone(), dynamo.endpoint_url()), kinesis, dynamo };
    std::fs::write(local.home().join("ca.pem"), certificate).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Whoever asks hears something else.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}", mute.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = mute.accept().await {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    });
    let doctor = async |url: &str, trusts: bool| {
        let mut command = local.rokini(&["doctor", "orders", "--group", "g", "--json"]);
        command.env("AWS_ENDPOINT_URL_KINESIS", url);
        if trusts {
            command.env("AWS_CA_BUNDLE", local.home().join("ca.pem"));
        }
        Ended::of(command).await
    };
    let checks = said(&doctor(&url, true).await);
    let (status, what, _) = of_endpoint(&checks, "kinesis-endpoint");
    assert_eq!(status, "ok", "{what}");
    for words in ["TLSv1.3", "HTTP/1.1", "connected in", "by rcgen self signed cert", "days more; HTTP "] {
        assert!(what.contains(words), "{words}: {what}");
    }
    let (status, what, _) = of_endpoint(&checks, "dynamodb-endpoint");
    assert!(status == "ok" && what.contains("on this machine"), "{what}");
    assert_eq!(named(&checks, "kinesis:GetRecords")["status"], "ok");
    for (url, trusts, step, next) in [
        ("https://kinesis.invalid".to_owned(), false, "DNS failed", "AWS_ENDPOINT_URL"),
        (format!("http://{free}"), false, "connect failed", "rokini local"),
        (url, false, "TLS failed", "AWS_CA_BUNDLE"),
        (other, false, "HTTP failed", "no service of AWS"),
    ] {
        let begun = Instant::now();
        let ended = doctor(&url, trusts).await;
        // It asks nothing else of what cannot be reached.
        assert!(begun.elapsed() < Duration::from_secs(10), "{url}: {:?}", begun.elapsed());
        let checks = said(&ended);
        let (status, what, then) = of_endpoint(&checks, "kinesis-endpoint");
        assert_eq!((ended.status, &*status), (Some(1), "fail"), "{what}");
        assert!(what.contains(step) && what.contains(&url) && then.contains(next), "{what}: {then}");
        assert!(!checks.iter().any(|check| check["name"] == "kinesis:GetRecords"), "{checks:#?}");
        // What can be reached is looked at all the same.
        named(&checks, "dynamodb:DescribeTable");
    }
}
