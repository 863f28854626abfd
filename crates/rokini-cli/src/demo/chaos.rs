//! A run with chaos: shards split and merge, workers are killed or frozen, calls fail, again and again. Pure: a seed
//! decides.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule};

use super::action::{Action, TAKEOVER_MARGIN};

/// What is done to the workers and the stream in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Chaos {
    /// A shard is split, or two are merged.
    pub(crate) reshard_every: Option<Duration>,
    /// A worker is killed and replaced, or frozen for a while.
    pub(crate) disturb_every: Option<Duration>,
    /// The share of the workers' calls that fail, between 0 and 1.
    pub(crate) faults: f64,
    /// Decides what happens to whom.
    pub(crate) seed: u64,
}

/// What happens to a worker.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// It is killed and replaced.
    Kill,
    /// It is frozen for so short that the others do not notice.
    ShortFreeze,
    /// It is frozen until the others have taken over.
    LongFreeze,
}

/// Drawn until it is empty, and again, so that every run of some length has all of them.
const BAG: [Disturbance; 4] =
    [Disturbance::Kill, Disturbance::Kill, Disturbance::ShortFreeze, Disturbance::LongFreeze];

/// The actions up to the last record, with their times, in order.
pub(super) fn actions(chaos: &Chaos, run: Duration, failover: Duration) -> Vec<(Duration, Action)> {
    let mut rng = StdRng::seed_from_u64(chaos.seed);
    let quiet = run - (run / 10).min(failover * 2 + TAKEOVER_MARGIN);
    let every = |pause: Option<Duration>| {
        let times = (1..).map_while(move |n| pause?.checked_mul(n));
        times.take_while(move |at| *at < quiet)
    };
    let mut actions = vec![(quiet, Action::Quiet)];
    actions.extend(every(chaos.reshard_every).map(|at| (at, Action::Reshard)));
    let mut bag = Vec::new();
    for at in every(chaos.disturb_every) {
        if bag.is_empty() {
            bag = BAG.to_vec();
            bag.shuffle(&mut rng);
        }
        let (action, times, undone) = match bag.pop() {
            Some(Disturbance::ShortFreeze) => (Action::Freeze, 0.1..0.6, Action::Resume),
            Some(Disturbance::LongFreeze) => (Action::Freeze, 1.2..2.0, Action::Resume),
            Some(Disturbance::Kill) | None => {
                (Action::Kill, 0.05..0.8, Action::Replace { same_name: rng.random() })
            }
        };
        actions.push((at, action));
        actions.push(((at + failover.mul_f64(rng.random_range(times))).min(quiet), undone));
    }
    actions.sort();
    actions
}

/// What a split or merge works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenShard {
    pub(crate) id: String,
    /// The first and the last hash of its range.
    pub(crate) range: (u128, u128),
}

/// A change of the stream's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reshard {
    Split { shard: String, at: u128 },
    Merge { shard: String, with: String },
}

/// Splits or merges at random, so that the number of shards stays near `usual`.
pub(crate) fn reshard(open: &mut [OpenShard], usual: usize, rng: &mut impl Rng) -> Option<Reshard> {
    open.sort_by_key(|shard| shard.range);
    let (few, many) = (usual * 3 / 4, usual * 5 / 4);
    let pairs = open.windows(2).filter(|pair| pair[0].range.1.checked_add(1) == Some(pair[1].range.0));
    let pairs: Vec<_> = pairs.collect();
    let merge = open.len() >= many.max(2) || open.len() > few.max(1) && rng.random();
    if merge && !pairs.is_empty() {
        let pair = pairs[rng.random_range(0..pairs.len())];
        return Some(Reshard::Merge { shard: pair[0].id.clone(), with: pair[1].id.clone() });
    }
    let wide: Vec<_> = open.iter().filter(|shard| shard.range.1 - shard.range.0 > 10).collect();
    let shard = wide.get(rng.random_range(0..wide.len().max(1)))?;
    let (first, last) = shard.range;
    // Uneven halves: some shards get next to nothing.
    let at = first + (last - first) / 10 * rng.random_range(1..=9);
    Some(Reshard::Split { shard: shard.id.clone(), at })
}

/// Faults in a share of one caller's calls to Kinesis.
pub(crate) fn kinesis_faults(share: f64, caller: &str) -> Vec<FaultRule> {
    let reads = |fault| FaultRule::on("GetRecords", fault);
    let parts = [
        (15, FaultRule::always(Fault::Delay { millis: 300 })),
        (15, FaultRule::always(error("InternalFailure", 500))),
        (10, FaultRule::always(error("ServiceUnavailable", 503))),
        (15, FaultRule::always(Fault::DropBefore)),
        (10, FaultRule::always(Fault::DropAfter)),
        (10, FaultRule::always(Fault::CutAfter { bytes: 40 })),
        (2, FaultRule::always(Fault::HangBefore)),
        (2, FaultRule::always(Fault::HangAfter { bytes: 40 })),
        (8, reads(Fault::Throttle)),
        (5, reads(error("KMSThrottlingException", 400))),
        (4, reads(error("ExpiredIteratorException", 400))),
        (4, reads(Fault::Empty)),
    ];
    spread(parts, share, caller)
}

