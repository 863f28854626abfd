//! Opens connections: name, socket, proxy, TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::proxies::{Proxies, ProxyMatcher};
use crate::types::error::{Error, ErrorKind};

/// After so long without traffic the kernel asks whether the other side is still there, and so often again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 2;
/// How long the other side may leave bytes unacknowledged (TCP_USER_TIMEOUT): the time limit of a read.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// What is received at once below TLS, which by itself asks for 4 KiB at a time: a call of the kernel for each quarter of a TLS
/// record.
const READ_AHEAD: usize = 64 << 10;

/// An open connection, for HTTP to be spoken on.
pub(super) type Io = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What one side of a TLS handshake is to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Http1,
    Http2,
}

pub(super) struct Connected {
    pub(super) io: Io,
    /// Whether the server chose HTTP/2.
    pub(super) is_http2: bool,
    /// Set where a proxy takes the requests themselves, each with its whole URL: the credentials for it, if it asks
    /// for any.
    pub(super) forwards: Option<Option<HeaderValue>>,
    pub(super) remote: Option<SocketAddr>,
}

#[derive(Clone)]
pub(super) struct Dialer {
    tcp: HttpConnector,
    http1: TlsConnector,
    http2: TlsConnector,
    proxies: Option<Arc<ProxyMatcher>>,
}

impl Dialer {
    pub(super) fn new(proxies: &Proxies, trusted: &[Vec<u8>]) -> Result<Self, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let roots = Arc::new(roots(trusted)?);
        let tls = |protocols: &[&[u8]]| {
            let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(no_tls)?
                .with_root_certificates(Arc::clone(&roots))
                .with_no_client_auth();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Ok::<_, Error>(TlsConnector::from(Arc::new(config)))
        };
        let (http1, http2) = (tls(&[b"http/1.1"])?, tls(&[b"h2", b"http/1.1"])?);
        Ok(Self { tcp, http1, http2, proxies: proxies.matcher().map(Arc::new) })
    }

    /// Opens a connection to the server of a URL.
    pub(super) async fn connect(
        &self,
        url: &Uri,
        offer: Offer,
        limit: Duration,
    ) -> Result<Connected, ConnectorError> {
        match tokio::time::timeout(limit, self.open(url, offer)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(ConnectorError::io(error)),
            Err(error) => Err(ConnectorError::timeout(error.into()).never_connected()),
        }
    }

    async fn open(&self, url: &Uri, offer: Offer) -> Result<Connected, BoxError> {
        let reached = self.reach(url).await?;
        if !is_https(url) {
            return Ok(reached);
        }
        let stream = self.secure(url, offer, reached.io).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { io: Box::new(stream), is_http2, ..reached })
    }

    /// The proxy on the way to the server of a URL, if there is one.
    pub(super) fn proxy(&self, url: &Uri) -> Option<Uri> {
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.proxy(url))?;
        Some(proxy.uri().clone())
    }

    /// Opens a connection without TLS to the server of a URL, where need be through a proxy.
    pub(super) async fn reach(&self, url: &Uri) -> Result<Connected, BoxError> {
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.proxy(url));
        let (io, forwards, remote): (Io, _, _) = match &proxy {
            None => {
                let (stream, remote) = self.tcp(url).await?;
                (Box::new(stream), None, remote)
            }
            Some(proxy) if is_https(url) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), ToProxy(self.clone()));
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                (tunnel.call(url.clone()).await?.into_inner(), None, None)
            }
            Some(proxy) => {
                let io = ToProxy(self.clone()).call(proxy.uri().clone()).await?.into_inner();
                (io, Some(proxy.basic_auth().cloned()), None)
            }
        };
        Ok(Connected { io, is_http2: false, forwards, remote })
    }

    /// TLS with the server of a URL on an open connection.
    pub(super) async fn secure(
        &self,
        url: &Uri,
        offer: Offer,
        io: Io,
    ) -> Result<TlsStream<BufReader<Io>>, BoxError> {
        let tls = match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
        };
        let ahead = BufReader::with_capacity(READ_AHEAD, io);
        Ok(tls.connect(server_name(url)?, ahead).await?)
    }

    async fn tcp(&self, url: &Uri) -> Result<(TcpStream, Option<SocketAddr>), BoxError> {
        let mut tcp = self.tcp.clone();
        std::future::poll_fn(|cx| tcp.poll_ready(cx)).await?;
        let stream = tcp.call(url.clone()).await?.into_inner();
        let remote = stream.peer_addr().ok();
        Ok((stream, remote))
    }
}

/// The way to a proxy, which may be encrypted itself.
struct ToProxy(Dialer);

impl Service<Uri> for ToProxy {
    type Response = TokioIo<Io>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move {
            let (stream, _) = dialer.tcp(&proxy).await?;
            let io: Io = match proxy.scheme_str() {
                Some("https") => Box::new(dialer.http1.connect(server_name(&proxy)?, stream).await?),
                _ => Box::new(stream),
            };
            Ok(TokioIo::new(io))
        })
    }
}

pub(super) fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

fn server_name(url: &Uri) -> Result<ServerName<'static>, BoxError> {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok(ServerName::try_from(bare.to_owned())?)
}

/// The certificates in a PEM text.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = || {
        let message = "there is no certificate to trust: expected PEM with `-----BEGIN CERTIFICATE-----`";
        Error::new(ErrorKind::Configuration, message)
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong()),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong().with_source(error)),
    }
}

/// The certificates of the host, as far as they can be read, and those given.
fn roots(trusted: &[Vec<u8>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let host = rustls_native_certs::load_native_certs();
    let (_, unusable) = roots.add_parsable_certificates(host.certs);
    if unusable > 0 || !host.errors.is_empty() {
        tracing::debug!(unusable, errors = ?host.errors, "certificates of this host that cannot be used");
    }
    for pem in trusted {
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(no_tls)?;
        }
    }
    if roots.is_empty() {
        tracing::warn!("this host trusts no certificate: HTTPS calls will fail; install ca-certificates");
    }
    Ok(roots)
}

fn no_tls(error: tokio_rustls::rustls::Error) -> Error {
    let message = "the HTTP client cannot be made: check the certificates that are to be trusted";
    Error::new(ErrorKind::Configuration, message).with_source(error)
}
