//! Statements of the Kinesis Data Streams API reference, one test each, against the model in virtual time.
//!
//! Above each test stand the operation and the sentence it holds the model to.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_local::wire::shapes::consumer::*;
use rokini_local::wire::shapes::record::*;
use rokini_local::wire::shapes::shard::*;
use rokini_local::wire::shapes::stream::*;
use rokini_local::wire::shapes::tags::*;
use rokini_local::wire::{
    ConsumerStatus, EncryptionType, ErrorCode, ScalingType, SequenceNumber, ServiceError, ShardFilterType,
    ShardIteratorType, StreamMode, StreamStatus, Timestamp,
};
use rokini_local::{LocalSettings, Model, ModelRequest, Subscription, SubscriptionPoll};

use crate::service_model::assert_listed;

pub(crate) const STREAM: &str = "orders";
const MIB: usize = 1 << 20;
pub(crate) const HALF: u128 = 1 << 127;

pub(crate) fn shard(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// A model and its time, with the stream `orders`.
pub(crate) struct Rig {
    pub(crate) model: Model,
    pub(crate) now: Timestamp,
}

impl Rig {
    pub(crate) fn empty(settings: LocalSettings) -> Self {
        // Rates of calls have tests of their own.
        let settings = with(settings, |settings| settings.call_limits = false);
        Self { model: Model::new(settings), now: Timestamp::from_secs(1_700_000_000) }
    }

    pub(crate) fn new(shards: i32) -> Self {
        let mut rig = Self::empty(LocalSettings::default());
        rig.create(STREAM, shards).unwrap();
        rig
    }

    /// With state changes that take ten seconds. The stream is ACTIVE.
    pub(crate) fn slow(shards: i32) -> Self {
        let mut rig = Self::new(shards);
        rig.model.settings_mut().status_change = Duration::from_secs(10);
        rig
    }

    pub(crate) fn wait(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    pub(crate) fn secs(&mut self, secs: u64) {
        self.wait(Duration::from_secs(secs));
    }

    pub(crate) fn hours(&mut self, hours: u64) {
        self.secs(3600 * hours);
    }

    pub(crate) fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError> {
        self.model.call(self.now, request).inspect_err(|error| assert_listed(R::NAME, error))
    }

    pub(crate) fn create(&mut self, name: &str, shards: i32) -> Result<EmptyResponse, ServiceError> {
        let stream_name = name.to_owned();
        self.call(&CreateStreamRequest::new(stream_name).shard_count(shards))
    }

    pub(crate) fn summary(&mut self) -> StreamDescriptionSummary {
        let request = DescribeStreamSummaryRequest::new().stream_name(STREAM);
        self.call(&request).unwrap().stream_description_summary
    }

    pub(crate) fn status(&mut self) -> StreamStatus {
        self.summary().stream_status
    }

    pub(crate) fn put_to(&mut self, key: &str, data: Vec<u8>) -> Result<PutRecordResponse, ServiceError> {
        self.call(&PutRecordRequest::new(data).partition_key(key).stream_name(STREAM))
    }

    pub(crate) fn put(&mut self, data: &str) -> SequenceNumber {
        self.put_to("a", data.as_bytes().to_vec()).unwrap().sequence_number
    }

    fn put_many(&mut self, entries: Vec<PutRecordsRequestEntry>) -> Result<PutRecordsResponse, ServiceError> {
        self.call(&PutRecordsRequest::new(entries).stream_name(STREAM))
    }

    pub(crate) fn iterator_request(&self, number: u32, kind: ShardIteratorType) -> GetShardIteratorRequest {
        GetShardIteratorRequest::new(shard(number), kind).stream_name(STREAM)
    }

    pub(crate) fn iterator_of(&mut self, number: u32, kind: ShardIteratorType) -> String {
        self.call(&self.iterator_request(number, kind)).unwrap().shard_iterator.unwrap()
    }

    fn iterator(&mut self, kind: ShardIteratorType) -> String {
        self.iterator_of(0, kind)
    }

    pub(crate) fn at_number(
        &mut self,
        kind: ShardIteratorType,
        number: &str,
    ) -> Result<String, ServiceError> {
        let request = self.iterator_request(0, kind).starting_sequence_number(number);
        self.call(&request).map(|answer| answer.shard_iterator.unwrap())
    }

    fn at_time(&mut self, time: Timestamp) -> Result<String, ServiceError> {
        let request = self.iterator_request(0, ShardIteratorType::AtTimestamp);
        self.call(&request.timestamp(time)).map(|it| it.shard_iterator.unwrap())
    }

    fn read_up_to(&mut self, iterator: &str, limit: Option<i32>) -> Result<GetRecordsResponse, ServiceError> {
        let mut request = GetRecordsRequest::new(iterator);
        request.limit = limit;
        self.call(&request)
    }

    pub(crate) fn read(&mut self, iterator: &str) -> GetRecordsResponse {
        self.read_up_to(iterator, None).unwrap()
    }

    pub(crate) fn texts(&mut self, iterator: &str) -> Vec<String> {
        self.read(iterator).records.iter().map(|r| String::from_utf8(r.data.to_vec()).unwrap()).collect()
    }

    fn all(&mut self) -> Vec<String> {
        let at = self.iterator(ShardIteratorType::TrimHorizon);
        self.texts(&at)
    }

    pub(crate) fn split(&mut self, number: u32, at: u128) -> Result<EmptyResponse, ServiceError> {
        self.call(&SplitShardRequest::new(shard(number), at.to_string()).stream_name(STREAM))
    }

    fn merge(&mut self, one: u32, two: u32) -> Result<EmptyResponse, ServiceError> {
        self.call(&MergeShardsRequest::new(shard(one), shard(two)).stream_name(STREAM))
    }

    fn scale(&mut self, target: i32) -> Result<UpdateShardCountResponse, ServiceError> {
        self.call(&UpdateShardCountRequest::new(target, ScalingType::UniformScaling).stream_name(STREAM))
    }

    pub(crate) fn list(&mut self, request: &ListShardsRequest) -> Result<ListShardsResponse, ServiceError> {
        self.call(request)
    }

    pub(crate) fn shards(&mut self) -> Vec<Shard> {
        self.list(&by_name()).unwrap().shards.unwrap()
    }

    pub(crate) fn filtered(&mut self, kind: ShardFilterType, timestamp: Option<Timestamp>) -> Vec<u32> {
        let mut filter = ShardFilter::new(kind);
        filter.timestamp = timestamp;
        let answer = self.list(&by_name().shard_filter(filter));
        numbers(&answer.unwrap())
    }

    pub(crate) fn consumer(&mut self, name: &str) -> Result<Consumer, ServiceError> {
        let stream_arn = self.summary().stream_arn;
        let request = RegisterStreamConsumerRequest::new(stream_arn, name);
        self.call(&request).map(|answer| answer.consumer)
    }

    pub(crate) fn subscribe(
        &mut self,
        consumer_arn: &str,
        kind: ShardIteratorType,
    ) -> Result<Subscription, ServiceError> {
        let starting_position = StartingPosition::new(kind);
        let request = SubscribeToShardRequest::new(consumer_arn.to_owned(), shard(0), starting_position);
        self.model.subscribe_to_shard(self.now, &request)
    }
}

fn with(mut settings: LocalSettings, change: impl FnOnce(&mut LocalSettings)) -> LocalSettings {
    change(&mut settings);
    settings
}

pub(crate) fn by_name() -> ListShardsRequest {
    ListShardsRequest::new().stream_name(STREAM)
}

pub(crate) fn numbers(answer: &ListShardsResponse) -> Vec<u32> {
    let shards = answer.shards.as_ref().unwrap();
    shards.iter().map(|shard| shard.shard_id.trim_start_matches("shardId-").parse().unwrap()).collect()
}

pub(crate) fn entry(key: &str, bytes: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::new(vec![0; bytes]).partition_key(key)
}

pub(crate) fn code<T>(result: Result<T, ServiceError>) -> ErrorCode {
    result.err().expect("an error").code
}

// GetRecords

/// "If there are no records available in the portion of the shard that the iterator points to, GetRecords returns an empty
/// list."
#[test]
fn get_records_empty() {
    let mut rig = Rig::new(1);
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let answer = rig.read(&at);
    assert!(answer.records.is_empty() && answer.next_shard_iterator.is_some());
    assert_eq!(answer.millis_behind_latest, Some(0));
}

/// "GetRecords returns a new shard iterator in NextShardIterator. Specify the shard iterator returned in NextShardIterator
/// in subsequent calls to GetRecords."
#[test]
fn get_records_next() {
    let mut rig = Rig::new(1);
    for text in ["a", "b", "c"] {
        rig.put(text);
    }
    let mut at = rig.iterator(ShardIteratorType::TrimHorizon);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = rig.read_up_to(&at, Some(1)).unwrap();
        seen.extend(answer.records.iter().map(|r| r.data.to_vec()));
        at = answer.next_shard_iterator.unwrap();
    }
    assert_eq!(seen, [b"a", b"b", b"c"]);
}

/// "If the shard has been closed, the shard iterator can't return more data and GetRecords returns null in
/// NextShardIterator." and "The list of the current shard's child shards, returned in the GetRecords API's response only when
/// the end of the current shard is reached."
#[test]
fn get_records_end_of_shard() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.put("b");
    rig.split(0, HALF).unwrap();
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let first = rig.read_up_to(&at, Some(1)).unwrap();
    assert_eq!(first.child_shards, None, "the end is not reached, though the shard is closed");
    let last = rig.read_up_to(&first.next_shard_iterator.unwrap(), Some(1)).unwrap();
    assert_eq!((last.records.len(), last.next_shard_iterator), (1, None));
    let children = last.child_shards.unwrap();
    let told: Vec<_> = children.iter().map(|c| (c.shard_id.clone(), c.parent_shards.clone())).collect();
    assert_eq!(told, [(shard(1), vec![shard(0)]), (shard(2), vec![shard(0)])]);
    assert_eq!(children[0].hash_key_range.ending_hash_key, (HALF - 1).to_string());
    assert_eq!(children[1].hash_key_range.starting_hash_key, HALF.to_string());
}

