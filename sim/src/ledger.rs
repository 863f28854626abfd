//! What was put and what handlers saw: the accounts of a run. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Check, Violation};

/// Milliseconds since the beginning of the run.
pub(crate) type Millis = u64;

/// A handler call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(usize);

/// A shard of one of the streams of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which stream.
    pub stream: usize,
    /// Which shard of it.
    pub shard: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.shard.trim_start_matches("shardId-0000000"))
    }
}

/// How a handler call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// With `Ok`.
    Done,
    /// With an error.
    Failed,
    /// It was dropped.
    Dropped,
}

#[derive(Debug)]
struct Call {
    worker: u32,
    place: Place,
    epoch: u64,
    begun: Millis,
    end: Option<CallEnd>,
}

/// Why a record may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The earlier call failed, was dropped, or never ended.
    Unfinished,
    /// The worker that had it died.
    Crash,
    /// The worker that had it was declared dead, or lost the lease.
    Fence,
    /// The worker that had it stopped without being able to store everything.
    Stop,
    /// The hand-over could not be stored.
    Restart,
    /// An operator's order.
    Seek,
}

/// Something that makes a worker's stored positions lag behind its handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excuse {
    cause: Cause,
    worker: u32,
    /// `None` for all shards of the worker.
    place: Option<Place>,
    /// Calls that began before this.
    at: Millis,
}

#[derive(Debug, Default)]
struct Account {
    /// When each record was put.
    put: Vec<Millis>,
    /// The call that saw it last, and when the first one did.
    seen: Vec<Option<(Millis, CallId)>>,
    due: usize,
}

#[derive(Debug)]
struct Duplicate {
    record: String,
    earlier: CallId,
    later: CallId,
}

/// Keeps the accounts of one run.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<String, Account>,
    calls: Vec<Call>,
    epochs: BTreeMap<Place, u64>,
    excuses: Vec<Excuse>,
    seeks: Vec<(Place, Millis, Millis)>,
    /// Times that the weather explains, and what it is.
    explained: Vec<(Millis, Millis)>,
    duplicates: Vec<Duplicate>,
    behind: u64,
    violations: Vec<Violation>,
    digest: Digest,
}

