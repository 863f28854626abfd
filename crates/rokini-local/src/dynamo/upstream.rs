//! Connections to the embedded database's own server, used again while they last.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version, request, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::http::ConnectionCut;

/// Idle connections kept.
const MAX_IDLE: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Upstream {
    server: SocketAddr,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
    /// The connections end when what is here ends: nobody waits for them.
    connections: TaskTracker,
}

impl Upstream {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, idle: Arc::default(), connections: TaskTracker::new() }
    }

    /// Carries a request out. A server that does not answer is a cut connection.
    pub(super) async fn send(
        &self,
        mut head: request::Parts,
        body: Bytes,
    ) -> Result<(response::Parts, Bytes), ConnectionCut> {
        head.version = Version::HTTP_11;
        let mut sender = self.connection().await?;
        let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await;
        let (head, body) = answer.map_err(|_| ConnectionCut)?.into_parts();
        let body = body.collect().await.map_err(|_| ConnectionCut)?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
        Ok((head, body))
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, ConnectionCut> {
        while let Some(mut sender) = self.take_idle() {
            // A connection that was closed meanwhile is not ready, and is forgotten.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let socket = TcpStream::connect(self.server).await.map_err(|_| ConnectionCut)?;
        // Best effort: without it answers are only later.
        let _ = socket.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|_| ConnectionCut)?;
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the embedded DynamoDB ended with an error");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().pop()
    }
}
