//! Real services and real workers of many groups, and what is done to them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use rokini_local::wire::ShardIteratorType;
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetShardIteratorRequest};
use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo, LocalKinesis};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fleet::kinesis;
use crate::handlers::support::python;
use crate::monitoring::Probe;
use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

/// Does with each record what its data says, once the file `well` is there all that it did not do so far.
const PROGRAM: &str = r#"
import json, os, sys, time
for line in sys.stdin:
    record = json.loads(line)
    well = lambda: os.path.exists("well")
    while record["data"] == "hang" and not well():
        time.sleep(0.1)
    if record["data"].startswith("slow") and not well():
        time.sleep(0.5)
    if record["data"] == "fail" and not well():
        print(json.dumps({"fail": record["token"], "error": "no such customer"}), flush=True)
        continue
    print(json.dumps({"ack": record["token"]}), flush=True)
"#;

/// The access key of the worker whose writes the table throttles.
const THROTTLED: &str = "throttled";

/// The groups with the streams that they read, and how many shards these have.
const STREAMS: [(&str, i32); 10] = [
    ("g", 8),
    ("fails", 1),
    ("halts", 1),
    ("posts", 1),
    ("busy", 1),
    ("starts", 1),
    ("merges", 2),
    ("table", 1),
    ("dies", 1),
    ("nobody", 1),
];

pub(super) fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

/// What goes wrong on the way to the services.
pub(super) struct Troubles {
    kinesis: Vec<u64>,
    dynamo: Faults,
}

impl Troubles {
    pub(super) fn heal(&mut self, local: &Local) {
        for fault in self.kinesis.drain(..) {
            assert!(local.kinesis.faults().remove(fault));
        }
        self.dynamo.clear();
    }
}

pub(super) struct Place {
    pub(super) local: Local,
    pub(super) troubles: Troubles,
    workers: BTreeMap<&'static str, (Member, Probe)>,
    /// The worker that is killed.
    dying: Member,
    /// `group page` of groups without a worker, with its address. Whether a worker is silent it learns by watching, as a browser
    /// does: a single look does not say it.
    pages: BTreeMap<&'static str, (Member, String)>,
    /// `group events` of each group.
    events: BTreeMap<&'static str, Member>,
    /// Reads a shard as hard as it may, as another group would.
    other_reader: Option<tokio::task::JoinHandle<()>>,
}

