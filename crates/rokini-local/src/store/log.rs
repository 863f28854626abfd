//! The files: segments of a log of effects, each beginning with everything that is no record, so that an old one is needed only for
//! the records in it that are still there.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rokini_wire::Timestamp;

use crate::model::{Effect, KeptState, LiveShards};
use crate::store::frame::{self, FileLength, Piece};

/// A segment this large is followed by a new one.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;
/// Smaller ones are put together.
const SMALL_BYTES: u64 = 1 << 20;
/// Most segments written anew at a time, so that calls wait only shortly.
const MAX_REWRITTEN: usize = 2;

/// Ending of a segment's name; before it stands its number.
const ENDING: &str = "log";

/// Which records are still there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// By the ids of streams.
    pub(crate) streams: BTreeMap<u64, (LiveShards, u32)>,
    /// Streams from this id on came later.
    pub(crate) next_stream: u64,
}

impl Live {
    fn has_stream(&self, stream: u64) -> bool {
        stream >= self.next_stream || self.streams.contains_key(&stream)
    }

    /// Whether a record with this offset, or a later one, may be there.
    fn has(&self, stream: u64, shard: u32, offset: u64) -> bool {
        match self.streams.get(&stream) {
            None => stream >= self.next_stream,
            Some((shards, next_shard)) => match shards.get(&shard) {
                None => shard >= *next_shard,
                Some(oldest) => offset >= *oldest,
            },
        }
    }
}

/// What a segment holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    bytes: u64,
    /// Last offset and bytes of the records, by stream and shard.
    records: BTreeMap<(u64, u32), (u64, u64)>,
}

impl Segment {
    /// Counts a frame with no effect in it.
    pub(super) fn count_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Counts a frame of so many bytes.
    pub(super) fn count(&mut self, effect: &Effect, bytes: u64) {
        self.count_bytes(bytes);
        if let Effect::Records { stream, shard, records } = effect {
            let known = self.records.entry((*stream, *shard)).or_default();
            known.0 = known.0.max(records.last().map_or(0, |last| last.0));
            known.1 += bytes;
        }
    }

    fn live_bytes(&self, live: &Live) -> u64 {
        let there =
            |((stream, shard), (last, _)): &(&(u64, u32), &(u64, u64))| live.has(*stream, *shard, *last);
        self.records.iter().filter(there).map(|(_, (_, bytes))| bytes).sum()
    }

    pub(super) fn forget_records(&mut self) {
        self.records.clear();
    }

    /// Whether it holds records of a stream and shard.
    pub(super) fn holds(&self, key: (u64, u32)) -> bool {
        self.records.contains_key(&key)
    }
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    file: File,
    number: u64,
    current: Segment,
    closed: BTreeMap<u64, Segment>,
    /// Everything that is no record.
    state: KeptState,
    segment_bytes: u64,
}

impl Log {
    /// Goes on in a new segment of this number, behind those that were read.
    pub(super) fn begin(
        directory: &Path,
        number: u64,
        closed: BTreeMap<u64, Segment>,
        state: KeptState,
        segment_bytes: u64,
    ) -> io::Result<Self> {
        let (file, current) = create(directory, number, lengths(&closed), &state)?;
        Ok(Self { directory: directory.to_owned(), file, number, current, closed, state, segment_bytes })
    }

