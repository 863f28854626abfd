//! The proof ledger: what was put, what was handled, by whom, in which order, and what that proves.
//!
//! Pure: times are durations since the start of the run, handed in.

mod order;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rokini_lease::SequenceNumber;
use serde::Serialize;

use order::Order;
use shard::{Departure, Shard};

/// A worker process, by the order of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process(pub(crate) usize);

/// Why a shard went to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cause {
    /// Its worker was asked to stop.
    Stop,
    /// Its worker was killed.
    Kill,
    /// Both live: the shards were spread anew.
    Balance,
}

/// A record that the stream acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) key: Arc<str>,
    /// Counts the records of the key from 0, in the order of their puts.
    pub(crate) number: u64,
    pub(crate) shard: Arc<str>,
    pub(crate) sequence: SequenceNumber,
    /// When the acknowledgement came: from then on the record could be read.
    pub(crate) at: Duration,
}

/// A record that a worker reports as handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) process: Process,
    /// The round of reading all pipes in which the line was read; never falls.
    pub(crate) pass: u64,
    pub(crate) at: Duration,
    pub(crate) shard: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) sequence: SequenceNumber,
    pub(crate) key: Arc<str>,
    pub(crate) number: u64,
}

/// A shard that went to another worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) shard: Arc<str>,
    pub(crate) cause: Cause,
    pub(crate) from: Process,
    pub(crate) to: Process,
    /// When the new owner handled its first record.
    pub(crate) at: Duration,
    /// How long records lay unhandled because of the move.
    ///
    /// It ends with the first record that the new owner handles. It begins with the latest of: the last record
    /// that the old owner handled; the signal to the old owner, if there was one; the acknowledgement of the
    /// oldest record that nobody had handled by the end. So a shard without records is never called silent, and
    /// neither is a worker that goes on handling while it stops.
    pub(crate) silence: Duration,
}

/// What the ledger proves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Proof {
    /// Records acknowledged by the stream.
    pub(crate) produced: u64,
    /// Different records handled.
    pub(crate) processed: u64,
    /// Records put and not handled.
    pub(crate) waiting: u64,
    /// Those of `waiting` behind which a later record of the shard was handled: nobody will come back for them.
    pub(crate) passed_over: u64,
    /// Deliveries beyond the first of a record.
    pub(crate) duplicates: u64,
    /// Those of `duplicates` that no kill explains.
    pub(crate) unexplained_duplicates: u64,
    /// First deliveries that came after a later record of their key.
    pub(crate) order_violations: u64,
    /// Records handled that were never put so.
    pub(crate) strangers: u64,
    /// When the first record was handled.
    pub(crate) first_record: Option<Duration>,
    /// The longest time from a put to its first delivery, of the records that were delivered.
    pub(crate) longest_wait: Duration,
    pub(crate) moves: Vec<Move>,
}

/// What the ledger knows of a shard at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShardNow {
    /// Records put and not handled.
    pub(crate) waiting: usize,
    /// When the oldest of them was put.
    pub(crate) oldest_waiting: Option<Duration>,
    /// Deliveries so far, repeated ones included.
    pub(crate) deliveries: u64,
    /// Who handled its latest record.
    pub(crate) holder: Option<Process>,
}

#[derive(Debug, Default)]
struct Key {
    records: BTreeMap<u64, Record>,
    order: Order,
}

#[derive(Debug, Default)]
struct Record {
    put: Option<SequenceNumber>,
    seen: Option<LastSeen>,
}

#[derive(Debug, Clone, Copy)]
struct LastSeen {
    sequence: SequenceNumber,
    by: Process,
}

/// Keeps account of a run. See [`Proof`] for what comes out.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: BTreeMap<Arc<str>, Key>,
    shards: BTreeMap<Arc<str>, Shard>,
    departed: BTreeMap<Process, Departure>,
    so_far: Proof,
}

