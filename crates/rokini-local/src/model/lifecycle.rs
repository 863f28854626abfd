//! Streams come, are described, and go.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamRequest, DescribeStreamResponse,
    DescribeStreamSummaryRequest, DescribeStreamSummaryResponse, Empty, ListStreamsRequest,
    ListStreamsResponse, StreamDescription, StreamDescriptionSummary,
};
use rokini_wire::{ServiceError, StreamMode, StreamStatus, Timestamp};

use super::Model;
use super::errors::{Checks, in_use, invalid, limit};
use super::shard::shard_number;
use super::stream::{Change, Stream};
use super::token::{Kind, Token};

/// Shards of a new on-demand stream, as the service documents.
const ON_DEMAND_SHARDS: u32 = 4;

/// Most shards of DescribeStream and streams of ListStreams in an answer, as the service documents.
const PAGE: usize = 100;
/// Most streams in state CREATING, as the service documents.
const MOST_CREATING: usize = 5;

impl Model {
    /// Creates a stream. It is CREATING for [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceInUse if the name is taken, LimitExceeded, InvalidArgument, Validation.
    pub fn create_stream(
        &mut self,
        now: Timestamp,
        request: &CreateStreamRequest,
    ) -> Result<Empty, ServiceError> {
        let name = &request.stream_name;
        let mode =
            request.stream_mode_details.as_ref().map_or(StreamMode::Provisioned, |d| d.stream_mode.clone());
        let mut checks = Checks::default();
        checks.name(name, "streamName");
        checks.one_of(&mode, "streamModeDetails.streamMode", StreamMode::KNOWN);
        if let Some(count) = request.shard_count {
            checks.range(count, "shardCount", 1..=i32::MAX);
        }
        if let Some(kib) = request.max_record_size_in_kib {
            checks.range(kib, "maxRecordSizeInKiB", 1024..=10240);
        }
        checks.done()?;
        super::tags::check(request.tags.as_ref().unwrap_or(&BTreeMap::new()))?;
        self.streams.settle_all(now);
        if self.streams.contains(now, name) {
            let account = &self.streams.account;
            return Err(in_use(format!("Stream {name} under account {account} already exists.")));
        }
        let creating = self.streams.all().filter(|stream| stream.status == StreamStatus::Creating).count();
        if creating >= MOST_CREATING {
            return Err(limit(format!(
                "{creating} streams are in state CREATING; at most {MOST_CREATING} may be."
            )));
        }
        let shards = match (&mode, request.shard_count) {
            (StreamMode::OnDemand, None) => ON_DEMAND_SHARDS,
            (StreamMode::OnDemand, Some(_)) => {
                return Err(invalid("ShardCount must not be specified for streams in ON_DEMAND mode."));
            }
            (_, None) => {
                return Err(invalid("ShardCount must be specified for streams in PROVISIONED mode."));
            }
            (_, Some(count)) => u32::try_from(count).unwrap_or(1),
        };
        if mode == StreamMode::OnDemand {
            self.room_for_on_demand()?;
        } else {
            self.room_for_shards(shards)?;
        }
        let mut stream = Stream::new(name, &self.streams.account, self.streams.arn_of(name), now, mode);
        if let Some(kib) = request.max_record_size_in_kib {
            stream.max_record_kib = kib;
        }
        stream.tags = request.tags.clone().unwrap_or_default();
        self.streams.insert(stream);
        self.begin(now, name, StreamStatus::Creating, Change::Create { shards })?;
        Ok(Empty::default())
    }

    /// Deletes a stream. It is DELETING for [`Settings::status_change`](crate::Settings::status_change), and goes on
    /// giving and taking records meanwhile.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse.
    pub fn delete_stream(
        &mut self,
        now: Timestamp,
        request: &DeleteStreamRequest,
    ) -> Result<Empty, ServiceError> {
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        if matches!(stream.status, StreamStatus::Creating | StreamStatus::Deleting) {
            stream.must_be_active()?;
        }
        if !stream.consumers.is_empty() && !request.enforce_consumer_deletion.unwrap_or(false) {
            return Err(in_use(format!(
                "The {} has consumers; deregister them or set EnforceConsumerDeletion.",
                stream.place()
            )));
        }
        let name = stream.name.clone();
        self.begin(now, &name, StreamStatus::Deleting, Change::Delete)?;
        Ok(Empty::default())
    }

