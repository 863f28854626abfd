//! Calls with an answer at once, over HTTP/1.1: one call at a time on each connection, a bounded number of connections.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connect::{Connected, Dialer, Offer};
use super::http1::Http1;
use super::idle::IdleConnections;
use crate::aws::buffer_pool::BufferPool;

/// Connections to one host. Without a bound one stall makes every waiting call open a connection of its own, and
/// the pool does not recover from that (measured with 10,000 pollers: 15,000 sockets, a tenth of the rate; with
/// 64 connections the full rate).
const CONNECTIONS_PER_HOST: usize = 64;

/// A call that is given up sooner than that says nothing about its connection, nor about others: a stop, a pause.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a connection leads: connections with the same are interchangeable.
type OriginKey = (Scheme, Authority);

pub(super) struct PollingPool {
    dialer: Dialer,
    origins: Mutex<HashMap<OriginKey, Arc<Origin>>>,
    buffers: Arc<BufferPool>,
}

struct Origin {
    places: Arc<Semaphore>,
    idle: Mutex<IdleConnections<Connection>>,
    opened: AtomicU64,
}

struct Connection {
    http: Http1,
    forwards: Option<Option<HeaderValue>>,
    metadata: Arc<dyn Fn() -> ConnectionMetadata + Send + Sync>,
}

impl Origin {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(CONNECTIONS_PER_HOST)),
            idle: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call on a connection. Dropped before the answer is there, it takes the connection with it, and the idle ones that
/// were silent for as long.
struct CallUnderWay<'a> {
    origin: &'a Origin,
    /// When it last brought something.
    heard: Instant,
    ended: bool,
}

impl Drop for CallUnderWay<'_> {
    fn drop(&mut self) {
        // Not only those that were silent since the call began: where one way is cut, answers under way still arrive.
        let lately = Instant::now().checked_sub(PATIENCE).filter(|lately| self.heard <= *lately);
        if !self.ended
            && let Some(lately) = lately
        {
            tracing::debug!(
                "a call was given up without its answer: connections that are as silent are closed"
            );
            self.origin.idle().suspect(lately);
        }
    }
}

impl PollingPool {
    pub(super) fn new(dialer: Dialer) -> Arc<Self> {
        Arc::new(Self { dialer, origins: Mutex::default(), buffers: Arc::default() })
    }

    fn origin(&self, key: OriginKey) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(origins.entry(key).or_insert_with(|| Arc::new(Origin::new())))
    }

    /// Sends a request and takes the whole answer. An answer that breaks off is one whose body fails.
    pub(super) async fn call(
        &self,
        request: Request<SdkBody>,
        connect_timeout: Duration,
    ) -> Result<Response<SdkBody>, ConnectorError> {
        let url = request.uri().clone();
        let (Some(scheme), Some(authority)) = (url.scheme().cloned(), url.authority().cloned()) else {
            return Err(ConnectorError::user(format!("`{url}` is no URL").into()));
        };
        let (mut request, body) = request.into_parts();
        let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
        let origin = self.origin((scheme, authority));
        let _place: OwnedSemaphorePermit = match Arc::clone(&origin.places).acquire_owned().await {
            Ok(place) => place,
            Err(closed) => return Err(ConnectorError::other(closed.into(), None)),
        };
        host(&mut request);
        self.buffers.expire();
        loop {
            let idle = origin.idle().take(Instant::now());
            let (mut connection, number, opened, is_new) = match idle {
                Some(mut idle) => match idle.connection.http.is_usable() {
                    true => (idle.connection, idle.number, idle.opened, false),
                    false => continue,
                },
                None => {
                    let number = origin.opened.fetch_add(1, Ordering::Relaxed);
                    let connection = self.open(&url, &origin, number, connect_timeout).await?;
                    (connection, number, Instant::now(), true)
                }
            };
            address(&mut request, &url, connection.forwards.as_ref());
            if let Some(capture) = request.extensions.get::<CaptureSmithyConnection>() {
                let metadata = Arc::clone(&connection.metadata);
                capture.set_connection_retriever(move || Some(metadata()));
            }
            let mut call = CallUnderWay { origin: &origin, heard: Instant::now(), ended: false };
            let answered = connection.http.call(&request, &body, || call.heard = Instant::now()).await;
            call.ended = true;
            match answered {
                Ok(response) => {
                    if connection.http.is_reusable() {
                        origin.idle().put(connection, number, opened, Instant::now());
                    }
                    return Ok(response.map(|body| match body {
                        Ok(whole) => SdkBody::from(whole),
                        Err(error) => SdkBody::from_body_1_x(BrokenOff(Some(error))),
                    }));
                }
                // Closed by the server while it was idle, before any byte of the request was sent.
                Err(refused) if refused.unsent && !is_new => {}
                Err(refused) => return Err(ConnectorError::io(refused.error.into())),
            }
        }
    }

    async fn open(
        &self,
        url: &Uri,
        origin: &Arc<Origin>,
        number: u64,
        limit: Duration,
    ) -> Result<Connection, ConnectorError> {
        let Connected { io, forwards, remote, .. } = self.dialer.connect(url, Offer::Http1, limit).await?;
        let (proxied, home) = (forwards.is_some(), Arc::downgrade(origin));
        let metadata = move || {
            let home = home.clone();
            let discard = move || {
                if let Some(origin) = home.upgrade() {
                    origin.idle().discard(number);
                }
            };
            let mut built = ConnectionMetadata::builder().proxied(proxied).poison_fn(discard);
            built.set_remote_addr(remote);
            built.build()
        };
        Ok(Connection {
            http: Http1::new(io, Arc::clone(&self.buffers)),
            forwards,
            metadata: Arc::new(metadata),
        })
    }
}

/// The body of an answer that did not arrive whole.
struct BrokenOff(Option<Box<dyn StdError + Send + Sync>>);

impl Body for BrokenOff {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(Err))
    }
}

/// The header that says which server is meant, where the request has none.
pub(super) fn host(request: &mut Parts) {
    if request.headers.contains_key(HOST) {
        return;
    }
    let url = &request.uri;
    let usual = match url.scheme_str() {
        Some("https") => Some(443),
        _ => Some(80),
    };
    let host = url.host().unwrap_or_default();
    let text = match url.port_u16() {
        port if port == usual || port.is_none() => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        request.headers.insert(HOST, value);
    }
}

/// Names the target as a server takes it, or as a proxy that forwards takes it.
pub(super) fn address(request: &mut Parts, url: &Uri, forwards: Option<&Option<HeaderValue>>) {
    match forwards {
        None => {
            let path = url.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            request.uri = Uri::from(path);
            request.headers.remove(PROXY_AUTHORIZATION);
        }
        Some(credentials) => {
            request.uri = url.clone();
            if let Some(credentials) = credentials {
                request.headers.insert(PROXY_AUTHORIZATION, credentials.clone());
            }
        }
    }
}
