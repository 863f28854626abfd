//! Checkpoints that are refused: the child hears the names of Java classes, as from the Java daemon.

use std::net::Ipv4Addr;
use std::path::Path;

use rokini_local::wire::ErrorCode;
use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo, LocalKinesis};
use rustix::process::Signal;

use super::support::{QUICK, python, run, until_none_runs};
use crate::support::{Endpoints, Local, Member};

/// Checkpoints each record until that is done, or the lease is lost, and says what it hears.
const APPLICATION: &str = r#"
import os, sys, time
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
def say(text): sys.stderr.write(text + "\n"); sys.stderr.flush()
def process(records, checkpointer):
    for data, sequence, sub in records:
        say("got %s" % data)
        while data == "wait" and not os.path.exists("go"): time.sleep(0.05)
        while True:
            try: checkpointer.checkpoint(sequence, sub)
            except Exception as error:
                say("%s: %s" % (data, error.value))
                if error.value in ("ShutdownException", "IllegalArgumentException"): return
                time.sleep(0.1)
                continue
            say("%s: stored" % data)
            break
        if data == "behind":
            try: checkpointer.checkpoint("1")
            except Exception as error: say("1: %s" % error.value)
if os.environ["CLIENT"] == "amazon_kclpy":
    from amazon_kclpy import kcl
    from amazon_kclpy.v3 import processor
    class Processor(processor.RecordProcessorBase):
        def initialize(self, i): pass
        def process_records(self, i):
            process([(r.binary_data.decode(), r.sequence_number, r.sub_sequence_number) for r in i.records], i.checkpointer)
        def lease_lost(self, i): say("told that the lease is lost")
        def shard_ended(self, i): i.checkpointer.checkpoint()
        def shutdown_requested(self, i): pass
    kcl.KCLProcess(Processor()).run()
else:
    import client
    class App:
        def initialize(self, shard, sequence):
            try: client.Checkpointer().checkpoint(sequence)
            except client.CheckpointError as error: say("in initialize: %s" % error.value)
        def process_records(self, records, checkpointer): process(records, checkpointer)
        def shard_ended(self, checkpointer): checkpointer.checkpoint()
        def shutdown_requested(self, checkpointer): pass
    client.serve(App())
"#;

fn start(endpoints: &Endpoints, python: &Path, worker: &str, client: &str, more: &[&str]) -> Member {
    std::fs::write(endpoints.home().join("app.py"), APPLICATION).unwrap();
    let options = [&["--handler", "multilang"], more].concat();
    run(endpoints, python, worker, &options, &["-u", "app.py"], &[("CLIENT", client)])
}

async fn hears(member: &mut Member, said: &str) {
    member.until(said, |member| member.stderr().contains(said)).await;
}

/// The table throttles, denies, fails and is slow, each until the child has heard of it; then the same checkpoint is stored.
async fn what_the_table_says(client: &str, python: &Path) {
    let faults = Faults::new(1);
    let (database, address) = (Database::memory().unwrap(), (Ipv4Addr::LOCALHOST, 0).into());
    let kinesis = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let dynamo = LocalDynamo::with_faults(database, address, faults.clone()).await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let local = Local { kinesis, dynamo, endpoints };
    super::kcl::write(&local);
    // Long enough that heartbeats which fail as long as the child needs to hear of it are no end of the worker.
    let mut member = start(&local, python, "w", client, &["--failover", "60s"]);
    hears(&mut member, "started at").await;
    if client == "own" {
        hears(&mut member, "in initialize: InvalidStateException").await;
    }
    let error = |code: &str, status| Fault::Error {
        code: ErrorCode::Unknown(code.to_owned()),
        message: "as the test wants it".to_owned(),
        status: Some(status),
    };
    for (data, fault, class) in [
        ("throttled", Fault::Throttle, "ThrottlingException"),
        ("denied", error("AccessDeniedException", 400), "InvalidStateException"),
        ("missing", error("ResourceNotFoundException", 400), "InvalidStateException"),
        ("failing", error("InternalServerError", 500), "KinesisClientLibDependencyException"),
        ("gone", Fault::DropBefore, "KinesisClientLibDependencyException"),
    ] {
        faults.add(FaultRule::on("UpdateItem", fault));
        local.put_hashed("orders", [(0, data.to_owned())]).await;
        hears(&mut member, &format!("{data}: {class}")).await;
        faults.clear();
        hears(&mut member, &format!("{data}: stored")).await;
        let said = member.stderr();
        let said: Vec<_> = said.lines().filter(|line| line.contains(&format!("] {data}: "))).collect();
        assert!(said.iter().all(|line| line.contains(class) || line.ends_with("stored")), "{said:#?}");
    }
    local.put_hashed("orders", [(0, "behind".to_owned())]).await;
    hears(&mut member, "1: IllegalArgumentException").await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m2_what_the_table_says_comes_by_the_names_of_java_classes() {
    let Some(python) = python("json") else { return };
    what_the_table_says("own", &python).await;
}

#[tokio::test]
async fn m2_applications_of_amazon_kclpy_hear_the_names_of_java_classes() {
    let Some(python) = python("amazon_kclpy") else { return };
    what_the_table_says("amazon_kclpy", &python).await;
}

/// The daemon stands still, another worker takes the shard, and the child asks for a checkpoint that is no longer its own.
#[tokio::test]
async fn m2_the_child_of_a_worker_that_was_fenced_hears_of_a_shutdown() {
    for client in ["own", "amazon_kclpy"] {
        let Some(python) = python(if client == "own" { "json" } else { client }) else { continue };
        let local = Local::start(1).await;
        super::kcl::write(&local);
        let mut frozen = start(&local, &python, "frozen", client, &QUICK);
        local.put_hashed("orders", [(0, "wait".to_owned())]).await;
        hears(&mut frozen, "got wait").await;
        frozen.signal(Signal::STOP);
        let mut other = start(&local, &python, "other", client, &QUICK);
        // The record comes again: nothing of it was stored.
        hears(&mut other, "got wait").await;
        std::fs::write(local.home().join("go"), "").unwrap();
        hears(&mut other, "wait: stored").await;
        frozen.signal(Signal::CONT);
        hears(&mut frozen, "wait: ShutdownException").await;
        if client != "own" {
            hears(&mut frozen, "told that the lease is lost").await;
        }
        for member in [&mut other, &mut frozen] {
            assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        }
        assert!(!frozen.stderr().contains("wait: stored"), "{}", frozen.stderr());
        until_none_runs(&local).await;
    }
}
