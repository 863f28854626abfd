//! The thread that writes: what came while it wrote is written together.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rokini_wire::Timestamp;
use tokio::sync::watch;

use crate::model::Effect;
use crate::store::log::{Live, Log};

/// Most calls written together.
const MAX_TOGETHER: usize = 256;

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Effects of one call and the number it waits for.
    Append(u64, Timestamp, Vec<Effect>),
    Reclaim(Live),
    #[cfg(test)]
    WriteInto(std::fs::File),
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last number on disk.
    pub(super) kept: u64,
    /// Something could not be written. What builds on it must not be kept either.
    pub(super) broken: bool,
}

/// Tells how far the thread is.
#[derive(Debug, Default)]
pub(super) struct Board {
    progress: Mutex<Progress>,
    moved: Condvar,
    watched: watch::Sender<Progress>,
}

impl Board {
    pub(super) fn now(&self) -> Progress {
        *self.progress.lock()
    }

    /// Blocks until a number is on disk, or nothing will be any more.
    pub(super) fn wait(&self, number: u64) -> Progress {
        let mut progress = self.progress.lock();
        while progress.kept < number && !progress.broken {
            self.moved.wait(&mut progress);
        }
        *progress
    }

    /// The same without blocking.
    pub(super) async fn settled(&self, number: u64) -> Progress {
        let mut watched = self.watched.subscribe();
        let reached = watched.wait_for(|progress| progress.kept >= number || progress.broken).await;
        reached.map_or(Progress { kept: 0, broken: true }, |progress| *progress)
    }

    /// Nothing will be on disk any more.
    pub(super) fn break_down(&self) {
        self.set(Progress { broken: true, ..self.now() });
    }

    fn set(&self, progress: Progress) {
        *self.progress.lock() = progress;
        self.moved.notify_all();
        self.watched.send_replace(progress);
    }
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(log: Log, board: Arc<Board>) -> io::Result<(Sender<Task>, JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new()
        .name("rokini-local-data".to_owned())
        .spawn(move || run(log, &receiver, &board));
    thread.map(|thread| (sender, thread))
}

/// Whoever waits for a thread that panicked waits no more.
struct Alive<'a>(&'a Board);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_down();
        }
    }
}

fn run(mut log: Log, tasks: &Receiver<Task>, board: &Board) {
    let _alive = Alive(board);
    let mut next = tasks.recv().ok();
    while let Some(task) = next.take() {
        match task {
            Task::Append(number, at, effects) => {
                let mut last = number;
                let mut together: Vec<(Timestamp, Effect)> =
                    effects.into_iter().map(|effect| (at, effect)).collect();
                for _ in 1..MAX_TOGETHER {
                    match tasks.try_recv() {
                        Ok(Task::Append(number, at, effects)) => {
                            last = number;
                            together.extend(effects.into_iter().map(|effect| (at, effect)));
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                append(&mut log, board, last, &together);
            }
            // What is still there, as the model knows it, may hang on a call that is not kept.
            Task::Reclaim(_) if board.now().broken => {}
            Task::Reclaim(live) => log.reclaim(&live),
            #[cfg(test)]
            Task::WriteInto(file) => log.write_into(file),
        }
        if next.is_none() {
            next = tasks.recv().ok();
        }
    }
    if !board.now().broken {
        log.close();
    }
}

fn append(log: &mut Log, board: &Board, last: u64, effects: &[(Timestamp, Effect)]) {
    if board.now().broken {
        return;
    }
    match log.append(effects) {
        Ok(()) => board.set(Progress { kept: last, broken: false }),
        Err(error) => {
            tracing::error!(%error, "could not store a call; changes and reads of records are refused until the next start");
            board.break_down();
        }
    }
}
