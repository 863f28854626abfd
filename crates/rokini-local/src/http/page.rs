//! The page for people, and the JSON it is made of. Reading it costs no reads of shards, and no call is remembered.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response};
use serde_json::json;

use crate::http::backend::Backend;
use crate::http::body::{Body, full_body};
use crate::model::RecordView;

/// Nothing from elsewhere, nothing within a frame, nothing sent anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Records shown unless another number is asked for, and at most.
const RECORDS: (usize, usize) = (20, 100);

/// A file by its path: its type and its content.
fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/page.html")),
        "/page.css" => {
            ("text/css; charset=utf-8", concat!(include_str!("page/base.css"), include_str!("page/page.css")))
        }
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        _ => return None,
    })
}

/// The page or one of its files; `None` for everything else, calls above all.
pub(crate) fn answer(head: &Parts) -> Option<Response<Body>> {
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    // A presigned call is none for the page.
    let (content_type, text) = asset(head.uri.path()).filter(|_| reads && head.uri.query().is_none())?;
    let body = if head.method == Method::HEAD { "" } else { text };
    let mut response = Response::new(full_body(body.into()));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version may listen here tomorrow.
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// `GET /_rokini/streams?stream=ID`: everything, with the shards of one stream.
pub(crate) fn streams(backend: &Backend, query: Option<&str>) -> serde_json::Value {
    let chosen = number(query, "stream");
    let overview = backend.service.with_model(|model, now| model.overview(now, chosen));
    json!({ "overview": overview, "shifted_by_millis": backend.service.shifted_by() })
}

/// `GET /_rokini/records?stream=ID&shard=NUMBER&last=20`: the last records of a shard, the newest first.
pub(crate) fn records(backend: &Backend, query: Option<&str>) -> Option<Vec<RecordView>> {
    let (stream, shard) = (number(query, "stream")?, number(query, "shard")?);
    let last = number(query, "last").unwrap_or(RECORDS.0).min(RECORDS.1);
    backend.service.with_model(|model, _| model.last_records(stream, shard, last))
}

fn number<T: std::str::FromStr>(query: Option<&str>, name: &str) -> Option<T> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}
