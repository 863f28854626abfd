//! `run --handler multilang`: applications of the KCL, without a JVM.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::support::{
    QUICK, Sent, assert_order, handled, kill_handlers, put, python, run, until_handled, until_none_runs,
};
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
            records = [(base64.b64decode(r["data"]).decode(), r["sequenceNumber"], r.get("subSequenceNumber")) for r in message["records"]]
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
        if trick == "init-hang" and os.path.exists("broken"): time.sleep(1000)
    def process_records(self, records, checkpointer):
        self.calls += 1
        print("a line of log where it should not be")
        for data, sequence, sub in records:
            if trick == "hang" and data == "poison" and not os.path.exists("once"):
                open("once", "w").close(); time.sleep(1000)
            if trick == "random" and random.random() < 0.002: os._exit(9)
            time.sleep(float(os.environ.get("SLOW", "0")))
            out.write("%s %s\n" % (self.shard, data))
            if trick == "kpl" and data == "000009" and not os.path.exists("once"):
                checkpointer.checkpoint(sequence, sub); open("once", "w").close(); os._exit(9)
        # Not after each batch: what was not checkpointed comes again.
        if self.calls % 3 == 0 and trick not in ("refused", "kpl"): checkpointer.checkpoint()
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
            records = [(r.binary_data.decode(), r.sequence_number, r.sub_sequence_number) for r in i.records]
            app.process_records(records, i.checkpointer)
        def lease_lost(self, i): pass
        def shard_ended(self, i): app.shard_ended(i.checkpointer)
        def shutdown_requested(self, i): app.shutdown_requested(i.checkpointer)
    kcl.KCLProcess(Processor()).run()
elif os.environ.get("CLIENT") == "amazon_kclpy.v2":
    from amazon_kclpy import kcl
    from amazon_kclpy.v2 import processor
    app = App()
    class Processor(processor.RecordProcessorBase):
        def initialize(self, i): app.initialize(i.shard_id, i.sequence_number)
        def process_records(self, i):
            records = [(r.binary_data.decode(), r.sequence_number, r.sub_sequence_number) for r in i.records]
            app.process_records(records, i.checkpointer)
        def shutdown(self, i):
            if i.reason == "TERMINATE": app.shard_ended(i.checkpointer)
        def shutdown_requested(self, i): app.shutdown_requested(i.checkpointer)
    kcl.KCLProcess(Processor()).run()
else:
    from client import serve
    serve(App())
"#;

pub(super) fn write(endpoints: &Endpoints) {
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
    start_by("own", endpoints, python, worker, trick, more)
}

/// The clients that this machine has.
fn clients() -> impl Iterator<Item = (&'static str, std::path::PathBuf)> {
    [("own", "json"), ("amazon_kclpy", "amazon_kclpy")]
        .into_iter()
        .filter_map(|(client, import)| Some((client, python(import)?)))
}

fn start_by(
    client: &str,
    endpoints: &Endpoints,
    python: &std::path::Path,
    worker: &str,
    trick: &str,
    more: &[&str],
) -> Member {
    let options = [&["--handler", "multilang"], more].concat();
    run(endpoints, python, worker, &options, &["-u", "app.py"], &[("TRICK", trick), ("CLIENT", client)])
}

/// Kills of the child, of the daemon, and of both, a split, a merge, and stops in order.
async fn whatever_dies(client: &str, python: &std::path::Path) {
    let local = Local::start(2).await;
    write(&local);
    let mut sent = Sent::default();
    for round in 0..6_u64 {
        let options = [&["--handler", "multilang", "--set", "batch_max_records=20"][..], &QUICK].concat();
        let environment = [("TRICK", "random"), ("CLIENT", client)];
        let mut member = run(&local, python, &format!("w{round}"), &options, &["-u", "app.py"], &environment);
        sent.put(&local, (0..200).map(|n| format!("{round}-{n}"))).await;
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
            4 => {
                // The two that the split made.
                let client = crate::fleet::kinesis(&local);
                let merge =
                    client.merge_shards().stream_name("orders").shard_to_merge("shardId-000000000002");
                merge.adjacent_shard_to_merge("shardId-000000000003").send().await.unwrap();
                sent.put(&local, (200..240).map(|n| format!("{round}-{n}"))).await;
            }
            _ => {}
        }
        if round != 1 && round != 3 {
            until_handled(&local, &member, &sent.all()).await;
            member.signal(Signal::TERM);
        }
        member.ended().await;
        until_none_runs(&local).await;
    }
    let mut last =
        run(&local, python, "last", &["--handler", "multilang"], &["-u", "app.py"], &[("CLIENT", client)]);
    until_handled(&local, &last, &sent.all()).await;
    last.until("a child", |last| last.stderr().contains("initialized at")).await;
    assert_eq!(last.stop().await, Some(0), "{}", last.stderr());
    assert!(last.stderr().contains("shutdown requested"), "{}", last.stderr());
    until_none_runs(&local).await;
    assert_order(&local, &sent, "whatever dies");
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

