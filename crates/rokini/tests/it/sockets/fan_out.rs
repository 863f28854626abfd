//! Enhanced fan-out over sockets: registration, hand-over, many subscriptions, and handlers that block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rokini::lease::{FanOutConsumer, GroupId, LeaseRow, LeaseStoreExt, MemoryStore, StreamRow};
use rokini::{ErrorKind, EventKind, Retrieval};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::consumer::{
    DescribeStreamConsumerRequest, ListStreamConsumersRequest, RegisterStreamConsumerRequest,
};
use rokini_local::wire::shapes::stream::DescribeStreamSummaryRequest;
use rokini_local::wire::shapes::tags::ListTagsForResourceRequest;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::failing::{Place, assert_once, within};
use super::local::in_time;
use crate::harness::{BuildLogging, Log, Running};

const LIMIT: Duration = Duration::from_secs(30);

fn stream_arn(kinesis: &LocalKinesis) -> String {
    let summary = kinesis.model().call(&DescribeStreamSummaryRequest::new().stream_name("orders")).unwrap();
    summary.stream_description_summary.stream_arn
}

/// The names of the consumers that are registered.
fn consumers(kinesis: &LocalKinesis) -> Vec<String> {
    let listed = kinesis.model().call(&ListStreamConsumersRequest::new(stream_arn(kinesis))).unwrap();
    listed.consumers.unwrap_or_default().into_iter().map(|consumer| consumer.consumer_name).collect()
}

