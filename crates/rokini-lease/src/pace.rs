//! How often a worker does what: the only place with these numbers, by which workers live and [`crate::cost`] counts. Pure.
//!
//! What is fast is what people wait for: a look at one's own row, which shows what others ask for. What is slow is what
//! costs most: the heartbeat, which only has to come often enough that nobody is declared dead for a lost one.

use std::time::Duration;

/// Heartbeats are due every 2/5 of the failover time: within the three quarters for which one is good, there is time for
/// a second one with its tries.
const HEARTBEAT_SHARE: (u32, u32) = (2, 5);
/// The longest time between two looks of a worker that others may ask for something. A clean stop takes one look.
pub(crate) const LOOK: Duration = Duration::from_millis(1_500);
/// The longest time until a newcomer's first heartbeat: namesakes and watchers wait for it.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(1);
/// A worker in reserve sends a heartbeat every so many failover times.
const RESERVE_HEARTBEAT: u32 = 12;
/// Of a worker in reserve so many heartbeats may be missing.
const RESERVE_SILENCE: (u32, u32) = (5, 2);
/// So many workers without leases, the first ones in the order of their ids, stand by for those who leave, and look as
/// often as those who have leases.
pub(crate) const STANDBYS: usize = 2;
/// So many worker rows are read at once for half a read unit of DynamoDB (4 KB): one look at these and at one's own row
/// costs as much as a look at one's own row alone.
pub(crate) const BLOCK: usize = 12;
/// So many workers watch everybody with every second look, whatever the size of the fleet; the others watch their block.
pub(crate) const SENTINELS: usize = 2;
/// Between two looks at everybody of a worker that watches its block, per worker of the fleet: so that they cost a
/// worker less than 0.02 write units a second.
const WHOLE_LOOK: Duration = Duration::from_millis(320);
/// Between two listings of everything by one worker, per worker of the fleet.
const LISTING: Duration = Duration::from_secs(2);
/// The same where most workers have no lease: then it is their rows that a listing reads.
const LISTING_OF_RESERVES: Duration = Duration::from_secs(6);
/// Rows of one page of a listing.
pub(crate) const PAGE_ROWS: u32 = 400;
/// Between two pages, so that one worker's listing reads at most about 500 units a second, a sixth of what DynamoDB
/// gives a partition key.
pub(crate) const PAGE_PAUSE: Duration = Duration::from_millis(50);

/// The paces of one worker, from its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
    pub(crate) failover: Duration,
    pub(crate) reconcile: Duration,
    pub(crate) look: Duration,
}

/// The heartbeat that goes with a failover time.
pub(crate) fn heartbeat_of(failover: Duration) -> Duration {
    failover * HEARTBEAT_SHARE.0 / HEARTBEAT_SHARE.1
}

impl Pace {
    /// The longest heartbeat that fits into the failover time.
    pub(crate) fn slowest_heartbeat(self) -> Duration {
        heartbeat_of(self.failover)
    }

    /// Between two looks.
    pub(crate) fn look(self) -> Duration {
        self.look.min(self.heartbeat)
    }

    /// Until a newcomer's first heartbeat.
    pub(crate) fn first_heartbeat(self) -> Duration {
        FIRST_HEARTBEAT.min(self.heartbeat)
    }

    /// Between two looks of a worker in reserve: others wait less than the failover time for an answer.
    pub(crate) fn reserve_look(self) -> Duration {
        self.look().max(self.slowest_heartbeat())
    }

    /// Between two heartbeats of a worker in reserve.
    pub(crate) fn reserve_heartbeat(self) -> Duration {
        self.heartbeat.max(self.failover * RESERVE_HEARTBEAT)
    }

    /// A heartbeat that is later than this after the one before shows that the store did not answer meanwhile.
    pub(crate) fn on_time(self) -> Duration {
        self.heartbeat * 9 / 8
    }

    /// How long a worker's own heartbeats must have been on time before it may take the silence of others for their death
    /// and not the store's: time enough for the others to be heard again.
    pub(crate) fn testimony(self) -> Duration {
        self.failover / 2
    }

    /// Between two looks at everybody, in a fleet of which this worker watches a block.
    pub(crate) fn whole_look(self, workers: usize, in_reserve: bool) -> Duration {
        let each = if in_reserve { WHOLE_LOOK * 4 } else { WHOLE_LOOK };
        self.reconcile.max(each * count(workers))
    }

    /// Between two listings of everything by one worker, in a quiet fleet.
    pub(crate) fn listing(self, workers: usize, leases: usize) -> Duration {
        let each = if leases < workers { LISTING_OF_RESERVES } else { LISTING };
        self.reconcile.max(each * count(workers))
    }
}

/// How long a worker may be silent that announces heartbeats so far apart.
pub(crate) fn patience(interval: Duration, failover: Duration) -> Duration {
    if interval <= failover { failover } else { interval * RESERVE_SILENCE.0 / RESERVE_SILENCE.1 }
}

/// Whether a worker that announces this is in reserve: it has nothing to fail over.
pub(crate) fn is_in_reserve(interval: Duration, failover: Duration) -> bool {
    interval > failover
}

fn count(workers: usize) -> u32 {
    u32::try_from(workers).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(heartbeat: u64, failover: u64) -> Pace {
        let seconds = Duration::from_secs;
        Pace {
            heartbeat: seconds(heartbeat),
            failover: seconds(failover),
            reconcile: seconds(30),
            look: LOOK,
        }
    }

    #[test]
    fn beats_are_as_slow_as_the_failover_time_allows_and_looks_as_fast_as_people_wait() {
        let millis = |duration: Duration| duration.as_millis();
        let slow = pace(4, 10);
        assert_eq!(slow.heartbeat, slow.slowest_heartbeat());
        assert_eq!((millis(slow.look()), millis(slow.reserve_look())), (1_500, 4_000));
        assert_eq!((millis(slow.reserve_heartbeat()), millis(slow.first_heartbeat())), (120_000, 1_000));
        assert_eq!(pace(1, 10).look().as_secs(), 1);
        assert_eq!(heartbeat_of(Duration::from_secs(60)).as_secs(), 24);
    }

    #[test]
    fn what_grows_with_the_fleet_becomes_rarer_with_it() {
        let pace = pace(4, 10);
        let seconds = |workers, leases| pace.listing(workers, leases).as_secs();
        assert_eq!([seconds(0, 0), seconds(10, 1_000), seconds(100, 10_000)], [30, 30, 200]);
        assert_eq!([seconds(1_000, 1_000), seconds(1_000, 20)], [2_000, 6_000]);
        assert_eq!(
            [pace.whole_look(50, false).as_secs(), pace.whole_look(1_000, false).as_secs()],
            [30, 320]
        );
    }

    #[test]
    fn a_worker_in_reserve_is_given_time() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(4), seconds(10)), seconds(10));
        assert_eq!(patience(seconds(120), seconds(10)), seconds(300));
    }
}