/// "Specify a value of up to 10,000. If you specify a value that is greater than 10,000, GetRecords throws
/// InvalidArgumentException. The default value is 10,000."
#[test]
fn get_records_limit() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().throughput_limits = false;
    for _ in 0..21 {
        rig.put_many(vec![entry("a", 1); 500]).unwrap();
    }
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    assert_eq!(rig.read(&at).records.len(), 10_000);
    assert_eq!(rig.read_up_to(&at, Some(10_000)).unwrap().records.len(), 10_000);
    assert_eq!(rig.read_up_to(&at, Some(7)).unwrap().records.len(), 7);
    assert_eq!(code(rig.read_up_to(&at, Some(10_001))), ErrorCode::InvalidArgument);
    assert_eq!(code(rig.read_up_to(&at, Some(0))), ErrorCode::Validation);
}

/// "The maximum size of data that GetRecords can return is 10 MiB. If a call returns this amount of data, subsequent calls
/// made within the next 5 seconds throw ProvisionedThroughputExceededException."
#[test]
fn get_records_ten_mebibytes() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().throughput_limits = false;
    for _ in 0..2 {
        rig.put_many(vec![entry("a", MIB - 1); 10]).unwrap();
    }
    rig.model.settings_mut().throughput_limits = true;
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let answer = rig.read(&at);
    assert_eq!(answer.records.len(), 10);
    let next = answer.next_shard_iterator.unwrap();
    rig.wait(Duration::from_millis(4999));
    assert_eq!(code(rig.read_up_to(&next, None)), ErrorCode::ProvisionedThroughputExceeded);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.read(&next).records.len(), 10);
}

/// "If there is insufficient provisioned throughput on the stream, subsequent calls made within the next 1 second throw
/// ProvisionedThroughputExceededException." and CreateStream: "up to a maximum data read total of 2 MiB per second."
#[test]
fn get_records_two_mebibytes_a_second() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().throughput_limits = false;
    rig.put_many(vec![entry("a", MIB - 1); 4]).unwrap();
    rig.model.settings_mut().throughput_limits = true;
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let next = rig.read_up_to(&at, Some(2)).unwrap().next_shard_iterator.unwrap();
    rig.wait(Duration::from_millis(999));
    assert_eq!(code(rig.read_up_to(&next, Some(2))), ErrorCode::ProvisionedThroughputExceeded);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.read_up_to(&next, Some(2)).unwrap().records.len(), 2);
}

/// "This operation has a limit of five transactions per second per shard."
#[test]
fn get_records_five_a_second() {
    let mut rig = Rig::new(2);
    let at = rig.iterator(ShardIteratorType::Latest);
    for _ in 0..5 {
        rig.read(&at);
    }
    let error = rig.read_up_to(&at, None).unwrap_err();
    assert_eq!(error.code, ErrorCode::ProvisionedThroughputExceeded);
    assert_eq!(
        error.message,
        "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000."
    );
    let other = rig.iterator_of(1, ShardIteratorType::Latest);
    rig.read(&other);
    rig.secs(1);
    rig.read(&at);
}

/// MillisBehindLatest: "The number of milliseconds the GetRecords response is from the tip of the stream [..] A value of zero
/// indicates that record processing is caught up".
#[test]
fn get_records_millis_behind() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.secs(10);
    rig.put("b");
    rig.secs(5);
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let first = rig.read_up_to(&at, Some(1)).unwrap();
    assert_eq!(first.millis_behind_latest, Some(15_000));
    let second = rig.read(&first.next_shard_iterator.unwrap());
    assert_eq!(second.millis_behind_latest, Some(0));
}

/// "ApproximateArrivalTimestamp [..] is set when a stream successfully receives and stores a record. [..] The time stamp has
/// millisecond precision."
#[test]
fn get_records_arrival() {
    let mut rig = Rig::new(1);
    rig.wait(Duration::from_millis(123));
    rig.put("a");
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    rig.secs(1);
    let arrival = rig.read(&at).records[0].approximate_arrival_timestamp;
    assert_eq!(arrival, Some(Timestamp::from_millis(1_700_000_000_123)));
}

// GetShardIterator

