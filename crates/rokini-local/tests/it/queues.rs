//! Statements about queues, one test each, against the model in virtual time. Where each is from stands above it, as in
//! `statements`.

use std::time::Duration;

use rokini_local::Caller;
use rokini_local::wire::shapes::account::*;
use rokini_local::wire::shapes::queue::*;
use rokini_local::wire::shapes::record::*;
use rokini_local::wire::shapes::stream::*;
use rokini_local::wire::shapes::tags::*;
use rokini_local::wire::{
    ErrorCode, QueueStartingPositionType, QueueStatus, ServiceError, StreamMode, TargetType,
};

use crate::fidelity::{Rig, STREAM, code};
use crate::statements::on_demand;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

fn create(start: QueueStartingPositionType) -> CreateQueueRequest {
    let start = QueueStartingPosition::new(start);
    CreateQueueRequest::new("work", [QueueStreamConfiguration::new(ARN).starting_position(start)])
}

/// A queue from the beginning of the stream, and its ARN.
fn queue(rig: &mut Rig) -> String {
    rig.call(&create(QueueStartingPositionType::TrimHorizon)).unwrap().queue_description.queue_arn
}

fn put(rig: &mut Rig, records: usize) {
    for n in 0..records {
        let request = PutRecordRequest::new(n.to_string().into_bytes()).partition_key(n.to_string());
        rig.call(&request.stream_name(STREAM)).unwrap();
    }
}

fn receive(rig: &mut Rig, arn: &str) -> Vec<QueueRecord> {
    rig.call(&ReceiveQueueRecordsRequest::new(arn)).unwrap().queue_records
}

fn receive_dead(rig: &mut Rig, arn: &str) -> Vec<QueueRecord> {
    rig.call(&ReceiveDeadLetterQueueRecordsRequest::new(arn)).unwrap().queue_records
}

fn receipts(records: &[QueueRecord]) -> Vec<ReceiptEntry> {
    records.iter().map(|record| ReceiptEntry::new(&record.receipt_handle)).collect()
}

fn acknowledge(rig: &mut Rig, arn: &str, entries: Vec<ReceiptEntry>) -> EntriesResponse {
    rig.call(&AcknowledgeQueueRecordsRequest::new(arn, entries)).unwrap()
}

fn failed(answer: &EntriesResponse) -> Vec<ErrorCode> {
    answer.failed.iter().map(|entry| entry.error_code.clone()).collect()
}

fn description(rig: &mut Rig, arn: &str) -> Result<QueueDescription, ServiceError> {
    rig.call(&DescribeQueueRequest::new(arn)).map(|answer| answer.queue_description)
}

/// API: "Queues are supported only on data streams in on-demand capacity mode." (ValidationException) and "The list must contain
/// exactly one entry".
#[test]
fn queue_01_a_queue_is_on_one_on_demand_stream() {
    let latest = create(QueueStartingPositionType::Latest);
    assert_eq!(code(Rig::new(1).call(&latest)), ErrorCode::Validation);
    let mut rig = on_demand(None);
    let two = vec![QueueStreamConfiguration::new(ARN), QueueStreamConfiguration::new(ARN)];
    assert_eq!(code(rig.call(&CreateQueueRequest::new("work", two))), ErrorCode::Validation);
    assert_eq!(code(rig.call(&CreateQueueRequest::new("work", []))), ErrorCode::Validation);
    let nowhere = QueueStreamConfiguration::new("arn:aws:kinesis:us-east-1:000000000000:stream/nope");
    assert_eq!(code(rig.call(&CreateQueueRequest::new("work", [nowhere]))), ErrorCode::ResourceNotFound);
}

/// API: defaults: visibility 30 seconds, dead letters after 6 receives, LATEST.
#[test]
fn queue_02_defaults() {
    let mut rig = on_demand(None);
    let request = CreateQueueRequest::new("work", [QueueStreamConfiguration::new(ARN)]);
    let arn = rig.call(&request).unwrap().queue_description.queue_arn;
    let described = description(&mut rig, &arn).unwrap();
    let attributes = described.queue_attributes.unwrap();
    assert_eq!(attributes.visibility_timeout_seconds, Some(30));
    let letters = attributes.dead_letter_configuration.unwrap();
    assert_eq!((letters.target_type, letters.max_receive_count), (TargetType::BuiltIn, Some(6)));
    let start = described.stream_configuration_list[0].starting_position.clone().unwrap();
    assert_eq!((start.kind, start.timestamp), (QueueStartingPositionType::Latest, Some(rig.now)));
}

