//! Batches by size, bytes and time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{ConsumerBuilder, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::harness::{Log, Running, builder};
use crate::stream::Stream;

const SECOND: Duration = Duration::from_secs(1);

type Batches = Arc<Mutex<Vec<String>>>;

/// Logs the texts of each batch as one.
fn joining(building: ConsumerBuilder, log: &Log) -> (ConsumerBuilder, Batches) {
    let (log, batches) = (log.clone(), Batches::default());
    let joined = Arc::clone(&batches);
    let building = building.for_each_batch(move |batch| {
        let text: Vec<u8> = batch.iter().flat_map(|record| record.data().to_vec()).collect();
        joined.lock().unwrap().push(String::from_utf8(text).unwrap());
        log.add(&batch);
        async { Ok(()) }
    });
    (building, batches)
}

#[tokio::test(start_paused = true)]
async fn p8_batches_span_reads_up_to_their_size_bytes_and_time() {
    let texts = ["a", "b", "c", "dddd", "e", "f", "g"];
    for (records, bytes, expected) in [
        (None, None, vec!["abcddddefg"]),
        (Some(3), None, vec!["abc", "ddddef", "g"]),
        (None, Some(4), vec!["abc", "dddd", "efg"]),
        (Some(2), Some(100), vec!["ab", "cdddd", "ef", "g"]),
    ] {
        let (stream, log) = (Stream::new(1).per_read(2), Log::default());
        stream.put_all(0, &texts);
        let mut building = builder(&stream, MemoryStore::new(), "w").batch_max_wait(SECOND);
        if let Some(records) = records {
            building = building.batch_max_records(records);
        }
        if let Some(bytes) = bytes {
            building = building.batch_max_bytes(bytes);
        }
        let (building, batches) = joining(building, &log);
        let begun = Instant::now();
        let running = Running::start(building).await;
        log.until_count(texts.len()).await;
        assert_eq!(*batches.lock().unwrap(), expected, "{records:?} {bytes:?}");
        assert!(begun.elapsed() >= SECOND, "the last one waits for more");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn p8_without_a_wait_a_batch_is_what_one_read_brought() {
    let (stream, log) = (Stream::new(1).per_read(3), Log::default());
    stream.put_all(0, &["a", "b", "c", "d"]);
    let (building, batches) = joining(builder(&stream, MemoryStore::new(), "w").batch_max_records(2), &log);
    let running = Running::start(building).await;
    log.until_count(4).await;
    assert_eq!(*batches.lock().unwrap(), ["ab", "c", "d"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn g3_wait_for_a_larger_batch_delays_neither_a_stop_nor_a_shard_end_nor_a_hand_over() {
    let hour = Duration::from_secs(3_600);
    // The end of a shard.
    let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    stream.split(0);
    let (building, _) = joining(builder(&stream, store.clone(), "w").batch_max_wait(hour), &log);
    let begun = Instant::now();
    let running = Running::start(building).await;
    log.until_count(1).await;
    assert!(begun.elapsed() < SECOND);
    // A hand-over: what waits comes to the other worker only.
    stream.put(1, "b");
    stream.put(2, "c");
    sleep(3 * SECOND).await;
    let others = Log::default();
    let other = Running::logging(builder(&stream, store, "v"), &others).await;
    others.until_count(1).await;
    assert!(begun.elapsed() < 30 * SECOND, "{:?}", begun.elapsed());
    // A stop.
    let stopping = Instant::now();
    assert!(running.stop().await.is_clean());
    assert!(stopping.elapsed() < SECOND);
    others.until_count(2).await;
    let mut texts = others.texts();
    texts.sort();
    assert_eq!((log.texts(), texts), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t3_batch_settings_are_refused_with_a_handler_of_single_records() {
    let stream = Stream::new(1);
    let building = builder(&stream, MemoryStore::new(), "w").batch_max_records(5);
    let error = building.for_each(|_| async { Ok(()) }).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("batch_max_records"), "{error}");
}
