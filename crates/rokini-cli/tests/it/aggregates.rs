//! Aggregates of the Kinesis Producer Library on the command line.

use std::collections::BTreeSet;

use rokini_local::wire::shapes::shard::SplitShardRequest;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{Local, Member};

fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The sequence number and the sub-sequence number of a line.
fn numbers(line: &Value) -> (String, Option<u64>) {
    (line["sequence"].as_str().unwrap().to_owned(), line["sub_sequence"].as_u64())
}

const FROM_HORIZON: [&str; 5] = ["tail", "orders", "--from", "horizon", "--no-follow"];

#[tokio::test]
async fn a3_what_is_put_in_aggregates_is_tailed_as_user_records() {
    let local = Local::start(2).await;
    let put =
        local.run(&["put", "orders", "--random", "3000", "--size", "40", "--aggregate", "--json"]).await;
    assert!(put.stderr.contains("put 3000 records (120000 bytes)"), "{}", put.stderr);
    let put = json(&put.done());
    let stream_records: BTreeSet<_> = put.iter().map(|line| line["sequence"].as_str().unwrap()).collect();
    assert!(put.len() == 3_000 && stream_records.len() < 100, "{} of {}", stream_records.len(), put.len());

    let tailed = json(&local.run(&[&FROM_HORIZON[..], &["--json"]].concat()).await.done());
    let facts = |lines: &[Value]| -> BTreeSet<_> {
        let fact = |line: &Value| (line["shard"].to_string(), numbers(line), line["key"].to_string());
        lines.iter().map(fact).collect()
    };
    assert_eq!((tailed.len(), facts(&tailed)), (3_000, facts(&put)));
    let packed = json(&local.run(&[&FROM_HORIZON[..], &["--json", "--packed"]].concat()).await.done());
    assert_eq!(packed.len(), stream_records.len());
    assert!(packed.iter().all(|line| line["sub_sequence"].is_null()));
}

#[tokio::test]
async fn a3_records_of_one_key_keep_their_order_in_aggregates() {
    let local = Local::start(2).await;
    let input: String = (1..=5_000).map(|n| format!("record {n:05} {}\n", "x".repeat(60))).collect();
    local.run_with_input(&["put", "orders", "--key", "k", "--aggregate"], &input).await.done();
    assert_eq!(local.run(&FROM_HORIZON).await.done(), input);

    let numbered = local.run(&[&FROM_HORIZON[..], &["--sequence-numbers", "-n", "3"]].concat()).await.done();
    let numbers: Vec<&str> = numbered.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    let sequence = numbers[0].strip_suffix(":0").unwrap();
    assert_eq!(numbers[1..], [format!("{sequence}:1"), format!("{sequence}:2")]);
    let refused = local.run(&[&FROM_HORIZON[..], &["--sequence-numbers", "--json"]].concat()).await;
    refused.refused(2, &["`--sequence-numbers` has no effect with `--format json`"]);

    // From the middle of an aggregate on.
    let shard = json(&local.run(&[&FROM_HORIZON[..], &["--json", "-n", "1"]].concat()).await.done());
    let (shard, after) = (shard[0]["shard"].as_str().unwrap(), format!("after:{sequence}:1"));
    let rest = ["tail", "orders", "--from", &after, "--shard", shard, "--no-follow"];
    assert!(
        local.run(&rest).await.done()
            == input.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>()
    );
}

#[tokio::test]
async fn a4_what_landed_in_a_child_where_it_does_not_belong_is_put_again() {
    let local = Local::start(1).await;
    let mut put = local.rokini(&["put", "orders", "--aggregate", "--json"]);
    let mut child = put.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").await.unwrap();
    let mut put = Member::of(child);
    put.until("the first record", |put| put.lines().len() == 1).await;
    let split = SplitShardRequest::new("shardId-000000000000", (u128::MAX / 2).to_string());
    local.kinesis.model().call(&split.stream_name("orders")).unwrap();
    // In one aggregate by the map of before; their keys hash into both children.
    let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    assert_eq!(put.ended().await, Some(0), "{}", put.stderr());
    let accepted = json(&put.lines().join("\n"));
    assert_eq!(accepted.len(), 51, "each is told of once");
    let shards: BTreeSet<_> = accepted[1..].iter().map(|line| line["shard"].to_string()).collect();
    assert_eq!(shards.len(), 2, "{shards:?}");
    // What is where it belongs is everything.
    let rule = ["--set", "kpl_hash_range=drop"];
    let mut consumer = local.consume("orders", "g", "w", &rule);
    let wanted: BTreeSet<String> = std::iter::once("first").chain(lines.lines()).map(str::to_owned).collect();
    consumer.until("all", |consumer| consumer.data().into_iter().collect::<BTreeSet<_>>() == wanted).await;
    assert_eq!(consumer.data().len(), 51, "each once");
    consumer.stop().await;
}

