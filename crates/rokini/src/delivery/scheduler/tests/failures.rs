//! What the policy makes of records that fail.

use super::*;

#[tokio::test(start_paused = true)]
async fn a1_poison_record_is_found_in_log_n_calls_and_the_rest_goes_on_in_order() {
    for (count, poison) in [(1_000_u64, 0_u64), (1_000, 999), (1_000, 617), (7, 3), (2, 1), (1, 0)] {
        let policy = FailurePolicy {
            max_attempts: NonZeroU32::new(1),
            bisect: true,
            then: OnFailure::Skip,
            ..FailurePolicy::default()
        };
        let mut scheduler = scheduler(settings(1, policy));
        let keys = vec!["k"; usize::try_from(count).unwrap()];
        add(&mut scheduler, records(0, &keys), Instant::now());
        let (mut calls, mut done) = (0, Vec::<u64>::new());
        let mut now = Instant::now();
        loop {
            let batch = numbers(scheduler.next(now, nothing));
            if batch.is_empty() {
                match scheduler.due(now) {
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
            scheduler.returned(0, if fails { Err(no()) } else { Ok(false) }, None, now, nothing);
        }
        let expected: Vec<u64> = (0..count).filter(|number| *number != poison).collect();
        assert_eq!(done, expected);
        assert_eq!(scheduler.position(), after(count));
        let log = count.next_power_of_two().trailing_zeros();
        assert!(calls <= 2 * log + 2, "{calls} calls for {poison} of {count}");
        let skipped = scheduler.take_events().into_iter().filter_map(|event| match event {
            DeliveryEvent::Skipped { records, .. } => Some(records),
            _ => None,
        });
        assert_eq!(skipped.collect::<Vec<_>>(), [[SequenceNumber::from(u128::from(poison) + 1)]]);
    }
}

#[tokio::test(start_paused = true)]
async fn c1_parked_key_waits_while_others_go_on_and_keeps_its_order() {
    let mut scheduler = scheduler(settings(1, FailurePolicy { park: true, ..FailurePolicy::default() }));
    let mut now = Instant::now();
    add(&mut scheduler, records(0, &["a", "bad", "b", "bad", "c"]), now);
    let mut order = Vec::<u64>::new();
    let mut failures = 0;
    while failures < 9 {
        let batch = numbers(scheduler.next(now, nothing));
        if batch.is_empty() {
            now = scheduler.due(now).unwrap();
            continue;
        }
        let fails = batch.contains(&1);
        failures += u32::from(fails);
        if !fails {
            order.extend(batch.iter().copied());
        }
        scheduler.returned(0, if fails { Err(no()) } else { Ok(false) }, None, now, nothing);
    }
    assert_eq!(order, [0, 2, 4], "the second record of the parked key waits");
    assert_eq!((scheduler.parked_keys(), scheduler.position()), (1, after(1)));
    add(&mut scheduler, records(5, &["bad", "d"]), now);
    assert_eq!(numbers(scheduler.next(now, nothing)), [6], "what comes later of the key waits too");
    scheduler.returned(0, Ok(false), None, now, nothing);
    now = scheduler.due(now).unwrap();
    for expected in [vec![1], vec![3, 5]] {
        assert_eq!(numbers(scheduler.next(now, nothing)), expected);
        scheduler.returned(0, Ok(false), None, now, nothing);
    }
    assert_eq!((scheduler.parked_keys(), scheduler.position()), (0, after(7)));
    assert!(matches!(scheduler.take_events().last(), Some(DeliveryEvent::Unparked { .. })));
}

#[tokio::test(start_paused = true)]
async fn a1_position_passes_a_dead_letter_once_it_is_confirmed() {
    let policy = FailurePolicy {
        max_attempts: NonZeroU32::new(2),
        then: OnFailure::DeadLetter,
        ..FailurePolicy::default()
    };
    let mut scheduler = scheduler(settings(1, policy));
    let mut now = Instant::now();
    add(&mut scheduler, records(0, &["a"]), now);
    for _ in 0..2 {
        let _ = scheduler.next(now, nothing);
        scheduler.returned(0, Err(no()), None, now, nothing);
        now = scheduler.due(now).unwrap();
    }
    for _ in 0..3 {
        let Some(DeliveryStep::DeadLetter { records, attempts: 2, .. }) = scheduler.next(now, nothing) else {
            panic!()
        };
        assert_eq!(records.len(), 1);
        scheduler.dead_lettered(0, Err("full".to_owned()), now);
        assert_eq!(scheduler.position(), Position::TrimHorizon);
        assert!(scheduler.next(now, nothing).is_none(), "with back-off");
        now = scheduler.due(now).unwrap();
    }
    assert!(matches!(scheduler.next(now, nothing), Some(DeliveryStep::DeadLetter { .. })));
    scheduler.dead_lettered(0, Ok(()), now);
    assert_eq!(scheduler.position(), after(1));
}

/// A record that is given up at once is not parked before: a sink that takes nothing holds up only its key all the
/// same.
#[tokio::test(start_paused = true)]
async fn a1_a_record_whose_dead_letter_fails_is_parked_where_keys_are() {
    let max_attempts = NonZeroU32::new(1);
    let policy =
        FailurePolicy { max_attempts, park: true, then: OnFailure::DeadLetter, ..FailurePolicy::default() };
    let mut scheduler = scheduler(settings(1, policy));
    let now = Instant::now();
    add(&mut scheduler, records(0, &["bad"]), now);
    assert_eq!(numbers(scheduler.next(now, nothing)), [0]);
    scheduler.returned(0, Err(no()), None, now, nothing);
    assert!(matches!(scheduler.next(now, nothing), Some(DeliveryStep::DeadLetter { .. })));
    scheduler.dead_lettered(0, Err("full".to_owned()), now);
    add(&mut scheduler, records(1, &["bad", "good"]), now);
    assert_eq!(
        (numbers(scheduler.next(now, nothing)), scheduler.parked_keys()),
        (vec![2], 1),
        "the other key goes on"
    );
    scheduler.returned(0, Ok(false), None, now, nothing);
    let due = scheduler.due(now).unwrap();
    assert!(matches!(scheduler.next(due, nothing), Some(DeliveryStep::DeadLetter { .. })));
    scheduler.dead_lettered(0, Ok(()), due);
    assert_eq!(numbers(scheduler.next(due, nothing)), [1]);
    scheduler.returned(0, Ok(false), None, due, nothing);
    assert_eq!((scheduler.parked_keys(), scheduler.position()), (0, after(3)));
}

/// Its token is late, and acked after all while the sink is asked again: nothing is left of the record to know its key
/// by.
#[tokio::test(start_paused = true)]
async fn c2_a_parked_record_that_is_acked_while_the_sink_has_it_leaves_its_key_free() {
    let (max_attempts, limit) = (NonZeroU32::new(1), Duration::from_secs(3));
    let policy =
        FailurePolicy { max_attempts, park: true, then: OnFailure::DeadLetter, ..FailurePolicy::default() };
    let mut scheduler = scheduler(DeliverySettings { ack_timeout: Some(limit), ..settings(1, policy) });
    let mut now = Instant::now();
    add(&mut scheduler, records(0, &["late"]), now);
    scheduler.end();
    assert_eq!(numbers(scheduler.next(now, nothing)), [0]);
    scheduler.returned(0, Ok(true), None, now, nothing);
    now += limit;
    scheduler.expire(now);
    for parked in 0..2 {
        assert_eq!(scheduler.parked_keys(), parked);
        assert!(matches!(scheduler.next(now, nothing), Some(DeliveryStep::DeadLetter { .. })));
        if parked == 1 {
            scheduler
                .acked(Ack { call: 1, records: RecordRange::one(0).into(), outcome: AckOutcome::Done }, now);
        }
        scheduler.dead_lettered(0, Err("full".to_owned()), now);
        now = scheduler.due(now).unwrap();
    }
    assert!(scheduler.next(now, nothing).is_none());
    assert_eq!(
        (scheduler.parked_keys(), scheduler.is_handed_out(), scheduler.position()),
        (0, true, after(1))
    );
}

#[tokio::test(start_paused = true)]
async fn c1_halted_shard_begins_nothing_until_it_is_resumed() {
    let policy =
        FailurePolicy { max_attempts: NonZeroU32::new(1), then: OnFailure::Halt, ..FailurePolicy::default() };
    let mut scheduler = scheduler(settings(2, policy));
    let now = Instant::now();
    let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
    add(&mut scheduler, records(0, &keys.iter().map(String::as_str).collect::<Vec<_>>()), now);
    let (first, second) = (scheduler.next(now, nothing), scheduler.next(now, nothing));
    assert!(first.is_some() && second.is_some());
    scheduler.returned(0, Err(no()), None, now, nothing);
    assert!(scheduler.is_halted());
    scheduler.returned(1, Ok(false), None, now, nothing);
    assert!(
        scheduler.next(now, nothing).is_none() && scheduler.due(now).is_none() && !scheduler.wants_more()
    );
    scheduler.resume(now);
    assert!(matches!(
        scheduler.next(now, nothing),
        Some(DeliveryStep::CallHandler { attempt: 1, lane: 0, .. })
    ));
}
