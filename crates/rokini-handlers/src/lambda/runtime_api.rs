//! The Runtime API of Lambda (version 2018-06-01) for one process, on a port of its own on loopback.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::event::Events;

/// What Lambda takes of a function's result at most.
const LARGEST_RESULT: usize = 6 * 1024 * 1024;
const VERSION: &str = "/2018-06-01/runtime/";

/// An event for a function, with what its context says.
#[derive(Debug, Clone)]
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) deadline_millis: u64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) event: Bytes,
    /// Set once the process has asked for it.
    pub(super) taken: Arc<AtomicBool>,
}

/// What a function made of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FunctionResult {
    Response(Bytes),
    Error(String),
    /// Its process ended, after it ran for so long.
    Ended(String, Duration),
}

/// The server for one process.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    invocations: mpsc::Sender<(Invocation, oneshot::Sender<FunctionResult>)>,
    state: watch::Receiver<InitState>,
    _server: AbortOnDropHandle<()>,
}

/// How far the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InitState {
    Starting,
    /// It asked for an event.
    Ready,
    Failed(String),
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<InitState>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<(Invocation, oneshot::Sender<FunctionResult>)>>,
    /// The event that the function works on.
    current: Mutex<Option<(String, oneshot::Sender<FunctionResult>)>>,
}

impl RuntimeApi {
    pub(super) async fn start(tracker: &TaskTracker, events: &Events) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::channel(1);
        let (state, watching) = watch::channel(InitState::Starting);
        let shared =
            Arc::new(Shared { state, waiting: tokio::sync::Mutex::new(waiting), current: Mutex::default() });
        let served = Arc::clone(&shared);
        let events = events.clone();
        let server = tracker.spawn(async move {
            // A panic of it closes its connections: the process ends, or is ended, and another one takes its place.
            events.guard("runtime api", serve(&listener, &served, &events)).await;
        });
        let server = AbortOnDropHandle::new(server);
        Ok(Self { address, shared, invocations, state: watching, _server: server })
    }

    /// Waits until the process asks for its first event, or says that it cannot start. Cancel safe.
    pub(super) async fn initialized(&mut self) -> InitState {
        let state = self.state.wait_for(|state| *state != InitState::Starting).await;
        state.map_or_else(|_| InitState::Failed("the server has ended".to_owned()), |state| state.clone())
    }

    /// Gives the function an event, and waits for what it makes of it.
    pub(super) async fn invoke(&self, invocation: Invocation) -> FunctionResult {
        let gone = || FunctionResult::Error("the runtime client went away".to_owned());
        let (answer, answered) = oneshot::channel();
        if self.invocations.send((invocation, answer)).await.is_err() {
            return gone();
        }
        answered.await.unwrap_or_else(|_| gone())
    }

    /// Whether it works on nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.current().is_none()
    }
}

impl Shared {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<(String, oneshot::Sender<FunctionResult>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix(VERSION) else {
            return refusal(StatusCode::NOT_FOUND, "no such path");
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["init", "error"]) => {
                let error = error_text(request).await;
                self.state.send_replace(InitState::Failed(error));
                accepted()
            }
            (&Method::POST, ["invocation", id, what @ ("response" | "error")]) => {
                self.result(id, *what == "error", request).await
            }
            _ => refusal(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        // Who asks for the next event has nothing more to say of the one before.
        self.current().take();
        self.state.send_replace(InitState::Ready);
        let Some((invocation, answer)) = self.waiting.lock().await.recv().await else {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "there are no more events");
        };
        invocation.taken.store(true, Ordering::Release);
        *self.current() = Some((invocation.id.clone(), answer));
        let response = Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", &invocation.id)
            .header("Lambda-Runtime-Deadline-Ms", invocation.deadline_millis.to_string())
            .header("Lambda-Runtime-Invoked-Function-Arn", &invocation.function_arn)
            .header("Lambda-Runtime-Trace-Id", &invocation.trace_id)
            .body(Full::new(invocation.event));
        response.unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "the event has no headers"))
    }

    async fn result(&self, id: &str, is_error: bool, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.current().as_ref().is_none_or(|(current, _)| current != id) {
            return refusal(StatusCode::FORBIDDEN, "the function does not work on this event");
        }
        let result = if is_error {
            FunctionResult::Error(error_text(request).await)
        } else {
            match Limited::new(request.into_body(), LARGEST_RESULT).collect().await {
                Ok(body) => {
                    // A streamed result that broke off says so at its end.
                    let broken = body.trailers().and_then(|trailers| {
                        let kind = trailers.get("lambda-runtime-function-error-type")?;
                        Some(String::from_utf8_lossy(kind.as_bytes()).into_owned())
                    });
                    broken.map_or_else(|| FunctionResult::Response(body.to_bytes()), FunctionResult::Error)
                }
                Err(_) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the result is larger than 6 MB"),
            }
        };
        let current = self.current().take_if(|(current, _)| current == id);
        if let Some((_, answer)) = current {
            let _ = answer.send(result);
        }
        accepted()
    }
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn refusal(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errorMessage": message, "errorType": "InvalidRequest" });
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response
}

/// Type and message of an error that a runtime client reports.
async fn error_text(request: Request<Incoming>) -> String {
    let kind = request.headers().get("lambda-runtime-function-error-type");
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let body = Limited::new(request.into_body(), LARGEST_RESULT).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let kind = text("errorType").or(kind).unwrap_or_else(|| "Error".to_owned());
    match text("errorMessage") {
        Some(message) => format!("{kind}: {message}"),
        None => kind,
    }
}

async fn serve(listener: &TcpListener, shared: &Arc<Shared>, events: &Events) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Out of files, for example: the process is ended when it is not ready in time.
        let Ok((stream, _)) = listener.accept().await else { return };
        let (shared, events) = (Arc::clone(shared), events.clone());
        connections.spawn(async move { events.guard("runtime api", connection(stream, shared)).await });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A client that goes away is noticed by the end of its process.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
