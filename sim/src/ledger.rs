//! What was put and what handlers saw: the judge of a run. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A record never reached a handler.
    Lost {
        /// Its key.
        key: String,
        /// Its number under the key.
        number: u64,
    },
    /// A record reached a handler for the first time before an earlier one of its key.
    OutOfOrder {
        /// Its key.
        key: String,
        /// Its number under the key.
        number: u64,
        /// The number that was due.
        due: u64,
    },
    /// A handler call began under an older epoch than one that had begun before.
    StaleEpoch {
        /// The shard.
        shard: String,
        /// Its epoch.
        epoch: u64,
        /// The epoch seen before.
        seen: u64,
    },
    /// A record came twice although nothing went wrong.
    Duplicate {
        /// Its key.
        key: String,
        /// Its number under the key.
        number: u64,
    },
    /// Something about the fleet once it was left in peace.
    NotAtRest(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { key, number } => write!(f, "lost: {key}/{number}"),
            Self::OutOfOrder { key, number, due } => {
                write!(f, "out of order: {key}/{number} came while {key}/{due} was due")
            }
            Self::StaleEpoch { shard, epoch, seen } => {
                write!(f, "stale: a handler began on {shard} under epoch {epoch} after {seen}")
            }
            Self::Duplicate { key, number } => write!(f, "twice without need: {key}/{number}"),
            Self::NotAtRest(what) => write!(f, "not at rest: {what}"),
        }
    }
}

/// Keeps the accounts of one run.
#[derive(Debug, Default)]
pub struct Ledger {
    put: BTreeMap<String, u64>,
    /// First deliveries: the next number due per key.
    due: BTreeMap<String, u64>,
    /// Numbers that came before their turn.
    early: BTreeMap<String, BTreeSet<u64>>,
    epochs: BTreeMap<String, u64>,
    duplicates: u64,
    delivered: u64,
    /// Whether a record may come twice from now on: something went wrong.
    excused: bool,
    violations: Vec<Violation>,
}

impl Ledger {
    /// The number the next record of this key is to have.
    pub fn next_put(&mut self, key: &str) -> u64 {
        let next = self.put.entry(key.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    /// From now on records may come twice.
    pub fn excuse(&mut self) {
        self.excused = true;
    }

    /// A handler call begins.
    pub fn begins(&mut self, shard: &str, epoch: u64) {
        let seen = self.epochs.entry(shard.to_owned()).or_default();
        if epoch < *seen {
            self.violations.push(Violation::StaleEpoch { shard: shard.to_owned(), epoch, seen: *seen });
        }
        *seen = (*seen).max(epoch);
    }

    /// A record reached a handler.
    pub fn delivered(&mut self, key: &str, number: u64) {
        self.delivered += 1;
        let due = self.due.entry(key.to_owned()).or_default();
        let early = self.early.entry(key.to_owned()).or_default();
        if number == *due {
            *due += 1;
            while early.remove(due) {
                *due += 1;
            }
        } else if number < *due || early.contains(&number) {
            self.duplicates += 1;
            if !self.excused {
                self.violations.push(Violation::Duplicate { key: key.to_owned(), number });
            }
        } else {
            early.insert(number);
            self.violations.push(Violation::OutOfOrder { key: key.to_owned(), number, due: *due });
        }
    }

    /// Something is wrong with the fleet.
    pub fn not_at_rest(&mut self, what: impl Into<String>) {
        self.violations.push(Violation::NotAtRest(what.into()));
    }

    /// Whether everything put has reached a handler.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.put.iter().all(|(key, put)| self.due.get(key).copied().unwrap_or_default() >= *put)
    }

    /// Records put.
    #[must_use]
    pub fn put(&self) -> u64 {
        self.put.values().sum()
    }

    /// Records that came again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The verdict.
    #[must_use]
    pub fn violations(mut self) -> Vec<Violation> {
        for (key, put) in &self.put {
            let due = self.due.get(key).copied().unwrap_or_default();
            let early = self.early.get(key).cloned().unwrap_or_default();
            let lost = (due..*put).filter(|number| !early.contains(number));
            self.violations.extend(lost.map(|number| Violation::Lost { key: key.clone(), number }));
        }
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(put: u64, delivered: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for _ in 0..put {
            ledger.next_put("k");
        }
        for number in delivered {
            ledger.delivered("k", *number);
        }
        ledger
    }

    #[test]
    fn everything_once_in_order_is_well() {
        let ledger = ledger(3, &[0, 1, 2]);
        assert!(ledger.is_complete());
        assert_eq!(ledger.violations(), vec![]);
    }

    #[test]
    fn a_lost_record_is_seen() {
        let ledger = ledger(3, &[0, 1]);
        assert!(!ledger.is_complete());
        assert_eq!(ledger.violations(), vec![Violation::Lost { key: "k".into(), number: 2 }]);
    }

    #[test]
    fn a_gap_is_out_of_order_and_what_fills_it_is_no_duplicate() {
        let violations = ledger(3, &[0, 2, 1]).violations();
        assert_eq!(violations, vec![Violation::OutOfOrder { key: "k".into(), number: 2, due: 1 }]);
    }

    #[test]
    fn a_duplicate_needs_an_excuse() {
        assert_eq!(
            ledger(2, &[0, 1, 0]).violations(),
            vec![Violation::Duplicate { key: "k".into(), number: 0 }]
        );
        let mut excused = ledger(2, &[0, 1]);
        excused.excuse();
        excused.delivered("k", 0);
        assert_eq!((excused.duplicates(), excused.violations()), (1, vec![]));
    }

    #[test]
    fn a_stale_epoch_is_seen() {
        let mut ledger = Ledger::default();
        ledger.begins("s", 2);
        ledger.begins("s", 2);
        ledger.begins("s", 1);
        assert_eq!(ledger.violations().len(), 1);
    }
}