/// API: CREATING, then ACTIVE; "while the queue is CREATING [...] for TRIM_HORIZON and LATEST, this member is absent"; UPDATING,
/// during which "you can continue to receive"; DELETING, which "does not deliver records".
#[test]
fn queue_03_states() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    put(&mut rig, 2);
    let created = rig.call(&create(QueueStartingPositionType::TrimHorizon)).unwrap().queue_description;
    let arn = created.queue_arn;
    assert_eq!(created.queue_status, QueueStatus::Creating);
    assert_eq!(created.stream_configuration_list[0].starting_position.clone().unwrap().timestamp, None);
    let early = rig.call(&ReceiveQueueRecordsRequest::new(arn.clone()));
    assert_eq!(code(early), ErrorCode::ResourceNotFound);
    rig.secs(10);
    assert_eq!(description(&mut rig, &arn).unwrap().queue_status, QueueStatus::Active);
    let attributes = QueueAttributes::new().visibility_timeout_seconds(5);
    let update = UpdateQueueRequest::new(arn.clone(), attributes);
    let updating = rig.call(&update).unwrap().queue_description;
    assert_eq!(updating.queue_status, QueueStatus::Updating);
    assert_eq!(
        updating.queue_attributes.unwrap().visibility_timeout_seconds,
        Some(5),
        "includes the updated"
    );
    assert_eq!(code(rig.call(&update)), ErrorCode::ResourceInUse);
    assert_eq!(receive(&mut rig, &arn).len(), 2, "while UPDATING");
    rig.secs(10);
    rig.call(&DeleteQueueRequest::new(arn.clone())).unwrap();
    assert_eq!(description(&mut rig, &arn).unwrap().queue_status, QueueStatus::Deleting);
    assert_eq!(code(rig.call(&ReceiveQueueRecordsRequest::new(arn.clone()))), ErrorCode::ResourceNotFound);
    rig.secs(10);
    assert_eq!(code(description(&mut rig, &arn)), ErrorCode::ResourceNotFound);
}

/// API: "A record returned by ReceiveQueueRecords becomes in flight [...] A record that is not acknowledged before its visibility
/// timeout expires becomes visible in the queue again". "A new receipt handle is issued each time", RecordId "stays the same".
#[test]
fn queue_04_what_is_not_acknowledged_comes_again() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 1);
    let first = receive(&mut rig, &arn);
    assert_eq!((first.len(), first[0].receive_count), (1, 1));
    assert!(receive(&mut rig, &arn).is_empty(), "in flight");
    let received = rig.now;
    rig.secs(30);
    let second = receive(&mut rig, &arn);
    assert_eq!((second[0].receive_count, second[0].first_receive_timestamp), (2, received));
    assert_eq!(second[0].record_id, first[0].record_id);
    assert_ne!(second[0].receipt_handle, first[0].receipt_handle);
    assert_eq!(second[0].partition_key.as_deref(), Some("0"));
    assert_eq!(failed(&acknowledge(&mut rig, &arn, receipts(&first))), [ErrorCode::InvalidArgument], "older");
    assert_eq!(acknowledge(&mut rig, &arn, receipts(&second)).successful.len(), 1);
    rig.secs(3600);
    assert!(receive(&mut rig, &arn).is_empty());
}

