//! The shards of a run, and its time: what every part names them by.

use std::fmt;
use std::sync::Arc;

use rokini_lease::LeaseKey;

/// Milliseconds since the beginning of the run.
pub(crate) type Millis = u64;

/// A shard of one of the streams of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardRef {
    /// Which stream.
    pub stream: usize,
    /// Which shard of it.
    pub shard: String,
}

impl fmt::Display for ShardRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.shard.trim_start_matches("shardId-0000000"))
    }
}

impl ShardRef {
    /// The shard of a lease: streams are called `orders-0` and so on.
    pub(crate) fn of(key: &LeaseKey) -> Option<Self> {
        let (name, _) = key.stream.as_str().split_once('@')?;
        let stream = name.strip_prefix("orders-")?.parse().ok()?;
        Some(Self { stream, shard: key.shard.to_string() })
    }

    /// What the history calls it.
    pub(crate) fn name(&self) -> Arc<str> {
        self.to_string().into()
    }
}