/// The same for calls to DynamoDB.
pub(crate) fn dynamodb_faults(share: f64, caller: &str) -> Vec<FaultRule> {
    let parts = [
        (20, Fault::Delay { millis: 300 }),
        (15, error("InternalServerError", 500)),
        (15, Fault::Throttle),
        (10, error("ThrottlingException", 400)),
        (15, Fault::DropBefore),
        (15, Fault::DropAfter),
        (5, Fault::CutAfter { bytes: 1 }),
        (3, Fault::HangBefore),
        (2, Fault::HangAfter { bytes: 0 }),
    ];
    spread(parts.map(|(part, fault)| (part, FaultRule::always(fault))), share, caller)
}

/// `parts` are hundredths of the share.
fn spread<const N: usize>(parts: [(u32, FaultRule); N], share: f64, caller: &str) -> Vec<FaultRule> {
    let rules = parts.map(|(part, rule)| rule.caller(caller).probability(share * f64::from(part) / 100.0));
    rules.into()
}

fn error(code: &str, status: u16) -> Fault {
    Fault::Error {
        code: ErrorCode::from(code),
        message: "A fault of the demo.".to_owned(),
        status: Some(status),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rokini_local::{FaultCall, Faults};

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const SOAK: Chaos =
        Chaos { reshard_every: Some(secs(20)), disturb_every: Some(secs(30)), faults: 0.01, seed: 1 };

    #[test]
    fn half_an_hour_has_a_change_every_20_s_and_a_disturbance_every_30_s() {
        let actions = actions(&SOAK, secs(1800), secs(10));
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|(_, action)| wanted(action)).count();
        assert_eq!(count(|action| *action == Action::Reshard), 88);
        let (kills, freezes) =
            (count(|action| *action == Action::Kill), count(|action| *action == Action::Freeze));
        assert_eq!(kills + freezes, 59);
        assert!(kills.abs_diff(freezes) <= 2, "{kills} {freezes}");
        let ways: BTreeSet<_> = actions
            .iter()
            .filter(|(_, action)| matches!(action, Action::Replace { .. }))
            .map(|(_, s)| s)
            .collect();
        assert_eq!(ways.len(), 2, "under its name, and under a new one");
    }

    proptest! {
        #[test]
        fn what_is_done_to_workers_is_undone_before_records_end(
            seed: u64, run in 20u64..2000, disturb in 1u64..100, failover in 1u64..20,
        ) {
            let chaos = Chaos { disturb_every: Some(secs(disturb)), seed, ..SOAK };
            let planned = actions(&chaos, secs(run), secs(failover));
            prop_assert_eq!(&planned, &actions(&chaos, secs(run), secs(failover)), "the seed decides");
            prop_assert!(planned.is_sorted());
            let (at, last) = *planned.last().unwrap();
            prop_assert_eq!(last, Action::Quiet, "it is the greatest of its time");
            prop_assert!(at < secs(run) && at >= secs(run) * 9 / 10);
            let (mut dead, mut frozen) = (0, 0);
            for (_, action) in planned {
                match action {
                    Action::Kill => dead += 1,
                    Action::Replace { .. } => dead -= 1,
                    Action::Freeze => frozen += 1,
                    Action::Resume => frozen -= 1,
                    _ => {}
                }
                prop_assert!(dead >= 0 && frozen >= 0);
            }
            prop_assert_eq!((dead, frozen), (0, 0));
        }

        #[test]
        fn r1_a_stream_resharded_at_random_stays_whole_and_near_its_size(seed: u64, usual in 1usize..20) {
            let mut rng = StdRng::seed_from_u64(seed);
            let width = u128::MAX / usual as u128;
            let mut open: Vec<_> = (0..usual as u128)
                .map(|n| OpenShard {
                    id: n.to_string(),
                    range: (n * width, if n + 1 == usual as u128 { u128::MAX } else { (n + 1) * width - 1 }),
                })
                .collect();
            for round in 0..50 {
                let range = |open: &[OpenShard], id: &str| open.iter().find(|s| s.id == id).unwrap().range;
                match reshard(&mut open, usual, &mut rng).unwrap() {
                    Reshard::Split { shard, at } => {
                        let (first, last) = range(&open, &shard);
                        prop_assert!(first < at && at <= last);
                        open.retain(|s| s.id != shard);
                        open.push(OpenShard { id: format!("{round}a"), range: (first, at - 1) });
                        open.push(OpenShard { id: format!("{round}b"), range: (at, last) });
                    }
                    Reshard::Merge { shard, with } => {
                        let (left, right) = (range(&open, &shard), range(&open, &with));
                        prop_assert_eq!(left.1 + 1, right.0);
                        open.retain(|s| s.id != shard && s.id != with);
                        open.push(OpenShard { id: format!("{round}m"), range: (left.0, right.1) });
                    }
                }
                prop_assert!(open.len() <= usual * 5 / 4 + 2, "{} of {usual}", open.len());
                prop_assert!(open.len() >= (usual * 3 / 4).max(1));
            }
        }
    }

    #[test]
    fn about_the_wanted_share_of_the_workers_calls_is_hit() {
        for (rules, operation) in
            [(kinesis_faults(0.05, "w"), "GetRecords"), (dynamodb_faults(0.05, "w"), "UpdateItem")]
        {
            let faults = Faults::new(3);
            for rule in rules {
                faults.add(rule);
            }
            let hit = |caller| {
                let mut call = FaultCall::new(operation);
                call.caller = Some(caller);
                (0..10_000).filter(|_| !faults.decide(&call).is_empty()).count()
            };
            assert_eq!(hit("demo"), 0);
            let hits = hit("w");
            assert!((400..600).contains(&hits), "{operation}: {hits}");
        }
    }
}
