//! The table of operations: which method answers which request, how often it may be called, and what it is for.

use rokini_wire::shapes::account::*;
use rokini_wire::shapes::channel::*;
use rokini_wire::shapes::consumer::*;
use rokini_wire::shapes::queue::*;
use rokini_wire::shapes::record::*;
use rokini_wire::shapes::shard::*;
use rokini_wire::shapes::stream::*;
use rokini_wire::shapes::tags::*;
use rokini_wire::{AnyRequest, AnyResponse, ErrorCode, Operation, ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::call_rates::{CallRate, RateScope, per_account, per_stream};
use crate::model::caller::Caller;
use crate::model::changed::Changed;
use crate::model::constraints;
use crate::model::errors::limit_exceeded;
use crate::model::put::{written_record, written_records};
use crate::model::receive::{handled, received};
use crate::model::scope::{Scope, StreamKey};
use crate::model::subscription::Subscription;
use crate::model::target::Target;

/// A request that a [`Model`] answers: one of every operation but SubscribeToShard, whose answer is a
/// [`Subscription`](crate::Subscription).
pub trait ModelRequest: Operation {
    /// Answers the request as of `now`, and counts it against the rates of calls.
    ///
    /// # Errors
    /// As documented on the method of [`Model`] that bears the operation's name; LimitExceeded for too many calls.
    fn answer(&self, model: &mut Model, now: Timestamp) -> Result<Self::Response, ServiceError>;

    /// What the call changed, given how it was answered.
    fn changed(&self, response: &Self::Response) -> Changed {
        let _ = response;
        if changes_something(Self::NAME) { Changed::Other } else { Changed::Nothing }
    }
}

/// Calls a model with requests of every type alike.
pub(crate) trait CallModel {
    fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError>;
}

impl Model {
    /// Answers a request of any type as of `now`, and counts it against the rates of calls; the methods named like operations
    /// answer without counting, and most of them without checking members by the service model.
    ///
    /// # Errors
    /// As documented on the method of the operation; LimitExceeded for too many calls.
    pub fn call<R: ModelRequest>(
        &mut self,
        now: Timestamp,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        self.call_as(&Caller::new(), now, request)
    }

    /// [`Model::call`] by a caller of another account or region.
    ///
    /// # Errors
    /// As [`Model::call`]; AccessDenied for what is another account's.
    pub fn call_as<R: ModelRequest>(
        &mut self,
        caller: &Caller,
        now: Timestamp,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        self.streams.begin_call(caller, R::NAME);
        let answer = request.answer(self, now);
        self.streams.end_call();
        answer
    }

    /// The streams that the last call was about.
    pub(crate) fn touched(&self) -> &[(StreamKey, u64)] {
        self.streams.touched()
    }

    /// GetRecords by a caller, with another limit to the number of records, which may be 0.
    pub(crate) fn get_records_as(
        &mut self,
        caller: &Caller,
        now: Timestamp,
        request: &GetRecordsRequest,
        max_records: usize,
    ) -> Result<GetRecordsResponse, ServiceError> {
        self.streams.begin_call(caller, GetRecordsRequest::NAME);
        let answer = self.get_records_up_to(now, request, max_records);
        self.streams.end_call();
        answer
    }

    /// [`Model::subscribe_to_shard`] by a caller of another account or region.
    ///
    /// # Errors
    /// As [`Model::subscribe_to_shard`]; AccessDenied for what is another account's.
    pub fn subscribe_as(
        &mut self,
        caller: &Caller,
        now: Timestamp,
        request: &SubscribeToShardRequest,
    ) -> Result<Subscription, ServiceError> {
        self.streams.begin_call(caller, SubscribeToShardRequest::NAME);
        let answer = self.subscribe_to_shard(now, request);
        self.streams.end_call();
        answer
    }

    /// Counts a call. One that is refused for another reason counts too.
    fn count_call(
        &mut self,
        now: Timestamp,
        operation: &'static str,
        rate: Option<CallRate>,
        target: Target<'_>,
    ) -> Result<(), ServiceError> {
        let Some(rate) = rate.filter(|_| self.settings.limits_calls()) else { return Ok(()) };
        let scope = self.streams.scope();
        let key = match rate.scope {
            RateScope::Account => StreamKey { scope, name: String::new() },
            // What names no stream that is there, or one that this region cannot know, has nothing to share. A stream's rate is
            // shared by all accounts that may use it.
            RateScope::Stream => match target.resolve(self.settings.seed, &scope).key {
                Some(key) if self.streams.is_here(&key.scope) && self.streams.contains(now, &key) => key,
                _ => return Ok(()),
            },
        };
        if self.call_rates.allow(now, operation, &key, rate) {
            return Ok(());
        }
        let StreamKey { scope: Scope { account, .. }, name } = &key;
        Err(limit_exceeded(match rate.scope {
            RateScope::Account => format!("Rate exceeded for account {account}."),
            RateScope::Stream => format!("Rate exceeded for stream {name} under account {account}."),
        }))
    }
}

/// What an operation does to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing that is to be kept.
    Read,
    Write,
}