impl Place {
    /// Everything well but for what is merged; `None`, said aloud, where there is no Python.
    pub(super) async fn start() -> Option<Self> {
        let python = python("json")?;
        let mut kinesis = LocalKinesis::builder();
        for (stream, shards) in STREAMS {
            kinesis = kinesis.stream(stream, shards);
        }
        let faults = Faults::new(1);
        let (database, address) = (Database::memory().unwrap(), (Ipv4Addr::LOCALHOST, 0).into());
        let dynamo = LocalDynamo::with_faults(database, address, faults.clone()).await.unwrap();
        let kinesis = kinesis.start().await.unwrap();
        let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
        let local = Local { kinesis, dynamo, endpoints };
        std::fs::write(local.home().join("handle.py"), PROGRAM).unwrap();
        merge_before_it_is_read(&local).await;
        // Somebody came and went.
        let mut gone = local.consume("nobody", "nobody", "w", &[]);
        gone.until("its shard", |member| member.stderr().contains("started at")).await;
        assert_eq!(gone.stop().await, Some(0), "{}", gone.stderr());

        let quick = ["--failover", "13s", "--heartbeat", "1s"];
        let mut dying = local.consume("dies", "dies", "dying", &quick);
        dying.until("its shard", |member| member.stderr().contains("started at")).await;
        let survivor = monitored(&quick);
        let mut workers = BTreeMap::from([
            ("dies", local.consume("dies", "dies", "survivor", &survivor)),
            ("posts", post(&local, "posts", Service::Silent).await),
            ("busy", post(&local, "busy", Service::Busy).await),
        ]);
        let lines: [(&str, &[&str]); 6] = [
            ("g", &["--set", "park=true"]),
            ("fails", &[]),
            ("halts", &["--set", "on_failure=halt", "--set", "max_attempts=2"]),
            ("merges", &[]),
            ("starts", &[]),
            ("table", &[]),
        ];
        for (group, options) in lines {
            workers.insert(group, lines_worker(&local, &python, group, options));
        }
        let mut ready = BTreeMap::new();
        for (group, mut member) in workers {
            let probe = Probe::of(&mut member).await;
            if group != "merges" {
                probe.until_ready().await;
            }
            ready.insert(group, (member, probe));
        }
        let follow = |group| Member::spawn(local.rokini(&["group", "events", group, "--follow", "--json"]));
        let events = STREAMS.map(|(group, _)| (group, follow(group))).into();
        let page = ["group", "page", "nobody", "--listen", "127.0.0.1:0", "--json"];
        let mut page = Member::spawn(local.rokini(&page));
        page.until("its address", |page| !page.lines().is_empty()).await;
        let told: Value = serde_json::from_str(&page.lines()[0]).unwrap();
        let url =
            told["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let pages = BTreeMap::from([("nobody", (page, url))]);
        let troubles = Troubles { kinesis: Vec::new(), dynamo: faults };
        let place = Self { local, troubles, workers: ready, dying, pages, events, other_reader: None };
        place.until_all_shards_are_read().await;
        Some(place)
    }

    async fn until_all_shards_are_read(&self) {
        // A position that is a record's.
        self.put("g", 4, ["ok"]).await;
        for (group, shards) in STREAMS.iter().filter(|(group, _)| !matches!(*group, "dies" | "merges")) {
            let Some((_, probe)) = self.worker(group) else { continue };
            let begun = Instant::now();
            while probe.value("rokini_leases_held", "").await < f64::from(*shards) {
                assert!(begun.elapsed() < LONGEST_WAIT, "{group}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    pub(super) fn worker(&self, group: &str) -> Option<(&Member, &Probe)> {
        let (member, probe) = self.workers.get(group)?;
        Some((member, probe))
    }

    /// The address of a page of this group that no worker serves.
    pub(super) fn page(&self, group: &str) -> Option<&str> {
        self.pages.get(group).map(|(_, address)| address.as_str())
    }

    /// Whether somebody of the group is not heard while it is in trouble.
    pub(super) fn is_silent(&self, group: &str) -> bool {
        matches!(group, "table" | "dies")
    }

    pub(super) fn events(&self, group: &str) -> Vec<Value> {
        let lines = self.events[group].lines();
        lines.iter().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
    }

    /// From now on calls about a shard of `g` are answered so.
    pub(super) fn fault(&mut self, operation: &str, shard: usize, fault: Fault) {
        let rule = FaultRule::on(operation, fault).stream("g").shard(shard_id(shard));
        self.troubles.kinesis.push(self.local.kinesis.faults().add(rule));
    }

    pub(super) async fn put(
        &self,
        group: &str,
        shard: usize,
        data: impl IntoIterator<Item = impl Into<String>>,
    ) {
        let (_, shards) = STREAMS.iter().find(|(stream, _)| *stream == group).unwrap();
        let shard = shard as u128;
        let hash = u128::MAX / u128::try_from(*shards).unwrap() * shard + shard;
        let data = data.into_iter().map(|data| (hash, data.into()));
        self.local.put_hashed(group, data.collect::<Vec<_>>()).await;
    }

    /// The table takes no more writes of one worker.
    pub(super) fn throttle_table(&self) {
        self.troubles.dynamo.add(FaultRule::on("UpdateItem", Fault::Throttle).caller(THROTTLED));
    }

    pub(super) fn kill_one(&self) {
        self.dying.signal(Signal::KILL);
    }

    pub(super) async fn start_for_nobody(&mut self) {
        let mut member = self.local.consume("nobody", "nobody", "w2", &monitored(&[]));
        let probe = Probe::of(&mut member).await;
        self.workers.insert("nobody", (member, probe));
    }

    pub(super) async fn stop(mut self) {
        for (group, (member, _)) in &mut self.workers {
            assert_eq!(member.stop().await, Some(0), "{group}: {}", member.stderr());
        }
        for (page, _) in self.pages.values_mut() {
            assert_eq!(page.stop().await, Some(0), "{}", page.stderr());
        }
        for events in self.events.values() {
            events.signal(Signal::INT);
        }
    }

    /// Another group reads a shard of `g`: its five reads a second are used up.
    pub(super) fn read_too(&mut self, shard: usize) {
        let (kinesis, shard) = (self.local.kinesis.model().clone(), shard_id(shard));
        self.other_reader = Some(tokio::spawn(async move {
            let request =
                GetShardIteratorRequest::new(shard, ShardIteratorType::TrimHorizon).stream_name("g");
            let iterator = kinesis.call(&request).unwrap().shard_iterator.unwrap();
            let read = GetRecordsRequest::new(iterator).limit(1);
            // It does not wait as one that is polite would: whatever is free is its own within a millisecond.
            let mut every = tokio::time::interval(Duration::from_millis(1));
            loop {
                every.tick().await;
                for _ in 0..6 {
                    let _ = kinesis.call(&read);
                }
            }
        }));
    }

    pub(super) fn read_alone(&mut self) {
        if let Some(reader) = self.other_reader.take() {
            assert!(!reader.is_finished(), "the other reader reads on until it is told to stop");
            reader.abort();
        }
    }
}

fn monitored<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let monitored = [
        "--set",
        "monitoring=prometheus",
        "--set",
        "monitoring_page=true",
        "--set",
        "monitoring_listen=127.0.0.1:0",
    ];
    [&monitored[..], options].concat()
}

/// A record of one of two shards that are merged hangs: what comes of them waits from the start.
async fn merge_before_it_is_read(local: &Local) {
    local.put_hashed("merges", [(1 << 127, "hang".to_owned())]).await;
    let merge = kinesis(local).merge_shards().stream_name("merges").shard_to_merge(shard_id(0));
    merge.adjacent_shard_to_merge(shard_id(1)).send().await.unwrap();
}

/// `rokini run` with the program above, for a group and the stream of its name.
fn lines_worker(local: &Local, python: &Path, group: &str, options: &[&str]) -> Member {
    let arguments = ["run", group, "--group", group, "--worker", "w", "--handler", "lines"];
    let start = ["--start", "trim_horizon", "--"];
    let mut command = local.rokini(&[&arguments[..], &monitored(options), &start].concat());
    if group == "starts" {
        command.args(["/bin/sh", "-c", "[ -e well ] || exit 3; exec \"$0\" -u handle.py"]).arg(python);
    } else {
        command.arg(python).args(["-u", "handle.py"]);
    }
    if group == "table" {
        command.env("AWS_ACCESS_KEY_ID", THROTTLED);
    }
    if let Some(path) = std::env::var_os("PYTHONPATH") {
        command.env("PYTHONPATH", path);
    }
    Member::spawn(command)
}

/// What a service does until the file `well` is there.
#[derive(Debug, Clone, Copy)]
enum Service {
    /// It answers nothing.
    Silent,
    /// It asks for patience.
    Busy,
}

/// A worker that sends records to a service.
async fn post(local: &Local, group: &'static str, service: Service) -> Member {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/records", listener.local_addr().unwrap());
    let well = local.home().join("well");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let well = well.clone();
            tokio::spawn(async move {
                let mut asked = [0; 16 << 10];
                if stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    while matches!(service, Service::Silent) && !well.exists() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    // The rest of the request.
                    let rest = Duration::from_millis(100);
                    while matches!(tokio::time::timeout(rest, stream.read(&mut asked)).await, Ok(Ok(1..))) {}
                    let status = if well.exists() { "200 OK" } else { "503 Busy\r\nretry-after: 1" };
                    let answer =
                        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    let arguments = ["run", group, "--group", group, "--worker", "w", "--handler", "http", "--url", &url];
    Member::spawn(local.rokini(&[&arguments[..], &monitored(&[])].concat()))
}
