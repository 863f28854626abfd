//! Every worker reads everything.

use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{ConfigKey, Consumer, ConsumerBuilder, ErrorKind, Event, EventKind, StartPosition};
use tokio::time::{sleep, timeout};

use crate::harness::{Log, Running};
use crate::stream::{Stream, shard_id};

fn broadcast(stream: &Stream, seed: u64) -> ConsumerBuilder {
    let clock = stream.clone();
    Consumer::builder()
        .broadcast(true)
        .source(stream.clone())
        .seed(seed)
        .wall_clock(rokini::lease::WallClock::from_fn(move || clock.now()))
}

#[tokio::test(start_paused = true)]
async fn r5_two_broadcast_consumers_each_see_everything_from_now_on_across_a_split_and_a_merge() {
    let stream = Stream::new(2);
    stream.put_each(2, "before");
    sleep(Duration::from_secs(5)).await;
    let (first, second) = (Log::default(), Log::default());
    let a = Running::logging(broadcast(&stream, 1).audit_interval(Duration::from_secs(5)), &first).await;
    let b = Running::logging(broadcast(&stream, 2), &second).await;
    sleep(Duration::from_secs(1)).await;
    for number in 0..50 {
        stream.put(0, &format!("parent {number}"));
        stream.put(1, &format!("other {number}"));
    }
    let (low, high) = stream.split(0);
    for number in 0..20 {
        stream.put(low, &format!("low {number}"));
        stream.put(high, &format!("high {number}"));
    }
    let merged = stream.merge(high, 1);
    for number in 0..20 {
        stream.put(merged, &format!("merged {number}"));
    }
    for log in [&first, &second] {
        let seen = log.until_count(160).await;
        let mut texts: Vec<_> = seen.iter().map(|seen| seen.text.clone()).collect();
        let all = |prefix: &'static str, shard: usize, count: usize| {
            let of: Vec<_> = seen
                .iter()
                .filter(|seen| seen.shard == shard_id(shard))
                .map(|seen| seen.text.clone())
                .collect();
            assert_eq!(of, (0..count).map(|number| format!("{prefix} {number}")).collect::<Vec<_>>());
        };
        all("parent", 0, 50);
        all("other", 1, 50);
        all("low", low, 20);
        all("high", high, 20);
        all("merged", merged, 20);
        let at = |wanted: &str| texts.iter().position(|text| text == wanted).unwrap();
        assert!(at("parent 49") < at("low 0").min(at("high 0")), "parents before children");
        assert!(at("other 49").max(at("high 19")) < at("merged 0"), "both parents before a merge");
        texts.dedup();
        assert_eq!(texts.len(), 160, "each once");
    }
    // A newcomer sees only what comes from now on.
    sleep(Duration::from_secs(5)).await;
    let third = Log::default();
    let c = Running::logging(broadcast(&stream, 3), &third).await;
    sleep(Duration::from_secs(1)).await;
    stream.put(merged, "after");
    third.until_count(1).await;
    first.until_count(161).await;
    assert_eq!(third.texts(), ["after"]);
    for running in [a, b, c] {
        assert!(running.stop().await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_consumer_stores_no_position_and_says_so() {
    let stream = Stream::new(1);
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let builder = broadcast(&stream, 1).for_each_batch(move |batch| {
        let say = say.clone();
        async move {
            let record = &batch.records()[0];
            let at = batch.checkpoint_at(record).await.unwrap_err();
            let prepare = batch.prepare_checkpoint(record, "x").await.unwrap_err();
            say.send([at, prepare])?;
            Ok(())
        }
    });
    let running = Running::start(builder).await;
    let mut events = running.handle.events();
    sleep(Duration::from_secs(1)).await;
    let sequence = stream.put(0, "a");
    let said = timeout(Duration::from_secs(60), said.recv()).await.expect("the handler is called");
    for error in said.unwrap() {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("`broadcast = true` stores no positions"), "{error}");
    }
    let stream_id = stream.id();
    let error = running.handle.checkpoint_in(&stream_id, &shard_id(0), sequence).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    sleep(Duration::from_secs(30)).await;
    let stored = std::iter::from_fn(|| events.try_recv().ok())
        .any(|event| matches!(event, Event { kind: EventKind::Checkpointed { .. }, .. }));
    assert!(!stored);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t3_what_makes_no_sense_for_a_broadcast_is_refused() {
    let stream = Stream::new(1);
    let base = || broadcast(&stream, 1).for_each(|_| async { Ok(()) });
    base().build().await.unwrap();
    base().start(StartPosition::Latest).group("named").worker("w").build().await.unwrap();
    for (key, text) in [
        (ConfigKey::Table, "positions"),
        (ConfigKey::CreateTable, "true"),
        (ConfigKey::TablePartitions, "4"),
        (ConfigKey::Failover, "20s"),
        (ConfigKey::Heartbeat, "2s"),
        (ConfigKey::MaxLeases, "3"),
        (ConfigKey::Balance, "throughput"),
        (ConfigKey::UniqueWorkerNames, "true"),
        (ConfigKey::CheckpointInterval, "1s"),
        (ConfigKey::AutoCheckpoint, "false"),
        (ConfigKey::Start, "trim_horizon"),
    ] {
        let error = base().set(key, text).build().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{key}");
        assert!(error.to_string().contains(key.name()) && error.to_string().contains("broadcast"), "{error}");
    }
    let error = base().store(MemoryStore::new()).build().await.unwrap_err();
    assert!(error.to_string().contains("lease store"), "{error}");
}
