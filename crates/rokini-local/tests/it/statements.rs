//! Statements about what Kinesis has learned since 2025, and about its edges: one test each, against the model in virtual time.
//!
//! Above each test stands the statement and where it is from: the service model and API reference (API), the developer guide
//! (guide), kinesalite's tests, which were recorded against the service (kinesalite), or, where all are silent, that it is a choice.

use rokini_local::wire::shapes::account::*;
use rokini_local::wire::shapes::channel::*;
use rokini_local::wire::shapes::consumer::*;
use rokini_local::wire::shapes::record::*;
use rokini_local::wire::shapes::shard::*;
use rokini_local::wire::shapes::stream::*;
use rokini_local::wire::shapes::tags::*;
use rokini_local::wire::{
    BillingCommitmentStatus, ErrorCode, MetricsName, RecordDistributionStrategy, ServiceError,
    ShardFilterType, ShardIteratorType, StreamMode, StreamStatus,
};
use rokini_local::{Caller, LocalSettings};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::fidelity::{HALF, Rig, STREAM, by_name, code, entry, numbers, passing, shard};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const OTHER: &str = "222222222222";

/// With an on-demand stream of four shards.
pub(crate) fn on_demand(strategy: Option<RecordDistributionStrategy>) -> Rig {
    let mut rig = Rig::empty(LocalSettings::default());
    let mut request =
        CreateStreamRequest::new(STREAM).stream_mode_details(StreamModeDetails::new(StreamMode::OnDemand));
    request.record_distribution_strategy = strategy;
    rig.call(&request).unwrap();
    rig
}

fn put(data: &str) -> PutRecordRequest {
    PutRecordRequest::new(data.as_bytes().to_vec()).stream_name(STREAM)
}

fn advantage(rig: &mut Rig, status: BillingCommitmentStatus) -> BillingCommitment {
    let request = UpdateAccountSettingsRequest::new(BillingCommitmentInput::new(status));
    rig.call(&request).unwrap().minimum_throughput_billing_commitment.unwrap()
}

// RecordDistributionStrategy

/// API: "AUTO – Amazon Kinesis Data Streams distributes records evenly across shards and ignores any partition key and
/// ExplicitHashKey that producers supply."
#[test]
fn statement_01_auto_spreads_records_whatever_their_keys() {
    let mut rig = on_demand(Some(RecordDistributionStrategy::Auto));
    let shards: Vec<String> = (0..8)
        .map(|_| rig.call(&put("x").partition_key("same").explicit_hash_key("0")).unwrap().shard_id)
        .collect();
    for number in 0..4 {
        assert_eq!(shards.iter().filter(|id| **id == shard(number)).count(), 2, "{shards:?}");
    }
}

/// guide: "PartitionKey – Optional." Records without a key are read without one, and a key that was given is read as given.
#[test]
fn statement_02_auto_takes_records_without_keys() {
    let mut rig = on_demand(Some(RecordDistributionStrategy::Auto));
    let keyless = rig.call(&put("x")).unwrap();
    let keyed = rig.call(&put("y").partition_key("k")).unwrap();
    let entries = [PutRecordsRequestEntry::new(vec![1]), entry("k", 1)];
    let many = rig.call(&PutRecordsRequest::new(entries).stream_name(STREAM)).unwrap();
    assert_eq!(many.failed_record_count, Some(0));
    for (answer, key) in [(keyless, None), (keyed, Some("k"))] {
        let number = answer.shard_id.trim_start_matches("shardId-").parse().unwrap();
        let at = rig.iterator_of(number, ShardIteratorType::TrimHorizon);
        assert_eq!(rig.read(&at).records[0].partition_key.as_deref(), key);
    }
}

/// guide: "PutRecord requests that include this field are rejected with an InvalidArgumentException."
#[test]
fn statement_03_auto_refuses_an_order() {
    let mut rig = on_demand(Some(RecordDistributionStrategy::Auto));
    let before = rig.call(&put("x")).unwrap().sequence_number.to_string();
    let ordered = put("y").sequence_number_for_ordering(before);
    assert_eq!(code(rig.call(&ordered)), ErrorCode::InvalidArgument);
}

/// API: "USER_PARTITION_KEY – Producers must supply a partition key." The words are kinesalite's.
#[test]
fn statement_04_other_streams_want_keys() {
    for mut rig in [on_demand(None), Rig::new(1)] {
        let error = rig.call(&put("x")).unwrap_err();
        assert_eq!(error.code, ErrorCode::Validation);
        assert!(error.message.contains("Value null at 'partitionKey'"), "{error}");
    }
}

/// API: "Attempting to set AUTO on a provisioned stream results in an InvalidArgumentException."
#[test]
fn statement_05_a_strategy_is_an_on_demand_streams() {
    let mut rig = Rig::new(1);
    let auto = RecordDistributionStrategy::Auto;
    let update = UpdateStreamRecordDistributionStrategyRequest::new(ARN, auto.clone());
    assert_eq!(code(rig.call(&update)), ErrorCode::InvalidArgument);
    let create = CreateStreamRequest::new("other").shard_count(1).record_distribution_strategy(auto);
    assert_eq!(code(rig.call(&create)), ErrorCode::InvalidArgument);
}

/// API: "You can switch between the following strategies at any time, and the change takes effect immediately", and
/// DescribeStreamSummary: "This field is only present for streams that use the on-demand capacity mode."
#[test]
fn statement_06_a_strategy_can_be_switched_and_is_told() {
    let mut rig = on_demand(None);
    assert_eq!(
        rig.summary().record_distribution_strategy,
        Some(RecordDistributionStrategy::UserPartitionKey)
    );
    for strategy in [RecordDistributionStrategy::Auto, RecordDistributionStrategy::UserPartitionKey] {
        rig.call(&UpdateStreamRecordDistributionStrategyRequest::new(ARN, strategy.clone())).unwrap();
        let summary = rig.summary();
        assert_eq!(summary.stream_status, StreamStatus::Active);
        assert_eq!(summary.record_distribution_strategy, Some(strategy));
    }
    assert_eq!(code(rig.call(&put("x"))), ErrorCode::Validation, "keys are wanted again");
    assert_eq!(Rig::new(1).summary().record_distribution_strategy, None);
}

/// Choice: a shard without room is passed over, since "Amazon Kinesis Data Streams distributes records evenly".
#[test]
fn statement_07_auto_passes_over_a_full_shard() {
    let mut rig = on_demand(Some(RecordDistributionStrategy::Auto));
    for _ in 0..4 {
        rig.call(&PutRecordRequest::new(vec![0; (1 << 20) - 8]).stream_name(STREAM)).unwrap();
    }
    assert_eq!(code(rig.call(&put("larger than what is left"))), ErrorCode::ProvisionedThroughputExceeded);
}

