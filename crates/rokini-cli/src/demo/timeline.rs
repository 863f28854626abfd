//! Which worker owned which shard when, and how long records waited: what the picture of a run shows.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_lease::GroupView;

/// The number of points of the curve of waiting records.
const POINTS: u32 = 400;

/// The owner of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    /// `alive` is false while its process is dead or frozen.
    Worker {
        name: String,
        alive: bool,
    },
    /// Everything in the shard is done.
    Finished,
}

/// What happened over a run.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// The changes of each shard's owner.
    pub(crate) owners: BTreeMap<String, Vec<(Duration, Owner)>>,
    /// The age of the oldest unhandled record, the highest in each interval.
    pub(crate) lags: Vec<(Duration, Duration)>,
    interval: Duration,
}

impl Timeline {
    /// `run` is how long the run is to be.
    pub(crate) fn new(run: Duration) -> Self {
        Self { owners: BTreeMap::new(), lags: Vec::new(), interval: run / POINTS }
    }

    /// Takes the leases as they are at a time, and the age of the oldest unhandled record.
    pub(crate) fn take(
        &mut self,
        at: Duration,
        view: &GroupView,
        alive: impl Fn(&str) -> bool,
        lag: Duration,
    ) {
        for row in &view.leases {
            let owner = match &row.owner {
                _ if row.position.is_shard_end() => Owner::Finished,
                Some(id) => Owner::Worker { name: id.name.to_string(), alive: alive(id.name.as_str()) },
                None => Owner::Nobody,
            };
            let changes = self.owners.entry(row.key.shard.to_string()).or_default();
            if changes.last().is_none_or(|(_, before)| *before != owner) {
                changes.push((at, owner));
            }
        }
        match self.lags.last_mut() {
            Some((begun, highest)) if at < *begun + self.interval => *highest = lag.max(*highest),
            _ => self.lags.push((at, lag)),
        }
    }
}
