//! The page for people, and what it is made of.

use aws_sdk_kinesis::primitives::Blob;
use rokini_local::LocalKinesis;
use rokini_local::wire::AggregateBuilder;
use serde_json::Value;
use std::time::Duration;

use super::client;
use super::safety::{JSON, LOCALHOST, ask};

async fn json(local: &LocalKinesis, path: &str) -> Value {
    let answer = ask(local.address(), &format!("GET {path}"), &[LOCALHOST], "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn it_is_served_to_browsers_and_to_no_other_site() {
    let local = LocalKinesis::builder().start().await.unwrap();
    for (path, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let answer = ask(local.address(), &format!("GET {path}"), &[LOCALHOST], "").await;
        let head = answer.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 200") && head.contains(&format!("content-type: {kind}")),
            "{head}"
        );
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(head.contains("frame-ancestors 'none'"), "{head}");
        for outside in ["http://", "https://", "//cdn"] {
            assert!(!answer.contains(&format!("=\"{outside}")), "{path} asks elsewhere");
        }
        let parts: &[&str] =
            if path == "/page.css" { &["color-scheme: light dark", "label.line"] } else { &[] };
        assert!(parts.iter().all(|part| answer.contains(part)), "what pages share, and its own: {answer}");
        let rebound = ask(local.address(), &format!("GET {path}"), &[("Host", "rebound.example")], "").await;
        assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    }
    for path in ["/", "/_rokini/streams"] {
        let evil = [LOCALHOST, ("Origin", "http://evil.example")];
        let answer = ask(local.address(), &format!("GET {path}"), &evil, "").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    // A call is none for the page.
    let call = [LOCALHOST, ("X-Amz-Target", "Kinesis_20131202.ListStreams")];
    assert!(ask(local.address(), "POST /", &call, "{}").await.contains("StreamNames"));
    // Its own page may set the clock, in JSON alone.
    let own = [("Host", "localhost:1"), ("Origin", "http://localhost:1"), JSON];
    let body = r#"{"advance_millis":1000}"#;
    assert!(ask(local.address(), "POST /_rokini/clock", &own, body).await.starts_with("HTTP/1.1 200"));
    assert_eq!(json(&local, "/_rokini/streams").await["shifted_by_millis"], 1000);
}

#[tokio::test]
async fn looking_costs_no_reads_and_leaves_no_trace() {
    let local = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    local.put("orders", "k", "hello").unwrap();
    let mut packed = AggregateBuilder::default();
    packed.push("ann", None, b"first");
    packed.push("bob", None, b"second");
    local.put("orders", "a", packed.build()).unwrap();
    for _ in 0..20 {
        let seen = json(&local, "/_rokini/streams").await;
        let shard = &seen["overview"]["stream"]["shards"][0];
        assert_eq!((&shard["records"], &shard["read_records"]), (&2.into(), &0.into()));
        let records = json(&local, "/_rokini/records?stream=0&shard=0&last=5").await;
        assert_eq!(records[0]["user_records"][1]["partition_key"], "bob");
        assert_eq!(records[0]["user_records"][1]["data_base64"], "c2Vjb25k");
        assert_eq!(
            (&records[1]["partition_key"], &records[1]["data_base64"]),
            (&"k".into(), &"aGVsbG8=".into())
        );
    }
    assert_eq!(local.calls(), []);
    // The five reads of a second are all there.
    let client = client::kinesis(&local);
    let mut at = client::iterator(&client, "shardId-000000000000").await;
    for _ in 0..5 {
        at = client.get_records().shard_iterator(at).send().await.unwrap().next_shard_iterator.unwrap();
    }
    let seen = json(&local, "/_rokini/streams").await;
    assert_eq!(seen["overview"]["stream"]["shards"][0]["read_records"], 2);
    let missing = ask(local.address(), "GET /_rokini/records?stream=0&shard=7", &[LOCALHOST], "").await;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
}

#[tokio::test]
async fn a_test_can_wait_for_a_reader() {
    let local = LocalKinesis::builder().stream("orders", 1).throughput_limits(false).start().await.unwrap();
    let client = client::kinesis(&local);
    client.put_record().stream_name("orders").partition_key("k").data(Blob::new("x")).send().await.unwrap();
    let soon = Duration::from_millis(50);
    let early = local.wait_until_consumed("orders", "local", soon).await.unwrap_err();
    assert_eq!((early.shards.as_slice(), early.seen.len()), (&["shardId-000000000000".to_owned()][..], 0));
    let at = client::iterator(&client, "shardId-000000000000").await;
    let read = client.get_records().shard_iterator(at).send().await.unwrap();
    assert_eq!(read.records().len(), 1);
    local.wait_until_consumed("orders", "local", soon).await.unwrap_err();
    // It asks for what follows.
    let next = client.get_records().shard_iterator(read.next_shard_iterator.unwrap()).send();
    let (waited, asked) =
        tokio::join!(local.wait_until_consumed("orders", "local", Duration::from_secs(60)), next);
    asked.unwrap();
    waited.unwrap();
    let other = local.wait_until_consumed("orders", "other", soon).await.unwrap_err();
    assert_eq!(other.seen, ["local"], "{other}");
    local.wait_until_consumed("nothing", "local", soon).await.unwrap_err();
}