/// API: at most 10 records, `Limit` 1 to 10, `VisibilityTimeoutSeconds` up to 43,200, `WaitTimeSeconds` 1 to 20, 1 to 10 entries.
#[test]
fn queue_05_limits_of_a_call() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 25);
    assert_eq!(receive(&mut rig, &arn).len(), 10);
    let three = ReceiveQueueRecordsRequest::new(arn.clone()).limit(3);
    assert_eq!(rig.call(&three).unwrap().queue_records.len(), 3);
    let request = || ReceiveQueueRecordsRequest::new(arn.clone());
    for bad in [
        request().limit(11),
        request().limit(0),
        request().visibility_timeout_seconds(43_201),
        request().wait_time_seconds(0),
        request().wait_time_seconds(21),
    ] {
        assert_eq!(code(rig.call(&bad)), ErrorCode::Validation, "{bad:?}");
    }
    let eleven = vec![ReceiptEntry::new("x"); 11];
    for entries in [vec![], eleven] {
        let request = AcknowledgeQueueRecordsRequest::new(arn.clone(), entries);
        assert_eq!(code(rig.call(&request)), ErrorCode::Validation);
    }
}

/// API: "check the Failed list even when the call returns an HTTP status code of 200".
#[test]
fn queue_06_entries_fail_by_themselves() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 1);
    let received = receive(&mut rig, &arn);
    let entries = vec![ReceiptEntry::new("forged"), ReceiptEntry::new(&received[0].receipt_handle)];
    let answer = acknowledge(&mut rig, &arn, entries);
    assert_eq!((answer.successful.len(), failed(&answer)), (1, vec![ErrorCode::InvalidArgument]));
    let again = acknowledge(&mut rig, &arn, receipts(&received));
    assert_eq!(failed(&again), [ErrorCode::ResourceNotFound], "acknowledged before (choice)");
}

/// A receipt handle is its queue's; the same RecordId "in every queue on the stream"; acknowledging "does not affect [...] other
/// queues on the same stream".
#[test]
fn queue_07_queues_are_apart() {
    let mut rig = on_demand(None);
    let one = queue(&mut rig);
    let mut request = create(QueueStartingPositionType::TrimHorizon);
    request.queue_name = "more".to_owned();
    let two = rig.call(&request).unwrap().queue_description.queue_arn;
    put(&mut rig, 1);
    let received = receive(&mut rig, &one);
    let foreign = acknowledge(&mut rig, &two, receipts(&received));
    assert_eq!(failed(&foreign), [ErrorCode::InvalidArgument]);
    acknowledge(&mut rig, &one, receipts(&received));
    assert_eq!(receive(&mut rig, &two)[0].record_id, received[0].record_id);
}

/// API: "Set the visibility timeout to 0 to make a record visible in the queue immediately", "measured from when this request is
/// processed".
#[test]
fn queue_08_visibility_can_be_changed() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 1);
    let change = |rig: &mut Rig, record: &QueueRecord, secs: i32| {
        let entry = VisibilityEntry::new(&record.receipt_handle, secs);
        rig.call(&UpdateQueueRecordsVisibilityRequest::new(arn.clone(), [entry])).unwrap()
    };
    let first = receive(&mut rig, &arn);
    rig.secs(29);
    assert_eq!(change(&mut rig, &first[0], 100).successful.len(), 1);
    rig.secs(99);
    assert!(receive(&mut rig, &arn).is_empty());
    assert_eq!(change(&mut rig, &first[0], 0).successful.len(), 1);
    assert_eq!(receive(&mut rig, &arn).len(), 1);
    rig.secs(31);
    assert_eq!(failed(&change(&mut rig, &first[0], 5)), [ErrorCode::InvalidArgument], "not in flight");
}

