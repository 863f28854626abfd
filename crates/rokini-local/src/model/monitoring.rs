//! Shard-level metrics: remembered and told, nothing more.

use std::collections::BTreeSet;

use rokini_wire::shapes::stream::{
    DisableEnhancedMonitoringRequest, EnableEnhancedMonitoringRequest, EnhancedMonitoringResponse,
};
use rokini_wire::{MetricsName, ServiceError, Timestamp};

use crate::model::account::Model;

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
        let (name, arn) = (&request.stream_name, &request.stream_arn);
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
        let (name, arn) = (&request.stream_name, &request.stream_arn);
        self.change_metrics(now, name, arn, &request.shard_level_metrics, |present, named| {
            present.retain(|metric| !named.contains(metric));
        })
    }

    fn change_metrics(
        &mut self,
        now: Timestamp,
        name: &Option<String>,
        arn: &Option<String>,
        named: &[MetricsName],
        change: impl FnOnce(&mut BTreeSet<MetricsName>, BTreeSet<MetricsName>),
    ) -> Result<EnhancedMonitoringResponse, ServiceError> {
        let stream = self.streams.find(now, name, arn)?;
        stream.must_be_active()?;
        let named = if named.contains(&MetricsName::All) { MetricsName::KNOWN } else { named };
        let named = named.iter().filter(|metric| **metric != MetricsName::All).cloned().collect();
        let before: Vec<MetricsName> = stream.metrics.iter().cloned().collect();
        change(&mut stream.metrics, named);
        let after: Vec<MetricsName> = stream.metrics.iter().cloned().collect();
        Ok(EnhancedMonitoringResponse::new()
            .stream_name(&stream.name)
            .stream_arn(&stream.arn)
            .current_shard_level_metrics(before)
            .desired_shard_level_metrics(after))
    }
}
