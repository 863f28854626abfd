//! What a request is about: needed by faults and inspection, before it is carried out.

use rokini_wire::shapes::{consumer::*, record::*, shard::*, stream::*, tags::*};

use super::Model;
use super::shard::{shard_id, shard_number};
use super::token::{Kind, Token};

/// The stream and shard a request names, in whatever way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Named<'a> {
    stream: Option<&'a str>,
    arn: Option<&'a str>,
    shard: Option<&'a str>,
    iterator: Option<&'a str>,
    /// The ARN of a consumer, which begins with its stream's.
    consumer: Option<&'a str>,
    /// A token of ListShards.
    page: Option<&'a str>,
}

/// A request that says what it is about.
pub(crate) trait Subject {
    fn named(&self) -> Named<'_>;
}

/// Name of a stream and id of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) stream: Option<String>,
    pub(crate) shard: Option<String>,
}

impl Model {
    /// Where a request is directed, as far as it says so.
    pub(crate) fn place_of(&self, request: &impl Subject) -> Place {
        let named = request.named();
        if let Some(token) =
            named.iterator.and_then(|word| Token::open(word, Kind::Iterator, self.settings.seed))
        {
            return Place { stream: Some(token.text), shard: Some(shard_id(token.shard)) };
        }
        if let Some(token) =
            named.page.and_then(|word| Token::open(word, Kind::ShardPage, self.settings.seed))
        {
            return Place {
                stream: token.text.split_once('/').map(|(_, name)| name.to_owned()),
                shard: None,
            };
        }
        let by_arn = named.arn.or(named.consumer).and_then(|arn| arn.split_once(":stream/"));
        let by_arn = by_arn.map(|(_, rest)| rest.split_once('/').map_or(rest, |(name, _)| name));
        let shard = named.shard.map(|id| shard_number(id).map_or_else(|| id.to_owned(), shard_id));
        Place { stream: named.stream.or(by_arn).map(str::to_owned), shard }
    }
}

/// Required and optional texts alike.
trait Text {
    fn text(&self) -> Option<&str>;
}

impl Text for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Text for Option<String> {
    fn text(&self) -> Option<&str> {
        self.as_deref()
    }
}

macro_rules! subjects {
    ($($request:ident { $($role:ident: $member:ident),* })+) => {
        $(impl Subject for $request {
            fn named(&self) -> Named<'_> {
                Named { $($role: self.$member.text(),)* ..Named::default() }
            }
        })+
    };
}

subjects! {
    AddTagsToStreamRequest { stream: stream_name, arn: stream_arn }
    CreateStreamRequest { stream: stream_name }
    DecreaseStreamRetentionPeriodRequest { stream: stream_name, arn: stream_arn }
    DeleteStreamRequest { stream: stream_name, arn: stream_arn }
    DeregisterStreamConsumerRequest { arn: stream_arn, consumer: consumer_arn }
    DescribeLimitsRequest {}
    DescribeStreamConsumerRequest { arn: stream_arn, consumer: consumer_arn }
    DescribeStreamRequest { stream: stream_name, arn: stream_arn }
    DescribeStreamSummaryRequest { stream: stream_name, arn: stream_arn }
    DisableEnhancedMonitoringRequest { stream: stream_name, arn: stream_arn }
    EnableEnhancedMonitoringRequest { stream: stream_name, arn: stream_arn }
    GetRecordsRequest { arn: stream_arn, iterator: shard_iterator }
    GetShardIteratorRequest { stream: stream_name, arn: stream_arn, shard: shard_id }
    IncreaseStreamRetentionPeriodRequest { stream: stream_name, arn: stream_arn }
    ListShardsRequest { stream: stream_name, arn: stream_arn, page: next_token }
    ListStreamConsumersRequest { arn: stream_arn }
    ListStreamsRequest {}
    ListTagsForResourceRequest { arn: resource_arn }
    ListTagsForStreamRequest { stream: stream_name, arn: stream_arn }
    MergeShardsRequest { stream: stream_name, arn: stream_arn, shard: shard_to_merge }
    PutRecordRequest { stream: stream_name, arn: stream_arn }
    PutRecordsRequest { stream: stream_name, arn: stream_arn }
    RegisterStreamConsumerRequest { arn: stream_arn }
    RemoveTagsFromStreamRequest { stream: stream_name, arn: stream_arn }
    SplitShardRequest { stream: stream_name, arn: stream_arn, shard: shard_to_split }
    StartStreamEncryptionRequest { stream: stream_name, arn: stream_arn }
    StopStreamEncryptionRequest { stream: stream_name, arn: stream_arn }
    SubscribeToShardRequest { consumer: consumer_arn, shard: shard_id }
    TagResourceRequest { arn: resource_arn }
    UntagResourceRequest { arn: resource_arn }
    UpdateMaxRecordSizeRequest { arn: stream_arn }
    UpdateShardCountRequest { stream: stream_name, arn: stream_arn }
    UpdateStreamModeRequest { arn: stream_arn }
}
