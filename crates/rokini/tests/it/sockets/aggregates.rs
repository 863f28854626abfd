//! Aggregates over sockets: by polling and by fan-out, and from a worker that reads by one to a worker that reads by the other.

use std::time::Duration;

use rokini::lease::{MemoryStore, Position, Progress};
use rokini::{EventKind, Retrieval};
use rokini_local::wire::shapes::record::PutRecordRequest;
use rokini_wire::AggregateBuilder;

use super::failing::{Place, within};
use crate::harness::{BuildLogging, Log, Running, until_leases};

const USER_RECORDS: usize = 50;
const DONE: usize = 20;
const FAILOVER: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_a4_an_aggregate_goes_on_where_a_killed_worker_stood_whichever_way_each_of_them_reads() {
    let ways = [
        (Retrieval::Polling, Retrieval::FanOut),
        (Retrieval::FanOut, Retrieval::Polling),
        (Retrieval::FanOut, Retrieval::FanOut),
    ];
    let runs = ways.map(|(first, second)| tokio::spawn(hands_over(first, second)));
    for run in runs {
        run.await.unwrap();
    }
}

async fn hands_over(first: Retrieval, second: Retrieval) {
    let what = format!("from {first} to {second}");
    let place = Place::new(2, true, first, 1).await;
    let (store, log) = (MemoryStore::new(), Log::default());
    let texts: Vec<String> = (0..USER_RECORDS).map(|n| format!("r{n:02}")).collect();
    let mut aggregate = AggregateBuilder::default();
    // Keys whose hashes lie all over, as of a producer that did not hear of a reshard.
    texts.iter().for_each(|text| aggregate.push(text, None, text.as_bytes()));
    let request = PutRecordRequest::new(aggregate.build()).partition_key("a").stream_name("orders");
    let put = place.kinesis.model().call(&request).unwrap();
    let done = Position::Sequence(put.sequence_number, Progress::Through(DONE as u64 - 1));

    let worker = place.consumer(store.clone(), "a").failover(FAILOVER);
    let killed = Running::until_text(worker, &log, &texts[DONE]).await;
    within(Duration::from_secs(20), &log, DONE, &what).await;
    until_leases(&store, |rows| rows.iter().any(|row| row.position == done)).await;
    killed.kill().await;
    assert_eq!(log.texts(), texts[..DONE], "{what}: before the kill");
    log.clear();

    let other = place.consumer(store.clone(), "b").failover(FAILOVER).retrieval(second);
    let other = other.build_logging(&log).await;
    let mut events = other.handle.events();
    within(Duration::from_secs(30), &log, USER_RECORDS - DONE, &what).await;
    assert_eq!(log.texts(), texts[DONE..], "{what}: after the kill");
    // About half of the keys hash into the other shard: all of their records came, and that is told.
    let foreign = std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event.kind {
        EventKind::ForeignUserRecords { user_records } => Some(user_records),
        _ => None,
    });
    assert!(foreign.is_some_and(|count| count > 0 && count < USER_RECORDS as u64), "{what}: {foreign:?}");
    assert!(other.stop().await.is_clean());
}
