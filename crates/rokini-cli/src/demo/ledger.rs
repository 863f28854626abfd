//! The proof ledger: what was put, what was handled, by whom, in which order, and what that proves.
//!
//! Pure: times are durations since the start of the run, handed in.

mod order;
mod repeat;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rokini_lease::SequenceNumber;
use serde::Serialize;

use order::Order;
use repeat::Repeats;
use shard::{Departure, Shard};

/// How long a record that was put and handled is remembered one by one, so that a long run does not fill the memory. It is
/// many failover times: what is repeated later has no explanation.
const REMEMBERED: Duration = Duration::from_secs(180);
/// Broken promises of one kind that are kept in detail.
const DETAILS: usize = 20;

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
    /// Its worker stood still (SIGSTOP).
    Freeze,
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

/// A worker's hold of a shard, as one delivery shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) process: Process,
    pub(crate) epoch: u64,
    /// When the record was handled.
    pub(crate) at: Duration,
}

/// A record that was handled twice, and how many more like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Twice {
    pub(crate) shard: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) number: u64,
    pub(crate) before: Hold,
    pub(crate) again: Hold,
    pub(crate) count: u64,
}

/// A record that was handled after a later one of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disorder {
    pub(crate) shard: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) number: u64,
    pub(crate) hold: Hold,
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
    /// Those of `duplicates` that are due to a kill: done and not stored as done.
    pub(crate) after_kill: u64,
    /// Those that are due to a fence: their worker was declared dead while it stood still or could not be heard.
    pub(crate) after_fence: u64,
    /// Those that neither explains.
    pub(crate) unexplained_duplicates: u64,
    /// Of these, the first ones.
    pub(crate) unexplained: Vec<Twice>,
    /// First deliveries that came after a later record of their key.
    pub(crate) order_violations: u64,
    /// The first ones of them.
    pub(crate) disorder: Vec<Disorder>,
    /// Records handled that were never put so.
    pub(crate) strangers: u64,
    /// When the first record was handled.
    pub(crate) first_record: Option<Duration>,
    /// The longest time from a put to its first delivery, of the records that were delivered.
    pub(crate) longest_wait: Duration,
    pub(crate) moves: Vec<Move>,
    /// Shards with records that nobody handled: how many, and when the oldest was put.
    pub(crate) left_behind: Vec<(Arc<str>, usize, Duration)>,
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
    /// The records that are remembered one by one.
    records: BTreeMap<u64, Record>,
    /// A number below this that is not among them was put and handled.
    forgotten: u64,
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
    /// The latest hold that delivered it.
    hold: Hold,
}

/// Keeps account of a run. See [`Proof`] for what comes out.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: BTreeMap<Arc<str>, Key>,
    shards: BTreeMap<Arc<str>, Shard>,
    departed: BTreeMap<Process, Departure>,
    repeats: Repeats,
    /// First deliveries in their order, to be forgotten in time.
    handled: VecDeque<(Duration, Arc<str>, u64)>,
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
        self.forget(seen.at);
        self.so_far.first_record.get_or_insert(seen.at);
        let hold = Hold { process: seen.process, epoch: seen.epoch, at: seen.at };
        let key = self.keys.entry(Arc::clone(&seen.key)).or_default();
        if seen.number < key.forgotten && !key.records.contains_key(&seen.number) {
            self.so_far.duplicates += 1;
            // Whoever handled it then is not known any more, and too long ago to be an excuse.
            self.repeats.add((&seen.shard, &seen.key, seen.number), hold, hold);
            return;
        }
        let record = key.records.entry(seen.number).or_default();
        let known = record.put.or_else(|| record.seen.map(|seen| seen.sequence));
        if known.is_some_and(|known| known != seen.sequence) {
            self.so_far.strangers += 1;
            return;
        }
        match record.seen {
            None => {
                self.so_far.processed += 1;
                self.handled.push_back((seen.at, Arc::clone(&seen.key), seen.number));
                if key.order.breaks(seen.pass, seen.process, seen.number) {
                    self.so_far.order_violations += 1;
                    if self.so_far.disorder.len() < DETAILS {
                        self.so_far.disorder.push(Disorder {
                            shard: Arc::clone(&seen.shard),
                            key: Arc::clone(&seen.key),
                            number: seen.number,
                            hold,
                        });
                    }
                }
            }
            Some(before) => {
                self.so_far.duplicates += 1;
                self.repeats.add((&seen.shard, &seen.key, seen.number), before.hold, hold);
            }
        }
        if record.seen.is_none_or(|before| before.hold.epoch <= seen.epoch) {
            record.seen = Some(LastSeen { sequence: seen.sequence, hold });
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

    /// Forgets records that were put and handled long ago.
    fn forget(&mut self, now: Duration) {
        while let Some((_, name, number)) = self.handled.pop_front_if(|(at, _, _)| *at + REMEMBERED < now) {
            let Some(key) = self.keys.get_mut(&name) else { continue };
            // One that nobody put is a stranger for ever.
            if key.records.get(&number).is_some_and(|record| record.put.is_some() && record.seen.is_some()) {
                key.records.remove(&number);
                key.forgotten = key.forgotten.max(number + 1);
            }
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
        if cause == Cause::Kill {
            self.repeats.killed(process, at);
        }
        for (name, epoch) in held {
            self.shards.entry(Arc::from(name)).or_default().leaves(departure, epoch);
        }
    }

    /// Takes that a worker that stood still goes on.
    pub(crate) fn goes_on(&mut self, process: Process) {
        self.departed.remove(&process);
        self.shards.values_mut().for_each(|shard| shard.stays(process));
    }

    /// Takes that a worker was declared dead by the others, at or shortly before this time.
    pub(crate) fn fenced(&mut self, process: Process, at: Duration) {
        self.repeats.fenced(process, at);
    }

    /// What is proven so far.
    pub(crate) fn proof(&self) -> Proof {
        let waiting: usize = self.shards.values().map(Shard::waiting).sum();
        let passed_over: usize = self.shards.values().map(Shard::passed_over).sum();
        let records = self.keys.values().flat_map(|key| key.records.values());
        let never_put = records.filter(|record| record.put.is_none()).count() as u64;
        let repeats = self.repeats.explained();
        let left_behind = self.shards.iter().filter_map(|(name, shard)| {
            shard.oldest_waiting().map(|put| (Arc::clone(name), shard.waiting(), put))
        });
        Proof {
            waiting: waiting as u64,
            passed_over: passed_over as u64,
            left_behind: left_behind.collect(),
            after_kill: repeats.after_kill,
            after_fence: repeats.after_fence,
            unexplained_duplicates: repeats.unexplained.iter().map(|twice| twice.count).sum(),
            unexplained: repeats.unexplained.into_iter().take(DETAILS).collect(),
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
