//! The endpoint by which a test in another process sets faults, moves the clock and looks inside.
//!
//! | request | does |
//! |---|---|
//! | `GET /_rokini/health` | answers with status 200 once everything serves, and with 503 until then |
//! | `GET`, `POST`, `DELETE /_rokini/faults` | lists the rules, adds one, takes all away |
//! | `DELETE /_rokini/faults/ID` | takes one away |
//! | `GET /_rokini/streams?stream=ID` | shows what is there, with the shards of one stream |
//! | `GET /_rokini/records?stream=ID&shard=NUMBER&last=20` | shows the last records of a shard |
//! | `GET`, `POST /_rokini/clock` | tells the time, moves it by `{"advance_millis": N}` as far as the clock goes, and tells where it is |
//! | `GET`, `DELETE /_rokini/calls` | lists the calls remembered, forgets them |
//! | `POST /_rokini/limits` | turns rates on or off by `{"throughput_limits": true, "call_limits": true}`, either of which may be absent |

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::faults::FaultRule;
use crate::http::backend::Backend;
use crate::http::body::{Body, full_body};
use crate::http::entry::{Entry, RequestBody};
use crate::http::page;

pub(crate) const PREFIX: &str = "/_rokini/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    advance_millis: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsChange {
    throughput_limits: Option<bool>,
    call_limits: Option<bool>,
}

/// Largest body: rules are short.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Most rules in force.
const MAX_RULES: usize = 1_000;

/// Answers a control request; `path` is what follows the prefix. What changes something must be JSON and say so, which no form of a
/// web page can.
pub(crate) async fn answer(
    backend: &Backend,
    entry: &Entry,
    head: &Parts,
    path: &str,
    body: impl RequestBody,
) -> Response<Body> {
    let json = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let json = json.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    if head.method == Method::POST && !json {
        let error = "send the body with `Content-Type: application/json` (`curl --json`)";
        return reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!({ "error": error }));
    }
    match entry.read_body(body, MAX_BODY_BYTES).await {
        Ok(_) if head.method == Method::GET && path == "streams" => {
            reply(StatusCode::OK, &page::streams(backend, head.uri.query()))
        }
        Ok(_) if head.method == Method::GET && path == "records" => {
            match page::records(backend, head.uri.query()) {
                Some(records) => reply(StatusCode::OK, &records),
                None => reply(StatusCode::NOT_FOUND, &json!({ "error": "no such stream and shard" })),
            }
        }
        Ok(body) => {
            let answer = carry_out(backend, &head.method, path, &body);
            // Where the clock was moved to is on disk, if anything is. One that cannot be kept is moved all the same.
            let _ = backend.service.settled(path).await;
            answer
        }
        Err(why) => reply(StatusCode::BAD_REQUEST, &json!({ "error": why })),
    }
}

fn carry_out(backend: &Backend, method: &Method, path: &str, body: &Bytes) -> Response<Body> {
    let clock = || json!({ "now_millis": backend.service.now().millis() });
    match (method, path) {
        (&Method::GET, "health") if backend.ready.load(Ordering::Relaxed) => {
            reply(StatusCode::OK, &json!({ "status": "ok" }))
        }
        (&Method::GET, "health") => reply(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "starting" })),
        (&Method::GET, "faults") => reply(StatusCode::OK, &backend.faults.list()),
        (&Method::POST, "faults") => match FaultRule::from_json(body) {
            Ok(_) if backend.faults.list().len() >= MAX_RULES => {
                let error = format!("{MAX_RULES} rules are in force; take some away first");
                reply(StatusCode::BAD_REQUEST, &json!({ "error": error }))
            }
            Ok(rule) => reply(StatusCode::OK, &json!({ "id": backend.faults.add(rule) })),
            Err(error) => reply(StatusCode::BAD_REQUEST, &json!({ "error": error })),
        },
        (&Method::DELETE, "faults") => {
            backend.faults.clear();
            reply(StatusCode::OK, &json!({}))
        }
        (&Method::GET, "clock") => reply(StatusCode::OK, &clock()),
        (&Method::POST, "clock") => match serde_json::from_slice::<ClockChange>(body) {
            Ok(ClockChange { advance_millis }) => {
                backend.service.shift(advance_millis);
                reply(StatusCode::OK, &clock())
            }
            Err(error) => refuse(&error),
        },
        (&Method::GET, "calls") => reply(StatusCode::OK, &backend.journal.list()),
        (&Method::DELETE, "calls") => {
            backend.journal.clear();
            reply(StatusCode::OK, &json!({}))
        }
        (&Method::POST, "limits") => match serde_json::from_slice::<LimitsChange>(body) {
            Ok(LimitsChange { throughput_limits: None, call_limits: None }) => {
                let error = "give `throughput_limits`, `call_limits` or both: true or false";
                reply(StatusCode::BAD_REQUEST, &json!({ "error": error }))
            }
            Ok(LimitsChange { throughput_limits, call_limits }) => {
                backend.service.with_model(|model, _| {
                    let settings = model.settings_mut();
                    settings.throughput_limits = throughput_limits.unwrap_or(settings.throughput_limits);
                    settings.call_limits = call_limits.unwrap_or(settings.call_limits);
                });
                reply(StatusCode::OK, &json!({}))
            }
            Err(error) => refuse(&error),
        },
        (&Method::DELETE, other) => {
            let Some(id) = other.strip_prefix("faults/") else { return unknown() };
            if id.parse().is_ok_and(|id| backend.faults.remove(id)) {
                reply(StatusCode::OK, &json!({}))
            } else {
                let error = "no such rule: `GET /_rokini/faults` lists them with their ids";
                reply(StatusCode::NOT_FOUND, &json!({ "error": error }))
            }
        }
        _ => unknown(),
    }
}

fn reply(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(full_body(serde_json::to_vec(value).unwrap_or_default().into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refuse(error: &serde_json::Error) -> Response<Body> {
    reply(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }))
}

fn unknown() -> Response<Body> {
    reply(StatusCode::NOT_FOUND, &json!({ "error": "no such control endpoint" }))
}
