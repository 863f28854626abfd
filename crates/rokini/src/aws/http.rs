//! The HTTP client under every call: which connections there are, over which protocol, and when one is given up.

mod connect;
mod http1;
mod idle;
mod polling;
mod probe;
mod proxies;
mod streaming;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use connect::Dialer;
use polling::PollingPool;
pub use probe::{EndpointProbe, ProbeError, ProbeStep, TlsProbe};
pub use proxies::Proxies;
use streaming::StreamingPool;

use crate::types::error::{Error, ErrorKind};

/// The only call whose answer stays open, for five minutes.
const SUBSCRIBE: &str = "Kinesis_20131202.SubscribeToShard";

/// How calls reach their servers: proxies, and certificates to trust beside those of the host.
///
/// ```
/// use rokini::{HttpOptions, Proxies};
///
/// let proxies = Proxies::none().https("http://proxy.example.com:3128")?.except("169.254.170.2");
/// let client = HttpOptions::default().proxies(proxies).client()?;
/// # drop(client);
/// # Ok::<(), rokini::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpOptions {
    proxies: Proxies,
    trusted: Vec<Vec<u8>>,
}

impl HttpOptions {
    /// What the environment says: [`Proxies::from_env`], and in `AWS_CA_BUNDLE` the path of a PEM file with certificates
    /// to trust beside those of the host.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a proxy that cannot be used, and for a file that cannot be read or has no
    /// certificate in it.
    pub fn from_env() -> Result<Self, Error> {
        let options = Self::default().proxies(Proxies::from_env()?);
        #[expect(clippy::disallowed_methods, reason = "this is where the environment is read, when asked")]
        let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else {
            return Ok(options);
        };
        let path = PathBuf::from(path);
        let wrong = || {
            let message = format!(
                "`AWS_CA_BUNDLE` names `{}`, which cannot be used: set it to a PEM file with certificates",
                path.display()
            );
            Error::new(ErrorKind::Configuration, message)
        };
        let pem = std::fs::read(&path).map_err(|error| wrong().with_source(error))?;
        options.trust(pem).map_err(|error| wrong().with_source(error))
    }

    /// Calls go through these proxies. Default: none.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Trusts these certificates beside those of the host: of a proxy that looks into TLS, or of an endpoint of one's own.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when there is no certificate in it.
    pub fn trust(mut self, pem: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let pem = pem.into();
        connect::certificates(&pem)?;
        self.trusted.push(pem);
        Ok(self)
    }

    /// An HTTP client for the AWS SDK.
    ///
    /// - Every call but SubscribeToShard goes over HTTP/1.1, on at most 64 connections to one host. A call that is given
    ///   up takes its connection with it, and with it all idle ones that were silent for as long.
    /// - SubscribeToShard goes over HTTP/2 where the server offers it, on as many connections as its limit of streams asks
    ///   for. A connection that does not answer a PING within 5 s is closed; one is sent every 10 s.
    /// - Connections have TCP keep-alive and a TCP user timeout of 10 s, and get no new calls after 5 minutes, so that
    ///   names are looked up again.
    /// - TLS is rustls with ring.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when TLS cannot be set up.
    pub fn client(&self) -> Result<SharedHttpClient, Error> {
        Ok(SharedHttpClient::new(Client::new(self)?))
    }

    /// Reaches the server of a URL as calls do, by way of proxies and with the certificates that are trusted, and says how that
    /// went, step by step: for people who ask why a service does not answer. Each step may take `limit`. Nothing is called.
    ///
    /// # Errors
    /// The step that failed, with its cause; [`ProbeStep::Tls`] also where TLS cannot be set up at all.
    pub async fn probe(&self, url: &str, limit: Duration) -> Result<EndpointProbe, ProbeError> {
        let dialer = Dialer::new(&self.proxies, &self.trusted);
        let dialer = dialer.map_err(|error| probe::at(ProbeStep::Tls)(Box::new(error)))?;
        probe::probe(&dialer, url, limit).await
    }

    /// The connector alone, for requests that are not the AWS SDK's.
    #[cfg(any(test, feature = "otlp"))]
    pub(crate) fn connector(&self, connect_timeout: Duration) -> Result<SharedHttpConnector, Error> {
        Ok(Client::new(self)?.connector(Some(connect_timeout), None))
    }
}

/// The HTTP client with nothing but the defaults: no proxies, the certificates of the host. See
/// [`HttpOptions::client`].
///
/// # Errors
/// [`ErrorKind::Configuration`] when TLS cannot be set up.
pub fn http_client() -> Result<SharedHttpClient, Error> {
    HttpOptions::default().client()
}

struct Client {
    polling: Arc<PollingPool>,
    streaming: Arc<StreamingPool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    fn new(options: &HttpOptions) -> Result<Self, Error> {
        let dialer = Dialer::new(&options.proxies, &options.trusted)?;
        Ok(Self { polling: PollingPool::new(dialer.clone()), streaming: StreamingPool::new(dialer) })
    }

    fn connector(
        &self,
        connect_timeout: Option<Duration>,
        read_timeout: Option<Duration>,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            polling: Arc::clone(&self.polling),
            streaming: Arc::clone(&self.streaming),
            connect_timeout: connect_timeout.unwrap_or(CONNECT),
            read_timeout,
        })
    }
}

/// How long a connection may take to open where the caller does not say.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.connector(settings.connect_timeout(), settings.read_timeout())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some(Cow::Borrowed("1.x"))))
    }
}

struct Connector {
    polling: Arc<PollingPool>,
    streaming: Arc<StreamingPool>,
    connect_timeout: Duration,
    /// Until the headers of the answer.
    read_timeout: Option<Duration>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (polling, streaming) = (Arc::clone(&self.polling), Arc::clone(&self.streaming));
        let (connect_timeout, read_timeout) = (self.connect_timeout, self.read_timeout);
        HttpConnectorFuture::new(async move {
            let subscribes = request.headers().get("x-amz-target") == Some(SUBSCRIBE);
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let call = async {
                match subscribes {
                    true => streaming.call(request, connect_timeout).await,
                    false => polling.call(request, connect_timeout).await,
                }
            };
            let answered = match read_timeout {
                Some(limit) => match tokio::time::timeout(limit, call).await {
                    Ok(answered) => answered,
                    Err(error) => Err(ConnectorError::timeout(error.into())),
                },
                None => call.await,
            };
            answer(answered?)
        })
    }
}

#[cfg(test)]
mod tests;

fn answer(response: http::Response<SdkBody>) -> Result<HttpResponse, ConnectorError> {
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
