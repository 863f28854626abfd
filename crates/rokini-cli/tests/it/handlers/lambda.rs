//! `run --handler lambda`: Lambda functions without Lambda.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{QUICK, handled, kill_handlers, put, python, run, until_handled, until_none_runs};
use crate::support::{Endpoints, Local, Member};

/// A runtime client in a few lines, for machines without one of AWS's.
const CLIENT: &str = r#"
import importlib, json, os, sys, traceback, urllib.request
api = "http://%s/2018-06-01/runtime/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
def post(path, value):
    urllib.request.urlopen(urllib.request.Request(api + path, json.dumps(value).encode(), method="POST")).read()
def error(failure): return {"errorMessage": str(failure), "errorType": type(failure).__name__, "stackTrace": []}
sys.path.insert(0, os.getcwd())
try:
    module, name = sys.argv[1].rsplit(".", 1)
    handler = getattr(importlib.import_module(module), name)
except Exception as failure:
    post("init/error", error(failure)); sys.exit(1)
class Context: pass
while True:
    with urllib.request.urlopen(api + "invocation/next") as response:
        context = Context()
        context.aws_request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
        context.invoked_function_arn = response.headers["Lambda-Runtime-Invoked-Function-Arn"]
        context.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        event = json.load(response)
    try: post("invocation/%s/response" % context.aws_request_id, handler(event, context))
    except Exception as failure: post("invocation/%s/error" % context.aws_request_id, error(failure))
"#;

/// A function. What it does besides comes from its environment.
const FUNCTION: &str = r#"
import base64, os, random, time
trick = os.environ.get("TRICK", "")
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
if trick == "init" and os.path.exists("broken"): raise ImportError("no such module")
out = open("handled", "a", buffering=1)
def handler(event, context):
    print("invoked", context.aws_request_id, context.invoked_function_arn, context.function_name)
    for record in event["Records"]:
        data = base64.b64decode(record["kinesis"]["data"]).decode()
        shard, sequence = record["eventID"].split(":")
        assert sequence == record["kinesis"]["sequenceNumber"] and record["eventSource"] == "aws:kinesis"
        if data == "poison":
            if trick == "partial": return {"batchItemFailures": [{"itemIdentifier": sequence}]}
            if trick == "raise": raise ValueError("poison")
            if trick == "exit": os._exit(7)
            if trick == "hang": time.sleep(1000)
        if trick == "random" and random.random() < 0.002: os._exit(9)
        out.write("%s %s\n" % (shard, data))
    return {"batchItemFailures": []}
"#;

fn write(endpoints: &Endpoints) {
    std::fs::write(endpoints.home().join("client.py"), CLIENT).unwrap();
    std::fs::write(endpoints.home().join("app.py"), FUNCTION).unwrap();
}

fn start(
    endpoints: &Endpoints,
    python: &Path,
    worker: &str,
    trick: &str,
    client: &[&str],
    more: &[&str],
) -> Member {
    let options = [&["--handler", "lambda"], more].concat();
    run(endpoints, python, worker, &options, client, &[("TRICK", trick)])
}

const OWN: [&str; 3] = ["-u", "client.py", "app.handler"];
const AWS: [&str; 4] = ["-u", "-m", "awslambdaric", "app.handler"];

/// A record that the function reports, throws at, ends at or hangs at: found, dead-lettered, and nothing else with it.
async fn poison(client: &[&str], python: &Path) {
    for trick in ["partial", "raise", "exit", "hang"] {
        let local = Local::start(1).await;
        write(&local);
        let data: Vec<String> =
            (0..60).map(|n| if n == 37 { "poison".into() } else { format!("{n}") }).collect();
        local.put_hashed("orders", data.iter().map(|data| (0, data.clone()))).await;
        let more = [
            "--set",
            "on_failure=dead_letter",
            "--set",
            "max_attempts=2",
            "--set",
            "dead_letter=file:dead.jsonl",
            "--set",
            "handler_timeout=1s",
            "--set",
            "batch_max_records=20",
        ];
        let mut member = start(&local, python, "w", trick, client, &more);
        let rest = data.into_iter().filter(|data| data != "poison").collect();
        until_handled(&local, &member, &rest).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let dead = std::fs::read_to_string(local.home().join("dead.jsonl")).unwrap();
        assert_eq!(dead.lines().count(), 1, "{trick}: {dead}");
        let dead: serde_json::Value = serde_json::from_str(&dead).unwrap();
        assert_eq!(dead["text"], "poison", "{trick}: {dead}");
        let why = dead["failure"].as_str().unwrap_or_default();
        let wanted = match trick {
            "partial" => "reported record",
            "raise" => "ValueError: poison",
            "exit" => "process ended",
            _ => "did not answer within 1s",
        };
        assert!(why.contains(wanted), "{trick}: {dead}");
        assert!(member.stderr().contains(":function:g g"), "{}", member.stderr());
        if trick == "partial" {
            // What was done before the record that failed did not come again, but for the search.
            assert!(handled(&local)["0"] == 1, "{:?}", handled(&local));
        }
        until_none_runs(&local).await;
    }
}