#[tokio::test]
async fn a3_sub_sequence_numbers_are_told_and_taken_everywhere() {
    let local = Local::start(1).await;
    let input: String = (0..10).map(|n| format!("r{n}\n")).collect();
    local.run_with_input(&["put", "orders", "--key", "k", "--aggregate"], &input).await.done();
    let mut consumer = local.consume("orders", "g", "w", &[]);
    consumer.until("all", |consumer| consumer.lines().len() == 10).await;
    let lines: Vec<Value> = consumer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    consumer.stop().await;
    let (sequence, _) = numbers(&lines[0]);
    let subs: Vec<_> = lines.iter().map(|line| numbers(line).1).collect();
    assert_eq!(subs, (0..10).map(Some).collect::<Vec<_>>());
    // The whole stream record is done, so nothing waits.
    let position = async || {
        let shown = local.run(&["group", "show", "g", "--json"]).await.done();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let shard = &shown["leases"][0];
        (shard["position"].as_str().unwrap().to_owned(), shard["lag_millis"].clone())
    };
    assert_eq!(position().await, (format!("AFTER:{sequence}"), Value::from(0)));

    let to = format!("after:{sequence}:6");
    local.run(&["group", "seek", "g", "--to", &to, "--yes"]).await.done();
    assert_eq!(position().await.0, format!("AFTER:{sequence}/6"));
    // What is shown is taken too.
    local.run(&["group", "seek", "g", "--to", &format!("AFTER:{sequence}/6"), "--yes"]).await.done();
    let letters = local.home().join("letters.jsonl");
    let poison =
        ["--handler", "lines", "--set", "max_attempts=1", "--set", "on_failure=dead_letter", "--set"];
    let target = format!("dead_letter=file:{}", letters.display());
    let script = r#"while read -r line; do
        token=$(printf '%s' "$line" | sed 's/.*"token":\([0-9]*\).*/\1/')
        case $line in *'"data":"r8"'*) echo "{\"fail\":$token}" ;; *) echo "$token" ;; esac
    done"#;
    let arguments =
        [&["run", "orders", "--group", "g"][..], &poison, &[&target[..], "--", "sh", "-c", script]].concat();
    let mut run = local.rokini(&arguments);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut run = Member::spawn({
        run.env("PATH", path);
        run
    });
    run.until("the letter", |_| std::fs::read_to_string(&letters).is_ok_and(|text| text.ends_with('\n')))
        .await;
    run.stop().await;
    let letter: Value =
        serde_json::from_str(std::fs::read_to_string(&letters).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(
        (&letter["sequence_number"], &letter["sub_sequence_number"]),
        (&Value::from(sequence), &Value::from(8))
    );
}

/// By the rule of the KCL, which leaves out what lies in a shard that is not its key's.
#[tokio::test]
async fn aggregates_are_restored_by_the_shards_there_are() {
    let local = Local::start(1).await;
    let words: String = (0..2_000).map(|n| format!("record {n}\n")).collect();
    local.run_with_input(&["put", "orders", "--aggregate"], &words).await.done();
    let ordered: String = (0..3_000).map(|n| format!("ordered {n:04} {}\n", "x".repeat(60))).collect();
    local.run_with_input(&["put", "orders", "--key", "k", "--aggregate"], &ordered).await.done();
    local.run(&["put", "orders", "--key", "k", "the last"]).await.done();
    local.run(&["dump", "orders", "--out", "dump.jsonl"]).await.done();

    for (command, stream) in [
        (&["restore", "copy", "dump.jsonl"][..], "copy"),
        (&["put", "again", "--replay", "dump.jsonl"], "again"),
    ] {
        local.run(&["stream", "create", stream, "--shards", "3"]).await.done();
        let restored = local.run(command).await;
        assert!(restored.stderr.contains("put 5001 records"), "{}", restored.stderr);
        restored.done();
        let rule = ["--set", "kpl_hash_range=drop"];
        let mut consumer = local.consume(stream, &format!("of-{stream}"), "w", &rule);
        consumer.until("all", |consumer| consumer.lines().len() >= 5_001).await;
        let data = consumer.data();
        let all: BTreeSet<&str> = data.iter().map(String::as_str).collect();
        assert_eq!((data.len(), all.len()), (5_001, 5_001), "each once");
        let of_key: Vec<&str> =
            data.iter().map(String::as_str).filter(|one| !one.starts_with("record")).collect();
        assert!(of_key.iter().take(3_000).copied().eq(ordered.lines()) && of_key[3_000] == "the last");
        consumer.stop().await;
    }
    // Into as many shards as there were, they stay as they are.
    local.run(&["stream", "create", "same"]).await.done();
    local.run(&["restore", "same", "dump.jsonl"]).await.done();
    local.run(&["dump", "same", "--out", "same.jsonl"]).await.done();
    let all_data = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(local.home().join(name)).unwrap();
        let mut data: Vec<_> = json(&text).iter().map(|line| line["data"].to_string()).collect();
        data.sort();
        data
    };
    assert!(all_data("same.jsonl") == all_data("dump.jsonl"));
}
