//! What shards cost at which nothing happens.

use std::time::Duration;

use rokini::StreamSource;
use rokini::lease::{MemoryStore, Position};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Running, builder};
use crate::skipped;
use crate::stream::{Stream, shard_id};

const SHARDS: usize = 1_000;
/// As often as a shard without records is polled at the default `poll_ceiling`.
const POLL: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(120);

/// CPU time of this thread so far, where the system tells it.
fn cpu_of_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The CPU time that passes on this thread while the virtual time goes on.
async fn cpu_of(time: Duration) -> Duration {
    let before = cpu_of_thread().unwrap();
    sleep(time).await;
    cpu_of_thread().unwrap() - before
}

/// In virtual time on one thread, without optimisation: a bound on what a release build takes.
#[tokio::test(start_paused = true)]
async fn p5_a_thousand_idle_shards_take_less_than_a_twentieth_of_a_core_beyond_their_polls() {
    if cpu_of_thread().is_none() {
        return skipped("this system does not tell the CPU time of a thread");
    }
    let stream = Stream::new(SHARDS).poll(POLL);
    let mut pollers = JoinSet::new();
    for shard in 0..SHARDS {
        let mut reader = stream.open(&shard_id(shard), &Position::TrimHorizon).await.unwrap();
        pollers.spawn(async move {
            loop {
                reader.next().await.unwrap();
            }
        });
    }
    let polls = cpu_of(WATCHED).await;
    pollers.shutdown().await;

    let consumer = builder(&stream, MemoryStore::new(), "w");
    let running = Running::start(consumer.for_each_batch(|_| async { Ok(()) })).await;
    while running.handle.status().shards.len() < SHARDS {
        sleep(POLL).await;
    }
    // What starts has started.
    sleep(WATCHED).await;
    let all = cpu_of(WATCHED).await;
    running.stop().await;
    let share = all.saturating_sub(polls).as_secs_f64() / WATCHED.as_secs_f64();
    println!("polls {polls:?}, with everything {all:?} in {WATCHED:?}: {:.1} % of a core", share * 100.0);
    assert!(share < 0.05, "{:.1} % of a core beyond the polls", share * 100.0);
}