// DryRun

/// guide: "If all checks pass, the API returns HTTP 400 with a DryRunOperationException", "without running the operation or
/// reading or writing any data"; "1 transaction per second (TPS) per stream", "shared across all supported dry run APIs".
#[test]
fn statement_08_a_dry_run_does_nothing_and_says_so() {
    let mut rig = Rig::new(1);
    let at = rig.iterator_of(0, ShardIteratorType::TrimHorizon);
    rig.secs(1);
    let consumer = rig.consumer("c").unwrap().consumer_arn;
    let dry = ErrorCode::DryRunOperation;
    assert_eq!(code(rig.call(&put("x").partition_key("k").dry_run(true))), dry);
    let again = rig.call(&GetRecordsRequest::new(at.clone()).dry_run(true));
    assert_eq!(code(again), ErrorCode::Throttling, "one a second, whatever the operation");
    rig.secs(1);
    assert_eq!(code(rig.call(&GetRecordsRequest::new(at.clone()).dry_run(true))), dry);
    rig.secs(1);
    let entries = PutRecordsRequest::new([entry("k", 1)]).stream_name(STREAM).dry_run(true);
    assert_eq!(code(rig.call(&entries)), dry);
    rig.secs(1);
    let iterator = rig.iterator_request(0, ShardIteratorType::Latest).dry_run(true);
    assert_eq!(code(rig.call(&iterator)), dry);
    rig.secs(1);
    let start = StartingPosition::new(ShardIteratorType::Latest);
    let subscribe = SubscribeToShardRequest::new(consumer.clone(), shard(0), start).dry_run(true);
    assert_eq!(rig.model.subscribe_to_shard(rig.now, &subscribe).unwrap_err().code, dry);
    assert!(rig.subscribe(&consumer, ShardIteratorType::Latest).is_ok(), "the shard is not taken");
    assert!(rig.read(&at).records.is_empty(), "nothing was written");
}

/// guide: "If any check fails, the API returns the same error that the actual operation would return".
#[test]
fn statement_09_a_dry_run_fails_as_the_call_would() {
    let mut rig = Rig::new(1);
    let nowhere = PutRecordRequest::new(vec![1]).partition_key("k").stream_name("nope").dry_run(true);
    assert_eq!(code(rig.call(&nowhere)), ErrorCode::ResourceNotFound);
    let future = rig.iterator_request(0, ShardIteratorType::AtTimestamp);
    let future = future.timestamp(rig.now.plus(Duration::from_secs(60))).dry_run(true);
    assert_eq!(code(rig.call(&future)), ErrorCode::InvalidArgument);
    assert_eq!(code(rig.call(&put("x").dry_run(true))), ErrorCode::Validation, "no key");
}

/// guide: a dry run does not check permissions for the KMS key of an encrypted stream.
#[test]
fn statement_10_a_dry_run_does_not_ask_for_the_key() {
    let mut rig = Rig::new(1);
    use rokini_local::wire::EncryptionType;
    rig.call(&StartStreamEncryptionRequest::new(EncryptionType::Kms, "key").stream_name(STREAM)).unwrap();
    rig.model.set_kms_key_error("key", Some(ErrorCode::KmsDisabled));
    assert_eq!(code(rig.call(&put("x").partition_key("k"))), ErrorCode::KmsDisabled);
    assert_eq!(code(rig.call(&put("x").partition_key("k").dry_run(true))), ErrorCode::DryRunOperation);
}

// Account settings and warm throughput

/// API: "Commitments have a minimum duration of 24 hours": ENABLED, ENABLED_UNTIL_EARLIEST_ALLOWED_END, DISABLED.
#[test]
fn statement_11_a_commitment_lasts_a_day() {
    let mut rig = Rig::empty(LocalSettings::default());
    let before = rig.call(&DescribeAccountSettingsRequest::new()).unwrap();
    let before = before.minimum_throughput_billing_commitment.unwrap();
    assert_eq!(before.status, BillingCommitmentStatus::Disabled);
    let enabled = advantage(&mut rig, BillingCommitmentStatus::Enabled);
    assert_eq!((enabled.status, enabled.started_at), (BillingCommitmentStatus::Enabled, Some(rig.now)));
    assert_eq!(enabled.earliest_allowed_end_at, Some(rig.now.plus(Duration::from_secs(86_400))));
    rig.hours(1);
    let ending = advantage(&mut rig, BillingCommitmentStatus::Disabled);
    assert_eq!(ending.status, BillingCommitmentStatus::EnabledUntilEarliestAllowedEnd);
    rig.hours(24);
    let after = rig.call(&DescribeAccountSettingsRequest::new()).unwrap();
    let after = after.minimum_throughput_billing_commitment.unwrap();
    assert_eq!((after.status, after.ended_at.is_some()), (BillingCommitmentStatus::Disabled, true));
}

/// API: "This operation is only supported for data streams with the on-demand capacity mode in accounts that have
/// MinimumThroughputBillingCommitment enabled." ValidationException: "the operation is not supported for the stream's capacity
/// mode".
#[test]
fn statement_12_warm_throughput_needs_on_demand_and_a_commitment() {
    let warm = |mibps: i32| UpdateStreamWarmThroughputRequest::new(mibps).stream_name(STREAM);
    let mut rig = on_demand(None);
    assert_eq!(code(rig.call(&warm(10))), ErrorCode::Validation);
    assert_eq!(rig.summary().warm_throughput, None);
    advantage(&mut rig, BillingCommitmentStatus::Enabled);
    let answer = rig.call(&warm(10)).unwrap().warm_throughput.unwrap();
    assert_eq!((answer.target_mibps, answer.current_mibps), (Some(10), Some(4)));
    let summary = rig.summary();
    let told = summary.warm_throughput.unwrap();
    assert_eq!((summary.open_shard_count, told.target_mibps, told.current_mibps), (10, Some(10), Some(10)));
    assert_eq!(code(rig.call(&warm(10_241))), ErrorCode::LimitExceeded, "more than 10 GiBps");
    let mut provisioned = Rig::new(1);
    advantage(&mut provisioned, BillingCommitmentStatus::Enabled);
    assert_eq!(code(provisioned.call(&warm(10))), ErrorCode::Validation);
}

/// API: CreateStream and UpdateStreamMode take WarmThroughputMiBps.
#[test]
fn statement_13_a_stream_can_begin_warm() {
    let mut rig = Rig::new(1);
    advantage(&mut rig, BillingCommitmentStatus::Enabled);
    let details = StreamModeDetails::new(StreamMode::OnDemand);
    let create =
        CreateStreamRequest::new("warm").stream_mode_details(details.clone()).warm_throughput_mibps(7);
    rig.call(&create).unwrap();
    let summary = rig.call(&DescribeStreamSummaryRequest::new().stream_name("warm")).unwrap();
    assert_eq!(summary.stream_description_summary.open_shard_count, 7);
    rig.call(&UpdateStreamModeRequest::new(ARN, details).warm_throughput_mibps(6)).unwrap();
    assert_eq!(rig.summary().open_shard_count, 6);
}

