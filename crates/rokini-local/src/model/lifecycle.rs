//! Streams come, are described, and go.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamRequest, DescribeStreamResponse,
    DescribeStreamSummaryRequest, DescribeStreamSummaryResponse, EmptyResponse, ListStreamsRequest,
    ListStreamsResponse, StreamDescription, StreamDescriptionSummary, StreamSummary,
};
use rokini_wire::{RecordDistributionStrategy, ServiceError, StreamMode, StreamStatus, Timestamp};

use crate::model::account::Model;
use crate::model::billing::warm_throughput;
use crate::model::distribution::{self, strategy};
use crate::model::errors::{invalid_argument, limit_exceeded, resource_in_use};
use crate::model::shard::{Shard, shard_number};
use crate::model::stream::{ON_DEMAND_SHARDS, Stream, StreamChange};
use crate::model::tags;
use crate::model::token::{Token, TokenKind};

/// Most shards of DescribeStream and streams of ListStreams in an answer, as the service documents.
const PAGE_SIZE: usize = 100;
/// Most streams in state CREATING, as the service documents.
const MAX_CREATING: usize = 5;

impl Model {
    /// Creates a stream. It is CREATING for [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceInUse if the name is taken, LimitExceeded, InvalidArgument, Validation.
    pub fn create_stream(
        &mut self,
        now: Timestamp,
        request: &CreateStreamRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let name = &request.stream_name;
        let mode =
            request.stream_mode_details.as_ref().map_or(StreamMode::Provisioned, |d| d.stream_mode.clone());
        tags::check_tags(request.tags.as_ref().unwrap_or(&BTreeMap::new()))?;
        let key = self.streams.key(name);
        self.streams.apply_all_due_changes(now);
        if self.streams.contains(now, &key) {
            let account = &key.scope.account;
            return Err(resource_in_use(format!("Stream {name} under account {account} already exists.")));
        }
        let creating = self.streams.own().filter(|stream| stream.status == StreamStatus::Creating).count();
        if creating >= MAX_CREATING {
            return Err(limit_exceeded(format!(
                "{creating} streams are in state CREATING; at most {MAX_CREATING} may be."
            )));
        }
        let shards = match (&mode, request.shard_count) {
            (StreamMode::OnDemand, None) => ON_DEMAND_SHARDS,
            (StreamMode::OnDemand, Some(_)) => {
                return Err(invalid_argument(
                    "ShardCount must not be specified for streams in ON_DEMAND mode.",
                ));
            }
            (_, None) => {
                return Err(invalid_argument(
                    "ShardCount must be specified for streams in PROVISIONED mode.",
                ));
            }
            (_, Some(count)) => u32::try_from(count).unwrap_or(1),
        };
        if mode == StreamMode::OnDemand {
            self.check_on_demand_limit()?;
        } else {
            self.check_shard_limit(shards)?;
        }
        if let Some(mibps) = request.warm_throughput_mibps {
            self.check_warm_throughput(now, &key.scope, &mode, mibps)?;
        }
        if request.record_distribution_strategy.is_some() {
            distribution::check_mode(&mode)?;
        }
        let mut stream = Stream::new(name, key.scope.clone(), now, mode);
        stream.distributes = request.record_distribution_strategy == Some(RecordDistributionStrategy::Auto);
        stream.warm_mibps = request.warm_throughput_mibps;
        let warm = request.warm_throughput_mibps.and_then(|mibps| u32::try_from(mibps).ok());
        let shards = warm.map_or(shards, |warm| warm.max(shards));
        if let Some(kib) = request.max_record_size_in_kib {
            stream.max_record_kib = kib;
        }
        stream.tags = request.tags.clone().unwrap_or_default();
        self.streams.insert(stream);
        self.begin_change(now, &key, StreamChange::Create { shards })
    }

