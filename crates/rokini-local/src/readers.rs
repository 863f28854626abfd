//! How far each reader is, for tests that wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::StreamKey;

/// Positions remembered; with more, the first by name is forgotten.
const MAX_POSITIONS: usize = 10_000;

/// A reader did not come past the records of a stream in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{reader}` did not come past the records of {shards:?} of the stream `{stream}` within {within:?}; readers seen: {seen:?}"
)]
#[non_exhaustive]
pub struct NotConsumed {
    /// Name of the stream.
    pub stream: String,
    /// The access key id or the consumer that was waited for.
    pub reader: String,
    /// Ids of the shards with records it is not past.
    pub shards: Vec<String>,
    /// How long it was waited for.
    pub within: Duration,
    /// Who has read the stream so far.
    pub seen: Vec<String>,
}

/// Offsets by reader, stream and shard.
type Positions = BTreeMap<(String, StreamKey, u32), u64>;

/// The offsets that readers asked for last. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers {
    positions: Arc<Mutex<Positions>>,
    moved: Arc<watch::Sender<()>>,
}

impl Readers {
    /// A reader has come to this offset, or been given the last record if it is [`u64::MAX`].
    pub(crate) fn note(&self, reader: &str, stream: &StreamKey, shard: u32, offset: u64) {
        let mut positions = self.positions.lock();
        if positions.len() >= MAX_POSITIONS {
            positions.pop_first();
        }
        positions.insert((reader.to_owned(), stream.clone(), shard), offset);
        drop(positions);
        self.moved.send_replace(());
    }

    /// Tells of every position from now on.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// The shards, of those given with the offset after their last record, that a reader has not come to the end of.
    pub(crate) fn behind(&self, reader: &str, stream: &StreamKey, ends: &BTreeMap<u32, u64>) -> Vec<u32> {
        let positions = self.positions.lock();
        let is_behind = |(shard, end): &(&u32, &u64)| {
            positions.get(&(reader.to_owned(), stream.clone(), **shard)).is_none_or(|offset| offset < *end)
        };
        ends.iter().filter(is_behind).map(|(shard, _)| *shard).collect()
    }

    /// Who has read a stream.
    pub(crate) fn of_stream(&self, stream: &StreamKey) -> Vec<String> {
        let positions = self.positions.lock();
        let names: BTreeSet<&String> =
            positions.keys().filter(|(_, known, _)| known == stream).map(|(reader, ..)| reader).collect();
        names.into_iter().cloned().collect()
    }
}
