//! The demo as users run it: the built binary, worker processes, endpoints on loopback.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::pressure::{Pressure, promised};

const FAILOVER_MS: u64 = 3000;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rokini"));
    command.arg("demo").args(arguments);
    // What a user may have set must reach neither the demo nor its workers.
    command.env("AWS_PROFILE", "no-such-profile").env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    command.env("AWS_REGION", "nowhere-1").env("ROKINI_STREAM", "elsewhere").env("ROKINI_START", "latest");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One whole run, shared by the tests below.
struct Run {
    status: Option<i32>,
    lines: Vec<Value>,
    result: Value,
    /// The share of its time in which some process waited for a processor.
    waited: f64,
}

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let _one = crate::one_fleet();
        let pressure = Pressure::start();
        let Output { status, stdout, stderr } =
            demo(&["--for", "20s", "--failover", "3s", "--json"]).output().unwrap();
        let waited = pressure.share();
        eprintln!("{}", String::from_utf8_lossy(&stderr));
        let lines: Vec<Value> = stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("every line is JSON"))
            .collect();
        let result = lines.last().expect("a last line").clone();
        eprintln!("{result}");
        Run { status: status.code(), lines, result, waited }
    })
}

/// Holds when these figures of the run, of which there are some, are within the bound.
fn within(figures: &[u64], most: u64) {
    let promised = promised(Duration::from_millis(most), run().waited);
    let keeps = |millis: &u64| Duration::from_millis(*millis) <= promised;
    assert!(!figures.is_empty() && figures.iter().all(keeps), "{figures:?} ms, at most {promised:?}");
}

/// Silences in milliseconds of the shards that moved for a cause.
fn silences(run: &Run, cause: &str) -> Vec<u64> {
    let moves = run.result["moves"].as_array().unwrap();
    moves.iter().filter(|m| m["cause"] == cause).map(|m| m["silence_ms"].as_u64().unwrap()).collect()
}

#[test]
fn what_the_demo_prints_is_as_the_document_says() {
    let mut document = crate::json_document::Document::read();
    let (run, last) = (run(), run().lines.len() - 1);
    for (n, line) in run.lines.iter().enumerate() {
        let heading = match line.get("event") {
            _ if n == last => "demo",
            Some(_) => "demo (as it runs)",
            None => "demo (every second)",
        };
        document.check(heading, &line.to_string());
    }
    let unseen = document.unseen(|heading| heading.starts_with("demo"));
    assert!(unseen.is_empty(), "in docs/JSON.md and never printed: {unseen:#?}");
}

#[test]
fn every_promise_is_kept_and_the_status_says_so() {
    let Run { status, result, .. } = run();
    assert_eq!((&result["ok"], *status), (&Value::Bool(true), Some(0)), "{result}");
    let count = |field: &str| result[field].as_u64().unwrap();
    assert!(count("produced") > 3000, "200 records a second for nearly all of the 20 s: {result}");
    assert_eq!((count("processed"), count("lost")), (count("produced"), 0));
    assert_eq!(count("duplicates_unexplained"), 0);
}

#[test]
fn r5_order_per_key_holds_across_a_split_and_changes_of_owner() {
    assert_eq!(run().result["order_violations"], 0);
    let split = run().lines.iter().any(|line| line["event"] == "split");
    let shards = run().lines.iter().filter_map(|line| line["shards"].as_array());
    let most = shards.map(Vec::len).max();
    assert!(split && most == Some(6), "four shards, one of them with two children: {most:?}");
}

#[test]
fn p4_the_first_record_is_handled_within_3_s() {
    within(&[run().result["first_record_ms"].as_u64().unwrap()], 3000);
}

#[test]
fn g3_after_a_clean_stop_successors_go_on_within_2_s() {
    within(&silences(run(), "stop"), 2000);
}

#[test]
fn l1_the_shards_of_a_killed_worker_come_back_after_the_failover_time() {
    let silences = silences(run(), "kill");
    within(&silences, FAILOVER_MS + 2000);
    // Sooner than this the dead worker's right to its leases has not run out.
    assert!(
        silences.iter().max() >= Some(&(FAILOVER_MS / 2)),
        "a kill is noticed by silence only: {silences:?}"
    );
}

#[test]
fn progress_is_visible_every_second() {
    let snapshots: Vec<u64> = run()
        .lines
        .iter()
        .filter(|line| line.get("workers").is_some())
        .map(|line| line["at_ms"].as_u64().unwrap())
        .collect();
    assert!(snapshots.len() >= 15, "{snapshots:?}");
    let events: BTreeSet<&str> = run().lines.iter().filter_map(|line| line["event"].as_str()).collect();
    for event in ["start", "split", "stop", "kill", "join", "quiet", "move"] {
        assert!(events.contains(event), "{event}: {events:?}");
    }
}

#[test]
fn a_run_that_cannot_make_sense_is_refused_with_one_that_can() {
    for (arguments, hint) in [
        (&["--for", "20s", "--failover", "10s"][..], "--for 48s"),
        (&["--for", "5"], "--for 16s"),
        (&["--rate", "4000"], "--rate 2000"),
        (&["--failover", "soon"], "failover"),
        (&["--workers", "2"], "--workers"),
    ] {
        let output = demo(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// A demo that has begun to handle records.
struct Begun {
    demo: Child,
    workers: Vec<i32>,
    lines: BufReader<std::process::ChildStdout>,
}

fn begun() -> Begun {
    let mut demo = demo(&["--for", "60", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the demo ended before it handled anything");
        let snapshot: Value = serde_json::from_str(&line).unwrap();
        if snapshot["processed"].as_u64() > Some(0) {
            break;
        }
    }
    let workers = children(demo.id());
    assert_eq!(workers.len(), 3, "{workers:?}");
    Begun { demo, workers, lines }
}

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_raw(process.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Processes that `parent` started, as Linux tells: parent is the second field after the command in parentheses.
fn children(parent: u32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace());
        fields.and_then(|mut fields| fields.nth(1)).is_some_and(|field| field == parent.to_string())
    })
    .collect()
}

/// Whether a process runs: a zombie does not.
fn runs(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}

fn wait_until_gone(workers: &[i32]) {
    let until = Instant::now() + Duration::from_secs(15);
    while workers.iter().any(|id| runs(*id)) {
        assert!(Instant::now() < until, "workers outlive the demo: {workers:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_worker_outlives_a_demo_that_is_killed() {
    let Begun { mut demo, workers, lines } = begun();
    signal(&demo, Signal::KILL);
    demo.wait().unwrap();
    drop(lines);
    wait_until_gone(&workers);
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_stops_the_workers_and_gives_a_partial_proof() {
    let Begun { mut demo, workers, mut lines } = begun();
    signal(&demo, Signal::INT);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    let result: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!((&result["interrupted"], &result["lost"]), (&Value::Bool(true), &0.into()), "{result}");
    assert!(result["produced"].as_u64() > Some(0) && result["ok"] == true, "{result}");
    wait_until_gone(&workers);
}
