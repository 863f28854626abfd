//! How the running demo stands: put together here, drawn elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rokini_history::{Findings, History, Process};
use rokini_lease::{GroupView, LeaseRow, Position};
use serde::Serialize;

use super::fleet::{EndedBy, Fleet, State};
use super::format::millis;

/// The time over which rates are taken.
const RATE_OVER: Duration = Duration::from_secs(2);

/// How everything stands at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
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

/// How a shard stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShardLine {
    pub(crate) shard: String,
    pub(crate) owner: Option<String>,
    pub(crate) epoch: u64,
    /// The stored position.
    pub(crate) position: String,
    /// Everything in it is done: it was split or merged.
    pub(crate) finished: bool,
    /// The age of the oldest record that is not handled; zero without one.
    #[serde(rename = "lag_ms", serialize_with = "millis")]
    pub(crate) lag: Duration,
    pub(crate) records_per_second: u64,
}

/// How a worker stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkerLine {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// Unfinished shards it holds.
    pub(crate) shards: usize,
}

impl Snapshot {
    pub(crate) fn new(
        (at, end): (Duration, Duration),
        (now, next): (String, Option<String>),
        history: &History,
        view: &GroupView,
        fleet: &Fleet,
        rates: &mut Rates,
    ) -> Self {
        let Findings { put, handled, repeated, out_of_order, .. } = *history.so_far();
        let shards = view.leases.iter().map(|row| shard_line(row, at, history, rates)).collect();
        let worker = |process: Process| WorkerLine {
            name: fleet.name(process).to_owned(),
            state: state(fleet.state(process)),
            shards: held(view, fleet.name(process)).count(),
        };
        Self {
            at,
            end,
            produced: put,
            processed: handled,
            duplicates: repeated,
            order_violations: out_of_order,
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

fn shard_line(row: &LeaseRow, at: Duration, history: &History, rates: &mut Rates) -> ShardLine {
    let name = row.key.shard.as_str();
    let state = history.shard(name);
    ShardLine {
        shard: name.to_owned(),
        owner: row.owner.as_ref().map(|owner| owner.name.to_string()),
        epoch: row.epoch.0,
        position: row.position.to_string(),
        finished: row.position == Position::ShardEnd,
        lag: state.oldest_waiting.map_or(Duration::ZERO, |put| at.saturating_sub(put)),
        records_per_second: rates.of(name, at, state.deliveries),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Frozen => "frozen",
        State::Stopping => "stopping",
        State::Killed | State::Ended { by: EndedBy::Kill, .. } => "killed",
        State::Ended { by: EndedBy::Stop, .. } => "stopped",
        State::Ended { by: EndedBy::Itself, .. } => "failed",
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

#[cfg(test)]
mod tests {
    use super::*;

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
