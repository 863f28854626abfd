//! Figures, not judgements: run by hand, alone, with `--ignored --nocapture`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::record::{PutRecordsRequest, PutRecordsRequestEntry};
use tokio::time::Instant;

use super::client;
use super::data::{KILLED_IN, endpoint_in};

/// A thousand records of a kilobyte in two calls' worth: 500 of them.
fn half_a_megabyte(round: usize) -> PutRecordsRequest {
    let entry = |i: usize| {
        let data: Vec<u8> = (0..1000).map(|at| (at * 31 + i * 7 + round) as u8).collect();
        PutRecordsRequestEntry::new(data).partition_key(format!("key-{i}"))
    };
    let entries: Vec<_> = (0..500).map(entry).collect();
    PutRecordsRequest::new(entries).stream_name("orders")
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize]
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn a_hundred_megabytes_on_disk_and_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalKinesis::builder().stream("orders", 4).throughput_limits(false).data(directory.path());
    let local = local.start().await.unwrap();
    let began = Instant::now();
    for round in 0..200 {
        local.model().call(&half_a_megabyte(round)).unwrap();
    }
    println!("written in {:?}", began.elapsed());
    local.shutdown().await;
    println!("{} bytes of files for 100,000,000 bytes of data", bytes_in(directory.path()));
    let began = Instant::now();
    let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sdk::data::the_process_that_is_killed"])
        .env(KILLED_IN, directory.path())
        .kill_on_drop(true)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    endpoint_in(directory.path()).await;
    println!("answers after {:?}", began.elapsed());
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap())).unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS")) {
        println!("{line}");
    }
    process.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn listing_beside_one_writer() {
    for kept in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut local = LocalKinesis::builder().stream("orders", 4).throughput_limits(false);
        if kept {
            local = local.data(directory.path());
        }
        let local = local.start().await.unwrap();
        let service = local.model().clone();
        let writer = std::thread::spawn(move || {
            let began = std::time::SystemTime::now();
            for round in 0..100 {
                service.call(&half_a_megabyte(round)).unwrap();
            }
            began.elapsed().unwrap()
        });
        let client = client::kinesis(&local);
        let mut times = Vec::new();
        while !writer.is_finished() {
            let began = Instant::now();
            client.list_shards().stream_name("orders").send().await.unwrap();
            times.push(began.elapsed());
        }
        let took = writer.join().unwrap();
        let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
        println!(
            "kept: {kept}; 50 MB written in {took:?}; ListShards {} times, p50 {p50:?}, p99 {p99:?}",
            times.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn puts_beside_idle_subscriptions() {
    let local = LocalKinesis::builder().stream("idle", 20).stream("orders", 1).throughput_limits(false);
    let local = local.start().await.unwrap();
    let client = client::kinesis(&local);
    let puts = async || {
        let began = Instant::now();
        for i in 0..2_000 {
            let put = client.put_record().stream_name("orders").partition_key(i.to_string());
            put.data(Blob::new("x")).send().await.unwrap();
        }
        began.elapsed()
    };
    puts().await;
    let alone = puts().await;
    let stream = client.describe_stream_summary().stream_name("idle").send().await.unwrap();
    let arn = stream.stream_description_summary.unwrap().stream_arn;
    let mut subscriptions = Vec::new();
    for number in 0..20 {
        let consumer = client.register_stream_consumer().stream_arn(&arn).consumer_name(format!("c{number}"));
        let consumer = consumer.send().await.unwrap().consumer.unwrap().consumer_arn;
        for shard in 0..20 {
            let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
            let subscription = client.subscribe_to_shard().consumer_arn(&consumer).starting_position(latest);
            let subscription = subscription.shard_id(format!("shardId-{shard:012}")).send().await.unwrap();
            subscriptions.push(tokio::spawn(async move {
                let mut events = subscription.event_stream;
                while let Ok(Some(_)) = events.recv().await {}
            }));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let beside = puts().await;
    println!("2,000 puts alone {alone:?}, beside {} idle subscriptions {beside:?}", subscriptions.len());
}
