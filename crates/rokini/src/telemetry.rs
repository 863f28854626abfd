//! Listens: makes metrics of events and of what shards do, judges how the worker stands, and says so to whoever asks.

pub(crate) mod buffered_metrics;
#[cfg(feature = "cloudwatch")]
pub(crate) mod cloudwatch;
pub(crate) mod consumer_metrics;
pub(crate) mod export;
pub(crate) mod exporters;
mod fleet;
pub(crate) mod group_changes;
pub(crate) mod handler_stats;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod metric;
pub(crate) mod monitor;
#[cfg(not(feature = "page"))]
pub(crate) mod no_page;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
#[cfg(feature = "page")]
pub(crate) mod page;
#[cfg(feature = "page")]
pub(crate) mod page_server;
mod series;
#[cfg(not(feature = "page"))]
pub(crate) use no_page as page;
#[cfg(feature = "prometheus")]
mod prometheus;
pub(crate) mod recorders;
#[cfg_attr(
    not(any(feature = "prometheus", feature = "cloudwatch", feature = "otlp")),
    allow(dead_code, reason = "nothing but tests reads it")
)]
pub(crate) mod registry;
mod response;
pub(crate) mod sampler;
pub(crate) mod scale;
pub(crate) mod unowned_lag;
