//! What shards cost at which nothing happens.

use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{HashRange, MemoryStore, Position, ShardId, StreamId};
use rokini::{
    Consumer, Error, ReadResponse, ShardDescription, ShardReader, ShardSelection, StreamDescription,
    StreamSource,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::skipped;

const SHARDS: usize = 1_000;
/// As often as a shard without records is polled at the default `poll_ceiling`.
const POLL: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(120);

/// So many shards without a record.
#[derive(Debug)]
struct Quiet(usize);

#[async_trait]
impl StreamSource for Quiet {
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let id = StreamId::new("orders@1700000000000").unwrap();
        let (name, retention) = ("orders".to_owned(), Duration::from_secs(86_400));
        Ok(StreamDescription { name, id, now_millis: 1_700_000_100_000, retention })
    }

    async fn list_shards(&self, _: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let width = u128::MAX / self.0 as u128;
        let describe = |n: usize| {
            let (start, last) = (width * n as u128, n + 1 == self.0);
            let end = if last { u128::MAX } else { start + width - 1 };
            ShardDescription {
                id: ShardId::new(format!("shardId-{n:012}")).unwrap(),
                parents: Vec::new(),
                hash_range: Some(HashRange { start, end }),
                closed: false,
            }
        };
        Ok((0..self.0).map(describe).collect())
    }

    async fn open(&self, _: &ShardId, _: &Position) -> Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(QuietReader))
    }
}

#[derive(Debug)]
struct QuietReader;

#[async_trait]
impl ShardReader for QuietReader {
    async fn next(&mut self) -> Result<ReadResponse, Error> {
        sleep(POLL).await;
        Ok(ReadResponse::default())
    }
}

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
    let mut pollers = JoinSet::new();
    for _ in 0..SHARDS {
        pollers.spawn(async {
            let mut reader: Box<dyn ShardReader> = Box::new(QuietReader);
            loop {
                reader.next().await.unwrap();
            }
        });
    }
    let polls = cpu_of(WATCHED).await;
    pollers.shutdown().await;

    let consumer = Consumer::builder()
        .group("quiet")
        .worker("w")
        .source(Quiet(SHARDS))
        .store(MemoryStore::new())
        .for_each_batch(|_| async { Ok(()) })
        .build()
        .await
        .unwrap();
    let handle = consumer.handle();
    let running = tokio::spawn(consumer.run());
    while handle.status().shards.len() < SHARDS {
        sleep(POLL).await;
    }
    // What starts has started.
    sleep(WATCHED).await;
    let all = cpu_of(WATCHED).await;
    handle.shutdown(Duration::from_secs(60)).await;
    running.await.unwrap().unwrap();
    let share = all.saturating_sub(polls).as_secs_f64() / WATCHED.as_secs_f64();
    println!("polls {polls:?}, with everything {all:?} in {WATCHED:?}: {:.1} % of a core", share * 100.0);
    assert!(share < 0.05, "{:.1} % of a core beyond the polls", share * 100.0);
}
