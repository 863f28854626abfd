//! Where `put` takes records from, and what it does about those that cannot be put.

use std::io::Write;

use flate2::write::GzEncoder;
use rokini_local::wire::shapes::stream::{CreateStreamRequest, StreamModeDetails};
use rokini_local::wire::{RecordDistributionStrategy, StreamMode};
use serde_json::Value;

use crate::put_tail::numbers;
use crate::support::{Ended, Local};

#[tokio::test]
async fn a_line_that_is_too_large_is_named_and_those_before_it_arrive() {
    let local = Local::start(2).await;
    let mut input = numbers(1..=20);
    // 1 MiB with its key is the limit; the line is far larger, and nobody waits for its end.
    input.push_str(&"x".repeat(3 << 20));
    input.push('\n');
    input.push_str(&numbers(22..=40));
    std::fs::write(local.home().join("lines"), &input).unwrap();
    let put = local.run(&["put", "orders", "--from-file", "lines"]).await;
    put.refused(2, &["put 20 records", "error: line 21 of lines has more than", "next: split it"]);
    let there = local.run(&["tail", "orders", "--from", "trim_horizon", "--no-follow"]).await.done();
    let mut there: Vec<u32> = there.lines().map(|line| line.parse().unwrap()).collect();
    there.sort_unstable();
    assert_eq!(there, (1..=20).collect::<Vec<_>>());
    local.run(&["put", "orders", "small", &"x".repeat(100)]).await.done();

    // A larger record where the stream takes it.
    let request = rokini_local::wire::shapes::stream::UpdateMaxRecordSizeRequest::new(4_096)
        .stream_arn("arn:aws:kinesis:us-east-1:000000000000:stream/orders");
    local.kinesis.model().call(&request).unwrap();
    let put = local.run(&["put", "orders", "--from-file", "lines"]).await;
    assert!(put.stderr.contains("put 40 records"), "{}", put.stderr);
    put.done();
}

#[tokio::test]
async fn lines_come_from_files_packed_or_not_and_keep_their_carriage_returns() {
    let local = Local::start(1).await;
    let text = b"one\r\ntwo\n\nlast";
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    let files = [("plain", text.to_vec()), ("lines.gz", gzip.finish().unwrap()), ("lines.zst", zstd)];
    for (number, (name, data)) in files.into_iter().enumerate() {
        std::fs::write(local.home().join(name), data).unwrap();
        local.run(&["put", "orders", "-k", "k", "--from-file", name]).await.done();
        let there =
            local.run(&["tail", "orders", "--from", "trim_horizon", "--no-follow", "--json"]).await.done();
        let there: Vec<Value> = there.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let data: Vec<&str> =
            there.iter().skip(4 * number).map(|line| line["data"].as_str().unwrap()).collect();
        assert_eq!(data, ["one\r", "two", "", "last"], "{name}");
    }
    local
        .run(&["put", "orders", "--from-file", "nowhere"])
        .await
        .refused(1, &["error: cannot read nowhere", "why: No such file", "next: "]);
    let cut = std::fs::read(local.home().join("lines.gz")).unwrap();
    std::fs::write(local.home().join("cut.gz"), &cut[..cut.len() - 9]).unwrap();
    let put = local.run(&["put", "orders", "--from-file", "cut.gz"]).await;
    assert_eq!(put.status, Some(1), "{put:?}");
    assert!(
        put.stderr.contains("error: cannot read cut.gz") && put.stderr.contains("--decompress none"),
        "{put:?}"
    );
}

#[tokio::test]
async fn records_without_keys_go_to_streams_that_take_them() {
    let local = Local::start(1).await;
    local.run(&["put", "orders", "--keyless", "x"]).await.refused(
        2,
        &[
            "error: stream `orders` takes no records without a partition key",
            "AUTO",
            "next: leave out `--keyless`",
        ],
    );
    let mut request = CreateStreamRequest::new("spread");
    request.stream_mode_details = Some(StreamModeDetails::new(StreamMode::OnDemand));
    request.record_distribution_strategy = Some(RecordDistributionStrategy::Auto);
    local.kinesis.model().call(&request).unwrap();
    let put = local.run_with_input(&["put", "spread", "--keyless", "--json"], &numbers(1..=100)).await;
    let lines = put.done();
    assert_eq!(lines.lines().count(), 100);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["key"].is_null()));
    let there =
        local.run(&["tail", "spread", "--from", "trim_horizon", "--no-follow", "--json"]).await.done();
    assert_eq!(there.lines().count(), 100);
    assert!(there.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["key"].is_null()));

    // Also through a dump, and not into a stream that takes none.
    local.run(&["dump", "spread", "--out", "spread.jsonl"]).await.done();
    local.run(&["restore", "spread", "spread.jsonl"]).await.done();
    let there = local.run(&["tail", "spread", "--from", "trim_horizon", "--no-follow"]).await.done();
    assert_eq!(there.lines().count(), 200);
    local
        .run(&["restore", "orders", "spread.jsonl"])
        .await
        .refused(2, &["error: line 1 of spread.jsonl has no partition key", "next: "]);
}

#[tokio::test]
async fn options_that_contradict_are_refused() {
    let local = Local::start(1).await;
    for arguments in [
        &["put", "orders", "x", "--from-file", "f"][..],
        &["put", "orders", "--keyless", "--key", "k"],
        &["put", "orders", "--replay", "f", "--key", "k"],
        &["put", "orders", "--speed", "2"],
        &["put", "orders", "--replay", "f", "--speed", "0"],
        &["tail", "orders", "--stats", "--quiet"],
    ] {
        let ended: Ended = local.run(arguments).await;
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
    }
}
