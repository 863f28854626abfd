//! What keeps web pages and others away from an endpoint on a developer's machine.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use rokini_local::wire::StreamMode;
use rokini_local::wire::shapes::record::PutRecordRequest;
use rokini_local::wire::shapes::stream::{CreateStreamRequest, StreamModeDetails};
use rokini_local::{Fault, FaultRule, LocalKinesis, LocalKinesisBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client;

/// The answer to a request with these headers and body, head and all.
pub(crate) async fn ask(
    to: std::net::SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn start(builder: LocalKinesisBuilder) -> LocalKinesis {
    builder.stream("orders", 1).start().await.unwrap()
}

const LIST: (&str, &str) = ("X-Amz-Target", "Kinesis_20131202.ListStreams");
pub(crate) const LOCALHOST: (&str, &str) = ("Host", "localhost");
pub(super) const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn only_host_names_that_are_known_are_answered() {
    let local = start(LocalKinesis::builder()).await;
    let named = start(LocalKinesis::builder().host_name("kinesis")).await;
    for (host, by_default, when_named) in [
        ("localhost:4567", true, true),
        ("orders.localhost", true, true),
        ("127.0.0.1", true, true),
        ("123456789012.data-kinesis.us-east-1.amazonaws.com", true, true),
        ("kinesis", false, true),
        ("kinesis-x.s3.amazonaws.com", false, false),
        ("rebound.example", false, false),
    ] {
        for (endpoint, expected) in [(&local, by_default), (&named, when_named)] {
            let answer = ask(endpoint.address(), "POST /", &[("Host", host), LIST], "{}").await;
            assert_eq!(answer.starts_with("HTTP/1.1 200"), expected, "{host}: {answer}");
            assert!(expected || answer.contains(&format!("--host-name {host}")), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_host_name_of_aws_says_which_region_and_account() {
    let local = start(LocalKinesis::builder()).await;
    let host = ("Host", "222222222222.control-kinesis.eu-west-1.amazonaws.com");
    let create = ("X-Amz-Target", "Kinesis_20131202.CreateStream");
    let body = r#"{"StreamName":"there","ShardCount":1}"#;
    assert!(ask(local.address(), "POST /", &[host, create], body).await.starts_with("HTTP/1.1 200"));
    let answer = ask(local.address(), "POST /", &[host, LIST], "{}").await;
    assert!(answer.contains("arn:aws:kinesis:eu-west-1:222222222222:stream/there"), "{answer}");
    assert!(!answer.contains("orders"), "{answer}");
}

#[tokio::test]
async fn web_pages_are_refused_unless_asked_for() {
    let local = start(LocalKinesis::builder()).await;
    let open = start(LocalKinesis::builder().cors_origin("http://localhost:3000")).await;
    let page = ("Origin", "http://localhost:3000");
    for (endpoint, allowed) in [(&local, false), (&open, true)] {
        let answer = ask(endpoint.address(), "POST /", &[LOCALHOST, LIST, page], "{}").await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), allowed, "{answer}");
        assert_eq!(
            answer.contains("access-control-allow-origin: http://localhost:3000"),
            allowed,
            "{answer}"
        );
        let preflight = ask(endpoint.address(), "OPTIONS /", &[LOCALHOST, page], "").await;
        assert_eq!(preflight.starts_with("HTTP/1.1 204"), allowed, "{preflight}");
        let evil = ("Origin", "http://evil.example");
        let answer = ask(endpoint.address(), "GET /_rokini/calls", &[LOCALHOST, evil], "").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[tokio::test]
async fn control_takes_only_what_no_form_can_send() {
    let local = start(LocalKinesis::builder()).await;
    let body = r#"{"advance_millis":1000}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer =
            ask(local.address(), "POST /_rokini/clock", &[LOCALHOST, ("Content-Type", kind)], body).await;
        assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    }
    let answer = ask(local.address(), "POST /_rokini/clock", &[LOCALHOST, JSON], body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let large = format!(r#"{{"advance_millis":1000{}}}"#, " ".repeat(70_000));
    let answer = ask(local.address(), "POST /_rokini/clock", &[LOCALHOST, JSON], &large).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn taking_away_needs_no_body_and_no_page_can() {
    let local = start(LocalKinesis::builder()).await;
    let rule = FaultRule::on("ListStreams", Fault::Throttle);
    let call = async |method: &str, path: &str, header: (&str, &str)| {
        ask(local.address(), &format!("{method} /_rokini/{path}"), &[LOCALHOST, JSON, header], "{}").await
    };
    local.faults().add(rule.clone());
    // What a page asks for by a script bears its origin; what it has the browser fetch, which cannot be a DELETE, says so at least.
    for header in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        for (method, path) in
            [("DELETE", "faults"), ("DELETE", "calls"), ("POST", "limits"), ("GET", "calls")]
        {
            let answer = call(method, path, header).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{method} {path}: {answer}");
        }
    }
    assert_eq!(local.faults().list().len(), 1);
    let bare = ask(local.address(), "DELETE /_rokini/faults", &[LOCALHOST], "").await;
    assert!(bare.starts_with("HTTP/1.1 200"), "{bare}");
    assert_eq!(local.faults().list().len(), 0);
}

#[tokio::test]
async fn the_clock_stays_where_times_can_be_written() {
    let local = start(LocalKinesis::builder()).await;
    for (by, reached) in
        [(253_402_300_799_000_i64, 253_370_764_800_000_i64), (i64::MIN, 0), (i64::MAX, 253_370_764_800_000)]
    {
        let body = format!(r#"{{"advance_millis":{by}}}"#);
        let answer = ask(local.address(), "POST /_rokini/clock", &[LOCALHOST, JSON], &body).await;
        let told: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        // The clock goes on by itself.
        assert!(
            (reached..reached + 60_000).contains(&told["now_millis"].as_i64().unwrap()),
            "{by}: {answer}"
        );
    }
    local.advance(Duration::MAX);
    local.put("orders", "k", "x").unwrap();
    let client = client::kinesis(&local);
    let at = client::iterator(&client, "shardId-000000000000").await;
    let read = client.get_records().shard_iterator(at).send().await.unwrap();
    let arrived = read.records()[0].approximate_arrival_timestamp().unwrap();
    let text = arrived.fmt(aws_sdk_kinesis::primitives::DateTimeFormat::DateTime).unwrap();
    assert!(text.starts_with("9999-01-01T00:00:"), "{text}");
}

#[tokio::test]
async fn rules_and_the_journal_are_bounded() {
    let local = start(LocalKinesis::builder()).await;
    let rule = r#"{"operation":"MergeShards","fault":{"kind":"throttle"}}"#;
    for _ in 0..1_000 {
        local.faults().add(serde_json::from_str(rule).unwrap());
    }
    let answer = ask(local.address(), "POST /_rokini/faults", &[LOCALHOST, JSON], rule).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let describe = ("X-Amz-Target", "Kinesis_20131202.DescribeStreamSummary");
    let body = format!(r#"{{"StreamName":"{}"}}"#, "ü".repeat(1 << 20));
    ask(local.address(), "POST /", &[LOCALHOST, describe], &body).await;
    let remembered = local.calls().pop().unwrap().stream.unwrap();
    assert!(remembered.len() <= 256 && remembered.starts_with('ü'), "{} bytes", remembered.len());
}

#[tokio::test]
async fn a_list_and_a_null_are_answered_in_the_words_of_the_service() {
    const VALIDATION: &str = "ValidationException";
    let local = start(LocalKinesis::builder()).await;
    let mut to = client::connect(&local).await;
    let json = "application/x-amz-json-1.1";
    for (operation, body, code, part) in [
        ("ListShards", r#"["orders"]"#, "SerializationException", "Start of list"),
        (
            "ListShards",
            r#"{"StreamName":"orders","ShardFilter":["AT_LATEST"]}"#,
            "SerializationException",
            "Start of list",
        ),
        ("CreateStream", r#"{"StreamName":null}"#, "ValidationException", "Value null at 'streamName'"),
        ("SplitShard", "{}", "ValidationException", "2 validation errors detected"),
        (
            "PutRecord",
            r#"{"StreamName":"orders","PartitionKey":"k"}"#,
            "ValidationException",
            "Value null at 'data'",
        ),
        (
            "PutRecords",
            r#"{"StreamName":"orders","Records":[null]}"#,
            VALIDATION,
            "Value null at 'records.1.member'",
        ),
        (
            "AddTagsToStream",
            r#"{"StreamName":"orders","Tags":{"a":null}}"#,
            VALIDATION,
            "Value null at 'tags.a.member'",
        ),
        ("CreateStream", r#"{"StreamName":"x","ShardCount":1,"Unknown":{"a":1}}"#, "", ""),
        ("DescribeStreamSummary", r#"{"StreamName":"x","StreamARN":null}"#, "StreamDescriptionSummary", ""),
    ] {
        let answer = client::send(&mut to, operation, json, body).await;
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(code) && said.contains(part), "{operation} {body}: {said}");
    }
}

/// kinesalite: a value of another kind than its member is a SerializationException that says what it is and what belongs there.
#[tokio::test]
async fn a_value_of_another_kind_is_answered_in_the_words_of_the_service() {
    const STRUCTURE: &str = "Start of structure or map found where not expected.";
    const LIST: &str = "Start of list found where not expected";
    let local = start(LocalKinesis::builder()).await;
    let mut to = client::connect(&local).await;
    for (operation, body, said) in [
        ("DescribeStream", r#"{"StreamName":[]}"#, LIST),
        ("DescribeStream", r#"{"StreamName":["orders"]}"#, LIST),
        ("DescribeStream", r#"{"StreamName":{}}"#, STRUCTURE),
        (
            "DescribeStream",
            r#"{"StreamName":true}"#,
            "class java.lang.Boolean can not be converted to a String",
        ),
        ("DescribeStream", r#"{"Limit":"5"}"#, "class java.lang.String can not be converted to an Integer"),
        ("DescribeStream", r#"{"Limit":1.5}"#, "class java.lang.Double can not be converted to an Integer"),
        ("DescribeStream", r#"{"Limit":[]}"#, LIST),
        (
            "DescribeStream",
            r#"{"Limit":99999999999}"#,
            "class java.lang.Long can not be converted to an Integer",
        ),
        ("PutRecords", r#"{"Records":{}}"#, STRUCTURE),
        ("PutRecords", r#"{"Records":[[]]}"#, LIST),
        ("PutRecords", r#"{"Records":["a"]}"#, "class java.lang.String can not be converted to a Structure"),
        ("PutRecord", r#"{"PartitionKey":"a","Data":[]}"#, LIST),
        ("PutRecord", r#"{"PartitionKey":[],"Data":""}"#, LIST),
        (
            "PutRecord",
            r#"{"PartitionKey":"a","Data":1}"#,
            "class java.lang.Integer can not be converted to a Blob",
        ),
        (
            "PutRecord",
            r#"{"PartitionKey":"a","Data":"","DryRun":"true"}"#,
            "class java.lang.String can not be converted to a Boolean",
        ),
        ("AddTagsToStream", r#"{"Tags":[]}"#, LIST),
        ("AddTagsToStream", r#"{"Tags":{"a":[]}}"#, LIST),
        ("CreateStream", r#"{"StreamName":"x","StreamModeDetails":[]}"#, LIST),
        (
            "CreateStream",
            r#"{"StreamName":"x","StreamModeDetails":"PROVISIONED"}"#,
            "class java.lang.String can not be converted to a Structure",
        ),
        ("SplitShard", r#"{"ShardToSplit":[],"NewStartingHashKey":"1"}"#, LIST),
        ("ListTagsForResource", r#"{"ResourceARN":[]}"#, LIST),
        (
            "EnableEnhancedMonitoring",
            r#"{"ShardLevelMetrics":"ALL"}"#,
            "class java.lang.String can not be converted to a List",
        ),
        (
            "GetShardIterator",
            r#"{"ShardId":"a","ShardIteratorType":"AT_TIMESTAMP","Timestamp":"2020-01-01T00:00:00Z"}"#,
            "class java.lang.String can not be converted to milliseconds since epoch",
        ),
    ] {
        let answer = client::send(&mut to, operation, "application/x-amz-json-1.1", body).await;
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        let expected = serde_json::json!({ "__type": "SerializationException", "message": said });
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, expected, "{operation} {body}");
    }
}

/// A receive waits for a record, and for one that is seen again.
#[tokio::test]
async fn a_receive_waits_for_a_record() {
    let local = LocalKinesis::builder().start().await.unwrap();
    let service = local.model();
    let details = StreamModeDetails::new(StreamMode::OnDemand);
    service.call(&CreateStreamRequest::new("orders").stream_mode_details(details)).unwrap();
    let mut to = client::connect(&local).await;
    let json = "application/x-amz-json-1.1";
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let create = format!(
        r#"{{"QueueName":"q","StreamConfigurationList":[{{"StreamARN":"{arn}"}}],"QueueAttributes":{{"VisibilityTimeoutSeconds":1}}}}"#
    );
    let body = client::send(&mut to, "CreateQueue", json, create).await.into_body().collect().await.unwrap();
    let created: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let queue = created["QueueDescription"]["QueueARN"].as_str().unwrap();
    let receive = format!(r#"{{"QueueARN":"{queue}","WaitTimeSeconds":20}}"#);
    let started = Instant::now();
    let waiting = client::send(&mut to, "ReceiveQueueRecords", json, receive.clone());
    let put = async {
        tokio::task::yield_now().await;
        service.call(&PutRecordRequest::new("x").partition_key("k").stream_name("orders")).unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, put);
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&said).contains("ReceiptHandle"), "{said:?}");
    let again = client::send(&mut to, "ReceiveQueueRecords", json, receive).await;
    let said = again.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&said).contains(r#""ReceiveCount":2"#), "{said:?}");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "{took:?}");
}

#[cfg(feature = "dynamo")]
#[tokio::test]
async fn dynamo_lets_no_page_in_and_knows_what_the_kcl_asks() {
    use rokini_local::{Database, DynamoSettings, LocalDynamo};
    let local = LocalDynamo::serve_with(
        Database::memory().unwrap(),
        ([127, 0, 0, 1], 0).into(),
        DynamoSettings::new().cors_origin("http://localhost:3000"),
    );
    let local = local.await.unwrap();
    let signed = |region: &str, key: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc"
        )
    };
    let call = async |operation: &str, body: &str, authorization: &str| {
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [
            LOCALHOST,
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", &target),
            ("X-Amz-Date", "20260101T000000Z"),
            ("Authorization", authorization),
        ];
        ask(local.address(), "POST /", &headers, body).await
    };
    let europe = signed("eu-west-1", "local");
    let table = r#"{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}"#;
    let created = call("CreateTable", table, &europe).await;
    let arn = "arn:aws:dynamodb:eu-west-1:000000000000:table/leases";
    assert!(created.contains(arn), "{created}");
    let china =
        call("DescribeTable", r#"{"TableName":"leases"}"#, &signed("cn-north-1", "123456789012")).await;
    assert!(china.contains("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/leases"), "{china}");
    let put = format!(r#"{{"TableName":"{arn}","Item":{{"k":{{"S":"a"}}}}}}"#);
    assert!(call("PutItem", &put, &europe).await.starts_with("HTTP/1.1 200"));
    let get = format!(r#"{{"RequestItems":{{"{arn}":{{"Keys":[{{"k":{{"S":"a"}}}}]}}}}}}"#);
    assert!(call("BatchGetItem", &get, &europe).await.contains(r#"{"S":"a"}"#));
    let ask_backups = r#"{"TableName":"leases"}"#;
    assert!(
        call("DescribeContinuousBackups", ask_backups, &europe)
            .await
            .contains(r#"RecoveryStatus":"DISABLED""#)
    );
    let enable =
        r#"{"TableName":"leases","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}"#;
    assert!(call("UpdateContinuousBackups", enable, &europe).await.contains(r#"RecoveryStatus":"ENABLED""#));
    assert!(
        call("DescribeContinuousBackups", ask_backups, &europe)
            .await
            .contains(r#"RecoveryStatus":"ENABLED""#)
    );
    let nowhere = call("DescribeContinuousBackups", r#"{"TableName":"nope"}"#, &europe).await;
    assert!(nowhere.contains("TableNotFoundException"), "{nowhere}");

    for (origin, host, allowed) in [
        ("http://evil.example", "localhost", false),
        ("http://localhost:3000", "localhost", true),
        ("http://localhost:3000", "rebound.example", false),
    ] {
        let headers = [("Host", host), ("Origin", origin)];
        let answer = ask(local.address(), "OPTIONS /", &headers, "").await;
        assert_eq!(answer.starts_with("HTTP/1.1 204"), allowed, "{answer}");
        assert!(allowed || !answer.contains("access-control-allow-origin"), "{answer}");
    }
}
