//! What a history proves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::{Cause, Repeat};
use crate::record::{ObservedHold, Process};

/// Violations of one kind that are kept in detail.
pub(crate) const DETAILS: usize = 20;

/// One thing that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Every record put is done in the end, and no other reaches a handler.
    Delivered,
    /// No position is stored behind which something is not done.
    Stored,
    /// First deliveries of a key come in the order of its puts, and under each epoch its records are done in it.
    InOrder,
    /// A record is handled again only for a [`Cause`].
    Once,
    /// No handler begins under an older epoch than one before it.
    Fresh,
    /// No record waits too long.
    Prompt,
}

/// A check that did not hold, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub check: Check,
    /// A sentence for people.
    pub what: String,
}

/// A record that a stored position passed over before it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The shard.
    pub shard: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The number of the record.
    pub number: u64,
    /// The hold that stored the position.
    pub hold: ObservedHold,
}

/// A shard with records that are not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// The shard.
    pub shard: Arc<str>,
    /// The number of records.
    pub count: usize,
    /// When the oldest of them was put.
    pub oldest: Duration,
}

/// A record that was handled after a later one of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    /// The shard.
    pub shard: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The number of the record.
    pub number: u64,
    /// The hold that handled it.
    pub hold: ObservedHold,
}

/// A call that began under an older epoch than one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleCall {
    /// The shard.
    pub shard: Arc<str>,
    /// The hold of the call.
    pub hold: ObservedHold,
    /// The highest epoch that a call had begun under.
    pub after: u64,
}

/// What a history proves. Of each kind of violation the first 20 are kept in detail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Records acknowledged by the stream.
    pub put: u64,
    /// Different records handled.
    pub handled: u64,
    /// Records put and not done.
    pub waiting: u64,
    /// Those of `waiting` behind which a later record of the shard was handled: no worker comes back for them.
    pub passed_over: u64,
    /// Where the waiting records are.
    pub left_behind: Vec<LeftBehind>,
    /// The first records that a stored position passed over.
    pub passed: Vec<PassedOver>,
    /// Deliveries beyond the first of a record.
    pub repeated: u64,
    /// Those of `repeated` that have a cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Those that have none.
    pub unexplained: u64,
    /// The first ones without a cause.
    pub unexplained_repeats: Vec<Repeat>,
    /// First deliveries that came after a later record of their key.
    pub out_of_order: u64,
    /// The first ones of them.
    pub disorder: Vec<Disorder>,
    /// Records handled that were never put so.
    pub unknown: u64,
    /// The first ones of them: key, number and the hold that handled it.
    pub unknown_records: Vec<(Arc<str>, u64, ObservedHold)>,
    /// Calls under an older epoch than one before them.
    pub stale_calls: Vec<StaleCall>,
    /// When the first record was handled.
    pub first_delivery: Option<Duration>,
    /// The longest time from a put to its first delivery, or from a call that did not end well, or from a seek, to the
    /// next one, without the times that are explained.
    pub longest_wait: Duration,
    /// The record that waited so long: key and number.
    pub longest_waiting: Option<(Arc<str>, u64)>,
}

impl Findings {
    /// What does not hold, in sentences. `longest_wait` is how long a record may wait beyond what is explained, and
    /// `name` says what a worker is called.
    #[must_use]
    pub fn violations(&self, longest_wait: Duration, name: &dyn Fn(Process) -> String) -> Vec<Violation> {
        let by = |hold: &ObservedHold| {
            format!("{} under epoch {} at {}", name(hold.process), hold.epoch, Seconds(hold.at))
        };
        let mut violations = Vec::new();
        let mut add = |check, what| violations.push(Violation { check, what });
        for LeftBehind { shard, count, oldest } in &self.left_behind {
            let records = if *count == 1 { "record" } else { "records" };
            add(
                Check::Delivered,
                format!("{count} {records} of {shard} not done; the oldest was put at {}", Seconds(*oldest)),
            );
        }
        for (key, number, hold) in &self.unknown_records {
            add(
                Check::Delivered,
                format!("{key}/{number} was handled by {}, but was never put so", by(hold)),
            );
        }
        for PassedOver { shard, key, number, hold } in &self.passed {
            add(
                Check::Stored,
                format!(
                    "{key}/{number} of {shard} was not done when a position after it was stored by {}",
                    by(hold)
                ),
            );
        }
        for Disorder { shard, key, number, hold } in &self.disorder {
            add(
                Check::InOrder,
                format!(
                    "{key}/{number} of {shard} was handled by {}, after a later record of its key",
                    by(hold)
                ),
            );
        }
        for Repeat { shard, key, number, before, storable, again, count } in &self.unexplained_repeats {
            let more = if *count > 1 { format!(", and {} more,", count - 1) } else { String::new() };
            add(
                Check::Once,
                format!(
                    "{key}/{number} of {shard}{more} was handled by {}, and again by {}; its position could be stored {}",
                    by(before),
                    by(again),
                    storable.map_or("at no time".to_owned(), |at| format!("since {}", Seconds(at)))
                ),
            );
        }
        for StaleCall { shard, hold, after } in &self.stale_calls {
            add(
                Check::Fresh,
                format!("a call for {shard} was begun by {}, after one under epoch {after}", by(hold)),
            );
        }
        if let Some((key, number)) = &self.longest_waiting
            && self.longest_wait > longest_wait
        {
            add(
                Check::Prompt,
                format!(
                    "{key}/{number} waited {} for its handler without an explanation",
                    Seconds(self.longest_wait)
                ),
            );
        }
        violations
    }
}

/// In seconds, to the millisecond.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}
