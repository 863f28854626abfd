use std::sync::Arc;

use rokini_lease::conformance::ConformanceSuite;
use rokini_lease::{CountingStore, FaultTarget, FaultyStore, MemoryStore, StoreFault, StoreOperation};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract() {
    let inner = MemoryStore::new();
    let store = CountingStore::new(inner.clone());
    let suite = ConformanceSuite::new(Arc::new(store.clone())).damage(move |group, key| {
        inner.damage(&group, &key, true);
        std::future::ready(())
    });
    let report = suite.run().await;
    eprintln!("{report:?}: {}", store.snapshot());
}

/// The suite's own demand, that every kind of update both applies and is refused, holds for any seed.
#[tokio::test]
async fn the_suite_runs_with_any_seed() {
    for seed in 0..30 {
        ConformanceSuite::new(Arc::new(MemoryStore::new()))
            .seed(seed)
            .sequences(16)
            .races(1)
            .listed(2)
            .run()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c13_a_store_that_settles_lost_replies_keeps_the_contract() {
    let store = FaultyStore::new(MemoryStore::new(), 5);
    store.chance(FaultTarget::Writes, StoreFault::Retry, 0.3);
    ConformanceSuite::new(Arc::new(store.clone())).lost_replies(true).run().await;
    assert!(store.injected() > 1000, "{}", store.injected());
}

#[tokio::test(start_paused = true)]
async fn listings_that_lag_behind_keep_the_contract() {
    let store = FaultyStore::new(MemoryStore::new(), 6);
    store.chance(StoreOperation::ListWorkers, StoreFault::StaleListing, 0.5);
    store.chance(StoreOperation::ListAll, StoreFault::StaleListing, 0.5);
    ConformanceSuite::new(Arc::new(store.clone())).run().await;
    assert!(store.injected() > 0);
}

/// The suite finds what it is there to find: a store that loses replies without settling them.
#[tokio::test]
#[should_panic(expected = "is unknown")]
async fn the_suite_notices_a_store_that_forgets_the_row_before() {
    let store = FaultyStore::new(MemoryStore::new(), 7);
    store.chance(FaultTarget::Only(StoreOperation::Checkpoint), StoreFault::Retry, 1.0);
    ConformanceSuite::new(Arc::new(store)).run().await;
}