/// API: "When a record has been received MaxReceiveCount times without being acknowledged, it becomes a dead-letter record, and
/// ReceiveQueueRecords no longer returns it." Restoring "resets its receive count".
#[test]
fn queue_09_dead_letters() {
    let mut rig = on_demand(None);
    let letters = DeadLetterConfiguration::new(TargetType::BuiltIn).max_receive_count(2);
    let attributes = QueueAttributes::new().dead_letter_configuration(letters);
    let request = create(QueueStartingPositionType::TrimHorizon).queue_attributes(attributes);
    let arn = rig.call(&request).unwrap().queue_description.queue_arn;
    put(&mut rig, 2);
    for count in 1..=2 {
        assert_eq!(receive(&mut rig, &arn).iter().map(|r| r.receive_count).collect::<Vec<_>>(), [count; 2]);
        assert!(receive_dead(&mut rig, &arn).is_empty(), "received in time");
        rig.secs(30);
    }
    assert!(receive(&mut rig, &arn).is_empty());
    let dead = receive_dead(&mut rig, &arn);
    assert_eq!(dead.len(), 2);
    let living = acknowledge(&mut rig, &arn, receipts(&dead));
    assert_eq!(failed(&living), vec![ErrorCode::InvalidArgument; 2], "they have operations of their own");
    let discard = AcknowledgeDeadLetterQueueRecordsRequest::new(arn.clone(), receipts(&dead[..1]));
    assert_eq!(rig.call(&discard).unwrap().successful.len(), 1);
    let show = VisibilityEntry::new(&dead[1].receipt_handle, 0);
    let show = UpdateDeadLetterQueueRecordsVisibilityRequest::new(arn.clone(), [show]);
    assert_eq!(rig.call(&show).unwrap().successful.len(), 1);
    let dead = receive_dead(&mut rig, &arn);
    let restore = RestoreDeadLetterQueueRecordsRequest::new(arn.clone(), receipts(&dead));
    assert_eq!(rig.call(&restore).unwrap().successful.len(), 1);
    let restored = receive(&mut rig, &arn);
    assert_eq!((restored.len(), restored[0].receive_count), (1, 1));
    assert!(receive_dead(&mut rig, &arn).is_empty());
}

/// API: "NONE disables it, and an unacknowledged record continues to be redelivered"; BUILT_IN needs MaxReceiveCount.
#[test]
fn queue_10_dead_letters_can_be_turned_off() {
    let mut rig = on_demand(None);
    let none =
        QueueAttributes::new().dead_letter_configuration(DeadLetterConfiguration::new(TargetType::None));
    let request = create(QueueStartingPositionType::TrimHorizon).queue_attributes(none);
    let arn = rig.call(&request).unwrap().queue_description.queue_arn;
    put(&mut rig, 1);
    for count in 1..=20 {
        assert_eq!(receive(&mut rig, &arn)[0].receive_count, count);
        rig.secs(30);
    }
    let built_in = DeadLetterConfiguration::new(TargetType::BuiltIn);
    let attributes = QueueAttributes::new().dead_letter_configuration(built_in);
    let update = UpdateQueueRequest::new(arn, attributes);
    assert_eq!(code(rig.call(&update)), ErrorCode::Validation);
}

/// API: LATEST "Delivers records that arrive after you create the queue", AT_TIMESTAMP those "at or after a time stamp"; a time
/// without AT_TIMESTAMP "returns a ValidationException", as does AT_TIMESTAMP without one.
#[test]
fn queue_11_starting_positions() {
    let mut rig = on_demand(None);
    put(&mut rig, 3);
    rig.secs(10);
    let time = rig.now;
    put(&mut rig, 2);
    let cases = [
        (QueueStartingPositionType::TrimHorizon, None, 6),
        (QueueStartingPositionType::AtTimestamp, Some(time), 3),
        (QueueStartingPositionType::Latest, None, 1),
    ];
    let mut arns = Vec::new();
    for (kind, timestamp, expected) in cases {
        let mut request = create(kind.clone());
        request.queue_name = kind.to_string();
        let start = &mut request.stream_configuration_list[0].starting_position;
        start.as_mut().unwrap().timestamp = timestamp;
        arns.push((rig.call(&request).unwrap().queue_description.queue_arn, expected, kind));
    }
    put(&mut rig, 1);
    for (arn, expected, kind) in arns {
        assert_eq!(receive(&mut rig, &arn).len(), expected, "{kind}");
    }
    assert_eq!(code(rig.call(&create(QueueStartingPositionType::AtTimestamp))), ErrorCode::Validation);
    let mut wrong = create(QueueStartingPositionType::Latest);
    wrong.stream_configuration_list[0].starting_position.as_mut().unwrap().timestamp = Some(time);
    assert_eq!(code(rig.call(&wrong)), ErrorCode::Validation);
}

/// API: "A queue does not extend how long the stream keeps a record."
#[test]
fn queue_12_retention_ends_a_record() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 2);
    let one = ReceiveQueueRecordsRequest::new(arn.clone()).limit(1);
    let received = rig.call(&one).unwrap().queue_records;
    rig.hours(25);
    assert!(receive(&mut rig, &arn).is_empty());
    let late = acknowledge(&mut rig, &arn, receipts(&received));
    assert_eq!(failed(&late), [ErrorCode::ResourceNotFound]);
}

