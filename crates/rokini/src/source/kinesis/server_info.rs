//! What every call learns about the server: the stream's time, and the endpoint that calls go to.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use tokio::time::Instant;

/// What answers said about the server.
#[derive(Debug, Default)]
pub(super) struct ServerInfo {
    /// What the last `Date` header said, in milliseconds since the Unix epoch, and when it came.
    date: Mutex<Option<(u64, Instant)>>,
    endpoint: OnceLock<String>,
}

impl ServerInfo {
    /// The server's time in milliseconds since the Unix epoch, never later than it is there: the header was
    /// written before it came, and is cut to the second. `None` before the first answer with one.
    pub(super) fn now(&self) -> Option<u64> {
        let (millis, at) = (*self.date.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(millis.saturating_add(since))
    }

    /// Scheme and host of the endpoint, once a call went out.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.endpoint.get().map(String::as_str)
    }
}

/// Reads the `Date` header of every answer, and notes the endpoint.
#[derive(Debug)]
pub(super) struct ServerInfoInterceptor(pub(super) Arc<ServerInfo>);

#[dyn_dispatch_hint]
impl Intercept for ServerInfoInterceptor {
    fn name(&self) -> &'static str {
        "RokiniServerInfo"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.endpoint.get_or_init(|| origin(context.request().uri()).to_owned());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(millis) = context.response().headers().get("date").and_then(parse_date) {
            let now = Instant::now();
            *self.0.date.lock().unwrap_or_else(PoisonError::into_inner) = Some((millis, now));
        }
        Ok(())
    }
}

fn parse_date(text: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// `https://host:port` out of a URL.
fn origin(url: &str) -> &str {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    let end = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_http_dates() {
        assert_eq!(parse_date("Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000_000));
        for text in ["", "yesterday", "Tue, 14 Nov 1950 22:13:20 GMT"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn the_origin_has_no_path() {
        for (url, expected) in [
            ("http://127.0.0.1:4567/", "http://127.0.0.1:4567"),
            ("https://kinesis.eu-west-1.amazonaws.com", "https://kinesis.eu-west-1.amazonaws.com"),
            ("https://a/b/c?d", "https://a"),
            ("", ""),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