/// "A shard iterator expires 5 minutes after it is returned to the requester."
#[test]
fn iterators_expire() {
    let mut rig = Rig::new(1);
    let at = rig.iterator(ShardIteratorType::Latest);
    rig.secs(300);
    let next = rig.read(&at).next_shard_iterator.unwrap();
    rig.wait(Duration::from_millis(1));
    assert_eq!(code(rig.read_up_to(&at, None)), ErrorCode::ExpiredIterator);
    rig.read(&next);
}

/// "AT_SEQUENCE_NUMBER - Start reading from the position denoted by a specific sequence number" and "AFTER_SEQUENCE_NUMBER -
/// Start reading right after the position denoted by a specific sequence number".
#[test]
fn iterators_by_number() {
    let mut rig = Rig::new(2);
    let numbers: Vec<_> = ["a", "b", "c"].map(|text| rig.put(text)).into();
    let home = rig.put_to("a", vec![]).unwrap().shard_id;
    assert_eq!(home, shard(0), "the key of these tests");
    for (i, number) in numbers.iter().enumerate() {
        rig.secs(1);
        let at = rig.at_number(ShardIteratorType::AtSequenceNumber, &number.to_string()).unwrap();
        assert_eq!(rig.texts(&at), ["a", "b", "c", ""][i..]);
        let after = rig.at_number(ShardIteratorType::AfterSequenceNumber, &number.to_string()).unwrap();
        assert_eq!(rig.texts(&after), ["a", "b", "c", ""][i + 1..]);
    }
    rig.secs(1);
    let start = rig.shards()[0].sequence_number_range.starting_sequence_number.to_string();
    let at = rig.at_number(ShardIteratorType::AtSequenceNumber, &start).unwrap();
    assert_eq!(rig.texts(&at).len(), 4, "a shard's own starting number is good to start at");

    let foreign = rig.shards()[1].sequence_number_range.starting_sequence_number.to_string();
    // The first two break the pattern of the service model, as kinesalite's tests have it too.
    let (pattern, argument) = (ErrorCode::Validation, ErrorCode::InvalidArgument);
    for (bad, code, why) in [
        ("", &pattern, "satisfy regular expression pattern"),
        ("abc", &pattern, "satisfy regular expression pattern"),
        ("12345", &argument, "is invalid"),
        (&*foreign, &argument, "It encodes"),
    ] {
        let error = rig.at_number(ShardIteratorType::AtSequenceNumber, bad).unwrap_err();
        assert_eq!(error.code, *code, "{bad:?}");
        assert!(error.message.contains(why), "{}", error.message);
    }
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    rig.create(STREAM, 1).unwrap();
    let error = rig.at_number(ShardIteratorType::AtSequenceNumber, &numbers[0].to_string()).unwrap_err();
    assert!(error.message.contains("did not come from this stream"), "{}", error.message);
}

/// "TRIM_HORIZON - Start reading at the last untrimmed record in the shard in the system, which is the oldest data record in
/// the shard." and "LATEST - Start reading just after the most recent record in the shard".
#[test]
fn iterators_at_both_ends() {
    let mut rig = Rig::new(1);
    rig.put("old");
    let oldest = rig.iterator(ShardIteratorType::TrimHorizon);
    let latest = rig.iterator(ShardIteratorType::Latest);
    rig.put("new");
    assert_eq!(rig.texts(&oldest), ["old", "new"]);
    assert_eq!(rig.texts(&latest), ["new"]);
}

/// "If a record with this exact time stamp does not exist, the iterator returned is for the next (later) record. If the time
/// stamp is older than the current trim horizon, the iterator returned is for the oldest untrimmed data record
/// (TRIM_HORIZON)."
#[test]
fn iterators_by_time() {
    let mut rig = Rig::new(1);
    let start = rig.now;
    for text in ["0", "10", "20"] {
        rig.put(text);
        rig.secs(10);
    }
    let at = |millis: i64| Timestamp::from_millis(start.millis() + millis);
    for (millis, expected) in [(10_000, 1), (10_001, 2), (9_999, 1), (-1_000_000_000, 0), (25_000, 3)] {
        let found = rig.at_time(at(millis)).unwrap();
        assert_eq!(rig.texts(&found), ["0", "10", "20"][expected..], "{millis}");
        rig.secs(1);
    }
    let future = rig.now.plus(Duration::from_secs(1));
    assert_eq!(code(rig.at_time(future)), ErrorCode::InvalidArgument, "nobody knows the future");
}

/// "If the shard is closed, GetShardIterator returns a valid iterator for the last sequence number of the shard."
#[test]
fn iterators_of_closed_shards() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.split(0, HALF).unwrap();
    let at = rig.iterator(ShardIteratorType::Latest);
    let answer = rig.read(&at);
    assert!(answer.records.is_empty() && answer.next_shard_iterator.is_none());
    assert_eq!(answer.child_shards.unwrap().len(), 2);
}

/// "GetShardIterator has a limit of five transactions per second per account per open shard."
#[test]
fn iterators_five_a_second() {
    let mut rig = Rig::new(1);
    for _ in 0..5 {
        rig.iterator(ShardIteratorType::Latest);
    }
    let request = rig.iterator_request(0, ShardIteratorType::Latest);
    assert_eq!(code(rig.call(&request)), ErrorCode::ProvisionedThroughputExceeded);
    rig.secs(1);
    rig.iterator(ShardIteratorType::Latest);
}

/// "When invoking this API, you must use either the StreamARN or the StreamName parameter, or both."
#[test]
fn streams_by_name_or_arn() {
    let mut rig = Rig::new(1);
    let arn = rig.summary().stream_arn;
    let name = Some(STREAM.to_owned());
    for (stream_name, stream_arn) in [(name.clone(), None), (None, Some(arn.clone())), (name, Some(arn))] {
        let mut request = rig.iterator_request(0, ShardIteratorType::Latest);
        (request.stream_name, request.stream_arn) = (stream_name, stream_arn);
        rig.call(&request).unwrap();
    }
    let neither = GetShardIteratorRequest::new(shard(0), ShardIteratorType::Latest);
    assert_eq!(code(rig.call(&neither)), ErrorCode::InvalidArgument);
    let elsewhere = neither.stream_arn("arn:aws:kinesis:eu-west-1:000000000000:stream/orders");
    assert_eq!(code(rig.call(&elsewhere)), ErrorCode::ResourceNotFound);
}

// PutRecord, PutRecords

/// "Sequence numbers increase over time and are specific to a shard within a stream".
#[test]
fn numbers_increase() {
    let mut rig = Rig::new(1);
    let mut last = rig.put("");
    for i in 0..50 {
        rig.wait(Duration::from_millis(i * 100));
        let next = rig.put("");
        assert!(next > last);
        assert_eq!(next.to_string().len(), 56);
        last = next;
    }
    rig.split(0, HALF).unwrap();
    let children = rig.shards();
    for child in &children[1..] {
        assert!(
            child.sequence_number_range.starting_sequence_number > last,
            "children come after their parent"
        );
    }
    let ending = children[0].sequence_number_range.ending_sequence_number;
    assert!(ending > Some(last), "and a closed shard's range holds all its records");

    // Also where the clock shows more seconds than a number has bits for.
    for now in [1_700_000_000_000, i64::MAX] {
        let mut quick = Rig::empty(LocalSettings::default());
        quick.now = Timestamp::from_millis(now);
        quick.create(STREAM, 1).unwrap();
        let first = quick.put("first").to_string();
        for number in [0, 1] {
            let last = quick.put("");
            quick.split(number, HALF >> number).unwrap();
            for child in &quick.shards()[2 * number as usize + 1..] {
                let starts = child.sequence_number_range.starting_sequence_number;
                assert!(starts > last, "though all happens within one second: {now}");
            }
        }
        let at = quick.at_number(ShardIteratorType::AtSequenceNumber, &first).unwrap();
        assert_eq!(quick.texts(&at), ["first", ""]);
    }
}

