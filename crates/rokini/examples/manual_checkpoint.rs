//! Collects records and checkpoints when a bundle of three is complete; what is left over is flushed and
//! checkpointed when the shard leaves. Runs against endpoints in its own process:
//! `cargo run --example manual_checkpoint`
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rokini::lease::DynamoStore;
use rokini::{Batch, Consumer, HandlerError, Record, RecordProcessor, ShardContext};
use tokio::sync::Notify;

#[path = "support/endpoints.rs"]
mod endpoints;

const BUNDLE: usize = 3;

struct Bundles {
    open: Vec<Record>,
    seen: Arc<Notify>,
}

impl Bundles {
    /// Writes the bundle somewhere, then says so: in this order a crash repeats records and never loses one.
    async fn flush(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        let Some(last) = self.open.last() else { return Ok(()) };
        let texts: Vec<_> = self.open.iter().map(|record| String::from_utf8_lossy(record.data())).collect();
        println!("flushed {}", texts.join(" "));
        shard.checkpoint_at(last).await?;
        self.open.clear();
        Ok(())
    }
}

impl RecordProcessor for Bundles {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        let shard = batch.shard().clone();
        for record in batch {
            // After a failure records come again that are in the open bundle already.
            if self.open.last().is_some_and(|last| last.position() >= record.position()) {
                continue;
            }
            self.open.push(record);
            if self.open.len() == BUNDLE {
                self.flush(&shard).await?;
            }
        }
        self.seen.notify_one();
        Ok(())
    }

    async fn shutdown_requested(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.flush(shard).await
    }

    async fn shard_ended(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        self.flush(shard).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = endpoints::Endpoints::start(1).await?;
    local.put(&["a", "b", "c", "d", "e", "f", "g"]).await?;

    let seen = Arc::new(Notify::new());
    let told = Arc::clone(&seen);
    let consumer = Consumer::builder()
        .group("bundles")
        .stream("orders")
        .aws(&local.kinesis().await?)
        .store(DynamoStore::new(&local.dynamo().await?, "rokini").create_table(true))
        .auto_checkpoint(false)
        .processor(move |_| Bundles { open: Vec::new(), seen: Arc::clone(&told) })
        .build()
        .await?;

    let handle = consumer.handle();
    let stop = async {
        seen.notified().await;
        let stored = handle.status().shards.first().map(|shard| shard.stored.to_string());
        let sequence = stored.as_deref().and_then(|text| text.strip_prefix("AFTER:")).is_some();
        println!("stored a sequence number while it ran: {sequence}");
        handle.shutdown(Duration::from_secs(10)).await
    };
    let (report, _) = tokio::join!(consumer.run(), stop);
    let report = report?;
    println!("everything stored: {}", report.shards.iter().all(|shard| shard.done == shard.stored));
    Ok(())
}