/// API: "With On-demand Advantage streams, you can register up to 50 consumers per stream", and "up to 20" otherwise.
#[test]
fn statement_14_fifty_consumers_with_advantage() {
    let mut rig = on_demand(None);
    for n in 0..20 {
        rig.consumer(&format!("c{n}")).unwrap();
    }
    assert_eq!(code(rig.consumer("more")), ErrorCode::LimitExceeded);
    advantage(&mut rig, BillingCommitmentStatus::Enabled);
    for n in 20..50 {
        rig.consumer(&format!("c{n}")).unwrap();
    }
    assert_eq!(code(rig.consumer("more")), ErrorCode::LimitExceeded);
}

// Resource policies, accounts and regions

fn policy(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{OTHER}"}},"Action":"{action}","Resource":"{ARN}"}}]}}"#
    )
}

/// API: Put, Get and DeleteResourcePolicy; the policy comes back as it was given.
#[test]
fn statement_15_policies_are_stored_and_told() {
    let mut rig = Rig::new(1);
    let get = GetResourcePolicyRequest::new(ARN);
    assert_eq!(code(rig.call(&get)), ErrorCode::ResourceNotFound);
    rig.call(&PutResourcePolicyRequest::new(ARN, policy("kinesis:GetRecords"))).unwrap();
    assert_eq!(rig.call(&get).unwrap().policy, policy("kinesis:GetRecords"));
    assert_eq!(code(rig.call(&PutResourcePolicyRequest::new(ARN, "{"))), ErrorCode::InvalidArgument);
    rig.call(&DeleteResourcePolicyRequest::new(ARN)).unwrap();
    assert_eq!(code(rig.call(&get)), ErrorCode::ResourceNotFound);
}

/// guide: a resource policy is how another account reads a stream, by its ARN.
#[test]
fn statement_16_another_account_may_what_the_policy_allows() {
    let mut rig = Rig::new(1);
    let other = Caller::new().account(OTHER).region("us-east-1");
    let read = ListShardsRequest::new().stream_arn(ARN);
    let (now, denied) = (rig.now, ErrorCode::AccessDenied);
    assert_eq!(code(rig.model.call_as(&other, now, &read)), denied);
    rig.call(&PutResourcePolicyRequest::new(ARN, policy("kinesis:ListShards"))).unwrap();
    assert!(rig.model.call_as(&other, now, &read).is_ok());
    let summary = DescribeStreamSummaryRequest::new().stream_arn(ARN);
    assert_eq!(code(rig.model.call_as(&other, now, &summary)), denied, "another action");
    let by_name = ListShardsRequest::new().stream_name(STREAM);
    assert_eq!(
        code(rig.model.call_as(&other, now, &by_name)),
        ErrorCode::ResourceNotFound,
        "names are one's own"
    );
}

/// An iterator is no permission: GetRecords by another account is judged by the stream's policy.
#[test]
fn statement_17_an_iterator_is_no_permission() {
    let mut rig = Rig::new(1);
    let at = rig.iterator_of(0, ShardIteratorType::TrimHorizon);
    let other = Caller::new().account(OTHER).region("us-east-1");
    let answer = rig.model.call_as(&other, rig.now, &GetRecordsRequest::new(at));
    assert_eq!(code(answer), ErrorCode::AccessDenied);
}

/// API, CreateStream: "two streams in two different accounts can have the same name, and two streams in the same account, but in
/// two different Regions, can have the same name."
#[test]
fn statement_18_a_name_is_an_accounts_in_a_region() {
    let mut rig = Rig::new(1);
    let callers = [
        (
            Caller::new().account(OTHER).region("us-east-1"),
            "arn:aws:kinesis:us-east-1:222222222222:stream/orders",
        ),
        (Caller::new().region("cn-north-1"), "arn:aws-cn:kinesis:cn-north-1:000000000000:stream/orders"),
        (
            Caller::new().region("us-gov-west-1"),
            "arn:aws-us-gov:kinesis:us-gov-west-1:000000000000:stream/orders",
        ),
        (
            Caller::new().region("us-iso-east-1"),
            "arn:aws-iso:kinesis:us-iso-east-1:000000000000:stream/orders",
        ),
    ];
    for (caller, arn) in &callers {
        let now = rig.now;
        rig.model.call_as(caller, now, &CreateStreamRequest::new(STREAM).shard_count(1)).unwrap();
        let summary = DescribeStreamSummaryRequest::new().stream_arn(*arn);
        let told = rig.model.call_as(caller, now, &summary).unwrap().stream_description_summary;
        assert_eq!(told.stream_arn, *arn);
        let listed = rig.model.call_as(caller, now, &ListStreamsRequest::new()).unwrap();
        assert_eq!(listed.stream_names, [STREAM]);
    }
}

/// Choice: an ARN of another region than the endpoint's is not found, and the message says which region was asked.
#[test]
fn statement_19_another_regions_stream_is_not_found() {
    let mut rig = Rig::new(1);
    let elsewhere = Caller::new().region("eu-west-1");
    let error =
        rig.model.call_as(&elsewhere, rig.now, &ListShardsRequest::new().stream_arn(ARN)).unwrap_err();
    assert!(error.code == ErrorCode::ResourceNotFound && error.message.contains("eu-west-1"), "{error}");
    let error = rig.model.call_as(&elsewhere, rig.now, &by_name()).unwrap_err();
    assert!(error.message.contains("It is in us-east-1"), "{error}");
}

// Channels and StreamId

/// Choice: channels are known and refused, and there are none.
#[test]
fn statement_20_channels_are_refused_honestly() {
    let mut rig = on_demand(None);
    let role = "arn:aws:iam::000000000000:role/r";
    let create = CreateChannelRequest::new(
        "c",
        role,
        [ChannelStreamConfiguration::new(ARN, RecordConfiguration::new("STRING"))],
    );
    let error = rig.call(&create).unwrap_err();
    assert!(error.code == ErrorCode::InvalidArgument && error.message.contains("no channels"), "{error}");
    assert!(rig.call(&ListChannelsRequest::new()).unwrap().channel_summaries.is_empty());
    let arn = "arn:aws:kinesis:us-east-1:000000000000:channel/c";
    assert_eq!(code(rig.call(&DescribeChannelRequest::new(arn))), ErrorCode::ResourceNotFound);
    assert_eq!(rig.summary().channel_count, Some(0));
}

