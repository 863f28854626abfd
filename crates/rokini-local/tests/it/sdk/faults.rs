//! Faults as a client meets them, and what the server remembers of it.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule, LocalKinesis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{self, iterator};

async fn rig() -> (LocalKinesis, aws_sdk_kinesis::Client) {
    let local = LocalKinesis::builder().throughput_limits(false).stream("orders", 1).start().await.unwrap();
    let client = client::kinesis(&local);
    (local, client)
}

async fn put(client: &aws_sdk_kinesis::Client) -> Result<(), String> {
    let request = client.put_record().stream_name("orders").partition_key("k").data(Blob::new("x"));
    let answer = request.send().await;
    answer.map(drop).map_err(|error| match &error {
        SdkError::ServiceError(service) => service.err().code().unwrap_or_default().to_owned(),
        _ => DisplayErrorContext(&error).to_string(),
    })
}

async fn written(client: &aws_sdk_kinesis::Client) -> usize {
    let answer = client.get_records().shard_iterator(iterator(client, "0").await).send().await;
    answer.unwrap().records().len()
}

#[tokio::test]
async fn errors_by_code_and_count() {
    let (local, client) = rig().await;
    let error = Fault::Error { code: ErrorCode::KmsThrottling, message: "slow down".into(), status: None };
    local.faults().add(FaultRule::on("PutRecord", error).skip(1).times(1));
    assert_eq!(put(&client).await, Ok(()));
    assert_eq!(put(&client).await, Err("KMSThrottlingException".into()));
    assert_eq!(put(&client).await, Ok(()));
    assert_eq!(written(&client).await, 2, "the failed put was not carried out");
}

#[tokio::test]
async fn a_reply_can_be_lost_before_or_after_the_effect() {
    let (local, client) = rig().await;
    for (fault, effect) in [(Fault::DropBefore, 0), (Fault::DropAfter, 1)] {
        let before = written(&client).await;
        local.faults().add(FaultRule::on("PutRecord", fault.clone()).times(1));
        let error = put(&client).await.unwrap_err();
        assert!(error.contains("connection"), "{fault:?}: {error}");
        assert_eq!(written(&client).await - before, effect, "{fault:?}");
    }
}

#[tokio::test]
async fn bodies_break_off_or_never_come() {
    // The fault, and the records written.
    let cases = [
        (Fault::CutAfter { bytes: 10 }, 1),
        (Fault::HangBefore, 0),
        (Fault::HangAfter { bytes: 0 }, 1),
        (Fault::HangAfter { bytes: 10 }, 1),
    ];
    for (fault, effect) in cases {
        let (local, client) = rig().await;
        local.faults().add(FaultRule::on("PutRecord", fault.clone()).times(1));
        let call = tokio::spawn({
            let client = client.clone();
            async move { put(&client).await }
        });
        while local.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(written(&client).await, effect, "{fault:?}");
        // What hangs does so until the server stops.
        assert!(matches!(fault, Fault::CutAfter { .. }) || !call.is_finished(), "{fault:?}");
        local.shutdown().await;
        let error = call.await.unwrap().expect_err("no answer");
        assert_ne!(error, "InternalFailure", "{fault:?}");
    }
}

#[tokio::test]
async fn delays_and_jumps_let_a_call_pass() {
    let (local, client) = rig().await;
    local.faults().add(FaultRule::on("PutRecord", Fault::Delay { millis: 60 }).times(1));
    let started = Instant::now();
    put(&client).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(60));
    let at = iterator(&client, "0").await;
    local.faults().add(FaultRule::on("GetRecords", Fault::Jump { millis: 300_001 }).times(1));
    let error = client.get_records().shard_iterator(at).send().await.unwrap_err().into_service_error();
    assert!(error.is_expired_iterator_exception(), "{error:?}");
}

