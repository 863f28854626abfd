use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;
use crate::OnFailure;

mod order;

const ALL: Limits = Limits { records: usize::MAX, bytes: usize::MAX, wait: Duration::ZERO };

fn rules(lanes: usize, policy: Policy) -> Rules {
    Rules { lanes, limits: ALL, window_records: 1_000, window_bytes: 1 << 20, policy, ack_timeout: None }
}

fn flow(rules: Rules) -> Flow {
    let mut flow = Flow::new(rules, Position::TrimHorizon, StdRng::seed_from_u64(1));
    (0..rules.lanes).for_each(|lane| flow.open(lane));
    flow
}

/// Records with these keys; the first has the sequence number `from` + 1.
fn records(from: u64, keys: &[&str]) -> Vec<Record> {
    let record = |(index, key): (usize, &&str)| {
        Record::new(SequenceNumber::from(u128::from(from) + index as u128 + 1), *key, "data", 0)
    };
    keys.iter().enumerate().map(record).collect()
}

fn add(flow: &mut Flow, records: Vec<Record>, now: Instant) {
    let bytes = records.iter().map(|record| record.data.len()).sum();
    flow.add(records, bytes, 0, now);
}

fn after(number: u64) -> Position {
    Position::after(SequenceNumber::from(u128::from(number)))
}

fn no() -> HandlerFailure {
    HandlerFailure::Error("no".to_owned())
}

fn nothing() -> Position {
    Position::TrimHorizon
}