/// Processors of version 2, which know one `shutdown` with a reason.
#[tokio::test]
async fn m2_processors_of_version_2_run_unmodified() {
    let Some(python) = python("amazon_kclpy") else { return };
    whatever_dies("amazon_kclpy.v2", &python).await;
}

/// The KPL packs many user records into one record: a checkpoint in the middle of it counts, and what comes after it comes again.
#[tokio::test]
async fn m2_user_records_of_an_aggregate_are_checkpointed_one_by_one() {
    for client in ["own", "amazon_kclpy"] {
        let local = Local::start(1).await;
        let Some(python) = python(if client == "own" { "json" } else { client }) else { continue };
        write(&local);
        let data: BTreeSet<String> = (0..30).map(|n| format!("{n:06}")).collect();
        let lines: String = data.iter().map(|data| format!("{data}\n")).collect();
        local.run_with_input(&["put", "orders", "-k", "k", "--aggregate"], &lines).await.done();
        let environment = [("TRICK", "kpl"), ("CLIENT", client)];
        let mut member =
            run(&local, &python, "w", &["--handler", "multilang"], &["-u", "app.py"], &environment);
        until_handled(&local, &member, &data).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        // Ten before its end and twenty after it: nothing twice, nothing left out.
        assert_eq!(handled(&local).into_values().collect::<Vec<_>>(), [1; 30], "{client}");
        until_none_runs(&local).await;
    }
}

/// A worker that stands still loses its shards to another one, and a child that stands still its life.
#[tokio::test]
async fn m1_m4_a_frozen_worker_and_a_frozen_child_lose_nothing() {
    for (client, python) in clients() {
        frozen(client, &python).await;
    }
}

async fn frozen(client: &str, python: &std::path::Path) {
    let local = Local::start(2).await;
    write(&local);
    let (mut sent, more) = (Sent::default(), [&QUICK[..], &["--set", "handler_timeout=2s"]].concat());
    let mut frozen = start_by(client, &local, python, "frozen", "", &more);
    sent.put(&local, (0..200).map(|n| format!("0-{n}"))).await;
    until_handled(&local, &frozen, &sent.all()).await;
    for pid in super::support::running(&local) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    }
    sent.put(&local, (0..200).map(|n| format!("1-{n}"))).await;
    until_handled(&local, &frozen, &sent.all()).await;
    assert!(frozen.stderr().contains("did not answer within 2s"), "{}", frozen.stderr());
    // More than a pipe holds: the batch itself is not taken.
    for pid in super::support::running(&local) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    }
    sent.put(&local, (200..220).map(|n| format!("1-{n}-{}", "x".repeat(20_000)))).await;
    until_handled(&local, &frozen, &sent.all()).await;
    assert!(frozen.stderr().contains("did not read `processRecords` within 2s"), "{}", frozen.stderr());

    frozen.signal(Signal::STOP);
    sent.put(&local, (0..200).map(|n| format!("2-{n}"))).await;
    let mut other = start_by(client, &local, python, "other", "", &more);
    until_handled(&local, &other, &sent.all()).await;
    frozen.signal(Signal::CONT);
    frozen.until("the loss", |frozen| frozen.stderr().contains("the lease is lost")).await;
    sent.put(&local, (0..100).map(|n| format!("3-{n}"))).await;
    until_handled(&local, &other, &sent.all()).await;
    for member in [&mut frozen, &mut other] {
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
    until_none_runs(&local).await;
    assert_order(&local, &sent, "frozen");
}

