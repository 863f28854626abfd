use std::collections::HashSet;

use super::client::stream_time;
use super::*;
use crate::aws;
use crate::config::ConsumerConfig;
use crate::source::testing::{Bench, EPOCH_MILLIS, Instead, shard as shard_id};

#[tokio::test(start_paused = true)]
async fn c14_the_id_of_a_stream_has_its_creation_in_it() {
    let bench = Bench::new(1);
    let description = bench.source().describe().await.unwrap();
    assert_eq!(description.name, "s");
    assert_eq!(description.id.as_str(), format!("s@{EPOCH_MILLIS}"));
    assert_eq!(description.retention, Duration::from_secs(24 * 3_600));
}

#[tokio::test(start_paused = true)]
async fn l10_the_time_is_the_streams_not_the_hosts() {
    let bench = Bench::new(1);
    let source = bench.source().wall_clock(WallClock::from_fn(|| 5));
    tokio::time::advance(Duration::from_millis(2_700)).await;
    let now = source.describe().await.unwrap().now_millis;
    assert!((EPOCH_MILLIS + 2_000..=EPOCH_MILLIS + 2_710).contains(&now), "{now}");
}

#[test]
fn the_streams_time_falls_back_to_the_wall_clock() {
    let wall = || 309_000;
    for (answered, created, expected) in [
        (Some(7_000), 1_000, 7_000),
        // As far back as the host's clock may be wrong: a start at `latest` does not lie in the future.
        (None, 1_000, 9_000),
        // Cut to the second, the answer may lie before the creation, by less than a second.
        (Some(7_000), 7_999, 7_999),
        (Some(7_000), 8_000, 9_000),
        (None, 10_000, 10_000),
    ] {
        assert_eq!(stream_time(answered, created, wall), expected, "{answered:?} {created}");
    }
}

