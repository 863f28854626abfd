//! What requests for the page get.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ALLOW, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

use super::assets::asset;
use super::group_page::Page;
use crate::telemetry::response::{Body, response, with_body};

const TEXT: &str = "text/plain; charset=utf-8";
/// Nothing from elsewhere, nothing within a frame, nothing sent anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers what is about the page; `None` for other paths. `local`: the listener is on a loopback address.
pub(crate) async fn answer(
    page: &Arc<Page>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    local: bool,
) -> Option<Response<Body>> {
    if !matches!(path, "/group.json" | "/events") && asset(path).is_none() {
        return None;
    }
    // The name of another site that was made to lead here.
    if local && !names_this_machine(headers) {
        let hint = "open the page by the address it listens at, such as http://127.0.0.1:9464/\n";
        return Some(response(StatusCode::MISDIRECTED_REQUEST, TEXT, hint));
    }
    let mut answered = if method != Method::GET && method != Method::HEAD {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "the page is read only: GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        refused
    } else if let Some((content, text)) = asset(path) {
        response(StatusCode::OK, content, text)
    } else if path == "/events" && method == Method::GET {
        events(page, headers)
    } else {
        response(StatusCode::OK, "application/json", format!("{}\n", page.document().await))
    };
    let headers = answered.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(answered)
}

fn events(page: &Arc<Page>, headers: &HeaderMap) -> Response<Body> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(events) = page.events(last) else {
        let hint = "enough pages of this worker are open: close one, or open that of another worker\n";
        return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, hint);
    };
    let frames = events.map(|text: Bytes| Ok(Frame::data(text)));
    with_body(StatusCode::OK, "text/event-stream", StreamBody::new(frames).boxed_unsync())
}

/// Whether the request was made to this machine by a name that only it has.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let named = |host: &str| {
            let host = HeaderValue::from_str(host).unwrap();
            names_this_machine(&HeaderMap::from_iter([(HOST, host)]))
        };
        for own in ["localhost:9464", "127.0.0.1:9464", "[::1]:9464", "LOCALHOST", "a.localhost:1"] {
            assert!(named(own), "{own}");
        }
        for foreign in ["evil.example", "127.0.0.1.evil.example:9464", "10.0.0.1:9464", ""] {
            assert!(!named(foreign), "{foreign}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }
}
