//! The real SDK against the model, in virtual time.

use std::time::Duration;

use rand::SeedableRng;
use rokini_local::{EndOfShard, LocalSettings};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::config::ConfigKey;
use crate::source::stream_source::StreamSource;
use crate::source::testing::{Bench, EPOCH_MILLIS, Instead, shard};

pub(in crate::source::kinesis) fn data(fetched: &ReadResponse) -> Vec<String> {
    fetched.records.iter().map(|record| String::from_utf8(record.data().to_vec()).unwrap()).collect()
}

/// Ends a test that would go on for ever: virtual time passes as fast as it is waited for.
pub(in crate::source::kinesis) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(300), work).await.expect("no end within five minutes")
}

/// The data of the next answer that brings any.
pub(in crate::source::kinesis) async fn next_data(reader: &mut dyn ShardReader) -> Vec<String> {
    bounded(async {
        loop {
            let fetched = reader.next().await.unwrap();
            if !fetched.records.is_empty() {
                return data(&fetched);
            }
            assert_eq!(fetched.end, None, "the shard ended");
        }
    })
    .await
}

pub(super) async fn open(bench: &Bench, at: Position) -> Box<dyn ShardReader> {
    bench.source().open(&shard(0), &at).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_position_starts_where_it_says() {
    // Several readers of one shard would meet its limit.
    let mut settings = LocalSettings::default();
    settings.throughput_limits = false;
    let bench = Bench::with_settings(1, settings);
    let mut numbers = Vec::new();
    for name in ["a", "b", "c"] {
        advance(Duration::from_millis(1_500)).await;
        numbers.push(bench.put(0, name).sequence_number);
    }
    advance(Duration::from_secs(1)).await;
    for (at, expected) in [
        (Position::TrimHorizon, &["a", "b", "c"][..]),
        (Position::AtTimestamp(0), &["a", "b", "c"]),
        (Position::AtTimestamp(EPOCH_MILLIS + 1_501), &["b", "c"]),
        (Position::AtTimestamp(EPOCH_MILLIS + 3_000), &["b", "c"]),
        (Position::at(numbers[1]), &["b", "c"]),
        (Position::after(numbers[1]), &["c"]),
        // Plain records have no parts to pass over.
        (Position::Sequence(numbers[1], Progress::Through(3)), &["b", "c"]),
    ] {
        let fetched = open(&bench, at).await.next().await.unwrap();
        assert_eq!(data(&fetched), expected, "{at}");
        let arrivals: Vec<_> = fetched.records.iter().map(|record| record.arrival_millis).collect();
        let last = EPOCH_MILLIS + 4_500;
        assert_eq!(arrivals.last(), Some(&last), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_future_is_an_error_of_configuration() {
    let bench = Bench::new(1);
    let source = bench.source();
    let future = Position::AtTimestamp(EPOCH_MILLIS + 3_600_000);
    // The stream's time is known once it has answered.
    source.describe().await.unwrap();
    let error = source.open(&shard(0), &future).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("is in the future"), "{error}");
    // Within the tolerance it waits for its time.
    bench.put(0, "early");
    let mut reader = source.open(&shard(0), &Position::AtTimestamp(EPOCH_MILLIS + 3_000)).await.unwrap();
    let mut errors = 0;
    sleep(Duration::from_millis(1_000)).await;
    let fetched = bounded(async {
        loop {
            match reader.next().await {
                Ok(fetched) => break fetched,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                    errors += 1;
                }
            }
        }
    })
    .await;
    assert!(errors > 0 && fetched.records.is_empty(), "{errors} {fetched:?}");
}

#[tokio::test(start_paused = true)]
async fn c10_reader_goes_on_after_the_last_record_once_its_iterator_expired() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "before");
    assert_eq!(next_data(&mut *reader).await, ["before"]);
    sleep(Duration::from_secs(301)).await;
    bench.put(0, "after");
    assert_eq!(next_data(&mut *reader).await, ["after"]);
    assert_eq!(bench.calls("GetShardIterator").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn c10_reader_without_a_record_opens_again_where_it_began() {
    let bench = Bench::new(1);
    for at in [Position::TrimHorizon, Position::AtTimestamp(EPOCH_MILLIS)] {
        let mut reader = open(&bench, at).await;
        reader.next().await.unwrap();
        sleep(Duration::from_secs(301)).await;
        let put = bench.put(0, "first");
        // Opened at LATEST it would pass over this one.
        sleep(Duration::from_secs(1)).await;
        assert!(next_data(&mut *reader).await.contains(&"first".to_owned()), "{at}");
        let mut reader = open(&bench, Position::after(put.sequence_number)).await;
        reader.next().await.unwrap();
        sleep(Duration::from_secs(301)).await;
        bench.put(0, "second");
        assert_eq!(next_data(&mut *reader).await, ["second"]);
    }
}

#[tokio::test(start_paused = true)]
async fn c8_one_write_after_all_was_trimmed_arrives_alone() {
    let bench = Bench::new(1);
    let old = bench.put(0, "old").sequence_number;
    for at in [Position::after(old), Position::at(old)] {
        sleep(Duration::from_secs(25 * 3_600)).await;
        let mut reader = open(&bench, at).await;
        reader.next().await.unwrap();
        bench.put(0, "new");
        let started = Instant::now();
        assert_eq!(next_data(&mut *reader).await.last().map(String::as_str), Some("new"), "{at}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_brings_its_children() {
    for end_of_shard in [EndOfShard::WithLastRecords, EndOfShard::AfterLastRecords] {
        let mut settings = LocalSettings::default();
        settings.end_of_shard = end_of_shard;
        let bench = Bench::with_settings(1, settings);
        bench.put(0, "last");
        bench.split("shardId-000000000000", "170141183460469231731687303715884105728");
        let mut reader = open(&bench, Position::TrimHorizon).await;
        let mut seen = Vec::new();
        let end = bounded(async {
            loop {
                let fetched = reader.next().await.unwrap();
                seen.extend(data(&fetched));
                if let Some(end) = fetched.end {
                    break end;
                }
            }
        })
        .await;
        assert_eq!(seen, ["last"], "{end_of_shard:?}");
        let children: Vec<_> = end.children.iter().map(|child| (&child.id, &child.parents[..])).collect();
        assert_eq!(children, [(&shard(1), &[shard(0)][..]), (&shard(2), &[shard(0)])]);
        let range = end.children[1].hash_range.unwrap();
        assert_eq!((range.start, range.end), (1 << 127, u128::MAX));
        let past = reader.next().await.unwrap_err();
        assert_eq!(past.kind(), ErrorKind::Bug);
    }
}

#[tokio::test(start_paused = true)]
async fn the_child_of_a_merge_has_both_parents() {
    let bench = Bench::new(2);
    bench.merge("shardId-000000000000", "shardId-000000000001");
    let end = open(&bench, Position::TrimHorizon).await.next().await.unwrap().end.unwrap();
    assert_eq!(end.children[0].parents, [shard(0), shard(1)]);
}

#[tokio::test(start_paused = true)]
async fn r4_an_empty_closed_shard_ends_at_once() {
    let bench = Bench::new(1);
    bench.split("shardId-000000000000", "5");
    let fetched = open(&bench, Position::TrimHorizon).await.next().await.unwrap();
    assert!(fetched.records.is_empty() && fetched.end.is_some());
}

/// Five calls within less than a second are the limit; a sixth is the error.
fn assert_at_most_five_a_second(calls: &[Instant]) {
    for six in calls.windows(6) {
        assert!(six[5] - six[0] >= Duration::from_secs(1), "six calls in {:?}", six[5] - six[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn t2_a_shard_alone_is_never_throttled_while_catching_up() {
    let bench = Bench::new(1).latency(Duration::from_millis(20));
    // 12 s of writing at the limit of the shard.
    for _ in 0..48 {
        bench.put(0, vec![b'x'; 250_000]);
        sleep(Duration::from_millis(250)).await;
    }
    let started = Instant::now();
    let source = bench.source_with(&[(ConfigKey::MaxRecords, "3")]);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    bounded(async {
        let mut count = 0;
        while count < 48 {
            count += reader.next().await.expect("never throttled").records.len();
        }
    })
    .await;
    assert_at_most_five_a_second(&bench.calls("GetRecords"));
    // 12 MB at 2 MB/s.
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn t2_a_shard_alone_is_never_throttled_whatever_its_traffic() {
    let mut rng = SmallRng::seed_from_u64(3);
    for latency in [0, 5, 80, 300] {
        let bench = Bench::new(1).latency(Duration::from_millis(latency));
        let mut reader = open(&bench, Position::TrimHorizon).await;
        let puts = async {
            for _ in 0..300 {
                let pause = if rand::Rng::random_bool(&mut rng, 0.1) { 2_000 } else { 60 };
                sleep(Duration::from_millis(pause)).await;
                bench.put(0, "x");
            }
        };
        let reads = async {
            let mut count = 0;
            while count < 300 {
                count += reader.next().await.expect("never throttled").records.len();
            }
        };
        bounded(async { tokio::join!(puts, reads) }).await;
        assert_at_most_five_a_second(&bench.calls("GetRecords"));
    }
}

#[tokio::test(start_paused = true)]
async fn t2_a_shard_that_goes_from_owner_to_owner_is_never_throttled() {
    let mut rng = SmallRng::seed_from_u64(5);
    let bench = Bench::new(1).latency(Duration::from_millis(20));
    let mut place = Position::TrimHorizon;
    let mut put = 0;
    for owner in 0..60 {
        let source = bench.source_with(&[(ConfigKey::MaxRecords, "3")]);
        let mut reader = source.open(&shard(0), &place).await.unwrap();
        // Now and then the last call is given up on its way, as by a worker that is told to hand over.
        let reads = rand::Rng::random_range(&mut rng, 6..25);
        for read in 0..reads {
            let behind = owner % 3 == 0;
            for _ in 0..if behind { 4 } else { 1 } {
                bench.put(0, "x");
                put += 1;
            }
            let last = read + 1 == reads;
            let patience = if last { rand::Rng::random_range(&mut rng, 0..300) } else { 10_000 };
            let Ok(fetched) = timeout(Duration::from_millis(patience), reader.next()).await else { break };
            for record in fetched.expect("never throttled").records {
                place = record.position();
            }
        }
        drop(reader);
        sleep(Duration::from_millis(rand::Rng::random_range(&mut rng, 0..400))).await;
    }
    assert!(put > 600, "{put}");
    assert_at_most_five_a_second(&bench.calls("GetRecords"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_is_read_once_a_second_and_fast_again_after_a_record() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    let idle = timeout(Duration::from_secs(60), async {
        loop {
            reader.next().await.unwrap();
        }
    });
    assert!(idle.await.is_err());
    let calls = bench.calls("GetRecords");
    let last: Vec<_> = calls.windows(2).rev().take(10).map(|pair| pair[1] - pair[0]).collect();
    // The SDK hands an answer over a turn of the timer later.
    let second = |pause: &Duration| (1_000..1_010).contains(&pause.as_millis());
    assert!(last.iter().all(second), "{last:?}");
    assert!(calls.len() < 75, "{}", calls.len());

    bench.put(0, "x");
    next_data(&mut *reader).await;
    let before = bench.calls("GetRecords").len();
    for _ in 0..4 {
        reader.next().await.unwrap();
    }
    let calls = &bench.calls("GetRecords")[before - 1..];
    assert!(calls[4] - calls[0] < Duration::from_millis(1_100), "{:?}", calls[4] - calls[0]);
}

#[tokio::test(start_paused = true)]
async fn twenty_records_a_second_over_four_shards_arrive_in_time() {
    const COUNT: usize = 1_200;
    let bench = Bench::new(4).latency(Duration::from_millis(4));
    let source = bench.source();
    let waits = std::sync::Mutex::new(Vec::new());
    let read = async |number: u32| {
        let mut reader = source.open(&shard(number), &Position::TrimHorizon).await.unwrap();
        while waits.lock().unwrap().len() < COUNT {
            for record in reader.next().await.unwrap().records {
                let now = bench.service.now().millis() as u64;
                waits.lock().unwrap().push(now - record.arrival_millis);
            }
        }
    };
    let puts = async {
        let mut rng = SmallRng::seed_from_u64(5);
        for _ in 0..COUNT {
            sleep(Duration::from_millis(50)).await;
            bench.put(rand::Rng::random_range(&mut rng, 0..4), "x");
        }
    };
    bounded(async { tokio::join!(puts, read(0), read(1), read(2), read(3)) }).await;
    let mut waits = waits.into_inner().unwrap();
    waits.sort_unstable();
    let (p50, p99) = (waits[COUNT / 2], waits[COUNT * 99 / 100]);
    assert!(p50 < 250 && p99 < 600, "p50 {p50} ms, p99 {p99} ms");
}

#[tokio::test(start_paused = true)]
async fn t2_a_throttled_reader_slows_down_and_loses_nothing() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    let refusal = Instead::refusal(400, "ProvisionedThroughputExceededException");
    for _ in 0..3 {
        bench.instead("GetRecords", refusal.clone());
    }
    for _ in 0..3 {
        assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Throttled);
    }
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    // The SDK tried none of them again by itself.
    let calls = bench.calls("GetRecords");
    let pauses: Vec<_> = calls.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(calls.len(), 4);
    // From four reads a second on each refusal leaves three quarters of the rate.
    for (pause, pace) in pauses.iter().zip([333, 444, 593]) {
        assert!((pace * 84 / 100..pace * 116 / 100 + 5).contains(pause), "{pauses:?}");
    }
}

/// As over a link that is too slow for the largest answers: it gets on by smaller ones.
#[tokio::test(start_paused = true)]
async fn c2_after_answers_that_do_not_arrive_less_is_asked_for() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    for _ in 0..2 {
        bench.instead("GetRecords", Instead::Silence);
        reader.next().await.unwrap_err();
    }
    bench.instead("GetRecords", Instead::refusal(400, "ProvisionedThroughputExceededException"));
    reader.next().await.unwrap_err();
    for _ in 0..6 {
        bounded(reader.next()).await.unwrap();
    }
    let limit = |body: &String| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["Limit"].as_u64()
    };
    let limits: Vec<u64> = bench.bodies().iter().filter_map(limit).collect();
    assert_eq!(limits, [10_000, 2_500, 625, 625, 1_250, 2_500, 5_000, 10_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn p7_a_hung_call_ends_and_the_next_one_goes_on() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    bench.instead("GetRecords", Instead::Silence);
    let started = Instant::now();
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(started.elapsed() < Duration::from_millis(10_100), "{:?}", started.elapsed());
    assert_eq!(next_data(&mut *reader).await, ["a"]);

    // The same for the call that opens.
    let mut reader = open(&bench, Position::TrimHorizon).await;
    for _ in 0..3 {
        bench.instead("GetShardIterator", Instead::Silence);
    }
    let started = Instant::now();
    assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Retry);
    assert!(started.elapsed() < Duration::from_millis(20_100), "{:?}", started.elapsed());
    assert_eq!(next_data(&mut *reader).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_any_kind_lose_nothing() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    for (answer, kind) in [
        (Instead::Unreachable, ErrorKind::Retry),
        (Instead::refusal(500, "InternalFailure"), ErrorKind::Retry),
        (Instead::refusal(400, "KMSThrottlingException"), ErrorKind::Throttled),
        (Instead::refusal(400, "AccessDeniedException"), ErrorKind::Permission),
        (Instead::Http(200, "{".to_owned()), ErrorKind::Retry),
    ] {
        bench.put(0, "x");
        bench.instead("GetRecords", answer.clone());
        assert_eq!(reader.next().await.unwrap_err().kind(), kind, "{answer:?}");
        assert_eq!(next_data(&mut *reader).await, ["x"], "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_counts_for_nothing() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    bench.put(0, "b");
    // The second record lacks its time; the iterator is good, and past both.
    let after = bench.iterator("LATEST");
    let records = r#"{"Data":"YQ==","PartitionKey":"k","SequenceNumber":"9","ApproximateArrivalTimestamp":1},
        {"Data":"Yg==","PartitionKey":"k","SequenceNumber":"10"}"#;
    let answer = format!(r#"{{"NextShardIterator":"{after}","Records":[{records}],"MillisBehindLatest":0}}"#);
    bench.instead("GetRecords", Instead::Http(200, answer));
    assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Retry);
    assert_eq!(next_data(&mut *reader).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn iterators_that_a_restarted_server_does_not_know_are_opened_again() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    bench.put(0, "b");
    bench.instead("GetRecords", Instead::refusal(400, "InvalidArgumentException"));
    assert_eq!(next_data(&mut *reader).await, ["b"]);

    // Refused again right after it was opened it is an error, not a loop.
    for code in ["InvalidArgumentException", "ExpiredIteratorException"] {
        bench.instead("GetRecords", Instead::refusal(400, code));
        bench.instead("GetRecords", Instead::refusal(400, code));
        let before = bench.calls("GetRecords").len();
        reader.next().await.unwrap_err();
        assert_eq!(bench.calls("GetRecords").len(), before + 2);
        bench.put(0, "c");
        assert_eq!(next_data(&mut *reader).await, ["c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_shard_is_an_error_of_data() {
    let bench = Bench::new(2);
    let elsewhere = bench.put(1, "x").sequence_number;
    let mut reader = open(&bench, Position::after(elsewhere)).await;
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("is none of shard `shardId-000000000000`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_there_is_an_error_of_data() {
    let bench = Bench::new(1);
    let mut reader = bench.source().open(&shard(7), &Position::TrimHorizon).await.unwrap();
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("shard `shardId-000000000007` of stream `s`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_iterator_is_an_error_that_says_so() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.instead("GetShardIterator", Instead::Http(200, "{}".to_owned()));
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("has no ShardIterator"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_lose_and_repeat_nothing() {
    let mut rng = SmallRng::seed_from_u64(11);
    let bench = Bench::new(1).latency(Duration::from_millis(40));
    let source = bench.source_with(&[(ConfigKey::MaxRecords, "2")]);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let (mut seen, mut dropped) = (Vec::new(), 0);
    for number in 0..200 {
        bench.put(0, number.to_string());
        let patience = Duration::from_millis(rand::Rng::random_range(&mut rng, 0..300));
        match timeout(patience, reader.next()).await {
            Ok(fetched) => seen.extend(data(&fetched.unwrap())),
            Err(_) => dropped += 1,
        }
    }
    bounded(async {
        while seen.len() < 200 {
            seen.extend(data(&reader.next().await.unwrap()));
        }
    })
    .await;
    let expected: Vec<_> = (0..200).map(|number: u32| number.to_string()).collect();
    assert_eq!(seen, expected);
    assert!(dropped > 20, "{dropped}");
    // A dropped call costs no new iterator, only one that was being fetched.
    assert!(bench.calls("GetShardIterator").len() < 10);
    assert_at_most_five_a_second(&bench.calls("GetRecords"));
}

#[tokio::test(start_paused = true)]
async fn what_lies_behind_is_said() {
    let bench = Bench::new(1);
    for name in ["a", "b"] {
        bench.put(0, name);
        advance(Duration::from_secs(3)).await;
    }
    let source = bench.source_with(&[(ConfigKey::MaxRecords, "1")]);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let behind = reader.next().await.unwrap().millis_behind_latest;
    assert!((6_000..6_100).contains(&behind), "{behind}");
    assert_eq!(reader.next().await.unwrap().millis_behind_latest, 0);
}

/// What Kinesis answers to a position past the retention: nothing, and never any nearer.
fn stalled() -> Instead {
    Instead::Http(
        200,
        r#"{"Records":[],"NextShardIterator":"stalled","MillisBehindLatest":86400000}"#.to_owned(),
    )
}

#[tokio::test(start_paused = true)]
async fn c8_a_position_past_the_retention_does_not_stall() {
    let bench = Bench::new(1);
    let trimmed = bench.put(0, "trimmed").sequence_number;
    for at in [Position::after(trimmed), Position::TrimHorizon] {
        sleep(Duration::from_secs(25 * 3_600)).await;
        let mut reader = open(&bench, at).await;
        for _ in 0..11 {
            bench.instead("GetRecords", stalled());
        }
        let (started, asked) = (Instant::now(), bench.bodies().len());
        bench.put(0, "new");
        assert_eq!(next_data(&mut *reader).await, ["new"], "{at}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        let bodies = bench.bodies().split_off(asked);
        let opened: Vec<_> = bodies.iter().filter(|body| body.contains("ShardIteratorType")).collect();
        assert_eq!(opened.len(), 2, "{opened:?}");
        assert!(opened[1].contains("AT_TIMESTAMP"), "{opened:?}");
        assert_at_most_five_a_second(&bench.calls("GetRecords"));
    }
}

#[tokio::test(start_paused = true)]
async fn c8_a_reposition_by_time_brings_nothing_older_again() {
    let bench = Bench::new(1);
    let source = bench.source_with(&[(ConfigKey::MaxRecords, "2")]);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    for name in ["a", "b", "c"] {
        bench.put(0, name);
    }
    assert_eq!(next_data(&mut *reader).await, ["a", "b"]);
    assert_eq!(next_data(&mut *reader).await, ["c"]);
    // Stuck a minute behind, so that the reposition meets the old records again.
    let behind = r#"{"Records":[],"NextShardIterator":"stalled","MillisBehindLatest":1000}"#;
    for _ in 0..11 {
        bench.instead("GetRecords", Instead::Http(200, behind.to_owned()));
    }
    bench.put(0, "d");
    assert_eq!(next_data(&mut *reader).await, ["d"]);
    bench.put(0, "e");
    assert_eq!(next_data(&mut *reader).await, ["e"]);
}