/// API: "Before you can delete a data stream that has queues, you must delete every queue", and "You can't switch a data stream
/// from on-demand to provisioned capacity mode while the stream has one or more queues."
#[test]
fn queue_13_queues_hold_their_stream() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    let delete = DeleteStreamRequest::new().stream_name(STREAM).enforce_consumer_deletion(true);
    assert_eq!(code(rig.call(&delete)), ErrorCode::ResourceInUse);
    let mode = UpdateStreamModeRequest::new(ARN, StreamModeDetails::new(StreamMode::Provisioned));
    assert_eq!(code(rig.call(&mode)), ErrorCode::ResourceInUse);
    rig.call(&DeleteQueueRequest::new(arn)).unwrap();
    rig.call(&mode).unwrap();
    rig.call(&delete).unwrap();
}

/// API: queues share "the stream's registered consumer limit with enhanced fan-out consumers"; ConsumerCount leaves queues out,
/// QueueCount counts them.
#[test]
fn queue_14_queues_and_consumers_share_a_limit() {
    let mut rig = on_demand(None);
    for n in 0..10 {
        rig.consumer(&format!("c{n}")).unwrap();
        let mut request = create(QueueStartingPositionType::Latest);
        request.queue_name = format!("q{n}");
        rig.call(&request).unwrap();
    }
    assert_eq!(code(rig.call(&create(QueueStartingPositionType::Latest))), ErrorCode::LimitExceeded);
    assert_eq!(code(rig.consumer("more")), ErrorCode::LimitExceeded);
    let summary = rig.summary();
    assert_eq!((summary.consumer_count, summary.queue_count), (Some(10), Some(10)));
}

/// guide: "Concurrent queues in CREATING or DELETING state per account per Region: 5"; a name is taken once.
#[test]
fn queue_15_queues_under_way_are_limited() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    for n in 0..5 {
        let mut request = create(QueueStartingPositionType::Latest);
        request.queue_name = format!("q{n}");
        rig.call(&request).unwrap();
        assert_eq!(code(rig.call(&request)), ErrorCode::ResourceInUse);
    }
    assert_eq!(code(rig.call(&create(QueueStartingPositionType::Latest))), ErrorCode::LimitExceeded);
    rig.secs(10);
    rig.call(&create(QueueStartingPositionType::Latest)).unwrap();
}

/// API: ListQueues pages by NextToken and can be narrowed to a stream; queues carry tags.
#[test]
fn queue_16_queues_are_listed_and_tagged() {
    let mut rig = on_demand(None);
    let mut arn = String::new();
    for n in 0..3 {
        let mut request = create(QueueStartingPositionType::Latest);
        request.queue_name = format!("q{n}");
        request.tags = Some([("team".to_owned(), n.to_string())].into());
        arn = rig.call(&request).unwrap().queue_description.queue_arn;
    }
    let first = rig.call(&ListQueuesRequest::new().max_results(2)).unwrap();
    let rest = rig.call(&ListQueuesRequest::new().next_token(first.next_token.unwrap())).unwrap();
    let names: Vec<_> =
        first.queue_summaries.iter().chain(&rest.queue_summaries).map(|q| q.queue_name.as_str()).collect();
    assert_eq!((names, rest.next_token), (vec!["q0", "q1", "q2"], None));
    use rokini_local::wire::shapes::channel::StreamFilter;
    let other = StreamFilter::new("arn:aws:kinesis:us-east-1:000000000000:stream/other");
    let none = rig.call(&ListQueuesRequest::new().stream_filter([other])).unwrap();
    assert!(none.queue_summaries.is_empty());
    let tags = rig.call(&ListTagsForResourceRequest::new(arn)).unwrap().tags.unwrap();
    assert_eq!(tags[0].value.as_deref(), Some("2"));
}

