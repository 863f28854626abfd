//! The services that the settings name.

use std::sync::Arc;

use rokini_lease::GroupId;

use super::export::Exporter;
use super::registry::Registry;
use crate::aws::{HttpOptions, SdkConfig};
use crate::config::{Monitoring, Settings};
use crate::types::error::Error;

/// What sends metrics. Prometheus scrapes, so there is none for it. To be called in a runtime.
pub(crate) fn exporters(
    settings: &Settings,
    registry: Option<&Arc<Registry>>,
    aws: Option<&SdkConfig>,
    http: &HttpOptions,
    group: &GroupId,
    now_millis: u64,
) -> Result<Vec<Box<dyn Exporter>>, Error> {
    let Some(registry) = registry else { return Ok(Vec::new()) };
    let exporter = |service: &Monitoring| -> Result<Option<Box<dyn Exporter>>, Error> {
        match service {
            #[cfg(feature = "prometheus")]
            Monitoring::Prometheus => Ok(None),
            #[cfg(feature = "cloudwatch")]
            Monitoring::CloudWatch => {
                let Some(aws) = aws else {
                    return Err(Error::configuration(
                        "`monitoring = cloudwatch` needs an AWS configuration: give the builder `aws`",
                    ));
                };
                let (registry, group) = (Arc::clone(registry), group.as_str());
                Ok(Some(Box::new(super::cloudwatch::CloudWatch::new(aws, registry, group, settings)?)))
            }
            #[cfg(feature = "otlp")]
            Monitoring::Otlp => {
                let registry = Arc::clone(registry);
                Ok(Some(Box::new(super::otlp::OtlpMetrics::new(registry, settings, http, now_millis)?)))
            }
            #[cfg(not(all(feature = "prometheus", feature = "cloudwatch", feature = "otlp")))]
            other => {
                let name = other.name();
                Err(Error::configuration(format!(
                    "`monitoring = {name}` is not compiled in: add the feature `{name}` of the crate"
                )))
            }
        }
    };
    // What no feature asks for.
    let _ = (registry, aws, http, group, now_millis);
    settings.monitoring.iter().filter_map(|service| exporter(service).transpose()).collect()
}
