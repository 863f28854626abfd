//! Processes that end again and again after their first records.

use super::support::{python, run, until_handled, until_none_runs};
use crate::support::{Local, Member};

/// Each handles a record and ends at the next one.
const LINES: &str = r#"
import json, os, sys, time
with open("starts", "a") as starts: starts.write("%f %d\n" % (time.time(), os.getpid()))
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
for count, line in enumerate(sys.stdin):
    if count == 1 and not os.path.exists("well"): os._exit(3)
    record = json.loads(line)
    with open("handled", "a") as out: out.write("%s %s\n" % (record["shard"], record["data"]))
    print(record["token"], flush=True)
"#;

const FUNCTION: &str = r#"
import base64, os, time
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
count = 0
def handler(event, context):
    global count
    count += 1
    if count == 1:
        with open("starts", "a") as starts: starts.write("%f %d\n" % (time.time(), os.getpid()))
    if count == 2 and not os.path.exists("well"): os._exit(3)
    for record in event["Records"]:
        data = base64.b64decode(record["kinesis"]["data"]).decode()
        with open("handled", "a") as out: out.write("%s %s\n" % (record["eventID"].split(":")[0], data))
"#;

const KCL: &str = r#"
import os, sys, time
from client import serve
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
class App:
    count = 0
    def initialize(self, shard, sequence):
        self.shard = shard
        with open("starts", "a") as starts: starts.write("%f %d\n" % (time.time(), os.getpid()))
    def process_records(self, records, checkpointer):
        for data, sequence, sub in records:
            self.count += 1
            if self.count == 2 and not os.path.exists("well"): os._exit(3)
            with open("handled", "a") as out: out.write("%s %s\n" % (self.shard, data))
            # It gets on with each of its lives.
            checkpointer.checkpoint(sequence)
    def shard_ended(self, checkpointer): checkpointer.checkpoint()
    def shutdown_requested(self, checkpointer): checkpointer.checkpoint()
serve(App())
"#;

/// When processes began their work, in seconds.
fn starts(local: &Local) -> Vec<f64> {
    let text = std::fs::read_to_string(local.home().join("starts")).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

async fn is_started_ever_more_rarely(kind: &str, program: &str, arguments: &[&str], spares: &str) {
    let Some(python) = python("json") else { return };
    let local = Local::start(1).await;
    if kind == "lambda" {
        super::lambda::write(&local);
    } else {
        super::kcl::write(&local);
    }
    std::fs::write(local.home().join("app.py"), program).unwrap();
    let data = super::support::put(&local, 40).await;
    let options = ["--handler", kind, "--spares", spares, "--set", "batch_max_records=1"];
    let mut member: Member = run(&local, &python, "w", &options, arguments, &[]);
    member.until("seven lives", |_| starts(&local).len() >= 7).await;
    let starts = starts(&local);
    let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    eprintln!("{kind}: {gaps:.2?}");
    // 1.6 s doubled from 100 ms, of which half at least.
    assert!(gaps[5] >= 0.8, "{kind}: {gaps:?}\n{}", member.stderr());
    std::fs::write(local.home().join("well"), "").unwrap();
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m4_a_program_that_ends_after_its_first_records_is_started_ever_more_rarely() {
    // A spare would begin before it is needed.
    is_started_ever_more_rarely("lines", LINES, &["-u", "app.py"], "0").await;
}

#[tokio::test]
async fn m4_a_function_that_ends_after_its_first_records_is_started_ever_more_rarely() {
    is_started_ever_more_rarely("lambda", FUNCTION, &["-u", "client.py", "app.handler"], "1").await;
}

#[tokio::test]
async fn m4_an_application_that_ends_after_its_first_records_is_started_ever_more_rarely() {
    is_started_ever_more_rarely("multilang", KCL, &["-u", "app.py"], "1").await;
}
