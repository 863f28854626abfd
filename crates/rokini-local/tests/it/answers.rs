//! The answers of the model against the service model of AWS: every member of every answer is told somewhere, or listed as absent with
//! the reason, and no answer says what AWS does not know or leaves out what it requires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rokini_local::wire::shapes::account::*;
use rokini_local::wire::shapes::channel::*;
use rokini_local::wire::shapes::consumer::*;
use rokini_local::wire::shapes::queue::*;
use rokini_local::wire::shapes::record::*;
use rokini_local::wire::shapes::shard::*;
use rokini_local::wire::shapes::stream::*;
use rokini_local::wire::shapes::tags::*;
use rokini_local::wire::{
    BillingCommitmentStatus, EncryptionType, ErrorCode, MetricsName, QueueStartingPositionType, ScalingType,
    ShardIteratorType, StreamMode, TargetType,
};
use rokini_local::{LocalSettings, ModelRequest, SubscriptionPoll};
use serde_json::Value;

use crate::fidelity::{HALF, Rig, STREAM, entry, shard};
use crate::service_model::{Model, checked_in, installed};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

/// Members that no answer has, with the reason. `*` stands for the rest of a name.
const ABSENT: [(&str, &str); 8] = [
    ("Channel*", "channels are refused, so none is described"),
    ("CreateChannelOutput.*", "channels are refused"),
    ("DescribeChannelOutput.*", "there is no channel"),
    ("InternalFailureException.*", "nothing fails by itself: a fault says that it does"),
    ("ListChannelsOutput.NextToken", "there are none, so there is no second page"),
    ("StreamDescriptionSummary.StreamId", "not implemented by the service: reserved for future use"),
    (
        "SubscribeToShardEventStream.InternalFailureException",
        "nothing fails by itself: a fault says that it does",
    ),
    ("UpdateChannelOutput.*", "there is no channel"),
];

/// Members that AWS requires of an answer and that are left out now and then, with the reason.
const LEFT_OUT: [(&str, &str); 2] = [
    (
        "SubscribeToShardEvent.ContinuationSequenceNumber",
        "by its absence the KCL knows the end of a shard, from which nothing goes on",
    ),
    ("SubscribeToShardEventStream.SubscribeToShardEvent", "what is pushed is an event or an exception"),
];

/// Shapes that only answers about channels have.
const OF_CHANNELS: [&str; 9] = [
    "CloudWatchLogs",
    "DeadLetterQueueS3Configuration",
    "PartitionField",
    "PartitionSpec",
    "RecordConfiguration",
    "S3DestinationDescription",
    "S3StorageConfiguration",
    "S3TablesConfiguration",
    "S3TablesDestinationDescription",
];

fn is_absent(member: &str) -> bool {
    let listed = ABSENT.iter().any(|(name, _)| match name.strip_suffix('*') {
        Some(before) => member.starts_with(before),
        None => member == *name,
    });
    listed || OF_CHANNELS.iter().any(|shape| member.starts_with(shape))
}

/// Asks, and notes which members were told.
struct Teller {
    rig: Rig,
    model: Model,
    told: BTreeSet<String>,
}

impl Teller {
    fn new() -> Self {
        Self { rig: Rig::empty(LocalSettings::default()), model: checked_in(), told: BTreeSet::new() }
    }

    fn ask<R: ModelRequest>(&mut self, request: &R) -> R::Response {
        let answer = self.rig.call(request).unwrap_or_else(|error| panic!("{}: {error}", R::NAME));
        let value = serde_json::to_value(&answer).unwrap();
        match self.model.operations[R::NAME].output.clone() {
            Some(output) => self.note(&output, &value),
            None => assert_eq!(value, serde_json::json!({}), "{} answers nothing", R::NAME),
        }
        answer
    }

