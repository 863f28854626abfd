//! Reads the files. What cannot be read is set aside, and everything else is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{Effect, KeptRecords, KeptState};
use crate::store::error::DataError;
use crate::store::frame::{self, FileLength, Piece};
use crate::store::log::{self, Segment};
use crate::store::mend::{cut_off, set_aside, set_aside_rest};

/// Held by the one process that uses a directory.
const LOCK: &str = "kinesis.lock";
/// Where `rokini local` keeps the tables of DynamoDB beside the streams.
const TABLES: &str = "dynamodb.sqlite";
/// The file of the format before this one.
const OLD_FILE: &str = "kinesis.redb";
/// Numbers passed over in every shard after damage: more than a file can have held.
const SKIPPED_NUMBERS: u64 = 1 << 32;

/// What a directory held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) lock: File,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// No file has this number or a greater one.
    pub(super) next: u64,
    pub(super) state: KeptState,
    pub(super) records: KeptRecords,
    /// Copies of the files with something in them that could not be read.
    pub(super) set_aside: Vec<PathBuf>,
    /// The files that were needed as of the last place that says so.
    needed: Vec<FileLength>,
    /// Those that are there, as they were found.
    found: BTreeMap<u64, u64>,
    /// Calls that were answered may be lost.
    lost: bool,
}

/// Reads a directory, which is created if absent.
pub(super) fn load(directory: &Path) -> Result<Loaded, DataError> {
    const FREE_IT: &str = "give another directory, or one that can be written";
    let failed = |error: io::Error| DataError::new("open", FREE_IT, directory, error);
    std::fs::create_dir_all(directory).map_err(failed)?;
    let used_before = [LOCK, TABLES].into_iter().find(|name| directory.join(name).exists());
    let lock = lock(&directory.join(LOCK))?;
    let old = directory.join(OLD_FILE);
    if old.exists() {
        return Err(DataError::new(
            "read",
            "move the file away to begin anew, or read its streams with the version of Rokini that wrote it",
            &old,
            "it has the format of Rokini 0.1, which stored calls; this version stores what they changed",
        ));
    }
    let mut loaded = Loaded {
        lock,
        segments: BTreeMap::new(),
        next: 1,
        state: KeptState::default(),
        records: KeptRecords::new(),
        set_aside: Vec::new(),
        needed: Vec::new(),
        found: BTreeMap::new(),
        lost: false,
    };
    let numbers = loaded.list(directory).map_err(failed)?;
    if let Some(trace) = used_before.filter(|_| loaded.next == 1) {
        tracing::warn!(
            "`{}` was used before, since `{trace}` is in it, but the files with its streams (`00000001.log` and so on) are not there: it \
             begins without streams",
            directory.display()
        );
    }
    for number in &numbers {
        let path = log::path(directory, *number);
        let unreadable = |error| {
            DataError::new("read", "make it readable, or move it away to begin without it", &path, error)
        };
        let bytes = std::fs::read(&path).map_err(unreadable)?;
        loaded.found.insert(*number, bytes.len() as u64);
        let segment = loaded.take_in(&path, &bytes, numbers.last() == Some(number));
        loaded.segments.extend(segment.map(|segment| (*number, segment)));
    }
    loaded.miss_files(directory);
    if loaded.lost {
        loaded.state.skip_numbers(SKIPPED_NUMBERS);
    }
    Ok(loaded)
}

fn lock(path: &Path) -> Result<File, DataError> {
    const NEXT: &str = "end whatever else has it open, or give another directory";
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    // One that is there can be locked on a disk that takes no writing.
    let file = file.or_else(|error| File::open(path).map_err(|_| error));
    let file = file.map_err(|error| DataError::new("lock", NEXT, path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(DataError::new("lock", NEXT, path, "another process has it open"))
        }
        Err(TryLockError::Error(error)) => Err(DataError::new("lock", NEXT, path, error)),
    }
}

impl Loaded {
    /// The numbers of the files.
    fn list(&mut self, directory: &Path) -> io::Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(number) = log::number_of(&path) else { continue };
            self.next = self.next.max(number.saturating_add(1));
            if path.is_file() {
                numbers.insert(number);
            } else {
                tracing::warn!("`{}` is no file, and is passed over", path.display());
                self.lost = true;
            }
        }
        Ok(numbers)
    }

    /// What is in a file; `None` if that is nothing, and then there is no such file any more.
    fn take_in(&mut self, path: &Path, bytes: &[u8], is_last: bool) -> Option<Segment> {
        let (mut segment, mut readable, mut unread) = (Segment::default(), Vec::new(), 0);
        // A file begins with what was said before.
        let mut torn = bytes.is_empty().then_some(0);
        for piece in frame::pieces(bytes) {
            match piece {
                Piece::Frame(at, effect, place) => {
                    segment.count(&effect, place.len() as u64);
                    self.state.apply(at, &effect);
                    readable.push(place);
                    match effect {
                        Effect::Reset => {
                            self.records.clear();
                            self.segments.values_mut().for_each(Segment::forget_records);
                            segment.forget_records();
                            self.needed.clear();
                        }
                        Effect::Records { stream, shard, records } => {
                            self.records.entry((stream, shard)).or_default().extend(records);
                        }
                        _ => {}
                    }
                }
                Piece::Files(needed, place) => {
                    segment.count_bytes(place.len() as u64);
                    self.needed = needed;
                    readable.push(place);
                }
                Piece::Torn(from) => torn = Some(from),
                Piece::Damaged(place) => unread += place.len(),
            }
        }
        match torn {
            Some(from) if is_last => {
                self.lost = true;
                cut_off(path, from, bytes.len() - from);
            }
            Some(from) => unread += bytes.len() - from,
            None => {}
        }
        if unread > 0 || (bytes.is_empty() && !is_last) {
            self.lost = true;
            self.set_aside.extend(set_aside_rest(path, bytes, unread, &readable));
        }
        (!readable.is_empty()).then_some(segment)
    }

    /// Says which files are gone or were cut, since nothing in the others would show it.
    fn miss_files(&mut self, directory: &Path) {
        for (number, bytes) in &self.needed {
            let shown = log::path(directory, *number);
            let shown = shown.display();
            match self.found.get(number) {
                None => tracing::warn!("`{shown}` is not there: the {bytes} bytes in it are lost"),
                Some(found) if found < bytes => {
                    tracing::warn!(
                        "`{shown}` was cut from {bytes} to {found} bytes: what is missing is lost"
                    );
                }
                Some(_) => continue,
            }
            self.lost = true;
        }
    }

    /// Also sets aside the files with records of streams that damage made unknown, before they are deleted as not needed.
    pub(super) fn set_aside_orphans(&mut self, directory: &Path, orphans: &[(u64, u32)]) -> io::Result<()> {
        if !self.lost {
            return Ok(());
        }
        for (number, segment) in &self.segments {
            if orphans.iter().any(|orphan| segment.holds(*orphan)) {
                let aside = set_aside(&log::path(directory, *number))?;
                tracing::warn!(
                    "what the records of a stream belong to cannot be read any more; their file is set aside as `{}`",
                    aside.display()
                );
                self.set_aside.push(aside);
            }
        }
        Ok(())
    }
}
