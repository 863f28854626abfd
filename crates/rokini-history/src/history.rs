//! The history itself: takes what happened, says what it proves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cause::{ExpectedRepeat, Repeat, Repeats, Span};
use crate::findings::{DETAILS, Disorder, Findings, PassedOver, StaleCall};
use crate::order::{CERTAIN, Order};
use crate::record::{
    CallEnd, CallId, Delivery, ExtendedSequenceNumber, Observed, ObservedHold, Place, Process, Put,
};

/// Takes what happened in a run. See [`Findings`] for what comes out.
///
/// A record is *done* once some handler call that had it returned well, under an epoch that no operator's seek behind
/// it ended. Where deliveries are observed in rounds, one that is observed is done.
#[derive(Debug, Default)]
pub struct History {
    pub(crate) keys: BTreeMap<Arc<str>, Key>,
    pub(crate) shards: BTreeMap<Arc<str>, Shard>,
    pub(crate) repeats: Repeats,
    calls: Vec<Call>,
    /// Times in which records of a shard may wait; those of every shard under no name.
    pub(crate) explained: BTreeMap<Option<Arc<str>>, Vec<Span>>,
    /// The round of the latest delivery, where deliveries are observed in calls.
    round: u64,
    /// For how long a handled record is remembered one by one; for ever if it is `None`.
    remembered: Option<Duration>,
    /// Records done, in their order, to be forgotten in time.
    handled: VecDeque<Handled>,
    pub(crate) so_far: Findings,
}

/// A record that is done: when, of which shard, its key and number.
type Handled = (Duration, Arc<str>, Arc<str>, u64);

#[derive(Debug, Default)]
pub(crate) struct Key {
    /// The records that are remembered one by one.
    pub(crate) records: BTreeMap<u64, Record>,
    /// How many were put.
    put: u64,
    /// A number below this that is not among the records was put and done.
    forgotten: u64,
    order: Order,
    /// The latest record that was done under the latest epoch of its shard.
    latest_done: Option<(Arc<str>, u64, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) put: Option<(ExtendedSequenceNumber, Duration)>,
    pub(crate) seen: Option<Seen>,
    /// It was delivered more than once, and not by a token: it is to be done in its order.
    again: bool,
    /// Calls that have it now.
    running: u32,
    /// Since when it waits for a call.
    pub(crate) waiting_since: Option<Duration>,
    /// The waits that ended.
    pub(crate) waits: Vec<Span>,
    /// Under which epoch a call ended well that had it.
    done: Option<u64>,
    /// Since when everything up to it is done, so that its position can be stored.
    pub(crate) storable: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) sequence: ExtendedSequenceNumber,
    /// The latest hold that delivered it.
    pub(crate) hold: ObservedHold,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Records that were put and are not done, with the time of their put.
    pub(crate) waiting: BTreeMap<ExtendedSequenceNumber, Duration>,
    /// The records that are remembered one by one.
    records: BTreeMap<ExtendedSequenceNumber, (Arc<str>, u64)>,
    /// Those that are done after one that is not, or that is to be done again.
    beyond: BTreeMap<ExtendedSequenceNumber, (Arc<str>, u64)>,
    /// Those that were done under an earlier epoch, after the position that the present hold began at: it can store no
    /// position after them before they are done once more.
    again: BTreeSet<ExtendedSequenceNumber>,
    /// The epoch of the present hold, where it is told.
    held: Option<u64>,
    /// The highest number handled.
    pub(crate) reached: Option<ExtendedSequenceNumber>,
    deliveries: u64,
    /// The highest epoch that a call began under.
    epoch: Option<u64>,
    /// The epoch that the latest seek began.
    sought: Option<u64>,
    /// When the last record of it was done.
    pub(crate) drained: Option<Duration>,
    /// The shards that it came from.
    pub(crate) parents: Vec<Arc<str>>,
}

/// A handler call and what it got.
#[derive(Debug)]
struct Call {
    epoch: u64,
    shard: Arc<str>,
    records: Vec<(Arc<str>, u64)>,
}

/// What the history knows of a shard at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardState {
    /// Records put and not done.
    pub waiting: usize,
    /// When the oldest of them was put.
    pub oldest_waiting: Option<Duration>,
    /// Deliveries so far, repeated ones included.
    pub deliveries: u64,
}