/// API: StreamId is "Not Implemented. Reserved for future use."; its pattern counts.
#[test]
fn statement_21_a_stream_id_means_nothing() {
    let mut rig = Rig::new(1);
    let id = "abcdefghij0123456789-abc";
    assert!(rig.list(&by_name().stream_id(id)).is_ok());
    assert_eq!(code(rig.list(&by_name().stream_id("?"))), ErrorCode::Validation);
}

// Tags

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// API, RegisterStreamConsumer: "Tags will take effect from the CREATING status of the consumer."
#[test]
fn statement_22_consumers_carry_tags_from_creating_on() {
    let mut rig = Rig::slow(1);
    let register = RegisterStreamConsumerRequest::new(ARN, "c").tags(tags(&[("team", "a")]));
    let arn = rig.call(&register).unwrap().consumer.consumer_arn;
    let listed = rig.call(&ListTagsForResourceRequest::new(arn.clone())).unwrap().tags.unwrap();
    assert_eq!(listed[0].key, "team");
    rig.call(&UntagResourceRequest::new(arn.clone(), ["team".to_owned()])).unwrap();
    assert!(rig.call(&ListTagsForResourceRequest::new(arn)).unwrap().tags.unwrap().is_empty());
}

/// kinesalite: characters outside of letters, digits, white space and `_ . / = + - @ :` are InvalidArgumentException.
#[test]
fn statement_23_tags_have_an_alphabet() {
    let mut rig = Rig::new(1);
    let add = |pairs: &[(&str, &str)]| AddTagsToStreamRequest::new(tags(pairs)).stream_name(STREAM);
    rig.call(&add(&[("Käse: a/b=c+d-e@f_g.h", "ü 1")])).unwrap();
    for bad in [("a#", "b"), ("a", "b;"), ("a%", "b"), ("aws:x", "b")] {
        assert_eq!(code(rig.call(&add(&[bad]))), ErrorCode::InvalidArgument, "{bad:?}");
    }
    let register = RegisterStreamConsumerRequest::new(ARN, "c").tags(tags(&[("a#", "b")]));
    assert_eq!(code(rig.call(&register)), ErrorCode::InvalidArgument);
}

/// API: TagKey is 1 to 128 characters, TagValue up to 256, a call has at least one tag; "up to 50 tags".
#[test]
fn statement_24_tags_have_limits() {
    let mut rig = Rig::new(1);
    let long = "k".repeat(129);
    for bad in [tags(&[(&long, "v")]), tags(&[("", "v")]), tags(&[("k", &"v".repeat(257))]), tags(&[])] {
        let request = AddTagsToStreamRequest::new(bad).stream_name(STREAM);
        assert_eq!(code(rig.call(&request)), ErrorCode::Validation);
    }
    let fifty: BTreeMap<String, String> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    rig.call(&AddTagsToStreamRequest::new(fifty).stream_name(STREAM)).unwrap();
    let one_more = AddTagsToStreamRequest::new(tags(&[("more", "")])).stream_name(STREAM);
    assert_eq!(code(rig.call(&one_more)), ErrorCode::InvalidArgument);
}

// Consumers

/// API: the model lists no ResourceInUseException for repeating, so (choice) a repeated DeregisterStreamConsumer is accepted and
/// does not begin the time anew.
#[test]
fn statement_25_deregistering_again_does_not_begin_anew() {
    let mut rig = Rig::slow(1);
    rig.model.settings_mut().status_change = Duration::ZERO;
    let arn = rig.consumer("c").unwrap().consumer_arn;
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    let gone = DeregisterStreamConsumerRequest::new().consumer_arn(arn.clone());
    rig.call(&gone).unwrap();
    rig.secs(6);
    rig.call(&gone).unwrap();
    rig.secs(5);
    let describe = DescribeStreamConsumerRequest::new().consumer_arn(arn);
    assert_eq!(code(rig.call(&describe)), ErrorCode::ResourceNotFound);
}

/// API: "For successful operation, the resource must be in the ACTIVE state" (ResourceInUseException).
#[test]
fn statement_26_no_consumer_on_a_stream_on_its_way_out() {
    let mut rig = Rig::slow(1);
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    let register = RegisterStreamConsumerRequest::new(ARN, "c");
    assert_eq!(code(rig.call(&register)), ErrorCode::ResourceInUse);
}

/// API: "The use of this operation has a limit of five transactions per second per account."
#[test]
fn statement_27_registering_is_limited_for_the_account() {
    let mut rig = Rig::empty(LocalSettings::default());
    rig.model.settings_mut().call_limits = false;
    for name in ["a", "b"] {
        rig.create(name, 1).unwrap();
    }
    rig.model.settings_mut().call_limits = true;
    let arn = |name: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
    for n in 0..5 {
        let stream = if n % 2 == 0 { "a" } else { "b" };
        rig.call(&RegisterStreamConsumerRequest::new(arn(stream), format!("c{n}"))).unwrap();
    }
    let sixth = RegisterStreamConsumerRequest::new(arn("b"), "c6");
    assert_eq!(code(rig.call(&sixth)), ErrorCode::LimitExceeded);
}

/// A token is for the stream it was made for.
#[test]
fn statement_28_a_page_of_consumers_belongs_to_its_stream() {
    let mut rig = Rig::new(1);
    rig.create("other", 1).unwrap();
    for name in ["a", "b"] {
        rig.consumer(name).unwrap();
    }
    let first = rig.call(&ListStreamConsumersRequest::new(ARN).max_results(1)).unwrap();
    let token = first.next_token.unwrap();
    let rest = rig.call(&ListStreamConsumersRequest::new(ARN).next_token(token.clone())).unwrap();
    assert_eq!(rest.consumers.unwrap()[0].consumer_name, "b");
    let other = "arn:aws:kinesis:us-east-1:000000000000:stream/other";
    let mixed = ListStreamConsumersRequest::new(other).next_token(token);
    assert_eq!(code(rig.call(&mixed)), ErrorCode::InvalidArgument);
}

// Limits and constraints

/// API: "You can successfully disable server-side encryption 25 times in a rolling 24-hour period."
#[test]
fn statement_29_encryption_stops_twenty_five_times_a_day() {
    use rokini_local::wire::EncryptionType;
    let mut rig = Rig::new(1);
    let start = StartStreamEncryptionRequest::new(EncryptionType::Kms, "key").stream_name(STREAM);
    let stop = StopStreamEncryptionRequest::new(EncryptionType::Kms, "key").stream_name(STREAM);
    for _ in 0..25 {
        rig.call(&start).unwrap();
        rig.call(&stop).unwrap();
    }
    assert_eq!(code(rig.call(&stop)), ErrorCode::LimitExceeded);
    rig.hours(25);
    rig.call(&start).unwrap();
    rig.call(&stop).unwrap();
}

