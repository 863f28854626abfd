//! `KinesisSource` over sockets against the local Kinesis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use rokini::lease::{Position, SequenceNumber, ShardId};
use rokini::{
    AwsOptions, ConfigKey, ConsumerConfig, ErrorKind, KinesisSource, ReadResponse, ShardReader,
    ShardSelection, StreamSource,
};
use rokini_local::LocalKinesis;
use rokini_local::wire::Timestamp;
use rokini_local::wire::shapes::record::{PutRecordsRequest, PutRecordsRequestEntry};
use rokini_local::wire::shapes::shard::{ListShardsRequest, SplitShardRequest};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

async fn aws(endpoint: &str) -> SdkConfig {
    let aws = AwsOptions::default().region("eu-west-1").endpoint_url(endpoint).load().await.unwrap();
    let keys = Credentials::from_keys("id", "secret", None);
    aws.into_builder().credentials_provider(SharedCredentialsProvider::new(keys)).build()
}

async fn source(endpoint: &str, settings: &[(ConfigKey, &str)]) -> KinesisSource {
    let mut config = ConsumerConfig::default();
    for (key, value) in settings {
        config.set(*key, value).unwrap();
    }
    KinesisSource::new(&aws(endpoint).await, "orders".parse().unwrap(), &config, 1).unwrap()
}

fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

fn put(kinesis: &LocalKinesis, names: impl IntoIterator<Item = String>) -> Vec<SequenceNumber> {
    let entry = |name: String| PutRecordsRequestEntry::new(name.clone()).partition_key(name);
    let request =
        PutRecordsRequest::new(names.into_iter().map(entry).collect::<Vec<_>>()).stream_name("orders");
    let answer = kinesis.model().call(&request).unwrap();
    answer.records.iter().map(|put| put.sequence_number.unwrap().to_string().parse().unwrap()).collect()
}

fn names(fetched: &ReadResponse) -> Vec<String> {
    fetched.records.iter().map(|record| String::from_utf8(record.data().to_vec()).unwrap()).collect()
}

async fn next_names(reader: &mut dyn ShardReader) -> Vec<String> {
    loop {
        let fetched = reader.next().await.unwrap();
        if !fetched.records.is_empty() {
            return names(&fetched);
        }
    }
}

#[tokio::test]
async fn records_come_as_they_were_put() {
    let kinesis = LocalKinesis::builder().region("eu-west-1").stream("orders", 1).start().await.unwrap();
    let source = source(&kinesis.endpoint_url(), &[]).await;
    let description = source.describe().await.unwrap();
    let before = kinesis.model().now().millis() as u64;
    let numbers = put(&kinesis, (0..500).map(|number| format!("record {number}")));
    let after = kinesis.model().now().millis() as u64;
    assert!(description.now_millis <= before && before - description.now_millis < 3_000);

    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let fetched = reader.next().await.unwrap();
    assert_eq!(names(&fetched), (0..500).map(|number| format!("record {number}")).collect::<Vec<_>>());
    for (record, number) in fetched.records.iter().zip(&numbers) {
        assert_eq!(record.sequence_number, *number);
        assert_eq!(record.partition_key().unwrap().as_bytes(), record.data());
        assert!((before..=after).contains(&record.arrival_millis), "{before} {record:?} {after}");
    }
    assert_eq!((fetched.millis_behind_latest, fetched.end), (0, None));
}

#[tokio::test]
async fn c10_iterator_that_expired_is_replaced_after_the_last_record() {
    let start = Timestamp::from_millis(1_700_000_000_000);
    let kinesis = LocalKinesis::builder()
        .region("eu-west-1")
        .virtual_time(start)
        .stream("orders", 1)
        .start()
        .await
        .unwrap();
    let source = source(&kinesis.endpoint_url(), &[]).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    put(&kinesis, ["a".to_owned(), "b".to_owned()]);
    assert_eq!(next_names(&mut *reader).await, ["a", "b"]);
    for name in ["c", "d"] {
        kinesis.advance(Duration::from_secs(301));
        put(&kinesis, [name.to_owned()]);
        assert_eq!(next_names(&mut *reader).await, [name]);
    }
}