    /// Deletes a stream. It is DELETING for [`LocalSettings::status_change`](crate::LocalSettings::status_change), and goes on
    /// giving and taking records meanwhile.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse.
    pub fn delete_stream(
        &mut self,
        now: Timestamp,
        request: &DeleteStreamRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        if matches!(stream.status, StreamStatus::Creating | StreamStatus::Deleting) {
            stream.must_be_active()?;
        }
        if !stream.consumers.is_empty() && !request.enforce_consumer_deletion.unwrap_or(false) {
            return Err(resource_in_use(format!(
                "The {} has consumers; deregister them or set EnforceConsumerDeletion.",
                stream.label()
            )));
        }
        if !stream.queues.is_empty() {
            return Err(resource_in_use(format!("The {} has queues; delete them first.", stream.label())));
        }
        let key = stream.key();
        self.begin_change(now, &key, StreamChange::Delete)
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
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        let after = match &request.exclusive_start_shard_id {
            None => None,
            Some(id) => Some(
                shard_number(id)
                    .ok_or_else(|| invalid_argument(format!("Invalid ExclusiveStartShardId {id}.")))?,
            ),
        };
        stream.forget_expired_shards(now);
        let limit = usize::try_from(request.limit.unwrap_or(100)).unwrap_or(100).min(PAGE_SIZE);
        let mut rest = stream.shards().filter(|shard| after.is_none_or(|after| shard.number > after));
        let shards: Vec<_> = rest.by_ref().take(limit).map(Shard::describe).collect();
        let has_more_shards = rest.next().is_some();
        let mut description = StreamDescription::new(
            &stream.name,
            &stream.arn,
            stream.status.clone(),
            shards,
            has_more_shards,
            stream.retention_hours,
            stream.created,
            stream.monitoring(),
        )
        .stream_mode_details(stream.mode_details())
        .encryption_type(stream.encryption());
        description.key_id = stream.key_id.clone();
        Ok(DescribeStreamResponse::new(description))
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
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        let key = stream.key();
        let advantage = self.has_advantage(now, &key.scope);
        let stream = self.streams.keyed(now, &key)?;
        let mut summary = StreamDescriptionSummary::new(
            &stream.name,
            &stream.arn,
            stream.status.clone(),
            stream.retention_hours,
            stream.created,
            stream.monitoring(),
            i32::try_from(stream.open_shards()).unwrap_or(i32::MAX),
        )
        .stream_mode_details(stream.mode_details())
        .encryption_type(stream.encryption())
        .consumer_count(i32::try_from(stream.consumers.len()).unwrap_or(i32::MAX))
        .max_record_size_in_kib(stream.max_record_kib)
        .channel_count(0)
        .queue_count(i32::try_from(stream.queues.len()).unwrap_or(i32::MAX));
        summary.record_distribution_strategy = strategy(stream);
        // As documented, only where it can be changed.
        let warm = advantage && stream.mode == StreamMode::OnDemand;
        summary.warm_throughput = warm.then(|| warm_throughput(stream));
        summary.key_id = stream.key_id.clone();
        Ok(DescribeStreamSummaryResponse::new(summary))
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
        self.streams.apply_all_due_changes(now);
        let after = match &request.next_token {
            Some(text) => Some(self.name_in_token(now, text, TokenKind::StreamPage)?),
            None => request.exclusive_start_stream_name.clone(),
        };
        let limit = usize::try_from(request.limit.unwrap_or(100)).unwrap_or(100).min(PAGE_SIZE);
        let mut rest =
            self.streams.own().filter(|stream| after.as_ref().is_none_or(|after| stream.name > *after));
        let page: Vec<&Stream> = rest.by_ref().take(limit).collect();
        let has_more_streams = rest.next().is_some();
        let last = page.last().filter(|_| has_more_streams);
        let names: Vec<String> = page.iter().map(|stream| stream.name.clone()).collect();
        let summaries: Vec<StreamSummary> = page.iter().map(|stream| stream.summary()).collect();
        let mut response = ListStreamsResponse::new(names, has_more_streams).stream_summaries(summaries);
        response.next_token =
            last.map(|stream| self.page_token(now, TokenKind::StreamPage, &stream.key().to_text()));
        Ok(response)
    }

    /// A token for the page that starts after `text`.
    pub(super) fn page_token(&self, now: Timestamp, kind: TokenKind, text: &str) -> String {
        let token =
            Token { kind, made: now, stream_created: now, shard: 0, offset: 0, text: text.to_owned() };
        token.seal(self.settings.seed)
    }

    pub(super) fn check_on_demand_limit(&self) -> Result<(), ServiceError> {
        let present = self.streams.own().filter(|stream| stream.mode == StreamMode::OnDemand).count();
        if present >= self.settings.on_demand_stream_limit as usize {
            return Err(limit_exceeded(format!(
                "This request would exceed the on-demand stream limit of {} for the account {}.",
                self.settings.on_demand_stream_limit,
                self.streams.scope().account
            )));
        }
        Ok(())
    }

    pub(super) fn check_shard_limit(&self, more: u32) -> Result<(), ServiceError> {
        let provisioned = self.streams.own().filter(|stream| stream.mode != StreamMode::OnDemand);
        let present: usize = provisioned.map(Stream::open_shards).sum();
        if present.saturating_add(more as usize) > self.settings.shard_limit as usize {
            let scope = self.streams.scope();
            return Err(limit_exceeded(format!(
                "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: \
                 {present}. Limit: {}. Number of additional shards that would have resulted from this request: {more}.",
                scope.account, scope.region, self.settings.shard_limit
            )));
        }
        Ok(())
    }
}
