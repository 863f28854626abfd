//! `run --handler multilang`: applications of the KCL, without a JVM.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{QUICK, handled, kill_handlers, put, python, run, until_handled, until_none_runs};
use crate::support::{Endpoints, Local, Member};

/// The part of amazon_kclpy that applications use, for machines without it: the protocol in a few lines.
const CLIENT: &str = r#"
import json, sys, base64
class CheckpointError(Exception):
    def __init__(self, value): self.value = value
class Checkpointer:
    def checkpoint(self, sequence=None, sub=None):
        say(action="checkpoint", sequenceNumber=sequence, subSequenceNumber=sub)
        answer = json.loads(sys.stdin.readline())
        if answer["error"]: raise CheckpointError(answer["error"])
def say(**message):
    sys.stdout.write("\n" + json.dumps(message) + "\n"); sys.stdout.flush()
def serve(app):
    for line in sys.stdin:
        message = json.loads(line)
        action = message["action"]
        if action == "initialize": app.initialize(message["shardId"], message["sequenceNumber"])
        elif action == "processRecords":
            records = [(base64.b64decode(r["data"]).decode(), r["sequenceNumber"]) for r in message["records"]]
            app.process_records(records, Checkpointer())
        elif action == "shardEnded": app.shard_ended(Checkpointer())
        elif action == "shutdownRequested": app.shutdown_requested(Checkpointer())
        say(action="status", responseFor=action)
"#;

/// An application for either client. What it does besides comes from its environment.
const APPLICATION: &str = r#"
import os, random, sys, time
trick = os.environ.get("TRICK", "")
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
out = open("handled", "a", buffering=1)
class App:
    def initialize(self, shard, sequence):
        self.shard, self.calls = shard, 0
        sys.stderr.write("initialized at %s\n" % sequence)
        if trick == "init" and os.path.exists("broken"): os._exit(4)
    def process_records(self, records, checkpointer):
        self.calls += 1
        print("a line of log where it should not be")
        for data, sequence in records:
            if trick == "hang" and data == "poison" and not os.path.exists("once"):
                open("once", "w").close(); time.sleep(1000)
            if trick == "random" and random.random() < 0.002: os._exit(9)
            out.write("%s %s\n" % (self.shard, data))
        # Not after each batch: what was not checkpointed comes again.
        if self.calls % 3 == 0 and trick != "refused": checkpointer.checkpoint()
        if trick == "refused":
            said = []
            for sequence, sub in [("9" * 56, 0), ("seven", 0), (records[-1][1], -1)]:
                try: checkpointer.checkpoint(sequence, sub); said.append("stored")
                except Exception as error: said.append(error.value)
            sys.stderr.write("refused: %s\n" % said)
            checkpointer.checkpoint(records[-1][1])
    def shard_ended(self, checkpointer):
        sys.stderr.write("the shard ended\n")
        if trick != "forgets": checkpointer.checkpoint()
    def shutdown_requested(self, checkpointer):
        sys.stderr.write("shutdown requested\n"); checkpointer.checkpoint()
if os.environ.get("CLIENT") == "amazon_kclpy":
    from amazon_kclpy import kcl
    from amazon_kclpy.v3 import processor
    app = App()
    class Processor(processor.RecordProcessorBase):
        def initialize(self, i): app.initialize(i.shard_id, i.sequence_number)
        def process_records(self, i):
            app.process_records([(r.binary_data.decode(), r.sequence_number) for r in i.records], i.checkpointer)
        def lease_lost(self, i): pass
        def shard_ended(self, i): app.shard_ended(i.checkpointer)
        def shutdown_requested(self, i): app.shutdown_requested(i.checkpointer)
    kcl.KCLProcess(Processor()).run()
else:
    from client import serve
    serve(App())
"#;

fn write(endpoints: &Endpoints) {
    std::fs::write(endpoints.home().join("client.py"), CLIENT).unwrap();
    std::fs::write(endpoints.home().join("app.py"), APPLICATION).unwrap();
}

fn start(
    endpoints: &Endpoints,
    python: &std::path::Path,
    worker: &str,
    trick: &str,
    more: &[&str],
) -> Member {
    let options = [&["--handler", "multilang"], more].concat();
    run(endpoints, python, worker, &options, &["-u", "app.py"], &[("TRICK", trick), ("CLIENT", "own")])
}

