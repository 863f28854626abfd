//! A consumer as a stream of records, each done once it is acked. Runs against a Kinesis in its own process:
//! `cargo run --example stream`
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::error::Error;

use futures::TryStreamExt;
use rokini::Consumer;
use rokini::lease::MemoryStore;

#[path = "support/endpoints.rs"]
mod endpoints;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = endpoints::Endpoints::start(1).await?;
    local.put(&["ann", "bob", "cat", "dan"]).await?;
    let mut records = Consumer::builder()
        .group("each")
        .stream("orders")
        .aws(&local.kinesis().await?)
        .store(MemoryStore::new())
        .into_stream()
        .await?;

    let mut names = Vec::new();
    // A real program goes on until the stream ends: `while let Some(record) = records.try_next().await?`.
    while names.len() < 4 {
        let Some(record) = records.try_next().await? else { break };
        names.push(String::from_utf8(record.data().to_vec())?);
        // Done. Dropped without this, it comes again.
        record.ack();
    }
    println!("records: {}", names.join(" "));

    let report = records.close().await?;
    println!("everything stored: {}", report.is_clean());
    Ok(())
}
