//! The settings of a consumer, by one table of keys from the builder, the environment and a TOML file.

pub(crate) mod choices;
pub(crate) mod consumer_config;
mod form;
pub(crate) mod key;
mod secret;
pub(crate) mod settings;
pub(crate) mod table;
mod text;

pub use choices::{
    Balance, CloudWatchDimension, CloudWatchLevel, KplHashRange, Monitoring, OnDataLoss, Retrieval, Wire,
};
pub use consumer_config::{ConfigOrigin, ConsumerConfig};
pub(crate) use form::is_consumer_name;
pub use key::ConfigKey;
pub use settings::Settings;

/// Bytes of memory that a worker takes beside its `memory_budget`, answers on their way and subscriptions: what an idle one has
/// (docs/PERFORMANCE.md, 26 to 43 MB with its shards), and large buffers to be used again (at most 16 MiB).
pub const MEMORY_OVERHEAD: usize = 64 << 20;

#[cfg(test)]
mod tests;
