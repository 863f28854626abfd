//! Which method answers which request.

use rokini_wire::shapes::{consumer::*, record::*, shard::*, stream::*, tags::*};
use rokini_wire::{Operation, ServiceError, Timestamp};

use super::Model;
use super::subject::Subject;

/// Answers one kind of request, and counts it against the rates of calls. Implemented by [`Model`] for every operation it
/// knows; its own methods answer without counting.
pub trait Serve<R: Operation> {
    /// Answers `request` as of `now`.
    ///
    /// # Errors
    /// As documented on the method of [`Model`] that bears the operation's name; LimitExceeded for too many calls.
    fn serve(&mut self, now: Timestamp, request: &R) -> Result<R::Response, ServiceError>;
}

macro_rules! served {
    ($($method:ident: $request:ty,)+) => {
        $(impl Serve<$request> for Model {
            fn serve(
                &mut self,
                now: Timestamp,
                request: &$request,
            ) -> Result<<$request as Operation>::Response, ServiceError> {
                self.admit(now, request)?;
                self.$method(now, request)
            }
        })+

        impl Model {
            /// Gives the request type that bears `name` to `visitor`; `None` if there is no such operation.
            pub(crate) fn visit_operation<V: OperationVisitor>(name: &str, visitor: V) -> Option<V::Output> {
                match name {
                    $(<$request as Operation>::NAME => Some(visitor.visit::<$request>()),)+
                    _ => None,
                }
            }
        }
    };
}

/// Does something with a request type chosen at run time.
pub(crate) trait OperationVisitor {
    type Output;

    fn visit<R: Operation + Subject>(self) -> Self::Output
    where
        Model: Serve<R>;
}

served! {
    add_tags_to_stream: AddTagsToStreamRequest,
    create_stream: CreateStreamRequest,
    decrease_stream_retention_period: DecreaseStreamRetentionPeriodRequest,
    delete_stream: DeleteStreamRequest,
    deregister_stream_consumer: DeregisterStreamConsumerRequest,
    describe_limits: DescribeLimitsRequest,
    describe_stream: DescribeStreamRequest,
    describe_stream_consumer: DescribeStreamConsumerRequest,
    describe_stream_summary: DescribeStreamSummaryRequest,
    disable_enhanced_monitoring: DisableEnhancedMonitoringRequest,
    enable_enhanced_monitoring: EnableEnhancedMonitoringRequest,
    get_records: GetRecordsRequest,
    get_shard_iterator: GetShardIteratorRequest,
    increase_stream_retention_period: IncreaseStreamRetentionPeriodRequest,
    list_shards: ListShardsRequest,
    list_stream_consumers: ListStreamConsumersRequest,
    list_streams: ListStreamsRequest,
    list_tags_for_resource: ListTagsForResourceRequest,
    list_tags_for_stream: ListTagsForStreamRequest,
    merge_shards: MergeShardsRequest,
    put_record: PutRecordRequest,
    put_records: PutRecordsRequest,
    register_stream_consumer: RegisterStreamConsumerRequest,
    remove_tags_from_stream: RemoveTagsFromStreamRequest,
    split_shard: SplitShardRequest,
    start_stream_encryption: StartStreamEncryptionRequest,
    stop_stream_encryption: StopStreamEncryptionRequest,
    tag_resource: TagResourceRequest,
    untag_resource: UntagResourceRequest,
    update_max_record_size: UpdateMaxRecordSizeRequest,
    update_shard_count: UpdateShardCountRequest,
    update_stream_mode: UpdateStreamModeRequest,
}