#[tokio::test]
async fn a_split_shard_leads_to_its_children() {
    let kinesis = LocalKinesis::builder().region("eu-west-1").stream("orders", 1).start().await.unwrap();
    let source = source(&kinesis.endpoint_url(), &[]).await;
    put(&kinesis, (0..20).map(|number| format!("before {number}")));
    let split =
        SplitShardRequest::new(shard(0).to_string(), (1u128 << 127).to_string()).stream_name("orders");
    kinesis.model().call(&split).unwrap();
    put(&kinesis, (0..20).map(|number| format!("after {number}")));

    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let (mut parent, mut children) = (Vec::new(), Vec::new());
    let end = loop {
        let fetched = reader.next().await.unwrap();
        parent.extend(names(&fetched));
        if let Some(end) = fetched.end {
            break end;
        }
    };
    for child in &end.children {
        assert_eq!(child.parents, [shard(0)]);
        let mut reader = source.open(&child.id, &Position::TrimHorizon).await.unwrap();
        children.extend(reader.next().await.unwrap().records);
    }
    assert_eq!(parent, (0..20).map(|number| format!("before {number}")).collect::<Vec<_>>());
    assert_eq!((end.children.len(), children.len()), (2, 20));
    assert_eq!(source.list_shards(ShardSelection::TrimHorizon).await.unwrap()[0].id, shard(0));
    assert_eq!(source.list_shards(ShardSelection::Latest).await.unwrap().len(), 2);
}

#[tokio::test]
async fn t2_readers_that_share_a_shard_are_throttled_and_lose_nothing() {
    let kinesis = LocalKinesis::builder().region("eu-west-1").stream("orders", 1).start().await.unwrap();
    let all: Vec<_> = (0..30).map(|number| format!("{number}")).collect();
    put(&kinesis, all.clone());
    let source = source(&kinesis.endpoint_url(), &[(ConfigKey::MaxRecords, "3")]).await;
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
        readers.spawn(async move {
            let (mut seen, mut throttled) = (Vec::new(), 0);
            while seen.len() < 30 {
                match reader.next().await {
                    Ok(fetched) => seen.extend(names(&fetched)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
                        throttled += 1;
                    }
                }
            }
            (seen, throttled)
        });
    }
    let mut throttled_in_all = 0;
    for (seen, throttled) in readers.join_all().await {
        assert_eq!(seen, all);
        throttled_in_all += throttled;
    }
    // 30 calls at 5 a second, made by three that each want 5 a second.
    assert!(throttled_in_all > 0, "nobody was throttled: the test shows nothing");
    assert!(throttled_in_all < 60, "{throttled_in_all} refusals for 30 reads");
}

#[tokio::test]
async fn r8_listings_page_over_the_wire_by_tokens_that_go_without_the_name() {
    let kinesis = LocalKinesis::builder().region("eu-west-1").stream("orders", 2_500).start().await.unwrap();
    let shards = source(&kinesis.endpoint_url(), &[]).await.list_shards(ShardSelection::All).await.unwrap();
    let ids: Vec<_> = shards.iter().map(|shard| shard.id.clone()).collect();
    assert_eq!(ids, (0..2_500).map(shard).collect::<Vec<_>>());
    assert_eq!(shards[2_499].hash_range.unwrap().end, u128::MAX);
    let pages: Vec<_> = kinesis.calls().into_iter().filter(|call| call.operation == "ListShards").collect();
    assert_eq!(pages.len(), 3);
    assert!(pages.iter().all(|call| call.error.is_none()), "{pages:?}");
    // Beside the name a token is refused: who sends both gets 1,000 shards at most.
    let named = ListShardsRequest::new().stream_name("orders");
    let next_token = kinesis.model().call(&named).unwrap().next_token.unwrap();
    kinesis.model().call(&named.next_token(next_token)).unwrap_err();
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let started = Instant::now();
    let error = source(&endpoint, &[]).await.describe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().starts_with(&format!("{endpoint} cannot be reached for")), "{error}");
    assert!(error.to_string().contains("`AWS_ENDPOINT_URL_KINESIS`"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// Passes connections on and counts those that the client has open at once.
async fn counting_proxy(to: std::net::SocketAddr, most: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (open, most) = (Arc::clone(&open), Arc::clone(&most));
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.split(), server.split());
                // One that the client has left is not open any more, however long the server takes to see it.
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_readers_share_sixty_four_connections() {
    let kinesis = LocalKinesis::builder().region("eu-west-1").stream("orders", 400).start().await.unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let proxy = counting_proxy(kinesis.address(), Arc::clone(&most)).await;
    let source = source(&format!("http://{proxy}"), &[]).await;
    let mut readers = JoinSet::new();
    for number in 0..400 {
        let mut reader = source.open(&shard(number), &Position::TrimHorizon).await.unwrap();
        readers.spawn(async move {
            for _ in 0..3 {
                reader.next().await.unwrap();
            }
        });
    }
    readers.join_all().await;
    let most = most.load(Ordering::SeqCst);
    assert!((1..=64).contains(&most), "{most} connections");
}