/// API: UpdateShardCount, "Make over 10 TPS."
#[test]
fn statement_30_scaling_is_limited_to_ten_calls_a_second() {
    use rokini_local::wire::ScalingType;
    let mut rig = Rig::new(2);
    rig.model.settings_mut().call_limits = true;
    let out_of_range = UpdateShardCountRequest::new(50, ScalingType::UniformScaling).stream_name(STREAM);
    for _ in 0..10 {
        assert_eq!(code(rig.call(&out_of_range)), ErrorCode::InvalidArgument);
    }
    assert_eq!(code(rig.call(&out_of_range)), ErrorCode::LimitExceeded);
}

/// API: MetricsNameList has 1 to 7 members.
#[test]
fn statement_31_at_most_seven_metrics() {
    let mut rig = Rig::new(1);
    let eight = vec![MetricsName::IncomingBytes; 8];
    let enable = EnableEnhancedMonitoringRequest::new(eight).stream_name(STREAM);
    assert_eq!(code(rig.call(&enable)), ErrorCode::Validation);
}

/// API: HashKey is `0|([1-9]\d{0,38})`: 40 digits break the pattern, 39 that are too many are out of range.
#[test]
fn statement_32_hash_keys_of_forty_digits_break_the_pattern() {
    let mut rig = Rig::new(1);
    let forty = put("x").partition_key("k").explicit_hash_key("1".repeat(40));
    assert_eq!(code(rig.call(&forty)), ErrorCode::Validation);
    let large = put("x").partition_key("k").explicit_hash_key("9".repeat(39));
    assert_eq!(code(rig.call(&large)), ErrorCode::InvalidArgument);
    let split = SplitShardRequest::new(shard(0), "1".repeat(40)).stream_name(STREAM);
    assert_eq!(code(rig.call(&split)), ErrorCode::Validation);
}

/// API: PartitionKey has at least one character, in PutRecords too.
#[test]
fn statement_33_an_empty_key_is_refused_in_put_records() {
    let mut rig = Rig::new(1);
    let request = PutRecordsRequest::new([entry("", 1)]).stream_name(STREAM);
    let error = rig.call(&request).unwrap_err();
    assert!(
        error.code == ErrorCode::Validation && error.message.contains("records.1.member.partitionKey"),
        "{error}"
    );
}

/// The broken members of a request are reported together, in the words of the service (kinesalite).
#[test]
fn statement_34_broken_members_are_reported_together() {
    let mut rig = Rig::new(1);
    let request = SplitShardRequest::new("a b", "01").stream_name("?");
    let error = rig.call(&request).unwrap_err();
    assert!(error.message.starts_with("3 validation errors detected: "), "{error}");
    for member in ["'shardToSplit'", "'newStartingHashKey'", "'streamName'"] {
        assert!(error.message.contains(member), "{error}");
    }
}

// Positions

/// API: "If a record with this exact time stamp does not exist, the iterator returned is for the next (later) record. If the time
/// stamp is older than the current trim horizon, the iterator returned is for the oldest untrimmed data record"; times of 0 and
/// before, and fractions of a second, count as times.
#[test]
fn statement_35_times_of_any_age_are_positions() {
    let mut rig = Rig::new(1);
    rig.put("a");
    let between = rig.now.plus(Duration::from_millis(500));
    rig.secs(1);
    rig.put("b");
    use rokini_local::wire::Timestamp;
    for (time, expected) in [
        (Timestamp::from_millis(-5), vec!["a", "b"]),
        (Timestamp::from_millis(0), vec!["a", "b"]),
        (between, vec!["b"]),
        (rig.now, vec!["b"]),
    ] {
        let at = rig.iterator_request(0, ShardIteratorType::AtTimestamp).timestamp(time);
        let at = rig.call(&at).unwrap().shard_iterator.unwrap();
        assert_eq!(rig.texts(&at), expected, "{time}");
    }
}

/// kinesalite: AT_SEQUENCE_NUMBER with the shard's StartingSequenceNumber is a position before every record, before there is one.
#[test]
fn statement_36_the_starting_number_is_a_position() {
    let mut rig = Rig::new(1);
    let number = rig.shards()[0].sequence_number_range.starting_sequence_number.to_string();
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let at = rig.at_number(kind, &number).unwrap();
        rig.put("x");
        assert!(rig.texts(&at).contains(&"x".to_owned()));
    }
}

/// kinesalite: a number of a closed shard after its last record is a position at its end.
#[test]
fn statement_37_the_ending_number_is_the_end() {
    let mut rig = Rig::new(1);
    rig.put("x");
    rig.split(0, HALF).unwrap();
    let number = rig.shards()[0].sequence_number_range.ending_sequence_number.unwrap().to_string();
    for kind in [ShardIteratorType::AtSequenceNumber, ShardIteratorType::AfterSequenceNumber] {
        let at = rig.at_number(kind, &number).unwrap();
        let read = rig.read(&at);
        assert!(read.records.is_empty() && read.child_shards.is_some(), "{read:?}");
    }
}

/// API: the iterator of LATEST reads "the most recent data": what is put after it was given, also if it is used late.
#[test]
fn statement_38_latest_is_when_it_was_asked_for() {
    let mut rig = Rig::new(1);
    rig.put("before");
    let at = rig.iterator_of(0, ShardIteratorType::Latest);
    rig.secs(100);
    rig.put("after");
    rig.secs(100);
    assert_eq!(rig.texts(&at), ["after"]);
}

/// API: "AT_TIMESTAMP – all shards whose start timestamp is less than or equal to the given timestamp"; a time before the stream
/// is (choice) its beginning, as FROM_TIMESTAMP is "Corrected to TRIM_HORIZON".
#[test]
fn statement_39_a_time_before_the_stream_is_its_beginning() {
    let mut rig = Rig::new(2);
    let before = rig.now.minus(Duration::from_secs(60));
    rig.secs(60);
    rig.split(0, HALF / 2).unwrap();
    for kind in [ShardFilterType::AtTimestamp, ShardFilterType::AtTrimHorizon] {
        assert_eq!(rig.filtered(kind.clone(), Some(before)), [0, 1], "{kind}");
    }
    assert_eq!(rig.filtered(ShardFilterType::FromTimestamp, Some(before)), [0, 1, 2, 3]);
}

/// API: ExclusiveStartShardId lists "starting with the shard whose ID immediately follows": after the last there is none.
#[test]
fn statement_40_after_the_last_shard_there_is_none() {
    let mut rig = Rig::new(2);
    let answer = rig.list(&by_name().exclusive_start_shard_id(shard(1))).unwrap();
    assert!(answer.shards.unwrap().is_empty() && answer.next_token.is_none());
    let answer = rig.list(&by_name().exclusive_start_shard_id(shard(77))).unwrap();
    assert!(answer.shards.unwrap().is_empty());
}

// States