    fn note(&mut self, name: &str, value: &Value) {
        let shape = &self.model.shapes[name];
        let (members, member) = (shape.members.clone(), shape.member.clone());
        match value {
            Value::Object(told) if shape.kind == "structure" => {
                for required in &shape.required {
                    let is_left_out =
                        LEFT_OUT.iter().any(|(member, _)| *member == format!("{name}.{required}"));
                    let members: Vec<_> = told.keys().collect();
                    assert!(
                        told.contains_key(required) || is_left_out,
                        "{name} without {required}: {members:?}"
                    );
                }
                for (key, value) in told {
                    let inner = members.get(key).unwrap_or_else(|| panic!("{name} has no {key}"));
                    self.told.insert(format!("{name}.{key}"));
                    self.note(inner, value);
                }
            }
            Value::Array(values) => {
                let inner = member.unwrap_or_else(|| panic!("{name} is no list"));
                values.iter().for_each(|value| self.note(&inner, value));
            }
            _ => assert_ne!(shape.kind, "structure", "{name} is {value}"),
        }
    }

    /// What is told of streams, shards and records.
    fn streams(&mut self) {
        let summary = DescribeStreamSummaryRequest::new().stream_name(STREAM);
        self.ask(&CreateStreamRequest::new(STREAM).shard_count(2));
        self.ask(&CreateStreamRequest::new("payments").shard_count(1));
        self.ask(&StartStreamEncryptionRequest::new(EncryptionType::Kms, "key").stream_name(STREAM));
        self.ask(&EnableEnhancedMonitoringRequest::new([MetricsName::All]).stream_name(STREAM));
        self.ask(&ListStreamsRequest::new().limit(1));
        self.ask(&DescribeLimitsRequest::new());
        self.ask(&PutRecordRequest::new("x").partition_key("a").stream_name(STREAM));
        let too_much = [entry("a", 1 << 19), entry("a", 1 << 19), entry("a", 1 << 19)];
        self.ask(&PutRecordsRequest::new(too_much).stream_name(STREAM));
        self.rig.secs(1);
        let split = SplitShardRequest::new(shard(0), (HALF / 2).to_string()).stream_name(STREAM);
        self.ask(&split);
        self.ask(&MergeShardsRequest::new(shard(2), shard(3)).stream_name(STREAM));
        self.ask(&ListShardsRequest::new().stream_name(STREAM).max_results(1));
        self.ask(&ListShardsRequest::new().stream_name(STREAM));
        self.ask(&DescribeStreamRequest::new().stream_name(STREAM));
        self.ask(&summary);
        for number in [0, 1] {
            let at = self.rig.iterator_request(number, ShardIteratorType::TrimHorizon);
            let at = self.ask(&at).shard_iterator.unwrap();
            self.ask(&GetRecordsRequest::new(at));
        }
        self.ask(&UpdateShardCountRequest::new(4, ScalingType::UniformScaling).stream_name(STREAM));
        self.ask(&TagResourceRequest::new(ARN, BTreeMap::from([("team".to_owned(), "a".to_owned())])));
        self.ask(&ListTagsForStreamRequest::new().stream_name(STREAM));
        self.ask(&ListTagsForResourceRequest::new(ARN));
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"kinesis:GetRecords","Resource":"ARN"}]}"#;
        self.ask(&PutResourcePolicyRequest::new(ARN, policy.replace("ARN", ARN)));
        self.ask(&GetResourcePolicyRequest::new(ARN));
        self.ask(&ListChannelsRequest::new());
    }

    /// Notes an event, or the exception that ends a subscription.
    fn pushed(&mut self, poll: SubscriptionPoll) {
        match poll {
            SubscriptionPoll::Event(event) => {
                let event = serde_json::json!({ "SubscribeToShardEvent": event });
                self.note("SubscribeToShardOutput", &serde_json::json!({ "EventStream": event }));
            }
            SubscriptionPoll::Fail(error) => {
                let event = serde_json::json!({ error.code.as_str(): { "message": error.message } });
                self.note("SubscribeToShardEventStream", &event);
            }
            other => panic!("{other:?}"),
        }
    }

    fn fan_out(&mut self) {
        let consumer = self.ask(&RegisterStreamConsumerRequest::new(ARN, "c")).consumer.consumer_arn;
        self.ask(&RegisterStreamConsumerRequest::new(ARN, "d"));
        self.ask(&ListStreamConsumersRequest::new(ARN).max_results(1));
        self.ask(&DescribeStreamConsumerRequest::new().consumer_arn(&consumer));
        let start = ShardIteratorType::TrimHorizon;
        let mut older = self.rig.subscribe(&consumer, start).unwrap();
        // Records, then the end with the children.
        for _ in 0..2 {
            let poll = self.rig.model.poll_subscription(self.rig.now, &mut older);
            if matches!(poll, SubscriptionPoll::Event(_)) {
                self.pushed(poll);
            }
            self.rig.secs(1);
        }
        // One that goes on, and each exception that ends one.
        let latest = |teller: &mut Self, shard_number: u32| {
            teller.rig.secs(10);
            let start = StartingPosition::new(ShardIteratorType::Latest);
            let request = SubscribeToShardRequest::new(&consumer, shard(shard_number), start);
            teller.rig.model.subscribe_to_shard(teller.rig.now, &request).unwrap()
        };
        let open = self.rig.shards().last().unwrap().shard_id.trim_start_matches("shardId-").parse().unwrap();
        let mut goes_on = latest(self, open);
        self.rig.secs(6);
        let poll = self.rig.model.poll_subscription(self.rig.now, &mut goes_on);
        self.pushed(poll);
        for error in [
            ErrorCode::KmsAccessDenied,
            ErrorCode::KmsDisabled,
            ErrorCode::KmsInvalidState,
            ErrorCode::KmsNotFound,
            ErrorCode::KmsOptInRequired,
            ErrorCode::KmsThrottling,
        ] {
            let mut subscription = latest(self, open);
            self.rig.model.set_kms_key_error("key", Some(error));
            let poll = self.rig.model.poll_subscription(self.rig.now, &mut subscription);
            self.pushed(poll);
            self.rig.model.set_kms_key_error("key", None);
        }
        let mut taken = latest(self, open);
        let mut newer = latest(self, open);
        let poll = self.rig.model.poll_subscription(self.rig.now, &mut taken);
        self.pushed(poll);
        self.ask(&DeleteStreamRequest::new().stream_name(STREAM).enforce_consumer_deletion(true));
        let poll = self.rig.model.poll_subscription(self.rig.now, &mut newer);
        self.pushed(poll);
    }

    /// What is told of accounts with On-demand Advantage, and of queues.
    fn queues(&mut self) {
        let settings = |status| UpdateAccountSettingsRequest::new(BillingCommitmentInput::new(status));
        self.ask(&settings(BillingCommitmentStatus::Enabled));
        let on_demand = StreamModeDetails::new(StreamMode::OnDemand);
        self.ask(&CreateStreamRequest::new(STREAM).stream_mode_details(on_demand));
        self.ask(&UpdateStreamWarmThroughputRequest::new(6).stream_name(STREAM));
        self.ask(&DescribeStreamSummaryRequest::new().stream_name(STREAM));
        let start = QueueStartingPosition::new(QueueStartingPositionType::AtTimestamp);
        let source = QueueStreamConfiguration::new(ARN).starting_position(start.timestamp(self.rig.now));
        let letters = DeadLetterConfiguration::new(TargetType::BuiltIn).max_receive_count(1);
        let attributes = QueueAttributes::new().dead_letter_configuration(letters);
        let create = CreateQueueRequest::new("work", [source]).queue_attributes(attributes.clone());
        let arn = self.ask(&create).queue_description.queue_arn;
        self.ask(&CreateQueueRequest::new("more", [QueueStreamConfiguration::new(ARN)]));
        self.ask(&DescribeQueueRequest::new(&arn));
        self.ask(&UpdateQueueRequest::new(&arn, attributes));
        self.ask(&ListQueuesRequest::new().max_results(1));
        for key in ["a", "b"] {
            self.ask(&PutRecordRequest::new("x").partition_key(key).stream_name(STREAM));
        }
        // One entry that succeeds, and one that fails, for each.
        let forged = || ReceiptEntry::new("forged");
        let hide = |record: &QueueRecord| {
            [VisibilityEntry::new(&record.receipt_handle, 60), VisibilityEntry::new("forged", 60)]
        };
        let records = self.ask(&ReceiveQueueRecordsRequest::new(&arn)).queue_records;
        self.ask(&UpdateQueueRecordsVisibilityRequest::new(&arn, hide(&records[0])));
        let done = ReceiptEntry::new(&records[1].receipt_handle);
        self.ask(&AcknowledgeQueueRecordsRequest::new(&arn, [done, forged()]));
        self.rig.secs(60);
        for restores in [true, false] {
            let dead = self.ask(&ReceiveDeadLetterQueueRecordsRequest::new(&arn)).queue_records;
            self.ask(&UpdateDeadLetterQueueRecordsVisibilityRequest::new(&arn, hide(&dead[0])));
            let entries = [ReceiptEntry::new(&dead[0].receipt_handle), forged()];
            if restores {
                self.ask(&RestoreDeadLetterQueueRecordsRequest::new(&arn, entries));
                self.ask(&ReceiveQueueRecordsRequest::new(&arn));
                self.rig.secs(60);
            } else {
                self.ask(&AcknowledgeDeadLetterQueueRecordsRequest::new(&arn, entries));
            }
        }
        self.rig.wait(Duration::from_secs(86_400));
        self.ask(&settings(BillingCommitmentStatus::Disabled));
        self.ask(&DescribeAccountSettingsRequest::new());
    }
}

