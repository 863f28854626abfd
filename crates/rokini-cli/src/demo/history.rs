//! The history of a demo: what the records prove, and when shards moved.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_history::{Cause, Delivery, ExpectedRepeat, History, Process, Put};

use super::moves::{Move, MoveCause, Moves};

#[cfg(test)]
mod tests;

/// How long a record that was put and handled is remembered one by one. It is many failover times.
const REMEMBERED: Duration = Duration::from_secs(180);
/// How much later than it happened a fence may be noticed: it shows in the table of leases, read now and then. A line may be
/// read later than it was written, too.
const NOTICED: Duration = Duration::from_secs(2);
/// How long after it learns of its fence a worker may still write the rest of a batch: its next heartbeat, and what stands in
/// its pipe.
const LATE_OUTPUT: Duration = Duration::from_secs(5);
/// How old a record may be, since its position could be stored, that was not stored: the interval of checkpoints, and a few
/// failing writes with their back-offs.
const UNSTORED: Duration = Duration::from_secs(10);

/// Takes what happens in a run.
#[derive(Debug)]
pub(crate) struct RunHistory {
    records: History,
    moves: Moves,
    failover: Duration,
    /// Since when workers stand still.
    frozen: BTreeMap<Process, Duration>,
}

impl RunHistory {
    /// `failover` is that of the workers.
    pub(crate) fn new(failover: Duration) -> Self {
        let records = History::remembering(REMEMBERED);
        Self { records, moves: Moves::default(), failover, frozen: BTreeMap::new() }
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
        match cause {
            MoveCause::Freeze => {
                self.frozen.entry(process).or_insert(at);
            }
            // A killed worker cannot store what it did last; its successor repeats that much.
            MoveCause::Kill => {
                let since = self.frozen.remove(&process).unwrap_or(at);
                self.excuse(Cause::Crash, process, since, at, at + NOTICED);
            }
            _ => {}
        }
    }

    /// Takes that a worker that was frozen goes on. It writes the rest of its batch, whoever has its shards by now.
    pub(crate) fn resumed(&mut self, process: Process, at: Duration) {
        self.moves.resumed(process);
        if let Some(since) = self.frozen.remove(&process) {
            self.excuse(Cause::Fence, process, since, since, at + LATE_OUTPUT);
        }
    }

    /// Takes that a worker was declared dead by the others, at or shortly before this time: it had been silent since the
    /// failover time before that.
    pub(crate) fn fenced(&mut self, process: Process, at: Duration) {
        let silent = at.saturating_sub(NOTICED + self.failover);
        let since = self.frozen.get(&process).copied().unwrap_or(silent);
        self.excuse(Cause::Fence, process, since, at.saturating_sub(NOTICED), at + LATE_OUTPUT);
    }

    /// What a worker could not store since then may come again in this time.
    fn excuse(&mut self, cause: Cause, process: Process, since: Duration, from: Duration, to: Duration) {
        let since = since.saturating_sub(UNSTORED);
        self.records.excuse(ExpectedRepeat { cause, process: Some(process), shard: None, since, from, to });
    }
}