/// A hash over everything that happened, in its order: equal for equal runs.
#[derive(Debug)]
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, kind: u64, text: &str, numbers: &[u64]) {
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        for byte in kind.to_le_bytes().into_iter().chain(text.bytes()).chain(numbers) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Ledger {
    /// A hash over everything that happened, in its order: times, records, workers, shards and causes.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.0
    }

    /// Something happened that is only told in the log.
    pub(crate) fn noted(&mut self, now: Millis) {
        self.digest.add(8, "", &[now]);
    }

    /// The number the next record of this key is to have.
    pub fn put(&mut self, key: &str, now: Millis) -> u64 {
        self.digest.add(1, key, &[now]);
        let account = self.accounts.entry(key.to_owned()).or_default();
        account.put.push(now);
        account.seen.push(None);
        self.behind += 1;
        account.put.len() as u64 - 1
    }

    /// A handler call begins.
    pub fn begin(&mut self, worker: u32, place: &Place, epoch: u64, now: Millis) -> CallId {
        self.digest.add(2, &place.shard, &[place.stream as u64, worker.into(), epoch, now]);
        let seen = self.epochs.entry(place.clone()).or_default();
        if epoch < *seen {
            let what = format!("w{worker} began on {place} under epoch {epoch} after {seen}");
            self.violations.push(Violation::new(Check::Fresh, what));
        }
        *seen = (*seen).max(epoch);
        self.calls.push(Call { worker, place: place.clone(), epoch, begun: now, end: None });
        CallId(self.calls.len() - 1)
    }

    /// Whether this is the first call of its hold or of a later one than any before.
    #[must_use]
    pub fn is_new_epoch(&self, place: &Place, epoch: u64) -> bool {
        self.epochs.get(place).is_none_or(|seen| epoch > *seen)
    }

    /// A handler call ends.
    pub fn end(&mut self, call: CallId, end: CallEnd) {
        self.digest.add(3, "", &[call.0 as u64, end as u64]);
        self.calls[call.0].end = Some(end);
    }

    /// A record reached a handler.
    pub fn delivered(&mut self, call: CallId, key: &str, number: u64, now: Millis) {
        self.digest.add(4, key, &[call.0 as u64, number, now]);
        let Some((account, number)) = self
            .accounts
            .get_mut(key)
            .and_then(|account| Some((account, usize::try_from(number).ok()?)))
            .filter(|(account, number)| *number < account.seen.len())
        else {
            self.violations.push(Violation::new(Check::Delivered, format!("{key}/{number} was never put")));
            return;
        };
        match &mut account.seen[number] {
            Some((_, last)) => {
                self.duplicates.push(Duplicate {
                    record: format!("{key}/{number}"),
                    earlier: *last,
                    later: call,
                });
                *last = call;
            }
            none => {
                *none = Some((now, call));
                self.behind -= 1;
                if number != account.due {
                    let call = &self.calls[call.0];
                    let due = account.due;
                    let what = format!(
                        "{key}/{number} came to w{} on {} while {key}/{due} was due",
                        call.worker, call.place
                    );
                    self.violations.push(Violation::new(Check::InOrder, what));
                }
                while account.seen.get(account.due).is_some_and(Option::is_some) {
                    account.due += 1;
                }
            }
        }
    }

    /// What this worker's handlers saw before now may come again; of one shard, or of all.
    pub fn excuse(&mut self, cause: Cause, worker: u32, place: Option<Place>, now: Millis) {
        let (stream, shard) = place.as_ref().map_or((u64::MAX, ""), |p| (p.stream as u64, p.shard.as_str()));
        self.digest.add(5, shard, &[cause as u64, worker.into(), stream, now]);
        self.excuses.push(Excuse { cause, worker, place, at: now });
    }

    /// An operator moved a shard's position, some time between these.
    pub fn seek(&mut self, place: Place, from: Millis, to: Millis) {
        self.digest.add(6, &place.shard, &[place.stream as u64, from, to]);
        self.seeks.push((place, from, to));
    }

    /// Records may wait for these times too.
    pub fn explain(&mut self, from: Millis, to: Millis) {
        self.digest.add(7, "", &[from, to]);
        self.explained.push((from, to));
    }

    /// Something else that does not hold.
    pub fn violate(&mut self, check: Check, what: impl Into<String>) {
        self.violations.push(Violation::new(check, what));
    }

    /// Whether everything put has reached a handler.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.behind == 0
    }

    /// When the oldest record was put that no handler has seen.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Millis> {
        let first = |account: &Account| account.put.get(account.due).copied();
        self.accounts.values().filter_map(first).min()
    }

    /// Records put.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.accounts.values().map(|account| account.put.len() as u64).sum()
    }

    /// The longest that a record waited for its first handler beyond what is explained.
    #[must_use]
    pub fn longest_wait(&self) -> Millis {
        self.waits().map(|(_, _, wait)| wait).max().unwrap_or_default()
    }

    /// Key, number and unexplained wait of each record that was delivered.
    fn waits(&self) -> impl Iterator<Item = (&str, usize, Millis)> {
        let explained = union(&self.explained);
        self.accounts.iter().flat_map(move |(key, account)| {
            let explained = explained.clone();
            let waits = account.put.iter().zip(&account.seen).enumerate();
            waits.filter_map(move |(number, (put, seen))| {
                let (first, _) = (*seen)?;
                Some((
                    key.as_str(),
                    number,
                    first.saturating_sub(*put).saturating_sub(overlap(&explained, *put, first)),
                ))
            })
        })
    }

    fn cause(&self, duplicate: &Duplicate) -> Option<Cause> {
        let (earlier, later) = (&self.calls[duplicate.earlier.0], &self.calls[duplicate.later.0]);
        if earlier.end != Some(CallEnd::Done) {
            return Some(Cause::Unfinished);
        }
        // A hold that goes on has done what it has done.
        if earlier.epoch == later.epoch {
            return None;
        }
        let sought = |(place, from, to): &(Place, Millis, Millis)| {
            *place == earlier.place && *from <= later.begun && *to >= earlier.begun
        };
        if self.seeks.iter().any(sought) {
            return Some(Cause::Seek);
        }
        let excuses = |excuse: &&Excuse| {
            excuse.worker == earlier.worker
                && excuse.place.as_ref().is_none_or(|place| *place == earlier.place)
                && excuse.at >= earlier.begun
        };
        self.excuses.iter().filter(excuses).map(|excuse| excuse.cause).min()
    }

    /// The verdict: the records that came again by cause, and what does not hold. `bound` is the longest wait.
    #[must_use]
    pub fn verdict(mut self, bound: Millis) -> (BTreeMap<Cause, u64>, Vec<Violation>) {
        let mut causes = BTreeMap::new();
        let mut violations = std::mem::take(&mut self.violations);
        for duplicate in &self.duplicates {
            match self.cause(duplicate) {
                Some(cause) => *causes.entry(cause).or_default() += 1,
                None => {
                    let (earlier, later) = (&self.calls[duplicate.earlier.0], &self.calls[duplicate.later.0]);
                    let what = format!(
                        "{} came to w{} on {} at {} (epoch {}) and to w{} at {} (epoch {})",
                        duplicate.record,
                        earlier.worker,
                        earlier.place,
                        earlier.begun,
                        earlier.epoch,
                        later.worker,
                        later.begun,
                        later.epoch
                    );
                    violations.push(Violation::new(Check::Once, what));
                }
            }
        }
        for (key, account) in &self.accounts {
            for (number, _) in account.seen.iter().enumerate().filter(|(_, seen)| seen.is_none()) {
                violations
                    .push(Violation::new(Check::Delivered, format!("{key}/{number} reached no handler")));
            }
        }
        for (key, number, wait) in self.waits().filter(|(_, _, wait)| *wait > bound) {
            let what = format!("{key}/{number} waited for {wait} ms without a reason");
            violations.push(Violation::new(Check::Prompt, what));
        }
        (causes, violations)
    }
}