/// "An MD5 hash function is used to map partition keys to 128-bit integer values and to map associated data records to shards
/// using the hash key ranges of the shards. You can override hashing the partition key [..] using the ExplicitHashKey
/// parameter."
#[test]
fn keys_choose_shards() {
    let mut rig = Rig::new(4);
    // md5("a") = 0cc1.., md5("b") = 92eb.., md5("c") = 4a8a.., md5("e") = e167..
    for (key, number) in [("a", 0), ("b", 2), ("c", 1), ("e", 3)] {
        assert_eq!(rig.put_to(key, vec![]).unwrap().shard_id, shard(number), "{key}");
    }
    let hash = |hash: &str| entry("a", 0).explicit_hash_key(hash);
    let most = u128::MAX.to_string();
    let edge = (u128::MAX / 4).to_string();
    let answer =
        rig.put_many(vec![hash("0"), hash(&edge), hash(&(1_u128 << 126).to_string()), hash(&most)]).unwrap();
    let shards: Vec<_> = answer.records.into_iter().map(|record| record.shard_id.unwrap()).collect();
    assert_eq!(shards, [shard(0), shard(0), shard(1), shard(3)]);
    for bad in ["340282366920938463463374607431768211456", "-1", "x", "01"] {
        assert!(rig.put_many(vec![hash(bad)]).is_err(), "{bad}");
    }
}

/// "Each shard can support writes up to 1,000 records per second, up to a maximum data write total of 1 MiB per second." and
/// "throws ProvisionedThroughputExceededException".
#[test]
fn write_limits() {
    let mut rig = Rig::new(1);
    for _ in 0..2 {
        assert_eq!(rig.put_many(vec![entry("a", 1); 500]).unwrap().failed_record_count, Some(0));
    }
    assert_eq!(code(rig.put_to("a", vec![])), ErrorCode::ProvisionedThroughputExceeded);
    rig.secs(1);
    rig.put_to("a", vec![0; MIB - 1]).unwrap();
    assert_eq!(code(rig.put_to("a", vec![])), ErrorCode::ProvisionedThroughputExceeded);
    rig.secs(1);
    rig.put_to("a", vec![]).unwrap();
}

/// "The response Records array always includes the same number of records as the request array. [..] A single record failure
/// does not stop the processing of subsequent records." and "ErrorMessage provides more detailed information about the
/// ProvisionedThroughputExceededException exception including the account ID, stream name, and shard ID".
#[test]
fn records_fail_one_by_one() {
    let mut rig = Rig::new(2);
    let big = MIB * 2 / 3;
    // "a" goes to shard 0, "b" to shard 1.
    let answer =
        rig.put_many(vec![entry("a", big), entry("a", big), entry("b", big), entry("a", 1)]).unwrap();
    assert_eq!(answer.failed_record_count, Some(1));
    let failed: Vec<_> = answer.records.iter().map(|record| record.error_code.is_some()).collect();
    assert_eq!(failed, [false, true, false, false]);
    let error = &answer.records[1];
    assert_eq!(error.error_code, Some(ErrorCode::ProvisionedThroughputExceeded));
    let message = error.error_message.as_deref().unwrap();
    for part in ["shardId-000000000000", "orders", "000000000000"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!((error.sequence_number, &error.shard_id), (None, &None));
}

/// "Each PutRecords request can support up to 500 records. Each record in the request can be as large as 10 MiB, up to a limit
/// of 10 MiB for the entire request, including partition keys."
#[test]
fn put_records_bounds() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().throughput_limits = false;
    assert_eq!(code(rig.put_many(vec![entry("a", 1); 501])), ErrorCode::Validation);
    assert_eq!(code(rig.put_many(vec![])), ErrorCode::Validation);
    rig.put_many(vec![entry("a", MIB - 1); 10]).unwrap();
    let mut eleven = vec![entry("a", MIB - 1); 10];
    eleven.push(entry("a", 0));
    assert_eq!(code(rig.put_many(eleven)), ErrorCode::InvalidArgument);
}

/// "When the data blob (the payload before base64-encoding) is added to the partition key size, the total size must not exceed
/// the maximum record size" and UpdateMaxRecordSize: "Specify a value between 1024 and 10240 KiB".
#[test]
fn record_size() {
    let mut rig = Rig::new(1);
    rig.put_to("a", vec![0; MIB - 1]).unwrap();
    assert_eq!(code(rig.put_to("a", vec![0; MIB])), ErrorCode::Validation);
    let stream_arn = rig.summary().stream_arn;
    let resize = |kib: i32| UpdateMaxRecordSizeRequest::new(kib).stream_arn(&stream_arn);
    for bad in [1023, 10_241] {
        assert_eq!(code(rig.call(&resize(bad))), ErrorCode::Validation);
    }
    rig.call(&resize(10_240)).unwrap();
    assert_eq!(rig.summary().max_record_size_in_kib, Some(10_240));
    rig.secs(10);
    rig.put_to("a", vec![0; 10 * MIB - 1]).unwrap();
    assert_eq!(code(rig.put_to("a", vec![0; 10 * MIB])), ErrorCode::Validation);
}

/// "Partition keys are Unicode strings, with a maximum length limit of 256 characters for each key."
#[test]
fn partition_key_length() {
    let mut rig = Rig::new(1);
    rig.put_to(&"\u{e9}".repeat(256), vec![]).unwrap();
    assert_eq!(code(rig.put_to(&"a".repeat(257), vec![])), ErrorCode::Validation);
    assert_eq!(code(rig.put_to("", vec![])), ErrorCode::Validation);
}

// Retention

/// "By default, data records are accessible for 24 hours from the time that they are added to a stream."
#[test]
fn a_day_of_retention() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.wait(Duration::from_millis(24 * 3_600_000));
    assert_eq!(rig.all(), ["a"]);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.all(), [""; 0]);
}

/// IncreaseStreamRetentionPeriod: "it does not make previous, expired data (older than the stream's previous retention period)
/// accessible", "Must be more than the current retention period", "The maximum value of a stream's retention period is 8760
/// hours"; DecreaseStreamRetentionPeriod: "any data already in the stream that is older than 24 hours is inaccessible", "The
/// minimum value of a stream's retention period is 24 hours."
#[test]
fn retention_changes() {
    let mut rig = Rig::new(1);
    let increase = |hours: i32| IncreaseStreamRetentionPeriodRequest::new(hours).stream_name(STREAM);
    let decrease = |hours: i32| DecreaseStreamRetentionPeriodRequest::new(hours).stream_name(STREAM);
    rig.put("expired");
    rig.hours(25);
    rig.call(&increase(168)).unwrap();
    rig.put("kept");
    assert_eq!(rig.all(), ["kept"]);
    rig.hours(100);
    assert_eq!(rig.all(), ["kept"]);
    rig.call(&decrease(24)).unwrap();
    assert_eq!(rig.all(), [""; 0]);
    rig.call(&increase(48)).unwrap();
    assert_eq!(rig.all(), [""; 0], "and it does not come back");
    for wrong in [48, 8761] {
        assert_eq!(code(rig.call(&increase(wrong))), ErrorCode::InvalidArgument);
    }
    for wrong in [48, 23] {
        assert_eq!(code(rig.call(&decrease(wrong))), ErrorCode::InvalidArgument);
    }
}

