//! Real workers in trouble: lag, readiness, events and metrics each say so within 10 s, agree, and say when it ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_local::{Fault, FaultRule};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fleet::kinesis;
use crate::support::{LONGEST_WAIT, Local, Member};

const LIMIT: Duration = Duration::from_secs(10);

/// What a worker answers.
pub struct Probe {
    address: String,
}

impl Probe {
    /// Of a worker that says where it answers.
    pub async fn of(member: &mut Member) -> Self {
        let found = |member: &Member| {
            let said = member.stderr();
            let address = said.split("http://").nth(1)?.split([' ', '"', '\n']).next()?;
            Some(address.to_owned())
        };
        member.until("the address", |member| found(member).is_some()).await;
        Self { address: found(member).unwrap() }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Status, and the codes of the reasons.
    pub async fn ready(&self) -> (u16, Vec<String>) {
        let (status, body) = self.get("/readyz").await;
        let json: Value = serde_json::from_str(&body).unwrap();
        let reasons = json["reasons"].as_array().unwrap().iter();
        (status, reasons.map(|reason| reason["code"].as_str().unwrap().to_owned()).collect())
    }

    /// Each series' value by its name and its shard or code.
    pub async fn metrics(&self) -> BTreeMap<(String, String), f64> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            let label =
                |name: &str| Some(labels.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
            let of = label("shard").or_else(|| label("code")).unwrap_or_default();
            ((name.to_owned(), of), value.parse().unwrap())
        });
        series.collect()
    }

    pub async fn value(&self, name: &str, of: &str) -> f64 {
        *self.metrics().await.get(&(name.to_owned(), of.to_owned())).unwrap_or(&0.0)
    }

    /// Waits until it is not ready, and that everything says so.
    async fn until_stalled(&self, shard: &str, begun: Instant) {
        while self.ready().await.0 == 200 {
            assert!(begun.elapsed() < LIMIT, "ready for {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("said {:?} after it began", begun.elapsed());
        assert_eq!(self.ready().await, (503, vec!["shard-stalled".to_owned()]));
        let metrics = self.metrics().await;
        let value = |name: &str, of: &str| metrics[&(name.to_owned(), of.to_owned())];
        assert_eq!(value("rokini_shard_stalled", shard), 1.0);
        assert_eq!(value("rokini_events_total", "shard-stalled"), 1.0);
        assert_eq!(value("rokini_ready", ""), 0.0);
        let lag = value("rokini_lag_seconds", shard);
        assert!((4.0..=LIMIT.as_secs_f64() + 2.0).contains(&lag), "{lag}");
        // A scrape may come between the two.
        while {
            let metrics = self.metrics().await;
            let value = |name: &str, of: &str| metrics[&(name.to_owned(), of.to_owned())];
            value("rokini_group_lag_seconds", "") != value("rokini_lag_seconds", shard)
        } {
            assert!(begun.elapsed() < LONGEST_WAIT, "the two lags never agree");
        }
        let (status, body) = self.get("/healthz").await;
        assert_eq!(status, 200, "a restart would not help: {body}");
    }

    /// Waits until it is ready again, and that everything says so.
    async fn until_recovered(&self, shard: &str) {
        let begun = Instant::now();
        while self.ready().await.0 != 200 {
            assert!(begun.elapsed() < LIMIT + Duration::from_secs(5), "not ready for {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("said {:?} after it ended", begun.elapsed());
        assert_eq!(self.value("rokini_shard_stalled", shard).await, 0.0);
        assert_eq!(self.value("rokini_events_total", "shard-recovered").await, 1.0);
        assert_eq!(self.value("rokini_ready", "").await, 1.0);
    }

    async fn until_no_lag(&self, shard: &str) {
        let begun = Instant::now();
        while self.value("rokini_lag_seconds", shard).await > 0.0 {
            assert!(begun.elapsed() < LONGEST_WAIT);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn until_ready(&self) {
        let begun = Instant::now();
        while self.ready().await.0 != 200 {
            assert!(begun.elapsed() < LONGEST_WAIT, "{:?}", self.ready().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const MONITORED: [&str; 4] = ["--set", "monitoring=prometheus", "--set", "monitoring_listen=127.0.0.1:0"];

const FIRST: &str = "shardId-000000000000";
const SECOND: &str = "shardId-000000000001";

#[tokio::test]
async fn o2_o7_a_frozen_handler_is_told_and_so_is_its_end() {
    let local = Local::start(1).await;
    let mut child =
        local.rokini(&[&["consume", "orders", "--group", "g"], &MONITORED[..]].concat()).spawn().unwrap();
    // Nobody reads its lines: once the pipe is full the handler hangs.
    let mut pipe = child.stdout.take().unwrap();
    let mut member = Member::of(child);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    let lines: String = (0..1_000).map(|n| format!("{n:0300}\n")).collect();
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines).await.done();
    let begun = Instant::now();
    probe.until_stalled(FIRST, begun).await;
    assert!(member.stderr().contains("a shard makes no progress"), "{}", member.stderr());
    tokio::spawn(async move { tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await });
    probe.until_recovered(FIRST).await;
    probe.until_no_lag(FIRST).await;
    assert_eq!(probe.value("rokini_records_processed_total", FIRST).await, 1_000.0);
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

#[tokio::test]
async fn o2_c2_reads_of_one_shard_that_are_black_holed_are_told_and_so_is_their_end() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &MONITORED);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    let mut rule = FaultRule::always(Fault::HangBefore);
    rule.operation = Some("GetRecords".to_owned());
    rule.shard = Some(SECOND.to_owned());
    let fault = local.kinesis.faults().add(rule);
    let begun = Instant::now();
    probe.until_stalled(SECOND, begun).await;
    assert_eq!(probe.value("rokini_shard_stalled", FIRST).await, 0.0);
    assert_eq!(probe.value("rokini_lag_seconds", FIRST).await, 0.0);
    assert!(local.kinesis.faults().remove(fault));
    probe.until_recovered(SECOND).await;
    probe.until_no_lag(SECOND).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

#[tokio::test]
async fn o2_a_shard_that_is_written_faster_than_it_is_read_is_told_and_so_is_its_end() {
    let local = Local::start(1).await;
    let slow = [&MONITORED[..], &["--set", "max_records=100"]].concat();
    let mut member = local.consume("orders", "g", "w", &slow);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    // At most 100 records a second.
    let mut rule = FaultRule::always(Fault::Delay { millis: 1_000 });
    rule.operation = Some("GetRecords".to_owned());
    let fault = local.kinesis.faults().add(rule);
    let client = kinesis(&local);
    let put = async move |round: u32, count: u32| {
        let entry = |n: u32| {
            let data = Blob::new(format!("{round}:{n}"));
            PutRecordsRequestEntry::builder().partition_key("k").data(data).build().unwrap()
        };
        let entries = (0..count).map(entry).collect();
        client.put_records().stream_name("orders").set_records(Some(entries)).send().await.unwrap();
    };
    // What takes nine seconds to read, whatever comes later; then four times what is read.
    put(0, 450).await;
    put(1, 450).await;
    let begun = Instant::now();
    let put = tokio::spawn(async move {
        let mut rounds = tokio::time::interval(Duration::from_millis(250));
        for round in 2.. {
            rounds.tick().await;
            put(round, 100).await;
        }
    });
    probe.until_stalled(FIRST, begun).await;
    put.abort();
    assert!(local.kinesis.faults().remove(fault));
    probe.until_recovered(FIRST).await;
    probe.until_no_lag(FIRST).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

#[tokio::test]
async fn o2_with_all_workers_stopped_the_lag_of_every_shard_is_told_and_so_is_its_end() {
    let local = Local::start(4).await;
    let mut member = local.consume("orders", "g", "w", &MONITORED);
    let probe = Probe::of(&mut member).await;
    member.until("its shards", |member| member.stderr().matches("started at").count() == 4).await;
    probe.until_ready().await;
    let put = async |numbers: std::ops::Range<u32>| {
        local.put_evenly("orders", numbers.map(|n| n.to_string())).await;
    };
    put(0..40).await;
    member.until("the records", |member| member.data().len() == 40).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    // What nobody answers is neither ready nor live.
    assert!(TcpStream::connect(&probe.address).await.is_err());
    let told = async |what: &str| -> Value {
        serde_json::from_str(&local.run(&["group", what, "g", "--json"]).await.done()).unwrap()
    };
    let lags = async || -> BTreeMap<String, u64> {
        let lag = told("lag").await;
        let of = |row: &Value| Some((row["shard"].as_str()?.to_owned(), row["lag_millis"].as_u64()?));
        lag["shards"].as_array().unwrap().iter().filter_map(of).collect()
    };
    let before = lags().await;
    assert!(before.len() == 4 && before.values().all(|lag| *lag == 0), "{before:?}");

    let begun = Instant::now();
    put(40..80).await;
    let first = loop {
        let lags = lags().await;
        if lags.len() == 4 && lags.values().all(|lag| *lag > 0) {
            break lags;
        }
        assert!(begun.elapsed() < LIMIT, "{lags:?}");
    };
    eprintln!("said {:?} after it began", begun.elapsed());
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let later = lags().await;
    let most = u64::try_from(begun.elapsed().as_millis()).unwrap();
    for (shard, lag) in &first {
        assert!((lag + 2_000..=most).contains(&later[shard]), "{first:?} {later:?}");
    }
    let shown = told("show").await;
    let leases = shown["leases"].as_array().unwrap();
    assert_eq!((leases.len(), shown["workers"].as_array().unwrap().len()), (4, 0), "{shown:#}");
    for lease in leases {
        assert!(lease["owner"].is_null() && lease["lag_millis"].as_u64() >= Some(2_000), "{lease:#}");
        assert!(lease["why"].is_string() && lease["next"].is_string(), "{lease:#}");
    }

    let mut member = local.consume("orders", "g", "w2", &MONITORED);
    let probe = Probe::of(&mut member).await;
    member.until("the records", |member| member.data().len() == 40).await;
    let begun = Instant::now();
    // The worker says of itself what the table says of it.
    probe.until_ready().await;
    assert_eq!(probe.value("rokini_events_total", "shard-started").await, 4.0);
    assert_eq!(probe.value("rokini_ready", "").await, 1.0);
    while probe.value("rokini_group_lag_seconds", "").await > 0.0
        || probe.value("rokini_unheld_shards", "").await > 0.0
    {
        assert!(begun.elapsed() < LONGEST_WAIT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while told("lag").await["most_millis"] != 0 {
        assert!(begun.elapsed() < LONGEST_WAIT);
    }
    eprintln!("said {:?} after it ended", begun.elapsed());
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

/// Dies, hangs, floods and burns, once each.
const TROUBLE: &str = r#"
import json, os, sys, time
def once(name):
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL)); return True
    except FileExistsError:
        return False
for line in sys.stdin:
    record = json.loads(line)
    data = record["data"]
    if data == "die" and once("died"): os._exit(3)
    if data == "hang" and once("hung"): time.sleep(1000)
    if data == "flood": sys.stderr.write("x\n" * 5000)
    if data == "burn":
        # In a process of its own, too.
        os.system(sys.executable + " -c 'import time\nwhile time.process_time() < 6: pass'")
    print(record["token"], flush=True)
"#;

#[tokio::test]
async fn m4_what_processes_of_handlers_do_and_use_is_in_the_metrics() {
    let Some(python) = crate::handlers::support::python("json") else { return };
    let local = Local::start(1).await;
    std::fs::write(local.home().join("trouble.py"), TROUBLE).unwrap();
    let options = [&["--handler", "lines", "--set", "handler_timeout=2s"][..], &MONITORED].concat();
    let mut member =
        crate::handlers::support::run(&local, &python, "w", &options, &["-u", "trouble.py"], &[]);
    let probe = Probe::of(&mut member).await;
    let put = async |data: &str| {
        local.put_hashed("orders", [(0, data.to_owned())]).await;
    };
    let until = async |metric: &str, wanted: &dyn Fn(f64) -> bool| {
        let begun = Instant::now();
        loop {
            let value = probe.value(metric, "").await;
            if wanted(value) {
                return value;
            }
            assert!(begun.elapsed() < LONGEST_WAIT, "{metric} is {value}\n{}", member.stderr());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // A spare, before there is any record, and what it needs.
    until("rokini_handler_processes", &|running| running >= 1.0).await;
    until("rokini_handler_resident_bytes", &|bytes| bytes > 1e6).await;
    put("die").await;
    assert_eq!(until("rokini_handler_exits_total", &|exits| exits > 0.0).await, 1.0);
    put("hang").await;
    until("rokini_handler_kills_total", &|kills| kills > 0.0).await;
    // How many were held back is told with the next line that is shown.
    put("flood").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    put("flood").await;
    until("rokini_handler_suppressed_lines_total", &|lines| lines >= 1_000.0).await;
    let before = probe.value("rokini_handler_cpu_seconds", "").await;
    put("burn").await;
    until("rokini_handler_cpu_seconds", &|seconds| seconds > before + 1.0).await;
    let started = probe.value("rokini_handler_starts_total", "").await;
    assert!(started >= 3.0, "{started}");
    assert_eq!(probe.value("rokini_handler_unavailable_total", "").await, 0.0);
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());

    // Nobody listens there.
    let arguments = ["run", "orders", "--group", "h", "--handler", "http", "--url", "http://127.0.0.1:1/"];
    let mut member = Member::spawn(local.rokini(&[&arguments[..], &MONITORED].concat()));
    let probe = Probe::of(&mut member).await;
    let begun = Instant::now();
    while probe.value("rokini_handler_unavailable_total", "").await < 2.0 {
        assert!(begun.elapsed() < LONGEST_WAIT, "{}", member.stderr());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(probe.value("rokini_handler_processes", "").await, 0.0);
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

#[tokio::test]
async fn o7_probes_follow_the_worker_and_scale_is_json() {
    let local = Local::start(4).await;
    let mut member = local.consume("orders", "g", "w", &MONITORED);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    let begun = Instant::now();
    let scale = loop {
        let scale: Value = serde_json::from_str(&probe.get("/scale").await.1).unwrap();
        if scale["shards"] == 4 {
            break scale;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{scale}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(
        (&scale["desired_workers"], &scale["workers"], &scale["lag_seconds"]),
        (&1.into(), &1.into(), &0.0.into())
    );
    assert_eq!(probe.get("/healthz").await.0, 200);
    assert_eq!(probe.get("/nothing").await.0, 404);
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    assert!(!said.contains("WARN") && !said.contains("INFO"), "{said}");
}

#[tokio::test]
async fn a_page_shows_the_whole_group_and_takes_no_other_names() {
    let local = Local::start(2).await;
    let mut first = local.consume(
        "orders",
        "g",
        "first",
        &["--set", "monitoring_page=true", "--set", "monitoring_listen=127.0.0.1:0"],
    );
    let page = Probe::of(&mut first).await;
    let mut second = local.consume("orders", "g", "second", &[]);
    let begun = Instant::now();
    loop {
        let (status, text) = page.get("/group.json").await;
        let shown: Value = serde_json::from_str(&text).unwrap();
        let shards = shown["streams"][0]["shards"].as_array().cloned().unwrap_or_default();
        let owners: Vec<_> = shards.iter().filter_map(|shard| shard["owner"].as_str()).collect();
        if status == 200 && owners.contains(&"first") && owners.contains(&"second") {
            assert_eq!(shown["workers"].as_array().unwrap().len(), 2);
            break;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (path, part) in [("/", "<!doctype html>"), ("/page.css", "color-scheme"), ("/page.js", "EventSource")]
    {
        let (status, text) = page.get(path).await;
        assert!(status == 200 && text.contains(part), "{path}");
    }
    let mut stream = TcpStream::connect(&page.address).await.unwrap();
    stream
        .write_all(b"GET /group.json HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");

    // Events come as they happen, the first document at once.
    let mut stream = TcpStream::connect(&page.address).await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nhost: {}\r\n\r\n", page.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut until = async |wanted: &str| {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let read = tokio::time::timeout(LIMIT, stream.read(&mut buffer)).await.expect(wanted).unwrap();
            assert!(read > 0, "{wanted}");
            seen.extend_from_slice(&buffer[..read]);
        }
    };
    until("event: group").await;
    assert_eq!(second.stop().await, Some(0));
    until("shard-started").await;
    assert_eq!(first.stop().await, Some(0));
}