/// A reshard neither loses nor repeats: children are delivered from their beginning.
#[test]
fn queue_17_shards_that_come_later_are_delivered_whole() {
    let mut rig = on_demand(None);
    put(&mut rig, 10);
    let arn = rig.call(&create(QueueStartingPositionType::Latest)).unwrap().queue_description.queue_arn;
    let mode = |mode| UpdateStreamModeRequest::new(ARN, StreamModeDetails::new(mode));
    use rokini_local::wire::BillingCommitmentStatus;
    use rokini_local::wire::shapes::account::*;
    let advantage = BillingCommitmentInput::new(BillingCommitmentStatus::Enabled);
    rig.call(&UpdateAccountSettingsRequest::new(advantage)).unwrap();
    put(&mut rig, 10);
    rig.call(&UpdateStreamWarmThroughputRequest::new(9).stream_name(STREAM)).unwrap();
    put(&mut rig, 10);
    let mut ids = std::collections::BTreeSet::new();
    while let received = receive(&mut rig, &arn)
        && !received.is_empty()
    {
        for record in &received {
            assert!(ids.insert(record.record_id.clone()), "twice");
        }
        acknowledge(&mut rig, &arn, receipts(&received));
    }
    assert_eq!(ids.len(), 20);
    assert_eq!(code(rig.call(&mode(StreamMode::Provisioned))), ErrorCode::ResourceInUse);
}

/// guide: at most 120,000 records of a queue are in flight. Choice: more are not given until one is acknowledged or visible again; no
/// error says so.
#[test]
fn queue_18_records_in_flight_are_limited() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().throughput_limits = false;
    let arn = queue(&mut rig);
    let most = 120_000;
    for first in (0..most + 500).step_by(500) {
        let entry = |n: usize| PutRecordsRequestEntry::new(vec![1]).partition_key((first + n).to_string());
        rig.call(&PutRecordsRequest::new((0..500).map(entry).collect::<Vec<_>>()).stream_name(STREAM))
            .unwrap();
    }
    let hide = ReceiveQueueRecordsRequest::new(&arn).visibility_timeout_seconds(43_200);
    let (mut given, mut last) = (0, Vec::new());
    loop {
        let records = rig.call(&hide).unwrap().queue_records;
        if records.is_empty() {
            break;
        }
        given += records.len();
        last = records;
    }
    assert_eq!(given, most);
    acknowledge(&mut rig, &arn, receipts(&last[..3]));
    assert_eq!(rig.call(&hide).unwrap().queue_records.len(), 3, "there is room for three");
    rig.secs(43_200);
    assert_eq!(rig.call(&hide).unwrap().queue_records.len(), 10, "all are visible again");
}

/// guide: a queue has a policy of its own, by which another account receives from it. Choice: that of its stream does not count.
#[test]
fn queue_19_a_queues_policy_lets_another_account_receive() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 1);
    let policy = |resource: &str, action: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"222222222222"}},"Action":"{action}","Resource":"{resource}"}}]}}"#
        )
    };
    let other = Caller::new().account("222222222222").region("us-east-1");
    let receive = ReceiveQueueRecordsRequest::new(&arn);
    let outcome = |rig: &mut Rig| rig.model.call_as(&other, rig.now, &receive);
    for (resource, action) in
        [(ARN, "kinesis:ReceiveQueueRecords"), (&*arn, "kinesis:AcknowledgeQueueRecords")]
    {
        rig.call(&PutResourcePolicyRequest::new(resource, policy(resource, action))).unwrap();
        assert_eq!(code(outcome(&mut rig)), ErrorCode::AccessDenied, "{resource} {action}");
    }
    rig.call(&PutResourcePolicyRequest::new(&arn, policy(&arn, "kinesis:ReceiveQueueRecords"))).unwrap();
    let received = outcome(&mut rig).unwrap().queue_records;
    assert_eq!(received.len(), 1);
    let acknowledge = AcknowledgeQueueRecordsRequest::new(&arn, receipts(&received));
    assert_eq!(code(rig.model.call_as(&other, rig.now, &acknowledge)), ErrorCode::AccessDenied);
}

