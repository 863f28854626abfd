//! Metrics and traces to an OpenTelemetry collector, as protobuf over HTTP.

mod client;
mod metrics;
mod traces;

pub(crate) use metrics::OtlpMetrics;
pub use traces::OtlpTraces;

/// The address of a signal under the collector's.
fn endpoint(base: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", base.trim_end_matches('/'))
}
