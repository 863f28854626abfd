//! Random trees of splits and merges, read by two workers while they grow.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini::lease::{MemoryStore, ShardId};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::shard::{ListShardsRequest, MergeShardsRequest, Shard, SplitShardRequest};
use tokio::time::sleep;

use super::local::{consumer, in_time, kinesis, put};
use crate::harness::{Log, Running, Seen};

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const STEPS: usize = 30;
const KEYS: usize = 16;
const MOST_OPEN: usize = 6;

fn shards(kinesis: &LocalKinesis) -> Vec<Shard> {
    let request = ListShardsRequest::new().stream_name("orders");
    kinesis.model().call(&request).unwrap().shards.unwrap()
}

/// Those that take records, by hash.
fn open(kinesis: &LocalKinesis) -> Vec<Shard> {
    let mut open: Vec<_> = shards(kinesis)
        .into_iter()
        .filter(|shard| shard.sequence_number_range.ending_sequence_number.is_none())
        .collect();
    open.sort_by_key(|shard| range(shard).0);
    open
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = &shard.hash_key_range;
    (range.starting_hash_key.parse().unwrap(), range.ending_hash_key.parse().unwrap())
}

/// Splits a shard anywhere, or merges two neighbours.
pub(super) fn reshard(kinesis: &LocalKinesis, rng: &mut SmallRng) {
    let open = open(kinesis);
    if open.len() == 1 || (open.len() < MOST_OPEN && rng.random_bool(0.5)) {
        let chosen = &open[rng.random_range(0..open.len())];
        let (start, end) = range(chosen);
        let request = SplitShardRequest::new(&chosen.shard_id, rng.random_range(start + 1..=end).to_string())
            .stream_name("orders");
        kinesis.model().call(&request).unwrap();
    } else {
        let low = rng.random_range(0..open.len() - 1);
        let request =
            MergeShardsRequest::new(&open[low].shard_id, &open[low + 1].shard_id).stream_name("orders");
        kinesis.model().call(&request).unwrap();
    }
}

/// Lets a tree grow, and tells how many records were put for each key. Now and then it waits for the readers, so that
/// they are at all places in it.
async fn grow(kinesis: &LocalKinesis, log: &Log, rng: &mut SmallRng) -> Vec<usize> {
    let hashes: Vec<u128> = (0..KEYS).map(|_| rng.random()).collect();
    let mut counts = vec![0; KEYS];
    let mut all = 0;
    for _ in 0..STEPS {
        for _ in 0..rng.random_range(0..20) {
            let key = rng.random_range(0..KEYS);
            put(kinesis, &key.to_string(), hashes[key], &format!("{key}:{}", counts[key]));
            counts[key] += 1;
            all += 1;
        }
        if rng.random_bool(0.5) {
            reshard(kinesis, rng);
        }
        if rng.random_bool(0.3) {
            in_time("a part of the records", log.until_count(rng.random_range(0..=all))).await;
        }
    }
    counts
}

/// Every record came once, and the records of each key in their order.
fn check_keys(seed: u64, seen: &[Seen], counts: &[usize]) {
    let mut came = vec![Vec::new(); KEYS];
    for seen in seen {
        let (key, number) = seen.text.split_once(':').unwrap();
        came[key.parse::<usize>().unwrap()].push(number.parse::<usize>().unwrap());
    }
    for (key, (came, count)) in came.iter().zip(counts).enumerate() {
        assert_eq!(*came, (0..*count).collect::<Vec<_>>(), "seed {seed}: key {key}");
    }
}

/// No record of a shard came before the last one of each of its ancestors. The number of pairs that show it.
fn check_lineage(seed: u64, seen: &[Seen], shards: &[Shard]) -> usize {
    let (mut first, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (at, seen) in seen.iter().enumerate() {
        first.entry(seen.shard.clone()).or_insert(at);
        last.insert(seen.shard.clone(), at);
    }
    let id = |text: &String| ShardId::new(text.clone()).unwrap();
    // Ids grow, so parents come before their children.
    let mut ancestors: BTreeMap<ShardId, Vec<ShardId>> = BTreeMap::new();
    let mut pairs = 0;
    for shard in shards {
        let parents = shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id).map(id);
        let all: Vec<_> = parents.flat_map(|id| [ancestors[&id].clone(), vec![id]].concat()).collect();
        for ancestor in &all {
            if let (Some(last), Some(first)) = (last.get(ancestor), first.get(&id(&shard.shard_id))) {
                assert!(last < first, "seed {seed}: {} before the end of {ancestor}", shard.shard_id);
                pairs += 1;
            }
        }
        ancestors.insert(id(&shard.shard_id), all);
    }
    pairs
}

async fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (kinesis, store, log) = (kinesis(rng.random_range(1..=3)).await, MemoryStore::new(), Log::default());
    let mut fleet = Vec::new();
    for name in ["w1", "w2"] {
        let calls = log.clone();
        let building = consumer(&kinesis, store.clone(), name).await.for_each_batch(move |batch| {
            calls.add(&batch);
            // Handlers of different shards take different times.
            let takes = Duration::from_millis(u64::from(batch.len() as u32 % 7) * 10);
            async move {
                sleep(takes).await;
                Ok(())
            }
        });
        fleet.push(Running::start(building).await);
    }
    let counts = grow(&kinesis, &log, &mut rng).await;
    let all = counts.iter().sum();
    let seen = in_time("all records", log.until_count(all)).await;
    check_keys(seed, &seen, &counts);
    let shards = shards(&kinesis);
    assert!(shards.len() >= 12, "seed {seed}: a tree of {} shards shows nothing", shards.len());
    let pairs = check_lineage(seed, &seen, &shards);
    assert!(pairs >= 10, "seed {seed}: {pairs} pairs show nothing");
    for running in fleet {
        assert!(running.stop().await.is_clean());
    }
    assert_eq!(log.seen().len(), all, "seed {seed}: nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_random_trees_of_splits_and_merges_are_read_in_order_over_sockets() {
    let runs: Vec<_> = SEEDS.into_iter().map(|seed| tokio::spawn(run(seed))).collect();
    for run in runs {
        run.await.unwrap();
    }
}
