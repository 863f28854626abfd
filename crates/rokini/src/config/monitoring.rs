//! Where metrics go, and how.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::value::Accepted;

macro_rules! names {
    ($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the settings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == text.trim())
            }
        }
    };
}

names! {
    /// A service that shows metrics.
    Monitoring {
        /// Prometheus, which scrapes. Feature `prometheus` (default).
        Prometheus = "prometheus",
        /// Amazon CloudWatch. Feature `cloudwatch`.
        CloudWatch = "cloudwatch",
        /// An OpenTelemetry collector. Feature `otlp`.
        Otlp = "otlp",
    }
}

names! {
    /// How much is sent to CloudWatch.
    CloudWatchLevel {
        /// Nothing.
        None = "none",
        /// What dashboards and alarms need.
        Summary = "summary",
        /// Everything that has a name there.
        Detailed = "detailed",
    }
}

names! {
    /// A dimension of metrics in CloudWatch.
    CloudWatchDimension {
        /// `Operation`, as in the KCL; `Rokini` where the KCL has no such metric.
        Operation = "operation",
        /// `ShardId`
        Shard = "shard",
        /// `StreamId`, which the KCL has for several streams only.
        Stream = "stream",
        /// `WorkerIdentifier`
        Worker = "worker",
    }
}

impl CloudWatchDimension {
    /// The name in CloudWatch.
    #[must_use]
    pub const fn kcl(self) -> &'static str {
        match self {
            Self::Operation => "Operation",
            Self::Shard => "ShardId",
            Self::Stream => "StreamId",
            Self::Worker => "WorkerIdentifier",
        }
    }
}

pub(super) const NONE: &str = "none";

pub(super) fn parse(text: &str) -> Result<BTreeSet<Monitoring>, Accepted> {
    const ACCEPTED: Accepted =
        "`none`, or names out of `prometheus`, `cloudwatch`, `otlp` with commas between them";
    if text == NONE {
        return Ok(BTreeSet::new());
    }
    text.split(',').map(|name| Monitoring::named(name).ok_or(ACCEPTED)).collect()
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

/// What CloudWatch allows as a namespace.
pub(super) fn namespace(text: &str) -> Result<String, Accepted> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_/#:".contains(c);
    let good = (1..=255).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(':');
    good.then(|| text.to_owned()).ok_or(
        "a namespace: 1 to 255 letters, digits, ` `, `.`, `-`, `_`, `/`, `#`, `:`, not beginning with `:`",
    )
}

pub(super) fn level(text: &str) -> Result<CloudWatchLevel, Accepted> {
    CloudWatchLevel::named(text).ok_or("`none`, `summary` or `detailed`")
}

pub(super) fn dimensions(text: &str) -> Result<BTreeSet<CloudWatchDimension>, Accepted> {
    const ACCEPTED: Accepted =
        "`none`, or names out of `operation`, `shard`, `stream`, `worker` with commas between them";
    if text == NONE {
        return Ok(BTreeSet::new());
    }
    text.split(',').map(|name| CloudWatchDimension::named(name).ok_or(ACCEPTED)).collect()
}

pub(super) fn dimensions_text(dimensions: &BTreeSet<CloudWatchDimension>) -> String {
    let names: Vec<_> = dimensions.iter().map(|dimension| dimension.name()).collect();
    if names.is_empty() { NONE.to_owned() } else { names.join(",") }
}

pub(super) fn resolution(text: &str) -> Result<Duration, Accepted> {
    match text {
        "1s" => Ok(Duration::from_secs(1)),
        "1m" => Ok(Duration::from_secs(60)),
        _ => Err("`1m`, or `1s` for high resolution"),
    }
}

pub(super) fn endpoint(text: &str) -> Result<String, Accepted> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.filter(|host| !host.is_empty() && !host.starts_with('/') && text.parse::<hyper::Uri>().is_ok())
        .map(|_| text.to_owned())
        .ok_or("the URL of a collector such as `http://127.0.0.1:4318`")
}

pub(super) fn headers(text: &str) -> Result<Vec<(String, String)>, Accepted> {
    const ACCEPTED: Accepted = "`none`, or headers as `name=value` with commas between them";
    if text == NONE {
        return Ok(Vec::new());
    }
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let good = hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && hyper::header::HeaderValue::from_str(value).is_ok();
        good.then(|| (name.to_owned(), value.to_owned()))
    };
    text.split(',').map(|part| header(part).ok_or(ACCEPTED)).collect()
}

pub(super) fn headers_text(headers: &[(String, String)]) -> String {
    let parts: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if parts.is_empty() { NONE.to_owned() } else { parts.join(",") }
}
