#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test"
)]

use std::sync::Arc;

use rokini_lease::MemoryStore;
use rokini_lease::store::conformance::Suite;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract() {
    let report = Suite::new(Arc::new(MemoryStore::new())).run().await;
    eprintln!("{report:?}");
}
