//! Calls whose answers stay open, over HTTP/2: many on one connection, as many connections as the server's limit asks for.
//!
//! By the `h2` crate itself: hyper does not tell the server's limit, and a call beyond it would wait without an end.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong, RecvStream};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connect::{Connected, Dialer, Io, Offer};
use super::polling::{address, host};

/// Streams on one connection at most, whatever the server allows: one connection is one task, and so one core.
const STREAMS: usize = 100;
/// How much of a stream may wait here for its reader, beside the budget: at 30 ms of round trip 2.2 MB/s, more than a shard
/// gives.
const STREAM_WINDOW: u32 = 64 * 1024;
/// A stream that brought nothing for so long when it was given up makes its connection doubtful: it carries no new ones. The
/// service sends something on each about every 5 s.
const DOUBTFUL: Duration = Duration::from_secs(12);
/// So much that readers that do not read hold up no other.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// How often a connection is asked whether it is alive, and how long it may take to say so.
const PINGS: Pings = Pings { interval: Duration::from_secs(10), limit: Duration::from_secs(5) };
/// For how long a connection gets new streams: the address behind a name may change.
const AGE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
pub(super) struct Pings {
    pub(super) interval: Duration,
    pub(super) limit: Duration,
}

pub(super) struct StreamingPool {
    dialer: Dialer,
    pings: Pings,
    origins: Mutex<HashMap<(Scheme, Authority), Arc<Origin>>>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Origin {
    connections: Mutex<Vec<Arc<Shared>>>,
    /// Held while one is opened, so that many calls at once do not each open one.
    opening: tokio::sync::Mutex<()>,
}

/// A connection that carries several streams.
struct Shared {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    opened: Instant,
    closed: Arc<AtomicBool>,
}

/// A place among the streams of a connection, until the answer has ended.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn is_usable(&self, now: Instant) -> bool {
        !self.closed.load(Ordering::Acquire) && now.duration_since(self.opened) < AGE
    }

    /// One of the places that the server allows, if one is free.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let limit = self.sender.current_max_send_streams().min(STREAMS);
        let taken = self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, |streams| {
            (streams < limit).then_some(streams + 1)
        });
        taken.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Origin {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on the connection opened first that has one: the later ones run empty and can be closed.
    fn place(&self) -> Option<Place> {
        let now = Instant::now();
        let mut connections = self.connections();
        // What is left of a connection is kept by its streams.
        connections.retain(|connection| connection.is_usable(now));
        connections.iter().find_map(Shared::place)
    }
}

impl StreamingPool {
    pub(super) fn new(dialer: Dialer) -> Arc<Self> {
        Self::with_pings(dialer, PINGS)
    }

    pub(super) fn with_pings(dialer: Dialer, pings: Pings) -> Arc<Self> {
        Arc::new(Self { dialer, pings, origins: Mutex::default(), tasks: TaskTracker::new() })
    }

    /// Sends a request; the body of its answer comes as it arrives.
    pub(super) async fn call(
        &self,
        request: Request<SdkBody>,
        connect_timeout: Duration,
    ) -> Result<Response<SdkBody>, ConnectorError> {
        let url = request.uri().clone();
        let (Some(scheme), Some(authority)) = (url.scheme().cloned(), url.authority().cloned()) else {
            return Err(ConnectorError::user(format!("`{url}` is no URL").into()));
        };
        let origin = {
            let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(origins.entry((scheme, authority)).or_default())
        };
        let place = match origin.place() {
            Some(place) => place,
            None => {
                let _opening = origin.opening.lock().await;
                match origin.place() {
                    Some(place) => place,
                    None => match self.open(&url, &origin, connect_timeout).await? {
                        Opened::Shared(place) => place,
                        Opened::Single(connected) => {
                            return self.call_alone(request, &url, *connected).await;
                        }
                    },
                }
            }
        };
        send(place, request).await
    }

