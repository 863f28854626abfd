//! The table of operations: which method answers which request, how often it may be called, and what it is for.

use std::borrow::Cow;

use rokini_wire::shapes::consumer::*;
use rokini_wire::shapes::record::*;
use rokini_wire::shapes::shard::*;
use rokini_wire::shapes::stream::*;
use rokini_wire::shapes::tags::*;
use rokini_wire::{AnyRequest, AnyResponse, ErrorCode, Operation, ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::call_rates::{CallRate, RateScope, per_account, per_stream};
use crate::model::errors::limit_exceeded;
use crate::model::put::written_records;
use crate::model::target::Target;

/// A request that a [`Model`] answers: one of every operation but SubscribeToShard, whose answer is a
/// [`Subscription`](crate::Subscription).
pub trait ModelRequest: Operation {
    /// Answers the request as of `now`, and counts it against the rates of calls.
    ///
    /// # Errors
    /// As documented on the method of [`Model`] that bears the operation's name; LimitExceeded for too many calls.
    fn answer(&self, model: &mut Model, now: Timestamp) -> Result<Self::Response, ServiceError>;

    /// The request that does the same to another model, given how this one was answered; `None` if nothing changed.
    fn effect(&self, response: &Self::Response) -> Option<Cow<'_, Self>> {
        let _ = response;
        changes_something(Self::NAME).then_some(Cow::Borrowed(self))
    }
}

/// Calls a model with requests of every type alike.
pub(crate) trait CallModel {
    fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError>;
}

impl Model {
    /// Answers a request of any type as of `now`, and counts it against the rates of calls; the methods named like operations
    /// answer without counting.
    ///
    /// # Errors
    /// As documented on the method of the operation; LimitExceeded for too many calls.
    pub fn call<R: ModelRequest>(
        &mut self,
        now: Timestamp,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        request.answer(self, now)
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
        let stream = match rate.scope {
            RateScope::Account => String::new(),
            // What names no stream that is there has nothing to share.
            RateScope::Stream => match target.resolve(self.settings.seed).stream {
                Some(name) if self.streams.contains(now, &name) => name,
                _ => return Ok(()),
            },
        };
        if self.call_rates.allow(now, operation, stream.clone(), rate) {
            return Ok(());
        }
        let account = &self.streams.account;
        Err(limit_exceeded(match rate.scope {
            RateScope::Account => format!("Rate exceeded for account {account}."),
            RateScope::Stream => format!("Rate exceeded for stream {stream} under account {account}."),
        }))
    }
}

/// Whether an operation can change the model.
pub(crate) fn changes_something(operation: &str) -> bool {
    !["Describe", "Get", "List"].iter().any(|reads| operation.starts_with(reads))
}

macro_rules! operations {
    ($($name:ident: $method:ident($request:ident), $rate:expr, |$r:ident| $target:expr $(=> $effect:ident)?;)+) => {
        $(impl ModelRequest for $request {
            fn answer(&self, model: &mut Model, now: Timestamp) -> Result<Self::Response, ServiceError> {
                let $r = self;
                model.count_call(now, Self::NAME, $rate, $target)?;
                model.$method(now, self)
            }

            $(fn effect(&self, response: &Self::Response) -> Option<Cow<'_, Self>> {
                $effect(self, response)
            })?
        })+

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
    AddTagsToStream: add_tags_to_stream(AddTagsToStreamRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    CreateStream: create_stream(CreateStreamRequest),
        per_account(5), |r| Target::named(&r.stream_name);
    DecreaseStreamRetentionPeriod: decrease_stream_retention_period(DecreaseStreamRetentionPeriodRequest),
        per_stream(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    DeleteStream: delete_stream(DeleteStreamRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    DeregisterStreamConsumer: deregister_stream_consumer(DeregisterStreamConsumerRequest),
        per_stream(5), |r| Target::arn(r.stream_arn.as_ref().or(r.consumer_arn.as_ref()));
    DescribeLimits: describe_limits(DescribeLimitsRequest),
        per_account(1), |_r| Target::default();
    DescribeStream: describe_stream(DescribeStreamRequest),
        per_account(10), |r| Target::stream(&r.stream_name, &r.stream_arn);
    DescribeStreamConsumer: describe_stream_consumer(DescribeStreamConsumerRequest),
        per_stream(20), |r| Target::arn(r.stream_arn.as_ref().or(r.consumer_arn.as_ref()));
    DescribeStreamSummary: describe_stream_summary(DescribeStreamSummaryRequest),
        per_account(20), |r| Target::stream(&r.stream_name, &r.stream_arn);
    DisableEnhancedMonitoring: disable_enhanced_monitoring(DisableEnhancedMonitoringRequest),
        per_stream(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    EnableEnhancedMonitoring: enable_enhanced_monitoring(EnableEnhancedMonitoringRequest),
        per_stream(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    GetRecords: get_records(GetRecordsRequest),
        None, |r| Target::arn(&r.stream_arn).shard_iterator(&r.shard_iterator);
    GetShardIterator: get_shard_iterator(GetShardIteratorRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_id);
    IncreaseStreamRetentionPeriod: increase_stream_retention_period(IncreaseStreamRetentionPeriodRequest),
        per_stream(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    ListShards: list_shards(ListShardsRequest), per_stream(1000),
        |r| Target::stream(&r.stream_name, &r.stream_arn).page_of_shards(&r.next_token);
    ListStreamConsumers: list_stream_consumers(ListStreamConsumersRequest),
        per_stream(5), |r| Target::arn(&r.stream_arn);
    ListStreams: list_streams(ListStreamsRequest),
        per_account(5), |_r| Target::default();
    ListTagsForResource: list_tags_for_resource(ListTagsForResourceRequest),
        None, |r| Target::arn(&r.resource_arn);
    ListTagsForStream: list_tags_for_stream(ListTagsForStreamRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    MergeShards: merge_shards(MergeShardsRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_to_merge);
    PutRecord: put_record(PutRecordRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn);
    PutRecords: put_records(PutRecordsRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn) => written_records;
    RegisterStreamConsumer: register_stream_consumer(RegisterStreamConsumerRequest),
        per_stream(5), |r| Target::arn(&r.stream_arn);
    RemoveTagsFromStream: remove_tags_from_stream(RemoveTagsFromStreamRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn);
    SplitShard: split_shard(SplitShardRequest),
        per_account(5), |r| Target::stream(&r.stream_name, &r.stream_arn).shard(&r.shard_to_split);
    StartStreamEncryption: start_stream_encryption(StartStreamEncryptionRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn);
    StopStreamEncryption: stop_stream_encryption(StopStreamEncryptionRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn);
    TagResource: tag_resource(TagResourceRequest),
        None, |r| Target::arn(&r.resource_arn);
    UntagResource: untag_resource(UntagResourceRequest),
        None, |r| Target::arn(&r.resource_arn);
    UpdateMaxRecordSize: update_max_record_size(UpdateMaxRecordSizeRequest),
        None, |r| Target::arn(&r.stream_arn);
    UpdateShardCount: update_shard_count(UpdateShardCountRequest),
        None, |r| Target::stream(&r.stream_name, &r.stream_arn);
    UpdateStreamMode: update_stream_mode(UpdateStreamModeRequest),
        None, |r| Target::arn(&r.stream_arn);
}