/// The tags of the only consumer.
fn tags(kinesis: &LocalKinesis) -> Vec<(String, Option<String>)> {
    let listed = kinesis.model().call(&ListStreamConsumersRequest::new(stream_arn(kinesis))).unwrap();
    let [consumer] = &listed.consumers.unwrap()[..] else { panic!("not one consumer") };
    let request = ListTagsForResourceRequest::new(&*consumer.consumer_arn);
    let tags = kinesis.model().call(&request).unwrap().tags.unwrap();
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn register(kinesis: &LocalKinesis, name: &str) {
    kinesis.model().call(&RegisterStreamConsumerRequest::new(stream_arn(kinesis), name)).unwrap();
}

fn calls(kinesis: &LocalKinesis, operation: &str) -> usize {
    kinesis.calls().iter().filter(|call| call.operation == operation).count()
}

async fn leases(store: &MemoryStore) -> Vec<LeaseRow> {
    let group = GroupId::new("g").unwrap();
    rokini::lease::LeaseStore::list(store, &group, rokini::lease::Listing::All).await.unwrap().leases
}

async fn row(store: &MemoryStore) -> StreamRow {
    let id = &leases(store).await[0].key.stream;
    store.stream(&GroupId::new("g").unwrap(), id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_a_group_of_several_workers_registers_once_and_says_that_it_is_its_own() {
    let place = Place::new(6, true, Retrieval::FanOut, 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    // At the same time.
    let start =
        |name| place.consumer(store.clone(), name).fan_out_tags([("team".to_owned(), "a b".to_owned())]);
    let (a, b, c) = tokio::join!(
        start("a").build_logging(&log),
        start("b").build_logging(&log),
        start("c").build_logging(&log)
    );
    place.put_everywhere("x");
    within(LIMIT, &log, 6, "the first records").await;
    assert_eq!(consumers(&place.kinesis), ["g"]);
    assert_eq!(tags(&place.kinesis), [("team".to_owned(), Some("a b".to_owned()))]);
    let registered = calls(&place.kinesis, "RegisterStreamConsumer");
    assert!((1..=3).contains(&registered), "{registered}");
    assert_eq!(row(&store).await.consumer, Some(FanOutConsumer { name: "g".to_owned(), owned: true }));
    for worker in [a, b, c] {
        assert!(worker.stop().await.is_clean());
    }
    // And never again.
    let again = start("d").build_logging(&log).await;
    place.put_everywhere("y");
    within(LIMIT, &log, 12, "after a restart").await;
    assert_eq!(calls(&place.kinesis, "RegisterStreamConsumer"), registered);
    assert!(again.stop().await.is_clean());
    assert_once(&log, "fan-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_a_registration_that_was_there_is_used_and_stays_whose_it_is() {
    let place = Place::new(1, false, Retrieval::FanOut, 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    register(&place.kinesis, "theirs");
    let worker = place.consumer(store.clone(), "a").fan_out_consumer("theirs").build_logging(&log).await;
    place.put_everywhere("x");
    within(LIMIT, &log, 1, "a record").await;
    assert_eq!(calls(&place.kinesis, "RegisterStreamConsumer"), 0);
    assert_eq!(row(&store).await.consumer, Some(FanOutConsumer { name: "theirs".to_owned(), owned: false }));
    assert!(worker.stop().await.is_clean());

    let other = place.consumer(store.clone(), "b").fan_out_consumer("other").build_logging(&log).await;
    let error = other.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("is registered as `theirs`"), "{error}");
}

/// A registration is given back by what the leases say of their readers, whether or not records come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_how_a_shard_is_read_is_stored_although_no_record_comes() {
    let place = Place::new(2, false, Retrieval::FanOut, 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    for (number, retrieval) in
        [Retrieval::FanOut, Retrieval::Polling, Retrieval::FanOut].into_iter().enumerate()
    {
        let worker = place.consumer(store.clone(), "a").retrieval(retrieval).build_logging(&log).await;
        if number == 0 {
            place.put_everywhere("x");
            within(LIMIT, &log, 2, "records").await;
        }
        let wanted = Some(retrieval == Retrieval::FanOut);
        in_time("what the leases say", async {
            while leases(&store).await.iter().any(|lease| lease.metadata.fan_out != wanted) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert!(worker.stop().await.is_clean());
    }
    assert_once(&log, "readers of both kinds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_no_more_consumers_is_an_error_that_says_so() {
    let place = Place::new(1, false, Retrieval::FanOut, 1).await;
    for number in 0..20 {
        register(&place.kinesis, &format!("c{number}"));
    }
    let worker = place.consumer(MemoryStore::new(), "a").build_logging(&Log::default()).await;
    let error = in_time("the refusal", worker.run).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("has 20 or more consumers"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_somebody_deregistered_is_registered_again() {
    let place = Place::new(2, true, Retrieval::FanOut, 1).await;
    let log = Log::default();
    let worker = place.consumer(MemoryStore::new(), "a").build_logging(&log).await;
    place.put_everywhere("x");
    within(LIMIT, &log, 2, "records").await;
    let mut events = worker.handle.events();
    let source =
        rokini::KinesisSource::new(&place.aws, "orders".parse().unwrap(), &rokini::Settings::default(), 1);
    let source = source.unwrap();
    assert!(rokini::FanOut::deregister_consumer(&source, "g").await.unwrap());
    place.put_everywhere("y");
    within(LIMIT, &log, 4, "polled meanwhile").await;
    in_time("another registration", async {
        while !matches!(events.recv().await.unwrap().kind, EventKind::FanOutRegistered { .. }) {}
    })
    .await;
    let name = DescribeStreamConsumerRequest::new().stream_arn(stream_arn(&place.kinesis)).consumer_name("g");
    place.kinesis.model().call(&name).unwrap();
    place.put_everywhere("z");
    within(LIMIT, &log, 6, "afterwards").await;
    assert_once(&log, "a consumer that went");
    assert!(worker.stop().await.is_clean());
}

/// The longest time between two records at the handlers, while a producer puts one every 10 ms and `change` happens.
async fn silence(place: &Place, log: &Log, change: impl Future<Output = ()>) -> Duration {
    let (stop, stopped) = watch::channel(false);
    let produce = async {
        let mut number = log.seen().len();
        while !*stopped.borrow() {
            super::local::put(&place.kinesis, "key", 0, &number.to_string());
            number += 1;
            sleep(Duration::from_millis(10)).await;
        }
        number
    };
    let from = log.seen().len();
    let act = async {
        sleep(Duration::from_millis(200)).await;
        change.await;
        stop.send_replace(true);
    };
    let (number, ()) = tokio::join!(produce, act);
    within(LIMIT, log, number, "everything that was put").await;
    let times: Vec<Instant> = log.seen()[from..].iter().map(|seen| seen.at).collect();
    times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
}

/// The rule of the 5 s between two subscriptions included: here they are younger than that, and the shard is polled until it
/// is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_a_fan_out_shard_is_silent_for_less_than_a_second_when_its_worker_stops() {
    let place = Place::new(1, true, Retrieval::FanOut, 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    let mut owner = place.consumer(store.clone(), "w0").build_logging(&log).await;
    place.put_everywhere("0");
    within(LIMIT, &log, 1, "the first record").await;
    let mut silences = Vec::new();
    for turn in 1..=20 {
        let next = place.consumer(store.clone(), &format!("w{turn}")).build_logging(&log).await;
        in_time("the next worker", until_joined(&next)).await;
        // Some subscriptions are old enough to be followed at once, some are not.
        sleep(Duration::from_millis(if turn % 4 == 0 { 5_500 } else { 100 })).await;
        let before = std::mem::replace(&mut owner, next);
        let stop = async {
            assert!(before.stop().await.is_clean());
            sleep(Duration::from_millis(600)).await;
        };
        silences.push(silence(&place, &log, stop).await);
    }
    silences.sort();
    println!("silences: {silences:?}");
    assert!(silences[18] < Duration::from_secs(1), "{silences:?}");
    assert_once(&log, "hand-overs");
    let numbers: Vec<usize> = log.texts()[1..].iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "in order");
    assert!(owner.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_fan_out_shard_whose_worker_is_killed_is_read_within_the_failover_time_and_two_seconds() {
    const FAILOVER: Duration = Duration::from_secs(3);
    let place = Place::new(1, true, Retrieval::FanOut, 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    let start = |name| place.consumer(store.clone(), name).failover(FAILOVER).build_logging(&log);
    let owner = start("a").await;
    place.put_everywhere("0");
    within(LIMIT, &log, 1, "the first record").await;
    let next = start("b").await;
    in_time("the next worker", until_joined(&next)).await;
    owner.kill().await;
    super::local::put(&place.kinesis, "key", 0, "1");
    let took = within(FAILOVER + Duration::from_secs(2), &log, 2, "after the kill").await;
    println!("read again {took:?} after the kill");
    assert!(next.stop().await.is_clean());
}

async fn until_joined(running: &Running) {
    let mut events = running.handle.events();
    while running.handle.status().worker.is_none() {
        let _ = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
    }
}

/// The stock limit of the client is 100 streams a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_400_subscriptions_all_deliver_and_blocked_handlers_hold_up_no_other() {
    const SHARDS: usize = 400;
    const BLOCKED: usize = 10;
    let place = Place::new(SHARDS as i32, true, Retrieval::FanOut, 1).await;
    let (gate, handled) = (watch::Sender::new(false), Arc::<AtomicUsize>::default());
    let (opened, count) = (gate.subscribe(), Arc::clone(&handled));
    let builder = place.consumer(MemoryStore::new(), "a").memory_budget(64 << 20);
    let builder = builder.for_each_batch(move |batch| {
        let (mut opened, count) = (opened.clone(), Arc::clone(&count));
        async move {
            let blocks = batch.iter().any(|record| record.data() == b"block");
            if blocks {
                opened.wait_for(|open| *open).await?;
            }
            count.fetch_add(batch.len(), Ordering::SeqCst);
            Ok(())
        }
    });
    let running = Running::start(builder).await;
    let all = async |expected: usize| {
        in_time("all shards", async {
            while handled.load(Ordering::SeqCst) < expected {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    place.put_everywhere("a");
    all(SHARDS).await;
    in_time("all subscriptions", async {
        while calls(&place.kinesis, "SubscribeToShard") < SHARDS {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Some shards get a record whose handler blocks, and much behind it.
    let hashes = (0..BLOCKED as u128).map(|number| number * (u128::MAX / SHARDS as u128 + 1) + 1);
    for hash in hashes {
        super::local::put(&place.kinesis, "key", hash, "block");
        for _ in 0..20 {
            super::local::put(&place.kinesis, "key", hash, &"x".repeat(100_000));
        }
    }
    sleep(Duration::from_millis(300)).await;
    let before = handled.load(Ordering::SeqCst);
    let begun = Instant::now();
    place.put_everywhere("b");
    all(before + SHARDS - BLOCKED).await;
    println!("{} shards beside {BLOCKED} that are blocked: {:?}", SHARDS - BLOCKED, begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    gate.send_replace(true);
    all(2 * SHARDS + 21 * BLOCKED).await;
    assert!(running.stop().await.is_clean());
}
