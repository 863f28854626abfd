//! Shard-level metrics: remembered and told, nothing more.

use std::collections::BTreeSet;

use rokini_wire::shapes::stream::{
    DisableEnhancedMonitoringRequest, EnableEnhancedMonitoringRequest, EnhancedMonitoringResponse,
};
use rokini_wire::{MetricsName, ServiceError, Timestamp};

use super::Model;
use super::errors::Checks;

impl Model {
    /// Turns shard-level metrics on.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, Validation.
    pub fn enable_enhanced_monitoring(
        &mut self,
        now: Timestamp,
        request: &EnableEnhancedMonitoringRequest,
    ) -> Result<EnhancedMonitoringResponse, ServiceError> {
        let (name, arn) = (request.stream_name.as_deref(), request.stream_arn.as_deref());
        self.change_metrics(now, name, arn, &request.shard_level_metrics, |present, named| {
            present.extend(named);
        })
    }

    /// Turns shard-level metrics off.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, Validation.
    pub fn disable_enhanced_monitoring(
        &mut self,
        now: Timestamp,
        request: &DisableEnhancedMonitoringRequest,
    ) -> Result<EnhancedMonitoringResponse, ServiceError> {
        let (name, arn) = (request.stream_name.as_deref(), request.stream_arn.as_deref());
        self.change_metrics(now, name, arn, &request.shard_level_metrics, |present, named| {
            present.retain(|metric| !named.contains(metric));
        })
    }

    fn change_metrics(
        &mut self,
        now: Timestamp,
        name: Option<&str>,
        arn: Option<&str>,
        named: &[MetricsName],
        change: impl FnOnce(&mut BTreeSet<MetricsName>, BTreeSet<MetricsName>),
    ) -> Result<EnhancedMonitoringResponse, ServiceError> {
        let mut checks = Checks::default();
        if named.is_empty() {
            checks.fail("[]", "shardLevelMetrics", "have length greater than or equal to 1");
        }
        for metric in named {
            checks.one_of(metric, "shardLevelMetrics", MetricsName::KNOWN);
        }
        checks.done()?;
        let stream = self.streams.find(now, name, arn)?;
        stream.must_be_active()?;
        let named = if named.contains(&MetricsName::All) { MetricsName::KNOWN } else { named };
        let named = named.iter().filter(|metric| **metric != MetricsName::All).cloned().collect();
        let before = stream.metrics.iter().cloned().collect();
        change(&mut stream.metrics, named);
        Ok(EnhancedMonitoringResponse {
            stream_name: Some(stream.name.clone()),
            stream_arn: Some(stream.arn.clone()),
            current_shard_level_metrics: Some(before),
            desired_shard_level_metrics: Some(stream.metrics.iter().cloned().collect()),
        })
    }
}
