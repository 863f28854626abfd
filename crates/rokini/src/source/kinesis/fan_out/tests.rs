//! The real SDK against the model's subscriptions, in virtual time.

use std::time::Duration;

use rand::Rng;
use rokini_local::wire::Codec;
use tokio::time::{advance, sleep};

use super::*;
use crate::config::ConfigKey;
use crate::source::kinesis::polling::tests::{bounded, data, next_data};
use crate::source::stream_source::FanOut;
use crate::source::testing::{Bench, Instead, shard};
use crate::types::error::ErrorKind;

const EVENT: &str = "SubscribeToShardEvent";
const SUBSCRIBE: &str = "SubscribeToShard";

async fn open_for(bench: &Bench, at: Position, arn: &str) -> Box<dyn ShardReader> {
    bench.source().subscribe(&shard(0), &at, arn).await.unwrap()
}

async fn open(bench: &Bench, at: Position) -> Box<dyn ShardReader> {
    let arn = bench.register("g");
    open_for(bench, at, &arn).await
}

/// Reads for so long; the data and the notices that came.
async fn read_for(reader: &mut dyn ShardReader, time: Duration) -> (Vec<String>, Vec<SourceEvent>) {
    let (mut seen, mut notices, end) = (Vec::new(), Vec::new(), Instant::now() + time);
    while let Ok(answer) = tokio::time::timeout_at(end, reader.next()).await {
        let fetched = answer.unwrap();
        seen.extend(data(&fetched));
        notices.extend(fetched.notice);
    }
    (seen, notices)
}

#[tokio::test(start_paused = true)]
async fn each_position_starts_where_it_says() {
    let bench = Bench::new(1);
    let mut numbers = Vec::new();
    for name in ["a", "b", "c"] {
        advance(Duration::from_millis(1_500)).await;
        numbers.push(bench.put(0, name).sequence_number);
    }
    advance(Duration::from_secs(1)).await;
    for (case, (at, expected)) in [
        (Position::TrimHorizon, &["a", "b", "c"][..]),
        (Position::AtTimestamp(crate::source::testing::EPOCH_MILLIS + 1_501), &["b", "c"]),
        (Position::at(numbers[1]), &["b", "c"]),
        (Position::after(numbers[1]), &["c"]),
    ]
    .into_iter()
    .enumerate()
    {
        let arn = bench.register(&format!("g{case}"));
        let mut reader = open_for(&bench, at, &arn).await;
        assert_eq!(next_data(&mut *reader).await, expected, "{at}");
    }
    assert_eq!(bench.calls("GetRecords"), []);
}

#[tokio::test(start_paused = true)]
async fn t4_subscriptions_follow_each_other_every_five_minutes_without_a_word() {
    for wire in ["auto", "cbor", "json"] {
        let bench = Bench::new(1);
        let arn = bench.register("g");
        let source = bench.source_with(&[(ConfigKey::Wire, wire)]);
        let mut reader = source.subscribe(&shard(0), &Position::TrimHorizon, &arn).await.unwrap();
        let mut expected = Vec::new();
        let mut seen = Vec::new();
        for number in 0..60 {
            bench.put(0, number.to_string());
            expected.push(number.to_string());
            let (read, notices) = read_for(&mut *reader, Duration::from_secs(31)).await;
            assert_eq!(notices, []);
            seen.extend(read);
        }
        assert_eq!(seen, expected, "{wire}");
        // 31 minutes.
        assert_eq!(bench.calls(SUBSCRIBE).len(), 7, "{wire}");
        assert_eq!(bench.calls("GetRecords"), [], "{wire}");
        let codec = if wire == "json" { Codec::Json } else { Codec::Cbor };
        assert!(bench.codecs(SUBSCRIBE).iter().all(|asked| *asked == codec), "{wire}");
    }
}

