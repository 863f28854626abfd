//! Where metrics go.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::value::Accepted;

/// A service that shows metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Monitoring {
    /// Prometheus, which scrapes.
    Prometheus,
}

impl Monitoring {
    const ALL: [Self; 1] = [Self::Prometheus];

    /// The name in the settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
        }
    }
}

const NONE: &str = "none";
const ACCEPTED: Accepted = "`none`, or names out of `prometheus` with commas between them";

pub(super) fn parse(text: &str) -> Result<BTreeSet<Monitoring>, Accepted> {
    if text == NONE {
        return Ok(BTreeSet::new());
    }
    let service = |name: &str| Monitoring::ALL.into_iter().find(|service| service.name() == name.trim());
    text.split(',').map(|name| service(name).ok_or(ACCEPTED)).collect()
}

pub(super) fn text(services: &BTreeSet<Monitoring>) -> String {
    let names: Vec<_> = services.iter().map(|service| service.name()).collect();
    if names.is_empty() { NONE.to_owned() } else { names.join(",") }
}

pub(super) fn parse_listen(text: &str) -> Result<Option<SocketAddr>, Accepted> {
    match text {
        NONE => Ok(None),
        _ => {
            text.parse().map(Some).map_err(|_| "an IP address with a port such as `0.0.0.0:9464`, or `none`")
        }
    }
}

pub(super) fn listen_text(listen: Option<SocketAddr>) -> String {
    listen.map_or_else(|| NONE.to_owned(), |address| address.to_string())
}