/// "TRIM_HORIZON - Start reading at the last untrimmed record": also for whoever held an older place, and numbers go on
/// increasing.
#[test]
fn reading_across_the_horizon() {
    let mut rig = Rig::new(1);
    let trimmed = rig.put("trimmed");
    rig.hours(12);
    let kept = rig.put("kept");
    rig.hours(12);
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    rig.wait(Duration::from_millis(1));
    let first = rig.read_up_to(&at, Some(1)).unwrap();
    assert_eq!(&first.records[0].data[..], b"kept");
    assert!(rig.read(&first.next_shard_iterator.unwrap()).records.is_empty(), "once only");
    rig.secs(1);
    let at = rig.at_number(ShardIteratorType::AfterSequenceNumber, &trimmed.to_string()).unwrap();
    assert_eq!(rig.texts(&at), ["kept"]);
    rig.hours(24);
    assert_eq!(rig.all(), [""; 0]);
    assert!(rig.put("new") > kept);
    assert_eq!(rig.all(), ["new"]);
}

// Resharding

/// "Upon receiving a SplitShard request, Kinesis Data Streams immediately returns a response and sets the stream status to
/// UPDATING. After the operation is completed, Kinesis Data Streams sets the stream status to ACTIVE. Read and write operations
/// continue to work while the stream is in the UPDATING state." and "If the stream is in the ACTIVE state, you can call
/// SplitShard."
#[test]
fn splitting_takes_time() {
    let mut rig = Rig::slow(1);
    rig.split(0, HALF).unwrap();
    assert_eq!((rig.status(), rig.shards().len()), (StreamStatus::Updating, 1));
    assert_eq!(rig.put_to("a", vec![]).unwrap().shard_id, shard(0));
    assert_eq!(rig.all().len(), 1);
    assert_eq!(code(rig.split(0, HALF + 5)), ErrorCode::ResourceInUse);
    rig.secs(10);
    assert_eq!((rig.status(), rig.shards().len()), (StreamStatus::Active, 3));
    assert_eq!(rig.put_to("a", vec![]).unwrap().shard_id, shard(1));
}

/// SplitShard: "the position in the shard where the shard gets split in two [..] can be any hash key value in the range being
/// mapped into the shard."
#[test]
fn splitting_divides_the_range() {
    let mut rig = Rig::new(1);
    rig.split(0, 1000).unwrap();
    let shards = rig.shards();
    let ranges: Vec<_> = shards.iter().map(|shard| shard.hash_key_range.clone()).collect();
    assert_eq!((&*ranges[1].starting_hash_key, &*ranges[1].ending_hash_key), ("0", "999"));
    assert_eq!(
        (&*ranges[2].starting_hash_key, &*ranges[2].ending_hash_key),
        ("1000", &*u128::MAX.to_string())
    );
    assert_eq!(shards[1].parent_shard_id, Some(shard(0)));
    assert!(shards[0].sequence_number_range.ending_sequence_number.is_some());
    assert_eq!(code(rig.split(1, 5000)), ErrorCode::InvalidArgument, "outside");
    assert!(rig.split(0, 500).is_err(), "closed");
    assert_eq!(code(rig.split(7, 5)), ErrorCode::ResourceNotFound);
}

/// MergeShards: "Merges two adjacent Kinesis data streams shards and combines them into a single shard [..] Two shards are
/// considered adjacent if the union of the hash key ranges for the two shards form a contiguous set with no gaps."
#[test]
fn merging_neighbours() {
    let mut rig = Rig::new(3);
    assert_eq!(code(rig.merge(0, 2)), ErrorCode::InvalidArgument);
    rig.merge(1, 0).unwrap();
    let child = rig.shards().pop().unwrap();
    assert_eq!(child.shard_id, shard(3));
    let parents = [child.parent_shard_id.unwrap(), child.adjacent_parent_shard_id.unwrap()];
    assert_eq!(parents, [shard(0), shard(1)]);
    assert_eq!(child.hash_key_range.starting_hash_key, "0");
    assert_eq!(rig.summary().open_shard_count, 2);
}