/// API: IncreaseStreamRetentionPeriod and EnableEnhancedMonitoring list ResourceInUseException: not while the stream is UPDATING.
#[test]
fn statement_41_changes_wait_for_changes() {
    let mut rig = Rig::slow(1);
    rig.split(0, HALF).unwrap();
    let longer = IncreaseStreamRetentionPeriodRequest::new(48).stream_name(STREAM);
    assert_eq!(code(rig.call(&longer)), ErrorCode::ResourceInUse);
    let metrics = EnableEnhancedMonitoringRequest::new([MetricsName::All]).stream_name(STREAM);
    assert_eq!(code(rig.call(&metrics)), ErrorCode::ResourceInUse);
    rig.secs(10);
    rig.call(&longer).unwrap();
    rig.call(&metrics).unwrap();
}

/// guide, large records: the burst bucket of 10 MiB refills with 1 MiB a second while smaller records go on.
#[test]
fn statement_42_small_records_go_on_after_a_large_one() {
    let mut rig = Rig::new(1);
    rig.call(&UpdateMaxRecordSizeRequest::new(10_240).stream_arn(ARN)).unwrap();
    let large = |mib: usize| PutRecordRequest::new(vec![0; mib << 20]).partition_key("k").stream_name(STREAM);
    let nine = large(9);
    rig.call(&nine).unwrap();
    rig.secs(1);
    rig.put("small");
    assert_eq!(code(rig.call(&nine)), ErrorCode::ProvisionedThroughputExceeded, "the bucket has 2 MiB");
    rig.call(&large(2)).unwrap_err();
    rig.secs(9);
    rig.put("small");
    rig.call(&nine).unwrap();
}

/// Choice: the rate of an operation for a stream is shared by all accounts that may use the stream, and no stream of the same name is
/// charged for it.
#[test]
fn statement_43_a_streams_rate_is_its_own() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().call_limits = true;
    let (now, other) = (rig.now, Caller::new().account(OTHER).region("us-east-1"));
    rig.model.call_as(&other, now, &CreateStreamRequest::new(STREAM).shard_count(1)).unwrap();
    rig.call(&PutResourcePolicyRequest::new(ARN, policy("kinesis:ListStreamConsumers"))).unwrap();
    let (mine, theirs) = (ARN, "arn:aws:kinesis:us-east-1:222222222222:stream/orders");
    for _ in 0..5 {
        rig.model.call_as(&other, now, &ListStreamConsumersRequest::new(mine)).unwrap();
    }
    let more = rig.model.call_as(&other, now, &ListStreamConsumersRequest::new(mine)).unwrap_err();
    assert_eq!(more.code, ErrorCode::LimitExceeded);
    assert!(more.message.contains("stream orders under account 000000000000"), "{more}");
    assert_eq!(code(rig.call(&ListStreamConsumersRequest::new(mine))), ErrorCode::LimitExceeded);
    rig.model.call_as(&other, now, &ListStreamConsumersRequest::new(theirs)).unwrap();
}

/// kinesalite: what is no sequence number, or tells of a time that has not come, is no order. Choice: one of another shard or stream is
/// taken, and orders nothing.
#[test]
fn statement_44_an_order_is_a_number_of_the_past() {
    let mut rig = Rig::new(2);
    let keyed = |hash: u128| put("x").partition_key("k").explicit_hash_key(hash.to_string());
    let before = rig.call(&keyed(0)).unwrap().sequence_number;
    let after = rig.call(&keyed(0).sequence_number_for_ordering(before.to_string())).unwrap();
    assert!(after.sequence_number > before);
    let foreign = rig.call(&keyed(HALF)).unwrap().sequence_number.to_string();
    rig.call(&keyed(0).sequence_number_for_ordering(foreign)).unwrap();
    rig.secs(3600);
    let later = rig.call(&keyed(0)).unwrap().sequence_number.to_string();
    rig.now = rig.now.minus(Duration::from_secs(1800));
    for wrong in [&*later, "1", "forty-two", "", "0"] {
        let error = rig.call(&keyed(0).sequence_number_for_ordering(wrong)).unwrap_err();
        assert!(matches!(error.code, ErrorCode::InvalidArgument | ErrorCode::Validation), "{wrong}: {error}");
    }
}

/// API: AddTagsToStream, RemoveTagsFromStream, TagResource and UntagResource list ResourceInUseException, "the resource must be in the
/// ACTIVE state". Choice: that means not while a stream comes or goes; while it is UPDATING tags can be changed.
#[test]
fn statement_45_tags_wait_for_a_stream() {
    let tags = || BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let mut rig = Rig::empty(LocalSettings::default());
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    let outcomes = |rig: &mut Rig| {
        [
            rig.call(&AddTagsToStreamRequest::new(tags()).stream_name(STREAM)).err(),
            rig.call(&TagResourceRequest::new(ARN, tags())).err(),
            rig.call(&RemoveTagsFromStreamRequest::new(["team".to_owned()]).stream_name(STREAM)).err(),
            rig.call(&UntagResourceRequest::new(ARN, ["team".to_owned()])).err(),
        ]
        .map(|error| error.map(|error| error.code))
    };
    rig.call(&CreateStreamRequest::new(STREAM).shard_count(1).tags(tags())).unwrap();
    assert_eq!(outcomes(&mut rig), [const { Some(ErrorCode::ResourceInUse) }; 4], "CREATING");
    let told = rig.call(&ListTagsForStreamRequest::new().stream_name(STREAM)).unwrap().tags;
    assert_eq!(told.len(), 1, "those it was created with are told");
    rig.secs(10);
    rig.split(0, HALF).unwrap();
    assert_eq!(outcomes(&mut rig), [const { None }; 4], "UPDATING");
    rig.secs(10);
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    assert_eq!(outcomes(&mut rig), [const { Some(ErrorCode::ResourceInUse) }; 4], "DELETING");
}

/// API: the retention and monitoring operations list ResourceInUseException, "the resource must be in the ACTIVE state".
#[test]
fn statement_46_no_change_while_a_stream_comes_or_goes() {
    let mut rig = Rig::empty(LocalSettings::default());
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    let outcomes = |rig: &mut Rig| {
        [
            code(rig.call(&IncreaseStreamRetentionPeriodRequest::new(48).stream_name(STREAM))),
            code(rig.call(&EnableEnhancedMonitoringRequest::new([MetricsName::All]).stream_name(STREAM))),
            code(rig.call(&DisableEnhancedMonitoringRequest::new([MetricsName::All]).stream_name(STREAM))),
        ]
    };
    rig.create(STREAM, 1).unwrap();
    assert_eq!(outcomes(&mut rig), [const { ErrorCode::ResourceInUse }; 3], "CREATING");
    rig.secs(10);
    rig.call(&IncreaseStreamRetentionPeriodRequest::new(36).stream_name(STREAM)).unwrap();
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    assert_eq!(outcomes(&mut rig), [const { ErrorCode::ResourceInUse }; 3], "DELETING");
    let shorter = DecreaseStreamRetentionPeriodRequest::new(24).stream_name(STREAM);
    assert_eq!(code(rig.call(&shorter)), ErrorCode::ResourceInUse);
}

