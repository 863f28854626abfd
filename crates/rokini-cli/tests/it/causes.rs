//! A real worker in trouble of each kind: ten seconds after it began, every outlet names the cause, and none another.

use std::time::{Duration, Instant};

use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule};
use serde_json::Value;

use crate::monitoring::Probe;
use crate::support::{Local, Member};

const SHARD: &str = "shardId-000000000000";
/// How long after the beginning or the end every outlet is right.
const LIMIT: Duration = Duration::from_secs(10);

/// Does with each record what its data says, once the file `well` is there all that it did not do so far.
const PROGRAM: &str = r#"
import json, os, sys, time
for line in sys.stdin:
    record = json.loads(line)
    while record["data"] == "hang" and not os.path.exists("well"):
        time.sleep(0.1)
    if record["data"] == "fail" and not os.path.exists("well"):
        print(json.dumps({"fail": record["token"], "error": "no such customer"}), flush=True)
        continue
    print(json.dumps({"ack": record["token"]}), flush=True)
"#;

/// What to do to the shard.
enum Trouble {
    /// Records with this data.
    Put(&'static str),
    /// This answers reads.
    Reads(&'static str, Fault),
}

struct Case {
    cause: &'static str,
    trouble: Trouble,
    options: &'static [&'static str],
    /// What `why` says, too.
    says: &'static str,
    state: &'static str,
}

async fn why(local: &Local) -> Value {
    let ended = local.run(&["group", "why", "g", "--json"]).await;
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

async fn drive(case: Case) {
    let Some(python) = crate::handlers::support::python("json") else { return };
    let local = Local::start(2).await;
    std::fs::write(local.home().join("handle.py"), PROGRAM).unwrap();
    let monitored =
        ["--handler", "lines", "--set", "monitoring=prometheus", "--set", "monitoring_listen=127.0.0.1:0"];
    let options = [&monitored[..], case.options].concat();
    let mut member = crate::handlers::support::run(&local, &python, "w", &options, &["-u", "handle.py"], &[]);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    let well = why(&local).await;
    assert_eq!((&well["moves"], well["shards"].as_array().unwrap().len()), (&true.into(), 0), "{well}");

    let mut fault = None;
    match &case.trouble {
        Trouble::Put(data) => {
            local.put_hashed("orders", [(0, (*data).to_owned()), (1, "ok".to_owned())]).await;
        }
        Trouble::Reads(operation, answer) => {
            let rule = FaultRule::on(*operation, answer.clone()).shard(SHARD);
            fault = Some(local.kinesis.faults().add(rule));
            if *operation == "GetShardIterator" {
                // Reading goes on with the iterator it has.
                local.kinesis.advance(Duration::from_secs(301));
            }
        }
    }
    let begun = Instant::now();
    // As somebody who is called then sees it.
    tokio::time::sleep_until((begun + LIMIT).into()).await;
    told(&local, &member, &probe, &case).await;

    match fault {
        Some(fault) => assert!(local.kinesis.faults().remove(fault)),
        None => std::fs::write(local.home().join("well"), "").unwrap(),
    }
    let ended = Instant::now();
    if case.cause == "halted" {
        // Nobody but an operator ends that.
        member.signal(rustix::process::Signal::KILL);
        return;
    }
    tokio::time::sleep_until((ended + LIMIT).into()).await;
    let well = why(&local).await;
    assert_eq!((&well["moves"], probe.ready().await.0), (&true.into(), 200), "{}: {well}", case.cause);
    assert_eq!(probe.value("rokini_shard_stalled", SHARD).await, 0.0);
    assert_eq!(probe.value("rokini_events_total", "shard-recovered").await, 1.0);
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

/// Every outlet says it.
async fn told(local: &Local, member: &Member, probe: &Probe, case: &Case) {
    let cause = case.cause;
    let found = why(local).await;
    let shards = found["shards"].as_array().unwrap();
    assert_eq!((&found["moves"], shards.len()), (&false.into(), 1), "{cause}: {found}\n{}", member.stderr());
    assert_eq!((&shards[0]["shard"], &shards[0]["cause"]), (&SHARD.into(), &cause.into()), "{found}");
    assert_eq!(shards[0]["state"], case.state, "{found}");
    let sentence = shards[0]["why"].as_str().unwrap();
    assert!(sentence.starts_with("w says: ") && sentence.contains(case.says), "{cause}: {sentence}");
    assert!(!shards[0]["next"].as_str().unwrap().is_empty());
    // The words of the cause, wherever it is said.
    let words = sentence.split(": ").nth(2).unwrap().split(';').next().unwrap();
    let (status, ready) = probe.get("/readyz").await;
    assert!(status == 503 && ready.contains(words), "{cause}: {words}: {ready}");
    assert_eq!(probe.value("rokini_shard_stalled", SHARD).await, 1.0, "{cause}");
    let log = member.stderr();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("a shard makes no progress")).collect();
    assert!(told.len() == 1 && told[0].contains(words), "{cause}: {words}: {log}");
    let shown = local.run(&["group", "show", "g", "--json"]).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let lease = shown["leases"].as_array().unwrap().iter().find(|lease| lease["shard"] == SHARD).unwrap();
    assert_eq!(lease["cause"], cause, "{lease}");
}

#[tokio::test]
async fn o12_a_program_that_hangs_is_named_everywhere() {
    let trouble = Trouble::Put("hang");
    drive(Case {
        cause: "acks",
        trouble,
        options: &[],
        says: "acknowledgements do not come",
        state: "stuck",
    })
    .await;
}

#[tokio::test]
async fn o12_a_handler_that_fails_is_named_everywhere() {
    let trouble = Trouble::Put("fail");
    drive(Case { cause: "failing", trouble, options: &[], says: "no such customer", state: "stuck" }).await;
}

#[tokio::test]
async fn o12_a_shard_that_is_halted_is_named_everywhere() {
    let options = &["--set", "on_failure=halt", "--set", "max_attempts=2"];
    let trouble = Trouble::Put("fail");
    drive(Case { cause: "halted", trouble, options, says: "no such customer", state: "stuck" }).await;
}

#[tokio::test]
async fn o12_reads_that_are_denied_are_named_everywhere() {
    let answer =
        Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
    let trouble = Trouble::Reads("GetRecords", answer);
    drive(Case { cause: "denied", trouble, options: &[], says: "GetRecords", state: "stuck" }).await;
}

#[tokio::test]
async fn o12_reads_that_are_throttled_are_named_everywhere() {
    let trouble = Trouble::Reads("GetRecords", Fault::Throttle);
    drive(Case {
        cause: "throttled",
        trouble,
        options: &["--set", "poll_ceiling=1s"],
        says: "throttled",
        state: "stuck",
    })
    .await;
}

#[tokio::test]
async fn o12_a_stream_that_does_not_answer_is_named_everywhere() {
    let trouble = Trouble::Reads("GetRecords", Fault::DropBefore);
    drive(Case {
        cause: "reading",
        trouble,
        options: &["--set", "poll_ceiling=1s"],
        says: "does not answer",
        state: "stuck",
    })
    .await;
}
