//! The history of a demo: what the records prove, and when shards moved.

use std::time::Duration;

use rokini_history::{Cause, Delivery, Excuse, History, Process, Put};

use super::moves::{Move, MoveCause, Moves};

#[cfg(test)]
mod tests;

/// How long a record that was put and handled is remembered one by one. It is many failover times.
const REMEMBERED: Duration = Duration::from_secs(180);
/// How much later than it happened a fence may be noticed: it shows in the table of leases, read now and then.
const NOTICED: Duration = Duration::from_secs(2);
/// How long after a fence a repetition may still be due to it: a process that was frozen when it was fenced writes the
/// rest of its batch when it goes on.
const LATE_OUTPUT: Duration = Duration::from_secs(60);

/// Takes what happens in a run.
#[derive(Debug)]
pub(crate) struct RunHistory {
    records: History,
    moves: Moves,
}

impl RunHistory {
    pub(crate) fn new() -> Self {
        Self { records: History::remembering(REMEMBERED), moves: Moves::default() }
    }

    /// What the records show.
    pub(crate) fn records(&self) -> &History {
        &self.records
    }

    /// The shards that moved, in the order in which that showed.
    pub(crate) fn moves(&self) -> &[Move] {
        self.moves.all()
    }

    pub(crate) fn put(&mut self, put: &Put) {
        self.records.put(put);
    }

    pub(crate) fn deliver(&mut self, delivery: &Delivery) {
        let oldest_waiting = self.records.shard(&delivery.shard).oldest_waiting;
        if self.records.deliver(delivery) {
            self.moves.deliver(delivery, oldest_waiting);
        }
    }

    /// Takes the signal that ended or froze a worker, and the shards it held with their epochs.
    pub(crate) fn left<'a>(
        &mut self,
        process: Process,
        cause: MoveCause,
        at: Duration,
        held: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.moves.left(process, cause, at, held);
        if cause == MoveCause::Kill {
            // A killed worker cannot store how far it came; its successor repeats that much.
            self.excuse(Cause::Crash, process, at, Duration::MAX);
        }
    }

    /// Takes that a worker that was frozen goes on.
    pub(crate) fn resumed(&mut self, process: Process) {
        self.moves.resumed(process);
    }

    /// Takes that a worker was declared dead by the others, at or shortly before this time.
    pub(crate) fn fenced(&mut self, process: Process, at: Duration) {
        self.excuse(Cause::Fence, process, at.saturating_sub(NOTICED), at + LATE_OUTPUT);
    }

    fn excuse(&mut self, cause: Cause, process: Process, from: Duration, to: Duration) {
        self.records.excuse(Excuse { cause, process: Some(process), shard: None, from, to });
    }
}
