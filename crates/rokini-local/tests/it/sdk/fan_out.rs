//! SubscribeToShard.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use rokini_local::wire::Timestamp;
use rokini_local::{LocalKinesis, LocalSettings};

use super::client;

const SHARD: &str = "shardId-000000000000";

struct Rig {
    local: LocalKinesis,
    client: aws_sdk_kinesis::Client,
    consumer: String,
}

async fn rig(local: LocalKinesis) -> Rig {
    let client = client::kinesis(&local);
    let stream = client.describe_stream_summary().stream_name("orders").send().await.unwrap();
    let stream = stream.stream_description_summary.unwrap().stream_arn;
    let request = client.register_stream_consumer().stream_arn(stream).consumer_name("billing");
    let consumer = request.send().await.unwrap().consumer.unwrap();
    assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
    Rig { local, client, consumer: consumer.consumer_arn }
}

impl Rig {
    async fn real() -> Self {
        rig(LocalKinesis::builder().stream("orders", 1).start().await.unwrap()).await
    }

    async fn virtual_time() -> Self {
        let start = Timestamp::from_secs(1_700_000_000);
        rig(LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap()).await
    }

    fn at(kind: ShardIteratorType) -> StartingPosition {
        StartingPosition::builder().r#type(kind).build().unwrap()
    }

    async fn subscribe(&self, position: StartingPosition) -> SubscribeToShardOutput {
        let request = self.client.subscribe_to_shard().consumer_arn(&self.consumer).shard_id(SHARD);
        request.starting_position(position).send().await.unwrap()
    }

    async fn put(&self, data: &str) {
        let request = self.client.put_record().stream_name("orders").partition_key("k").data(Blob::new(data));
        request.send().await.unwrap();
    }
}

type Received = Result<Option<SubscribeToShardEvent>, SubscribeToShardEventStreamError>;

async fn receive(output: &mut SubscribeToShardOutput) -> Received {
    match output.event_stream.recv().await {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
        Ok(Some(other)) => panic!("{other:?}"),
        Ok(None) => Ok(None),
        Err(error) => Err(error.into_service_error()),
    }
}

async fn event(output: &mut SubscribeToShardOutput) -> SubscribeToShardEvent {
    receive(output).await.unwrap().expect("an event")
}

fn data(event: &SubscribeToShardEvent) -> Vec<&str> {
    event.records().iter().map(|record| std::str::from_utf8(record.data.as_ref()).unwrap()).collect()
}

#[tokio::test]
async fn records_are_pushed_as_they_come_well_under_100_ms() {
    let rig = Rig::real().await;
    rig.put("before").await;
    let mut output = rig.subscribe(Rig::at(ShardIteratorType::TrimHorizon)).await;
    assert_eq!(data(&event(&mut output).await), ["before"]);
    let mut took = Vec::new();
    for i in 0..21 {
        let put = Instant::now();
        let name = i.to_string();
        rig.put(&name).await;
        assert_eq!(data(&event(&mut output).await), [name]);
        took.push(put.elapsed());
    }
    // The median: a busy machine may hold up any single one.
    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn a_subscription_lives_for_five_minutes_and_its_continuation_goes_on() {
    let rig = Rig::virtual_time().await;
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let mut output = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
        rig.put("first").await;
        let first = event(&mut output).await;
        assert_eq!(data(&first), ["first"]);
        rig.local.advance(Duration::from_secs(6));
        let idle = event(&mut output).await;
        assert!(idle.records().is_empty() && !idle.continuation_sequence_number().is_empty());
        rig.local.advance(Duration::from_secs(294));
        assert!(receive(&mut output).await.unwrap().is_none(), "ends without an error");

        rig.put("second").await;
        for from in [first, idle] {
            let position = StartingPosition::builder().r#type(kind.clone());
            let position = position.sequence_number(from.continuation_sequence_number()).build().unwrap();
            let mut output = rig.subscribe(position).await;
            assert_eq!(data(&event(&mut output).await), ["second"], "{kind}: nothing twice, nothing lost");
            rig.local.advance(Duration::from_secs(5));
        }
    }
}

#[tokio::test]
async fn one_subscription_for_each_consumer_and_shard() {
    let rig = Rig::virtual_time().await;
    let mut first = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
    rig.local.advance(Duration::from_millis(4999));
    let again = rig.client.subscribe_to_shard().consumer_arn(&rig.consumer).shard_id(SHARD);
    let again = again.starting_position(Rig::at(ShardIteratorType::Latest)).send().await.unwrap_err();
    assert!(again.into_service_error().is_resource_in_use_exception(), "within five seconds");

    rig.local.advance(Duration::from_millis(1));
    let mut second = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
    rig.put("x").await;
    let taken = loop {
        // At five seconds an event without records may have come first.
        match receive(&mut first).await {
            Ok(event) => assert!(event.unwrap().records().is_empty()),
            Err(error) => break error,
        }
    };
    assert!(taken.is_resource_in_use_exception(), "{taken:?}");
    assert_eq!(data(&event(&mut second).await), ["x"]);
}

