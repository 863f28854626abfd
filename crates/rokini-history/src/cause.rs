//! Why a record was handled more than once: what kept a position from being stored before the shard went on.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::record::{CallEnd, CallId, ObservedHold, Process};

/// A span of time, both ends included.
pub(crate) type Span = (Duration, Duration);

/// Repetitions by the same two holds within this time are kept as one.
const TOGETHER: Duration = Duration::from_secs(2);
/// How many of the latest repetitions another one may join: several shards are repeated at once.
const RECENT: usize = 32;

/// Why a record may be handled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// No call that had it ended well before, or not all of those that had the records before it in its shard.
    Unfinished,
    /// The earlier worker died.
    Crash,
    /// The earlier worker was cut off for so long that the others had to take it for dead, or could not store what it
    /// had done.
    Fence,
    /// An operator moved the position.
    Seek,
}

/// Something after which records may be handled again: those that a worker handled under one epoch and that are
/// handled under a later one, if the time between the two deliveries touches the time of the excuse, and if what came
/// again is not so old that its position had to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedRepeat {
    /// Why.
    pub cause: Cause,
    /// The worker that held the shard under the lower epoch; any worker if it is `None`.
    pub process: Option<Process>,
    /// The shard; any shard if it is `None`.
    pub shard: Option<Arc<str>>,
    /// Records that were done before this, with all before them in their shard, had their position stored.
    pub since: Duration,
    /// The beginning of the time.
    pub from: Duration,
    /// Its end, included.
    pub to: Duration,
}

impl ExpectedRepeat {
    fn explains(&self, repeat: &Repeat) -> bool {
        let (before, again) = (&repeat.before, &repeat.again);
        // The hold that ended is the one of the lower epoch, in whatever order the two were observed. One hold handles a
        // record once.
        let ended = match before.epoch.cmp(&again.epoch) {
            Ordering::Less => before,
            Ordering::Greater => again,
            Ordering::Equal => return false,
        };
        self.process.is_none_or(|process| process == ended.process)
            && self.shard.as_ref().is_none_or(|shard| *shard == repeat.shard)
            && repeat.storable.is_none_or(|storable| storable >= self.since)
            && self.from <= again.at
            && self.to >= before.at
            // A dead process handles nothing again.
            && (self.cause != Cause::Crash || before.process != again.process)
    }
}

/// A record that was handled twice, and how many more like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The shard.
    pub shard: Arc<str>,
    /// The key of the first such record.
    pub key: Arc<str>,
    /// Its number.
    pub number: u64,
    /// The hold that had handled it.
    pub before: ObservedHold,
    /// Since when its position could be stored.
    pub storable: Option<Duration>,
    /// The hold that handled it again.
    pub again: ObservedHold,
    /// The number of records.
    pub count: u64,
}

impl Repeat {
    fn is_like(&self, other: &Self) -> bool {
        let same = |one: &ObservedHold, other: &ObservedHold| {
            (one.process, one.epoch, one.call) == (other.process, other.epoch, other.call)
        };
        self.shard == other.shard
            && same(&self.before, &other.before)
            && same(&self.again, &other.again)
            && other.again.at <= self.again.at + TOGETHER
    }
}

/// Every repetition, and everything that may be the cause of one.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    repeats: Vec<Repeat>,
    excuses: Vec<ExpectedRepeat>,
    calls: Vec<Option<CallEnd>>,
}

impl Repeats {
    pub(crate) fn begin(&mut self) -> CallId {
        self.calls.push(None);
        CallId(self.calls.len() - 1)
    }

    pub(crate) fn end(&mut self, call: CallId, end: CallEnd) {
        self.calls[call.0] = Some(end);
    }

    pub(crate) fn excuse(&mut self, excuse: ExpectedRepeat) {
        self.excuses.push(excuse);
    }

    pub(crate) fn add(&mut self, repeat: Repeat) {
        match self.repeats.iter_mut().rev().take(RECENT).find(|recent| recent.is_like(&repeat)) {
            Some(recent) => {
                recent.count += 1;
                // The oldest of them needs the best reason.
                recent.storable = match (recent.storable, repeat.storable) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            None => self.repeats.push(repeat),
        }
    }

    /// How many records came again by which cause, and those that came again without one.
    pub(crate) fn explained(&self) -> (BTreeMap<Cause, u64>, Vec<Repeat>) {
        let (mut causes, mut unexplained) = (BTreeMap::new(), Vec::new());
        for repeat in &self.repeats {
            match self.cause(repeat) {
                Some(cause) => *causes.entry(cause).or_default() += repeat.count,
                None => unexplained.push(repeat.clone()),
            }
        }
        (causes, unexplained)
    }

    fn cause(&self, repeat: &Repeat) -> Option<Cause> {
        if repeat.before.call.is_some_and(|call| self.calls[call.0] != Some(CallEnd::Done)) {
            return Some(Cause::Unfinished);
        }
        let causes = self.excuses.iter().filter(|excuse| excuse.explains(repeat)).map(|excuse| excuse.cause);
        // An operator's command explains it whatever else happened.
        let cause = causes.min_by_key(|cause| (*cause != Cause::Seek, *cause));
        // Or something before it in its shard was not done, so that no position after it could be stored.
        cause.or_else(|| repeat.storable.is_none().then_some(Cause::Unfinished))
    }
}
