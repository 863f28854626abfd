//! Streams change as a whole: shard count, capacity mode, record size; and the account's limits.

use std::time::Duration;

use rokini_wire::shapes::stream::{
    DescribeLimitsRequest, DescribeLimitsResponse, EmptyResponse, UpdateMaxRecordSizeRequest,
    UpdateShardCountRequest, UpdateShardCountResponse, UpdateStreamModeRequest,
};
use rokini_wire::{ErrorCode, ServiceError, StreamMode, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, limit_exceeded, resource_in_use};
use crate::model::stream::{Stream, StreamChange};

/// Most calls of UpdateShardCount for a stream in 24 hours, as the service documents.
const MAX_SCALINGS: usize = 10;
/// Most changes of capacity mode of a stream in 24 hours, as the service documents.
const MAX_MODE_CHANGES: usize = 2;
/// Most shards UpdateShardCount gives a stream, as the service documents.
const MAX_SHARDS: i32 = 10_000;
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

impl Model {
    /// Changes the number of open shards, by splits and merges, to shards of equal size. As in the service, a number that
    /// is no multiple makes short-lived shards in between.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, InvalidArgument, Validation.
    pub fn update_shard_count(
        &mut self,
        now: Timestamp,
        request: &UpdateShardCountRequest,
    ) -> Result<UpdateShardCountResponse, ServiceError> {
        let target = request.target_shard_count;
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        must_be_provisioned(stream, "UpdateShardCount")?;
        stream.must_be_active()?;
        let (key, arn, present) = (stream.key(), stream.arn.clone(), stream.open_shards());
        let current = i32::try_from(present).unwrap_or(i32::MAX);
        if target > current.saturating_mul(2) || target < current / 2 + current % 2 {
            return Err(invalid_argument(format!(
                "UpdateShardCount cannot scale {} from {current} to {target} shards: the target must be at most double and \
                 at least half the current open shard count.",
                stream.label()
            )));
        }
        if target > MAX_SHARDS {
            return Err(limit_exceeded(format!(
                "UpdateShardCount cannot scale a stream to more than {MAX_SHARDS} shards."
            )));
        }
        let since = now.minus(DAY);
        if stream.scalings.iter().filter(|at| **at > since).count() >= MAX_SCALINGS {
            return Err(limit_exceeded(format!(
                "UpdateShardCount was called {MAX_SCALINGS} times in 24 hours for {}.",
                stream.label()
            )));
        }
        let target_count = u32::try_from(target).unwrap_or(1);
        self.check_shard_limit(target_count.saturating_sub(u32::try_from(present).unwrap_or(u32::MAX)))?;
        self.streams.keyed(now, &key)?.scalings.push(now);
        self.begin_change(now, &key, StreamChange::ShardCount(target_count))?;
        Ok(UpdateShardCountResponse::new()
            .stream_name(key.name)
            .stream_arn(arn)
            .current_shard_count(current)
            .target_shard_count(target))
    }

    /// Changes the capacity mode. The number of shards stays.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, InvalidArgument, Validation.
    pub fn update_stream_mode(
        &mut self,
        now: Timestamp,
        request: &UpdateStreamModeRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let mode = &request.stream_mode_details.stream_mode;
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        stream.must_be_active()?;
        let since = now.minus(DAY);
        if stream.mode_changes.iter().filter(|at| **at > since).count() >= MAX_MODE_CHANGES {
            return Err(limit_exceeded(format!(
                "The capacity mode of {} was changed {MAX_MODE_CHANGES} times in 24 hours.",
                stream.label()
            )));
        }
        if stream.mode == *mode {
            return Err(invalid_argument(format!("The {} is already in mode {mode}.", stream.label())));
        }
        if *mode != StreamMode::OnDemand && !stream.queues.is_empty() {
            return Err(resource_in_use(format!("The {} has queues; delete them first.", stream.label())));
        }
        let (key, shards) = (stream.key(), u32::try_from(stream.open_shards()).unwrap_or(u32::MAX));
        if let Some(mibps) = request.warm_throughput_mibps {
            self.check_warm_throughput(now, &key.scope, mode, mibps)?;
        }
        match mode {
            StreamMode::OnDemand => self.check_on_demand_limit()?,
            _ => self.check_shard_limit(shards)?,
        }
        self.streams.keyed(now, &key)?.mode_changes.push(now);
        let warm = request.warm_throughput_mibps;
        self.begin_change(now, &key, StreamChange::Mode(mode.clone(), warm))
    }

    /// Changes the size of the largest record the stream accepts.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, Validation.
    pub fn update_max_record_size(
        &mut self,
        now: Timestamp,
        request: &UpdateMaxRecordSizeRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let kib = request.max_record_size_in_kib;
        let stream = self.streams.find(now, &None, &request.stream_arn)?;
        stream.must_be_active()?;
        let key = stream.key();
        self.begin_change(now, &key, StreamChange::RecordSize(kib))
    }

    /// Says what the account may have and has.
    ///
    /// # Errors
    /// None.
    pub fn describe_limits(
        &mut self,
        now: Timestamp,
        _: &DescribeLimitsRequest,
    ) -> Result<DescribeLimitsResponse, ServiceError> {
        self.streams.apply_all_due_changes(now);
        let on_demand = self.streams.own().filter(|stream| stream.mode == StreamMode::OnDemand).count();
        let provisioned = self.streams.own().filter(|stream| stream.mode != StreamMode::OnDemand);
        let open: usize = provisioned.map(Stream::open_shards).sum();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(DescribeLimitsResponse::new(
            count(self.settings.shard_limit as usize),
            count(open),
            count(on_demand),
            count(self.settings.on_demand_stream_limit as usize),
        )
        .channel_count(0)
        .channel_count_limit(0))
    }
}

/// Shards of an on-demand stream are the service's business.
pub(super) fn must_be_provisioned(stream: &Stream, operation: &str) -> Result<(), ServiceError> {
    if stream.mode != StreamMode::OnDemand {
        return Ok(());
    }
    let message = format!(
        "Request is invalid. You cannot call {operation} on {} because it is in ON_DEMAND mode.",
        stream.label()
    );
    Err(ServiceError::new(ErrorCode::Validation, message))
}
