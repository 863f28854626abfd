//! The small HTTP listener for probes, scrapers and people: `/healthz`, `/readyz`, `/scale`, `/metrics`, and the page.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::health::Health;
use super::monitor::Monitor;
use super::page::{self, Page};
use super::response::{Body, response};
use super::scale::ScalingRecommendation;
use crate::config::Settings;
use crate::types::error::Error;

/// Connections at once. A prober and a scraper need one each. One more than that ends the oldest that has no request, so
/// that sockets which somebody only holds do not keep a probe from its answer.
const CONNECTIONS: usize = 32;
/// How long a connection may take for one request and its answer, and stay open between two.
const CONNECTION: Duration = Duration::from_secs(60);
const HEADERS: Duration = Duration::from_secs(10);
/// After an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the page is served where nothing else is said: only to this machine. The port is the one that exporters of
/// Prometheus commonly choose for OpenTelemetry.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// What is served.
#[derive(Debug)]
pub(crate) struct Site {
    /// Of the worker that serves it, if one does.
    pub(crate) monitor: Option<Arc<Monitor>>,
    pub(crate) page: Option<Arc<Page>>,
    /// Where.
    pub(crate) address: SocketAddr,
}

/// Where to listen, if anywhere.
pub(crate) fn address(settings: &Settings) -> Option<SocketAddr> {
    if settings.monitoring_page {
        settings.monitoring_listen.or(Some(PAGE))
    } else {
        settings.monitoring_listen
    }
}