#[tokio::test]
async fn a_closed_shard_ends_with_its_children_in_the_last_event_only() {
    let settings = |end_of_shard| {
        let mut settings = LocalSettings::default();
        settings.end_of_shard = end_of_shard;
        settings
    };
    use rokini_local::EndOfShard::{AfterLastRecords, WithLastRecords};
    for (variant, expected) in [(WithLastRecords, vec![2]), (AfterLastRecords, vec![2, 0])] {
        let builder = LocalKinesis::builder().settings(settings(variant)).stream("orders", 1);
        let rig = rig(builder.start().await.unwrap()).await;
        rig.put("a").await;
        rig.put("b").await;
        let split = rig.client.split_shard().stream_name("orders").shard_to_split(SHARD);
        split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
        let mut output = rig.subscribe(Rig::at(ShardIteratorType::TrimHorizon)).await;
        let mut sizes = Vec::new();
        while let Some(event) = receive(&mut output).await.unwrap() {
            sizes.push(event.records().len());
            let last = sizes.len() == expected.len();
            assert_eq!(event.continuation_sequence_number().is_empty(), last);
            assert_eq!(event.child_shards().len(), if last { 2 } else { 0 });
        }
        assert_eq!(sizes, expected);
    }
}

#[tokio::test]
async fn a_split_reaches_a_waiting_subscription() {
    let rig = Rig::real().await;
    let mut output = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
    let split = rig.client.split_shard().stream_name("orders").shard_to_split(SHARD);
    split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
    assert_eq!(event(&mut output).await.child_shards().len(), 2);
    assert!(receive(&mut output).await.unwrap().is_none());
}

#[tokio::test]
async fn two_megabytes_a_second_for_each_consumer_and_shard() {
    let rig = Rig::virtual_time().await;
    rig.local.model().with_model(|model, _| model.settings_mut().throughput_limits = false);
    // Half a megabyte each, with the key.
    let entry = |_| {
        let data = Blob::new(vec![0; (1 << 19) - 1]);
        PutRecordsRequestEntry::builder().partition_key("k").data(data).build().unwrap()
    };
    let put = rig.client.put_records().stream_name("orders").set_records(Some((0..12).map(entry).collect()));
    put.send().await.unwrap();
    rig.local.model().with_model(|model, _| model.settings_mut().throughput_limits = true);
    let mut output = rig.subscribe(Rig::at(ShardIteratorType::TrimHorizon)).await;
    assert_eq!(event(&mut output).await.records().len(), 4);
    for _ in 0..2 {
        rig.local.advance(Duration::from_millis(999));
        let early = tokio::time::timeout(Duration::from_millis(20), receive(&mut output)).await;
        assert!(early.is_err(), "held back");
        rig.local.advance(Duration::from_millis(1));
        assert_eq!(event(&mut output).await.records().len(), 4);
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_its_subscription_back() {
    let rig = Rig::real().await;
    rig.local.model().with_model(|model, _| model.settings_mut().throughput_limits = false);
    let entry =
        rokini_local::wire::shapes::record::PutRecordsRequestEntry::new(vec![0; 1 << 19]).partition_key("k");
    let request =
        rokini_local::wire::shapes::record::PutRecordsRequest::new(vec![entry; 16]).stream_name("orders");
    for _ in 0..4 {
        rig.local.model().call(&request).unwrap();
    }
    let mut output = rig.subscribe(Rig::at(ShardIteratorType::TrimHorizon)).await;
    event(&mut output).await;
    let pushed = || rig.local.calls().iter().filter(|call| call.operation == "SubscribeToShardEvent").count();
    let mut before = pushed();
    loop {
        // Buffers fill for a while; then nothing more is taken from the model.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = pushed();
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 12, "32 MB wait, {before} events of 1.5 MB were pushed to a reader that took one");
    let taken = event(&mut output).await;
    assert_eq!(taken.records().len(), 3, "and it goes on");
}

#[tokio::test]
async fn consumers_are_counted_named_and_removed() {
    let rig =
        rig(LocalKinesis::builder().call_limits(false).stream("orders", 1).start().await.unwrap()).await;
    let stream = rig.consumer.split_once("/consumer/").unwrap().0.to_owned();
    let register =
        |name: String| rig.client.register_stream_consumer().stream_arn(&stream).consumer_name(name).send();
    assert!(
        register("billing".into()).await.unwrap_err().into_service_error().is_resource_in_use_exception()
    );
    for i in 1..20 {
        register(format!("c{i}")).await.unwrap();
    }
    let error = register("c20".into()).await.unwrap_err().into_service_error();
    assert!(error.is_limit_exceeded_exception(), "{error:?}");
    let delete =
        rig.client.delete_stream().stream_name("orders").send().await.unwrap_err().into_service_error();
    assert!(delete.is_resource_in_use_exception(), "{:?}", delete.message());

    let mut output = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
    rig.client.deregister_stream_consumer().consumer_arn(&rig.consumer).send().await.unwrap();
    let ended = receive(&mut output).await.unwrap_err();
    assert!(ended.is_resource_not_found_exception(), "{ended:?}");
    let gone = rig.client.describe_stream_consumer().consumer_arn(&rig.consumer).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_subscriptions() {
    let rig = Rig::real().await;
    let mut output = rig.subscribe(Rig::at(ShardIteratorType::Latest)).await;
    rig.local.shutdown().await;
    assert!(receive(&mut output).await.unwrap().is_none(), "ended well, not cut when the patience was over");
}
