//! Streams that outlive the process: what calls changed, in a log of segments.
//!
//! The files are our own, since an embedded store is one file of pages: one damaged page can cost all of it, and pages are larger
//! than what is in them. Here every frame has a checksum, a damaged one costs itself, and a file is as large as its records.

mod error;
mod frame;
mod load;
mod log;
mod mend;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use rokini_wire::{ErrorCode, ServiceError, Timestamp};

use crate::model::{Changed, Effect, KeptRecords, KeptState, Model};
use crate::settings::LocalSettings;
use crate::store::log::{Log, SEGMENT_BYTES};
use crate::store::writer::{Board, Progress, Task};

pub use error::DataError;
pub(crate) use log::Live;

/// What to do when a file cannot be written.
const MAKE_ROOM: &str = "make room on its disk";

/// What a call waits for before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Await {
    /// Everything that the answer may show: records, and what became of them.
    Everything,
    /// What is no record. Records may still be on their way to the disk.
    State,
}

/// The open directory.
#[derive(Debug)]
pub(crate) struct Store {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    board: Arc<Board>,
    /// The number of the last call given to the thread.
    last: AtomicU64,
    /// The same of the last one that changed more than records.
    last_state: AtomicU64,
    set_aside: Vec<PathBuf>,
    _lock: File,
}

/// What a directory held.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) model: Model,
    /// How far the clock was shifted.
    pub(crate) shift_millis: i64,
}

impl Store {
    /// Opens a directory and makes the model of what is in it; `now` is the clock's own time. Nothing is no model.
    pub(crate) fn open(
        directory: &Path,
        settings: LocalSettings,
        now: Timestamp,
    ) -> Result<(Self, Option<Kept>), DataError> {
        Self::open_with(directory, settings, now, SEGMENT_BYTES)
    }

    fn open_with(
        directory: &Path,
        settings: LocalSettings,
        now: Timestamp,
        segment_bytes: u64,
    ) -> Result<(Self, Option<Kept>), DataError> {
        let mut loaded = load::load(directory)?;
        let failed = |error| DataError::new("rewrite", MAKE_ROOM, directory, error);
        let shift_millis = loaded.state.shift_millis;
        let now = Timestamp::from_millis(now.millis().saturating_add(shift_millis));
        let records = std::mem::take(&mut loaded.records);
        let kept = loaded.state.last_seen.is_some();
        let (model, orphans) = rebuild(&loaded.state, records, settings, now);
        let board = Arc::new(Board::default());
        let started = loaded
            .set_aside_orphans(directory, &orphans)
            .and_then(|()| Log::begin(directory, loaded.next, loaded.segments, loaded.state, segment_bytes))
            .and_then(|log| writer::start(log, board.clone()));
        let (tasks, thread) = match started {
            Ok((tasks, thread)) => (Some(tasks), Some(thread)),
            Err(error) if !kept => return Err(failed(error)),
            Err(error) => {
                let shown = directory.display();
                tracing::error!(
                    %error,
                    "nothing can be written to `{shown}`: what is there is served, and changes are refused until the next start"
                );
                board.break_down();
                (None, None)
            }
        };
        let store = Self {
            tasks,
            thread,
            board,
            last: AtomicU64::new(0),
            last_state: AtomicU64::new(0),
            set_aside: loaded.set_aside,
            _lock: loaded.lock,
        };
        Ok((store, kept.then_some(Kept { model, shift_millis })))
    }

    /// Copies of the files that could not be read whole.
    pub(crate) fn set_aside(&self) -> &[PathBuf] {
        &self.set_aside
    }

    /// Keeps this model in place of everything kept so far.
    ///
    /// # Errors
    /// [`DataError`] if the files cannot be written.
    pub(crate) fn replace(&self, directory: &Path, at: Timestamp, model: &Model) -> Result<(), DataError> {
        self.give(at, model.all_effects(), true);
        let not_written =
            |_| DataError::new("rewrite", MAKE_ROOM, directory, "the files could not be written");
        self.wait(Await::Everything).map_err(not_written)
    }

    /// Asked before a call that changes something is carried out.
    ///
    /// # Errors
    /// InternalFailure after an earlier one could not be kept.
    pub(crate) fn check_writable(&self) -> Result<(), ServiceError> {
        if self.board.now().broken { Err(unwritable()) } else { Ok(()) }
    }

    /// Keeps what a call changed. Given in the order of the calls.
    pub(crate) fn add(&self, at: Timestamp, model: &mut Model, changed: &Changed) {
        let effects = model.effects(changed);
        if !effects.is_empty() {
            self.give(at, effects, *changed == Changed::Other);
        }
    }

    /// Keeps how far the clock is shifted.
    pub(crate) fn add_shift(&self, at: Timestamp, shift_millis: i64) {
        // A clock that cannot be kept is moved all the same, and leaves readable what is on disk.
        if !self.board.now().broken {
            self.give(at, vec![Effect::Clock { shift_millis }], true);
        }
    }

    fn give(&self, at: Timestamp, effects: Vec<Effect>, state: bool) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        if state {
            self.last_state.store(number, Ordering::Relaxed);
        }
        self.send(Task::Append(number, at, effects));
    }

    /// Frees what only records that are gone need.
    pub(crate) fn reclaim(&self, live: Live) {
        self.send(Task::Reclaim(live));
    }

    fn send(&self, task: Task) {
        // The thread ends after the sender, unless it panicked, and then nothing more is said to be kept.
        let _ = self.tasks.as_ref().map(|tasks| tasks.send(task));
    }

    fn awaited(&self, what: Await) -> u64 {
        match what {
            Await::Everything => self.last.load(Ordering::Relaxed),
            Await::State => self.last_state.load(Ordering::Relaxed),
        }
    }

    /// Blocks until what was given so far is on disk.
    ///
    /// # Errors
    /// InternalFailure if it cannot be written: calls took effect, but only until the end of the process.
    pub(crate) fn wait(&self, what: Await) -> Result<(), ServiceError> {
        let number = self.awaited(what);
        judge(number, self.board.wait(number))
    }

    /// [`Store::wait`] without blocking.
    ///
    /// # Errors
    /// As [`Store::wait`].
    pub(crate) async fn settled(&self, what: Await) -> Result<(), ServiceError> {
        let number = self.awaited(what);
        judge(number, self.board.settled(number).await)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            // Nothing is left to say to a thread that panicked.
            let _ = thread.join();
        }
    }
}

fn judge(number: u64, progress: Progress) -> Result<(), ServiceError> {
    if progress.kept >= number { Ok(()) } else { Err(unwritable()) }
}

fn unwritable() -> ServiceError {
    let message = "The files of the streams could not be written, so nothing can be changed any more. Make room on their disk, \
                   then start anew.";
    ServiceError::new(ErrorCode::InternalFailure, message)
}

/// The model, and the streams and shards of records that belong to none.
fn rebuild(
    state: &KeptState,
    records: KeptRecords,
    settings: LocalSettings,
    now: Timestamp,
) -> (Model, Vec<(u64, u32)>) {
    let keys: Vec<(u64, u32)> = records.keys().copied().collect();
    let (model, unreadable) = Model::of_kept(state, records, settings, now);
    for (id, error) in unreadable {
        tracing::warn!(%error, "stream {id} is left out, since what was kept of it cannot be read");
    }
    let known: std::collections::BTreeSet<u64> = model.stream_keys().into_iter().map(|(id, _)| id).collect();
    let orphans = keys.into_iter().filter(|(stream, _)| !known.contains(stream)).collect();
    (model, orphans)
}
