//! A disk that is full: what is on it is served, and nothing else is said to be.
//!
//! The process under test is this binary again, which the system lets write only so much into a file.

use std::path::Path;
use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use rokini_local::LocalKinesis;

use super::client;

const DIRECTORY: &str = "ROKINI_TEST_FULL_DISK";
const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const SHARD: &str = "shardId-000000000000";
const RECORD_BYTES: usize = 20 << 10;

/// Runs a test of this file in a process whose files can have so many blocks of 512 bytes, and then fail to grow.
fn run_limited(test: &str, directory: &Path, blocks: u32) -> String {
    let script =
        format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --nocapture --exact sdk::full_disk::{test}");
    let ran = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{test}: {said} {}", String::from_utf8_lossy(&ran.stderr));
    said
}

async fn start(directory: &str) -> (LocalKinesis, aws_sdk_kinesis::Client) {
    let local = LocalKinesis::builder().data(directory).stream("orders", 1).throughput_limits(false);
    let local = local.start().await.unwrap();
    let client = client::kinesis(&local);
    (local, client)
}

async fn put(client: &aws_sdk_kinesis::Client) -> Result<(), Option<String>> {
    let data = Blob::new(vec![7; RECORD_BYTES]);
    let put = client.put_record().stream_name("orders").partition_key("k").data(data).send().await;
    put.map(drop).map_err(|error| error.code().map(str::to_owned))
}

/// How many records a reader is given, or why it is given none.
async fn polled(client: &aws_sdk_kinesis::Client) -> Result<usize, Option<String>> {
    let at = client::iterator(client, SHARD).await;
    let read = client.get_records().shard_iterator(at).send().await;
    read.map(|read| read.records().len()).map_err(|error| error.code().map(str::to_owned))
}

async fn subscribe(client: &aws_sdk_kinesis::Client, consumer: &str) -> SubscribeToShardOutput {
    let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    let subscription = client.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD);
    subscription.starting_position(position).send().await.unwrap()
}

/// How many records the next event of a subscription brings; `None` if the service says that it failed.
async fn pushed(subscription: &mut SubscribeToShardOutput) -> Option<usize> {
    match subscription.event_stream.recv().await.map_err(SdkError::into_service_error) {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Some(event.records.len()),
        Err(SubscribeToShardEventStreamError::InternalFailureException(_)) => None,
        other => panic!("{other:?}"),
    }
}

async fn consumer(client: &aws_sdk_kinesis::Client) -> String {
    let described = client.describe_stream_consumer().stream_arn(STREAM).consumer_name("c").send().await;
    described.unwrap().consumer_description.unwrap().consumer_arn
}

/// Not a test of its own.
#[tokio::test]
async fn a_process_whose_disk_becomes_full() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (local, client) = start(&directory).await;
    let refused = Some("InternalFailure".to_owned());
    let consumer = consumer(&client).await;
    let mut open = subscribe(&client, &consumer).await;
    let mut kept = pushed(&mut open).await.unwrap();
    assert_eq!(kept, 1, "what was there before");
    let why = loop {
        match put(&client).await {
            Ok(()) => kept += pushed(&mut open).await.unwrap(),
            Err(why) => break why,
        }
    };
    assert_eq!(why, refused);
    println!("kept {kept}");
    // The record that is not on disk is in the model: it must reach nobody, however it is asked for.
    assert_eq!(pushed(&mut open).await, None);
    assert_eq!(polled(&client).await, Err(refused.clone()));
    // A consumer subscribes once in five seconds.
    local.advance(Duration::from_secs(6));
    let mut other = subscribe(&client, &consumer).await;
    assert_eq!(pushed(&mut other).await, None);
    assert_eq!(put(&client).await, Err(refused));
    client.describe_stream_summary().stream_name("orders").send().await.unwrap();
}

/// Not a test of its own.
#[tokio::test]
async fn a_process_whose_disk_is_full() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (local, client) = start(&directory).await;
    let refused = Some("InternalFailure".to_owned());
    assert_eq!(put(&client).await, Err(refused.clone()));
    local.advance(Duration::from_secs(60));
    println!("kept {}", polled(&client).await.unwrap());
    let mut subscription = subscribe(&client, &consumer(&client).await).await;
    assert!(pushed(&mut subscription).await > Some(0));
    let create = client.create_stream().stream_name("other").shard_count(1).send().await;
    assert_eq!(create.unwrap_err().code().map(str::to_owned), refused);
    // A stream to begin with that is not there cannot be made.
    local.shutdown().await;
    let other = LocalKinesis::builder().data(&directory).stream("other", 1).start().await;
    assert!(other.unwrap_err().to_string().contains("cannot create the stream `other`"));
}

#[tokio::test]
async fn what_is_on_a_full_disk_is_served_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (local, client) = start(directory.path().to_str().unwrap()).await;
    client.register_stream_consumer().stream_arn(STREAM).consumer_name("c").send().await.unwrap();
    put(&client).await.unwrap();
    local.shutdown().await;

    let said = run_limited("a_process_whose_disk_becomes_full", directory.path(), 200);
    let kept: usize = number_after("kept ", &said);
    assert!((2..10).contains(&kept), "100 KiB hold a few records of 20: {kept}");
    let said = run_limited("a_process_whose_disk_is_full", directory.path(), 0);
    assert_eq!(number_after("kept ", &said), kept, "what was said to be kept, and nothing else");

    let (_local, client) = start(directory.path().to_str().unwrap()).await;
    assert_eq!(polled(&client).await, Ok(kept));
    put(&client).await.unwrap();
    assert_eq!(polled(&client).await, Ok(kept + 1));
    // A directory of which nothing is known is not begun where nothing can be written.
    let empty = tempfile::tempdir().unwrap();
    let said = run_limited("a_process_that_finds_nothing_on_a_full_disk", empty.path(), 0);
    assert!(said.contains("make room on its disk"), "{said}");
}

/// Not a test of its own.
#[tokio::test]
async fn a_process_that_finds_nothing_on_a_full_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    println!("{}", LocalKinesis::builder().data(directory).start().await.unwrap_err());
}

fn number_after(words: &str, said: &str) -> usize {
    let rest = said.split_once(words).unwrap_or_else(|| panic!("no `{words}` in {said}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
