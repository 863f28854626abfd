//! Answers of which a part is not what it should be, at random, and answers that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{ConfigKey, EventKind, Retrieval};
use rokini_local::wire::shapes::shard::{ListShardsRequest, SplitShardRequest};
use rokini_local::{Fault, FaultRule, LocalKinesis};
use tokio::time::{Instant, sleep, timeout};

use super::local::{consumer, kinesis, put};
use crate::harness::{Log, Running};

/// How long records may take once the answers are good again.
const AFTER: Duration = Duration::from_secs(30);
const SHARDS: i32 = 3;

fn hash(number: u128) -> u128 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn faults(kinesis: &LocalKinesis) {
    let garbled = |operation: &str, share| FaultRule::on(operation, Fault::Garble).probability(share);
    for (operation, share) in [
        ("GetRecords", 0.5),
        ("GetShardIterator", 0.3),
        ("ListShards", 0.3),
        ("DescribeStreamSummary", 0.2),
        ("SubscribeToShard", 0.3),
        ("SubscribeToShardEvent", 0.3),
    ] {
        kinesis.faults().add(garbled(operation, share));
    }
    for (status, body) in
        [(200, "<html><body>Welcome</body></html>"), (200, ""), (200, "{}"), (429, ""), (503, "busy")]
    {
        let answer = Fault::Answer { status, body: body.to_owned() };
        kinesis.faults().add(FaultRule::on("GetRecords", answer).probability(0.02));
    }
}

/// One seed: answers are garbled for a while, during which records are put and a shard is split, then they are good.
async fn run(seed: u64, retrieval: Retrieval) {
    let kinesis = kinesis(SHARDS).await;
    let (store, log) = (MemoryStore::new(), Log::default());
    let building = consumer(&kinesis, store.clone(), &format!("w{seed}")).await;
    let building = building.audit_interval(Duration::from_secs(5)).set(ConfigKey::CheckpointInterval, "1s");
    let running = Running::logging(building.retrieval(retrieval), &log).await;
    let mut events = running.handle.events();
    let mut texts = BTreeSet::new();
    let mut put_some = |round: u128| {
        for number in 0..10 {
            let text = format!("{seed}-{round}-{number}");
            put(&kinesis, &text, hash(round * 10 + number), &text);
            texts.insert(text);
        }
    };
    put_some(0);
    faults(&kinesis);
    for round in 1..=8 {
        sleep(Duration::from_millis(700)).await;
        put_some(round);
        if round == 4 {
            let listed = kinesis.model().call(&ListShardsRequest::new().stream_name("orders")).unwrap();
            let first = &listed.shards.unwrap()[0];
            let half = first.hash_key_range.ending_hash_key.parse::<u128>().unwrap() / 2;
            let split = SplitShardRequest::new(&*first.shard_id, half.to_string()).stream_name("orders");
            kinesis.model().call(&split).unwrap();
        }
    }
    kinesis.faults().clear();
    put_some(9);
    let good = Instant::now();
    let all = texts.len();
    let wanted = |seen: &[crate::harness::Seen]| {
        seen.iter().map(|seen| &seen.text).collect::<BTreeSet<_>>().len() == all
    };
    let arrived = timeout(AFTER, log.until(wanted)).await;
    let seen: BTreeSet<String> = log.texts().into_iter().collect();
    let missing: Vec<_> = texts.difference(&seen).collect();
    assert!(
        arrived.is_ok() && missing.is_empty(),
        "seed {seed}: after {:?} missing {missing:?}",
        good.elapsed()
    );
    // Each record came in its place when it came first.
    let mut last = BTreeMap::new();
    let mut known = BTreeSet::new();
    for seen in log.seen().into_iter().filter(|seen| known.insert(seen.text.clone())) {
        let before = last.insert(seen.shard.clone(), seen.sequence);
        assert!(before < Some(seen.sequence), "seed {seed}: out of order in {}", seen.shard);
    }
    running.stop().await;
    // No end was stored that was none: an audit would have mended it.
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event.kind, EventKind::EndTakenBack { .. }), "seed {seed}: {event:?}");
    }
}

/// `ROKINI_SEED` runs one seed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_garbled_answers_lose_end_and_hold_up_nothing() {
    let seeds = match std::env::var("ROKINI_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..6).collect(),
    };
    let polling = seeds.iter().map(|seed| run(*seed, Retrieval::Polling));
    let fan_out = seeds.iter().map(|seed| run(*seed, Retrieval::FanOut));
    futures::future::join_all(polling.chain(fan_out)).await;
}
