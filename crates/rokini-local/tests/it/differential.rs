//! Random operations, sent to this model and to `kinesis-local`, an independent server from npm. Every answer that differs must
//! be in the list of explained differences, each with the sentence of the API reference that decides.
//!
//! Skipped, with the reason printed, where node or npm is not there.

mod explained;
mod facts;
mod operation;
mod other;

use std::collections::BTreeMap;

use operation::{Operation, Pair};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini_local::LocalKinesis;

/// Operations in a run.
const STEPS: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_explained() {
    let Some(other) = other::start().await else { return };
    let ours = LocalKinesis::builder().throughput_limits(false).start().await.unwrap();
    let seed = std::env::var("ROKINI_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut pair = Pair::new(&ours.endpoint_url(), &other.endpoint).await;
    let mut unexplained = Vec::new();
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for step in 0..STEPS {
        let operation = Operation::random(&mut rng, &pair);
        let facts = pair.facts().await;
        let (here, there) = pair.run(&operation).await;
        *answered.entry(operation.name()).or_default() += usize::from(here.starts_with("ok"));
        // Scaling may take any way to its number of shards; what it leads to is compared no further.
        let scaled = matches!(operation, Operation::Scale { .. });
        if here == there && !scaled {
            continue;
        }
        match explained::by(&operation, &facts, &here, &there) {
            _ if here == there => {}
            Some(reason) => *met.entry(reason).or_default() += 1,
            None => unexplained.push(format!("{step}: {operation:?}\n  here  {here}\n  there {there}")),
        }
        if pair.diverged(&mut rng).await {
            pair.renew().await;
        }
    }
    eprintln!("seed {seed}; answered well: {answered:?}");
    for (reason, count) in met {
        eprintln!("{count} x {reason}");
    }
    assert!(unexplained.is_empty(), "seed {seed}\n{}", unexplained.join("\n"));
    assert!(
        rng.random::<u64>() > 0 && answered.values().sum::<usize>() > STEPS / 3,
        "too little was answered"
    );
}
