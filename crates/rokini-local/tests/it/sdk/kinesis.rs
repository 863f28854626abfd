//! Streams, records and time.

use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use rokini_local::LocalKinesis;
use rokini_local::wire::Timestamp;

use super::client::{self, iterator};

/// Reads until the shard says it has ended or gives nothing more.
async fn drain(client: &aws_sdk_kinesis::Client, shard: &str) -> (Vec<String>, GetRecordsOutput) {
    let mut next = iterator(client, shard).await;
    let mut data = Vec::new();
    loop {
        let answer = client.get_records().shard_iterator(&next).limit(3).send().await.unwrap();
        data.extend(answer.records().iter().map(|r| String::from_utf8(r.data.clone().into_inner()).unwrap()));
        match answer.next_shard_iterator() {
            Some(more) if !answer.records().is_empty() => next = more.to_owned(),
            _ => return (data, answer),
        }
    }
}

async fn put(client: &aws_sdk_kinesis::Client, names: impl Iterator<Item = String>) {
    let entry = |name: String| {
        PutRecordsRequestEntry::builder().partition_key(&name).data(Blob::new(name)).build().unwrap()
    };
    let request = client.put_records().stream_name("orders").set_records(Some(names.map(entry).collect()));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.failed_record_count, Some(0));
}

#[tokio::test]
async fn a_stream_is_created_written_resharded_and_read_to_its_end() {
    let local = LocalKinesis::builder().throughput_limits(false).start().await.unwrap();
    let client = client::kinesis(&local);
    client.create_stream().stream_name("orders").shard_count(1).send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name("orders").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!((summary.stream_status, summary.open_shard_count), (StreamStatus::Active, 1));
    assert_eq!(summary.stream_arn, "arn:aws:kinesis:us-east-1:000000000000:stream/orders");

    put(&client, (0..10).map(|i| format!("before-{i}"))).await;
    let half = (u128::MAX / 2 + 1).to_string();
    let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key(half).send().await.unwrap();
    put(&client, (0..10).map(|i| format!("between-{i}"))).await;
    let merge = client.merge_shards().stream_name("orders").shard_to_merge("shardId-000000000001");
    merge.adjacent_shard_to_merge("shardId-000000000002").send().await.unwrap();
    put(&client, (0..10).map(|i| format!("after-{i}"))).await;

    let (first, end) = drain(&client, "shardId-000000000000").await;
    assert_eq!(first, (0..10).map(|i| format!("before-{i}")).collect::<Vec<_>>(), "in the order of the puts");
    assert_eq!(end.next_shard_iterator(), None);
    assert_eq!(end.millis_behind_latest, Some(0));
    let children: Vec<_> = end.child_shards().iter().map(|c| (c.shard_id(), c.parent_shards())).collect();
    let parent = &["shardId-000000000000".to_owned()][..];
    assert_eq!(children, [("shardId-000000000001", parent), ("shardId-000000000002", parent)]);

    let (lower, end) = drain(&client, "shardId-000000000001").await;
    let both = ["shardId-000000000001".to_owned(), "shardId-000000000002".to_owned()];
    let children: Vec<_> = end.child_shards().iter().map(|c| (c.shard_id(), c.parent_shards())).collect();
    assert_eq!(children, [("shardId-000000000003", &both[..])]);
    let (upper, _) = drain(&client, "shardId-000000000002").await;
    assert_eq!(lower.len() + upper.len(), 10);
    assert!(!lower.is_empty() && !upper.is_empty(), "ten keys spread over both halves");

    let (last, end) = drain(&client, "shardId-000000000003").await;
    assert_eq!(last, (0..10).map(|i| format!("after-{i}")).collect::<Vec<_>>());
    assert!(end.next_shard_iterator().is_some(), "an open shard never ends");
    assert!(end.child_shards().is_empty());

    client.delete_stream().stream_name("orders").send().await.unwrap();
    assert!(client.list_streams().send().await.unwrap().stream_names().is_empty());
    local.shutdown().await;
}

#[tokio::test]
async fn errors_reach_the_sdk_as_their_types() {
    // Time stands: the sixth read comes within the second of the first.
    let start = Timestamp::from_secs(1_700_000_000);
    let local = LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap();
    let client = client::kinesis(&local);
    let missing =
        client.describe_stream_summary().stream_name("nope").send().await.unwrap_err().into_service_error();
    assert!(missing.is_resource_not_found_exception());
    assert_eq!(missing.message(), Some("Stream nope under account 000000000000 not found."));

    let at = iterator(&client, "shardId-000000000000").await;
    for _ in 0..5 {
        client.get_records().shard_iterator(&at).send().await.unwrap();
    }
    let error = client.get_records().shard_iterator(&at).send().await.unwrap_err().into_service_error();
    assert!(matches!(error, GetRecordsError::ProvisionedThroughputExceededException(_)), "{error:?}");
    assert_eq!(
        error.message(),
        Some("Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000.")
    );
    local.advance(Duration::from_secs(301));
    let error = client.get_records().shard_iterator(&at).send().await.unwrap_err().into_service_error();
    assert!(matches!(error, GetRecordsError::ExpiredIteratorException(_)), "{error:?}");
    let error = client.get_records().shard_iterator("garbage").send().await.unwrap_err().into_service_error();
    assert!(matches!(error, GetRecordsError::InvalidArgumentException(_)), "{error:?}");
}

#[tokio::test]
async fn time_is_virtual_where_wanted() {
    let start = Timestamp::from_secs(1_700_000_000);
    let local = LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap();
    let client = client::kinesis(&local);
    put(&client, ["old".to_owned()].into_iter()).await;
    local.advance(Duration::from_secs(23 * 3600));
    put(&client, ["new".to_owned()].into_iter()).await;
    let (both, _) = drain(&client, "shardId-000000000000").await;
    assert_eq!(both, ["old", "new"]);
    local.advance(Duration::from_secs(3600 + 1));
    let (kept, _) = drain(&client, "shardId-000000000000").await;
    assert_eq!(kept, ["new"], "records live for 24 hours");
    let answer = client.get_records().shard_iterator(iterator(&client, "0").await).send().await.unwrap();
    assert_eq!(answer.records()[0].approximate_arrival_timestamp.unwrap().to_millis().unwrap(), {
        start.plus(Duration::from_secs(23 * 3600)).millis()
    });
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_admitted() {
    let local = LocalKinesis::builder().throughput_limits(false).stream("orders", 1).start().await.unwrap();
    let client = client::kinesis(&local);
    let entry = |i: usize| {
        let data = Blob::new(vec![0u8; (1 << 20) - 10]);
        PutRecordsRequestEntry::builder().partition_key(format!("key-{i:05}")).data(data).build().unwrap()
    };
    let request = client.put_records().stream_name("orders").set_records(Some((0..10).map(entry).collect()));
    assert_eq!(request.send().await.unwrap().failed_record_count, Some(0));
    let answer = client.get_records().shard_iterator(iterator(&client, "0").await).send().await.unwrap();
    assert_eq!(answer.records().len(), 10, "10 MB come back in one answer");
}

#[tokio::test]
async fn a_dropped_endpoint_refuses_connections() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let address = local.address();
    let metrics = tokio::runtime::Handle::current().metrics();
    let client = client::kinesis(&local);
    client.list_streams().send().await.unwrap();
    assert!(metrics.num_alive_tasks() > 0);
    drop(local);
    drop(client);
    while metrics.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
