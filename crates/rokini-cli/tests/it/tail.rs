//! `tail` where the way ends, and what it shows of records.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::put_tail::{merge, numbers, split};
use crate::support::{Ended, Endpoints, Local, Member, put_data};

#[tokio::test]
async fn a_full_disk_is_an_error() {
    let local = Local::start(2).await;
    local.run_with_input(&["put", "orders"], &numbers(1..=2_000)).await.done();
    for _ in 0..5 {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut tail = local.rokini(&["tail", "orders", "--from", "trim_horizon", "--no-follow"]);
        tail.stdout(full);
        let ended = Ended::of_child(tail.spawn().unwrap()).await;
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("error: cannot write to standard output: No space left"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_deleted_stream_ends_it_with_an_error() {
    let local = Local::start(2).await;
    local.run_with_input(&["put", "orders"], &numbers(1..=20)).await.done();
    let mut tail = Member::spawn(local.rokini(&["tail", "orders", "--from", "trim_horizon"]));
    tail.until("the records", |tail| tail.lines().len() == 20).await;
    local.run(&["stream", "delete", "orders", "--yes"]).await.done();
    let status = tail.ended().await;
    assert!(matches!(status, Some(1 | 2)), "{status:?}\n{}", tail.stderr());
    assert!(tail.stderr().contains("error: ") && tail.stderr().contains("next: "), "{}", tail.stderr());
}

/// A server that tells no parents and no children, as some do.
async fn without_lineage(upstream: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = upstream.clone();
            let service = service_fn(move |request| forward(request, upstream.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

async fn forward(request: Request<Incoming>, to: String) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let header = |name: &str| {
        request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    // What it says in JSON only is what it can change.
    if header("content-type").contains("cbor") {
        let mut refusal = Response::new(Full::from(r#"{"__type":"InternalFailure"}"#));
        *refusal.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        refusal.headers_mut().insert("content-type", "application/x-amz-json-1.1".parse().unwrap());
        return Ok(refusal);
    }
    let target = header("x-amz-target");
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let stream = TcpStream::connect(&to).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::from_parts(parts, Full::new(body));
    request.headers_mut().insert("host", to.parse().unwrap());
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    let mut body = body.collect().await?.to_bytes();
    if target.ends_with(".ListShards") || target.ends_with(".GetRecords") {
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        for shard in answer["Shards"].as_array_mut().into_iter().flatten() {
            let shard = shard.as_object_mut().unwrap();
            shard.remove("ParentShardId");
            shard.remove("AdjacentParentShardId");
        }
        answer.as_object_mut().unwrap().remove("ChildShards");
        body = serde_json::to_vec(&answer).unwrap().into();
        parts.headers.remove("content-length");
    }
    Ok(Response::from_parts(parts, Full::new(body)))
}

#[tokio::test]
async fn a_reshard_that_names_no_parents_is_followed() {
    let local = Local::start(1).await;
    let silent = without_lineage(local.kinesis.endpoint_url()).await;
    let endpoints = Endpoints::new(silent, local.dynamo.endpoint_url());
    let put = async |range| local.run_with_input(&["put", "orders", "-k", "k"], &numbers(range)).await.done();
    put(1..=20).await;
    let mut tail = Member::spawn(endpoints.rokini(&["tail", "orders", "--from", "trim_horizon"]));
    tail.until("the records of the parent", |tail| tail.lines().len() == 20).await;
    split(&local.kinesis, "shardId-000000000000");
    put(21..=40).await;
    tail.until("the records of the child", |tail| tail.lines().len() == 40).await;
    merge(&local.kinesis, "shardId-000000000001", "shardId-000000000002");
    put(41..=60).await;
    tail.until("the records of the grandchild", |tail| tail.lines().len() == 60).await;
    assert_eq!(tail.lines().join("\n") + "\n", numbers(1..=60), "each once, in order");
    tail.signal(Signal::INT);
    assert_eq!(tail.ended().await, Some(0), "{}", tail.stderr());
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(data).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn packed_records_and_envelopes_of_logs_are_shown_unpacked() {
    let local = Local::start(1).await;
    let envelope = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/x","logStream":"s",
        "subscriptionFilters":["f"],"logEvents":[{"id":"3","timestamp":1700000000000,"message":"one"},
        {"id":"4","timestamp":1700000000001,"message":"two"}]}"#;
    let zstd = ruzstd::encoding::compress_to_vec(
        &b"packed by zstd"[..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    let data =
        [b"plain".to_vec(), gzip(b"packed"), zstd, gzip(envelope.as_bytes()), b"\x1f\x8b\x08broken".to_vec()];
    put_data(&local, "orders", data.clone()).await;
    let tail = ["tail", "orders", "--from", "trim_horizon", "--no-follow"];
    let auto = [&tail[..], &["--decompress", "auto"]].concat();
    let mut shown = local.rokini(&[&auto[..], &["-n", "4"]].concat());
    shown.stdin(Stdio::null());
    assert_eq!(Ended::of(shown).await.done(), "plain\npacked\npacked by zstd\none\ntwo\n");

    let json = local.run(&[&auto[..], &["--json"]].concat()).await;
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["compression"]), (6, &Value::Null));
    assert_eq!((&lines[1]["compression"], &lines[2]["compression"]), (&"gzip".into(), &"zstd".into()));
    let log = &lines[4];
    assert_eq!(
        (&log["log_group"], &log["log_stream"], &log["data"]),
        (&"/aws/x".into(), &"s".into(), &"two".into())
    );
    assert_eq!(log["log_time"], "2023-11-14T22:13:20.001Z");
    assert_eq!(lines[5]["data_base64"], "H4sIYnJva2Vu", "what cannot be unpacked comes as it is");
    let warning: Value = serde_json::from_str(json.stderr.lines().next().unwrap()).unwrap();
    assert!(warning["warning"].as_str().unwrap().contains("cannot be unpacked"), "{warning}");
    // As it came, where it is not asked for.
    let plain = local.run(&[&tail[..], &["--format", "hex"]].concat()).await.done();
    let hex: Vec<String> =
        data.iter().map(|data| data.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(plain.lines().collect::<Vec<_>>(), hex);
}

/// So many MiB of zeros, packed a thousandfold.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; 8 << 20]).unwrap();
    packed.finish().unwrap().repeat(mebibytes / 8)
}

#[tokio::test]
async fn a_record_that_unpacks_to_too_much_is_named_and_shown_as_it_came() {
    let local = Local::start(1).await;
    let data = bomb(136);
    put_data(&local, "orders", [b"before".to_vec(), data.clone(), b"after".to_vec()]).await;
    let tail = ["tail", "orders", "--from", "trim_horizon", "--no-follow", "--decompress", "auto", "--json"];
    let ended = local.run(&tail).await;
    let warning: Value = serde_json::from_str(ended.stderr.lines().next().unwrap()).unwrap();
    let lines: Vec<Value> = ended.done().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["data"], &lines[2]["data"]), (&"before".into(), &"after".into()));
    assert_eq!(lines[1]["data_base64"], STANDARD.encode(data));
    let warning = warning["warning"].as_str().unwrap();
    let number = lines[1]["sequence"].as_str().unwrap();
    assert!(warning.contains(&format!("record {number} of shardId-000000000000")), "{warning}");
    assert!(warning.ends_with("it has more than 128 MiB unpacked"), "{warning}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn records_that_unpack_to_much_are_not_held_together() {
    use tokio::io::AsyncReadExt;
    let local = Local::start(1).await;
    put_data(&local, "orders", vec![bomb(64); 8]).await;
    let mut command =
        local.rokini(&["tail", "orders", "--from", "trim_horizon", "--no-follow", "--decompress", "auto"]);
    let mut tail = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    // Nobody reads on, so the first bytes are followed by no others.
    tail.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", tail.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 400 << 10, "{peak} kB for 512 MiB in records of 64 MiB");
}

#[tokio::test]
async fn stats_say_what_was_read() {
    let local = Local::start(2).await;
    local.run_with_input(&["put", "orders"], &numbers(1..=30)).await.done();
    let tail = ["tail", "orders", "--from", "trim_horizon", "--no-follow", "--stats"];
    let ended = local.run(&tail).await;
    assert!(ended.stderr.contains("30 records (51 bytes) in "), "{}", ended.stderr);
    assert!(ended.stderr.lines().all(|line| line.len() <= 80), "{}", ended.stderr);
    ended.done();
    let ended = local.run(&[&tail[..], &["--json"]].concat()).await;
    let stats: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    let stats = &stats["stats"];
    assert_eq!((&stats["records"], &stats["bytes"]), (&30.into(), &51.into()), "{stats:#}");
    assert_eq!(stats["shards"].as_object().unwrap().len(), 2);
    // An interrupt ends it, and they come all the same.
    let mut live = Member::spawn(local.rokini(&["tail", "orders", "--from", "trim_horizon", "--stats"]));
    live.until("the records", |live| live.lines().len() == 30).await;
    live.signal(Signal::INT);
    assert_eq!(live.ended().await, Some(0));
    assert!(live.stderr().contains("30 records (51 bytes)"), "{}", live.stderr());
}

/// Runs a program with a terminal as its standard output, and returns what the terminal got.
async fn on_a_terminal(endpoints: &Endpoints, arguments: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let open = std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = endpoints.rokini(arguments);
    command.stdout(open);
    let mut child = command.spawn().unwrap();
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut terminal, mut shown) = (std::fs::File::from(terminal), Vec::new());
        // The terminal is gone with its last user, which is an error here.
        let _ = terminal.read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    });
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    reading.await.unwrap()
}

#[tokio::test]
async fn records_do_not_steer_a_terminal() {
    let local = Local::start(1).await;
    put_data(
        &local,
        "orders",
        [b"\x1b]0;title\x07\x1b[2Jhello\tworld".to_vec(), b"gr\xc3\xbcn \xff".to_vec()],
    )
    .await;
    let tail = ["tail", "orders", "--from", "trim_horizon", "--no-follow"];
    let shown = on_a_terminal(&local, &tail).await;
    assert_eq!(shown, "\\x1b]0;title\\x07\\x1b[2Jhello\tworld\r\ngr\u{fc}n \\xff\r\n");
    let mut piped = local.rokini(&tail);
    let piped = piped.output().await.unwrap().stdout;
    assert!(piped.starts_with(b"\x1b]0;title"), "elsewhere it is as it came");
}
