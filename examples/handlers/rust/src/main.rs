//! A Lambda function for Kinesis in Rust. It runs in Lambda, and here:
//! `rokini run orders --group billing --handler lambda -- target/release/function`

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::streams::{KinesisBatchItemFailure, KinesisEventResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};

async fn handler(event: LambdaEvent<KinesisEvent>) -> Result<KinesisEventResponse, Error> {
    let mut response = KinesisEventResponse::default();
    for record in event.payload.records {
        if let Err(error) = bill(&record.kinesis.data) {
            eprintln!("not billed: {error}");
            // It goes on here: the records before this one are done.
            let mut failure = KinesisBatchItemFailure::default();
            failure.item_identifier = Some(record.kinesis.sequence_number);
            response.batch_item_failures.push(failure);
            break;
        }
    }
    Ok(response)
}

fn bill(data: &[u8]) -> Result<(), std::str::Utf8Error> {
    println!("billed {}", std::str::from_utf8(data)?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handler)).await
}
