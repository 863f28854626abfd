//! Handlers of single records: many of them share a call, and each is done, or fails, by itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{MemoryStore, Position, SequenceNumber};
use rokini::{ConsumerBuilder, Record, ShardStop};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::harness::{Running, after, builder, failure, position};
use crate::stream::{Stream, shard_id};

const SECOND: Duration = Duration::from_secs(1);

/// What the handler saw.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<(Mutex<Vec<String>>, Notify)>);

impl Seen {
    fn texts(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    async fn until(&self, count: usize) {
        while self.texts().len() < count {
            self.0.1.notified().await;
        }
    }

    /// Sees a record: how often it came.
    fn add(&self, record: &Record) -> (String, usize) {
        let text = String::from_utf8(record.data().to_vec()).unwrap();
        let mut seen = self.0.0.lock().unwrap();
        seen.push(text.clone());
        self.0.1.notify_one();
        let times = seen.iter().filter(|one| **one == text).count();
        (text, times)
    }
}

/// A handler that takes no time, an hour with `stuck`, and a second with `slow`.
fn handling(building: ConsumerBuilder, seen: &Seen) -> ConsumerBuilder {
    let seen = seen.clone();
    building.for_each(move |record| {
        let (text, times) = seen.add(&record);
        async move {
            match &*text {
                "stuck" => sleep(Duration::from_secs(3_600)).await,
                text if text.starts_with("slow") => sleep(SECOND).await,
                "bad" if times < 3 => return failure("no"),
                _ => {}
            }
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn c4_what_is_before_a_record_that_hangs_is_done_and_the_record_is_named() {
    let (stream, store, seen) = (Stream::new(1), MemoryStore::new(), Seen::default());
    stream.put_all(0, &["a", "b", "stuck", "d", "e"]);
    let building = builder(&stream, store.clone(), "w").checkpoint_interval(SECOND);
    let running = Running::start(handling(building, &seen)).await;
    seen.until(3).await;
    sleep(3 * SECOND).await;
    let status = running.handle.status().shards[0].clone();
    assert_eq!(status.handling, Some(SequenceNumber::from(3)));
    assert_eq!((status.done, status.stored), (after(2), after(2)));
    let report = running.handle.shutdown(8 * SECOND).await;
    assert_eq!(report.shards[0].end, ShardStop::Abandoned { handling: Some(SequenceNumber::from(3)) });
    assert_eq!(position(&store, &shard_id(0)).await, after(2));
    assert_eq!(seen.texts(), ["a", "b", "stuck"]);
}

#[tokio::test(start_paused = true)]
async fn c1_a_record_that_fails_comes_alone_and_those_before_and_after_it_once() {
    for concurrency in [1, 2] {
        let (stream, store, seen) = (Stream::new(1), MemoryStore::new(), Seen::default());
        stream.put_all(0, &["a", "b", "bad", "d", "e"]);
        let building = builder(&stream, store.clone(), "w").concurrency(concurrency);
        let running = Running::start(handling(building, &seen)).await;
        seen.until(7).await;
        running.stop().await;
        assert_eq!(position(&store, &shard_id(0)).await, after(5));
        let mut texts = seen.texts();
        if concurrency > 1 {
            texts.sort();
        }
        assert_eq!(texts, ["a", "b", "bad", "bad", "bad", "d", "e"], "concurrency {concurrency}");
    }
}

#[tokio::test(start_paused = true)]
async fn g1_no_further_record_begins_once_the_worker_is_to_stop() {
    let (stream, store, seen) = (Stream::new(1), MemoryStore::new(), Seen::default());
    stream.put_all(0, &["a", "slow 1", "slow 2", "slow 3", "e"]);
    let running = Running::start(handling(builder(&stream, store.clone(), "w"), &seen)).await;
    seen.until(3).await;
    let begun = Instant::now();
    let report = running.stop().await;
    assert!(report.is_clean() && begun.elapsed() <= SECOND, "{report:?}");
    assert_eq!(seen.texts(), ["a", "slow 1", "slow 2"]);
    assert_eq!(position(&store, &shard_id(0)).await, after(3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_about_its_record_alone() {
    let (stream, store, seen) = (Stream::new(1), MemoryStore::new(), Seen::default());
    stream.put_all(0, &["a", "b", "c"]);
    let calls = seen.clone();
    let building = builder(&stream, store.clone(), "w").for_each(move |record| {
        let (text, times) = calls.add(&record);
        assert!(text != "b" || times > 1, "not now");
        async { Ok(()) }
    });
    let running = Running::start(building).await;
    seen.until(4).await;
    running.stop().await;
    assert_eq!(seen.texts(), ["a", "b", "b", "c"]);
    assert_eq!(position(&store, &shard_id(0)).await, after(3));
}

/// The limit of a call is one of each record: those that came without a wait before it take none of it.
#[tokio::test(start_paused = true)]
async fn c1_a_record_that_takes_too_long_fails_by_itself() {
    let (stream, store, seen) = (Stream::new(1), MemoryStore::new(), Seen::default());
    stream.put_all(0, &["slow 1", "slow 2", "stuck", "d"]);
    let building = builder(&stream, store.clone(), "w").handler_timeout(SECOND + SECOND / 2);
    let running = Running::start(handling(building, &seen)).await;
    seen.until(4).await;
    let status = running.handle.status().shards[0].clone();
    assert_eq!((status.done, status.handling), (after(2), Some(SequenceNumber::from(3))));
    assert_eq!(seen.texts(), ["slow 1", "slow 2", "stuck", "stuck"]);
    running.handle.shutdown(SECOND).await;
    assert_eq!(position(&store, &shard_id(0)).await, Position::after(SequenceNumber::from(2)));
}
