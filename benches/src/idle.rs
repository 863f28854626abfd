//! What a consumer costs while nothing happens.

use std::fs::read_to_string;
use std::time::Duration;

use rokini::Consumer;
use rokini::lease::{CountingStore, DynamoStore};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::endpoints::{Endpoints, STREAM};
use crate::error::Result;

/// Ticks of the CPU accounting in `/proc`: 100 a second on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) async fn measure(shards: i32, time: Duration) -> Result<Value> {
    let endpoints = Endpoints::start(shards).await?;
    let (kinesis, dynamo) = (endpoints.kinesis().await?, endpoints.dynamo().await?);
    let store = CountingStore::new(DynamoStore::new(&dynamo, "bench").create_table(true));
    let consumer = Consumer::builder()
        .group("bench")
        .stream(STREAM)
        .aws(&kinesis)
        .store(store.clone())
        .for_each(|_| async { Ok(()) })
        .build()
        .await?;
    let handle = consumer.handle();
    let running = tokio::spawn(consumer.run());
    while handle.status().shards.len() < shards as usize {
        sleep(Duration::from_millis(20)).await;
    }
    // The start has its own costs.
    sleep(Duration::from_secs(5)).await;
    let (before, cpu_before) = (store.snapshot(), cpu_seconds()?);
    sleep(time).await;
    let (after, cpu) = (store.snapshot(), cpu_seconds()? - cpu_before);
    let (memory, threads) = (status("VmRSS:")? as f64 / 1024.0, status("Threads:")?);
    handle.shutdown(Duration::from_secs(10)).await;
    running.await??;
    Ok(json!({
        "bench": "idle",
        "shards": shards,
        "seconds": time.as_secs(),
        "rss_mib": memory,
        "threads": threads,
        "cpu_percent_of_a_core": cpu / time.as_secs_f64() * 100.0,
        "store_writes": after.write_calls() - before.write_calls(),
        "store_write_units": after.write_units() - before.write_units(),
        "store_reads": after.read_calls() - before.read_calls(),
        "store_read_units": after.read_units() - before.read_units(),
    }))
}

/// A number of `/proc/self/status`; sizes are in KiB.
fn status(field: &str) -> Result<u64> {
    let text = read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().next().ok_or("an empty field")?.parse()?)
}

fn cpu_seconds() -> Result<f64> {
    let stat = read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no command in /proc/self/stat")?;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
