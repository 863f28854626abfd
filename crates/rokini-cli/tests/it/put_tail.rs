//! `put` and `tail`.

use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{Local, Member};

pub(crate) fn numbers(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

#[tokio::test]
async fn what_was_put_is_tailed() {
    let local = Local::start(3).await;
    let put = local.run(&["put", "orders", "one", "two", "--json"]).await;
    let said: Value = serde_json::from_str(&put.stderr).unwrap();
    assert_eq!(said["info"], "put 2 records (6 bytes) into `orders` in 0.0 s");
    let put: Vec<Value> = put.done().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(put.iter().map(|line| line["bytes"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 3]);

    let tailed = local.run(&["tail", "orders", "--from", "horizon", "--no-follow", "--json"]).await.done();
    let mut tailed: Vec<Value> = tailed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    tailed.sort_by_key(|line| line["data"].as_str().unwrap().to_owned());
    for (line, (put, data)) in tailed.iter().zip(put.iter().zip(["one", "two"])) {
        assert_eq!(line["data"], data);
        for member in ["shard", "sequence", "key"] {
            assert_eq!(line[member], put[member]);
        }
        assert_eq!(line["sub_sequence"], Value::Null);
        assert!(line["arrival"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(tailed.len(), 2);
}

#[tokio::test]
async fn formats() {
    let local = Local::start(1).await;
    local.run_with_input(&["put", "orders", "-k", "k"], "a\tb\r\n\n").await.done();
    for (format, expected) in [("text", "a\tb\\r\n\n"), ("hex", "6109620d\n\n"), ("raw", "a\tb\r")] {
        let tail = ["tail", "orders", "--from", "horizon", "--no-follow", "--format", format];
        assert_eq!(local.run(&tail).await.done(), expected, "{format}");
    }
    let tail = ["tail", "orders", "--from", "horizon", "-n", "1"];
    assert_eq!(local.run(&tail).await.done(), "a\tb\\r\n", "it ends after one");
}

#[tokio::test]
async fn stdin_with_a_key_keeps_its_order_though_records_are_refused() {
    let local = Local::start(2).await;
    for (skip, times) in [(0, 2), (5, 1), (20, 3)] {
        let fault = Fault::FailRecords { records: vec![0], code: ErrorCode::ProvisionedThroughputExceeded };
        local.kinesis.faults().add(FaultRule::on("PutRecords", fault).skip(skip).times(times));
    }
    let input = numbers(1..=60);
    let put = local.run_with_input(&["put", "orders", "--key", "customer"], &input).await;
    assert!(put.stderr.contains("put 60 records"), "{}", put.stderr);
    assert!(put.stderr.contains("refused at first"), "{}", put.stderr);
    put.done();
    let tail = local.run(&["tail", "orders", "--from", "horizon", "--no-follow"]).await;
    assert_eq!(tail.done(), input);
}

#[tokio::test]
async fn only_refused_records_are_put_again() {
    let local = Local::start(4).await;
    let fault = Fault::FailRecords { records: vec![3, 4, 300], code: ErrorCode::InternalFailure };
    local.kinesis.faults().add(FaultRule::on("PutRecords", fault).times(2));
    local.run_with_input(&["put", "orders"], &numbers(1..=1000)).await.done();
    let tailed = local.run(&["tail", "orders", "--from", "-1h", "--no-follow"]).await.done();
    let mut numbers: Vec<u32> = tailed.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>(), "each once");
}

#[tokio::test]
async fn an_interrupt_ends_put_and_says_what_is_put() {
    let local = Local::start(1).await;
    let mut put = local.rokini(&["put", "orders", "--json"]);
    let mut child = put.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\nunfinished").await.unwrap();
    let mut put = Member::of(child);
    put.until("both records", |put| put.lines().len() == 2).await;
    put.signal(Signal::INT);
    assert_eq!(put.ended().await, Some(130), "{}", put.stderr());
    assert!(put.stderr().contains("put 2 records (6 bytes)"), "{}", put.stderr());
    drop(stdin);
}

#[tokio::test]
async fn random_data_have_their_size_and_rate() {
    let local = Local::start(2).await;
    let started = std::time::Instant::now();
    local.run(&["put", "orders", "--random", "30", "--size", "77", "--rate", "20"]).await.done();
    let took = started.elapsed().as_secs_f64();
    assert!((1.4..10.0).contains(&took), "30 at 20 a second take 1.45 s, and it took {took}");
    let tailed = local.run(&["tail", "orders", "--from", "horizon", "--no-follow"]).await.done();
    assert_eq!(tailed.lines().map(str::len).collect::<Vec<_>>(), [77; 30]);
}

#[tokio::test]
async fn tail_goes_on_in_the_children_after_their_parents() {
    let local = Local::start(1).await;
    let kinesis = &local.kinesis;
    let put = async |range| local.run_with_input(&["put", "orders", "-k", "k"], &numbers(range)).await.done();
    let mut live = Member::spawn(local.rokini(&["tail", "orders", "--from", "horizon"]));
    put(1..=20).await;
    split(kinesis, "shardId-000000000000");
    put(21..=40).await;
    live.until("the records of the child", |live| live.lines().len() == 40).await;
    merge(kinesis, "shardId-000000000001", "shardId-000000000002");
    put(41..=60).await;
    live.until("the records of the grandchild", |live| live.lines().len() == 60).await;
    assert_eq!(live.lines().join("\n") + "\n", numbers(1..=60));
    live.signal(Signal::INT);
    assert_eq!(live.ended().await, Some(0), "an interrupt is how one ends it");

    let all = local.run(&["tail", "orders", "--from", "horizon", "--no-follow"]).await.done();
    assert_eq!(all, numbers(1..=60));
    let first = ["tail", "orders", "--from", "horizon", "--shard", "shardId-000000000000"];
    assert_eq!(local.run(&first).await.done(), numbers(1..=20), "one closed shard has an end");
}

pub(crate) fn split(kinesis: &rokini_local::LocalKinesis, shard: &str) {
    let request = rokini_local::wire::shapes::shard::SplitShardRequest::new(
        shard.to_owned(),
        (u128::MAX / 2).to_string(),
    )
    .stream_name("orders");
    kinesis.model().call(&request).unwrap();
}

pub(crate) fn merge(kinesis: &rokini_local::LocalKinesis, shard: &str, adjacent: &str) {
    let request =
        rokini_local::wire::shapes::shard::MergeShardsRequest::new(shard.to_owned(), adjacent.to_owned())
            .stream_name("orders");
    kinesis.model().call(&request).unwrap();
}

#[tokio::test]
async fn latest_is_what_comes_after_it_began() {
    let local = Local::start(2).await;
    local.run(&["put", "orders", "before"]).await.done();
    // The stream's clock tells whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let live = Member::spawn(local.rokini(&["tail", "orders", "-v"]));
    let mut n = 0;
    while live.lines().is_empty() {
        n += 1;
        assert!(n < 200, "nothing came\n{}", live.stderr());
        local.run(&["put", "orders", "after"]).await.done();
    }
    assert!(live.lines().iter().all(|line| line == "after"), "{:?}", live.lines());
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_tail_at_once() {
    let local = Local::start(1).await;
    let mut command = local.rokini(&["tail", "orders"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let status = tokio::time::timeout(crate::support::LONGEST_WAIT, child.wait()).await.expect("it ends");
    assert_eq!(status.unwrap().code(), Some(0));
}