/// Every member that an answer can have, as `Shape.Member`.
fn members_of_answers(model: &Model) -> BTreeSet<String> {
    let mut shapes: Vec<&String> = model.operations.values().filter_map(|it| it.output.as_ref()).collect();
    let (mut seen, mut members) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = shapes.pop() {
        if !seen.insert(name) {
            continue;
        }
        let shape = &model.shapes[name];
        shapes.extend(shape.members.values().chain(&shape.member));
        members.extend(shape.members.keys().map(|member| format!("{name}.{member}")));
    }
    members
}

fn told() -> BTreeSet<String> {
    let mut teller = Teller::new();
    teller.streams();
    teller.fan_out();
    teller.queues();
    teller.told
}

#[test]
fn every_member_of_an_answer_is_told_or_listed_as_absent() {
    let told = told();
    let all = members_of_answers(&checked_in());
    let silent: Vec<_> = all.difference(&told).filter(|member| !is_absent(member)).collect();
    assert!(told.len() > 180 && silent.is_empty(), "neither told nor listed as absent: {silent:?}");
    let wrong: Vec<_> = told.iter().filter(|member| is_absent(member)).collect();
    // A stream without channels tells how many it has.
    assert!(wrong.is_empty(), "listed as absent, and told: {wrong:?}");
    for (name, reason) in ABSENT {
        assert!(all.iter().any(|member| member.starts_with(name.trim_end_matches('*'))), "{name}: {reason}");
    }
}

/// Whichever member AWS adds to an answer, or to a structure within one, is found to be missing here.
#[test]
fn a_member_that_is_added_to_an_answer_does_not_pass_unseen() {
    let told = told();
    for shape in [
        "QueueRecord",
        "StreamDescriptionSummary",
        "ListShardsOutput",
        "SubscribeToShardEvent",
        "HashKeyRange",
    ] {
        let mut model = checked_in();
        let members = &mut model.shapes.get_mut(shape).unwrap().members;
        members.insert("ColourOfTheDay".to_owned(), "StreamName".to_owned());
        let all = members_of_answers(&model);
        let silent: Vec<_> = all.difference(&told).filter(|member| !is_absent(member)).collect();
        assert_eq!(silent, [&format!("{shape}.ColourOfTheDay")]);
    }
}

#[test]
fn the_installed_botocore_knows_no_other_member_of_an_answer() {
    let Some(newest) = installed() else { return };
    let known = members_of_answers(&checked_in());
    let all = members_of_answers(&newest);
    let unknown: Vec<_> = all.difference(&known).filter(|member| !is_absent(member)).collect();
    assert!(unknown.is_empty(), "members of answers that are not here: {unknown:?}");
}