impl Ledger {
    /// Takes a record that was put. It may have been handled already: the acknowledgement can come later than a
    /// worker's line.
    pub(crate) fn put(&mut self, put: &Put) {
        let key = self.keys.entry(Arc::clone(&put.key)).or_default();
        let record = key.records.entry(put.number).or_default();
        record.put = Some(put.sequence);
        self.so_far.produced += 1;
        let shard = self.shards.entry(Arc::clone(&put.shard)).or_default();
        match record.seen {
            Some(seen) if seen.sequence == put.sequence => {}
            early => {
                self.so_far.strangers += u64::from(early.is_some());
                self.so_far.processed -= u64::from(early.is_some());
                record.seen = None;
                shard.put(put.sequence, put.at);
            }
        }
    }

    /// Takes a record that was handled.
    pub(crate) fn seen(&mut self, seen: &Seen) {
        self.so_far.first_record.get_or_insert(seen.at);
        let key = self.keys.entry(Arc::clone(&seen.key)).or_default();
        let record = key.records.entry(seen.number).or_default();
        let known = record.put.or_else(|| record.seen.map(|seen| seen.sequence));
        if known.is_some_and(|known| known != seen.sequence) {
            self.so_far.strangers += 1;
            return;
        }
        match record.seen.replace(LastSeen { sequence: seen.sequence, by: seen.process }) {
            None => {
                self.so_far.processed += 1;
                let breaks = key.order.breaks(seen.pass, seen.process, seen.number);
                self.so_far.order_violations += u64::from(breaks);
            }
            Some(before) => {
                self.so_far.duplicates += 1;
                // A killed worker cannot store how far it came; whoever follows repeats that much.
                let killed = self.departed.get(&before.by).filter(|left| left.cause == Cause::Kill);
                let explained = killed.is_some_and(|left| before.by != seen.process && seen.at >= left.at);
                self.so_far.unexplained_duplicates += u64::from(!explained);
            }
        }
        let shard = self.shards.entry(Arc::clone(&seen.shard)).or_default();
        let departed = |process| self.departed.get(&process).copied();
        let change = shard.handled((seen.process, seen.epoch), seen.sequence, seen.at, departed);
        if let Some(change) = change {
            self.so_far.moves.push(Move {
                shard: Arc::clone(&seen.shard),
                cause: change.cause,
                from: change.from,
                to: seen.process,
                at: seen.at,
                silence: change.silence,
            });
        }
    }

    /// Takes the signal that ended a worker, and the shards it held with their epochs.
    pub(crate) fn left<'a>(
        &mut self,
        process: Process,
        cause: Cause,
        at: Duration,
        held: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let departure = Departure { process, cause, at };
        self.departed.insert(process, departure);
        for (name, epoch) in held {
            self.shards.entry(Arc::from(name)).or_default().leaves(departure, epoch);
        }
    }

    /// What is proven so far.
    pub(crate) fn proof(&self) -> Proof {
        let waiting: usize = self.shards.values().map(Shard::waiting).sum();
        let passed_over: usize = self.shards.values().map(Shard::passed_over).sum();
        let records = self.keys.values().flat_map(|key| key.records.values());
        let never_put = records.filter(|record| record.put.is_none()).count() as u64;
        Proof {
            waiting: waiting as u64,
            passed_over: passed_over as u64,
            processed: self.so_far.processed - never_put,
            strangers: self.so_far.strangers + never_put,
            longest_wait: self.shards.values().map(Shard::longest_wait).max().unwrap_or_default(),
            ..self.so_far.clone()
        }
    }

    /// Whether everything put was handled.
    pub(crate) fn is_drained(&self) -> bool {
        self.shards.values().all(|shard| shard.waiting() == 0)
    }

    /// Counters without the walk through all records: produced, processed, duplicates, order violations.
    pub(crate) fn so_far(&self) -> &Proof {
        &self.so_far
    }

    /// How a shard stands.
    pub(crate) fn shard(&self, name: &str) -> ShardNow {
        self.shards.get(name).map_or_else(ShardNow::default, |shard| ShardNow {
            waiting: shard.waiting(),
            oldest_waiting: shard.oldest_waiting(),
            deliveries: shard.deliveries(),
            holder: shard.holder().map(|holder| holder.process),
        })
    }
}
