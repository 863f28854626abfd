//! What coordination costs, as a function of a fleet's shape: Rokini's at its defaults, and the Java KCL's at its own. Pure.
//!
//! Units are those of DynamoDB: a write unit covers a row of 1 KB, a read unit 4 KB by a consistent read and 8 KB by an
//! eventually consistent one. Both sides are counted at rest, which means that nobody comes or goes and that idle leases
//! stay as they are; positions of busy leases cost both the same and are added by [`CapacityUnits::of_positions`].

use std::ops::{Add, Mul};
use std::time::Duration;

use crate::pace::{BLOCK, LOOK, Pace, SENTINELS, STANDBYS, heartbeat_of};

/// A month of 365 / 12 days, in seconds.
const MONTH: f64 = 365.0 / 12.0 * 86_400.0;
/// What a million write units cost on demand in us-east-1, in USD ("Pricing for on-demand capacity", DynamoDB's pricing
/// page, 2026).
const USD_PER_MILLION_WRITES: f64 = 0.625;
/// What a million read units cost there, in USD.
const USD_PER_MILLION_READS: f64 = 0.125;

/// How large a fleet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FleetShape {
    /// Live workers.
    pub workers: u32,
    /// Leases of shards that have not ended, spread evenly.
    pub leases: u32,
}

/// Units of DynamoDB, in whatever time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CapacityUnits {
    /// Write units.
    pub writes: f64,
    /// Read units.
    pub reads: f64,
}

impl CapacityUnits {
    /// What the positions of busy leases cost in a second, here and with the KCL alike: one write of a row below 1 KB for each
    /// stored position.
    #[must_use]
    pub fn of_positions(busy_leases: u32, checkpoint_interval: Duration) -> Self {
        Self { writes: f64::from(busy_leases) / checkpoint_interval.as_secs_f64(), reads: 0.0 }
    }

    /// What they come to in a month, where these are for a second.
    #[must_use]
    pub fn per_month(self) -> Self {
        self * MONTH
    }

    /// Their price on demand in us-east-1, in USD.
    #[must_use]
    pub fn usd(self) -> f64 {
        (self.writes * USD_PER_MILLION_WRITES + self.reads * USD_PER_MILLION_READS) / 1e6
    }
}

impl Add for CapacityUnits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { writes: self.writes + other.writes, reads: self.reads + other.reads }
    }
}

impl Mul<f64> for CapacityUnits {
    type Output = Self;

    fn mul(self, by: f64) -> Self {
        Self { writes: self.writes * by, reads: self.reads * by }
    }
}

/// The size of a worker's row with one stream and names as Kubernetes gives them, in bytes.
const WORKER_ROW: f64 = 310.0;
/// The size of the row of a lease that is held, in bytes.
const LEASE_ROW: f64 = 470.0;
const READ_UNIT: f64 = 4096.0;
/// What DynamoDB gives a partition key in a second ("Best practices for designing and using partition keys", 2026).
const KEY_WRITES: f64 = 1_000.0;
const KEY_READS: f64 = 3_000.0;

/// Read units of an eventually consistent query of so many bytes.
fn query(bytes: f64) -> f64 {
    (bytes / READ_UNIT).ceil().max(1.0) / 2.0
}

impl FleetShape {
    /// What a group costs in a second at rest: heartbeats, looks and listings of its workers, and the audit of one stream.
    #[must_use]
    pub fn cost_at_rest(self) -> CapacityUnits {
        let failover = Duration::from_secs(10);
        let pace = Pace {
            heartbeat: heartbeat_of(failover),
            failover,
            reconcile: Duration::from_secs(30),
            look: LOOK,
        };
        let Self { workers, leases } = self;
        let holders = f64::from(workers.min(leases));
        let without = workers - workers.min(leases);
        let standbys = f64::from(without.min(STANDBYS as u32));
        let reserves = f64::from(without) - standbys;
        let all = f64::from(workers);
        let per_second = |every: Duration| 1.0 / every.as_secs_f64();

        let writes =
            holders * per_second(pace.heartbeat) + f64::from(without) * per_second(pace.reserve_heartbeat());
        let everybody = query(all * WORKER_ROW);
        let looks =
            (holders + standbys) * per_second(pace.look()) + reserves * per_second(pace.reserve_look());
        let looking = if workers as usize <= BLOCK {
            looks * everybody
        } else {
            let count = workers as usize;
            let whole = (holders + standbys) * per_second(pace.whole_look(count, false))
                + reserves * per_second(pace.whole_look(count, true));
            // Half a unit for a block; with every second look the sentinels read everybody instead.
            let sentinels = SENTINELS as f64 * per_second(pace.look() * 2);
            looks * 0.5 + sentinels * (everybody - 0.5) + whole * everybody
        };
        let listing = query(f64::from(leases) * LEASE_ROW + all * WORKER_ROW);
        let listings = all * per_second(pace.listing(workers as usize, leases as usize)) + 1.0 / 60.0;
        CapacityUnits { writes, reads: looking + listings * listing }
    }