impl Shard {
    /// The records that are remembered one by one: key and number.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = &(Arc<str>, u64)> {
        self.records.values()
    }

    pub(crate) fn oldest_waiting(&self) -> Option<Duration> {
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
        shard.records.insert(put.sequence, (Arc::clone(&put.key), put.number));
        match record.seen {
            Some(seen) if seen.sequence == put.sequence => record.waits.push((put.at, seen.hold.at)),
            early => {
                if let Some(seen) = early {
                    self.so_far.handled -= 1;
                    self.so_far.add_unknown(&put.key, put.number, seen.hold);
                }
                (record.seen, record.done, record.waiting_since) = (None, None, Some(put.at));
                shard.waiting.insert(put.sequence, put.at);
            }
        }
    }

    /// Takes that a shard came from others: its records wait for all of theirs.
    pub fn child(&mut self, shard: &Arc<str>, parents: Vec<Arc<str>>) {
        self.shards.entry(Arc::clone(shard)).or_default().parents = parents;
    }

    /// Takes that a handler call begins.
    pub fn begin(&mut self, process: Process, shard: &Arc<str>, epoch: u64, at: Duration) -> CallId {
        let call = self.repeats.begin();
        self.calls.push(Call { epoch, shard: Arc::clone(shard), records: Vec::new() });
        let state = self.shards.entry(Arc::clone(shard)).or_default();
        if let Some(after) = state.epoch.filter(|after| epoch < *after)
            && self.so_far.stale_calls.len() < DETAILS
        {
            let hold = ObservedHold { process, epoch, at, call: Some(call) };
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

    /// The lease of the shard was deleted and is made anew by clocks that cannot be trusted: its epochs may begin lower than they
    /// were.
    pub fn made_anew(&mut self, shard: &Arc<str>) {
        self.shards.entry(Arc::clone(shard)).or_default().epoch = None;
    }

    /// Takes that a handler call ends.
    pub fn end(&mut self, call: CallId, end: CallEnd, at: Duration) {
        self.repeats.end(call, end);
        let Call { epoch, shard, records } = &mut self.calls[call.0];
        let (epoch, shard, records) = (*epoch, Arc::clone(shard), std::mem::take(records));
        for (key, number) in records {
            if end == CallEnd::Done {
                self.done(&shard, &key, number, Some(epoch), at);
            }
            let Some(record) = self.record(&key, number) else { continue };
            record.running = record.running.saturating_sub(1);
            if record.running == 0 && record.done.is_none() {
                record.waiting_since.get_or_insert(at);
            }
        }
    }

    fn record(&mut self, key: &str, number: u64) -> Option<&mut Record> {
        self.keys.get_mut(key)?.records.get_mut(&number)
    }

    /// A record is done, by a call under this epoch, or given up by the failure policy where there is none.
    fn done(&mut self, name: &Arc<str>, key_name: &Arc<str>, number: u64, epoch: Option<u64>, at: Duration) {
        let Some(shard) = self.shards.get_mut(name) else { return };
        // After a seek that went back a call of an earlier hold does not count.
        if epoch.is_some_and(|epoch| Some(epoch) < shard.sought) {
            return;
        }
        let Some(key) = self.keys.get_mut(key_name) else { return };
        let Some(record) = key.records.get_mut(&number) else { return };
        let Some(sequence) =
            record.put.map(|(sequence, _)| sequence).or_else(|| record.seen.map(|seen| seen.sequence))
        else {
            return;
        };
        let epoch = epoch.or(shard.epoch).unwrap_or_default();
        if let Some((latest_shard, latest_epoch, latest)) = &key.latest_done
            && latest_shard == name
            && *latest_epoch == epoch
            && number < *latest
            && record.done.is_none()
            && record.again
        {
            self.so_far.out_of_order += 1;
            if let (Some(seen), true) = (record.seen, self.so_far.disorder.len() < DETAILS) {
                let (shard, key) = (Arc::clone(name), Arc::clone(key_name));
                self.so_far.disorder.push(Disorder { shard, key, number, hold: seen.hold });
            }
        }
        key.latest_done = Some((Arc::clone(name), epoch, number));
        record.waiting_since = None;
        if record.done.replace(epoch).is_some() {
            // The next one may have to repeat what this hold could not store.
            if shard.held.is_none_or(|held| epoch >= held) && shard.again.remove(&sequence) {
                record.storable = None;
                shard.beyond.insert(sequence, (Arc::clone(key_name), number));
                self.note_storable(name, at);
            } else {
                record.storable = record.storable.map(|storable| storable.max(at));
            }
            return;
        }
        if self.remembered.is_some() {
            self.handled.push_back((at, Arc::clone(name), Arc::clone(key_name), number));
        }
        shard.waiting.remove(&sequence);
        shard.beyond.insert(sequence, (Arc::clone(key_name), number));
        shard.drained = shard.waiting.is_empty().then_some(at);
        self.note_storable(name, at);
    }

    /// Notes which of the records that are done have nothing before them any more that is not.
    fn note_storable(&mut self, name: &Arc<str>, at: Duration) {
        let Some(shard) = self.shards.get_mut(name) else { return };
        let waiting = shard.waiting.first_key_value().map(|(first, _)| *first);
        let first = waiting.into_iter().chain(shard.again.first().copied()).min();
        while let Some(next) =
            shard.beyond.first_entry().filter(|next| first.is_none_or(|first| *next.key() < first))
        {
            let (key, number) = next.remove();
            if let Some(record) = self.keys.get_mut(&key).and_then(|key| key.records.get_mut(&number)) {
                record.storable = Some(at);
            }
        }
    }

    /// Takes a record that was given up by the failure policy: skipped, or confirmed by the sink for dead letters.
    pub fn give_up(&mut self, shard: &Arc<str>, sequence: ExtendedSequenceNumber, at: Duration) {
        let known = self.shards.get(shard).and_then(|shard| shard.records.get(&sequence)).cloned();
        if let Some((key, number)) = known {
            self.done(shard, &key, number, None, at);
        }
    }

    /// Takes a position that a worker stored. Everything up to it has to be done.
    pub fn stored(&mut self, name: &Arc<str>, place: Place, hold: ObservedHold) {
        let Some(shard) = self.shards.get(name) else { return };
        let covered = |(sequence, at): &(&ExtendedSequenceNumber, &Duration)| place.covers(**sequence, **at);
        let Some((sequence, _)) = shard.waiting.iter().find(covered) else { return };
        if self.so_far.passed.len() < DETAILS
            && let Some((key, number)) = shard.records.get(sequence)
        {
            let (shard, key, number) = (Arc::clone(name), Arc::clone(key), *number);
            self.so_far.passed.push(PassedOver { shard, key, number, hold });
        }
    }

    /// Takes that a worker begins to hold a shard at this position, under this epoch: what was done after it and not stored is
    /// to be done again.
    pub fn held(&mut self, name: &Arc<str>, place: Place, epoch: u64) {
        let shard = self.shards.entry(Arc::clone(name)).or_default();
        shard.held = Some(epoch);
        shard.again.clear();
        for (sequence, (key, number)) in &shard.records {
            let record = self.keys.get(key).and_then(|key| key.records.get(number));
            let Some(record) = record.filter(|record| record.done.is_some()) else { continue };
            if record.put.is_some_and(|(_, put_at)| !place.covers(*sequence, put_at)) {
                shard.again.insert(*sequence);
            }
        }
    }

    /// Takes a position that an operator stored, and the epoch that this began: what lies after it is to be handled
    /// again, what lies before it is done.
    pub fn sought(&mut self, name: &Arc<str>, place: Place, epoch: u64, at: Duration) {
        let shard = self.shards.entry(Arc::clone(name)).or_default();
        shard.sought = Some(epoch);
        shard.beyond.clear();
        shard.again.clear();
        for (sequence, (key, number)) in &shard.records {
            let record = self.keys.get_mut(key).and_then(|key| key.records.get_mut(number));
            let Some((record, (_, put_at))) = record.and_then(|record| record.put.map(|put| (record, put)))
            else {
                continue;
            };
            if place.covers(*sequence, put_at) {
                record.done.get_or_insert(epoch);
                record.storable.get_or_insert(at);
                record.waiting_since = None;
                shard.waiting.remove(sequence);
            } else {
                (record.done, record.storable) = (None, None);
                record.waiting_since.get_or_insert(at);
                shard.waiting.insert(*sequence, put_at);
            }
        }
        shard.drained = shard.waiting.is_empty().then_some(at);
    }

    /// Takes a record that reached a handler. False if it is none that is known: it was not put so, or too long ago.
    pub fn deliver(&mut self, delivery: &Delivery) -> bool {
        self.forget(delivery.at);
        self.so_far.first_delivery.get_or_insert(delivery.at);
        let (hold, number) = (delivery.hold(), delivery.number);
        let round = match delivery.observed {
            Observed::InRound(round) => round,
            // Each is certain to come after the one before it.
            Observed::InCall(_) | Observed::ByToken(_) => self.round + CERTAIN,
        };
        self.round = round;
        let repeat = |before, storable| Repeat {
            shard: Arc::clone(&delivery.shard),
            key: Arc::clone(&delivery.key),
            number,
            before,
            storable,
            again: hold,
            count: 1,
        };
        let key = self.keys.entry(Arc::clone(&delivery.key)).or_default();
        if number < key.forgotten && !key.records.contains_key(&number) {
            self.so_far.repeated += 1;
            // Which worker handled it then is not known any more, and too long ago to have a cause.
            self.repeats.add(repeat(hold, Some(Duration::ZERO)));
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
                record.again = !matches!(delivery.observed, Observed::ByToken(_));
                self.repeats.add(repeat(seen.hold, record.storable));
                if seen.hold.epoch <= hold.epoch {
                    seen.hold = hold;
                }
            }
            none => {
                *none = Some(Seen { sequence: delivery.sequence, hold });
                self.so_far.handled += 1;
                if key.order.breaks(round, delivery.process, number) {
                    self.so_far.out_of_order += 1;
                    if self.so_far.disorder.len() < DETAILS {
                        let (shard, key) = (Arc::clone(&delivery.shard), Arc::clone(&delivery.key));
                        self.so_far.disorder.push(Disorder { shard, key, number, hold });
                    }
                }
            }
        }
        if let Some(since) = record.waiting_since.take() {
            record.waits.push((since, delivery.at));
        }
        record.running += 1;
        let shard = self.shards.entry(Arc::clone(&delivery.shard)).or_default();
        shard.reached = shard.reached.max(Some(delivery.sequence));
        shard.deliveries += 1;
        match delivery.observed {
            Observed::InCall(call) | Observed::ByToken(call) => {
                self.calls[call.0].records.push((Arc::clone(&delivery.key), number));
            }
            Observed::InRound(_) => {
                self.done(&delivery.shard, &delivery.key, number, Some(delivery.epoch), delivery.at);
            }
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self, key: &str) -> usize {
        self.keys[key].records.len()
    }

    /// Forgets records that were put and done long ago.
    fn forget(&mut self, now: Duration) {
        let Some(remembered) = self.remembered else { return };
        while let Some((_, shard, name, number)) =
            self.handled.pop_front_if(|(at, ..)| *at + remembered < now)
        {
            let Some(key) = self.keys.get_mut(&name) else { continue };
            // One that was never put is unknown for ever.
            let Some(Record { put: Some((sequence, _)), waits, .. }) = key.records.get_mut(&number) else {
                continue;
            };
            let (sequence, waits) = (*sequence, std::mem::take(waits));
            key.records.remove(&number);
            key.forgotten = key.forgotten.max(number + 1);
            self.shards.get_mut(&shard).and_then(|shard| shard.records.remove(&sequence));
            let waited = waits.into_iter().map(|wait| self.unexplained(&shard, wait)).max();
            self.so_far.add_wait(waited.unwrap_or_default(), &name, number);
        }
    }

    /// Takes something after which records may be handled again.
    pub fn excuse(&mut self, excuse: ExpectedRepeat) {
        self.repeats.excuse(excuse);
    }

    /// Takes a time in which the records of a shard may wait, or those of every shard.
    pub fn explain(&mut self, shard: Option<&Arc<str>>, from: Duration, to: Duration) {
        self.explained.entry(shard.cloned()).or_default().push((from, to));
    }

    /// Whether everything put is done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shards.values().all(|shard| shard.waiting.is_empty())
    }

    /// When the oldest record was put that is not done.
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
}