/// kinesalite: "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis." Choice: so for SubscribeToShard.
#[test]
fn statement_47_the_future_is_no_position() {
    let mut rig = Rig::new(1);
    let consumer = rig.consumer("c").unwrap().consumer_arn;
    let soon = rig.now.plus(Duration::from_millis(1));
    let at = rig.iterator_request(0, ShardIteratorType::AtTimestamp);
    let error = rig.call(&at.clone().timestamp(soon)).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("cannot be greater than the currentTimestampInMillis"), "{error}");
    let start = StartingPosition::new(ShardIteratorType::AtTimestamp);
    let subscribe = SubscribeToShardRequest::new(consumer, shard(0), start.timestamp(soon));
    assert_eq!(code(rig.model.subscribe_to_shard(rig.now, &subscribe)), ErrorCode::InvalidArgument);
    rig.call(&at.timestamp(rig.now)).unwrap();
}

/// API, NextToken of ListShards: "You cannot specify this parameter with StreamName": the token says which stream. Choice: a token is
/// good for its operation, and for a caller who may use its stream; that of a deleted stream is not for its successor.
#[test]
fn statement_48_a_page_of_shards_belongs_to_its_stream() {
    let mut rig = Rig::new(2);
    let token = rig.list(&by_name().max_results(1)).unwrap().next_token.unwrap();
    let follow = ListShardsRequest::new().next_token(&token);
    assert_eq!(numbers(&rig.list(&follow).unwrap()), [1]);
    let together = by_name().next_token(&token);
    assert_eq!(code(rig.list(&together)), ErrorCode::InvalidArgument);
    let other = Caller::new().account(OTHER).region("us-east-1");
    assert_eq!(code(rig.model.call_as(&other, rig.now, &follow)), ErrorCode::AccessDenied);
    let streams = ListStreamsRequest::new().next_token(&token);
    assert_eq!(code(rig.call(&streams)), ErrorCode::InvalidArgument, "another operation's");
    rig.secs(1);
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    rig.create(STREAM, 2).unwrap();
    assert_eq!(code(rig.list(&follow)), ErrorCode::InvalidArgument);
}

/// Choice: tokens of ListShards and shard iterators are for the region they were made in: an endpoint of another one refuses them, as
/// it does another account's.
#[test]
fn statement_58_tokens_and_iterators_stay_in_their_region() {
    let mut rig = Rig::new(2);
    let token = rig.list(&by_name().max_results(1)).unwrap().next_token.unwrap();
    let follow = ListShardsRequest::new().next_token(&token);
    let read = GetRecordsRequest::new(rig.iterator_of(0, ShardIteratorType::TrimHorizon));
    let own = "000000000000";
    for (account, region) in [(OTHER, "us-east-1"), (own, "eu-west-1"), (own, "cn-north-1")] {
        let caller = Caller::new().account(account).region(region);
        let refused = |error: ServiceError| {
            assert_eq!(error.code, ErrorCode::AccessDenied, "{caller:?}");
            let expected =
                format!("User: arn:aws:iam::{account}:root is not authorized to perform: kinesis:");
            assert!(error.message.starts_with(&expected), "{error}");
            assert!(error.message.contains(ARN), "{error}");
        };
        refused(rig.model.call_as(&caller, rig.now, &follow).unwrap_err());
        refused(rig.model.call_as(&caller, rig.now, &read).unwrap_err());
    }
    let home = Caller::new().account(own).region("us-east-1");
    assert_eq!(numbers(&rig.model.call_as(&home, rig.now, &follow).unwrap()), [1]);
    rig.model.call_as(&home, rig.now, &read).unwrap();
}

/// Choice: a token of ListStreams is for the account and region it was made in.
#[test]
fn statement_49_a_page_of_streams_belongs_to_its_account() {
    let mut rig = Rig::new(1);
    rig.create("payments", 1).unwrap();
    let token = rig.call(&ListStreamsRequest::new().limit(1)).unwrap().next_token.unwrap();
    let follow = ListStreamsRequest::new().next_token(token);
    for other in [Caller::new().account(OTHER), Caller::new().region("eu-west-1")] {
        assert_eq!(code(rig.model.call_as(&other, rig.now, &follow)), ErrorCode::InvalidArgument);
    }
    assert_eq!(rig.call(&follow).unwrap().stream_names, ["payments"]);
}

/// guide: a registered consumer has a policy of its own, by which another account subscribes to shards.
#[test]
fn statement_50_a_consumers_policy_lets_another_account_subscribe() {
    let mut rig = Rig::new(1);
    let consumer = rig.consumer("c").unwrap().consumer_arn;
    let other = Caller::new().account(OTHER).region("us-east-1");
    let start = StartingPosition::new(ShardIteratorType::Latest);
    let subscribe = SubscribeToShardRequest::new(consumer.clone(), shard(0), start);
    rig.call(&PutResourcePolicyRequest::new(ARN, policy("kinesis:SubscribeToShard"))).unwrap();
    let outcome = |rig: &mut Rig| rig.model.subscribe_as(&other, rig.now, &subscribe).map(drop);
    assert_eq!(code(outcome(&mut rig)), ErrorCode::AccessDenied, "the stream's policy is not the consumer's");
    let wrong = policy("kinesis:DescribeStreamConsumer").replace(ARN, &consumer);
    rig.call(&PutResourcePolicyRequest::new(&consumer, wrong)).unwrap();
    assert_eq!(code(outcome(&mut rig)), ErrorCode::AccessDenied, "another action");
    let right = policy("kinesis:SubscribeToShard").replace(ARN, &consumer);
    rig.call(&PutResourcePolicyRequest::new(&consumer, right)).unwrap();
    outcome(&mut rig).unwrap();
    rig.call(&DeleteResourcePolicyRequest::new(&consumer)).unwrap();
    assert_eq!(code(rig.call(&GetResourcePolicyRequest::new(&consumer))), ErrorCode::ResourceNotFound);
    rig.secs(10);
    assert_eq!(code(outcome(&mut rig)), ErrorCode::AccessDenied, "it is gone");
}