#[tokio::test(start_paused = true)]
async fn describe_waits_for_a_stream_that_is_being_created() {
    let mut settings = rokini_local::LocalSettings::default();
    settings.status_change = Duration::from_secs(30);
    let bench = Bench::with_settings(1, settings);
    let started = Instant::now();
    bench.source().describe().await.unwrap();
    assert!((30..32).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn describe_does_not_wait_for_ever() {
    let mut settings = rokini_local::LocalSettings::default();
    settings.status_change = Duration::from_secs(3_600);
    let error = Bench::with_settings(1, settings).source().describe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("still being created after 300 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_lack_something_are_errors() {
    let summary = |fields: &str| {
        Instead::Http(
            200,
            format!(r#"{{"StreamDescriptionSummary":{{"StreamName":"s","StreamStatus":"ACTIVE"{fields}}}}}"#),
        )
    };
    for (answer, expected) in [
        (Instead::Http(200, "{}".to_owned()), "has no StreamCreationTimestamp"),
        (summary(r#","RetentionPeriodHours":24"#), "has no StreamCreationTimestamp"),
        (summary(r#","StreamCreationTimestamp":1700000000.123"#), "has no RetentionPeriodHours"),
    ] {
        let bench = Bench::new(1);
        bench.instead("DescribeStreamSummary", answer);
        let error = bench.source().describe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a4_a_stream_that_spreads_records_by_itself_is_known_by_its_description() {
    let bench = Bench::new(1);
    let source = bench.source();
    for (strategy, by_hash) in [
        ("", true),
        (r#","RecordDistributionStrategy":"AUTO""#, false),
        (r#","RecordDistributionStrategy":"USER_PARTITION_KEY""#, true),
    ] {
        let body = format!(
            r#"{{"StreamDescriptionSummary":{{"StreamName":"s","StreamStatus":"ACTIVE","RetentionPeriodHours":24,
            "StreamARN":"arn:aws:kinesis:eu-west-1:123456789012:stream/s","EnhancedMonitoring":[],"OpenShardCount":1,
            "StreamCreationTimestamp":1700000000{strategy}}}}}"#
        );
        bench.instead("DescribeStreamSummary", Instead::Http(200, body));
        source.describe().await.unwrap();
        assert_eq!(source.places_by_hash(), by_hash, "{strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn c12_a_failed_call_is_tried_again() {
    let bench = Bench::new(2);
    for operation in ["DescribeStreamSummary", "ListShards", "GetShardIterator"] {
        bench.instead(operation, Instead::Unreachable);
        bench.instead(operation, Instead::refusal(500, "InternalFailure"));
    }
    let source = bench.source();
    source.describe().await.unwrap();
    assert_eq!(source.list_shards(ShardSelection::All).await.unwrap().len(), 2);
    source.open(&shard_id(0), &Position::TrimHorizon).await.unwrap().next().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r8_a_listing_of_2500_shards_pages() {
    let bench = Bench::new(2_500);
    let shards = bench.source().list_shards(ShardSelection::All).await.unwrap();
    let ids: HashSet<_> = shards.iter().map(|shard| shard.id.clone()).collect();
    assert_eq!((shards.len(), ids.len()), (2_500, 2_500));
    let bodies = bench.bodies();
    assert_eq!(bodies.len(), 3);
    for body in &bodies[1..] {
        assert!(body.contains("NextToken") && !body.contains("StreamName"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_whose_token_expired_is_begun_again() {
    let bench = Bench::new(1_500);
    let page = Instead::Http(200, r#"{"Shards":[],"NextToken":"stale"}"#.to_owned());
    for answer in [page, Instead::refusal(400, "ExpiredNextTokenException")] {
        bench.instead("ListShards", answer);
    }
    assert_eq!(bench.source().list_shards(ShardSelection::All).await.unwrap().len(), 1_500);

    for _ in 0..3 {
        bench.instead("ListShards", Instead::refusal(400, "ExpiredNextTokenException"));
    }
    let error = bench.source().list_shards(ShardSelection::All).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
}

/// A stream whose shard 0 was split into 1 and 2 a minute after its creation, and 1 into 3 and 4 another
/// minute later.
async fn grown() -> Bench {
    let bench = Bench::new(1);
    for (parent, at) in [("shardId-000000000000", "1000"), ("shardId-000000000001", "500")] {
        tokio::time::advance(Duration::from_secs(60)).await;
        bench.split(parent, at);
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    bench
}

async fn listed(source: &KinesisSource, which: ShardSelection) -> Vec<u32> {
    let shards = source.list_shards(which).await.unwrap();
    let number = |shard: &ShardDescription| shard.id.as_str().rsplit('-').next().unwrap().parse().unwrap();
    shards.iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn each_selection_lists_the_right_shards() {
    let bench = grown().await;
    let source = bench.source();
    let between = ShardSelection::AtTimestamp(EPOCH_MILLIS + 90_000);
    for (which, expected) in [
        (ShardSelection::All, &[0, 1, 2, 3, 4][..]),
        (ShardSelection::Latest, &[2, 3, 4]),
        (ShardSelection::TrimHorizon, &[0]),
        (between, &[1, 2]),
    ] {
        assert_eq!(listed(&source, which).await, expected, "{which:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_ignore_or_refuse_filters_get_the_selection_made_here() {
    let bench = grown().await;
    let whole = bench.source().list_shards(ShardSelection::All).await.unwrap();
    let entry = |shard: &ShardDescription| {
        let parent =
            shard.parents.first().map(|id| format!(r#","ParentShardId":"{id}""#)).unwrap_or_default();
        let end = if shard.closed { r#","EndingSequenceNumber":"9""# } else { "" };
        format!(
            r#"{{"ShardId":"{}"{parent},"HashKeyRange":{{"StartingHashKey":"0","EndingHashKey":"1"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"{end}}}}}"#,
            shard.id
        )
    };
    let ignored = format!(r#"{{"Shards":[{}]}}"#, whole.iter().map(entry).collect::<Vec<_>>().join(","));
    for first in [
        None,
        Some(Instead::refusal(400, "InvalidArgumentException")),
        Some(Instead::refusal(400, "ValidationException")),
    ] {
        for (which, expected) in [
            (ShardSelection::Latest, &[2, 3, 4][..]),
            (ShardSelection::TrimHorizon, &[0]),
            (ShardSelection::AtTimestamp(EPOCH_MILLIS + 90_000), &[0]),
        ] {
            if let Some(refusal) = &first {
                bench.instead("ListShards", refusal.clone());
            }
            bench.instead("ListShards", Instead::Http(200, ignored.clone()));
            assert_eq!(listed(&bench.source(), which).await, expected, "{first:?} {which:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_there_says_what_to_check() {
    let bench = Bench::new(1);
    let config = ConsumerConfig::default();
    let source = KinesisSource::new(&bench.config(), "other".parse().unwrap(), &config, 1).unwrap();
    for error in [source.describe().await.err(), source.list_shards(ShardSelection::All).await.err()] {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error
                .to_string()
                .starts_with("stream `other` does not exist in region `eu-west-1`: check the name"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_named_by_its_arn() {
    let mut settings = rokini_local::LocalSettings::default();
    settings.region = "eu-west-1".to_owned();
    let bench = Bench::with_settings(1, settings);
    let config = ConsumerConfig::default();
    let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
    let source = KinesisSource::new(&bench.config(), arn.parse().unwrap(), &config, 1).unwrap();
    assert_eq!(source.describe().await.unwrap().id.as_str(), format!("s@{EPOCH_MILLIS}"));
    assert_eq!(source.list_shards(ShardSelection::All).await.unwrap().len(), 1);
    source.open(&shard_id(0), &Position::TrimHorizon).await.unwrap().next().await.unwrap();
    for body in bench.bodies() {
        assert!(body.contains("StreamARN") && !body.contains("StreamName"), "{body}");
    }

    let elsewhere = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let error = KinesisSource::new(&bench.config(), elsewhere.parse().unwrap(), &config, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().ends_with("set `AWS_REGION=us-east-1`"), "{error}");
}

#[test]
fn without_a_region_there_is_no_source() {
    let config = ConsumerConfig::default();
    let aws = SdkConfig::builder().behavior_version(aws::behavior()).build();
    let error = KinesisSource::new(&aws, "s".parse().unwrap(), &config, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("set `AWS_REGION`"), "{error}");
}