    /// Adds effects; they are on disk when this returns.
    pub(super) fn append(&mut self, effects: &[(Timestamp, Effect)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut segment = Segment::default();
        for (at, effect) in effects {
            let begin = bytes.len();
            frame::write(&mut bytes, *at, effect);
            segment.count(effect, (bytes.len() - begin) as u64);
        }
        self.write(&bytes)?;
        self.current.merge(segment);
        for (at, effect) in effects {
            self.state.apply(*at, effect);
        }
        if effects.iter().any(|(_, effect)| matches!(effect, Effect::Reset)) {
            self.closed.keys().for_each(|number| remove(&self.directory, *number));
            self.closed.clear();
        }
        if self.current.bytes >= self.segment_bytes {
            self.rotate();
        }
        Ok(())
    }

    /// Writes all of it or nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Best effort: if this fails too, the next start finds the beginning of a frame, and cuts it off.
            let _ = self.file.set_len(self.current.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.current.bytes));
        }
        written
    }

    /// A segment that cannot be begun now is begun later: the present one grows meanwhile.
    fn rotate(&mut self) {
        let mut needed = lengths(&self.closed);
        needed.push((self.number, self.current.bytes));
        match create(&self.directory, self.number + 1, needed, &self.state) {
            Ok((file, current)) => {
                self.file = file;
                self.closed.insert(self.number, std::mem::replace(&mut self.current, current));
                self.number += 1;
            }
            Err(error) => tracing::warn!(%error, "could not begin another file of the streams; trying on"),
        }
    }

    /// Deletes the segments whose records are gone, and writes anew what little is left in others.
    pub(super) fn reclaim(&mut self, live: &Live) {
        self.state.retain(|stream| live.has_stream(stream));
        let (mut gone, mut rewritten) = (Vec::new(), 0);
        for (number, segment) in self.closed.clone() {
            let left = segment.live_bytes(live);
            let small = left < segment.bytes / 2 || segment.bytes < SMALL_BYTES;
            if left > 0 && (!small || rewritten >= MAX_REWRITTEN) {
                continue;
            }
            if left > 0 {
                rewritten += 1;
                if let Err(error) = self.rewrite(number, live) {
                    tracing::warn!(%error, "could not make a file of the streams smaller; trying on");
                    continue;
                }
            }
            self.closed.remove(&number);
            gone.push((number, segment));
        }
        if gone.is_empty() {
            return;
        }
        // Said before it is done, so that a file that is not there is missed if it should be.
        if let Err(error) = self.note_needed() {
            tracing::warn!(%error, "could not delete files of the streams that are not needed any more; trying on");
            self.closed.extend(gone);
            return;
        }
        gone.iter().for_each(|(number, _)| remove(&self.directory, *number));
    }

    fn note_needed(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::write_files(&mut bytes, lengths(&self.closed));
        self.write(&bytes)?;
        self.current.count_bytes(bytes.len() as u64);
        Ok(())
    }

    /// Writes the records of a segment that are still there behind the others.
    fn rewrite(&mut self, number: u64, live: &Live) -> io::Result<()> {
        // The time of an effect is that of the last one in the log, whose order is that of time.
        let now = self.state.last_seen.unwrap_or(Timestamp::from_millis(0));
        let bytes = std::fs::read(path(&self.directory, number))?;
        let still_there = |piece| match piece {
            Piece::Frame(_, Effect::Records { stream, shard, records }, _)
                if live.has(stream, shard, records.last().map_or(0, |last| last.0)) =>
            {
                Some((now, Effect::Records { stream, shard, records }))
            }
            _ => None,
        };
        let left: Vec<_> = frame::pieces(&bytes).filter_map(still_there).collect();
        self.append(&left)
    }

    /// A last copy of everything that is no record, so that a damaged frame costs less.
    pub(super) fn close(&mut self) {
        let at = self.state.last_seen.unwrap_or(Timestamp::from_millis(0));
        let effects: Vec<_> = self.state.to_effects().into_iter().map(|effect| (at, effect)).collect();
        if let Err(error) = self.append(&effects) {
            tracing::debug!(%error, "could not add the last copy of the streams' state");
        }
    }

    /// Writes into another file from now on.
    #[cfg(test)]
    pub(super) fn write_into(&mut self, file: File) {
        self.file = file;
    }
}

impl Segment {
    fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        for (key, (last, bytes)) in other.records {
            let known = self.records.entry(key).or_default();
            *known = (known.0.max(last), known.1 + bytes);
        }
    }
}

fn lengths(closed: &BTreeMap<u64, Segment>) -> Vec<FileLength> {
    closed.iter().map(|(number, segment)| (*number, segment.bytes)).collect()
}

fn create(
    directory: &Path,
    number: u64,
    needed: Vec<FileLength>,
    state: &KeptState,
) -> io::Result<(File, Segment)> {
    let path = path(directory, number);
    let at = state.last_seen.unwrap_or(Timestamp::from_millis(0));
    let (mut bytes, mut segment) = (Vec::new(), Segment::default());
    frame::write_files(&mut bytes, needed);
    segment.count_bytes(bytes.len() as u64);
    for effect in state.to_effects() {
        let begin = bytes.len();
        frame::write(&mut bytes, at, &effect);
        segment.count(&effect, (bytes.len() - begin) as u64);
    }
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_data()?;
            // The name is on disk when its directory is.
            File::open(directory)?.sync_all()?;
            Ok(file)
        });
    if written.is_err() {
        // Without a beginning it is no segment.
        let _ = std::fs::remove_file(&path);
    }
    written.map(|file| (file, segment))
}

fn remove(directory: &Path, number: u64) {
    if let Err(error) = std::fs::remove_file(path(directory, number)) {
        tracing::warn!(%error, "could not delete a file of the streams that is not needed any more");
    }
}

/// Where the segment of this number is.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.{ENDING}"))
}

/// The number in a segment's name; `None` for other files.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?.strip_suffix('.')?;
    // `7.log` is none of ours.
    name.parse().ok().filter(|number| format!("{number:08}") == name)
}
