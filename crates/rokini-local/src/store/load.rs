//! Reads the files. What cannot be read is set aside, and everything else is there.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::{Effect, KeptRecords, KeptState};
use crate::store::error::DataError;
use crate::store::frame::{self, Piece};
use crate::store::log::{self, Segment};

/// Held by the one process that uses a directory.
const LOCK: &str = "kinesis.lock";
/// The file of the format before this one.
const OLD_FILE: &str = "kinesis.redb";
/// Numbers passed over in every shard after damage: more than a file can have held.
const SKIPPED_NUMBERS: u64 = 1 << 32;

/// What a directory held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) lock: File,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) state: KeptState,
    pub(super) records: KeptRecords,
    /// Copies of the files with something in them that could not be read.
    pub(super) set_aside: Vec<PathBuf>,
}

/// Reads a directory, which is created if absent.
pub(super) fn load(directory: &Path) -> Result<Loaded, DataError> {
    const FREE_IT: &str = "give another directory, or one that can be written";
    let failed = |error: io::Error| DataError::new("open", FREE_IT, directory, error);
    std::fs::create_dir_all(directory).map_err(failed)?;
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
    let listed = std::fs::read_dir(directory).map_err(failed)?;
    let mut numbers: Vec<u64> = Vec::new();
    for entry in listed {
        numbers.extend(log::number_of(&entry.map_err(failed)?.path()));
    }
    numbers.sort_unstable();
    let last = numbers.last().copied();
    let mut loaded = Loaded {
        lock,
        segments: BTreeMap::new(),
        state: KeptState::default(),
        records: KeptRecords::new(),
        set_aside: Vec::new(),
    };
    for number in numbers {
        let path = log::path(directory, number);
        let segment = loaded.read_segment(&path, Some(number) == last).map_err(|error| {
            DataError::new("read", "make it readable, or move it away to begin without it", &path, error)
        })?;
        loaded.segments.insert(number, segment);
    }
    if !loaded.set_aside.is_empty() {
        loaded.state.skip_numbers(SKIPPED_NUMBERS);
    }
    Ok(loaded)
}

fn lock(path: &Path) -> Result<File, DataError> {
    const NEXT: &str = "end whatever else has it open, or give another directory";
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
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
    fn read_segment(&mut self, path: &Path, is_last: bool) -> io::Result<Segment> {
        let bytes = std::fs::read(path)?;
        let (mut segment, mut readable, mut unread) = (Segment::default(), Vec::new(), 0);
        for piece in frame::pieces(&bytes) {
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
                        }
                        Effect::Records { stream, shard, records } => {
                            self.records.entry((stream, shard)).or_default().extend(records);
                        }
                        _ => {}
                    }
                }
                Piece::Torn(from) if is_last => {
                    tracing::info!(file = %path.display(), "cut off what was being written when the process ended");
                    OpenOptions::new().write(true).open(path)?.set_len(from as u64)?;
                }
                Piece::Torn(from) => unread += bytes.len() - from,
                Piece::Damaged(place) => unread += place.len(),
            }
        }
        if unread > 0 {
            let aside = set_aside(path)?;
            tracing::warn!(
                "{unread} of {} bytes of `{}` cannot be read. The file is set aside as `{}`; everything else in it is there.",
                bytes.len(),
                path.display(),
                aside.display()
            );
            self.set_aside.push(aside);
            replace(path, readable.into_iter().map(|place| &bytes[place]))?;
        }
        Ok(segment)
    }

    /// Also sets aside the files with records of streams that damage made unknown, before they are deleted as not needed.
    pub(super) fn set_aside_orphans(&mut self, directory: &Path, orphans: &[(u64, u32)]) -> io::Result<()> {
        if self.set_aside.is_empty() {
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

/// Gives a file a second name that nothing deletes.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for count in 1.. {
        let aside = path.with_extension(format!("damaged-{count}"));
        match std::fs::hard_link(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A file system without hard links.
            Err(_) => return std::fs::copy(path, &aside).map(|_| aside),
            Ok(()) => return Ok(aside),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn replace<'a>(path: &Path, frames: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    for frame in frames {
        file.write_all(frame)?;
    }
    file.sync_all()?;
    std::fs::rename(&new, path)
}
