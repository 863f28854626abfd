//! Prints the first record of each batch. Runs against endpoints in its own process:
//! `cargo run --example print`
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rokini::lease::{DynamoStore, ShardId};
use rokini::{Batch, Consumer, HandlerError, RecordProcessor, ShardContext};
use tokio::sync::Notify;

#[path = "support/endpoints.rs"]
mod endpoints;

/// Prints the first record of each batch, and says when its shard comes and goes.
struct PrintRecordConsumer {
    shard: Option<ShardId>,
    printed: Arc<Notify>,
}

impl RecordProcessor for PrintRecordConsumer {
    async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        println!("Checkpointer initializing");
        self.shard = Some(shard.shard_id().clone());
        Ok(())
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if let Some(record) = batch.records().first() {
            println!("{}", std::str::from_utf8(record.data())?);
            self.printed.notify_one();
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        println!("PrintRecordConsumer Shutdown");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = endpoints::Endpoints::start(1).await?;
    local.put(&["foo"]).await?;

    let printed = Arc::new(Notify::new());
    let told = Arc::clone(&printed);
    let consumer = Consumer::builder()
        .group("print")
        .stream("orders")
        .aws(&local.kinesis().await?)
        .store(DynamoStore::new(&local.dynamo().await?, "rokini").create_table(true))
        .processor(move |_| PrintRecordConsumer { shard: None, printed: Arc::clone(&told) })
        .build()
        .await?;

    // A service would wait for its signal to stop here.
    let handle = consumer.handle();
    let stop = async {
        printed.notified().await;
        handle.shutdown(Duration::from_secs(10)).await
    };
    let (ran, _) = tokio::join!(consumer.run(), stop);
    ran?;
    Ok(())
}