/// UpdateShardCount: "Kinesis Data Streams performs splits or merges on individual shards. This can cause short-lived shards to
/// be created, in addition to the final shards." and "Uniform scaling creates shards of equal size."
#[test]
fn scaling() {
    let mut rig = Rig::new(4);
    for target in [8, 6, 3, 5, 10, 9] {
        rig.scale(target).unwrap();
        let shards = rig.shards();
        let open: Vec<_> =
            shards.iter().filter(|s| s.sequence_number_range.ending_sequence_number.is_none()).collect();
        assert_eq!(open.len(), usize::try_from(target).unwrap());
        let mut ranges: Vec<(u128, u128)> = open
            .iter()
            .map(|s| {
                (
                    s.hash_key_range.starting_hash_key.parse().unwrap(),
                    s.hash_key_range.ending_hash_key.parse().unwrap(),
                )
            })
            .collect();
        ranges.sort_unstable();
        assert_eq!((ranges[0].0, ranges.last().unwrap().1), (0, u128::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "no gap, no overlap");
        let sizes: Vec<u128> = ranges.iter().map(|(first, last)| last - first).collect();
        assert!(
            sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 20,
            "equal but for rounding: {sizes:?}"
        );
        assert!(shards[4..].iter().all(|shard| shard.parent_shard_id.is_some()), "no orphans");
    }
    for target in [19, 4] {
        assert!(rig.scale(target).is_err(), "more than double, less than half");
    }
}

/// UpdateShardCount: "you cannot do the following: Scale more than ten times per rolling 24-hour period per stream".
#[test]
fn scaling_ten_times_a_day() {
    let mut rig = Rig::new(2);
    for i in 0..10 {
        rig.scale(if i % 2 == 0 { 3 } else { 2 }).unwrap();
        rig.hours(1);
    }
    assert_eq!(code(rig.scale(3)), ErrorCode::LimitExceeded);
    rig.hours(14);
    rig.scale(3).unwrap();
}

/// SplitShard, MergeShards, UpdateShardCount: "This API is only supported for the data streams with the provisioned capacity
/// mode."
#[test]
fn on_demand_streams_scale_themselves() {
    let mut rig = Rig::empty(LocalSettings::default());
    let mode = StreamModeDetails::new(StreamMode::OnDemand);
    let request = CreateStreamRequest::new(STREAM).stream_mode_details(mode);
    rig.call(&request).unwrap();
    assert_eq!(rig.summary().open_shard_count, 4);
    assert_eq!(code(rig.split(0, 10)), ErrorCode::Validation);
    assert_eq!(code(rig.merge(0, 1)), ErrorCode::Validation);
    assert_eq!(code(rig.scale(8)), ErrorCode::Validation);
    let stream_mode_details = StreamModeDetails::new(StreamMode::Provisioned);
    let stream_arn = rig.summary().stream_arn;
    rig.call(&UpdateStreamModeRequest::new(stream_arn, stream_mode_details)).unwrap();
    rig.scale(8).unwrap();
}

// ListShards

/// "When the number of shards in the data stream is greater than the default value for the MaxResults parameter [1000] [..] the
/// response includes a pagination token named NextToken."
#[test]
fn listing_pages() {
    let mut rig = Rig::new(2500);
    let mut request = by_name().max_results(5000);
    let mut seen = Vec::new();
    let mut pages = Vec::new();
    loop {
        let answer = rig.list(&request).unwrap();
        pages.push(numbers(&answer).len());
        seen.extend(numbers(&answer));
        let Some(next_token) = answer.next_token else { break };
        request = ListShardsRequest::new().next_token(next_token);
    }
    assert_eq!(pages, [1000, 1000, 500]);
    assert_eq!(seen, (0..2500).collect::<Vec<_>>());
}

/// "Tokens expire after 300 seconds. [..] If you specify an expired token in a call to ListShards, you get
/// ExpiredNextTokenException." and "You cannot specify this parameter if you specify the NextToken parameter."
#[test]
fn listing_tokens() {
    let mut rig = Rig::new(4);
    let token = rig.list(&by_name().max_results(1)).unwrap().next_token.unwrap();
    let go_on = ListShardsRequest::new().next_token(&token);
    let both = by_name().next_token(token);
    assert_eq!(code(rig.list(&both)), ErrorCode::InvalidArgument);
    rig.secs(300);
    assert_eq!(numbers(&rig.list(&go_on).unwrap()), [1, 2, 3]);
    rig.secs(1);
    assert_eq!(code(rig.list(&go_on)), ErrorCode::ExpiredNextToken);
    let forged = ListShardsRequest::new().next_token("AAAA");
    assert_eq!(code(rig.list(&forged)), ErrorCode::InvalidArgument);
}

/// ShardFilter: "AFTER_SHARD_ID - the response includes all the shards, starting with the shard whose ID immediately follows the
/// ShardId that you provided. AT_TRIM_HORIZON - [..] all the shards that were open at TRIM_HORIZON. FROM_TRIM_HORIZON - (default),
/// [..] all the shards within the retention period of the data stream. AT_LATEST - [..] only the currently open shards.
/// AT_TIMESTAMP - [..] all shards whose start timestamp is less than or equal to the given timestamp and end timestamp is greater
/// than or equal to the given timestamp or still open. FROM_TIMESTAMP - [..] all closed shards whose end timestamp is greater than
/// or equal to the given timestamp and also all open shards. Corrected to TRIM_HORIZON of the data stream if FROM_TIMESTAMP is
/// less than the TRIM_HORIZON value."
#[test]
fn listing_filters() {
    let mut rig = Rig::new(2);
    rig.hours(1);
    let split = rig.now;
    rig.split(0, HALF / 2).unwrap();
    rig.hours(1);
    rig.merge(3, 1).unwrap();
    rig.hours(1);
    // 0: hours 0-1; 1: 0-2; 2: 1-; 3: 1-2; 4: 2-
    use ShardFilterType::*;
    let after = ShardFilter::new(AfterShardId).shard_id(shard(1));
    let answer = rig.list(&by_name().shard_filter(after)).unwrap();
    assert_eq!(numbers(&answer), [2, 3, 4]);
    assert_eq!(rig.filtered(AtTrimHorizon, None), [0, 1]);
    assert_eq!(rig.filtered(FromTrimHorizon, None), [0, 1, 2, 3, 4]);
    assert_eq!(rig.filtered(AtLatest, None), [2, 4]);
    let half_hour = Duration::from_secs(1800);
    assert_eq!(rig.filtered(AtTimestamp, Some(split)), [0, 1, 2, 3], "both ends count");
    assert_eq!(rig.filtered(AtTimestamp, Some(split.plus(half_hour))), [1, 2, 3]);
    assert_eq!(rig.filtered(FromTimestamp, Some(split.plus(half_hour))), [1, 2, 3, 4]);
    assert_eq!(rig.filtered(FromTimestamp, Some(Timestamp::from_secs(0))), [0, 1, 2, 3, 4]);
    rig.hours(22);
    assert_eq!(rig.filtered(AtTrimHorizon, None), [1, 2, 3], "the horizon is at hour 1");
    for kind in [AfterShardId, AtTimestamp, FromTimestamp] {
        let filter = ShardFilter::new(kind);
        let answer = rig.list(&by_name().shard_filter(filter));
        assert_eq!(code(answer), ErrorCode::InvalidArgument);
    }
}

/// "This action does not list expired shards."
#[test]
fn listing_forgets() {
    let mut rig = Rig::new(1);
    rig.split(0, HALF).unwrap();
    rig.hours(23);
    assert_eq!(rig.shards().len(), 3);
    rig.hours(1);
    let shards = rig.shards();
    assert_eq!(shards.len(), 2);
    assert_eq!(shards[0].parent_shard_id, Some(shard(0)), "a child still names its parent");
    let gone = rig.iterator_request(0, ShardIteratorType::TrimHorizon);
    assert_eq!(code(rig.call(&gone)), ErrorCode::ResourceNotFound);
}

// CreateStream, DeleteStream, ListStreams, DescribeStream

/// "Upon receiving a CreateStream request, Kinesis Data Streams immediately returns and sets the stream status to CREATING. After
/// the stream is created, Kinesis Data Streams sets the stream status to ACTIVE. You should perform read and write operations only
/// on an ACTIVE stream." and "Have more than five streams in the CREATING state at any point in time."; ListShards,
/// RegisterStreamConsumer, ListStreamConsumers, ResourceInUseException: "The resource is not available for this operation. For
/// successful operation, the resource must be in the ACTIVE state."
#[test]
fn creating_takes_time() {
    let mut settings = LocalSettings::default();
    settings.status_change = Duration::from_secs(10);
    let mut rig = Rig::empty(settings);
    rig.create(STREAM, 1).unwrap();
    assert_eq!(rig.status(), StreamStatus::Creating);
    assert_eq!(code(rig.put_to("a", vec![])), ErrorCode::ResourceNotFound);
    assert_eq!(code(rig.list(&by_name())), ErrorCode::ResourceInUse);
    assert_eq!(code(rig.consumer("c")), ErrorCode::ResourceInUse);
    let stream_arn = rig.summary().stream_arn;
    let consumers = ListStreamConsumersRequest::new(stream_arn);
    assert_eq!(code(rig.call(&consumers)), ErrorCode::ResourceInUse);
    for i in 1..5 {
        rig.create(&i.to_string(), 1).unwrap();
    }
    assert_eq!(code(rig.create("sixth", 1)), ErrorCode::LimitExceeded);
    assert_eq!(code(rig.create(STREAM, 1)), ErrorCode::ResourceInUse);
    rig.secs(10);
    assert_eq!((rig.status(), rig.shards().len()), (StreamStatus::Active, 1));
    rig.consumer("c").unwrap();
    assert_eq!(rig.call(&consumers).unwrap().consumers.unwrap().len(), 1);
    rig.create("sixth", 1).unwrap();
}

/// "After a DeleteStream request, the specified stream is in the DELETING state until Kinesis Data Streams completes the deletion.
/// Note: Kinesis Data Streams might continue to accept data read and write operations [..] on a stream in the DELETING state until
/// the stream deletion is complete." and "If an application attempts to operate on a deleted stream, it receives the exception
/// ResourceNotFoundException."
#[test]
fn deleting_takes_time() {
    let mut rig = Rig::slow(1);
    let at = rig.iterator(ShardIteratorType::Latest);
    rig.call(&DeleteStreamRequest::new().stream_name(STREAM)).unwrap();
    assert_eq!(rig.status(), StreamStatus::Deleting);
    rig.put("x");
    let at = rig.read(&at).next_shard_iterator.unwrap();
    rig.secs(10);
    assert_eq!(code(rig.put_to("a", vec![])), ErrorCode::ResourceNotFound);
    assert_eq!(code(rig.read_up_to(&at, None)), ErrorCode::ResourceNotFound);
    rig.create(STREAM, 1).unwrap();
    rig.secs(10);
    assert_eq!(
        code(rig.read_up_to(&at, None)),
        ErrorCode::ResourceNotFound,
        "another stream of the same name"
    );
}

/// ListStreams, DescribeStream: "The default value is 100. If you specify a value greater than 100, at most 100 results are
/// returned."
#[test]
fn pages_of_a_hundred() {
    let mut rig = Rig::new(150);
    for i in 0..150 {
        rig.create(&format!("s{i:03}"), 1).unwrap();
    }
    for limit in [None, Some(1000)] {
        let mut list = ListStreamsRequest::new();
        list.limit = limit;
        let answer = rig.call(&list).unwrap();
        assert_eq!((answer.stream_names.len(), answer.has_more_streams), (100, true));
        let last = answer.stream_names.last().unwrap();
        let by_name = ListStreamsRequest::new().exclusive_start_stream_name(last);
        let by_token = ListStreamsRequest::new().next_token(answer.next_token.unwrap());
        for request in [by_name, by_token] {
            let rest = rig.call(&request).unwrap();
            assert_eq!((rest.stream_names.len(), rest.has_more_streams), (51, false));
        }
        let mut describe = DescribeStreamRequest::new().stream_name(STREAM);
        describe.limit = limit;
        let answer = rig.call(&describe).unwrap().stream_description;
        assert_eq!((answer.shards.len(), answer.has_more_shards), (100, true));
        let rest = rig.call(&describe.exclusive_start_shard_id(shard(99))).unwrap();
        let rest = rest.stream_description;
        assert_eq!((rest.shards.len(), rest.has_more_shards), (50, false));
    }
}

// Rates of calls

/// So many calls pass within a second, and again in the next one.
pub(crate) fn passing<R: ModelRequest>(rig: &mut Rig, request: &R) -> usize {
    let second = |rig: &mut Rig| {
        let refused = |answer: Result<R::Response, ServiceError>| {
            answer.is_err_and(|error| {
                error.code == ErrorCode::LimitExceeded && error.message.starts_with("Rate exceeded for ")
            })
        };
        let passed = (0..2000).take_while(|_| !refused(rig.call(request))).count();
        rig.wait(Duration::from_millis(999));
        assert!(refused(rig.call(request)), "{} within the second", R::NAME);
        rig.wait(Duration::from_millis(1));
        passed
    };
    let passed = second(rig);
    assert_eq!(second(rig), passed, "{} in the next second", R::NAME);
    passed
}

/// "CreateStream has a limit of five transactions per second per account.", and so DeleteStream, ListStreams, SplitShard,
/// MergeShards, AddTagsToStream, ListTagsForStream and RemoveTagsFromStream; DescribeStream: "This operation has a limit of 10
/// transactions per second per account."; "DescribeStreamSummary has a limit of 20 transactions per second per account.";
/// DescribeLimits: "This operation has a limit of one transaction per second per account."
#[test]
fn calls_an_account_makes_in_a_second() {
    let mut rig = Rig::new(1);
    rig.model.settings_mut().call_limits = true;
    assert_eq!(passing(&mut rig, &CreateStreamRequest::new(STREAM)), 5);
    assert_eq!(passing(&mut rig, &DeleteStreamRequest::new().stream_name("no")), 5);
    assert_eq!(passing(&mut rig, &ListStreamsRequest::default()), 5);
    assert_eq!(passing(&mut rig, &SplitShardRequest::new("", "").stream_name(STREAM)), 5);
    assert_eq!(passing(&mut rig, &MergeShardsRequest::new("", "").stream_name(STREAM)), 5);
    assert_eq!(passing(&mut rig, &ListTagsForStreamRequest::new().stream_name(STREAM)), 5);
    assert_eq!(passing(&mut rig, &DescribeStreamRequest::new().stream_name(STREAM)), 10);
    let other = DescribeStreamSummaryRequest::new().stream_name("other");
    assert_eq!(passing(&mut rig, &other), 20);
    assert_eq!(passing(&mut rig, &DescribeLimitsRequest::default()), 1);
}

/// ListShards: "This operation has a limit of 1000 transactions per second per data stream."; RegisterStreamConsumer,
/// DeregisterStreamConsumer: "This operation has a limit of five transactions per second per stream.", and so ListStreamConsumers;
/// DescribeStreamConsumer: "This operation has a limit of 20 transactions per second per stream."
#[test]
fn calls_for_a_stream_in_a_second() {
    let mut rig = Rig::new(1);
    rig.create("other", 1).unwrap();
    let arn = rig.summary().stream_arn;
    let consumer_arn = rig.consumer("c").unwrap().consumer_arn;
    rig.model.settings_mut().call_limits = true;
    assert_eq!(passing(&mut rig, &by_name()), 1000);
    for _ in 0..1000 {
        rig.list(&by_name()).unwrap();
    }
    assert_eq!(code(rig.list(&by_name())), ErrorCode::LimitExceeded);
    rig.list(&ListShardsRequest::new().stream_name("other")).unwrap();
    let register = RegisterStreamConsumerRequest::new(arn.clone(), "c");
    assert_eq!(passing(&mut rig, &register), 5);
    assert_eq!(passing(&mut rig, &ListStreamConsumersRequest::new(arn)), 5);
    let describe = DescribeStreamConsumerRequest::new().consumer_arn(consumer_arn);
    assert_eq!(passing(&mut rig, &describe), 20);
    rig.model.settings_mut().call_limits = false;
    (0..100).for_each(|_| drop(rig.call(&describe).unwrap()));
}

// Enhanced fan-out

/// "you can register up to 20 consumers per stream" and "you cannot have more than 5 consumers in a CREATING status at the same
/// time."
#[test]
fn registering_consumers() {
    let mut rig = Rig::slow(1);
    for i in 0..20 {
        if i % 5 == 0 {
            rig.secs(10);
        }
        let consumer = rig.consumer(&i.to_string()).unwrap();
        assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
        if i % 5 == 4 && i < 19 {
            assert_eq!(code(rig.consumer("sixth")), ErrorCode::LimitExceeded);
        }
    }
    rig.secs(10);
    assert_eq!(code(rig.consumer("21st")), ErrorCode::LimitExceeded);
    assert_eq!(code(rig.consumer("3")), ErrorCode::ResourceInUse);
    let stream_arn = rig.summary().stream_arn;
    let page = rig.call(&ListStreamConsumersRequest::new(stream_arn).max_results(15));
    let page = page.unwrap();
    let consumers = page.consumers.unwrap();
    assert_eq!((consumers.len(), page.next_token.is_some()), (15, true));
    assert!(consumers.iter().all(|consumer| consumer.consumer_status == ConsumerStatus::Active));
}

/// "your consumer starts receiving events of type SubscribeToShardEvent [..] for up to 5 minutes" and "If you call SubscribeToShard
/// again with the same ConsumerARN and ShardId within 5 seconds of a successful call, you'll get a ResourceInUseException. If you
/// call SubscribeToShard 5 seconds or more after a successful call, the second call takes over the subscription and the previous
/// connection expires or fails with a ResourceInUseException."
#[test]
fn subscribing() {
    let mut rig = Rig::new(1);
    let arn = rig.consumer("c").unwrap().consumer_arn;
    let mut first = rig.subscribe(&arn, ShardIteratorType::Latest).unwrap();
    rig.wait(Duration::from_millis(4999));
    assert_eq!(code(rig.subscribe(&arn, ShardIteratorType::Latest)), ErrorCode::ResourceInUse);
    rig.wait(Duration::from_millis(1));
    let mut second = rig.subscribe(&arn, ShardIteratorType::Latest).unwrap();
    assert!(
        matches!(rig.model.poll_subscription(rig.now, &mut first), SubscriptionPoll::Fail(e) if e.code == ErrorCode::ResourceInUse)
    );
    rig.secs(299);
    assert!(matches!(rig.model.poll_subscription(rig.now, &mut second), SubscriptionPoll::Event(_)));
    rig.secs(1);
    assert_eq!(rig.model.poll_subscription(rig.now, &mut second), SubscriptionPoll::End);
}

/// DescribeStreamConsumer: "provide the ARN of the consumer. Alternatively, you can provide the ARN of the data stream and the name
/// you gave the consumer when you registered it. You may also provide all three parameters, as long as they don't conflict with each
/// other."
#[test]
fn naming_consumers() {
    let mut rig = Rig::new(1);
    let arn = rig.consumer("c").unwrap().consumer_arn;
    rig.consumer("d").unwrap();
    let stream = Some(rig.summary().stream_arn);
    let describe = |stream_arn, name: Option<&str>, consumer_arn| {
        let mut request = DescribeStreamConsumerRequest::new();
        request.stream_arn = stream_arn;
        request.consumer_name = name.map(str::to_owned);
        request.consumer_arn = consumer_arn;
        request
    };
    let arn = Some(arn);
    for request in [
        describe(None, None, arn.clone()),
        describe(stream.clone(), Some("c"), None),
        describe(stream.clone(), Some("c"), arn.clone()),
    ] {
        let answer = rig.call(&request).unwrap().consumer_description;
        assert_eq!((answer.consumer_name.as_str(), Some(answer.stream_arn)), ("c", stream.clone()));
    }
    assert_eq!(code(rig.call(&describe(stream, Some("d"), arn))), ErrorCode::InvalidArgument);
}

// Encryption, tags

/// "After you enable encryption, you can verify that encryption is applied by inspecting the API response from PutRecord or
/// PutRecords." and the KMS exceptions of GetRecords, PutRecord and SubscribeToShard.
#[test]
fn encryption() {
    let mut rig = Rig::slow(1);
    let request =
        StartStreamEncryptionRequest::new(EncryptionType::Kms, "alias/aws/kinesis").stream_name(STREAM);
    rig.put("plain");
    rig.call(&request).unwrap();
    assert_eq!(rig.status(), StreamStatus::Updating);
    rig.secs(10);
    assert_eq!(rig.put_to("a", vec![]).unwrap().encryption_type, Some(EncryptionType::Kms));
    let summary = rig.summary();
    assert_eq!(
        (summary.encryption_type, summary.key_id),
        (Some(EncryptionType::Kms), Some("alias/aws/kinesis".into()))
    );
    let arn = rig.consumer("c").unwrap().consumer_arn;
    rig.secs(10);
    let at = rig.iterator(ShardIteratorType::TrimHorizon);
    let mut subscription = rig.subscribe(&arn, ShardIteratorType::Latest).unwrap();
    for error in [
        ErrorCode::KmsAccessDenied,
        ErrorCode::KmsDisabled,
        ErrorCode::KmsInvalidState,
        ErrorCode::KmsNotFound,
        ErrorCode::KmsOptInRequired,
        ErrorCode::KmsThrottling,
    ] {
        rig.model.set_kms_key_error("alias/aws/kinesis", Some(error.clone()));
        assert_eq!(code(rig.read_up_to(&at, None)), error);
        assert_eq!(code(rig.put_to("a", vec![])), error);
    }
    assert!(matches!(rig.model.poll_subscription(rig.now, &mut subscription), SubscriptionPoll::Fail(_)));
    rig.model.set_kms_key_error("alias/aws/kinesis", None);
    let types: Vec<_> = rig.read(&at).records.into_iter().map(|record| record.encryption_type).collect();
    assert_eq!(types, [None, Some(EncryptionType::Kms)]);
}

/// StartStreamEncryption: "You can successfully apply a new AWS KMS key for server-side encryption 25 times in a rolling 24-hour
/// period."
#[test]
fn keys_a_day() {
    let mut rig = Rig::new(1);
    let request =
        StartStreamEncryptionRequest::new(EncryptionType::Kms, "alias/aws/kinesis").stream_name(STREAM);
    for _ in 0..25 {
        rig.call(&request).unwrap();
    }
    assert_eq!(code(rig.call(&request)), ErrorCode::LimitExceeded);
    rig.hours(24);
    rig.call(&request).unwrap();
}

/// "You can assign up to 50 tags to a data stream." and "If tags have already been assigned to the stream, AddTagsToStream
/// overwrites any existing tags that correspond to the specified tag keys."
#[test]
fn tags() {
    let mut rig = Rig::new(1);
    let add = |range: std::ops::Range<i32>, value: &str| {
        let tags: BTreeMap<_, _> = range.map(|i| (format!("k{i:02}"), value.to_owned())).collect();
        AddTagsToStreamRequest::new(tags).stream_name(STREAM)
    };
    rig.call(&add(0..50, "old")).unwrap();
    rig.call(&add(0..1, "new")).unwrap();
    assert_eq!(code(rig.call(&add(50..51, "more"))), ErrorCode::InvalidArgument);
    let list = ListTagsForStreamRequest::new().stream_name(STREAM).limit(2);
    let page = rig.call(&list).unwrap();
    let told: Vec<_> = page.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_deref())).collect();
    assert_eq!(told, [("k00", Some("new")), ("k01", Some("old"))]);
    assert!(page.has_more_tags);
    let tag_keys: Vec<_> = (0..49).map(|i| format!("k{i:02}")).collect();
    rig.call(&RemoveTagsFromStreamRequest::new(tag_keys).stream_name(STREAM)).unwrap();
    let resource_arn = rig.summary().stream_arn;
    let left = rig.call(&ListTagsForResourceRequest::new(resource_arn)).unwrap();
    assert_eq!(left.tags.unwrap().len(), 1);
}
