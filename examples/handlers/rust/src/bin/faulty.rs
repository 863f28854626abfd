//! A Lambda function for the tests: it fails in the ways that functions fail. `TRICK` says how; records with the data `poison` are where.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::streams::{KinesisBatchItemFailure, KinesisEventResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};

fn trick() -> String {
    std::env::var("TRICK").unwrap_or_default()
}

fn note(file: &str, line: &str) -> std::io::Result<()> {
    writeln!(OpenOptions::new().create(true).append(true).open(file)?, "{line}")
}

async fn handler(event: LambdaEvent<KinesisEvent>) -> Result<KinesisEventResponse, Error> {
    let mut response = KinesisEventResponse::default();
    for record in event.payload.records {
        let data = String::from_utf8_lossy(&record.kinesis.data).into_owned();
        if data == "poison" {
            match trick().as_str() {
                "partial" => {
                    let mut failure = KinesisBatchItemFailure::default();
                    failure.item_identifier = Some(record.kinesis.sequence_number);
                    response.batch_item_failures.push(failure);
                    return Ok(response);
                }
                "raise" => return Err("poison".into()),
                "panic" => panic!("poison"),
                "exit" => std::process::exit(7),
                "hang" => std::thread::sleep(Duration::from_secs(1_000)),
                _ => {}
            }
        }
        let id = record.event_id.unwrap_or_default();
        let shard = id.split(':').next().unwrap_or_default();
        note("handled", &format!("{shard} {data}"))?;
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    note("pids", &std::process::id().to_string())?;
    if std::path::Path::new("broken").exists() {
        match trick().as_str() {
            "init" => return Err("no such module".into()),
            "slow-init" => std::thread::sleep(Duration::from_secs(1_000)),
            _ => {}
        }
    }
    lambda_runtime::run(service_fn(handler)).await
}
