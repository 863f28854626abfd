//! How much GetRecords serves for a second of the server's CPU time, and how fast a server starts.
//!
//! The server runs in a process of its own, so that the figure is its alone; the client throws the bodies away. Prints one JSON
//! object a line. Reads CPU time from `/proc`: Linux only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::record::{
    GetRecordsRequest, GetShardIteratorRequest, GetShardIteratorResponse, PutRecordsRequest,
    PutRecordsRequestEntry,
};
use rokini_local::wire::{Operation, ShardIteratorType, cbor, json};

/// Record data in the shard.
const FILL_BYTES: usize = 100 << 20;
/// How long each measurement takes.
const TAKES: Duration = Duration::from_secs(4);
/// `/proc` counts CPU time in hundredths of a second.
const TICKS: f64 = 100.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        serve(arguments.next().unwrap().parse().unwrap()).await;
        return;
    }
    start().await;
    for (codec, record_bytes, limit) in [
        ("cbor", 1000, 10_000),
        ("cbor", 1000, 1000),
        ("cbor", 100, 10_000),
        ("cbor", 50_000, 10_000),
        ("cbor", 1000, 10),
        ("json", 1000, 10_000),
    ] {
        measure(codec, record_bytes, limit).await;
    }
}

/// From nothing to the first answered request, with four shards.
async fn start() {
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let started = Instant::now();
        let local = LocalKinesis::builder().stream("bench", 4).start().await.unwrap();
        let mut to = connect(&local.address().to_string()).await;
        drain(ask(&mut to, "cbor", &iterator_request()).await).await;
        slowest = slowest.max(started.elapsed());
        local.shutdown().await;
    }
    println!("{{\"start_ms_slowest_of_20\":{:.2}}}", slowest.as_secs_f64() * 1000.0);
}

/// The server: fills a shard, tells its address, and ends with its standard input.
async fn serve(record_bytes: usize) {
    let local = LocalKinesis::builder().throughput_limits(false).stream("bench", 1).start().await.unwrap();
    let mut left = FILL_BYTES / record_bytes;
    let most = 500.min((10 << 20) / (record_bytes + 32));
    while left > 0 {
        let count = left.min(most);
        left -= count;
        // Each record has data of its own, as after decoding a request.
        let entry = |_| PutRecordsRequestEntry {
            data: vec![b'x'; record_bytes].into(),
            partition_key: "partition-key-17".into(),
            explicit_hash_key: None,
        };
        let records = (0..count).map(entry).collect();
        let request = PutRecordsRequest { stream_name: Some("bench".into()), stream_arn: None, records };
        local.model().call(&request).unwrap();
    }
    println!("{}", local.address());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap()).await.unwrap();
}

async fn measure(codec: &str, record_bytes: usize, limit: i32) {
    let (mut server, address) = child(record_bytes);
    let mut to = connect(&address).await;
    let body = ask(&mut to, "cbor", &iterator_request()).await.collect().await.unwrap().to_bytes();
    let shard_iterator = cbor::decode::<GetShardIteratorResponse>(&body).unwrap().shard_iterator.unwrap();
    let request = GetRecordsRequest { shard_iterator, limit: Some(limit), stream_arn: None };
    for _ in 0..3 {
        drain(ask(&mut to, codec, &request).await).await;
    }
    let (cpu, started) = (cpu_seconds(&server), Instant::now());
    let (mut calls, mut bytes) = (0, 0);
    while started.elapsed() < TAKES {
        bytes += drain(ask(&mut to, codec, &request).await).await;
        calls += 1;
    }
    let cpu = cpu_seconds(&server) - cpu;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"codec\":\"{codec}\",\"record_bytes\":{record_bytes},\"limit\":{limit},\"calls_per_s\":{:.0},\
         \"wire_mb_per_s\":{:.0},\"server_cpu\":{:.2},\"wire_mb_per_server_cpu_s\":{:.0}}}",
        f64::from(calls) / seconds,
        bytes as f64 / seconds / 1e6,
        cpu / seconds,
        bytes as f64 / cpu / 1e6,
    );
    drop(server.stdin.take());
    server.wait().unwrap();
}

fn child(record_bytes: usize) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["serve", &record_bytes.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (child, address.trim().to_owned())
}

fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // After the name in brackets, user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(address: &str) -> Connection {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (to, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    to
}

async fn ask<R: Operation>(to: &mut Connection, codec: &str, request: &R) -> Incoming {
    let (content_type, body) = match codec {
        "json" => (json::CONTENT_TYPE, json::encode(request)),
        _ => (cbor::CONTENT_TYPE, cbor::encode(request)),
    };
    let request = http::Request::post("/")
        .header("host", "local")
        .header("x-amz-target", format!("Kinesis_20131202.{}", R::NAME))
        .header("content-type", content_type)
        .body(Full::new(body.into()));
    let answer = to.send_request(request.unwrap()).await.unwrap();
    assert!(answer.status().is_success());
    answer.into_body()
}

async fn drain(mut body: Incoming) -> usize {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    bytes
}

fn iterator_request() -> GetShardIteratorRequest {
    GetShardIteratorRequest {
        stream_name: Some("bench".into()),
        stream_arn: None,
        shard_id: "shardId-000000000000".into(),
        shard_iterator_type: ShardIteratorType::TrimHorizon,
        starting_sequence_number: None,
        timestamp: None,
    }
}
