//! The history itself: takes what happened, says what it proves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rokini_types::SequenceNumber;

use crate::cause::{Excuse, Repeat, Repeats};
use crate::findings::{DETAILS, Disorder, Findings, LeftBehind, StaleCall};
use crate::order::{CERTAIN, Order};
use crate::record::{CallEnd, CallId, Delivery, Hold, Observed, Process, Put};

/// A span of time, both ends included.
type Span = (Duration, Duration);

/// Takes what happened in a run. See [`Findings`] for what comes out.
#[derive(Debug, Default)]
pub struct History {
    keys: BTreeMap<Arc<str>, Key>,
    shards: BTreeMap<Arc<str>, Shard>,
    repeats: Repeats,
    /// Times in which records may wait.
    explained: Vec<Span>,
    /// The round of the latest delivery, where deliveries are observed in calls.
    round: u64,
    /// For how long a handled record is remembered one by one; for ever if it is `None`.
    remembered: Option<Duration>,
    /// First deliveries in their order, to be forgotten in time.
    handled: VecDeque<(Duration, Arc<str>, u64)>,
    so_far: Findings,
}

#[derive(Debug, Default)]
struct Key {
    /// The records that are remembered one by one.
    records: BTreeMap<u64, Record>,
    /// How many were put.
    put: u64,
    /// A number below this that is not among the records was put and handled.
    forgotten: u64,
    order: Order,
}

#[derive(Debug, Default)]
struct Record {
    put: Option<(SequenceNumber, Duration)>,
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    sequence: SequenceNumber,
    first: Duration,
    /// The latest hold that delivered it.
    hold: Hold,
}

#[derive(Debug, Default)]
struct Shard {
    /// Records that were put and not handled, with the time of their put.
    waiting: BTreeMap<SequenceNumber, Duration>,
    /// The highest number handled.
    reached: Option<SequenceNumber>,
    deliveries: u64,
    /// The highest epoch that a call began under.
    epoch: Option<u64>,
}

/// What the history knows of a shard at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardState {
    /// Records put and not handled.
    pub waiting: usize,
    /// When the oldest of them was put.
    pub oldest_waiting: Option<Duration>,
    /// Deliveries so far, repeated ones included.
    pub deliveries: u64,
}

impl Shard {
    fn oldest_waiting(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|(_, at)| *at)
    }
}

impl History {
    /// A history that forgets the single records so long after they were put and handled, so that a long run does not
    /// fill the memory. A record that is repeated later than that has no cause.
    #[must_use]
    pub fn remembering(time: Duration) -> Self {
        Self { remembered: Some(time), ..Self::default() }
    }

    /// The number that the next record of a key is to have.
    #[must_use]
    pub fn next_number(&self, key: &str) -> u64 {
        self.keys.get(key).map_or(0, |key| key.put)
    }

    /// Takes a record that was put. It may have been handled already: an acknowledgement can be observed later than
    /// the delivery.
    pub fn put(&mut self, put: &Put) {
        let key = self.keys.entry(Arc::clone(&put.key)).or_default();
        key.put += 1;
        let record = key.records.entry(put.number).or_default();
        record.put = Some((put.sequence, put.at));
        self.so_far.put += 1;
        let shard = self.shards.entry(Arc::clone(&put.shard)).or_default();
        match record.seen {
            Some(seen) if seen.sequence == put.sequence => {}
            early => {
                if let Some(seen) = early {
                    self.so_far.handled -= 1;
                    self.so_far.add_unknown(&put.key, put.number, seen.hold);
                }
                record.seen = None;
                shard.waiting.insert(put.sequence, put.at);
            }
        }
    }

    /// Takes that a handler call begins.
    pub fn begin(&mut self, process: Process, shard: &Arc<str>, epoch: u64, at: Duration) -> CallId {
        let call = self.repeats.begin();
        let state = self.shards.entry(Arc::clone(shard)).or_default();
        if let Some(after) = state.epoch.filter(|after| epoch < *after)
            && self.so_far.stale_calls.len() < DETAILS
        {
            let hold = Hold { process, epoch, at, call: Some(call) };
            self.so_far.stale_calls.push(StaleCall { shard: Arc::clone(shard), hold, after });
        }
        state.epoch = state.epoch.max(Some(epoch));
        call
    }

    /// Whether no call for the shard has begun under this epoch or a later one.
    #[must_use]
    pub fn is_new_epoch(&self, shard: &str, epoch: u64) -> bool {
        self.shards.get(shard).is_none_or(|shard| Some(epoch) > shard.epoch)
    }

    /// Takes that a handler call ends.
    pub fn end(&mut self, call: CallId, end: CallEnd) {
        self.repeats.end(call, end);
    }