/// How the members of a request are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// By the service model, before anything else.
    Model,
    /// By the operation, which leaves records out of that or knows better than the model.
    Itself,
}

macro_rules! operations {
    ($($name:ident: $method:ident($request:ident) $access:ident $checked:ident, $rate:expr,
        |$r:ident| $target:expr $(=> |$answer:ident| $changed:expr)?;)+
    ) => {
        $(impl ModelRequest for $request {
            fn answer(&self, model: &mut Model, now: Timestamp) -> Result<Self::Response, ServiceError> {
                let $r = self;
                model.count_call(now, Self::NAME, $rate, $target)?;
                if Checked::$checked == Checked::Model {
                    constraints::check(Self::NAME, self)?;
                }
                model.$method(now, self)
            }

            $(fn changed(&self, $answer: &Self::Response) -> Changed {
                let $r = self;
                let _ = $r;
                $changed
            })?
        })+

        /// Whether an operation can change the model.
        pub(crate) fn changes_something(operation: &str) -> bool {
            match operation {
                $(stringify!($name) => Access::$access == Access::Write,)+
                _ => false,
            }
        }

        /// What a request is for.
        pub(crate) fn target_of(request: &AnyRequest) -> Target<'_> {
            match request {
                $(AnyRequest::$name($r) => $target,)+
                AnyRequest::SubscribeToShard(r) => Target::arn(&r.consumer_arn).shard(&r.shard_id),
                _ => Target::default(),
            }
        }

        /// Gives a request to `model` and wraps its answer.
        ///
        /// # Errors
        /// Those of the operation; UnknownOperation for SubscribeToShard.
        pub(crate) fn answer_any(
            model: &mut impl CallModel,
            request: &AnyRequest,
        ) -> Result<AnyResponse, ServiceError> {
            match request {
                $(AnyRequest::$name(request) => model.call(request).map(AnyResponse::$name),)+
                other => {
                    let message = format!("{} has no answer of its own.", other.operation());
                    Err(ServiceError::new(ErrorCode::UnknownOperation, message))
                }
            }
        }
    };
}

