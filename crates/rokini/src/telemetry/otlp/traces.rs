//! Spans to an OpenTelemetry collector.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio_util::task::TaskTracker;

use super::client::{Client, endpoint};
use crate::aws::HttpOptions;
use crate::config::Settings;
use crate::types::error::{Error, ErrorKind};

/// Sends the spans of a program to the collector that the settings name. The library makes spans by `tracing`; this
/// tracer carries them over, as a layer of the program's subscriber:
/// `tracing_opentelemetry::layer().with_tracer(traces.tracer())`.
#[derive(Debug)]
pub struct OtlpTraces {
    provider: SdkTracerProvider,
}

impl OtlpTraces {
    /// Sends to [`ConfigKey::OtlpEndpoint`](crate::ConfigKey) with `/v1/traces` behind it, as the service `service`.
    /// To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the endpoint is no URL, or TLS cannot be set up.
    pub fn new(settings: &Settings, service: &str, http: &HttpOptions) -> Result<Self, Error> {
        let headers: HashMap<String, String> = settings.otlp_headers.iter().cloned().collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(http)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint(&settings.otlp_endpoint, "traces"))
            .with_headers(headers)
            .build()
            .map_err(|error| {
                Error::configuration("`otlp_endpoint` cannot be used: set it to a URL").with_source(error)
            })?;
        let resource = Resource::builder_empty().with_service_name(service.to_owned()).build();
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        Ok(Self { provider })
    }

    /// Makes spans. The type is that of `opentelemetry_sdk`, because the layers of `tracing-opentelemetry` take no other.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("rokini")
    }

    /// Sends what is left; returns after 5 s at the latest.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when that did not succeed.
    pub async fn shutdown(self) -> Result<(), Error> {
        let provider = self.provider;
        // The SDK blocks its thread meanwhile.
        let ended = TaskTracker::new()
            .spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(5)))
            .await;
        let failed =
            |why: String| Error::new(ErrorKind::Retry, format!("the last spans were not sent: {why}"));
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
