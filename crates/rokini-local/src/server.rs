//! Accepts connections and ends them: HTTP/1.1 and HTTP/2 on one port, every task accounted for.

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
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::http::Handler;

/// How long requests under way may take to finish once a server is asked to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Most connections at a time; more wait until one ends. Below the 1,024 descriptors a process usually may have.
const MAX_CONNECTIONS: usize = 960;
/// How long the head of a request may take, and how long a connection may wait for one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a TLS handshake may take.
#[cfg(feature = "tls")]
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let tasks = ConnectionTasks { tracker: TaskTracker::new(), cut: CancellationToken::new() };
        tasks.spawn(accept_connections(listener, handler, security, stop.clone(), tasks.clone()));
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

async fn accept_connections(
    listener: TcpListener,
    handler: impl Handler,
    security: Security,
    stop: CancellationToken,
    tasks: ConnectionTasks,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut failing = false;
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = room.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                failing = false;
                let connection =
                    secure_connection(socket, handler.clone(), security.clone(), stop.clone(), tasks.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only spin, and saying so each time would fill
                // the log.
                if !failing {
                    tracing::warn!(%error, "could not accept a connection; trying on");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn secure_connection(
    socket: TcpStream,
    handler: impl Handler,
    security: Security,
    stop: CancellationToken,
    tasks: ConnectionTasks,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = security.tls {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
            Ok(Ok(socket)) => serve_connection(socket, handler, stop, tasks).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
        return;
    }
    #[cfg(not(feature = "tls"))]
    let Security {} = security;
    serve_connection(socket, handler, stop, tasks).await;
}

async fn serve_connection(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    handler: impl Handler,
    stop: CancellationToken,
    tasks: ConnectionTasks,
) {
    let answer = service_fn(move |request| {
        let handler = handler.clone();
        async move { handler.handle(request).await }
    });
    let mut builder = auto::Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
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
