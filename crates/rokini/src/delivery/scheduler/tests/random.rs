//! Whatever fails: nothing is lost, order and position hold.

use super::*;

/// A record: its key, and how often user code fails with it. `u32::MAX` for always.
#[derive(Debug, Clone)]
struct RecordPlan {
    failures: u32,
    key: u8,
}

#[derive(Debug, Clone)]
struct Scenario {
    plans: Vec<RecordPlan>,
    lanes: usize,
    per_batch: usize,
    window: usize,
    policy: FailurePolicy,
    end: EndOfCall,
    seed: u64,
}

/// What makes a record done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndOfCall {
    /// Its call returned.
    Returned,
    /// Its token was used.
    Tokens,
    /// User code saw it, one by one, and some calls end early.
    OneByOne,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let plan = (0..6u8, prop_oneof![5 => Just(0), 2 => 1..4u32, 1 => Just(u32::MAX)])
        .prop_map(|(key, failures)| RecordPlan { failures, key });
    (
        proptest::collection::vec(plan, 1..40),
        1..5usize,
        1..9usize,
        1..30usize,
        policies(),
        prop_oneof![Just(EndOfCall::Returned), Just(EndOfCall::Tokens), Just(EndOfCall::OneByOne)],
        any::<u64>(),
    )
        .prop_map(|(plans, lanes, per_batch, window, policy, end, seed)| Scenario {
            plans,
            lanes,
            per_batch,
            window,
            policy,
            end,
            seed,
        })
}

