//! Metrics and traces to an OpenTelemetry collector, as protobuf over HTTP.

mod client;
mod metrics;
mod traces;

pub(crate) use metrics::OtlpMetrics;
pub use traces::OtlpTraces;
