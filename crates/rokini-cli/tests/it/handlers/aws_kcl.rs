//! Applications of aws-kcl, for Node.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::support::{
    Sent, assert_order, handled, kill_handlers, put, run, running, until_handled, until_none_runs,
};
use crate::support::{Endpoints, Local, Member};

/// An application. What it does besides comes from its environment.
pub(super) const NODE: &str = r#"
const fs = require('fs');
fs.appendFileSync('pids', process.pid + '\n');
const broken = (trick) => process.env.TRICK === trick && fs.existsSync('broken');
const app = {
  initialize(input, done) {
    this.shard = input.shardId;
    if (broken('init')) process.exit(4);
    if (broken('throw')) throw new Error('no database');
    if (!broken('init-hang')) done();
  },
  processRecords(input, done) {
    for (const record of input.records) {
      fs.appendFileSync('handled', this.shard + ' ' + Buffer.from(record.data, 'base64').toString() + '\n');
    }
    const last = input.records[input.records.length - 1].sequenceNumber;
    input.checkpointer.checkpoint(last, (error) => { if (error) console.error('refused ' + error); done(); });
  },
  leaseLost(input, done) { done(); },
  shardEnded(input, done) { console.error('the shard ended'); input.checkpointer.checkpoint(() => done()); },
  shutdownRequested(input, done) {
    input.checkpointer.checkpoint((error) => { console.error('stopped: ' + error); done(); });
  },
};
require('aws-kcl')(app).run();
"#;

/// The Node of this machine; `None`, said aloud, where there is none that has aws-kcl.
pub(super) fn node() -> Option<std::path::PathBuf> {
    let code = "require.resolve('aws-kcl'); console.log(process.execPath)";
    let found = std::process::Command::new("node").args(["-e", code]).output().ok();
    let found = found.filter(|found| found.status.success());
    if found.is_none() {
        crate::skipped("there is no node that has aws-kcl (`NODE_PATH` may say where)");
    }
    found.map(|found| String::from_utf8(found.stdout).unwrap().trim().into())
}

fn start(local: &Endpoints, node: &std::path::Path, trick: &str, more: &[&str]) -> Member {
    std::fs::write(local.home().join("app.js"), NODE).unwrap();
    let path = std::env::var("NODE_PATH").unwrap_or_default();
    let options = [&["--handler", "multilang", "--set", "batch_max_records=20"], more].concat();
    run(local, node, "w", &options, &["app.js"], &[("NODE_PATH", &path), ("TRICK", trick)])
}

/// A child that is killed, one that stands still, a split and a merge.
#[tokio::test]
async fn m2_applications_of_aws_kcl_run_unmodified() {
    let Some(node) = node() else { return };
    let local = Local::start(2).await;
    let (client, mut sent) = (crate::fleet::kinesis(&local), Sent::default());
    let mut member = start(&local, &node, "", &["--set", "handler_timeout=2s"]);
    sent.put(&local, (0..300).map(|n| n.to_string())).await;
    member.until("a child", |member| member.stderr().contains("started at")).await;
    sleep(Duration::from_millis(500)).await;
    kill_handlers(&local);
    sent.put(&local, (300..340).map(|n| n.to_string())).await;
    until_handled(&local, &member, &sent.all()).await;

    for pid in running(&local) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    }
    sent.put(&local, (340..400).map(|n| n.to_string())).await;
    until_handled(&local, &member, &sent.all()).await;
    assert!(member.stderr().contains("did not answer within 2s"), "{}", member.stderr());

    let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((1_u128 << 126).to_string()).send().await.unwrap();
    sent.put(&local, (400..440).map(|n| n.to_string())).await;
    until_handled(&local, &member, &sent.all()).await;
    let merge = client.merge_shards().stream_name("orders").shard_to_merge("shardId-000000000002");
    merge.adjacent_shard_to_merge("shardId-000000000003").send().await.unwrap();
    sent.put(&local, (440..480).map(|n| n.to_string())).await;
    until_handled(&local, &member, &sent.all()).await;

    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    // Of the split one, and of the two that were merged.
    assert_eq!(said.matches("] the shard ended").count(), 3, "{said}");
    assert!(said.contains("stopped: null") || said.contains("stopped: undefined"), "{said}");
    assert!(!said.contains("refused"), "{said}");
    until_none_runs(&local).await;
    assert_order(&local, &sent, "aws-kcl");
}

#[tokio::test]
async fn m4_an_application_of_aws_kcl_that_fails_in_initialize_is_started_again_and_no_record_pays() {
    let Some(node) = node() else { return };
    for (trick, wanted) in [
        ("init", "exit status: 4"),
        ("throw", "exit status: 1"),
        ("init-hang", "did not initialize within 2s"),
    ] {
        let local = Local::start(1).await;
        std::fs::write(local.home().join("broken"), "").unwrap();
        let data: BTreeSet<String> = put(&local, 20).await;
        let mut member = start(&local, &node, trick, &["--start-timeout", "2s"]);
        member.until("two failures", |member| member.stderr().matches("does not start").count() >= 2).await;
        assert!(handled(&local).is_empty());
        std::fs::remove_file(local.home().join("broken")).unwrap();
        until_handled(&local, &member, &data).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        assert!(member.stderr().contains(wanted), "{trick}: {}", member.stderr());
        until_none_runs(&local).await;
    }
}
