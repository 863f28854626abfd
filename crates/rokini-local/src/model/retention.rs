//! How long records are kept.

use rokini_wire::shapes::stream::{
    DecreaseStreamRetentionPeriodRequest, EmptyResponse, IncreaseStreamRetentionPeriodRequest,
};
use rokini_wire::{ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::errors::invalid_argument;

/// Shortest and longest retention in hours, as the service documents: a day and a year.
const HOURS: std::ops::RangeInclusive<i32> = 24..=8760;

impl Model {
    /// Keeps records longer. Records already gone do not come back.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument.
    pub fn increase_stream_retention_period(
        &mut self,
        now: Timestamp,
        request: &IncreaseStreamRetentionPeriodRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let to = request.retention_period_hours;
        self.set_retention(now, &request.stream_name, &request.stream_arn, to, "greater")
    }

    /// Keeps records less long. Those older than the new period are gone at once.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument.
    pub fn decrease_stream_retention_period(
        &mut self,
        now: Timestamp,
        request: &DecreaseStreamRetentionPeriodRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let to = request.retention_period_hours;
        self.set_retention(now, &request.stream_name, &request.stream_arn, to, "less")
    }

    fn set_retention(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
        to: i32,
        direction: &str,
    ) -> Result<EmptyResponse, ServiceError> {
        if !HOURS.contains(&to) {
            let (bound, hours, wrong) = if to < *HOURS.start() {
                ("Minimum", HOURS.start(), "short")
            } else {
                ("Maximum", HOURS.end(), "long")
            };
            return Err(invalid_argument(format!(
                "{bound} allowed retention period is {hours} hours. Requested retention period ({to} hours) is too {wrong}."
            )));
        }
        let stream = self.streams.find(now, name, arn)?;
        let from = stream.retention_hours;
        let wrong = if direction == "greater" { to <= from } else { to >= from };
        if wrong {
            return Err(invalid_argument(format!(
                "The new retention period of {} must be {direction} than the present one: {to} hours are wanted, {from} \
                 are set.",
                stream.label()
            )));
        }
        stream.must_be_active()?;
        // Before, so that a longer period brings nothing back; after, so that a shorter one takes effect.
        stream.trim(now);
        stream.retention_hours = to;
        stream.trim(now);
        Ok(EmptyResponse::new())
    }
}