/// Choice: a token of ListQueues is for the account and region it was made in.
#[test]
fn queue_20_a_page_of_queues_belongs_to_its_account() {
    let mut rig = on_demand(None);
    for name in ["a", "b"] {
        rig.call(&CreateQueueRequest::new(name, [QueueStreamConfiguration::new(ARN)])).unwrap();
    }
    let token = rig.call(&ListQueuesRequest::new().max_results(1)).unwrap().next_token.unwrap();
    let follow = ListQueuesRequest::new().next_token(token);
    for other in [Caller::new().account("222222222222"), Caller::new().region("eu-west-1")] {
        assert_eq!(code(rig.model.call_as(&other, rig.now, &follow)), ErrorCode::InvalidArgument);
    }
    let rest = rig.call(&follow).unwrap().queue_summaries;
    assert_eq!(rest.iter().map(|queue| &*queue.queue_name).collect::<Vec<_>>(), ["b"]);
}

/// Choice: the API reference names no rate of queue operations, so none is limited.
#[test]
fn queue_21_calls_about_queues_have_no_rate() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    rig.model.settings_mut().call_limits = true;
    for _ in 0..200 {
        description(&mut rig, &arn).unwrap();
        rig.call(&ListQueuesRequest::new()).unwrap();
        receive(&mut rig, &arn);
    }
}

/// API, UpdateQueue: "A new visibility timeout applies to records received after the update completes. Records that are already in flight
/// keep the visibility timeout they were received with." ReceiveQueueRecords: "If you do not specify this value, the queue's visibility
/// timeout is used."
#[test]
fn queue_22_a_new_visibility_timeout_is_for_later_receives() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    put(&mut rig, 1);
    assert_eq!(receive(&mut rig, &arn).len(), 1);
    let shorter = QueueAttributes::new().visibility_timeout_seconds(2);
    rig.call(&UpdateQueueRequest::new(&arn, shorter)).unwrap();
    rig.secs(29);
    assert!(receive(&mut rig, &arn).is_empty(), "in flight for the 30 seconds it was received with");
    rig.secs(1);
    assert_eq!(receive(&mut rig, &arn).len(), 1);
    rig.secs(2);
    let longer = ReceiveQueueRecordsRequest::new(&arn).visibility_timeout_seconds(10);
    assert_eq!(rig.call(&longer).unwrap().queue_records.len(), 1, "the two seconds of the queue are over");
    rig.secs(9);
    assert!(receive(&mut rig, &arn).is_empty(), "what the call says comes before what the queue says");
    let letters = description(&mut rig, &arn).unwrap().queue_attributes.unwrap().dead_letter_configuration;
    assert_eq!(letters.unwrap().max_receive_count, Some(6), "what is not said stays");
}

/// API: "Once the queue is ACTIVE, the response always includes this member. For AT_TIMESTAMP, it is the timestamp you provided or the
/// earliest time the stream can be read from, whichever is later."
#[test]
fn queue_23_the_effective_start_is_told() {
    let mut rig = on_demand(None);
    let created = rig.now;
    rig.secs(60);
    let told = |rig: &mut Rig, name: &str, kind: QueueStartingPositionType, time| {
        let mut request = create(kind);
        request.queue_name = name.to_owned();
        request.stream_configuration_list[0].starting_position.as_mut().unwrap().timestamp = time;
        let arn = rig.call(&request).unwrap().queue_description.queue_arn;
        let sources = description(rig, &arn).unwrap().stream_configuration_list;
        sources[0].starting_position.clone().unwrap().timestamp
    };
    let early = created.minus(Duration::from_secs(3600));
    let later = created.plus(Duration::from_secs(30));
    let at = QueueStartingPositionType::AtTimestamp;
    assert_eq!(told(&mut rig, "a", at.clone(), Some(early)), Some(created));
    assert_eq!(told(&mut rig, "b", at, Some(later)), Some(later));
    assert_eq!(told(&mut rig, "c", QueueStartingPositionType::TrimHorizon, None), Some(created));
    assert_eq!(told(&mut rig, "d", QueueStartingPositionType::Latest, None), Some(rig.now));
}

