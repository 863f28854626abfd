//! A handler that cannot take one record: it is searched for in its batch, tried three times, and put aside in a file,
//! while the rest goes on in order. Runs against a Kinesis in its own process: `cargo run --example failure_policy`
#![allow(clippy::print_stdout, reason = "printing is what the example does")]

use std::error::Error;
use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{Batch, Consumer, DeadLetterFile, Event, EventKind, HandlerError, OnFailure};
use tokio::sync::mpsc;

#[path = "support/endpoints.rs"]
mod endpoints;

/// Parses every record as a number. `done` gets those of batches that went well.
fn handle(batch: &Batch, done: &mpsc::UnboundedSender<u64>) -> Result<(), HandlerError> {
    let mut numbers = Vec::new();
    for record in batch {
        numbers.push(std::str::from_utf8(record.data())?.parse::<u64>()?);
    }
    for number in numbers {
        done.send(number)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = endpoints::Endpoints::start(1).await?;
    let aws = local.kinesis().await?;
    local.put(&["1", "2", "3", "four", "5", "6"]).await?;

    let file = std::env::temp_dir().join(format!("dead-letters-{}.jsonl", std::process::id()));
    let (done, mut handled) = mpsc::unbounded_channel();
    let consumer = Consumer::builder()
        .group("numbers")
        .stream("orders")
        .aws(&aws)
        .store(MemoryStore::new())
        .on_failure(OnFailure::DeadLetter)
        .max_attempts(3)
        .dead_letter_sink(DeadLetterFile::new(&file))
        .for_each_batch(move |batch| {
            let result = handle(&batch, &done);
            async { result }
        })
        .build()
        .await?;
    let handle = consumer.handle();
    let mut events = handle.events();
    let watch = async {
        let mut numbers = Vec::new();
        while numbers.len() < 5 {
            numbers.extend(handled.recv().await);
        }
        println!("handled: {numbers:?}");
        let report = handle.shutdown(Duration::from_secs(10)).await;
        println!("everything stored: {}", report.is_clean());
    };
    let (ran, ()) = tokio::join!(consumer.run(), watch);
    ran?;
    while let Ok(event) = events.try_recv() {
        if let Event { kind: EventKind::DeadLettered { records, failures, .. }, .. } = event {
            println!("put aside: {} record after {failures} tries", records.len());
        }
    }
    let letters = std::fs::read_to_string(&file)?;
    println!(
        "in the file: {} line, with the reason: {}",
        letters.lines().count(),
        letters.contains("invalid digit")
    );
    std::fs::remove_file(file)?;
    Ok(())
}
