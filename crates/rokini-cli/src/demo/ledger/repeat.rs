//! Why a record was handled more than once: whose hold of the shard ended before its position was stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Hold, Process, Twice};

/// Repetitions of one cause within this time are one case.
const SAME_CASE: Duration = Duration::from_secs(2);
/// How much later than it happened a fence may be noticed: it shows in the table of leases, looked at now and then.
const NOTICED: Duration = Duration::from_secs(2);
/// How long before the first of two deliveries a fence may lie that explains the second one: a process that stood
/// still when it was fenced writes the rest of its batch when it goes on.
const REACH: Duration = Duration::from_secs(60);

/// Deliveries beyond the first, with their reasons.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    killed: BTreeMap<Process, Duration>,
    fenced: BTreeMap<Process, Vec<Duration>>,
    after_kill: u64,
    /// What no kill explains; a fence may, once it is noticed.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    /// The process that did not store what it had done, if one of the two was succeeded by the other.
    culprit: Option<Process>,
    twice: Twice,
}

/// How the repetitions are explained.
#[derive(Debug, Default)]
pub(super) struct Explained {
    pub(super) after_kill: u64,
    pub(super) after_fence: u64,
    pub(super) unexplained: Vec<Twice>,
}

impl Repeats {
    pub(super) fn killed(&mut self, process: Process, at: Duration) {
        self.killed.insert(process, at);
    }

    pub(super) fn fenced(&mut self, process: Process, at: Duration) {
        self.fenced.entry(process).or_default().push(at);
    }

    /// Takes a delivery of a record that had been delivered to `before`, the latest hold of its shard that is known.
    pub(super) fn add(
        &mut self,
        (shard, key, number): (&Arc<str>, &Arc<str>, u64),
        before: Hold,
        again: Hold,
    ) {
        // The hold that ended is the one of the lower epoch, in whatever order the two wrote. One hold handles a
        // record once.
        let culprit = match before.epoch.cmp(&again.epoch) {
            std::cmp::Ordering::Less => Some(before.process),
            std::cmp::Ordering::Greater => Some(again.process),
            std::cmp::Ordering::Equal => None,
        };
        let killed = culprit.and_then(|culprit| self.killed.get(&culprit));
        // A killed worker cannot store how far it came; whoever follows repeats that much.
        if before.process != again.process && killed.is_some_and(|at| *at <= again.at) {
            self.after_kill += 1;
            return;
        }
        let same = |open: &Open| {
            open.culprit == culprit
                && (open.twice.before.process, open.twice.again.process) == (before.process, again.process)
                && open.twice.shard == *shard
                && again.at <= open.twice.again.at + SAME_CASE
        };
        match self.open.last_mut().filter(|open| same(open)) {
            Some(open) => open.twice.count += 1,
            None => self.open.push(Open {
                culprit,
                twice: Twice {
                    shard: Arc::clone(shard),
                    key: Arc::clone(key),
                    number,
                    before,
                    again,
                    count: 1,
                },
            }),
        }
    }

    pub(super) fn explained(&self) -> Explained {
        let mut explained = Explained { after_kill: self.after_kill, ..Explained::default() };
        for Open { culprit, twice } in &self.open {
            let times = culprit.and_then(|culprit| self.fenced.get(&culprit)).into_iter().flatten();
            let (from, to) = (twice.before.at.saturating_sub(REACH), twice.again.at + NOTICED);
            if times.into_iter().any(|at| (from..=to).contains(at)) {
                explained.after_fence += twice.count;
            } else {
                explained.unexplained.push(twice.clone());
            }
        }
        explained
    }
}