/// API: the KMS errors of ReceiveQueueRecords and ReceiveDeadLetterQueueRecords, for a stream that is encrypted; acknowledging lists none.
#[test]
fn queue_24_receiving_needs_the_streams_key() {
    use rokini_local::wire::EncryptionType;
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    rig.call(&StartStreamEncryptionRequest::new(EncryptionType::Kms, "key").stream_name(STREAM)).unwrap();
    put(&mut rig, 1);
    let received = receive(&mut rig, &arn);
    for error in [
        ErrorCode::KmsAccessDenied,
        ErrorCode::KmsDisabled,
        ErrorCode::KmsInvalidState,
        ErrorCode::KmsNotFound,
        ErrorCode::KmsOptInRequired,
        ErrorCode::KmsThrottling,
    ] {
        rig.model.set_kms_key_error("key", Some(error.clone()));
        assert_eq!(code(rig.call(&ReceiveQueueRecordsRequest::new(&arn))), error);
        assert_eq!(code(rig.call(&ReceiveDeadLetterQueueRecordsRequest::new(&arn))), error);
    }
    assert_eq!(acknowledge(&mut rig, &arn, receipts(&received)).successful.len(), 1);
}

/// API, DeleteQueue: "Records that are in flight when you delete the queue are not delivered again, and receipt handles issued by the queue
/// stop being valid." It "does not delete any records in that stream", nor those of other queues.
#[test]
fn queue_25_a_queue_goes_without_its_stream() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    let mut other = create(QueueStartingPositionType::TrimHorizon);
    other.queue_name = "more".to_owned();
    let other = rig.call(&other).unwrap().queue_description.queue_arn;
    put(&mut rig, 1);
    let received = receive(&mut rig, &arn);
    rig.call(&DeleteQueueRequest::new(&arn)).unwrap();
    for gone in [
        code(rig.call(&AcknowledgeQueueRecordsRequest::new(&arn, receipts(&received)))),
        code(rig.call(&ReceiveQueueRecordsRequest::new(&arn))),
        code(rig.call(&UpdateQueueRequest::new(&arn, QueueAttributes::new()))),
        code(rig.call(&DeleteQueueRequest::new(&arn))),
        code(rig.call(&GetResourcePolicyRequest::new(&arn))),
    ] {
        assert_eq!(gone, ErrorCode::ResourceNotFound);
    }
    assert_eq!(receive(&mut rig, &other).len(), 1);
    let anew = queue(&mut rig);
    assert_ne!(anew, arn, "the resource identifier in the ARN is generated");
    let stale = AcknowledgeQueueRecordsRequest::new(&anew, receipts(&received));
    assert_eq!(failed(&rig.call(&stale).unwrap()), [ErrorCode::InvalidArgument]);
}

/// API, CreateQueue and UpdateQueue: QueueName is 1 to 128 of `a-zA-Z0-9_.-`, VisibilityTimeoutSeconds 0 to 43,200, MaxReceiveCount 1 to
/// 1,000, tags at most 50.
#[test]
fn queue_26_limits_of_what_a_queue_is_told() {
    let mut rig = on_demand(None);
    let arn = queue(&mut rig);
    let named = |name: &str| CreateQueueRequest::new(name, [QueueStreamConfiguration::new(ARN)]);
    for name in ["", "a b", "a/b", &"q".repeat(129)] {
        assert_eq!(code(rig.call(&named(name))), ErrorCode::Validation, "{name}");
    }
    let letters = |count: i32| {
        let letters = DeadLetterConfiguration::new(TargetType::BuiltIn).max_receive_count(count);
        QueueAttributes::new().dead_letter_configuration(letters)
    };
    let hidden = |secs: i32| QueueAttributes::new().visibility_timeout_seconds(secs);
    for bad in [letters(0), letters(1001), hidden(-1), hidden(43_201)] {
        assert_eq!(code(rig.call(&named("q").queue_attributes(bad.clone()))), ErrorCode::Validation);
        assert_eq!(code(rig.call(&UpdateQueueRequest::new(&arn, bad))), ErrorCode::Validation);
    }
    for good in [letters(1), letters(1000), hidden(0), hidden(43_200)] {
        rig.call(&UpdateQueueRequest::new(&arn, good)).unwrap();
    }
    let tags = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
    let mut tagged = named(&"q".repeat(128));
    tagged.tags = Some(tags);
    assert_eq!(code(rig.call(&tagged)), ErrorCode::InvalidArgument);
    tagged.tags.as_mut().unwrap().pop_last();
    rig.call(&tagged).unwrap();
}
