//! Web pages: which may use the endpoint from a browser. None, unless asked for.
//!
//! A browser says in `Origin` which page asks, and where it leaves that out, in `Sec-Fetch-Site` whether it is one of another site.
//! Programs that are no browsers send neither.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The origins that may ask, such as `http://localhost:3000`; `*` is any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    allowed: Arc<[String]>,
}

/// What the origin of a request allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By no web page.
    ByNone,
    /// By a page that may.
    ByPage(HeaderValue),
}

impl Origins {
    pub(crate) fn new(allowed: impl IntoIterator<Item = String>) -> Self {
        Self { allowed: allowed.into_iter().collect() }
    }

    /// Who asks.
    ///
    /// # Errors
    /// The origin, if it may not; empty if the browser leaves it out.
    pub(crate) fn check(&self, head: &Parts) -> Result<Asked, String> {
        let Some(origin) = head.headers.get(ORIGIN) else {
            return if is_fetched_by_another_site(head) { Err(String::new()) } else { Ok(Asked::ByNone) };
        };
        let text = origin.to_str().unwrap_or_default();
        // A page that this endpoint serves asks for itself.
        let own = head.uri.host().map(str::to_owned).or_else(|| {
            let host = head.headers.get(http::header::HOST)?.to_str().ok()?;
            Some(host.to_owned())
        });
        let own = own.is_some_and(|host| text.split_once("://").is_some_and(|(_, page)| page == host));
        if own || self.allowed.iter().any(|allowed| allowed == "*" || allowed == text) {
            return Ok(Asked::ByPage(origin.clone()));
        }
        Err(text.to_owned())
    }
}

/// An image, a script or a form of another site's page, or of one on another port: they bear no `Origin` where they only get
/// something. Following a link is no such thing: who follows it looks at this endpoint's page, and the other one does not see it.
fn is_fetched_by_another_site(head: &Parts) -> bool {
    let site = head.headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site");
    let navigates = head.headers.get(FETCH_MODE).is_some_and(|mode| mode == "navigate");
    site && !(navigates && head.method == Method::GET)
}

impl Asked {
    /// Lets the page read an answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        if let Self::ByPage(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("x-amzn-requestid,x-amz-id-2,date"),
            );
            headers.insert(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// The answer to a browser that asks whether the page may ask; `None` for any other request.
    pub(crate) fn preflight<B: Default>(&self, head: &Parts) -> Option<Response<B>> {
        if *self == Self::ByNone || head.method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if let Some(wanted) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        self.mark(headers);
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(origin: &str) -> Parts {
        let request = http::Request::options("/").header("host", "localhost:4567").header(ORIGIN, origin);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_another_site_fetches_is_refused_and_a_link_is_not() {
        let none = Origins::default();
        let of = |method: &str, site: &str, mode: &str| {
            let request = http::Request::builder().method(method).uri("/_rokini/faults");
            let request = request.header(FETCH_SITE, site).header(FETCH_MODE, mode);
            none.check(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        for method in ["GET", "POST", "DELETE"] {
            for site in ["cross-site", "same-site"] {
                assert!(!of(method, site, "no-cors"), "{method} {site}");
                assert_eq!(of(method, site, "navigate"), method == "GET", "{method} {site}");
            }
            // Its own page, and an address that somebody typed.
            assert!(of(method, "same-origin", "cors") && of(method, "none", "navigate"), "{method}");
        }
    }

    #[test]
    fn pages_are_refused_unless_asked_for() {
        let none = Origins::default();
        let one = Origins::new(["http://localhost:3000".to_owned()]);
        assert_eq!(none.check(&http::Request::get("/").body(()).unwrap().into_parts().0), Ok(Asked::ByNone));
        for origin in ["http://evil.example", "null", "http://localhost:3000"] {
            assert!(none.check(&head(origin)).is_err(), "{origin}");
        }
        assert!(none.check(&head("http://localhost:4567")).is_ok(), "its own page");
        assert!(one.check(&head("http://evil.example")).is_err());
        let asked = one.check(&head("http://localhost:3000")).unwrap();
        let answer: Response<String> = asked.preflight(&head("http://localhost:3000")).unwrap();
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert!(Origins::new(["*".to_owned()]).check(&head("http://evil.example")).is_ok());
    }
}