fn numbers(step: Option<Step>) -> Vec<u64> {
    match step {
        Some(Step::Call { records, .. }) => records.numbers().collect(),
        Some(Step::Bury { .. }) | None => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a1_poison_record_is_found_in_log_n_calls_and_the_rest_goes_on_in_order() {
    for (count, poison) in [(1_000_u64, 0_u64), (1_000, 999), (1_000, 617), (7, 3), (2, 1), (1, 0)] {
        let policy = Policy {
            max_attempts: NonZeroU32::new(1),
            bisect: true,
            then: OnFailure::Skip,
            ..Policy::default()
        };
        let mut flow = flow(rules(1, policy));
        let keys = vec!["k"; usize::try_from(count).unwrap()];
        add(&mut flow, records(0, &keys), Instant::now());
        let (mut calls, mut done) = (0, Vec::<u64>::new());
        let mut now = Instant::now();
        loop {
            let batch = numbers(flow.next(now, nothing));
            if batch.is_empty() {
                match flow.due(now) {
                    Some(due) => now = due,
                    None => break,
                }
                continue;
            }
            calls += 1;
            let fails = batch.contains(&poison);
            if !fails {
                done.extend(batch.iter().copied());
            }
            flow.returned(0, if fails { Err(no()) } else { Ok(false) }, now, nothing);
        }
        let expected: Vec<u64> = (0..count).filter(|number| *number != poison).collect();
        assert_eq!(done, expected);
        assert_eq!(flow.position(), after(count));
        let log = count.next_power_of_two().trailing_zeros();
        assert!(calls <= 2 * log + 2, "{calls} calls for {poison} of {count}");
        let skipped = flow.told().into_iter().filter_map(|told| match told {
            Told::Skipped { records, .. } => Some(records),
            _ => None,
        });
        assert_eq!(skipped.collect::<Vec<_>>(), [[SequenceNumber::from(u128::from(poison) + 1)]]);
    }
}

#[tokio::test(start_paused = true)]
async fn c1_parked_key_waits_while_others_go_on_and_keeps_its_order() {
    let mut flow = flow(rules(1, Policy { park: true, ..Policy::default() }));
    let mut now = Instant::now();
    add(&mut flow, records(0, &["a", "bad", "b", "bad", "c"]), now);
    let mut order = Vec::<u64>::new();
    let mut failures = 0;
    while failures < 9 {
        let batch = numbers(flow.next(now, nothing));
        if batch.is_empty() {
            now = flow.due(now).unwrap();
            continue;
        }
        let fails = batch.contains(&1);
        failures += u32::from(fails);
        if !fails {
            order.extend(batch.iter().copied());
        }
        flow.returned(0, if fails { Err(no()) } else { Ok(false) }, now, nothing);
    }
    assert_eq!(order, [0, 2, 4], "the second record of the parked key waits");
    assert_eq!((flow.parked(), flow.position()), (1, after(1)));
    add(&mut flow, records(5, &["bad", "d"]), now);
    assert_eq!(numbers(flow.next(now, nothing)), [6], "what comes later of the key waits too");
    flow.returned(0, Ok(false), now, nothing);
    now = flow.due(now).unwrap();
    for expected in [vec![1], vec![3, 5]] {
        assert_eq!(numbers(flow.next(now, nothing)), expected);
        flow.returned(0, Ok(false), now, nothing);
    }
    assert_eq!((flow.parked(), flow.position()), (0, after(7)));
    assert!(matches!(flow.told().last(), Some(Told::Unparked { .. })));
}

#[tokio::test(start_paused = true)]
async fn c4_acks_in_any_order_move_the_position_by_the_done_prefix() {
    let mut flow = flow(Rules { window_records: 4, ..rules(1, Policy::default()) });
    let now = Instant::now();
    let ack = |call, number, word| Ack { call, records: Spans::from(Span::one(number)), word };
    add(&mut flow, records(0, &["a", "b"]), now);
    assert_eq!(numbers(flow.next(now, nothing)), [0, 1]);
    flow.returned(0, Ok(true), now, nothing);
    assert!(flow.awaits_acks() && flow.wants_more(), "the next records come while tokens are out");
    add(&mut flow, records(2, &["c", "d"]), now);
    assert_eq!(numbers(flow.next(now, nothing)), [2, 3]);
    // One that comes before its call has returned.
    flow.acked(ack(2, 3, Word::Done), now);
    flow.returned(0, Ok(true), now, nothing);
    assert!(!flow.wants_more(), "the window is full");
    flow.acked(ack(1, 1, Word::Done), now);
    assert_eq!(flow.position(), Position::TrimHorizon);
    flow.acked(ack(1, 0, Word::Done), now);
    assert_eq!(flow.position(), after(2));
    assert!(flow.wants_more());
    // A failed one comes again before what is new, and its old token has no say any more.
    add(&mut flow, records(4, &["e"]), now);
    flow.acked(ack(2, 2, Word::Failed(no())), now);
    assert!(numbers(flow.next(now, nothing)).is_empty());
    let due = flow.due(now).unwrap();
    assert!(matches!(
        flow.next(due, nothing),
        Some(Step::Call { call: 3, attempt: 2, ref records, .. }) if records.numbers().eq([2])
    ));
    flow.returned(0, Ok(true), due, nothing);
    flow.acked(ack(2, 2, Word::Failed(no())), due);
    assert_eq!(numbers(flow.next(due, nothing)), [4]);
    flow.returned(0, Ok(false), due, nothing);
    // But an ack of an old token says that the record is done.
    flow.acked(ack(2, 2, Word::Done), due);
    assert_eq!((flow.position(), flow.awaits_acks()), (after(5), false));
}

/// Whatever the policy does with failures.
#[tokio::test(start_paused = true)]
async fn c1_a_token_given_back_is_no_failure_of_its_record() {
    let once = NonZeroU32::new(1);
    for then in [OnFailure::Skip, OnFailure::DeadLetter, OnFailure::Halt] {
        let policy = Policy { max_attempts: once, then, ..Policy::default() };
        let mut flow = flow(rules(1, policy));
        let now = Instant::now();
        add(&mut flow, records(0, &["a"]), now);
        let _ = flow.next(now, nothing);
        flow.returned(0, Ok(true), now, nothing);
        let word = Word::Dropped.when_leaving();
        flow.acked(Ack { call: 1, records: Spans::from(Span::one(0)), word }, now);
        assert_eq!(
            (flow.position(), flow.awaits_acks(), flow.told()),
            (Position::TrimHorizon, false, vec![])
        );
        let due = flow.due(now).unwrap();
        assert!(matches!(flow.next(due, nothing), Some(Step::Call { attempt: 1, .. })), "it comes again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_kept_for_too_long_counts_as_failed() {
    let limit = Duration::from_secs(3);
    let mut flow = flow(Rules { ack_timeout: Some(limit), ..rules(1, Policy::default()) });
    let now = Instant::now();
    add(&mut flow, records(0, &["a"]), now);
    let _ = flow.next(now, nothing);
    flow.returned(0, Ok(true), now, nothing);
    assert_eq!(flow.due(now), Some(now + limit));
    flow.expire(now + limit);
    assert!(!flow.awaits_acks() && flow.is_troubled());
    assert!(matches!(&flow.told()[..], [Told::Failed { failure: HandlerFailure::Timeout(_), .. }]));
}

#[tokio::test(start_paused = true)]
async fn c4_a_call_whose_time_is_up_brings_no_record_again_that_a_later_call_has() {
    let limit = Duration::from_secs(3);
    let mut flow = flow(Rules { ack_timeout: Some(limit), ..rules(1, Policy::default()) });
    let begun = Instant::now();
    add(&mut flow, records(0, &["a", "b"]), begun);
    let Some(Step::Call { call, .. }) = flow.next(begun, nothing) else { panic!() };
    flow.returned(0, Ok(true), begun, nothing);
    // The first record fails and comes again; its new token is out when the time of the first call is up.
    flow.acked(Ack { call, records: Span::one(0).into(), word: Word::Failed(no()) }, begun);
    let again = flow.due(begun).unwrap();
    assert_eq!(numbers(flow.next(again, nothing)), [0]);
    flow.returned(0, Ok(true), again, nothing);
    flow.expire(begun + limit);
    assert_eq!(numbers(flow.next(flow.due(begun + limit).unwrap(), nothing)), [1], "not the first one");
}

#[tokio::test(start_paused = true)]
async fn a1_position_passes_a_dead_letter_once_it_is_confirmed() {
    let policy =
        Policy { max_attempts: NonZeroU32::new(2), then: OnFailure::DeadLetter, ..Policy::default() };
    let mut flow = flow(rules(1, policy));
    let mut now = Instant::now();
    add(&mut flow, records(0, &["a"]), now);
    for _ in 0..2 {
        let _ = flow.next(now, nothing);
        flow.returned(0, Err(no()), now, nothing);
        now = flow.due(now).unwrap();
    }
    for _ in 0..3 {
        let Some(Step::Bury { records, attempts: 2, .. }) = flow.next(now, nothing) else { panic!() };
        assert_eq!(records.len(), 1);
        flow.buried(0, Err("full".to_owned()), now);
        assert_eq!(flow.position(), Position::TrimHorizon);
        assert!(flow.next(now, nothing).is_none(), "with back-off");
        now = flow.due(now).unwrap();
    }
    assert!(matches!(flow.next(now, nothing), Some(Step::Bury { .. })));
    flow.buried(0, Ok(()), now);
    assert_eq!(flow.position(), after(1));
}

/// A record that is given up at once is not parked before: a sink that takes nothing holds up its key only all the same.
#[tokio::test(start_paused = true)]
async fn a1_a_record_whose_burial_fails_is_parked_where_keys_are() {
    let max_attempts = NonZeroU32::new(1);
    let policy = Policy { max_attempts, park: true, then: OnFailure::DeadLetter, ..Policy::default() };
    let mut flow = flow(rules(1, policy));
    let now = Instant::now();
    add(&mut flow, records(0, &["bad"]), now);
    assert_eq!(numbers(flow.next(now, nothing)), [0]);
    flow.returned(0, Err(no()), now, nothing);
    assert!(matches!(flow.next(now, nothing), Some(Step::Bury { .. })));
    flow.buried(0, Err("full".to_owned()), now);
    add(&mut flow, records(1, &["bad", "good"]), now);
    assert_eq!((numbers(flow.next(now, nothing)), flow.parked()), (vec![2], 1), "the other key goes on");
    flow.returned(0, Ok(false), now, nothing);
    let due = flow.due(now).unwrap();
    assert!(matches!(flow.next(due, nothing), Some(Step::Bury { .. })));
    flow.buried(0, Ok(()), due);
    assert_eq!(numbers(flow.next(due, nothing)), [1]);
    flow.returned(0, Ok(false), due, nothing);
    assert_eq!((flow.parked(), flow.position()), (0, after(3)));
}

/// Its token was late, and comes after all while the sink is asked again: nothing is left of the record to know its key by.
#[tokio::test(start_paused = true)]
async fn c2_a_parked_record_that_is_acked_during_its_burial_leaves_its_key_free() {
    let (max_attempts, limit) = (NonZeroU32::new(1), Duration::from_secs(3));
    let policy = Policy { max_attempts, park: true, then: OnFailure::DeadLetter, ..Policy::default() };
    let mut flow = flow(Rules { ack_timeout: Some(limit), ..rules(1, policy) });
    let mut now = Instant::now();
    add(&mut flow, records(0, &["late"]), now);
    flow.end();
    assert_eq!(numbers(flow.next(now, nothing)), [0]);
    flow.returned(0, Ok(true), now, nothing);
    now += limit;
    flow.expire(now);
    for parked in 0..2 {
        assert_eq!(flow.parked(), parked);
        assert!(matches!(flow.next(now, nothing), Some(Step::Bury { .. })));
        if parked == 1 {
            flow.acked(Ack { call: 1, records: Span::one(0).into(), word: Word::Done }, now);
        }
        flow.buried(0, Err("full".to_owned()), now);
        now = flow.due(now).unwrap();
    }
    assert!(flow.next(now, nothing).is_none());
    assert_eq!((flow.parked(), flow.is_handed_out(), flow.position()), (0, true, after(1)));
}

#[tokio::test(start_paused = true)]
async fn c1_halted_shard_begins_nothing_until_it_is_resumed() {
    let policy = Policy { max_attempts: NonZeroU32::new(1), then: OnFailure::Halt, ..Policy::default() };
    let mut flow = flow(rules(2, policy));
    let now = Instant::now();
    let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
    add(&mut flow, records(0, &keys.iter().map(String::as_str).collect::<Vec<_>>()), now);
    let (first, second) = (flow.next(now, nothing), flow.next(now, nothing));
    assert!(first.is_some() && second.is_some());
    flow.returned(0, Err(no()), now, nothing);
    assert!(flow.is_halted());
    flow.returned(1, Ok(false), now, nothing);
    assert!(flow.next(now, nothing).is_none() && flow.due(now).is_none() && !flow.wants_more());
    flow.resume(now);
    assert!(matches!(flow.next(now, nothing), Some(Step::Call { attempt: 1, lane: 0, .. })));
}

/// What user code does with a record: fails this often, and keeps tokens or not.
#[derive(Debug, Clone)]
struct Fate {
    failures: u32,
    key: u8,
}

#[derive(Debug, Clone)]
struct World {
    fates: Vec<Fate>,
    lanes: usize,
    per_batch: usize,
    window: usize,
    policy: Policy,
    tokens: bool,
    seed: u64,
}

fn worlds() -> impl Strategy<Value = World> {
    let fate = (0..6u8, prop_oneof![5 => Just(0), 2 => 1..4u32, 1 => Just(u32::MAX)])
        .prop_map(|(key, failures)| Fate { failures, key });
    let policy = (1..4u32, any::<bool>(), any::<bool>(), 0..OnFailure::ALL.len()).prop_map(
        |(most, bisect, park, then)| Policy {
            max_attempts: NonZeroU32::new(most),
            max_age: None,
            bisect,
            park,
            then: OnFailure::ALL[then],
        },
    );
    (
        proptest::collection::vec(fate, 1..40),
        1..5usize,
        1..9usize,
        1..30usize,
        policy,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(fates, lanes, per_batch, window, policy, tokens, seed)| World {
            fates,
            lanes,
            per_batch,
            window,
            policy,
            tokens,
            seed,
        })
}

/// Runs a world to where nothing more happens.
fn run(world: &World) -> Result<(), TestCaseError> {
    let limits = Limits { records: world.per_batch, ..ALL };
    let mut flow = flow(Rules { limits, window_records: world.window, ..rules(world.lanes, world.policy) });
    let mut rng = StdRng::seed_from_u64(world.seed);
    let mut now = Instant::now();
    let mut left: Vec<u32> = world.fates.iter().map(|fate| fate.failures).collect();
    let mut read = 0;
    let mut running: BTreeMap<usize, (u64, Vec<u64>, bool)> = BTreeMap::new();
    let mut tokens: Vec<(u64, u64, bool)> = Vec::new();
    let mut done: Vec<u64> = Vec::new();
    let mut given_up: BTreeSet<u64> = BTreeSet::new();
    let mut position = Position::TrimHorizon;
    // Poison that is tried for ever ends the run, after many tries.
    for _ in 0..20_000 {
        let mut moved = false;
        while flow.wants_more() && read < world.fates.len() {
            let count = rng.random_range(1..=5).min(world.fates.len() - read);
            let keys: Vec<String> =
                world.fates[read..read + count].iter().map(|fate| fate.key.to_string()).collect();
            add(&mut flow, records(read as u64, &keys.iter().map(String::as_str).collect::<Vec<_>>()), now);
            read += count;
            moved = true;
        }
        if read == world.fates.len() {
            flow.end();
        }
        while let Some(step) = flow.next(now, nothing) {
            moved = true;
            let (lane, call, records, burial) = match step {
                Step::Call { lane, call, records, .. } => (lane, call, records.numbers().collect(), false),
                Step::Bury { lane, records, .. } => {
                    let number = |record: &Record| {
                        (0..read as u64).find(|number| record.position() == after(number + 1)).unwrap()
                    };
                    (lane, 0, records.iter().map(number).collect::<Vec<_>>(), true)
                }
            };
            prop_assert!(burial || records.len() <= world.per_batch);
            prop_assert!(records.iter().all(|number| !done.contains(number) && !given_up.contains(number)));
            prop_assert!(running.insert(lane, (call, records, burial)).is_none(), "one call a lane");
        }
        let chosen = running.keys().copied().nth(rng.random_range(0..running.len().max(1)));
        if let Some((lane, (call, records, burial))) = chosen.and_then(|lane| running.remove_entry(&lane)) {
            moved = true;
            if burial {
                let confirmed = rng.random_bool(0.5);
                if confirmed {
                    given_up.extend(&records);
                }
                flow.buried(lane, if confirmed { Ok(()) } else { Err("full".to_owned()) }, now);
            } else if world.tokens {
                flow.returned(lane, Ok(true), now, nothing);
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
                flow.returned(lane, if failing.is_empty() { Ok(false) } else { Err(no()) }, now, nothing);
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
            let word = if fails { Word::Failed(no()) } else { Word::Done };
            flow.acked(Ack { call, records: Spans::from(Span::one(number)), word }, now);
            moved = true;
        }
        for told in flow.told() {
            if let Told::Skipped { records, .. } = told {
                prop_assert_eq!(world.policy.then, OnFailure::Skip);
                given_up.extend(records.iter().map(|sequence| {
                    (0..read as u64).find(|number| after(number + 1) == Position::after(*sequence)).unwrap()
                }));
            }
        }
        // The position is the end of the contiguous prefix of what is done or given up, and never falls.
        let prefix =
            (0..).take_while(|number| done.contains(number) || given_up.contains(number)).count() as u64;
        let expected = if prefix == 0 { Position::TrimHorizon } else { after(prefix) };
        prop_assert_eq!(flow.position(), expected);
        prop_assert!(expected >= position);
        position = expected;
        if !moved {
            match flow.due(now) {
                Some(due) => now = due,
                None if !tokens.is_empty() => {}
                None => break,
            }
        }
    }
    let poison = |number: &u64| world.fates[*number as usize].failures == u32::MAX;
    prop_assert!(done.iter().all(|number| !poison(number)));
    if !world.tokens {
        // Per key in the order of the shard. With tokens others decide when a record is done.
        for key in 0..6 {
            let of_key: Vec<u64> =
                done.iter().copied().filter(|n| world.fates[*n as usize].key == key).collect();
            prop_assert!(of_key.is_sorted(), "{:?}", of_key);
        }
    }
    let stuck = matches!(world.policy.then, OnFailure::Retry | OnFailure::Halt);
    if !stuck || !(0..world.fates.len() as u64).any(|number| poison(&number)) && !flow.is_halted() {
        prop_assert!(flow.is_handed_out() && !flow.awaits_acks(), "nothing is left behind: {:?}", flow);
        prop_assert_eq!(done.len() + given_up.len(), world.fates.len());
    }
    if world.policy.bisect && !matches!(world.policy.then, OnFailure::Retry) {
        // What never fails is never given up.
        prop_assert!(given_up.iter().all(|number| world.fates[*number as usize].failures > 0));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn c1_c4_p8_whatever_fails_nothing_is_lost_and_order_and_position_hold(world in worlds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(&world)?;
    }
}
