//! What a look at the running demo shows: put together here, drawn elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use rokini_lease::{GroupView, LeaseRow, Position};
use serde::{Serialize, Serializer};

use super::fleet::{Fleet, State, Told};
use super::ledger::{Ledger, Process, Proof};

/// The time over which rates are taken.
const RATE_OVER: Duration = Duration::from_secs(2);

/// One look.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Board {
    #[serde(rename = "at_ms", serialize_with = "millis")]
    pub(crate) at: Duration,
    #[serde(skip)]
    pub(crate) end: Duration,
    pub(crate) produced: u64,
    pub(crate) processed: u64,
    pub(crate) duplicates: u64,
    pub(crate) order_violations: u64,
    /// What is happening.
    pub(crate) now: String,
    /// What comes next and when.
    pub(crate) next: Option<String>,
    pub(crate) shards: Vec<ShardLine>,
    pub(crate) workers: Vec<WorkerLine>,
}

/// A shard in a look.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShardLine {
    pub(crate) shard: String,
    pub(crate) owner: Option<String>,
    pub(crate) epoch: u64,
    /// The stored position.
    pub(crate) position: String,
    /// Everything in it is done: it was split.
    pub(crate) finished: bool,
    /// The age of the oldest record that is not handled; zero without one.
    #[serde(rename = "lag_ms", serialize_with = "millis")]
    pub(crate) lag: Duration,
    pub(crate) records_per_second: u64,
}

/// A worker in a look.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkerLine {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// Unfinished shards it holds.
    pub(crate) shards: usize,
}

/// As whole milliseconds.
pub(crate) fn millis<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl Board {
    pub(crate) fn new(
        (at, end): (Duration, Duration),
        (now, next): (String, Option<String>),
        ledger: &Ledger,
        view: &GroupView,
        fleet: &Fleet,
        rates: &mut Rates,
    ) -> Self {
        let Proof { produced, processed, duplicates, order_violations, .. } = *ledger.so_far();
        let shards = view.leases.iter().map(|row| shard_line(row, at, ledger, rates)).collect();
        let worker = |process: Process| WorkerLine {
            name: fleet.name(process).to_owned(),
            state: state(fleet.state(process)),
            shards: held(view, fleet.name(process)).count(),
        };
        Self {
            at,
            end,
            produced,
            processed,
            duplicates,
            order_violations,
            now,
            next,
            shards,
            workers: fleet.processes().map(worker).collect(),
        }
    }
}

/// The unfinished shards that a worker holds.
pub(crate) fn held<'a>(view: &'a GroupView, worker: &'a str) -> impl Iterator<Item = &'a LeaseRow> {
    view.leases.iter().filter(move |row| {
        !row.position.is_shard_end() && row.owner.as_ref().is_some_and(|owner| owner.name.as_str() == worker)
    })
}

fn shard_line(row: &LeaseRow, at: Duration, ledger: &Ledger, rates: &mut Rates) -> ShardLine {
    let name = row.key.shard.as_str();
    let account = ledger.shard(name);
    ShardLine {
        shard: name.to_owned(),
        owner: row.owner.as_ref().map(|owner| owner.name.to_string()),
        epoch: row.epoch.0,
        position: row.position.to_string(),
        finished: row.position == Position::ShardEnd,
        lag: account.oldest_waiting.map_or(Duration::ZERO, |put| at.saturating_sub(put)),
        records_per_second: rates.of(name, at, account.deliveries),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Frozen => "frozen",
        State::Stopping => "stopping",
        State::Killed | State::Ended { told: Told::Kill, .. } => "killed",
        State::Ended { told: Told::Stop, .. } => "stopped",
        State::Ended { told: Told::Nothing, .. } => "failed",
    }
}

/// How fast counters grow.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    counters: BTreeMap<String, VecDeque<(Duration, u64)>>,
}

impl Rates {
    /// Takes the present value of a counter; returns its growth per second over the last two seconds.
    fn of(&mut self, name: &str, at: Duration, total: u64) -> u64 {
        if !self.counters.contains_key(name) {
            self.counters.insert(name.to_owned(), VecDeque::new());
        }
        let Some(samples) = self.counters.get_mut(name) else { return 0 };
        samples.push_back((at, total));
        while samples.get(1).is_some_and(|(then, _)| *then + RATE_OVER <= at) {
            samples.pop_front();
        }
        let Some((then, before)) = samples.front() else { return 0 };
        let over = at.saturating_sub(*then).as_secs_f64();
        if over > 0.0 { ((total - before) as f64 / over).round() as u64 } else { 0 }
    }
}

/// A shard's id as people say it: its number.
pub(crate) fn short(shard: &str) -> &str {
    let digits = shard.rsplit_once('-').map_or(shard, |(_, digits)| digits);
    match digits.trim_start_matches('0') {
        "" if digits.is_empty() => shard,
        "" => "0",
        number => number,
    }
}

/// Minutes and seconds of a run.
pub(crate) struct Clock(pub(crate) Duration);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        f.pad(&format!("{}:{:02}", seconds / 60, seconds % 60))
    }
}

/// A duration in seconds, two digits after the point below ten.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 < Duration::from_secs(10) { 2 } else { 1 };
        f.pad(&format!("{:.digits$} s", self.0.as_secs_f64()))
    }
}

/// A count with its thousands set off.
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        assert_eq!(
            ["shardId-000000000000", "shardId-000000000120", "other", "-"].map(short),
            ["0", "120", "other", "-"]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(|n| Count(n).to_string()),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(Clock(Duration::from_secs(65)).to_string(), "1:05");
        assert_eq!(Seconds(Duration::from_millis(9_876)).to_string(), "9.88 s");
        assert_eq!(Seconds(Duration::from_millis(12_340)).to_string(), "12.3 s");
    }

    #[test]
    fn rates_forget_what_is_long_ago() {
        let mut rates = Rates::default();
        let mut at = |seconds, total| rates.of("a", Duration::from_secs(seconds), total);
        assert_eq!(
            [at(0, 0), at(1, 50), at(2, 100), at(3, 100), at(4, 100), at(5, 400)],
            [0, 50, 50, 25, 0, 150]
        );
    }
}