/// The launcher, the properties, the application and the producer that amazon_kclpy brings, as they are: nothing but the programs
/// in `PATH` is of this test.
#[tokio::test]
async fn m2_the_samples_of_amazon_kclpy_run_unmodified_by_its_launcher() {
    let Some(python) = python("amazon_kclpy.kcl, samples, boto3") else { return };
    let found = std::process::Command::new(&python)
        .args(["-c", "import os, samples; print(os.path.dirname(samples.__file__))"])
        .output()
        .unwrap();
    let samples = std::path::PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    let kinesis = rokini_local::LocalKinesis::builder().stream("kclpysample", 2).start().await.unwrap();
    let dynamo = rokini_local::LocalDynamo::in_memory().await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let bin = endpoints.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    // Where an installation puts it.
    let application = bin.join("sample_kclpy_app.py");
    std::fs::copy(samples.join("sample_kclpy_app.py"), &application).unwrap();
    std::fs::set_permissions(&application, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(&python, bin.join("python")).unwrap();
    let rokini = endpoints.rokini(&[]);
    std::os::unix::fs::symlink(rokini.as_std().get_program(), bin.join("java")).unwrap();
    let path = std::env::join_paths(
        std::iter::once(bin.clone())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.unwrap();
    let of_rokini: Vec<_> = rokini
        .as_std()
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let command = |program: &std::path::Path| {
        let mut command = tokio::process::Command::new(program);
        command.env_clear().envs(of_rokini.iter().cloned()).env("PATH", &path).current_dir(endpoints.home());
        command.envs(std::env::var_os("PYTHONPATH").map(|value| ("PYTHONPATH", value)));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
        command
    };
    let mut put = command(&python);
    put.arg(samples.join("sample_kinesis_wordputter.py")).args(["--stream", "kclpysample"]);
    put.args(["-w", "cat", "-w", "dog", "-w", "bird", "-w", "lobster"]);
    crate::support::Ended::of(put).await.done();

    let mut helper = command(&python);
    helper
        .arg(samples.join("amazon_kclpy_helper.py"))
        .args(["--print_command", "--java"])
        .arg(bin.join("java"));
    helper.arg("--properties").arg(samples.join("sample.properties"));
    let printed = crate::support::Ended::of(helper).await.done();
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert!(words.contains(&"software.amazon.kinesis.multilang.MultiLangDaemon"), "{printed}");
    let mut daemon = command(std::path::Path::new(words[0]));
    daemon.args(&words[1..]);
    let mut member = Member::spawn(daemon);
    let begun = Instant::now();
    loop {
        let shown = endpoints.run(&["group", "show", "PythonKCLSample", "--json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
        let leases = shown["leases"].as_array().cloned().unwrap_or_default();
        let after =
            |lease: &serde_json::Value| lease["position"].as_str().unwrap_or_default().starts_with("AFTER:");
        if leases.len() == 2 && leases.iter().any(after) {
            break;
        }
        assert!(begun.elapsed() < crate::support::LONGEST_WAIT, "{shown}\n{}", member.stderr());
        sleep(Duration::from_millis(200)).await;
    }
    // It writes its log without line ends, so all of it comes at the end.
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    for word in ["cat", "dog", "bird", "lobster"] {
        assert!(said.contains(&format!("Record (Partition Key: {word}, ")), "{word}: {said}");
    }
    assert!(said.contains("Shutdown has been requested, checkpointing."), "{said}");
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

/// Without properties, too: `handler_timeout` is its limit.
#[tokio::test]
async fn m4_a_child_that_hangs_is_ended_without_properties_too() {
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    write(&local);
    local.put_hashed("orders", ["a", "poison", "b"].map(|data| (0, data.to_owned()))).await;
    let mut member = start(&local, &python, "w", "hang", &["--set", "handler_timeout=1s"]);
    until_handled(&local, &member, &["a", "poison", "b"].map(str::to_owned).into()).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(member.stderr().contains("did not answer within 1s"), "{}", member.stderr());
    until_none_runs(&local).await;
    let shown =
        local.run(&["run", "orders", "-g", "g", "--handler", "multilang", "--print-config", "--", "/bin/sh"]);
    assert!(shown.await.done().contains("handler_timeout = \"5m\""), "as for every handler");
}

/// It hangs, or ends, in `initialize`, until somebody mends it.
#[tokio::test]
async fn m4_a_child_that_fails_in_initialize_is_started_again_and_no_record_pays() {
    let tricks = clients().flat_map(|client| ["init", "init-hang"].map(|trick| (client.clone(), trick)));
    for ((client, python), trick) in tricks {
        let local = Local::start(1).await;
        write(&local);
        std::fs::write(local.home().join("broken"), "").unwrap();
        let data = put(&local, 20).await;
        let mut member = start_by(client, &local, &python, "w", trick, &["--start-timeout", "1s"]);
        member.until("two failures", |member| member.stderr().matches("does not start").count() >= 2).await;
        assert!(handled(&local).is_empty());
        std::fs::remove_file(local.home().join("broken")).unwrap();
        until_handled(&local, &member, &data).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let said = member.stderr();
        let wanted = if trick == "init" { "exit status: 4" } else { "did not initialize within 1s" };
        assert!(said.contains(wanted), "{said}");
        until_none_runs(&local).await;
    }
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