/// Takes the address. Port 0 is any that is free.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error: std::io::Error| {
        Error::configuration(format!(
            "the address {address} (`monitoring_listen`) cannot be listened at: choose another address or port"
        ))
        .with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: &TcpListener, site: &Arc<Site>) -> Infallible {
    let (mut tasks, mut open) = (JoinSet::new(), Vec::new());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while tasks.try_join_next().is_some() {}
                make_room(&mut open);
                let (site, busy) = (Arc::clone(site), Arc::<AtomicBool>::default());
                let served = connection(stream, site, Arc::clone(&busy));
                let task = tasks.spawn(async move {
                    let _ = timeout(CONNECTION, served).await;
                });
                open.push(Connection { task, busy });
            }
            Err(error) => {
                tracing::debug!(%error, "the monitoring listener could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// An open connection.
struct Connection {
    task: AbortHandle,
    /// Whether a request is being answered.
    busy: Arc<AtomicBool>,
}

/// Forgets those that ended, and ends one where there is no place for another.
fn make_room(open: &mut Vec<Connection>) {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() >= CONNECTIONS {
        let idle = open.iter().position(|connection| !connection.busy.load(Ordering::Relaxed));
        open.remove(idle.unwrap_or(0)).task.abort();
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>, busy: Arc<AtomicBool>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (site, busy) = (Arc::clone(&site), Arc::clone(&busy));
        async move {
            busy.store(true, Ordering::Relaxed);
            let answer = answer(&request, &site).await;
            busy.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the monitoring listener ended early");
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

async fn answer(request: &Request<Incoming>, site: &Site) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    if let Some(page) = &site.page {
        let local = site.address.ip().is_loopback();
        if let Some(answer) = page::answer(page, method, path, request.headers(), local).await {
            return answer;
        }
    }
    let Some(monitor) = &site.monitor else { return response(StatusCode::NOT_FOUND, TEXT, hint(site)) };
    let (status, content, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => (StatusCode::NOT_FOUND, TEXT, hint(site)),
        "/healthz" => {
            let health = monitor.health();
            (probe(health.live), JSON, health_json(&health))
        }
        "/readyz" => {
            let health = monitor.health();
            (probe(health.ready), JSON, health_json(&health))
        }
        "/scale" => (StatusCode::OK, JSON, scale_json(&monitor.scale())),
        #[cfg(feature = "prometheus")]
        "/metrics" => match monitor.prometheus() {
            Some(text) => (StatusCode::OK, super::prometheus::CONTENT_TYPE, text),
            None => (StatusCode::NOT_FOUND, TEXT, "set `monitoring = prometheus` for metrics\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, hint(site)),
    };
    let body = if method == Method::HEAD { String::new() } else { body };
    response(status, content, body)
}

fn hint(site: &Site) -> String {
    if site.monitor.is_none() {
        return "GET / or /group.json\n".to_owned();
    }
    let page = if site.page.is_some() { "/, /group.json, " } else { "" };
    format!("GET {page}/healthz, /readyz, /scale or /metrics\n")
}

fn probe(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn health_json(health: &Health) -> String {
    let mut json = format!("{{\"live\":{},\"ready\":{},\"reasons\":[", health.live, health.ready);
    for (index, reason) in health.reasons.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str("{\"code\":");
        text(&mut json, reason.code);
        json.push_str(",\"message\":");
        text(&mut json, &reason.message);
        // Writing to a string cannot fail.
        let _ = write!(json, ",\"restart\":{}", reason.restart);
        if let Some((stream, shard)) = &reason.shard {
            json.push_str(",\"stream\":");
            text(&mut json, stream.as_str());
            json.push_str(",\"shard\":");
            text(&mut json, shard.as_str());
        }
        if let Some(cause) = reason.cause {
            json.push_str(",\"cause\":");
            text(&mut json, cause.name());
        }
        json.push('}');
    }
    json.push_str("]}\n");
    json
}

fn scale_json(scale: &ScalingRecommendation) -> String {
    format!(
        "{{\"desired_workers\":{},\"workers\":{},\"shards\":{},\"lag_seconds\":{:.3}}}\n",
        scale.desired,
        scale.workers,
        scale.shards,
        scale.lag.as_secs_f64()
    )
}

/// A JSON string.
fn text(json: &mut String, raw: &str) {
    json.push('"');
    for c in raw.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::health::HealthReason;
    use rokini_lease::{ShardId, StreamId};

    #[tokio::test]
    async fn healthz_answers_although_idle_sockets_are_held() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (worker, group) = (Arc::default(), rokini_lease::GroupId::new("g").unwrap());
        let metrics = crate::telemetry::consumer_metrics::ConsumerMetrics::new(
            &group,
            None,
            crate::telemetry::recorders::Recorders::default(),
            true,
        );
        let monitor = Arc::new(Monitor::new(worker, Arc::new(metrics), &Settings::default()));
        let (listener, address) = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let site = Arc::new(Site { monitor: Some(monitor), page: None, address });
        let ask = async || {
            let mut probe = TcpStream::connect(address).await.unwrap();
            probe.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = [0; 12];
            timeout(Duration::from_secs(2), probe.read_exact(&mut answer)).await.expect("an answer").unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            probe
        };
        let probes = async {
            let mut held = Vec::new();
            for held_by_somebody in 0..4 * CONNECTIONS {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if held_by_somebody % 2 == 0 {
                    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost").await.unwrap();
                }
                held.push(stream);
            }
            for _ in 0..4 * CONNECTIONS {
                // Kept alive by its client, who asks no more.
                held.push(ask().await);
            }
        };
        tokio::select! {
            never = serve(&listener, &site) => match never {},
            () = probes => {}
        }
    }

    #[test]
    fn reasons_are_json_whatever_they_say() {
        let shard = (StreamId::new("orders@1").unwrap(), ShardId::new("shardId-0").unwrap());
        let health = Health {
            live: true,
            ready: false,
            reasons: vec![HealthReason {
                code: "shard-stalled",
                message: "a \"b\" \\ \n ä".to_owned(),
                restart: false,
                shard: Some(shard),
                cause: Some(crate::types::stall::StallCause::Acks),
            }],
        };
        let json: serde_json::Value = serde_json::from_str(&health_json(&health)).unwrap();
        let expected = serde_json::json!({"live": true, "ready": false, "reasons": [{
            "code": "shard-stalled", "message": "a \"b\" \\ \n ä", "restart": false,
            "stream": "orders@1", "shard": "shardId-0", "cause": "acks",
        }]});
        assert_eq!(json, expected);
        let scale =
            ScalingRecommendation { desired: 3, workers: 2, shards: 8, lag: Duration::from_millis(90_500) };
        let json: serde_json::Value = serde_json::from_str(&scale_json(&scale)).unwrap();
        assert_eq!((&json["desired_workers"], &json["lag_seconds"]), (&3.into(), &90.5.into()));
    }
}