    /// Describes a stream with a page of its shards.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn describe_stream(
        &mut self,
        now: Timestamp,
        request: &DescribeStreamRequest,
    ) -> Result<DescribeStreamResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.range(request.limit.unwrap_or(1), "limit", 1..=10_000);
        if let Some(id) = &request.exclusive_start_shard_id {
            checks.name(id, "exclusiveStartShardId");
        }
        checks.done()?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let after = match &request.exclusive_start_shard_id {
            None => None,
            Some(id) => Some(
                shard_number(id).ok_or_else(|| invalid(format!("Invalid ExclusiveStartShardId {id}.")))?,
            ),
        };
        stream.forget_expired_shards(now);
        let limit = usize::try_from(request.limit.unwrap_or(100)).unwrap_or(100).min(PAGE);
        let mut rest = stream.shards().filter(|shard| after.is_none_or(|after| shard.number > after));
        let shards = rest.by_ref().take(limit).map(super::shard::Shard::describe).collect();
        let has_more_shards = rest.next().is_some();
        Ok(DescribeStreamResponse {
            stream_description: StreamDescription {
                stream_name: stream.name.clone(),
                stream_arn: stream.arn.clone(),
                stream_status: stream.status.clone(),
                stream_mode_details: Some(stream.mode_details()),
                shards,
                has_more_shards,
                retention_period_hours: stream.retention_hours,
                stream_creation_timestamp: stream.created,
                enhanced_monitoring: stream.monitoring(),
                encryption_type: Some(stream.encryption()),
                key_id: stream.key_id.clone(),
            },
        })
    }

    /// Describes a stream without its shards.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn describe_stream_summary(
        &mut self,
        now: Timestamp,
        request: &DescribeStreamSummaryRequest,
    ) -> Result<DescribeStreamSummaryResponse, ServiceError> {
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        Ok(DescribeStreamSummaryResponse {
            stream_description_summary: StreamDescriptionSummary {
                stream_name: stream.name.clone(),
                stream_arn: stream.arn.clone(),
                stream_status: stream.status.clone(),
                stream_mode_details: Some(stream.mode_details()),
                retention_period_hours: stream.retention_hours,
                stream_creation_timestamp: stream.created,
                enhanced_monitoring: stream.monitoring(),
                encryption_type: Some(stream.encryption()),
                key_id: stream.key_id.clone(),
                open_shard_count: i32::try_from(stream.open_shards()).unwrap_or(i32::MAX),
                consumer_count: Some(i32::try_from(stream.consumers.len()).unwrap_or(i32::MAX)),
                warm_throughput: None,
                max_record_size_in_kib: Some(stream.max_record_kib),
            },
        })
    }

    /// Lists streams in order of their names.
    ///
    /// # Errors
    /// InvalidArgument, ExpiredNextToken, Validation.
    pub fn list_streams(
        &mut self,
        now: Timestamp,
        request: &ListStreamsRequest,
    ) -> Result<ListStreamsResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.range(request.limit.unwrap_or(1), "limit", 1..=10_000);
        if let Some(name) = &request.exclusive_start_stream_name {
            checks.name(name, "exclusiveStartStreamName");
        }
        checks.done()?;
        self.streams.settle_all(now);
        let after = match &request.next_token {
            Some(word) => Some(self.open_token(now, word, Kind::StreamPage)?.text),
            None => request.exclusive_start_stream_name.clone(),
        };
        let limit = usize::try_from(request.limit.unwrap_or(100)).unwrap_or(100).min(PAGE);
        let mut rest =
            self.streams.all().filter(|stream| after.as_ref().is_none_or(|after| stream.name > *after));
        let page: Vec<&Stream> = rest.by_ref().take(limit).collect();
        let has_more_streams = rest.next().is_some();
        let last = page.last().filter(|_| has_more_streams);
        Ok(ListStreamsResponse {
            stream_names: page.iter().map(|stream| stream.name.clone()).collect(),
            has_more_streams,
            next_token: last.map(|stream| self.page_token(now, Kind::StreamPage, &stream.name)),
            stream_summaries: Some(page.iter().map(|stream| stream.summary()).collect()),
        })
    }

    /// A token for the page that starts after `text`.
    pub(super) fn page_token(&self, now: Timestamp, kind: Kind, text: &str) -> String {
        let token = Token { kind, made: now, stream_created: now, shard: 0, place: 0, text: text.to_owned() };
        token.seal(self.settings.seed)
    }

    pub(super) fn room_for_on_demand(&self) -> Result<(), ServiceError> {
        let present = self.streams.all().filter(|stream| stream.mode == StreamMode::OnDemand).count();
        if present >= self.settings.on_demand_stream_limit as usize {
            return Err(limit(format!(
                "This request would exceed the on-demand stream limit of {} for the account {}.",
                self.settings.on_demand_stream_limit, self.streams.account
            )));
        }
        Ok(())
    }

    pub(super) fn room_for_shards(&self, more: u32) -> Result<(), ServiceError> {
        let provisioned = self.streams.all().filter(|stream| stream.mode != StreamMode::OnDemand);
        let present: usize = provisioned.map(Stream::open_shards).sum();
        if present.saturating_add(more as usize) > self.settings.shard_limit as usize {
            return Err(limit(format!(
                "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: \
                 {present}. Limit: {}. Number of additional shards that would have resulted from this request: {more}.",
                self.streams.account, self.streams.region, self.settings.shard_limit
            )));
        }
        Ok(())
    }
}