/// Kills of the child, of the daemon, and of both, a split, and stops in order.
async fn whatever_dies(client: &str, python: &std::path::Path) {
    let local = Local::start(2).await;
    write(&local);
    let mut data = BTreeSet::new();
    for round in 0..5_u64 {
        let options = [&["--handler", "multilang", "--set", "batch_max_records=20"][..], &QUICK].concat();
        let environment = [("TRICK", "random"), ("CLIENT", client)];
        let mut member = run(&local, python, &format!("w{round}"), &options, &["-u", "app.py"], &environment);
        let more: BTreeSet<String> = (0..200).map(|n| format!("{round}-{n}")).collect();
        local.put_evenly("orders", more.iter().cloned()).await;
        data.extend(more);
        sleep(Duration::from_millis(800 + 200 * round)).await;
        match round {
            0 => kill_handlers(&local),
            1 => member.signal(Signal::KILL),
            2 => {
                let client = crate::fleet::kinesis(&local);
                let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
                split.new_starting_hash_key((1_u128 << 126).to_string()).send().await.unwrap();
            }
            3 => {
                kill_handlers(&local);
                member.signal(Signal::KILL);
            }
            _ => {}
        }
        if round != 1 && round != 3 {
            until_handled(&local, &member, &data).await;
            member.signal(Signal::TERM);
        }
        member.ended().await;
        until_none_runs(&local).await;
    }
    let mut last =
        run(&local, python, "last", &["--handler", "multilang"], &["-u", "app.py"], &[("CLIENT", client)]);
    until_handled(&local, &last, &data).await;
    last.until("a child", |last| last.stderr().contains("initialized at")).await;
    assert_eq!(last.stop().await, Some(0), "{}", last.stderr());
    assert!(last.stderr().contains("shutdown requested"), "{}", last.stderr());
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m1_m2_whatever_dies_what_was_not_checkpointed_comes_again() {
    let Some(python) = python("json") else { return };
    whatever_dies("own", &python).await;
}

#[tokio::test]
async fn m2_applications_of_amazon_kclpy_run_unmodified() {
    let Some(python) = python("amazon_kclpy") else { return };
    whatever_dies("amazon_kclpy", &python).await;
}

/// An application of aws-kcl for Node.
const NODE: &str = r#"
const fs = require('fs');
fs.appendFileSync('pids', process.pid + '\n');
const app = {
  initialize(input, done) { this.shard = input.shardId; done(); },
  processRecords(input, done) {
    for (const record of input.records) {
      fs.appendFileSync('handled', this.shard + ' ' + Buffer.from(record.data, 'base64').toString() + '\n');
    }
    const last = input.records[input.records.length - 1].sequenceNumber;
    input.checkpointer.checkpoint(last, (error) => { if (error) console.error('refused ' + error); done(); });
  },
  leaseLost(input, done) { done(); },
  shardEnded(input, done) { input.checkpointer.checkpoint(() => done()); },
  shutdownRequested(input, done) {
    input.checkpointer.checkpoint((error) => { console.error('stopped: ' + error); done(); });
  },
};
require('aws-kcl')(app).run();
"#;

#[tokio::test]
async fn m2_applications_of_aws_kcl_run_unmodified() {
    let code = "require.resolve('aws-kcl'); console.log(process.execPath)";
    let found = std::process::Command::new("node").args(["-e", code]).output().ok();
    let node =
        found.filter(|found| found.status.success()).map(|found| String::from_utf8(found.stdout).unwrap());
    let Some(node) = node else {
        return crate::skipped("there is no node that has aws-kcl (`NODE_PATH` may say where)");
    };
    let local = Local::start(2).await;
    std::fs::write(local.home().join("app.js"), NODE).unwrap();
    let path = std::env::var("NODE_PATH").unwrap_or_default();
    let options = ["--handler", "multilang", "--set", "batch_max_records=20"];
    let start = |worker| {
        run(&local, std::path::Path::new(node.trim()), worker, &options, &["app.js"], &[("NODE_PATH", &path)])
    };
    let data: BTreeSet<String> = (0..300).map(|n| n.to_string()).collect();
    let mut first = start("w1");
    local.put_evenly("orders", data.iter().cloned()).await;
    first.until("a child", |first| first.stderr().contains("started at")).await;
    sleep(Duration::from_millis(500)).await;
    kill_handlers(&local);
    until_handled(&local, &first, &data).await;
    let client = crate::fleet::kinesis(&local);
    let merge = client.merge_shards().stream_name("orders").shard_to_merge("shardId-000000000000");
    merge.adjacent_shard_to_merge("shardId-000000000001").send().await.unwrap();
    let more: BTreeSet<String> = (300..320).map(|n| n.to_string()).collect();
    local.put_evenly("orders", more.iter().cloned()).await;
    until_handled(&local, &first, &more).await;
    assert_eq!(first.stop().await, Some(0), "{}", first.stderr());
    let said = first.stderr();
    assert!(said.contains("stopped: null") || said.contains("stopped: undefined"), "{said}");
    assert!(!said.contains("refused"), "{said}");
    until_none_runs(&local).await;
}

/// As `amazon_kclpy_helper.py --print_command --java JAVA` and `kcl-bootstrap` start the Java daemon.
#[tokio::test]
async fn m2_launchers_start_it_in_place_of_java() {
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let data = put(&local, 300).await;
    let properties = format!(
        "executableName = {} -u app.py\nstreamName = orders\napplicationName = g\nworkerId = w\n\
         AwsCredentialsProvider = DefaultAWSCredentialsProviderChain\ninitialPositionInStream = TRIM_HORIZON\n\
         failoverTimeMillis = 4000\ndampeningPercentage = 60\nregionName = us-east-1\nkinesisEndpoint = {}\n\
         dynamoDBEndpoint = {}\n",
        python.display(),
        local.kinesis.endpoint_url(),
        local.dynamo.endpoint_url(),
    );
    std::fs::write(local.home().join("app.properties"), properties).unwrap();
    let java = local.home().join("java");
    let binary = local.rokini(&[]);
    std::os::unix::fs::symlink(binary.as_std().get_program(), &java).unwrap();
    let mut command = tokio::process::Command::new(&java);
    command.args(["-cp", "a.jar:b.jar", "software.amazon.kinesis.multilang.MultiLangDaemon"]);
    command.args(["--properties-file", "app.properties", "--log-configuration", "logback.xml"]);
    let known = binary.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(known).current_dir(local.home());
    command
        .env_remove("AWS_ENDPOINT_URL_KINESIS")
        .env_remove("AWS_ENDPOINT_URL_DYNAMODB")
        .env_remove("AWS_REGION");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut member = Member::spawn(command);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    assert!(
        said.contains("`dampeningPercentage` has no effect here") && said.contains("joined the group as `w`")
    );
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m2_checkpoint_errors_have_the_names_of_java_classes() {
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let data = put(&local, 50).await;
    let mut member = start(&local, &python, "w", "refused", &[]);
    until_handled(&local, &member, &data).await;
    let refused =
        "refused: ['IllegalArgumentException', 'IllegalArgumentException', 'IllegalArgumentException']";
    member.until("the errors", |member| member.stderr().contains(refused)).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    // All of it was checkpointed by number.
    let shown = local.run(&["group", "show", "g", "--json"]).await.done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["leases"][0]["position"].as_str().unwrap().starts_with("AFTER:"), "{shown}");
}

/// The Java daemon would block the children of the shard for ever.
#[tokio::test]
async fn m2_an_end_that_is_not_checkpointed_is_an_error_that_says_so_and_blocks_nothing() {
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let mut data = put(&local, 30).await;
    let client = crate::fleet::kinesis(&local);
    let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
    local.put_evenly("orders", (0..20).map(|n| format!("child-{n}"))).await;
    data.extend((0..20).map(|n| format!("child-{n}")));
    let mut member = start(&local, &python, "w", "forgets", &[]);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    assert!(said.contains("call `checkpoint()` without a sequence number in `shardEnded`"), "{said}");
    assert!(said.contains("did not checkpoint the end of the shard, 3 times in a row"), "{said}");
}

#[tokio::test]
async fn m4_a_child_that_hangs_or_does_not_start_delays_its_own_shard_only() {
    let local = Local::start(2).await;
    let Some(python) = python("json") else { return };
    write(&local);
    let properties = format!(
        "executableName = {} -u app.py\nstreamName = orders\napplicationName = g\ntimeoutInSeconds = 2\n\
         AwsCredentialsProvider = DefaultCredentialsProvider\ninitialPositionInStream = TRIM_HORIZON\n",
        python.display()
    );
    std::fs::write(local.home().join("app.properties"), properties).unwrap();
    let mut command = local.rokini(&["run", "--properties", "app.properties"]);
    command.env("TRICK", "hang");
    let mut member = Member::spawn(command);
    member.until("both shards", |member| member.stderr().matches("started at").count() == 2).await;
    let bad = (0..20).map(|n| (0_u128, if n == 5 { "poison".to_owned() } else { format!("bad-{n}") }));
    let good = (0..20).map(|n| (u128::MAX, format!("good-{n}")));
    local.put_hashed("orders", bad.clone().chain(good.clone())).await;
    let at = Instant::now();
    until_handled(&local, &member, &good.map(|(_, data)| data).collect()).await;
    eprintln!("the other shard was done {:?} later", at.elapsed());
    until_handled(&local, &member, &bad.map(|(_, data)| data).collect()).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(member.stderr().contains("did not answer within 2s"), "{}", member.stderr());
    assert!(
        handled(&local).keys().filter(|data| data.starts_with("good")).all(|data| handled(&local)[data] == 1)
    );
    until_none_runs(&local).await;
}