#[tokio::test]
async fn m3_poison_records_are_found_and_dead_lettered() {
    let Some(python) = python("json") else { return };
    poison(&OWN, &python).await;
}

#[tokio::test]
async fn m3_functions_run_unmodified_by_awslambdaric() {
    let Some(python) = python("awslambdaric") else { return };
    poison(&AWS, &python).await;
}

#[tokio::test]
async fn m4_a_function_that_cannot_start_costs_no_record_and_is_started_once_it_can() {
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    write(&local);
    std::fs::write(local.home().join("broken"), "").unwrap();
    let data = put(&local, 20).await;
    let more = ["--set", "on_failure=skip", "--set", "max_attempts=1", "--set", "bisect=false"];
    let mut member = start(&local, &python, "w", "init", &OWN, &more);
    member.until("two failures", |member| member.stderr().matches("no such module").count() >= 2).await;
    std::fs::remove_file(local.home().join("broken")).unwrap();
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m1_kills_of_function_daemon_and_both_lose_nothing() {
    let local = Local::start(2).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let mut data = BTreeSet::new();
    for round in 0..4_u64 {
        let mut member = start(&local, &python, &format!("w{round}"), "random", &OWN, &QUICK);
        let more: BTreeSet<String> = (0..300).map(|n| format!("{round}-{n}")).collect();
        local.put_evenly("orders", more.iter().cloned()).await;
        data.extend(more);
        sleep(Duration::from_millis(500 + 250 * round)).await;
        if round % 2 == 1 {
            kill_handlers(&local);
        }
        member.signal(if round == 3 { Signal::TERM } else { Signal::KILL });
        member.ended().await;
        until_none_runs(&local).await;
    }
    let mut last = start(&local, &python, "last", "random", &OWN, &QUICK);
    until_handled(&local, &last, &data).await;
    assert_eq!(last.stop().await, Some(0), "{}", last.stderr());
}

/// Lambda itself could not give it to a function: its event has 6 MB at most.
#[tokio::test]
async fn m3_ten_mebibytes_go_through_and_shards_share_processes() {
    let local = Local::start(4).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let client = crate::fleet::kinesis(&local);
    let update = client.update_max_record_size().max_record_size_in_kib(10_240);
    let arn = client.describe_stream_summary().stream_name("orders").send().await.unwrap();
    let arn = arn.stream_description_summary().unwrap().stream_arn().to_owned();
    update.stream_arn(arn).send().await.unwrap();
    local.put_evenly("orders", (0..40).map(|n| format!("small-{n}"))).await;
    let large = "x".repeat((10 << 20) - 10);
    let blob = aws_sdk_kinesis::primitives::Blob::new(large.clone());
    client.put_record().stream_name("orders").partition_key("k").data(blob).send().await.unwrap();
    let mut data: BTreeSet<String> = (0..40).map(|n| format!("small-{n}")).collect();
    data.insert(large);
    let begun = Instant::now();
    let mut member = start(&local, &python, "w", "", &OWN, &[]);
    until_handled(&local, &member, &data).await;
    eprintln!("done after {:?}", begun.elapsed());
    let started = std::fs::read_to_string(local.home().join("pids")).unwrap().lines().count();
    assert!(started <= 6, "{started} processes for 4 shards");
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}
