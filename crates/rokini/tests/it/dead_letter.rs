//! Dead letters are kept as the sinks promise: files across kills, Kinesis and SQS over sockets.

mod file;
mod policy;
mod queue;
mod stream;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use rokini::lease::{
    Epoch, GroupId, Incarnation, LeaseKey, SequenceNumber, ShardId, StreamId, WorkerId, WorkerName,
};
use rokini::{AwsOptions, DeadLetter, DeadLetterEntry, HandlerFailure, Record};

async fn aws(endpoint: &str) -> SdkConfig {
    let aws = AwsOptions::default().region("us-east-1").endpoint_url(endpoint).load().await.unwrap();
    let keys = Credentials::from_keys("id", "secret", None);
    aws.into_builder().credentials_provider(SharedCredentialsProvider::new(keys)).build()
}

fn record(number: u128, key: &str, data: impl Into<Vec<u8>>) -> Record {
    Record::new(SequenceNumber::from(number), key, data.into(), 1_700_000_000_000)
}

fn letter(records: Vec<Record>) -> DeadLetter {
    let lease =
        LeaseKey::new(StreamId::new("orders@17").unwrap(), ShardId::new("shardId-000000000003").unwrap());
    let worker = WorkerId::new(WorkerName::new("w").unwrap(), Incarnation::new(1));
    let failure = HandlerFailure::Panic("no such customer".to_owned());
    DeadLetter::new(GroupId::new("billing").unwrap(), lease, worker, Epoch(3), records, failure)
}

/// The data of a record that came in parts, in whatever order.
fn put_together(mut entries: Vec<DeadLetterEntry>) -> Vec<u8> {
    entries.sort_by_key(|entry| entry.part.map(|part| part.number));
    let numbers: Vec<_> = entries.iter().filter_map(|entry| Some(entry.part?.number)).collect();
    let all: Vec<_> = (1..=entries[0].part.map_or(0, |part| part.of)).collect();
    assert_eq!(numbers, all);
    entries.iter().flat_map(|entry| entry.data().unwrap()).collect()
}