    /// Takes a record that reached a handler. False if it is none that is known: it was not put so, or too long ago.
    pub fn deliver(&mut self, delivery: &Delivery) -> bool {
        self.forget(delivery.at);
        self.so_far.first_delivery.get_or_insert(delivery.at);
        let (hold, number) = (delivery.hold(), delivery.number);
        let round = match delivery.observed {
            Observed::InRound(round) => round,
            // Each is certain to come after the one before it.
            Observed::InCall(_) => self.round + CERTAIN,
        };
        self.round = round;
        let repeat = |before| Repeat {
            shard: Arc::clone(&delivery.shard),
            key: Arc::clone(&delivery.key),
            number,
            before,
            again: hold,
            count: 1,
        };
        let key = self.keys.entry(Arc::clone(&delivery.key)).or_default();
        if number < key.forgotten && !key.records.contains_key(&number) {
            self.so_far.repeated += 1;
            // Which worker handled it then is not known any more, and too long ago to have a cause.
            self.repeats.add(repeat(hold));
            return false;
        }
        let record = key.records.entry(number).or_default();
        let known =
            record.put.map(|(sequence, _)| sequence).or_else(|| record.seen.map(|seen| seen.sequence));
        if known.is_some_and(|known| known != delivery.sequence) {
            self.so_far.add_unknown(&delivery.key, number, hold);
            return false;
        }
        match &mut record.seen {
            Some(seen) => {
                self.so_far.repeated += 1;
                self.repeats.add(repeat(seen.hold));
                if seen.hold.epoch <= hold.epoch {
                    seen.hold = hold;
                }
            }
            none => {
                *none = Some(Seen { sequence: delivery.sequence, first: delivery.at, hold });
                self.so_far.handled += 1;
                if self.remembered.is_some() {
                    self.handled.push_back((delivery.at, Arc::clone(&delivery.key), number));
                }
                if key.order.breaks(round, delivery.process, number) {
                    self.so_far.out_of_order += 1;
                    if self.so_far.disorder.len() < DETAILS {
                        let (shard, key) = (Arc::clone(&delivery.shard), Arc::clone(&delivery.key));
                        self.so_far.disorder.push(Disorder { shard, key, number, hold });
                    }
                }
            }
        }
        let shard = self.shards.entry(Arc::clone(&delivery.shard)).or_default();
        shard.waiting.remove(&delivery.sequence);
        shard.reached = shard.reached.max(Some(delivery.sequence));
        shard.deliveries += 1;
        true
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self, key: &str) -> usize {
        self.keys[key].records.len()
    }

    /// Forgets records that were put and handled long ago.
    fn forget(&mut self, now: Duration) {
        let Some(remembered) = self.remembered else { return };
        while let Some((_, name, number)) = self.handled.pop_front_if(|(at, _, _)| *at + remembered < now) {
            let Some(key) = self.keys.get_mut(&name) else { continue };
            // One that was never put is unknown for ever.
            let Some(span) = key.records.get(&number).and_then(Record::wait) else { continue };
            key.records.remove(&number);
            key.forgotten = key.forgotten.max(number + 1);
            self.so_far.add_wait(beyond(span, &union(&self.explained)), &name, number);
        }
    }

    /// Takes something after which records may be handled again.
    pub fn excuse(&mut self, excuse: Excuse) {
        self.repeats.excuse(excuse);
    }

    /// Takes a time in which records may wait.
    pub fn explain(&mut self, from: Duration, to: Duration) {
        self.explained.push((from, to));
    }

    /// Whether everything put was handled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shards.values().all(|shard| shard.waiting.is_empty())
    }

    /// When the oldest record was put that was not handled.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Duration> {
        self.shards.values().filter_map(Shard::oldest_waiting).min()
    }

    /// How a shard stands.
    #[must_use]
    pub fn shard(&self, name: &str) -> ShardState {
        self.shards.get(name).map_or_else(ShardState::default, |shard| ShardState {
            waiting: shard.waiting.len(),
            oldest_waiting: shard.oldest_waiting(),
            deliveries: shard.deliveries,
        })
    }

    /// The counters put, handled, repeated and out of order, without the walk through all records.
    #[must_use]
    pub fn so_far(&self) -> &Findings {
        &self.so_far
    }

    /// What is proven so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut findings = self.so_far.clone();
        let explained = union(&self.explained);
        for (name, key) in &self.keys {
            for (number, record) in &key.records {
                match record {
                    Record { put: None, seen: Some(seen) } => {
                        findings.handled -= 1;
                        findings.add_unknown(name, *number, seen.hold);
                    }
                    _ => {
                        if let Some(span) = record.wait() {
                            findings.add_wait(beyond(span, &explained), name, *number);
                        }
                    }
                }
            }
        }
        for (name, shard) in &self.shards {
            let Some(oldest) = shard.oldest_waiting() else { continue };
            let count = shard.waiting.len();
            findings.waiting += count as u64;
            let passed = shard.reached.map_or(0, |reached| shard.waiting.range(..reached).count());
            findings.passed_over += passed as u64;
            findings.left_behind.push(LeftBehind { shard: Arc::clone(name), count, oldest });
        }
        (findings.causes, findings.unexplained_repeats) = self.repeats.explained();
        findings.unexplained = findings.unexplained_repeats.iter().map(|repeat| repeat.count).sum();
        findings.unexplained_repeats.truncate(DETAILS);
        findings
    }
}

impl Record {
    /// From its put to its first delivery.
    fn wait(&self) -> Option<Span> {
        Some((self.put?.1, self.seen?.first))
    }
}

impl Findings {
    fn add_unknown(&mut self, key: &Arc<str>, number: u64, hold: Hold) {
        self.unknown += 1;
        if self.unknown_records.len() < DETAILS {
            self.unknown_records.push((Arc::clone(key), number, hold));
        }
    }

    fn add_wait(&mut self, wait: Duration, key: &Arc<str>, number: u64) {
        if wait > self.longest_wait {
            (self.longest_wait, self.longest_waiting) = (wait, Some((Arc::clone(key), number)));
        }
    }
}

/// The same spans without overlaps, in order.
fn union(spans: &[Span]) -> Vec<Span> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// How long a span is without what others cover, which do not overlap.
fn beyond((from, to): Span, others: &[Span]) -> Duration {
    let covered: Duration =
        others.iter().map(|(begin, end)| to.min(*end).saturating_sub(from.max(*begin))).sum();
    to.saturating_sub(from).saturating_sub(covered)
}