    /// What the busiest partition key has to give in a second while every lease is busy and stores a position so often, where
    /// the leases are spread over so many keys. One key has everything; of several, one has the workers.
    #[must_use]
    pub fn busiest_key(self, lease_keys: u16, checkpoint_interval: Duration) -> CapacityUnits {
        let (rest, positions) =
            (self.cost_at_rest(), CapacityUnits::of_positions(self.leases, checkpoint_interval));
        if lease_keys <= 1 {
            return rest + positions;
        }
        let leases = positions * (1.0 / f64::from(lease_keys));
        CapacityUnits { writes: rest.writes.max(leases.writes), reads: rest.reads.max(leases.reads) }
    }

    /// Over how many partition keys the leases are best spread: 1 as long as that key then has a fifth of its units left, and
    /// otherwise so many that each gives half of them.
    #[must_use]
    pub fn lease_keys(self, checkpoint_interval: Duration) -> u16 {
        let one = self.busiest_key(1, checkpoint_interval);
        if one.writes <= KEY_WRITES * 0.8 && one.reads <= KEY_READS * 0.8 {
            return 1;
        }
        let positions = CapacityUnits::of_positions(self.leases, checkpoint_interval);
        ((positions.writes / (KEY_WRITES / 2.0)).ceil() as u16).max(2)
    }

    /// What the Java KCL 3.5 costs in a second at rest and at its defaults, by its source: each lease is renewed every
    /// 3.308 s; each worker writes its metrics every 30 s, and the leader its lock. Each worker queries an index every
    /// 9.975 s; all but the leader look for the leader every 30 s by two consistent reads; the leader scans the table every
    /// 20 s, and every 120 s for its audit.
    #[must_use]
    pub fn kcl_cost_at_rest(self) -> CapacityUnits {
        /// A lease of the KCL with its hash range, and a row of metrics.
        const LEASE: f64 = 450.0;
        const METRICS: f64 = 300.0;
        /// A key of a lease in the index.
        const INDEX: f64 = 110.0;
        let (workers, leases) = (f64::from(self.workers), f64::from(self.leases));
        let scan = query(leases * LEASE + workers * METRICS);
        CapacityUnits {
            writes: leases / 3.308 + (workers + 1.0) / 30.0,
            reads: workers * query(leases / workers * INDEX) / 9.975
                + (workers - 1.0) * 2.0 / 30.0
                + scan * (1.0 / 20.0 + 1.0 / 120.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [(u32, u32); 12] = [
        (1, 1),
        (1, 20),
        (10, 10),
        (10, 20),
        (20, 20),
        (100, 20),
        (100, 100),
        (10, 1_000),
        (100, 1_000),
        (1_000, 1_000),
        (100, 10_000),
        (1_000, 10_000),
    ];

    #[test]
    fn k3_no_shape_costs_more_than_the_kcl_and_a_tenth() {
        let every = (0..=14).flat_map(|w| (0..=14).map(move |l| (1 << w, 1 << l)));
        for (workers, leases) in every.chain(SHAPES) {
            let shape = FleetShape { workers, leases };
            let (ours, theirs) =
                (shape.cost_at_rest().per_month().usd(), shape.kcl_cost_at_rest().per_month().usd());
            assert!(ours <= theirs * 1.1, "{shape:?}: {ours:.2} USD against {theirs:.2}");
            if leases >= 2 * workers || workers > leases {
                assert!(ours < theirs, "{shape:?}: {ours:.2} USD against {theirs:.2}");
            }
        }
    }

    #[test]
    fn leases_are_spread_where_one_key_would_run_hot() {
        let interval = Duration::from_secs(5);
        for (workers, leases, keys) in
            [(1, 20, 1), (100, 1_000, 1), (20, 3_900, 1), (20, 4_200, 2), (200, 10_000, 4)]
        {
            let shape = FleetShape { workers, leases };
            assert_eq!(shape.lease_keys(interval), keys, "{shape:?}");
            let load = shape.busiest_key(keys, interval);
            assert!(load.writes <= 800.0 && load.reads <= 2_400.0, "{shape:?}: {load:?}");
        }
    }

    #[test]
    fn a_worker_at_rest_costs_what_it_costs_whatever_the_fleet() {
        for workers in [1, 10, 100, 1_000, 10_000] {
            let each = FleetShape { workers, leases: workers }.cost_at_rest() * (1.0 / f64::from(workers));
            assert!(each.writes <= 0.25 && each.reads < 0.6, "{workers}: {each:?}");
        }
    }
}
