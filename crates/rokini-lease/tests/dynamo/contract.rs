use std::sync::Arc;

use rokini_lease::store::conformance::Suite;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamo_store_keeps_the_contract() {
    let server = Server::start().await;
    let started = std::time::Instant::now();
    let report = Suite::new(Arc::new(server.store().await)).run().await;
    eprintln!("{report:?} in {:?}", started.elapsed());
}
