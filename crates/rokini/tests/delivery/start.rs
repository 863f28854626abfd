//! From nothing to the first record.

use std::time::Duration;

use rokini::lease::{LeaseStore, MemoryStore, Position};
use rokini::{ErrorKind, Event, StartPosition};
use tokio::time::Instant;

use crate::harness::{Log, Running, builder, group, leases, until_leases};
use crate::stream::{Op, Stream, shard_id};

#[tokio::test(start_paused = true)]
async fn p4_first_record_comes_without_a_sleep() {
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    stream.put(2, "a");
    let begun = Instant::now();
    let running = Running::logging(builder(&stream, store, "w"), &log).await;
    let seen = log.until_count(1).await;
    assert_eq!((seen[0].text.as_str(), &seen[0].shard), ("a", &shard_id(2)));
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing waits before the first record");
    assert!(running.stop().await.is_clean());
}
