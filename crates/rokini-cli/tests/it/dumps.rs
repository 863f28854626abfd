//! `dump`, `restore` and `put --replay`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule};
use serde_json::Value;

use crate::put_tail::{merge, numbers, split};
use crate::support::{Local, put_data};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Key and data of each record, by the shard it is in.
async fn records(local: &Local, stream: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let text = local.run(&["tail", stream, "--from", "trim_horizon", "--no-follow", "--json"]).await.done();
    let mut records = BTreeMap::<_, Vec<_>>::new();
    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    for line in lines(&text) {
        let record = (field(&line, "key"), field(&line, "data") + &field(&line, "data_base64"));
        records.entry(field(&line, "shard")).or_default().push(record);
    }
    records
}

#[tokio::test]
async fn what_is_dumped_is_restored_to_the_byte() {
    let local = Local::start(4).await;
    // By explicit hash keys, so that the keys alone would lead elsewhere.
    local.put_evenly("orders", (0..200).map(|n| format!("record {n}"))).await;
    put_data(&local, "orders", [vec![0, 255, 10, 13], Vec::new()]).await;
    let dump = local.run(&["dump", "orders", "--out", "orders.jsonl.gz", "--json"]).await;
    let summary: Value = serde_json::from_str(&dump.done()).unwrap();
    assert_eq!((&summary["records"], &summary["shards"]), (&202.into(), &4.into()), "{summary}");
    assert!(std::fs::read(local.home().join("orders.jsonl.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
    assert!(!local.home().join("orders.jsonl.gz.part").exists());

    local.run(&["stream", "create", "copy", "--shards", "4"]).await.done();
    // The stream refuses some at first.
    let fault = Fault::FailRecords { records: vec![0, 3], code: ErrorCode::ProvisionedThroughputExceeded };
    local.kinesis.faults().add(FaultRule::on("PutRecords", fault).times(3));
    let restored = local.run(&["restore", "copy", "orders.jsonl.gz", "--json"]).await;
    let restored: Value = serde_json::from_str(&restored.done()).unwrap();
    assert_eq!((&restored["records"], &restored["bytes"]), (&202.into(), &summary["bytes"]), "{restored}");
    assert!(restored["retried"].as_u64().unwrap() > 0, "{restored}");
    let (original, mut copy) = (records(&local, "orders").await, records(&local, "copy").await);
    for (shard, mut records) in original {
        let mut copied = copy.remove(&shard).unwrap();
        // Different keys of a shard may change places where records are refused.
        records.sort();
        copied.sort();
        assert_eq!(records, copied, "{shard}");
    }
    assert!(copy.is_empty());
}

#[tokio::test]
async fn a_dump_has_the_order_of_keys_through_reshards() {
    let local = Local::start(1).await;
    let put = async |range| local.run_with_input(&["put", "orders", "-k", "k"], &numbers(range)).await.done();
    put(1..=50).await;
    split(&local.kinesis, "shardId-000000000000");
    put(51..=100).await;
    merge(&local.kinesis, "shardId-000000000001", "shardId-000000000002");
    put(101..=150).await;
    let dumped = lines(&local.run(&["dump", "orders"]).await.done());
    let shards: std::collections::BTreeSet<&str> =
        dumped.iter().map(|line| line["shard"].as_str().unwrap()).collect();
    assert_eq!((dumped.len(), shards.len()), (150, 3));
    assert!(dumped.windows(2).all(|two| two[0]["time"].as_str() <= two[1]["time"].as_str()));
    assert!(dumped.iter().all(|line| line["hash_key"].is_null() && line["sequence"].is_string()));

    local.run(&["stream", "create", "copy", "--shards", "3"]).await.done();
    local.run(&["dump", "orders", "--out", "dump.jsonl"]).await.done();
    local.run(&["restore", "copy", "dump.jsonl"]).await.done();
    let copied = local.run(&["tail", "copy", "--from", "trim_horizon", "--no-follow"]).await.done();
    assert_eq!(copied, numbers(1..=150));
}

#[tokio::test]
async fn a_replay_keeps_the_time_between_records() {
    let local = Local::start(1).await;
    let record = |millis: u32, data: &str| {
        format!(
            "{{\"time\":\"2026-01-31T12:00:0{}.{:03}Z\",\"shard\":\"s\",\"sequence\":\"1\",\"key\":\"k\",\"data\":\"{data}\"}}\n",
            millis / 1000,
            millis % 1000
        )
    };
    let dump = [record(0, "MQ=="), record(1_000, "Mg=="), record(4_000, "Mw==")].concat();
    std::fs::write(local.home().join("dump.jsonl"), dump).unwrap();
    let begun = Instant::now();
    local.run(&["put", "orders", "--replay", "dump.jsonl", "--speed", "2"]).await.done();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let there = lines(
        &local.run(&["tail", "orders", "--from", "trim_horizon", "--no-follow", "--json"]).await.done(),
    );
    assert_eq!(there.iter().map(|line| line["data"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "2", "3"]);
    let millis = |line: &Value| {
        let at: rokini::StartPosition = line["arrival"].as_str().unwrap().parse().unwrap();
        match at {
            rokini::StartPosition::AtTimestamp(millis) => millis,
            other => panic!("{other}"),
        }
    };
    // Records are gathered for 50 ms, and the machine may be busy: not sooner, though, than they are due.
    assert!(millis(&there[2]) - millis(&there[0]) >= 1_900, "{there:#?}");
    assert!(millis(&there[1]) - millis(&there[0]) >= 400, "{there:#?}");
}

#[tokio::test]
async fn what_may_have_arrived_is_said() {
    let local = Local::start(1).await;
    let line = "{\"time\":\"2026-01-31T12:00:00.000Z\",\"shard\":\"s\",\"sequence\":\"1\",\"key\":\"k\",\"data\":\"MQ==\"}\n";
    std::fs::write(local.home().join("dump"), line).unwrap();
    let rule = local.kinesis.faults().add(FaultRule::on("PutRecords", Fault::DropAfter));
    let cut = local.run(&["restore", "orders", "dump", "--json", "--log-format", "text"]).await;
    assert_eq!(cut.status, Some(4), "{cut:?}");
    assert!(cut.stderr.contains("put 0 records (0 bytes) into `orders`"), "{}", cut.stderr);
    assert!(cut.stderr.contains("whether 1 record more arrived is not known"), "{}", cut.stderr);
    let summary: Value = serde_json::from_str(&cut.stdout).unwrap();
    assert_eq!((&summary["records"], &summary["unknown"]), (&0.into(), &1.into()), "{summary}");
    assert!(local.kinesis.faults().remove(rule));
    assert!(!records(&local, "orders").await.is_empty(), "it did arrive");

    // What was refused did not.
    let fault = Fault::Error { code: ErrorCode::AccessDenied, message: "no".to_owned(), status: None };
    local.kinesis.faults().add(FaultRule::on("PutRecords", fault));
    let denied = local.run(&["restore", "orders", "dump"]).await;
    denied.refused(3, &["put 0 records"]);
    assert!(!denied.stderr.contains("not known"), "{}", denied.stderr);
}

#[tokio::test]
async fn an_empty_dump_is_an_error_and_a_missing_one_is_named() {
    let local = Local::start(1).await;
    for command in [&["restore", "orders", "-"][..], &["put", "orders", "--replay", "-"]] {
        let empty = local.run_with_input(command, "").await;
        empty.refused(1, &["error: the dump has no record", "next: check that whatever wrote it ended well"]);
    }
    let missing = local.run(&["restore", "orders", "nosuch"]).await;
    missing.refused(1, &["error: cannot read nosuch", "next: check the name"]);
    assert!(!missing.stderr.contains("--decompress"), "{}", missing.stderr);
}

#[tokio::test]
async fn what_is_no_dump_is_named_by_its_line() {
    let local = Local::start(1).await;
    let good = "{\"time\":\"2026-01-31T12:00:00.000Z\",\"shard\":\"s\",\"sequence\":\"1\",\"key\":\"k\",\"data\":\"MQ==\"}\n";
    std::fs::write(local.home().join("dump"), [good, good, "{\"time\":1}\n", good].concat()).unwrap();
    local.run(&["restore", "orders", "dump"]).await.refused(
        2,
        &["put 2 records", "error: line 3 of dump is not a record of a dump", "next: `rokini dump"],
    );
    local
        .run(&["dump", "orders", "--out", "dump"])
        .await
        .refused(2, &["error: dump is there already", "next: "]);
    local.run(&["dump", "orders", "--out", "dump.zst"]).await.refused(2, &["error: ", "next: "]);
    local
        .run(&["dump", "orders", "--out", "no/such/place"])
        .await
        .refused(1, &["error: cannot write", "next: "]);
}
