//! One shard in the ledger: what waits in it, who handles it, when it moved and for how long it was silent.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_lease::SequenceNumber;

use super::{Cause, Process};

/// What the ledger knows of a shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Records that were put and not handled, with the time of their put.
    waiting: BTreeMap<SequenceNumber, Duration>,
    /// The highest number handled.
    reached: Option<SequenceNumber>,
    deliveries: u64,
    longest_wait: Duration,
    holder: Option<Holder>,
    leaving: Option<Departure>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) process: Process,
    pub(super) epoch: u64,
    /// When its latest record was handled.
    last: Duration,
}

/// The end of a worker's hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) process: Process,
    pub(super) cause: Cause,
    pub(super) at: Duration,
}

/// A change of owner that the records show.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Process,
    pub(super) cause: Cause,
    pub(super) silence: Duration,
}

impl Shard {
    pub(super) fn put(&mut self, sequence: SequenceNumber, at: Duration) {
        self.waiting.insert(sequence, at);
    }

    /// Records a departure from this shard, unless a later owner was seen already.
    pub(super) fn leaves(&mut self, departure: Departure, epoch: u64) {
        if self.holder.is_none_or(|holder| holder.epoch <= epoch) {
            self.leaving = Some(departure);
        }
    }

    /// Takes back that a process stood still.
    pub(super) fn stays(&mut self, process: Process) {
        self.leaving.take_if(|left| left.process == process && left.cause == Cause::Freeze);
    }

    /// Takes a delivery, first or repeated, and tells whether it shows a new owner. `departed` is how a process left,
    /// if it did.
    pub(super) fn handled(
        &mut self,
        (process, epoch): (Process, u64),
        sequence: SequenceNumber,
        at: Duration,
        departed: impl Fn(Process) -> Option<Departure>,
    ) -> Option<Change> {
        let change = self.change(process, epoch, at, departed);
        if let Some(put) = self.waiting.remove(&sequence) {
            self.longest_wait = self.longest_wait.max(at.saturating_sub(put));
        }
        self.reached = self.reached.max(Some(sequence));
        self.deliveries += 1;
        match &mut self.holder {
            // The rest of an earlier owner's output, read after the new owner's first line.
            Some(holder) if epoch < holder.epoch => {}
            Some(holder) if holder.process == process => {
                (holder.epoch, holder.last) = (epoch, at);
            }
            holder => *holder = Some(Holder { process, epoch, last: at }),
        }
        change
    }

    fn change(
        &mut self,
        process: Process,
        epoch: u64,
        at: Duration,
        departed: impl Fn(Process) -> Option<Departure>,
    ) -> Option<Change> {
        let before = self.holder.filter(|holder| holder.process != process && holder.epoch < epoch);
        let left = self.leaving.take_if(|left| left.process != process);
        let left = left.or_else(|| departed(before?.process));
        let from = left.map(|left| left.process).or_else(|| before.map(|holder| holder.process))?;
        let since = [
            self.holder.map(|holder| holder.last),
            left.map(|left| left.at),
            // Nothing was there to be read before this. Where nothing waits, nothing was missed.
            Some(self.oldest_waiting().unwrap_or(at)),
        ];
        let since = since.into_iter().flatten().max().unwrap_or(at);
        Some(Change {
            from,
            cause: left.map_or(Cause::Balance, |left| left.cause),
            silence: at.saturating_sub(since),
        })
    }

    /// When the oldest record was put that was not handled yet.
    pub(super) fn oldest_waiting(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|(_, at)| *at)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Records that wait although a later one of the shard was handled.
    pub(super) fn passed_over(&self) -> usize {
        self.reached.map_or(0, |reached| self.waiting.range(..reached).count())
    }

    /// The longest time from a put to its first delivery.
    pub(super) fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        self.holder
    }
}
