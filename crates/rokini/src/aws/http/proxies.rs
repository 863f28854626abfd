//! Which calls go through which proxy.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::types::error::{Error, ErrorKind};

/// The proxies of HTTP and HTTPS calls. An HTTPS call goes through a tunnel (CONNECT) and stays encrypted to its server.
///
/// Calls to this machine (`localhost`, loopback addresses) and to link-local addresses, where the metadata services of
/// instances and containers are, go through no proxy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: String,
}

impl Proxies {
    /// No proxies: every call goes straight to its server.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxies of the environment, as curl and the AWS CLI read them: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` for what
    /// the two leave open, and `NO_PROXY`; where one is not set, its name in small letters. In a CGI program, which
    /// `REQUEST_METHOD` shows, `HTTP_PROXY` comes from whoever sends the request, and is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a value that names no HTTP or HTTPS proxy.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is where the environment is read, when asked"
            )]
            std::env::var(name).ok()
        })
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let set = |name: &'static str| {
            let value = variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
            let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            value.map(|value| check(name, &value).map(|()| value)).transpose()
        };
        let all = set("ALL_PROXY")?;
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let http = if is_cgi { None } else { set("HTTP_PROXY")? };
        Ok(Self {
            http: http.or_else(|| all.clone()),
            https: set("HTTPS_PROXY")?.or(all),
            except: variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default(),
        })
    }

    /// Sends HTTPS calls through this proxy: `http://[user:password@]host[:port]`, or `https://` where the way to the
    /// proxy itself is to be encrypted. Calls to AWS are HTTPS calls.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when it names no HTTP or HTTPS proxy.
    pub fn https(mut self, url: impl Into<String>) -> Result<Self, Error> {
        let url = url.into();
        check("the proxy of HTTPS calls", &url)?;
        self.https = Some(url);
        Ok(self)
    }

    /// Sends HTTP calls through this proxy. Only endpoints of one's own are reached by HTTP.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when it names no HTTP or HTTPS proxy.
    pub fn http(mut self, url: impl Into<String>) -> Result<Self, Error> {
        let url = url.into();
        check("the proxy of HTTP calls", &url)?;
        self.http = Some(url);
        Ok(self)
    }

    /// Leaves these out, separated by commas: domains with all below them, addresses, networks (`10.0.0.0/8`), or `*`.
    #[must_use]
    pub fn except(mut self, list: impl Into<String>) -> Self {
        self.except = list.into();
        self
    }

    /// Decides by URL. `None`: no call goes through a proxy.
    pub(super) fn matcher(&self) -> Option<ProxyMatcher> {
        if self.http.is_none() && self.https.is_none() {
            return None;
        }
        let text = |url: &Option<String>| url.clone().unwrap_or_default();
        let builder = Matcher::builder().http(text(&self.http)).https(text(&self.https));
        Some(ProxyMatcher(builder.no(self.except.clone()).build()))
    }
}

/// Without the URLs, which may hold passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("except", &self.except)
            .finish()
    }
}

pub(super) struct ProxyMatcher(Matcher);

impl ProxyMatcher {
    /// The proxy on the way to this URL.
    pub(super) fn proxy(&self, url: &Uri) -> Option<Intercept> {
        if url.host().is_some_and(is_near) { None } else { self.0.intercept(url) }
    }
}

/// Whether no proxy could reach a host: it would reach one of its own by that name.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is where the metadata services answer by IPv6.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

/// Says by name what is wrong, without the value.
fn check(name: &str, value: &str) -> Result<(), Error> {
    let matcher = Matcher::builder().all(value.to_owned()).build();
    let any = Uri::from_static("https://kinesis.example.com");
    let scheme = matcher.intercept(&any).and_then(|proxy| proxy.uri().scheme_str().map(str::to_owned));
    match scheme.as_deref() {
        Some("http" | "https") => Ok(()),
        _ => {
            let message = format!("`{name}` names no HTTP proxy: expected one such as `http://host:3128`");
            Err(Error::new(ErrorKind::Configuration, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, Error> {
        Proxies::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn way(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let matcher = read(variables).unwrap().matcher()?;
        matcher.proxy(&url.parse().unwrap()).map(|proxy| proxy.uri().to_string())
    }

    const AWS: &str = "https://kinesis.eu-west-1.amazonaws.com";
    const OWN: &str = "http://kinesis.example.com:4567";

    #[test]
    fn the_variables_of_curl_decide() {
        let https = [("HTTPS_PROXY", "http://p:1")];
        assert_eq!(way(&[], AWS), None);
        assert_eq!(way(&https, AWS).as_deref(), Some("http://p:1/"));
        assert_eq!(way(&https, OWN), None);
        assert_eq!(way(&[("https_proxy", "p:1")], AWS).as_deref(), Some("http://p:1/"));
        assert_eq!(
            way(&[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "http://q:1")], AWS).as_deref(),
            Some("http://p:1/")
        );
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1")], OWN).as_deref(), Some("http://p:1/"));
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1")], AWS), None);
        assert_eq!(way(&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")], OWN), None);
        assert_eq!(way(&[("ALL_PROXY", "https://p:1")], AWS).as_deref(), Some("https://p:1/"));
        assert_eq!(
            way(&[("ALL_PROXY", "http://p:1"), ("HTTPS_PROXY", "http://q:1")], AWS).as_deref(),
            Some("http://q:1/")
        );
        assert_eq!(way(&[("HTTPS_PROXY", " ")], AWS), None);
    }

    #[test]
    fn exceptions_and_what_is_near_are_left_out() {
        let all = |no: &'static str| [("ALL_PROXY", "http://p:1"), ("NO_PROXY", no)];
        for no in ["amazonaws.com", ".amazonaws.com", "*", "example.org, kinesis.eu-west-1.amazonaws.com"] {
            assert_eq!(way(&all(no), AWS), None, "{no}");
        }
        assert!(way(&all("aws.com"), AWS).is_some());
        assert_eq!(way(&all("10.0.0.0/8"), "http://10.1.2.3:80"), None);
        for near in [
            "http://localhost:4567",
            "http://127.1.2.3",
            "http://[::1]:80",
            "http://169.254.169.254/latest",
            "http://169.254.170.2/v2",
            "http://[fd00:ec2::254]/",
        ] {
            assert_eq!(way(&all(""), near), None, "{near}");
        }
        assert!(way(&all(""), "http://10.0.0.1").is_some());
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for value in ["socks5://me:secret@p:1", "ftp://p", "http://", "http://me:secret@"] {
            let error = read(&[("HTTPS_PROXY", value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert_eq!(
                error.to_string(),
                "`HTTPS_PROXY` names no HTTP proxy: expected one such as `http://host:3128`"
            );
        }
        let proxies = Proxies::none().https("http://me:secret@p:1").unwrap();
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
