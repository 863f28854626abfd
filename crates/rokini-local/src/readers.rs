//! How far each reader is, for tests that wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::StreamKey;

/// Positions remembered; with more, the half that has not moved for longest is forgotten.
const MAX_POSITIONS: usize = 10_000;
/// Longest name of a reader: longer ones are none that an access key or a consumer can have, and are not remembered.
const MAX_NAME_BYTES: usize = 256;

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

/// Positions by reader, stream and shard.
#[derive(Debug, Default)]
struct Positions {
    by_reader: BTreeMap<(String, StreamKey, u32), Position>,
    /// Counts what was noted.
    moves: u64,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    offset: u64,
    /// How many were noted before it.
    moved: u64,
}

impl Positions {
    fn forget_older_half(&mut self) {
        let mut moved: Vec<u64> = self.by_reader.values().map(|position| position.moved).collect();
        let half = moved.len() / 2;
        let (_, &mut middle, _) = moved.select_nth_unstable(half);
        self.by_reader.retain(|_, position| position.moved >= middle);
    }
}

/// The offsets that readers asked for last. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readers {
    positions: Arc<Mutex<Positions>>,
    moved: Arc<watch::Sender<()>>,
}

impl Readers {
    /// A reader has come to this offset, or been given the last record if it is [`u64::MAX`].
    pub(crate) fn note(&self, reader: &str, stream: &StreamKey, shard: u32, offset: u64) {
        if reader.len() > MAX_NAME_BYTES {
            return;
        }
        let mut positions = self.positions.lock();
        if positions.by_reader.len() >= MAX_POSITIONS {
            positions.forget_older_half();
        }
        let position = Position { offset, moved: positions.moves };
        positions.moves += 1;
        positions.by_reader.insert((reader.to_owned(), stream.clone(), shard), position);
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
            let position = positions.by_reader.get(&(reader.to_owned(), stream.clone(), **shard));
            position.is_none_or(|position| position.offset < **end)
        };
        ends.iter().filter(is_behind).map(|(shard, _)| *shard).collect()
    }

    /// Who has read a stream.
    pub(crate) fn of_stream(&self, stream: &StreamKey) -> Vec<String> {
        let positions = self.positions.lock();
        let keys = positions.by_reader.keys();
        let names: BTreeSet<&String> =
            keys.filter(|(_, known, _)| known == stream).map(|(reader, ..)| reader).collect();
        names.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_move_are_remembered() {
        let readers = Readers::default();
        let stream = StreamKey::default();
        let ends = BTreeMap::from([(0, 1)]);
        for n in 0..3 * MAX_POSITIONS {
            readers.note(&format!("r{n}"), &stream, 0, 1);
            readers.note("busy", &stream, 0, n as u64);
        }
        readers.note(&"x".repeat(MAX_NAME_BYTES + 1), &stream, 0, 1);
        let seen = readers.of_stream(&stream);
        assert!(seen.len() <= MAX_POSITIONS && seen.iter().all(|name| name.len() <= MAX_NAME_BYTES));
        assert_eq!(readers.behind("busy", &stream, &ends), [] as [u32; 0]);
        assert_eq!(readers.behind("r0", &stream, &ends), [0], "forgotten");
        assert_eq!(readers.behind(&format!("r{}", 3 * MAX_POSITIONS - 1), &stream, &ends), [] as [u32; 0]);
    }
}
