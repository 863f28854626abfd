//! Accepts connections and ends them: HTTP/1.1 and HTTP/2 on one port, every task accounted for.

mod first_bytes;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::http::Handler;
use crate::server::first_bytes::FirstBytes;

/// How long requests under way may take to finish once a server is asked to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// What connections may take: a process that opens many and says nothing keeps others out only for so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Most connections at a time; more wait until one ends.
    connections: usize,
    /// How long the bytes may take that tell HTTP/2 from HTTP/1.1, and a TLS handshake before them.
    first_bytes: Duration,
    /// How long the head of a request may take over HTTP/1.1, and how long a connection may wait for one.
    head: Duration,
    /// After how long of silence an HTTP/2 connection is asked for a sign of life, and how long that may take.
    ping: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            // Below the 1,024 descriptors a process usually may have.
            connections: 960,
            first_bytes: Duration::from_secs(10),
            head: Duration::from_secs(120),
            ping: Duration::from_secs(60),
        }
    }
}

/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is said that nothing can be accepted.
const ACCEPT_WARNING_EVERY: Duration = Duration::from_secs(60);

/// Encrypts connections, or not.
#[derive(Clone, Default)]
pub(crate) struct Security {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
}

/// A listening server. Dropping it cuts every connection.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: ConnectionTasks,
    _cut: DropGuard,
}

/// Runs hyper's tasks where they can be waited for and cut.
#[derive(Debug, Clone)]
struct ConnectionTasks {
    tracker: TaskTracker,
    cut: CancellationToken,
}

impl ConnectionTasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionTasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}

impl Server {
    /// Serves until `stop` or [`Server::shutdown`].
    pub(crate) fn start(
        listener: TcpListener,
        handler: impl Handler,
        security: Security,
        limits: ConnectionLimits,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let tasks = ConnectionTasks { tracker: TaskTracker::new(), cut: CancellationToken::new() };
        let service =
            ConnectionService { handler, security, limits, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(accept_connections(listener, service));
        let cut = tasks.cut.clone().drop_guard();
        Ok(Self { address, stop, tasks, _cut: cut })
    }

    /// Runs a task that ends with the stop, or is cut.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish for a while, cuts what is left, and waits for every task.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.tracker.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.tracker.wait()).await.is_err() {
            self.tasks.cut.cancel();
            self.tasks.tracker.wait().await;
        }
    }
}

/// What every connection is served with.
#[derive(Clone)]
struct ConnectionService<H> {
    handler: H,
    security: Security,
    limits: ConnectionLimits,
    stop: CancellationToken,
    tasks: ConnectionTasks,
}

async fn accept_connections(listener: TcpListener, service: ConnectionService<impl Handler>) {
    let room = Arc::new(Semaphore::new(service.limits.connections));
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = room.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = service.stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let connection = service.clone().secure(socket);
                service.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only spin, and saying so each time would fill
                // the log.
                if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_EVERY) {
                    tracing::warn!(%error, "could not accept a connection; trying on");
                    warned = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl<H: Handler> ConnectionService<H> {
    async fn secure(self, socket: TcpStream) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = self.security.tls.clone() {
            match tokio::time::timeout(self.limits.first_bytes, tls.accept(socket)).await {
                Ok(Ok(socket)) => self.serve(socket).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
            return;
        }
        #[cfg(not(feature = "tls"))]
        let Security {} = &self.security;
        self.serve(socket).await;
    }

    async fn serve(self, socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Self { handler, limits, stop, tasks, .. } = self;
        let answer = service_fn(move |request| {
            let handler = handler.clone();
            async move { handler.handle(request).await }
        });
        let mut builder = auto::Builder::new(tasks);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
        builder
            .http2()
            // As the service has it: who wants more streams opens more connections.
            .max_concurrent_streams(100)
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.ping)
            .keep_alive_timeout(limits.ping);
        let socket = FirstBytes::new(socket, limits.first_bytes);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), answer));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }
}