    async fn open(&self, url: &Uri, origin: &Origin, limit: Duration) -> Result<Opened, ConnectorError> {
        let connected = self.dialer.connect(url, Offer::Http2, limit).await?;
        if !connected.is_http2 {
            return Ok(Opened::Single(Box::new(connected)));
        }
        let begin = async {
            let mut handshake = Builder::new();
            handshake.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
            handshake.enable_push(false);
            let (sender, mut driver): (SendRequest<Bytes>, h2::client::Connection<Io, Bytes>) =
                handshake.handshake(connected.io).await?;
            let pings = driver.ping_pong();
            let closed = Arc::new(AtomicBool::new(false));
            let ended = Arc::clone(&closed);
            let driver = async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "a connection for subscriptions ended");
                }
                ended.store(true, Ordering::Release);
            };
            let driver = AbortOnDropHandle::new(self.tasks.spawn(driver));
            let Some(mut pings) = pings else { return Err(h2::Error::from(h2::Reason::INTERNAL_ERROR)) };
            // The server's settings, with its limit of streams, come before its answer to this.
            pings.ping(Ping::opaque()).await?;
            let shared =
                Arc::new(Shared { sender, streams: AtomicUsize::new(0), opened: Instant::now(), closed });
            self.tasks.spawn(watch(self.pings, pings, driver, Arc::clone(&shared.closed)));
            Ok(shared)
        };
        let shared = match timeout(limit, begin).await {
            Ok(Ok(shared)) => shared,
            Ok(Err(error)) => return Err(ConnectorError::io(error.into())),
            Err(error) => return Err(ConnectorError::timeout(error.into()).never_connected()),
        };
        match shared.place() {
            Some(place) => {
                origin.connections().push(shared);
                Ok(Opened::Shared(place))
            }
            None => Err(ConnectorError::io("the server allows no streams on a connection".into())),
        }
    }

    /// Where the server speaks HTTP/1.1 only: a connection for this one call.
    async fn call_alone(
        &self,
        request: Request<SdkBody>,
        url: &Uri,
        connected: Connected,
    ) -> Result<Response<SdkBody>, ConnectorError> {
        let (mut parts, body) = request.into_parts();
        host(&mut parts);
        address(&mut parts, url, connected.forwards.as_ref());
        let request = Request::from_parts(parts, body);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(STREAM_WINDOW as usize);
        let (mut sender, driver) = builder.handshake(TokioIo::new(connected.io)).await.map_err(failure)?;
        let driver = self.tasks.spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection for one subscription ended");
            }
        });
        let driver = AbortOnDropHandle::new(driver);
        let response = sender.send_request(request).await.map_err(failure)?;
        Ok(response.map(|body| SdkBody::from_body_1_x(SingleBody { body, _driver: driver })))
    }
}

enum Opened {
    Shared(Place),
    Single(Box<Connected>),
}

/// An error of HTTP as the SDK tells them apart.
fn failure(error: hyper::Error) -> ConnectorError {
    match error.is_user() {
        true => ConnectorError::user(error.into()),
        false => ConnectorError::io(error.into()),
    }
}

/// Asks a connection again and again whether it is alive, and ends it when it does not say so in time.
async fn watch(limits: Pings, mut pings: PingPong, driver: AbortOnDropHandle<()>, closed: Arc<AtomicBool>) {
    loop {
        sleep(limits.interval).await;
        match timeout(limits.limit, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break,
            Err(_) => {
                tracing::debug!("a connection for subscriptions does not answer any more: it is closed");
                break;
            }
        }
    }
    closed.store(true, Ordering::Release);
    drop(driver);
}

async fn send(place: Place, request: Request<SdkBody>) -> Result<Response<SdkBody>, ConnectorError> {
    let io = |error: h2::Error| ConnectorError::io(error.into());
    let (mut parts, body) = request.into_parts();
    parts.version = Version::HTTP_2;
    let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
    let mut waits = Waits { place: Some(place), answered: false };
    let sender = waits.place.as_ref().map(|place| place.0.sender.clone());
    let Some(sender) = sender else { return Err(ConnectorError::io("the connection is gone".into())) };
    let mut sender = sender.ready().await.map_err(io)?;
    let request = Request::from_parts(parts, ());
    let (response, mut upload) = sender.send_request(request, body.is_empty()).map_err(io)?;
    if !body.is_empty() {
        upload.send_data(body, true).map_err(io)?;
    }
    let response = response.await.map_err(io)?;
    waits.answered = true;
    let place = waits.place.take();
    Ok(response.map(|stream| SdkBody::from_body_1_x(StreamBody { stream, place, waits: None })))
}

/// A call without an answer yet. One that is given up so leaves its connection to no other.
struct Waits {
    place: Option<Place>,
    answered: bool,
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(place) = self.place.as_ref().filter(|_| !self.answered) {
            place.0.closed.store(true, Ordering::Release);
        }
    }
}

/// An answer on a connection that it shares. It gives the server room as it is read.
struct StreamBody {
    stream: RecvStream,
    place: Option<Place>,
    /// Since when somebody waits.
    waits: Option<Instant>,
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let silent = self.waits.is_some_and(|since| since.elapsed() >= DOUBTFUL);
        if let Some(place) = self.place.as_ref().filter(|_| silent) {
            place.0.closed.store(true, Ordering::Release);
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.stream.poll_data(cx);
        match polled {
            Poll::Pending => _ = self.waits.get_or_insert_with(Instant::now),
            Poll::Ready(_) => self.waits = None,
        }
        match ready!(polled) {
            Some(Ok(data)) => {
                let released = self.stream.flow_control().release_capacity(data.len());
                Poll::Ready(Some(released.map(|()| Frame::data(data)).map_err(Into::into)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// An answer on a connection of its own, which ends with it.
struct SingleBody {
    body: Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl Body for SingleBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
