//! A proxy that the environment names must not be asked for what is on this machine.

use std::net::IpAddr;

/// By which a proxy is named.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// What the environment says of proxies.
pub(super) struct Proxy {
    pub(super) is_set: bool,
    /// The variables that keep clients from asking one for the services, with what they have already.
    pub(super) exceptions: [(&'static str, String); 2],
}

impl Proxy {
    pub(super) fn of_environment(listen: IpAddr) -> Self {
        Self::of(listen, |name| std::env::var(name).ok())
    }

    fn of(listen: IpAddr, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        if !listen.is_unspecified() && listen.to_string() != hosts[0] {
            hosts.push(listen.to_string());
        }
        // A client that reads one of the names does not read the other.
        let exception = |name: &'static str, other: &str| {
            let there = set(name).or_else(|| set(other)).unwrap_or_default();
            let known: Vec<&str> = there.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
            let added = hosts.iter().map(String::as_str).filter(|host| !known.contains(host));
            (name, known.iter().copied().chain(added).collect::<Vec<_>>().join(","))
        };
        Self {
            is_set: PROXIES.iter().any(|name| set(name).is_some()),
            exceptions: [exception("NO_PROXY", "no_proxy"), exception("no_proxy", "NO_PROXY")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listen: &str, variables: &[(&str, &str)]) -> (bool, String, String) {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let Proxy { is_set, exceptions: [upper, lower] } = Proxy::of(listen.parse().unwrap(), variable);
        (is_set, upper.1, lower.1)
    }

    #[test]
    fn what_is_there_is_kept() {
        let both = |is_set, text: &str| (is_set, text.to_owned(), text.to_owned());
        assert_eq!(of("127.0.0.1", &[]), both(false, "127.0.0.1,localhost"));
        assert_eq!(of("0.0.0.0", &[("http_proxy", "")]), both(false, "127.0.0.1,localhost"));
        let asked = of("10.0.0.1", &[("ALL_PROXY", "http://p"), ("no_proxy", "a, localhost")]);
        assert_eq!(asked, both(true, "a,localhost,127.0.0.1,10.0.0.1"));
    }
}
