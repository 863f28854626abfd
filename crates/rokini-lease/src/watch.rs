//! Who is silent, who watches whom, and when everything is listed: decisions of a watcher. Pure.

mod listing_schedule;
mod silence;
mod unfinished;
mod watched_block;

pub(crate) use listing_schedule::{ListingCauses, ListingSchedule};
pub(crate) use silence::FleetWatch;
pub(crate) use unfinished::{LoadWatch, UnfinishedFences};
pub(crate) use watched_block::{Look, WatchedBlock};

/// The default pace, and fleets for it.
#[cfg(test)]
mod testing {
    use std::time::Duration;

    use crate::pace::{LOOK, Pace};
    use crate::row::WorkerRow;

    pub(super) const SECOND: Duration = Duration::from_secs(1);
    pub(super) const PACE: Pace = Pace {
        heartbeat: Duration::from_secs(4),
        failover: Duration::from_secs(10),
        reconcile: Duration::from_secs(30),
        look: LOOK,
    };

    pub(super) fn fleet(count: u64) -> Vec<WorkerRow> {
        (0..count).map(|n| WorkerRow::joining(format!("w{n:05}#{n:016x}").parse().unwrap(), None)).collect()
    }
}
