//! Who chooses the shard of a record of an on-demand stream.

use rokini_wire::shapes::stream::{EmptyResponse, UpdateStreamRecordDistributionStrategyRequest};
use rokini_wire::{RecordDistributionStrategy, ServiceError, StreamMode, Timestamp};

use crate::model::account::Model;
use crate::model::errors::invalid_argument;
use crate::model::stream::Stream;

impl Model {
    /// Changes who chooses the shard of records from now on. Takes effect at once.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse unless the stream is ACTIVE, InvalidArgument for a provisioned stream, Validation.
    pub fn update_stream_record_distribution_strategy(
        &mut self,
        now: Timestamp,
        request: &UpdateStreamRecordDistributionStrategyRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find_by_arn(now, &request.stream_arn)?;
        check_mode(&stream.mode)?;
        stream.must_be_active()?;
        stream.distributes = request.record_distribution_strategy == RecordDistributionStrategy::Auto;
        Ok(EmptyResponse::new())
    }
}

/// The strategy is an on-demand stream's.
pub(super) fn check_mode(mode: &StreamMode) -> Result<(), ServiceError> {
    if *mode == StreamMode::OnDemand {
        return Ok(());
    }
    Err(invalid_argument("RecordDistributionStrategy is only supported for streams in ON_DEMAND mode."))
}

/// The strategy as descriptions tell it: only of an on-demand stream.
pub(super) fn strategy(stream: &Stream) -> Option<RecordDistributionStrategy> {
    let strategy = match stream.distributes {
        true => RecordDistributionStrategy::Auto,
        false => RecordDistributionStrategy::UserPartitionKey,
    };
    Some(strategy).filter(|_| stream.mode == StreamMode::OnDemand)
}