/// Streams of one name in two accounts: a rule by ARN sees one of them, and the journal tells them apart.
#[tokio::test]
async fn a_rule_by_arn_is_for_one_account() {
    use super::safety::{LOCALHOST, ask};
    let local = LocalKinesis::builder().start().await.unwrap();
    let call = async |account: &str, operation: &str, body: &str| {
        let target = format!("Kinesis_20131202.{operation}");
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=abc"
        );
        let headers = [
            LOCALHOST,
            ("X-Amz-Target", &*target),
            ("Authorization", &*signed),
            ("X-Amz-Date", "20260101T000000Z"),
        ];
        ask(local.address(), "POST /", &headers, body).await
    };
    let arn = |account: &str| format!("arn:aws:kinesis:eu-west-1:{account}:stream/orders");
    let (mine, theirs) = ("111111111111", "222222222222");
    local.faults().add(FaultRule::on("DescribeStreamSummary", Fault::Throttle).stream(arn(theirs)));
    for (account, faults) in [(mine, 0), (theirs, 1)] {
        call(account, "CreateStream", r#"{"StreamName":"orders","ShardCount":1}"#).await;
        let answer = call(account, "DescribeStreamSummary", r#"{"StreamName":"orders"}"#).await;
        assert_eq!(answer.contains("ProvisionedThroughputExceeded"), faults == 1, "{account}: {answer}");
    }
    // By ARN from elsewhere it is their stream too.
    let body = format!(r#"{{"StreamARN":"{}"}}"#, arn(theirs));
    assert!(call(mine, "DescribeStreamSummary", &body).await.contains("ProvisionedThroughputExceeded"));
    let asked = local.calls().into_iter().filter(|call| call.operation == "DescribeStreamSummary");
    let asked: Vec<_> = asked.map(|call| (call.stream.unwrap(), call.stream_arn.unwrap())).collect();
    assert_eq!(asked, [arn(mine), arn(theirs), arn(theirs)].map(|arn| ("orders".to_owned(), arn)));
}

#[tokio::test]
async fn answers_can_be_empty_or_fail_in_part() {
    let (local, client) = rig().await;
    let entry = |key: &str| {
        PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(key)).build().unwrap()
    };
    let code = ErrorCode::ProvisionedThroughputExceeded;
    local.faults().add(FaultRule::on("PutRecords", Fault::FailRecords { records: vec![1], code }));
    let entries = ["a", "b", "c"].map(entry).to_vec();
    let answer = client.put_records().stream_name("orders").set_records(Some(entries)).send().await.unwrap();
    assert_eq!(answer.failed_record_count(), Some(1));
    let failed: Vec<_> = answer.records().iter().map(|record| record.error_code().is_some()).collect();
    assert_eq!(failed, [false, true, false]);

    local.faults().add(FaultRule::on("GetRecords", Fault::Empty).times(1));
    let empty = client.get_records().shard_iterator(iterator(&client, "0").await).send().await.unwrap();
    assert!(empty.records().is_empty());
    let full =
        client.get_records().shard_iterator(empty.next_shard_iterator().unwrap()).send().await.unwrap();
    let data: Vec<_> = full.records().iter().map(|record| record.data.as_ref().to_vec()).collect();
    assert_eq!(data, [b"a", b"c"], "nothing is skipped by an empty answer");
}

#[tokio::test]
async fn a_subscription_breaks_in_mid_stream() {
    use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
    let faults = [
        (Fault::CutAfter { bytes: 20 }, false),
        (Fault::DropBefore, false),
        (Fault::DropAfter, false),
        (Fault::Error { code: ErrorCode::KmsThrottling, message: String::new(), status: None }, true),
    ];
    for (fault, modelled) in faults {
        let (local, client) = rig().await;
        let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        let consumer =
            client.register_stream_consumer().stream_arn(stream).consumer_name("c").send().await.unwrap();
        let consumer = consumer.consumer.unwrap().consumer_arn;
        local
            .faults()
            .add(FaultRule::on("SubscribeToShardEvent", fault.clone()).shard("shardId-000000000000").skip(1));
        let position = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
        let subscribe = client.subscribe_to_shard().consumer_arn(consumer).shard_id("shardId-000000000000");
        let mut output = subscribe.starting_position(position).send().await.unwrap();
        put(&client).await.unwrap();
        assert!(output.event_stream.recv().await.unwrap().is_some());
        put(&client).await.unwrap();
        let error = output.event_stream.recv().await.expect_err("the second event breaks");
        assert_eq!(matches!(error, SdkError::ServiceError(_)), modelled, "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_was_read_by_whom() {
    let (local, client) = rig().await;
    put(&client).await.unwrap();
    local.forget_calls();
    written(&client).await;
    let calls = local.calls();
    let names: Vec<_> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(names, ["GetShardIterator", "GetRecords"]);
    let read = &calls[1];
    assert_eq!(read.caller.as_deref(), Some("local"));
    assert_eq!(
        (read.stream.as_deref(), read.shard.as_deref()),
        (Some("orders"), Some("shardId-000000000000"))
    );
    assert_eq!((read.records, &read.error), (1, &None));
}

/// One request by hand; the answer's head and body.
async fn ask(local: &LocalKinesis, request: &str, body: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A rule for a stream is for its queues too, by name and by ARN; one with a queue's ARN is for that queue alone.
#[tokio::test]
async fn a_rule_for_a_stream_is_for_its_queues() {
    let local = LocalKinesis::builder().start().await.unwrap();
    let call = async |operation: &str, body: String| {
        super::safety::ask(
            local.address(),
            "POST /",
            &[super::safety::LOCALHOST, ("X-Amz-Target", &format!("Kinesis_20131202.{operation}"))],
            &body,
        )
        .await
    };
    let stream = |name: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
    let mut queues = Vec::new();
    for name in ["orders", "payments"] {
        let mode = r#"{"StreamMode":"ON_DEMAND"}"#;
        call("CreateStream", format!(r#"{{"StreamName":"{name}","StreamModeDetails":{mode}}}"#)).await;
        let sources = format!(r#"[{{"StreamARN":"{}"}}]"#, stream(name));
        let made = format!(r#"{{"QueueName":"{name}","StreamConfigurationList":{sources}}}"#);
        let made = call("CreateQueue", made).await;
        let arn = made.split_once(r#""QueueARN":""#).unwrap().1.split('"').next().unwrap();
        queues.push(arn.to_owned());
    }
    for rule in ["orders", &stream("orders"), &queues[0]] {
        local.faults().add(FaultRule::on("AcknowledgeQueueRecords", Fault::Throttle).stream(rule).times(1));
        for (queue, hit) in [(&queues[1], false), (&queues[0], true), (&queues[0], false)] {
            let entries = r#"[{"ReceiptHandle":"forged"}]"#;
            let body = format!(r#"{{"QueueARN":"{queue}","Entries":{entries}}}"#);
            let answer = call("AcknowledgeQueueRecords", body).await;
            let thrown = answer.contains("ThrottlingException");
            assert_eq!(thrown, hit, "{rule}, {queue}: {answer}");
        }
    }
}

/// Whoever serves something beside it says when clients may come.
#[tokio::test]
async fn health_waits_for_what_is_served_beside_it() {
    let local = LocalKinesis::builder().ready_later().stream("orders", 1).start().await.unwrap();
    let health = async || ask(&local, "GET /_rokini/health", "").await;
    let early = health().await;
    assert!(early.starts_with("HTTP/1.1 503") && early.contains(r#"{"status":"starting"}"#), "{early}");
    put(&client::kinesis(&local)).await.unwrap();
    local.set_ready();
    assert!(health().await.contains(r#"{"status":"ok"}"#));
}

#[tokio::test]
async fn the_control_endpoint_does_the_same_from_outside() {
    let (local, client) = rig().await;
    assert!(ask(&local, "GET /_rokini/health", "").await.contains("200 OK"));
    let rule = r#"{"operation":"PutRecord","times":1,"fault":{"kind":"throttle"}}"#;
    assert!(ask(&local, "POST /_rokini/faults", rule).await.contains(r#"{"id":1}"#));
    assert_eq!(put(&client).await, Err("ProvisionedThroughputExceededException".into()));
    assert!(ask(&local, "GET /_rokini/faults", "").await.contains(r#""hits":1"#));
    assert!(ask(&local, "DELETE /_rokini/faults/1", "").await.contains("200 OK"));
    let gone = ask(&local, "DELETE /_rokini/faults/1", "").await;
    assert!(gone.contains("404") && gone.contains("no such rule"), "{gone}");
    let nothing = ask(&local, "POST /_rokini/limits", "{}").await;
    assert!(nothing.contains("400") && nothing.contains("`throughput_limits`"), "{nothing}");
    let never = ask(&local, "POST /_rokini/faults", r#"{"times":0,"fault":{"kind":"throttle"}}"#).await;
    assert!(never.contains("400") && never.contains("`times`"), "{never}");
    assert!(ask(&local, "POST /_rokini/faults", r#"{"fault":{"kind":"bogus"}}"#).await.contains("400"));

    let at = iterator(&client, "0").await;
    ask(&local, "POST /_rokini/clock", r#"{"advance_millis":300001}"#).await;
    let error = client.get_records().shard_iterator(at).send().await.unwrap_err().into_service_error();
    assert!(error.is_expired_iterator_exception());
    assert!(ask(&local, "GET /_rokini/calls", "").await.contains("ExpiredIteratorException"));
}

#[tokio::test]
async fn the_clock_can_go_as_far_as_it_counts() {
    for millis in [i64::MAX, i64::MIN] {
        let (local, client) = rig().await;
        put(&client).await.unwrap();
        let at = iterator(&client, "0").await;
        let answer = ask(&local, "POST /_rokini/clock", &format!(r#"{{"advance_millis":{millis}}}"#)).await;
        assert!(answer.contains("now_millis"), "{answer}");
        // A day beyond the end is the end.
        local.advance(Duration::from_secs(if millis > 0 { 86400 } else { 0 }));
        put(&client).await.unwrap();
        let read = client.get_records().shard_iterator(at).send().await;
        assert_eq!(read.is_err(), millis > 0, "what was expires, in words with a date");
        let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
        split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
        put(&client).await.unwrap();
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        client.register_stream_consumer().stream_arn(arn).consumer_name("c").send().await.unwrap();
    }
}

#[tokio::test]
async fn unsigned_requests_are_refused_where_wanted() {
    let local = LocalKinesis::builder().signed_only(true).stream("orders", 1).start().await.unwrap();
    put(&client::kinesis(&local)).await.unwrap();
    let answer = ask(&local, "POST /", "{}").await;
    assert!(answer.contains("UnknownOperationException"), "{answer}");
    let mut socket = tokio::net::TcpStream::connect(local.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Length: 2\r\n\r\n{}";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
}
