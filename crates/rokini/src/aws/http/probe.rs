//! One connection to a server, step by step, for whoever asks why it cannot be reached.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use http::{HeaderValue, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;

use super::connect::{Dialer, Io, Offer, is_https};

/// A step on the way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeStep {
    /// The name of the server, or of the proxy on the way to it, is looked up.
    Dns,
    /// A connection is opened, by way of the proxy where there is one.
    Connect,
    /// TLS, with the certificate held against those that are trusted.
    Tls,
    /// A request is answered, whatever the answer is.
    Http,
}

impl fmt::Display for ProbeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Http => "HTTP",
        })
    }
}

/// How a server was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointProbe {
    /// The host and port of the proxy on the way, without its credentials.
    pub proxy: Option<String>,
    /// The addresses that the name has: of the proxy, where there is one.
    pub addresses: Vec<IpAddr>,
    /// How long the name took to look up.
    pub lookup: Duration,
    /// How long the connection took to open.
    pub connect: Duration,
    /// TLS, where the URL asks for it.
    pub tls: Option<TlsProbe>,
    /// The status of the answer to `GET /` without a signature, which services refuse in one way or another.
    pub status: u16,
    /// How long that took.
    pub answer: Duration,
}

/// How TLS was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsProbe {
    /// How long the handshake took.
    pub handshake: Duration,
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// Whether the server takes HTTP/2, by which subscriptions go.
    pub http2: bool,
    /// The server's certificate, in DER.
    pub certificate: Vec<u8>,
}

/// At which step a server was not reached, and why.
#[derive(Debug)]
pub struct ProbeError {
    step: ProbeStep,
    source: BoxError,
}

impl ProbeError {
    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> ProbeStep {
        self.step
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.step)
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Goes to the server of a URL. Each step may take `limit`.
pub(super) async fn probe(dialer: &Dialer, url: &str, limit: Duration) -> Result<EndpointProbe, ProbeError> {
    let url: Uri = url.parse().map_err(|error| at(ProbeStep::Dns)(Box::new(error)))?;
    let proxy = dialer.proxy(&url);
    let (addresses, lookup) = within(ProbeStep::Dns, limit, look_up(proxy.as_ref().unwrap_or(&url))).await?;
    let (reached, connect) = within(ProbeStep::Connect, limit, dialer.reach(&url)).await?;
    let (io, tls): (Io, _) = match is_https(&url) {
        false => (reached.io, None),
        true => {
            let secured = dialer.secure(&url, Offer::Http1, reached.io);
            let (stream, handshake) = within(ProbeStep::Tls, limit, secured).await?;
            // Calls go over HTTP/1.1: whether there is HTTP/2 only another connection says.
            let http2 = async {
                let again = dialer.reach(&url).await?;
                let stream = dialer.secure(&url, Offer::Http2, again.io).await?;
                Ok(stream.get_ref().1.alpn_protocol() == Some(b"h2"))
            };
            let (http2, _) = within(ProbeStep::Tls, limit, http2).await?;
            let tls = described(&stream, handshake, http2);
            (Box::new(stream), Some(tls))
        }
    };
    let (status, answer) = within(ProbeStep::Http, limit, ask(&url, io, reached.forwards.as_ref())).await?;
    let proxy =
        proxy.and_then(|proxy| proxy.authority().map(|at| without_credentials(at.as_str()).to_owned()));
    Ok(EndpointProbe { proxy, addresses, lookup, connect, tls, status, answer })
}

pub(super) fn at(step: ProbeStep) -> impl FnOnce(BoxError) -> ProbeError {
    move |source| ProbeError { step, source }
}

/// What a step came to, and how long it took.
async fn within<T>(
    step: ProbeStep,
    limit: Duration,
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<(T, Duration), ProbeError> {
    let begun = Instant::now();
    match timeout(limit, work).await {
        Ok(done) => Ok((done.map_err(at(step))?, begun.elapsed())),
        Err(_) => Err(at(step)(format!("nothing within {limit:?}").into())),
    }
}

async fn look_up(url: &Uri) -> Result<Vec<IpAddr>, BoxError> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let found = tokio::net::lookup_host((host, 0)).await?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn described(stream: &TlsStream<impl Sized>, handshake: Duration, http2: bool) -> TlsProbe {
    let connection = stream.get_ref().1;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    };
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.map(|certificate| certificate.to_vec()).unwrap_or_default();
    TlsProbe { handshake, version, http2, certificate }
}

/// The status of the answer to a request for `/`. `forwards`: see [`super::connect::Connected`].
async fn ask(url: &Uri, mut io: Io, forwards: Option<&Option<HeaderValue>>) -> Result<u16, BoxError> {
    let authority = without_credentials(url.authority().map_or("", |authority| authority.as_str()));
    let target = if forwards.is_some() { format!("http://{authority}/") } else { "/".to_owned() };
    let request = format!("GET {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    let mut request = request.into_bytes();
    if let Some(Some(credentials)) = forwards {
        request.extend([b"proxy-authorization: ", credentials.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < 1 << 10 {
        if io.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&line);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.get(..3)?.parse().ok());
    status.ok_or_else(|| "what answers does not speak HTTP".into())
}

fn without_credentials(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}
