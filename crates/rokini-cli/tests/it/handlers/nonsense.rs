//! Processes that flood their output, or answer what makes no sense, for as long as somebody lets them: the other shard goes on.

use std::collections::BTreeSet;

use super::support::{handled, python, run, until_handled, until_none_runs};
use crate::support::{Local, Member};

/// What a process does with a record that is bad until the file `well` is there. `flood` and `nonsense` are what it writes again and
/// again, or answers.
const LINES: &str = r#"
import json, os, sys
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
def well(): return os.path.exists("well")
for line in sys.stdin:
    record = json.loads(line)
    while record["data"] == "bad" and not well():
        if os.environ["TRICK"] == "flood":
            sys.stdout.write("a line of log\n" * 10_000); sys.stderr.write("x" * 3_000_000 + "\n")
        else:
            # Tokens that nobody gave it, of a type that is none, and lines that are hardly JSON.
            for said in ['{"ack": 999999999}', '{"ack": [-1, "x", null]}', '{"ack"', '{"ack_through": 1e99}', "\x00\xff", "18446744073709551616",
                         '{"fail": {"token": 1}}', '[' * 5000, '{"ack": true}']: print(said)
        sys.stdout.flush()
    with open("handled", "a") as out: out.write("%s %s\n" % (record["shard"], record["data"]))
    print(record["token"], flush=True)
"#;

const KCL: &str = r#"
import json, os, sys, time
from client import serve, say
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
def well(): return os.path.exists("well")
class App:
    def initialize(self, shard, sequence): self.shard = shard
    def process_records(self, records, checkpointer):
        for data, sequence, sub in records:
            if data == "bad" and not well():
                if os.environ["TRICK"] == "flood":
                    # Messages without end, between lines of log without end.
                    while not well(): sys.stdout.write('{"action":"checkpoint","sequenceNumber":"1"}\n' * 100 + "a line of log\n" * 1000)
                say(action="status", responseFor="leaseLost")
                time.sleep(1000)
            with open("handled", "a") as out: out.write("%s %s\n" % (self.shard, data))
        checkpointer.checkpoint()
    def shard_ended(self, checkpointer): checkpointer.checkpoint()
    def shutdown_requested(self, checkpointer): checkpointer.checkpoint()
serve(App())
"#;

const FUNCTION: &str = r#"
import base64, os, sys
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
def well(): return os.path.exists("well")
answers = iter([{"itemIdentifier": "no such"}, {"itemIdentifier": ""}, {"item": 1}] * 1000)
def handler(event, context):
    for record in event["Records"]:
        data = base64.b64decode(record["kinesis"]["data"]).decode()
        if data == "bad" and not well():
            if os.environ["TRICK"] == "nonsense": return {"batchItemFailures": [next(answers)]}
            while not well(): sys.stdout.write("a line of log\n" * 10_000); sys.stderr.write("x" * 3_000_000 + "\n")
        with open("handled", "a") as out: out.write("%s %s\n" % (record["eventID"].split(":")[0], data))
"#;

async fn delays_its_own_shard_only(kind: &str, program: &str, arguments: &[&str], trick: &str, said: &str) {
    let Some(python) = python("json") else { return };
    let local = Local::start(2).await;
    if kind == "lambda" {
        super::lambda::write(&local);
    } else {
        super::kcl::write(&local);
    }
    std::fs::write(local.home().join("app.py"), program).unwrap();
    let mut member: Member = run(&local, &python, "w", &["--handler", kind], arguments, &[("TRICK", trick)]);
    local.put_hashed("orders", [(0, "bad".to_owned()), (0, "after".to_owned())]).await;
    if said.is_empty() {
        member.until("the flood", |member| member.stderr().contains("lines of output are not shown")).await;
    } else {
        member.until(said, |member| member.stderr().contains(said)).await;
    }
    // All of the other shard's are handled while it goes on.
    for round in 0..5 {
        let good: BTreeSet<String> = (0..50).map(|n| format!("good-{round}-{n}")).collect();
        local.put_hashed("orders", good.iter().map(|data| (u128::MAX, data.clone()))).await;
        until_handled(&local, &member, &good).await;
    }
    let so_far = handled(&local);
    assert!(!so_far.contains_key("bad") && !so_far.contains_key("after"), "{kind} {trick}: {so_far:?}");
    std::fs::write(local.home().join("well"), "").unwrap();
    until_handled(&local, &member, &["bad", "after"].map(str::to_owned).into()).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let handled = handled(&local);
    let good: Vec<_> = handled.iter().filter(|(data, _)| data.starts_with("good")).collect();
    assert!(good.len() == 250 && good.iter().all(|(_, times)| **times == 1), "{kind} {trick}: {good:?}");
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m4_a_program_that_floods_or_talks_nonsense_delays_its_own_shard_only() {
    delays_its_own_shard_only("lines", LINES, &["-u", "app.py"], "flood", "").await;
    delays_its_own_shard_only("lines", LINES, &["-u", "app.py"], "nonsense", "").await;
}

#[tokio::test]
async fn m4_an_application_that_floods_or_talks_nonsense_delays_its_own_shard_only() {
    let flood = "it sent a flood of messages";
    delays_its_own_shard_only("multilang", KCL, &["-u", "app.py"], "flood", flood).await;
    let nonsense = "it answered `leaseLost` to `processRecords`";
    delays_its_own_shard_only("multilang", KCL, &["-u", "app.py"], "nonsense", nonsense).await;
}

#[tokio::test]
async fn m4_a_function_that_floods_or_talks_nonsense_delays_its_own_shard_only() {
    let client = ["-u", "client.py", "app.handler"];
    delays_its_own_shard_only("lambda", FUNCTION, &client, "flood", "").await;
    delays_its_own_shard_only("lambda", FUNCTION, &client, "nonsense", "no such").await;
}
