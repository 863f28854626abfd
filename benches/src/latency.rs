//! From the put to the handler.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use rokini::lease::DynamoStore;
use rokini::{ConfigKey, Consumer, Record};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::endpoints::{Endpoints, STREAM};
use crate::error::Result;

pub(crate) async fn measure(shards: i32, rate: u32, time: Duration, retrieval: &str) -> Result<Value> {
    let endpoints = Endpoints::start(shards).await?;
    let (kinesis, dynamo) = (endpoints.kinesis().await?, endpoints.dynamo().await?);
    let begun = Instant::now();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let consumer = Consumer::builder()
        .group("bench")
        .stream(STREAM)
        .set(ConfigKey::Retrieval, retrieval)
        .aws(&kinesis)
        .store(DynamoStore::new(&dynamo, "bench").create_table(true))
        .for_each(move |record: Record| {
            let arrived = arrived.clone();
            async move {
                let put = String::from_utf8(record.data().to_vec())?.parse::<u64>()?;
                arrived.send(begun.elapsed().as_micros() as u64 - put)?;
                Ok(())
            }
        })
        .build()
        .await?;
    let handle = consumer.handle();
    let running = tokio::spawn(consumer.run());

    let client = aws_sdk_kinesis::Client::new(&kinesis);
    let put = async |number: u64| {
        let data = Blob::new((begun.elapsed().as_micros() as u64).to_string());
        // Spread over the shards, whatever the hash of the key says.
        let hash = u128::MAX / shards as u128 * (number as u128 % shards as u128) + 1;
        let put = client.put_record().stream_name(STREAM).partition_key("k").data(data);
        put.explicit_hash_key(hash.to_string()).send().await
    };
    put(0).await?;
    let first = arrivals.recv().await.ok_or("the consumer ended")?;

    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let total = u64::from(rate) * time.as_secs();
    for number in 0..total {
        ticks.tick().await;
        put(number).await?;
    }
    let mut taken = Vec::new();
    while taken.len() < total as usize {
        taken.push(arrivals.recv().await.ok_or("the consumer ended")?);
    }
    handle.shutdown(Duration::from_secs(10)).await;
    running.await??;
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    Ok(json!({
        "bench": "latency",
        "retrieval": retrieval,
        "shards": shards,
        "records": taken.len(),
        "first_record_ms": first as f64 / 1000.0,
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
    }))
}
