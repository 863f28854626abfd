//! The protocol of a large fleet, small enough for every test run. `sim scale` has the large one.

use std::time::Duration;

use rokini_lease::StoreOperation;
use sim::Scale;

#[test]
fn l5_l6_l9_large_fleets_balance_within_seconds_and_rest() {
    let (shards, workers, joins, kills, splits) = (300, 15, 3, 3, 30);
    let scale = Scale { shards, workers, joins, kills, splits, quiet: Duration::from_secs(120) };
    let phases = sim::scale(scale, 1).unwrap();
    let [start, quiet, joined, killed, resharded] = &phases[..] else { panic!("{phases:?}") };
    assert!(start.owned < Duration::from_secs(3) && start.balanced < Duration::from_secs(8), "{start}");
    assert_eq!((quiet.moves, quiet.counts.refused()), (0, 0), "{quiet}");
    assert_eq!(quiet.counts.write_calls(), quiet.counts.of(StoreOperation::Heartbeat), "{quiet}");
    assert!(joined.balanced < Duration::from_secs(8), "{joined}");
    // The newcomers' shares, and little that travels twice while they come one after the other.
    let share = (shards * joins / (workers + joins)) as u64;
    assert!((share..=share * 5 / 4).contains(&joined.moves), "{share}: {joined}");
    assert!(killed.balanced < Duration::from_secs(15), "{killed}");
    // No shard is without a live worker for longer than the failover time and 5 s.
    assert!(resharded.owned < Duration::from_secs(15), "{resharded}");
    for phase in [quiet, joined, killed, resharded] {
        assert_eq!(phase.load.throttled, 0, "one key has enough for this fleet: {phase}");
    }
}