/// Choice: enabled again before the earliest end, a commitment goes on as if it had not been ended; after its end a new day begins.
#[test]
fn statement_51_a_commitment_can_be_enabled_again() {
    let mut rig = Rig::empty(LocalSettings::default());
    let start = rig.now;
    advantage(&mut rig, BillingCommitmentStatus::Enabled);
    rig.hours(1);
    advantage(&mut rig, BillingCommitmentStatus::Disabled);
    rig.hours(1);
    let again = advantage(&mut rig, BillingCommitmentStatus::Enabled);
    assert_eq!((again.status, again.started_at), (BillingCommitmentStatus::Enabled, Some(start)));
    rig.hours(48);
    let ended = advantage(&mut rig, BillingCommitmentStatus::Disabled);
    assert_eq!((ended.status, ended.ended_at), (BillingCommitmentStatus::Disabled, Some(rig.now)));
    rig.hours(1);
    let anew = advantage(&mut rig, BillingCommitmentStatus::Enabled);
    assert_eq!((anew.started_at, anew.ended_at), (Some(rig.now), None));
    assert_eq!(anew.earliest_allowed_end_at, Some(rig.now.plus(Duration::from_secs(86_400))));
}

/// API, UpdateStreamWarmThroughput: it "sets the status of the stream to UPDATING", "You can continue to read and write data to your
/// stream while its status is UPDATING", and it lists ResourceInUseException.
#[test]
fn statement_52_warm_throughput_waits_for_changes() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().status_change = Duration::from_secs(10);
    advantage(&mut rig, BillingCommitmentStatus::Enabled);
    let warm = |mibps: i32| UpdateStreamWarmThroughputRequest::new(mibps).stream_name(STREAM);
    rig.call(&warm(6)).unwrap();
    assert_eq!(rig.status(), StreamStatus::Updating);
    assert_eq!(code(rig.call(&warm(8))), ErrorCode::ResourceInUse);
    rig.call(&put("x").partition_key("k")).unwrap();
    assert_eq!(rig.summary().open_shard_count, 4, "not yet");
    rig.secs(10);
    assert_eq!((rig.status(), rig.summary().open_shard_count), (StreamStatus::Active, 6));
    rig.call(&warm(8)).unwrap();
}

// Rates of what is new

/// API, DescribeAccountSettings and UpdateAccountSettings: "This API has a call limit of 5 transactions per second (TPS) for each Amazon
/// Web Services account. TPS over 5 will initiate the LimitExceededException."
#[test]
fn statement_53_account_settings_take_five_calls_a_second() {
    let mut rig = Rig::empty(LocalSettings::default());
    rig.model.settings_mut().call_limits = true;
    assert_eq!(passing(&mut rig, &DescribeAccountSettingsRequest::new()), 5);
    let update = BillingCommitmentInput::new(BillingCommitmentStatus::Enabled);
    assert_eq!(passing(&mut rig, &UpdateAccountSettingsRequest::new(update)), 5);
}

/// API, UpdateStreamWarmThroughput: "This API has a call limit of 5 transactions per second (TPS) for each Amazon Web Services account.
/// TPS over 5 will initiate the LimitExceededException."
#[test]
fn statement_54_warm_throughput_takes_five_calls_a_second() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().call_limits = true;
    assert_eq!(passing(&mut rig, &UpdateStreamWarmThroughputRequest::new(5).stream_name(STREAM)), 5);
}

/// API, the five operations of channels: "This operation has a call limit of 5 transactions per second (TPS) for each Amazon Web Services
/// account. Exceeding 5 TPS results in a LimitExceededException."
#[test]
fn statement_55_channel_operations_take_five_calls_a_second() {
    let mut rig = on_demand(None);
    rig.model.settings_mut().call_limits = true;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:channel/c";
    let source = ChannelStreamConfiguration::new(ARN, RecordConfiguration::new("STRING"));
    let create = CreateChannelRequest::new("c", "arn:aws:iam::000000000000:role/r", [source]);
    assert_eq!(passing(&mut rig, &create), 5);
    assert_eq!(passing(&mut rig, &DescribeChannelRequest::new(arn)), 5);
    assert_eq!(passing(&mut rig, &UpdateChannelRequest::new(arn)), 5);
    assert_eq!(passing(&mut rig, &DeleteChannelRequest::new(arn)), 5);
    assert_eq!(passing(&mut rig, &ListChannelsRequest::new()), 5);
}

/// guide, the quotas of the control plane: five calls a second for each stream of the retention and monitoring operations.
#[test]
fn statement_56_retention_and_monitoring_take_five_calls_a_second() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().call_limits = true;
    assert_eq!(passing(&mut rig, &IncreaseStreamRetentionPeriodRequest::new(48).stream_name(STREAM)), 5);
    assert_eq!(passing(&mut rig, &DecreaseStreamRetentionPeriodRequest::new(24).stream_name(STREAM)), 5);
    let metrics = || [MetricsName::IncomingBytes];
    assert_eq!(passing(&mut rig, &EnableEnhancedMonitoringRequest::new(metrics()).stream_name(STREAM)), 5);
    assert_eq!(passing(&mut rig, &DisableEnhancedMonitoringRequest::new(metrics()).stream_name(STREAM)), 5);
    let tags = || AddTagsToStreamRequest::new(tags(&[("team", "a")])).stream_name(STREAM);
    assert_eq!(passing(&mut rig, &tags()), 5);
    assert_eq!(
        passing(&mut rig, &RemoveTagsFromStreamRequest::new(["team".to_owned()]).stream_name(STREAM)),
        5
    );
    assert_eq!(
        passing(&mut rig, &DeregisterStreamConsumerRequest::new().stream_arn(ARN).consumer_name("no")),
        5
    );
}

/// API, CreateStream and UpdateMaxRecordSize: "Specify a value between 1024 and 10240 KiB (1 to 10 MiB). If you specify a value that is out
/// of this range, UpdateMaxRecordSize sends back an ValidationException message."
#[test]
fn statement_57_records_may_be_made_as_large_as_ten_mebibytes() {
    let mut rig = Rig::new(1);
    for kib in [1023, 10_241] {
        assert_eq!(
            code(rig.call(&UpdateMaxRecordSizeRequest::new(kib).stream_arn(ARN))),
            ErrorCode::Validation
        );
        let create = CreateStreamRequest::new("large").shard_count(1).max_record_size_in_kib(kib);
        assert_eq!(code(rig.call(&create)), ErrorCode::Validation);
    }
    let sized =
        |bytes: usize| PutRecordRequest::new(vec![0; bytes - 1]).partition_key("k").stream_name(STREAM);
    assert_eq!(code(rig.call(&sized((1 << 20) + 1))), ErrorCode::Validation);
    rig.call(&UpdateMaxRecordSizeRequest::new(2048).stream_arn(ARN)).unwrap();
    assert_eq!(rig.summary().max_record_size_in_kib, Some(2048));
    rig.call(&sized(2 << 20)).unwrap();
    assert_eq!(code(rig.call(&sized((2 << 20) + 1))), ErrorCode::Validation);
}
