//! `run --handler lambda`: Lambda functions without Lambda.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::support::{handled, put, python, run, until_handled, until_none_runs};
use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

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
if trick == "slow-init" and os.path.exists("broken"): time.sleep(1000)
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
        time.sleep(float(os.environ.get("SLOW", "0")))
        out.write("%s %s\n" % (shard, data))
    return {"batchItemFailures": []}
"#;

pub(super) fn write(endpoints: &Endpoints) {
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

/// A runtime client with a function.
pub(super) struct Program<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [&'a str],
}

/// The ways in which a record can be poison to the function, each with what the dead letter says of it.
const POISON: [(&str, &str); 4] = [
    ("partial", "reported record"),
    ("raise", "ValueError: poison"),
    ("exit", "process ended"),
    ("hang", "did not answer within 1s"),
];

/// A record that the function reports, throws at, ends at or hangs at: found, dead-lettered, and nothing else with it.
pub(super) async fn poison(function: &Program<'_>, tricks: &[(&str, &str)]) {
    for &(trick, wanted) in tricks {
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
        let Program { program, arguments } = function;
        let mut member = start(&local, program, "w", trick, arguments, &more);
        let rest = data.into_iter().filter(|data| data != "poison").collect();
        until_handled(&local, &member, &rest).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let dead = std::fs::read_to_string(local.home().join("dead.jsonl")).unwrap();
        assert_eq!(dead.lines().count(), 1, "{trick}: {dead}");
        let dead: serde_json::Value = serde_json::from_str(&dead).unwrap();
        assert_eq!(dead["text"], "poison", "{trick}: {dead}");
        let why = dead["failure"].as_str().unwrap_or_default();
        assert!(why.contains(wanted), "{trick}: {dead}");
        if arguments.last() == Some(&"app.handler") {
            assert!(member.stderr().contains(":function:g g"), "{}", member.stderr());
        }
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
    poison(&Program { program: &python, arguments: &OWN }, &POISON).await;
}

#[tokio::test]
async fn m3_functions_run_unmodified_by_awslambdaric() {
    let Some(python) = python("awslambdaric") else { return };
    poison(&Program { program: &python, arguments: &AWS }, &POISON).await;
}

/// A function that does not start while the file `broken` is there, each with what is said of it.
pub(super) async fn cannot_start(function: &Program<'_>, tricks: &[(&str, &str)]) {
    for (trick, said) in tricks {
        let local = Local::start(1).await;
        write(&local);
        std::fs::write(local.home().join("broken"), "").unwrap();
        let data = put(&local, 20).await;
        let policy = ["--set", "on_failure=skip", "--set", "max_attempts=1", "--set", "bisect=false"];
        let more = [&policy[..], &["--start-timeout", "1s"]].concat();
        let mut member = start(&local, function.program, "w", trick, function.arguments, &more);
        member.until("two failures", |member| member.stderr().matches(said).count() >= 2).await;
        assert!(handled(&local).is_empty());
        std::fs::remove_file(local.home().join("broken")).unwrap();
        until_handled(&local, &member, &data).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        until_none_runs(&local).await;
    }
}

#[tokio::test]
async fn m4_a_function_that_cannot_start_costs_no_record_and_is_started_once_it_can() {
    let Some(python) = python("json") else { return };
    let function = Program { program: &python, arguments: &OWN };
    cannot_start(&function, &[("init", "no such module"), ("slow-init", "was not ready within 1s")]).await;
}

#[tokio::test]
async fn m4_a_function_that_awslambdaric_cannot_load_costs_no_record() {
    let Some(python) = python("awslambdaric") else { return };
    cannot_start(&Program { program: &python, arguments: &AWS }, &[("init", "no such module")]).await;
}

/// A function of Powertools, whose batch processor goes on after a record that fails and reports it.
const POWERTOOLS: &str = r#"
import os
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
out = open("handled", "a", buffering=1)
def bill(record):
    data = record.kinesis.data_as_text()
    if data == "poison": raise ValueError("no such customer")
    out.write("x %s\n" % data)
def handler(event, context):
    return process_partial_response(event=event, record_handler=bill, processor=processor, context=context)
"#;

#[tokio::test]
async fn m3_the_batch_processor_of_powertools_finds_its_poison_record() {
    let Some(python) = python("awslambdaric, aws_lambda_powertools") else { return };
    let local = Local::start(1).await;
    std::fs::write(local.home().join("app.py"), POWERTOOLS).unwrap();
    let data: Vec<String> = (0..60).map(|n| if n == 37 { "poison".into() } else { format!("{n}") }).collect();
    local.put_hashed("orders", data.iter().map(|data| (0, data.clone()))).await;
    let more =
        ["on_failure=dead_letter", "max_attempts=2", "dead_letter=file:dead.jsonl", "batch_max_records=20"];
    let more: Vec<&str> = more.into_iter().flat_map(|setting| ["--set", setting]).collect();
    let mut member = start(&local, &python, "w", "", &AWS, &more);
    until_handled(&local, &member, &data.into_iter().filter(|data| data != "poison").collect()).await;
    let dead = || std::fs::read_to_string(local.home().join("dead.jsonl")).unwrap_or_default();
    let begun = Instant::now();
    while dead().is_empty() {
        assert!(begun.elapsed() < LONGEST_WAIT, "{}", member.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(dead().lines().count(), 1, "{}", dead());
    assert!(dead().contains("\"text\":\"poison\""), "{}", dead());
    until_none_runs(&local).await;
}

/// Notes what the context says, as the client of AWS makes it of headers.
const CONTEXT: &str = r#"
import json, os, time
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
def handler(event, context):
    remaining = context.get_remaining_time_in_millis()
    with open("contexts", "a") as out:
        out.write(json.dumps({"id": context.aws_request_id, "remaining": remaining, "arn": context.invoked_function_arn,
            "name": context.function_name, "version": context.function_version, "memory": context.memory_limit_in_mb,
            "group": context.log_group_name, "trace": os.environ.get("_X_AMZN_TRACE_ID"), "env": os.environ["AWS_REGION"],
            "init": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "handler": os.environ["_HANDLER"]}) + "\n")
    with open("handled", "a") as out: out.writelines("x %s\n" % r["kinesis"]["sequenceNumber"] for r in event["Records"])
"#;

#[tokio::test]
async fn m3_the_context_says_what_is_so() {
    let Some(python) = python("awslambdaric") else { return };
    let local = Local::start(1).await;
    std::fs::write(local.home().join("app.py"), CONTEXT).unwrap();
    let put = local.put_hashed("orders", (0..40).map(|n| (0, n.to_string()))).await;
    let more = ["--set", "handler_timeout=7s", "--set", "batch_max_records=10", "--function-name", "bill"];
    let mut member = start(&local, &python, "w", "", &AWS, &more);
    until_handled(&local, &member, &put.into_iter().map(|(_, sequence)| sequence).collect()).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let contexts = std::fs::read_to_string(local.home().join("contexts")).unwrap();
    let contexts: Vec<serde_json::Value> =
        contexts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(contexts.len() >= 4, "{contexts:?}");
    let described = crate::fleet::kinesis(&local).describe_stream_summary().stream_name("orders").send();
    let stream = described.await.unwrap().stream_description_summary().unwrap().stream_arn().to_owned();
    let arn = stream.replace("kinesis", "lambda").replace("stream/orders", "function:bill");
    let (mut ids, mut traces) = (BTreeSet::new(), BTreeSet::new());
    for context in &contexts {
        let remaining = context["remaining"].as_u64().unwrap();
        assert!((1..=7_000).contains(&remaining), "{context}");
        assert_eq!(context["arn"], arn.as_str(), "{context}");
        for (field, wanted) in [
            ("name", "bill"),
            ("version", "$LATEST"),
            ("group", "/aws/lambda/bill"),
            ("env", "us-east-1"),
            ("init", "on-demand"),
            ("handler", "app.handler"),
        ] {
            assert_eq!(context[field], wanted, "{context}");
        }
        assert_eq!(context["memory"].to_string().trim_matches('"'), "128", "{context}");
        let trace = context["trace"].as_str().unwrap();
        assert!(trace.starts_with("Root=1-") && trace.ends_with(";Sampled=0"), "{context}");
        ids.insert(context["id"].as_str().unwrap());
        traces.insert(trace);
    }
    assert_eq!((ids.len(), traces.len()), (contexts.len(), contexts.len()), "each has its own");
}

/// From the file that the AWS CLI writes to dead letters: poison is found and given up, and everything else is done.
#[tokio::test]
async fn m3_an_event_source_mapping_runs_from_its_file() {
    let Some(python) = python("json") else { return };
    let local = Local::start(1).await;
    write(&local);
    let described = crate::fleet::kinesis(&local).describe_stream_summary().stream_name("orders").send();
    let arn = described.await.unwrap().stream_description_summary().unwrap().stream_arn().to_owned();
    let mapping = serde_json::json!({
        "UUID": "a1", "StartingPosition": "TRIM_HORIZON", "BatchSize": 20, "ParallelizationFactor": 2, "EventSourceArn": arn,
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:bill", "State": "Enabled", "LastModified": 1.5,
        "MaximumRetryAttempts": 1, "BisectBatchOnFunctionError": true, "MaximumRecordAgeInSeconds": -1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"], "TumblingWindowInSeconds": 0,
    });
    std::fs::write(local.home().join("mapping.json"), mapping.to_string()).unwrap();
    let data: Vec<String> = (0..60).map(|n| if n == 37 { "poison".into() } else { format!("{n}") }).collect();
    local.put_hashed("orders", data.iter().map(|data| (0, data.clone()))).await;
    let arguments = [
        "run",
        "--group",
        "g",
        "--worker",
        "w",
        "--handler",
        "lambda",
        "--event-source-mapping",
        "mapping.json",
        "--",
    ];
    let mut command = local.rokini(&arguments);
    command.arg(&python).args(OWN).env("TRICK", "partial");
    let mut member = Member::spawn(command);
    until_handled(&local, &member, &data.into_iter().filter(|data| data != "poison").collect()).await;
    member.until("the record given up", |member| member.stderr().contains("skipped")).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(member.stderr().contains(":function:bill bill"), "{}", member.stderr());
    assert!(!handled(&local).contains_key("poison"));
    let shown = local.run(&["group", "show", "g", "--json"]).await.done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["leases"][0]["position"].as_str().unwrap().starts_with("AFTER:"), "{shown}");
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
