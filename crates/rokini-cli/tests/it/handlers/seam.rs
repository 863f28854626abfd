//! A handler in another process stands behind the same seam as one in Rust: what acts on any consumer acts on it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::support::{handled, python, run, until_handled, until_none_runs};
use crate::support::{LONGEST_WAIT, Local};

/// Enhanced fan-out, aggregates of the KPL, and an operator who has the group begin anew.
async fn acts(kind: &str, program: &[&str]) {
    let Some(python) = python("json") else { return };
    let local = Local::start(1).await;
    match kind {
        "lines" => super::lines::write(&local),
        "lambda" => super::lambda::write(&local),
        _ => super::kcl::write(&local),
    }
    let data: BTreeSet<String> = (0..30).map(|n| format!("{n:06}")).collect();
    let lines: String = data.iter().map(|data| format!("{data}\n")).collect();
    // A function gets aggregates packed, as from Lambda.
    let how: &[&str] = if kind == "lambda" { &["--unordered"] } else { &["--aggregate"] };
    local.run_with_input(&[&["put", "orders", "-k", "k"], how].concat(), &lines).await.done();
    let options = ["--handler", kind, "--set", "retrieval=fan_out"];
    let mut member = run(&local, &python, "w", &options, program, &[("CLIENT", "own")]);
    until_handled(&local, &member, &data).await;
    let sought = local.run(&["group", "seek", "g", "--to", "trim_horizon", "--yes"]).await;
    assert_eq!(sought.status, Some(0), "{sought:?}");
    let begun = Instant::now();
    while handled(&local).values().any(|times| *times < 2) {
        assert!(begun.elapsed() < LONGEST_WAIT, "{kind}: {}", member.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(handled(&local).values().all(|times| *times == 2), "{kind}: {:?}", handled(&local));
    // Right after a subscription there is none to be had, and the shard is polled.
    let calls = local.kinesis.calls();
    let first =
        calls.iter().find(|call| ["GetRecords", "SubscribeToShard"].contains(&call.operation.as_str()));
    assert_eq!(first.map(|call| call.operation.as_str()), Some("SubscribeToShard"), "{kind}");
    let shown = local.run(&["group", "show", "g", "--json"]).await.done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["leases"][0]["position"].as_str().unwrap().starts_with("AFTER:"), "{kind}: {shown}");
    until_none_runs(&local).await;
}

#[tokio::test]
async fn m1_fan_out_aggregates_and_seek_act_on_programs() {
    acts("lines", &["-u", "bill.py"]).await;
}

#[tokio::test]
async fn m3_fan_out_and_seek_act_on_functions() {
    acts("lambda", &["-u", "client.py", "app.handler"]).await;
}

#[tokio::test]
async fn m2_fan_out_aggregates_and_seek_act_on_applications_of_the_kcl() {
    acts("multilang", &["-u", "app.py"]).await;
}