#[tokio::test(start_paused = true)]
async fn r7_the_end_of_a_shard_is_one_event_and_no_other_subscription() {
    for end in [rokini_local::EndOfShard::WithLastRecords, rokini_local::EndOfShard::AfterLastRecords] {
        let mut settings = rokini_local::LocalSettings::default();
        settings.end_of_shard = end;
        let bench = Bench::with_settings(1, settings);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        assert_eq!(next_data(&mut *reader).await, ["a"]);
        bench.put(0, "b");
        bench.split("shardId-000000000000", "5");
        let mut seen = Vec::new();
        let ended = bounded(async {
            loop {
                let fetched = reader.next().await.unwrap();
                assert_eq!(fetched.notice, None);
                seen.extend(data(&fetched));
                if let Some(end) = fetched.end {
                    return end;
                }
            }
        })
        .await;
        assert_eq!(seen, ["b"]);
        assert_eq!(ended.children.iter().map(|child| &child.id).collect::<Vec<_>>(), [&shard(1), &shard(2)]);
        assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Bug);
        sleep(Duration::from_secs(600)).await;
        assert_eq!((bench.calls(SUBSCRIBE).len(), bench.calls("GetRecords").len()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_another_worker_had_a_moment_ago_is_polled_until_it_can_be_subscribed_to() {
    for before in [Duration::ZERO, Duration::from_millis(2_500), Duration::from_millis(4_900)] {
        let bench = Bench::new(1);
        let arn = bench.register("g");
        let mut old = open_for(&bench, Position::TrimHorizon, &arn).await;
        let first = bench.put(0, "a").sequence_number;
        assert_eq!(next_data(&mut *old).await, ["a"]);
        sleep(before).await;
        drop(old);
        let mut new = open_for(&bench, Position::after(first), &arn).await;
        let begun = Instant::now();
        let (mut slowest, mut subscribed) = (Duration::ZERO, None);
        for number in 0..100 {
            bench.put(0, number.to_string());
            let put = Instant::now();
            let fetched = bounded(async {
                loop {
                    let fetched = new.next().await.unwrap();
                    if fetched.notice == Some(SourceEvent::Subscribed) {
                        subscribed = Some(begun.elapsed());
                    }
                    if !fetched.records.is_empty() {
                        return fetched;
                    }
                }
            })
            .await;
            assert_eq!(data(&fetched), [number.to_string()]);
            slowest = slowest.max(put.elapsed());
            advance(Duration::from_millis(70)).await;
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let subscribed = subscribed.expect("never subscribed");
        assert!(subscribed < Duration::from_millis(6_500), "{subscribed:?}");
        let calls = bench.calls(SUBSCRIBE);
        assert!(calls[1..].windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(1)), "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_its_subscription_to_another_reader_says_so_and_polls() {
    let bench = Bench::new(1);
    let arn = bench.register("g");
    let mut reader = open_for(&bench, Position::TrimHorizon, &arn).await;
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    sleep(Duration::from_secs(6)).await;
    let mut thief = open_for(&bench, Position::TrimHorizon, &arn).await;
    assert_eq!(next_data(&mut *thief).await, ["a"]);
    bench.put(0, "b");
    let (seen, notices) = read_for(&mut *reader, Duration::from_secs(4)).await;
    assert_eq!(seen, ["b"]);
    assert!(
        matches!(&notices[..], [SourceEvent::SubscriptionRefused { reason }] if reason.contains("fan_out_consumer")),
        "{notices:?}"
    );
    assert_eq!(bench.calls(SUBSCRIBE).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_falls_silent_is_replaced() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    bench.instead(EVENT, Instead::Silence);
    bench.put(0, "b");
    let begun = Instant::now();
    assert_eq!(next_data(&mut *reader).await, ["b"]);
    assert!(begun.elapsed() < subscription::SILENCE + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(bench.calls(SUBSCRIBE).len(), 2);
}

/// Nobody waits while nothing is taken: that is no silence.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_keeps_its_subscription() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    for number in 0..4 {
        bench.put(0, number.to_string());
        assert_eq!(next_data(&mut *reader).await, [number.to_string()]);
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(bench.calls(SUBSCRIBE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_given_up_goes_on_after_the_last_record_returned() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    sleep(Duration::from_secs(10)).await;
    bench.put(0, "b");
    // It has the event, and does not return it.
    bounded(reader.ready()).await;
    reader.rest();
    sleep(Duration::from_secs(3_600)).await;
    bench.put(0, "c");
    assert_eq!(bench.calls(SUBSCRIBE).len(), 1, "whoever rests subscribes to nothing");
    let (seen, notices) = read_for(&mut *reader, Duration::from_secs(5)).await;
    assert_eq!((seen, notices), (vec!["b".to_owned(), "c".to_owned()], vec![]));
    assert_eq!(bench.calls("GetRecords"), []);
}

#[tokio::test(start_paused = true)]
async fn c8_after_a_silence_longer_than_the_retention_nothing_old_comes_again() {
    let bench = Bench::new(1);
    let arn = bench.register("g");
    let mut reader = open_for(&bench, Position::TrimHorizon, &arn).await;
    bench.put(0, "old");
    assert_eq!(next_data(&mut *reader).await, ["old"]);
    let mut read_to = None;
    let end = Instant::now() + Duration::from_secs(30 * 3_600);
    while let Ok(fetched) = tokio::time::timeout_at(end, reader.next()).await {
        let fetched = fetched.unwrap();
        assert_eq!((data(&fetched), fetched.notice), (Vec::<String>::new(), None));
        read_to = fetched.read_to.or(read_to);
    }
    // The same reader, and one that begins where this one has come to.
    for (at, expected) in [(None, &["new"][..]), (read_to, &["new", "new"])] {
        if let Some(at) = at {
            reader = open_for(&bench, at, &arn).await;
        }
        bench.put(0, "new");
        let begun = Instant::now();
        assert_eq!(next_data(&mut *reader).await, expected);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        sleep(Duration::from_secs(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn exceptions_in_a_subscription_are_told_and_the_shard_is_read_on() {
    for (code, told) in [
        ("InternalFailureException", true),
        ("LimitExceededException", true),
        ("KMSThrottlingException", true),
        ("ResourceInUseException", true),
        // Both are there all the same.
        ("ResourceNotFoundException", false),
    ] {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        assert_eq!(next_data(&mut *reader).await, ["a"], "{code}");
        bench.instead(EVENT, Instead::Http(400, code.to_owned()));
        bench.put(0, "b");
        let (seen, notices) = read_for(&mut *reader, Duration::from_secs(3)).await;
        assert_eq!(seen, ["b"], "{code}");
        let refused = notices.iter().any(|notice| matches!(notice, SourceEvent::SubscriptionRefused { .. }));
        assert_eq!(refused, told, "{code}: {notices:?}");
        let (_, notices) = read_for(&mut *reader, Duration::from_secs(40)).await;
        assert_eq!(notices, [SourceEvent::Subscribed], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn p1_an_event_that_does_not_fit_is_polled_in_parts() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "first");
    assert_eq!(next_data(&mut *reader).await, ["first"]);
    let large = "x".repeat(50_000);
    for _ in 0..10 {
        bench.put(0, &*large);
    }
    let (mut came, mut notices) = (0, Vec::new());
    while came < 10 {
        reader.ready().await;
        reader.read_at_most(120_000);
        let fetched = bounded(reader.next()).await.unwrap();
        assert!(fetched.records.len() <= 2 || came == 0, "{} records", fetched.records.len());
        came += fetched.records.len();
        notices.extend(fetched.notice);
    }
    let [SourceEvent::SubscriptionWaits { reason }] = &notices[..] else { panic!("{notices:?}") };
    assert!(reason.contains("`memory_budget`"), "{reason}");
    let (_, notices) = read_for(&mut *reader, Duration::from_secs(60)).await;
    assert_eq!(notices, [SourceEvent::Subscribed]);
    assert_eq!(bench.calls(SUBSCRIBE).len(), 2);
}

/// As some servers answer where another subscription is there, or was a moment ago: with a stream that says so.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_in_its_stream_waits_as_any_other() {
    let bench = Bench::new(1);
    bench.instead(EVENT, Instead::Http(400, "ResourceInUseException".to_owned()));
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    let (seen, notices) = read_for(&mut *reader, Duration::from_secs(20)).await;
    assert_eq!(seen, ["a"]);
    let [SourceEvent::SubscriptionWaits { reason }, SourceEvent::Subscribed] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert!(reason.starts_with("ResourceInUseException"), "{reason}");
    let calls = bench.calls(SUBSCRIBE);
    assert!(
        (5..=7).contains(&calls.len()),
        "the next one that goes through is five seconds later: {calls:?}"
    );
    assert!(calls.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_deregistered_is_told_once_and_the_shard_is_polled() {
    let bench = Bench::new(1);
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    assert_eq!(next_data(&mut *reader).await, ["a"]);
    assert!(bench.source().deregister_consumer("g").await.unwrap());
    assert!(!bench.source().deregister_consumer("g").await.unwrap());
    bench.put(0, "b");
    let (seen, notices) = read_for(&mut *reader, Duration::from_secs(120)).await;
    assert_eq!((seen, notices), (vec!["b".to_owned()], vec![SourceEvent::ConsumerGone]));
}

#[tokio::test(start_paused = true)]
async fn events_that_say_nothing_are_asked_for_again() {
    for body in [
        "{}",
        "<html>",
        r#"{"Records":[],"ContinuationSequenceNumber":"x","MillisBehindLatest":0}"#,
        r#"{"Records":[{"SequenceNumber":"9","Data":"","ApproximateArrivalTimestamp":1},
            {"SequenceNumber":"7","Data":"","ApproximateArrivalTimestamp":1}],"ContinuationSequenceNumber":"9"}"#,
    ] {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        assert_eq!(next_data(&mut *reader).await, ["a"], "{body}");
        bench.instead(EVENT, Instead::Http(200, body.to_owned()));
        bench.put(0, "b");
        let end = Instant::now() + Duration::from_secs(5);
        let mut seen = Vec::new();
        while let Ok(answer) = tokio::time::timeout_at(end, reader.next()).await {
            match answer {
                Ok(fetched) => seen.extend(data(&fetched)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{body}"),
            }
        }
        assert_eq!(seen, ["b"], "{body}");
    }
}

/// As with polling: nothing ends an open shard.
#[tokio::test(start_paused = true)]
async fn a5_an_event_without_continuation_and_children_ends_nothing() {
    for body in [r#"{"Records":[],"MillisBehindLatest":0}"#, r#"{"Records":[],"ChildShards":[]}"#] {
        let bench = Bench::new(1);
        let mut reader = open(&bench, Position::TrimHorizon).await;
        bench.put(0, "a");
        assert_eq!(next_data(&mut *reader).await, ["a"]);
        bench.instead(EVENT, Instead::Http(200, body.to_owned()));
        bench.put(0, "b");
        let (seen, _) = read_for(&mut *reader, Duration::from_secs(3)).await;
        assert_eq!(seen, ["b"], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_permission_to_subscribe_is_told_and_the_shard_is_polled() {
    let bench = Bench::new(1);
    for _ in 0..10 {
        bench.instead(SUBSCRIBE, Instead::refusal(400, "AccessDeniedException"));
    }
    let mut reader = open(&bench, Position::TrimHorizon).await;
    bench.put(0, "a");
    let (seen, notices) = read_for(&mut *reader, Duration::from_secs(60)).await;
    assert_eq!(seen, ["a"]);
    let [SourceEvent::SubscriptionRefused { reason }] = &notices[..] else { panic!("{notices:?}") };
    assert!(reason.contains("kinesis:SubscribeToShard") && reason.contains("IAM policy"), "{reason}");
    assert!(bench.calls(SUBSCRIBE).len() < 10, "it backs off");
}

/// Whatever breaks, and wherever calls are dropped: every record once, in order.
#[tokio::test(start_paused = true)]
async fn c10_nothing_is_lost_whatever_happens_to_subscriptions() {
    for seed in 0..6 {
        let bench = Bench::new(1).latency(Duration::from_millis(20));
        let mut rng = SmallRng::seed_from_u64(seed);
        let arn = bench.register("g");
        let mut reader = open_for(&bench, Position::TrimHorizon, &arn).await;
        let (mut put, mut seen) = (0_u32, Vec::new());
        for _ in 0..120 {
            for _ in 0..rng.random_range(0..4) {
                bench.put(0, put.to_string());
                put += 1;
            }
            let codes = ["InternalFailureException", "LimitExceededException", "ResourceInUseException"];
            match rng.random_range(0..12) {
                0 => bench.instead(EVENT, Instead::Unreachable),
                1 => bench.instead(EVENT, Instead::Silence),
                2 => bench.instead(EVENT, Instead::Http(400, codes[rng.random_range(0..3)].to_owned())),
                3 => bench.instead(EVENT, Instead::Http(200, "{".to_owned())),
                4 => bench.instead(SUBSCRIBE, Instead::refusal(400, codes[rng.random_range(0..3)])),
                5 => bench.instead(SUBSCRIBE, Instead::Silence),
                6 => reader.rest(),
                7 => sleep(Duration::from_secs(rng.random_range(1..400))).await,
                _ => {}
            }
            let end = Instant::now() + Duration::from_millis(rng.random_range(1..9_000));
            while let Ok(answer) = tokio::time::timeout_at(end, reader.next()).await {
                seen.extend(answer.iter().flat_map(data));
                if rng.random_bool(0.1) {
                    let _ = timeout(Duration::from_millis(15), reader.ready()).await;
                }
            }
        }
        let (rest, _) = async {
            let end = Instant::now() + Duration::from_secs(600);
            let mut rest = Vec::new();
            while let Ok(answer) = tokio::time::timeout_at(end, reader.next()).await {
                rest.extend(answer.iter().flat_map(data));
            }
            (rest, ())
        }
        .await;
        seen.extend(rest);
        let expected: Vec<_> = (0..put).map(|number| number.to_string()).collect();
        assert_eq!(seen, expected, "seed {seed}");
        let calls = bench.calls(SUBSCRIBE);
        assert!(calls.windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(1)), "seed {seed}");
    }
}