// Rates are calls a second, as AWS documents them: most on the operations' own pages of the API reference, the retention and
// monitoring ones on the developer guide's page of quotas. Operations on the data of a shard have rates of their own.
operations! {
    AcknowledgeDeadLetterQueueRecords: acknowledge_dead_letter_queue_records(AcknowledgeDeadLetterQueueRecordsRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| handled(&r.queue_arn, a);
    AcknowledgeQueueRecords: acknowledge_queue_records(AcknowledgeQueueRecordsRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| handled(&r.queue_arn, a);
    AddTagsToStream: add_tags_to_stream(AddTagsToStreamRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    CreateChannel: create_channel(CreateChannelRequest) Write Model, per_account(5),
        |r| Target::arn(r.stream_configuration_list.first().map(|s| &s.stream_arn));
    CreateQueue: create_queue(CreateQueueRequest) Write Model, None,
        |r| Target::arn(r.stream_configuration_list.first().map(|s| &s.stream_arn));
    CreateStream: create_stream(CreateStreamRequest) Write Model, per_account(5),
        |r| Target::named(&r.stream_name);
    DecreaseStreamRetentionPeriod: decrease_stream_retention_period(DecreaseStreamRetentionPeriodRequest) Write Model, per_stream(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    DeleteChannel: delete_channel(DeleteChannelRequest) Write Model, per_account(5),
        |_r| Target::default();
    DeleteQueue: delete_queue(DeleteQueueRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn);
    DeleteResourcePolicy: delete_resource_policy(DeleteResourcePolicyRequest) Write Model, None,
        |r| Target::arn(&r.resource_arn);
    DeleteStream: delete_stream(DeleteStreamRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    DeregisterStreamConsumer: deregister_stream_consumer(DeregisterStreamConsumerRequest) Write Model, per_stream(5),
        |r| Target::arn(r.stream_arn.as_ref().or(r.consumer_arn.as_ref()));
    DescribeAccountSettings: describe_account_settings(DescribeAccountSettingsRequest) Read Model, per_account(5),
        |_r| Target::default();
    DescribeChannel: describe_channel(DescribeChannelRequest) Read Model, per_account(5),
        |_r| Target::default();
    DescribeLimits: describe_limits(DescribeLimitsRequest) Read Model, per_account(1),
        |_r| Target::default();
    DescribeQueue: describe_queue(DescribeQueueRequest) Read Model, None,
        |r| Target::arn(&r.queue_arn);
    DescribeStream: describe_stream(DescribeStreamRequest) Read Model, per_account(10),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    DescribeStreamConsumer: describe_stream_consumer(DescribeStreamConsumerRequest) Read Model, per_stream(20),
        |r| Target::arn(r.stream_arn.as_ref().or(r.consumer_arn.as_ref()));
    DescribeStreamSummary: describe_stream_summary(DescribeStreamSummaryRequest) Read Model, per_account(20),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    DisableEnhancedMonitoring: disable_enhanced_monitoring(DisableEnhancedMonitoringRequest) Write Model, per_stream(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    EnableEnhancedMonitoring: enable_enhanced_monitoring(EnableEnhancedMonitoringRequest) Write Model, per_stream(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    GetRecords: get_records(GetRecordsRequest) Read Itself, None,
        |r| Target::arn(&r.stream_arn).shard_iterator(&r.shard_iterator);
    GetResourcePolicy: get_resource_policy(GetResourcePolicyRequest) Read Model, None,
        |r| Target::arn(&r.resource_arn);
    GetShardIterator: get_shard_iterator(GetShardIteratorRequest) Read Model, None,
        |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_id);
    IncreaseStreamRetentionPeriod: increase_stream_retention_period(IncreaseStreamRetentionPeriodRequest) Write Model, per_stream(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    ListChannels: list_channels(ListChannelsRequest) Read Model, per_account(5),
        |_r| Target::default();
    ListQueues: list_queues(ListQueuesRequest) Read Model, None,
        |_r| Target::default();
    ListShards: list_shards(ListShardsRequest) Read Model, per_stream(1000),
        |r| Target::stream(&r.stream_name, &r.stream_arn).page_of_shards(&r.next_token);
    ListStreamConsumers: list_stream_consumers(ListStreamConsumersRequest) Read Model, per_stream(5),
        |r| Target::arn(&r.stream_arn);
    ListStreams: list_streams(ListStreamsRequest) Read Model, per_account(5),
        |_r| Target::default();
    ListTagsForResource: list_tags_for_resource(ListTagsForResourceRequest) Read Model, None,
        |r| Target::arn(&r.resource_arn);
    ListTagsForStream: list_tags_for_stream(ListTagsForStreamRequest) Read Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    MergeShards: merge_shards(MergeShardsRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_to_merge);
    PutRecord: put_record(PutRecordRequest) Write Itself, None,
        |r| Target::stream(&r.stream_name, &r.stream_arn) => |a| written_record(a);
    PutRecords: put_records(PutRecordsRequest) Write Itself, None,
        |r| Target::stream(&r.stream_name, &r.stream_arn) => |a| written_records(a);
    PutResourcePolicy: put_resource_policy(PutResourcePolicyRequest) Write Model, None,
        |r| Target::arn(&r.resource_arn);
    ReceiveDeadLetterQueueRecords: receive_dead_letter_queue_records(ReceiveDeadLetterQueueRecordsRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| received(&r.queue_arn, a);
    ReceiveQueueRecords: receive_queue_records(ReceiveQueueRecordsRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| received(&r.queue_arn, a);
    RegisterStreamConsumer: register_stream_consumer(RegisterStreamConsumerRequest) Write Model, per_account(5),
        |r| Target::arn(&r.stream_arn);
    RemoveTagsFromStream: remove_tags_from_stream(RemoveTagsFromStreamRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    RestoreDeadLetterQueueRecords: restore_dead_letter_queue_records(RestoreDeadLetterQueueRecordsRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| handled(&r.queue_arn, a);
    SplitShard: split_shard(SplitShardRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_to_split);
    StartStreamEncryption: start_stream_encryption(StartStreamEncryptionRequest) Write Model, None,
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    StopStreamEncryption: stop_stream_encryption(StopStreamEncryptionRequest) Write Model, None,
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    TagResource: tag_resource(TagResourceRequest) Write Model, None,
        |r| Target::arn(&r.resource_arn);
    UntagResource: untag_resource(UntagResourceRequest) Write Model, None,
        |r| Target::arn(&r.resource_arn);
    UpdateAccountSettings: update_account_settings(UpdateAccountSettingsRequest) Write Model, per_account(5),
        |_r| Target::default();
    UpdateChannel: update_channel(UpdateChannelRequest) Write Model, per_account(5),
        |_r| Target::default();
    UpdateDeadLetterQueueRecordsVisibility: update_dead_letter_queue_records_visibility(UpdateDeadLetterQueueRecordsVisibilityRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| handled(&r.queue_arn, a);
    UpdateMaxRecordSize: update_max_record_size(UpdateMaxRecordSizeRequest) Write Model, None,
        |r| Target::arn(&r.stream_arn);
    UpdateQueue: update_queue(UpdateQueueRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn);
    UpdateQueueRecordsVisibility: update_queue_records_visibility(UpdateQueueRecordsVisibilityRequest) Write Model, None,
        |r| Target::arn(&r.queue_arn) => |a| handled(&r.queue_arn, a);
    UpdateShardCount: update_shard_count(UpdateShardCountRequest) Write Model, per_account(10),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
    UpdateStreamMode: update_stream_mode(UpdateStreamModeRequest) Write Model, None,
        |r| Target::arn(&r.stream_arn);
    UpdateStreamRecordDistributionStrategy: update_stream_record_distribution_strategy(UpdateStreamRecordDistributionStrategyRequest) Write Model, None,
        |r| Target::arn(&r.stream_arn);
    UpdateStreamWarmThroughput: update_stream_warm_throughput(UpdateStreamWarmThroughputRequest) Write Model, per_account(5),
        |r| Target::stream(&r.stream_name, &r.stream_arn);
}
