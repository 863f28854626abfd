//! Records that are done when their tokens say so.

use super::*;

#[tokio::test(start_paused = true)]
async fn c4_acks_in_any_order_move_the_position_by_the_done_prefix() {
    let mut scheduler =
        scheduler(DeliverySettings { window_records: 4, ..settings(1, FailurePolicy::default()) });
    let now = Instant::now();
    let ack =
        |call, number, outcome| Ack { call, records: RecordRanges::from(RecordRange::one(number)), outcome };
    add(&mut scheduler, records(0, &["a", "b"]), now);
    assert_eq!(numbers(scheduler.next(now, nothing)), [0, 1]);
    scheduler.returned(0, Ok(true), None, now, nothing);
    assert!(scheduler.awaits_acks() && scheduler.wants_more(), "the next records come while tokens are out");
    add(&mut scheduler, records(2, &["c", "d"]), now);
    assert_eq!(numbers(scheduler.next(now, nothing)), [2, 3]);
    // One that comes before its call has returned.
    scheduler.acked(ack(2, 3, AckOutcome::Done), now);
    scheduler.returned(0, Ok(true), None, now, nothing);
    assert!(!scheduler.wants_more(), "the window is full");
    scheduler.acked(ack(1, 1, AckOutcome::Done), now);
    assert_eq!(scheduler.position(), Position::TrimHorizon);
    scheduler.acked(ack(1, 0, AckOutcome::Done), now);
    assert_eq!(scheduler.position(), after(2));
    assert!(scheduler.wants_more());
    // A failed one comes again before what is new, and its old token has no say any more.
    add(&mut scheduler, records(4, &["e"]), now);
    scheduler.acked(ack(2, 2, AckOutcome::Failed(no())), now);
    assert!(numbers(scheduler.next(now, nothing)).is_empty());
    let due = scheduler.due(now).unwrap();
    assert!(matches!(
        scheduler.next(due, nothing),
        Some(DeliveryStep::CallHandler { call: 3, attempt: 2, ref records, .. }) if records.numbers().eq([2])
    ));
    scheduler.returned(0, Ok(true), None, due, nothing);
    scheduler.acked(ack(2, 2, AckOutcome::Failed(no())), due);
    assert_eq!(numbers(scheduler.next(due, nothing)), [4]);
    scheduler.returned(0, Ok(false), None, due, nothing);
    // But an ack of an old token says that the record is done.
    scheduler.acked(ack(2, 2, AckOutcome::Done), due);
    assert_eq!((scheduler.position(), scheduler.awaits_acks()), (after(5), false));
}

/// Whatever the policy does with failures.
#[tokio::test(start_paused = true)]
async fn c1_a_token_given_back_is_no_failure_of_its_record() {
    let once = NonZeroU32::new(1);
    for then in [OnFailure::Skip, OnFailure::DeadLetter, OnFailure::Halt] {
        let policy = FailurePolicy { max_attempts: once, then, ..FailurePolicy::default() };
        let mut scheduler = scheduler(settings(1, policy));
        let now = Instant::now();
        add(&mut scheduler, records(0, &["a"]), now);
        let _ = scheduler.next(now, nothing);
        scheduler.returned(0, Ok(true), None, now, nothing);
        let outcome = AckOutcome::Dropped.when_leaving();
        scheduler.acked(Ack { call: 1, records: RecordRanges::from(RecordRange::one(0)), outcome }, now);
        assert_eq!(
            (scheduler.position(), scheduler.awaits_acks(), scheduler.take_events()),
            (Position::TrimHorizon, false, vec![])
        );
        let due = scheduler.due(now).unwrap();
        assert!(
            matches!(scheduler.next(due, nothing), Some(DeliveryStep::CallHandler { attempt: 1, .. })),
            "it comes again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_one_call_gave_back_one_by_one_come_again_together() {
    let mut scheduler = scheduler(settings(1, FailurePolicy::default()));
    let now = Instant::now();
    add(&mut scheduler, records(0, &["a", "b", "c", "d"]), now);
    let _ = scheduler.next(now, nothing);
    scheduler.returned(0, Ok(true), None, now, nothing);
    let ack =
        |number, outcome| Ack { call: 1, records: RecordRanges::from(RecordRange::one(number)), outcome };
    scheduler.acked(ack(1, AckOutcome::Done), now);
    for number in [0, 2, 3] {
        scheduler.acked(ack(number, AckOutcome::GivenBack(None)), now);
    }
    add(&mut scheduler, records(4, &["e"]), now);
    let due = scheduler.due(now).unwrap();
    assert_eq!(numbers(scheduler.next(due, nothing)), [0, 2, 3]);
    scheduler.returned(0, Ok(false), None, due, nothing);
    assert_eq!((scheduler.position(), scheduler.take_events()), (after(4), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_token_kept_for_too_long_counts_as_failed() {
    let limit = Duration::from_secs(3);
    let mut scheduler =
        scheduler(DeliverySettings { ack_timeout: Some(limit), ..settings(1, FailurePolicy::default()) });
    let now = Instant::now();
    add(&mut scheduler, records(0, &["a"]), now);
    let _ = scheduler.next(now, nothing);
    scheduler.returned(0, Ok(true), None, now, nothing);
    assert_eq!(scheduler.due(now), Some(now + limit));
    scheduler.expire(now + limit);
    assert!(!scheduler.awaits_acks() && scheduler.has_failed());
    assert!(matches!(
        &scheduler.take_events()[..],
        [DeliveryEvent::Failed { failure: HandlerFailure::Timeout(_), .. }]
    ));
}

#[tokio::test(start_paused = true)]
async fn c4_a_call_whose_time_is_up_brings_no_record_again_that_a_later_call_has() {
    let limit = Duration::from_secs(3);
    let mut scheduler =
        scheduler(DeliverySettings { ack_timeout: Some(limit), ..settings(1, FailurePolicy::default()) });
    let begun = Instant::now();
    add(&mut scheduler, records(0, &["a", "b"]), begun);
    let Some(DeliveryStep::CallHandler { call, .. }) = scheduler.next(begun, nothing) else { panic!() };
    scheduler.returned(0, Ok(true), None, begun, nothing);
    // The first record fails and comes again; its new token is out when the time of the first call is up.
    scheduler
        .acked(Ack { call, records: RecordRange::one(0).into(), outcome: AckOutcome::Failed(no()) }, begun);
    let again = scheduler.due(begun).unwrap();
    assert_eq!(numbers(scheduler.next(again, nothing)), [0]);
    scheduler.returned(0, Ok(true), None, again, nothing);
    scheduler.expire(begun + limit);
    assert_eq!(
        numbers(scheduler.next(scheduler.due(begun + limit).unwrap(), nothing)),
        [1],
        "not the first one"
    );
}