/// Runs a scenario until nothing more happens.
fn run(scenario: &Scenario) -> Result<(), TestCaseError> {
    let limits = BatchLimits { records: scenario.per_batch, ..ALL };
    let mut scheduler = scheduler(DeliverySettings {
        limits,
        one_by_one: scenario.end == EndOfCall::OneByOne,
        window_records: scenario.window,
        ..settings(scenario.lanes, scenario.policy)
    });
    let mut rng = StdRng::seed_from_u64(scenario.seed);
    let mut now = Instant::now();
    let mut left: Vec<u32> = scenario.plans.iter().map(|plan| plan.failures).collect();
    let mut read = 0;
    let mut running: BTreeMap<usize, (u64, Vec<u64>, bool)> = BTreeMap::new();
    let mut tokens: Vec<(u64, u64, bool)> = Vec::new();
    let mut done: Vec<u64> = Vec::new();
    let mut given_up: BTreeSet<u64> = BTreeSet::new();
    let mut position = Position::TrimHorizon;
    // Poison that is tried for ever ends the run, after many tries.
    for _ in 0..20_000 {
        let mut moved = false;
        while scheduler.wants_more() && read < scenario.plans.len() {
            let count = rng.random_range(1..=5).min(scenario.plans.len() - read);
            let keys: Vec<String> =
                scenario.plans[read..read + count].iter().map(|plan| plan.key.to_string()).collect();
            add(
                &mut scheduler,
                records(read as u64, &keys.iter().map(String::as_str).collect::<Vec<_>>()),
                now,
            );
            read += count;
            moved = true;
        }
        if read == scenario.plans.len() {
            scheduler.end();
        }
        while let Some(step) = scheduler.next(now, nothing) {
            moved = true;
            let (lane, call, records, to_sink) = match step {
                DeliveryStep::CallHandler { lane, call, records, .. } => {
                    (lane, call, records.numbers().collect(), false)
                }
                DeliveryStep::DeadLetter { lane, records, .. } => {
                    let number = |record: &Record| {
                        (0..read as u64).find(|number| record.position() == after(number + 1)).unwrap()
                    };
                    (lane, 0, records.iter().map(number).collect::<Vec<_>>(), true)
                }
            };
            prop_assert!(to_sink || records.len() <= scenario.per_batch);
            prop_assert!(records.iter().all(|number| !done.contains(number) && !given_up.contains(number)));
            prop_assert!(running.insert(lane, (call, records, to_sink)).is_none(), "one call a lane");
        }
        let chosen = running.keys().copied().nth(rng.random_range(0..running.len().max(1)));
        if let Some((lane, (call, records, to_sink))) = chosen.and_then(|lane| running.remove_entry(&lane)) {
            moved = true;
            if to_sink {
                let confirmed = rng.random_bool(0.5);
                if confirmed {
                    given_up.extend(&records);
                }
                scheduler.dead_lettered(lane, if confirmed { Ok(()) } else { Err("full".to_owned()) }, now);
            } else if scenario.end == EndOfCall::OneByOne {
                let fails = |number: &&u64| left[**number as usize] > 0;
                let well = records.iter().take_while(|number| !fails(number)).count();
                let most = rng.random_range(1..=records.len());
                let (count, failed) =
                    if well < most { (well, records.get(well).copied()) } else { (most, None) };
                if rng.random_bool(0.5) {
                    // It waits with one of them, and those before it are done.
                    scheduler.progressed(lane, rng.random_range(0..=count));
                }
                done.extend(&records[..count]);
                if let Some(left) = failed.map(|number| &mut left[number as usize])
                    && *left != u32::MAX
                {
                    *left -= 1;
                }
                let result = if failed.is_some() { Err(no()) } else { Ok(false) };
                scheduler.returned(lane, result, Some(count), now, nothing);
            } else if scenario.end == EndOfCall::Tokens {
                scheduler.returned(lane, Ok(true), None, now, nothing);
                tokens.extend(records.iter().map(|number| (call, *number, true)));
            } else {
                let failing: Vec<u64> =
                    records.iter().copied().filter(|number| left[*number as usize] > 0).collect();
                for number in &failing {
                    let left = &mut left[*number as usize];
                    *left = if *left == u32::MAX { u32::MAX } else { *left - 1 };
                }
                if failing.is_empty() {
                    done.extend(&records);
                }
                scheduler.returned(
                    lane,
                    if failing.is_empty() { Ok(false) } else { Err(no()) },
                    None,
                    now,
                    nothing,
                );
            }
        }
        if !tokens.is_empty() && rng.random_bool(0.7) {
            let (call, number, _) = tokens.swap_remove(rng.random_range(0..tokens.len()));
            let fails = left[number as usize] > 0;
            if fails && left[number as usize] != u32::MAX {
                left[number as usize] -= 1;
            }
            if !fails {
                done.push(number);
            }
            let outcome = if fails { AckOutcome::Failed(no()) } else { AckOutcome::Done };
            scheduler
                .acked(Ack { call, records: RecordRanges::from(RecordRange::one(number)), outcome }, now);
            moved = true;
        }
        for event in scheduler.take_events() {
            if let DeliveryEvent::Skipped { records, .. } = event {
                prop_assert_eq!(scenario.policy.then, OnFailure::Skip);
                given_up.extend(records.iter().map(|sequence| {
                    (0..read as u64).find(|number| after(number + 1) == Position::after(*sequence)).unwrap()
                }));
            }
        }
        // The position is the end of the contiguous prefix of what is done or given up, and never falls.
        let prefix =
            (0..).take_while(|number| done.contains(number) || given_up.contains(number)).count() as u64;
        let expected = if prefix == 0 { Position::TrimHorizon } else { after(prefix) };
        prop_assert_eq!(scheduler.position(), expected);
        prop_assert!(expected >= position);
        position = expected;
        if !moved {
            match scheduler.due(now) {
                Some(due) => now = due,
                None if !tokens.is_empty() => {}
                None => break,
            }
        }
    }
    let poison = |number: &u64| scenario.plans[*number as usize].failures == u32::MAX;
    prop_assert!(done.iter().all(|number| !poison(number)));
    if scenario.end != EndOfCall::Tokens {
        // Per key in the order of the shard. With tokens others decide when a record is done.
        for key in 0..6 {
            let of_key: Vec<u64> =
                done.iter().copied().filter(|n| scenario.plans[*n as usize].key == key).collect();
            prop_assert!(of_key.is_sorted(), "{:?}", of_key);
        }
    }
    let stuck = matches!(scenario.policy.then, OnFailure::Retry | OnFailure::Halt);
    if !stuck || !(0..scenario.plans.len() as u64).any(|number| poison(&number)) && !scheduler.is_halted() {
        prop_assert!(
            scheduler.is_handed_out() && !scheduler.awaits_acks(),
            "nothing is left behind: {:?}",
            scheduler
        );
        prop_assert_eq!(done.len() + given_up.len(), scenario.plans.len());
    }
    let alone = scenario.policy.bisect || scenario.end == EndOfCall::OneByOne;
    if alone && !matches!(scenario.policy.then, OnFailure::Retry) {
        // What never fails is never given up.
        prop_assert!(given_up.iter().all(|number| scenario.plans[*number as usize].failures > 0));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(144))]
    #[test]
    fn c1_c4_p8_whatever_fails_nothing_is_lost_and_order_and_position_hold(scenario in scenarios()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(&scenario)?;
    }
}
