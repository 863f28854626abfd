//! Two closures: one called with each record, one with each batch. Leases in memory, for a program that needs no
//! durability. Runs against a Kinesis in its own process: `cargo run --example closure`
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::error::Error;
use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{Consumer, Record};
use tokio::sync::mpsc;

#[path = "support/endpoints.rs"]
mod endpoints;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = endpoints::Endpoints::start(2).await?;
    let aws = local.kinesis().await?;
    local.put(&["ann", "bob", "cat", "dan"]).await?;

    let (names, mut arrived) = mpsc::unbounded_channel();
    let each = Consumer::builder()
        .group("each")
        .stream("orders")
        .aws(&aws)
        .store(MemoryStore::new())
        .for_each(move |record: Record| {
            let names = names.clone();
            async move {
                names.send(String::from_utf8(record.data().to_vec())?)?;
                Ok(())
            }
        })
        .build()
        .await?;
    let handle = each.handle();
    let collect = async {
        let mut all = Vec::new();
        while all.len() < 4 {
            all.extend(arrived.recv().await);
        }
        handle.shutdown(Duration::from_secs(10)).await;
        all.sort();
        println!("records: {}", all.join(" "));
    };
    let (ran, ()) = tokio::join!(each.run(), collect);
    ran?;

    let (counts, mut counted) = mpsc::unbounded_channel();
    let batches = Consumer::builder()
        .group("batches")
        .stream("orders")
        .aws(&aws)
        .store(MemoryStore::new())
        .for_each_batch(move |batch| {
            let counts = counts.clone();
            async move {
                counts.send((batch.shard().shard_id().clone(), batch.len()))?;
                Ok(())
            }
        })
        .build()
        .await?;
    let handle = batches.handle();
    let count = async {
        let mut total = 0;
        while total < 4 {
            total += counted.recv().await.map_or(0, |(_, records)| records);
        }
        let report = handle.shutdown(Duration::from_secs(10)).await;
        println!("batches: {total} records from {} shards", report.shards.len());
    };
    let (ran, ()) = tokio::join!(batches.run(), count);
    ran?;
    Ok(())
}
