//! Shards that went from one worker to another: why, and for how long no record of them was handled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rokini_history::{Delivery, Process};
use serde::Serialize;

/// Why a shard went to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MoveCause {
    /// Its worker was asked to stop.
    Stop,
    /// Its worker was killed.
    Kill,
    /// Its worker was frozen (SIGSTOP).
    Freeze,
    /// Both live: the shards were balanced anew.
    Balance,
}

/// A shard that went to another worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) shard: Arc<str>,
    pub(crate) cause: MoveCause,
    pub(crate) from: Process,
    pub(crate) to: Process,
    /// When the new owner handled its first record.
    pub(crate) at: Duration,
    /// How long records lay unhandled because of the move.
    ///
    /// It ends with the first record that the new owner handles. It begins with the latest of: the last record
    /// that the old owner handled; the signal to the old owner, if there was one; the acknowledgement of the
    /// oldest record that was unhandled at the end. So a shard without records is never called silent, and
    /// neither is a worker that goes on handling while it stops.
    pub(crate) silence: Duration,
}

/// Watches who handles the records of each shard.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    shards: BTreeMap<Arc<str>, Shard>,
    departed: BTreeMap<Process, Departure>,
    moves: Vec<Move>,
}

#[derive(Debug, Default)]
struct Shard {
    owner: Option<Owner>,
    leaving: Option<Departure>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    process: Process,
    epoch: u64,
    /// When its latest record was handled.
    last: Duration,
}

/// The end of a worker's hold.
#[derive(Debug, Clone, Copy)]
struct Departure {
    process: Process,
    cause: MoveCause,
    at: Duration,
}

impl Moves {
    pub(crate) fn all(&self) -> &[Move] {
        &self.moves
    }

    /// Takes the signal that ended or froze a worker, and the shards it held with their epochs. A shard of which a
    /// later owner is known already did not move because of it.
    pub(crate) fn left<'a>(
        &mut self,
        process: Process,
        cause: MoveCause,
        at: Duration,
        held: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let departure = Departure { process, cause, at };
        self.departed.insert(process, departure);
        for (name, epoch) in held {
            let shard = self.shards.entry(Arc::from(name)).or_default();
            if shard.owner.is_none_or(|owner| owner.epoch <= epoch) {
                shard.leaving = Some(departure);
            }
        }
    }

    /// Takes that a worker that was frozen goes on: it did not leave.
    pub(crate) fn resumed(&mut self, process: Process) {
        self.departed.remove(&process);
        for shard in self.shards.values_mut() {
            shard.leaving.take_if(|left| left.process == process && left.cause == MoveCause::Freeze);
        }
    }

    /// Takes a delivery, first or repeated. `oldest_waiting` is when the oldest record of the shard was put that was
    /// not handled before.
    pub(crate) fn deliver(&mut self, delivery: &Delivery, oldest_waiting: Option<Duration>) {
        let Delivery { process, epoch, at, .. } = *delivery;
        let shard = self.shards.entry(Arc::clone(&delivery.shard)).or_default();
        if let Some((from, cause, since)) = shard.change(&self.departed, process, epoch) {
            // Nothing was there to be read before the oldest one. Where nothing waits, nothing was missed.
            let since = since.max(oldest_waiting.unwrap_or(at));
            let (shard, silence) = (Arc::clone(&delivery.shard), at.saturating_sub(since));
            self.moves.push(Move { shard, cause, from, to: process, at, silence });
        }
        match &mut shard.owner {
            // The rest of an earlier owner's output, read after the new owner's first line.
            Some(owner) if epoch < owner.epoch => {}
            Some(owner) if owner.process == process => (owner.epoch, owner.last) = (epoch, at),
            owner => *owner = Some(Owner { process, epoch, last: at }),
        }
    }
}

impl Shard {
    /// If this delivery shows a new owner: the old one, why it is not the owner any more, and since when nothing came
    /// from it.
    fn change(
        &mut self,
        departed: &BTreeMap<Process, Departure>,
        process: Process,
        epoch: u64,
    ) -> Option<(Process, MoveCause, Duration)> {
        let before = self.owner.filter(|owner| owner.process != process && owner.epoch < epoch);
        let left = self.leaving.take_if(|left| left.process != process);
        let left = left.or_else(|| departed.get(&before?.process).copied());
        let from = left.map(|left| left.process).or_else(|| before.map(|owner| owner.process))?;
        let times = [self.owner.map(|owner| owner.last), left.map(|left| left.at)];
        let since = times.into_iter().flatten().max().unwrap_or_default();
        Some((from, left.map_or(MoveCause::Balance, |left| left.cause), since))
    }
}
