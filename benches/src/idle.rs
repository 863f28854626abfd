//! What a consumer costs while nothing happens.

use std::time::Duration;

use rokini::Consumer;
use rokini::lease::{CountingStore, DynamoStore};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::endpoints::{Endpoints, STREAM};
use crate::error::Result;
use crate::process::{cpu_nanos, status};

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
    let (before, cpu_before) = (store.snapshot(), cpu_nanos());
    sleep(time).await;
    let (after, cpu) = (store.snapshot(), (cpu_nanos() - cpu_before) as f64 / 1e9);
    let (memory, threads) = (status("VmRSS")? as f64 / 1024.0, status("Threads")?);
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