/// The same times without overlaps, in order.
fn union(times: &[(Millis, Millis)]) -> Vec<(Millis, Millis)> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(Millis, Millis)> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// How much of a time these cover.
fn overlap(times: &[(Millis, Millis)], from: Millis, to: Millis) -> Millis {
    times.iter().map(|(begin, end)| to.min(*end).saturating_sub(from.max(*begin))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { stream: 0, shard: "s".to_owned() }
    }

    /// Records 0.. of one key put at 0; each call delivers some under an epoch and ends as told.
    fn ledger(put: u64, calls: &[(u64, &[u64], CallEnd)]) -> Ledger {
        let mut ledger = Ledger::default();
        for _ in 0..put {
            ledger.put("k", 0);
        }
        for (n, (epoch, records, end)) in calls.iter().enumerate() {
            let now = n as u64 * 1_000;
            let call = ledger.begin(*epoch as u32, &place(), *epoch, now);
            records.iter().for_each(|number| ledger.delivered(call, "k", *number, now));
            ledger.end(call, *end);
        }
        ledger
    }

    fn broken(ledger: Ledger) -> Vec<Check> {
        ledger.verdict(60_000).1.into_iter().map(|violation| violation.check).collect()
    }

    #[test]
    fn everything_once_in_order_is_well() {
        let ledger = ledger(3, &[(1, &[0, 1], CallEnd::Done), (2, &[2], CallEnd::Done)]);
        assert!(ledger.is_complete());
        assert_eq!(broken(ledger), vec![]);
    }

    #[test]
    fn a_lost_record_is_seen() {
        let ledger = ledger(3, &[(1, &[0, 1], CallEnd::Done)]);
        assert!(!ledger.is_complete());
        assert_eq!(broken(ledger), vec![Check::Delivered]);
    }

    #[test]
    fn a_record_that_was_never_put_is_seen() {
        assert_eq!(broken(ledger(1, &[(1, &[0, 1], CallEnd::Done)])), vec![Check::Delivered]);
    }

    #[test]
    fn a_gap_is_out_of_order_and_what_fills_it_is_no_duplicate() {
        assert_eq!(broken(ledger(3, &[(1, &[0, 2, 1], CallEnd::Done)])), vec![Check::InOrder]);
    }

    #[test]
    fn a_duplicate_needs_a_cause() {
        let twice = |end| ledger(1, &[(1, &[0], end), (2, &[0], CallEnd::Done)]);
        assert_eq!(broken(twice(CallEnd::Done)), vec![Check::Once]);
        for end in [CallEnd::Failed, CallEnd::Dropped] {
            let (causes, violations) = twice(end).verdict(0);
            assert_eq!((causes, violations), (BTreeMap::from([(Cause::Unfinished, 1)]), vec![]));
        }
        let mut excused = twice(CallEnd::Done);
        excused.excuse(Cause::Crash, 1, None, 500);
        assert_eq!(excused.verdict(0).0, BTreeMap::from([(Cause::Crash, 1)]));
        let mut elsewhere = twice(CallEnd::Done);
        elsewhere.excuse(Cause::Fence, 1, Some(Place { stream: 1, ..place() }), 500);
        elsewhere.excuse(Cause::Fence, 2, None, 500);
        assert_eq!(broken(elsewhere), vec![Check::Once]);
        let mut sought = twice(CallEnd::Done);
        sought.seek(place(), 400, 500);
        assert_eq!(sought.verdict(0).0, BTreeMap::from([(Cause::Seek, 1)]));
    }

    #[test]
    fn a_hold_that_goes_on_has_no_excuse() {
        let mut ledger = ledger(1, &[(1, &[0], CallEnd::Done), (1, &[0], CallEnd::Done)]);
        ledger.excuse(Cause::Crash, 1, None, 9_000);
        assert_eq!(broken(ledger), vec![Check::Once]);
    }

    #[test]
    fn a_stale_epoch_is_seen() {
        let calls: [(u64, &[u64], CallEnd); 3] =
            [(2, &[], CallEnd::Done), (2, &[], CallEnd::Done), (1, &[], CallEnd::Done)];
        assert_eq!(broken(ledger(0, &calls)), vec![Check::Fresh]);
    }

    #[test]
    fn a_wait_counts_where_nothing_explains_it() {
        let waited = |explained: &[(u64, u64)]| {
            let mut ledger = Ledger::default();
            ledger.put("k", 1_000);
            explained.iter().for_each(|(from, to)| ledger.explain(*from, *to));
            let call = ledger.begin(0, &place(), 1, 11_000);
            ledger.delivered(call, "k", 0, 11_000);
            ledger.end(call, CallEnd::Done);
            (ledger.longest_wait(), broken_by(ledger, 5_000))
        };
        fn broken_by(ledger: Ledger, bound: Millis) -> Vec<Check> {
            ledger.verdict(bound).1.into_iter().map(|violation| violation.check).collect()
        }
        assert_eq!(waited(&[]), (10_000, vec![Check::Prompt]));
        assert_eq!(waited(&[(0, 2_000), (1_500, 4_000), (10_000, 20_000)]), (6_000, vec![Check::Prompt]));
        assert_eq!(waited(&[(0, 8_000)]), (3_000, vec![]));
    }
}
