use super::*;
use crate::Record;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn c9_a_gap_is_what_arrived_after_the_last_known_time_and_is_past_the_retention() {
    let now = 1_000 * HOUR;
    for (known_to, first, expected) in [
        // Never read: nothing to compare with.
        (None, Some(now), None),
        // Read within the retention: idle, or in time.
        (Some(now - 23 * HOUR), None, None),
        (Some(now - 23 * HOUR), Some(now), None),
        // Nobody read for 30 hours.
        (Some(now - 30 * HOUR), Some(now), Some((now - 30 * HOUR, now - 24 * HOUR))),
        (Some(now - 30 * HOUR), None, Some((now - 30 * HOUR, now - 24 * HOUR))),
        // The stream keeps a little longer than it must: up to the first record that came.
        (Some(now - 30 * HOUR), Some(now - 25 * HOUR), Some((now - 30 * HOUR, now - 25 * HOUR))),
        // The next record is there.
        (Some(now - 30 * HOUR), Some(now - 30 * HOUR), None),
        (Some(now - 24 * HOUR - 59_000), Some(now), None),
    ] {
        let expected = expected.map(|(from_millis, to_millis)| Gap { from_millis, to_millis });
        assert_eq!(gap(known_to, now, DAY, first), expected, "{known_to:?} {first:?}");
    }
}

proptest! {
    #[test]
    fn c9_no_gap_is_told_within_the_retention(
        now in 0u64..1_000_000_000, age in 0u64..86_400_000, first in proptest::option::of(0u64..86_400_000)
    ) {
        let known_to = now.saturating_sub(age);
        let first = first.map(|age| now.saturating_sub(age));
        prop_assert_eq!(gap(Some(known_to), now, DAY, first), None);
    }
}

fn reading() -> ReadProgress {
    let bench = crate::source::testing::Bench::new(1);
    let id = rokini_lease::StreamId::new("s@1").unwrap();
    let source = Arc::new(bench.source());
    let stream = Arc::new(OpenStream::new(id.clone(), "s".to_owned(), Position::TrimHorizon, source, DAY));
    let key = rokini_lease::LeaseKey::new(id, crate::source::testing::shard(0));
    ReadProgress::new(stream, WallClock::from_fn(|| 5), &LeaseRow::new(key, Position::TrimHorizon))
}

#[tokio::test(start_paused = true)]
async fn o2_what_goes_to_the_lease_is_the_last_arrival_done_and_when_nothing_was_behind() {
    let reading = reading();
    let after = |number: u128| Position::after(number.into());
    let record = |number: u128| Record::new(number.into(), "k", "d", 100 * number as u64);
    let (reader, _) = reading.begin();
    let read = |records: Vec<Record>, behind: u64| {
        let fetched = ReadResponse { records, millis_behind_latest: behind, ..ReadResponse::default() };
        assert!(reading.answered(reader, &fetched, 0, Position::TrimHorizon));
    };
    let metadata = |done: Position| {
        let metadata = reading.metadata(done);
        (metadata.record_arrival_millis, metadata.caught_up_millis)
    };
    assert_eq!(metadata(Position::TrimHorizon), (None, None), "nothing is known");
    read(vec![record(1), record(2)], 3_000);
    assert_eq!(metadata(after(1)), (Some(100), None), "one is not done");
    assert_eq!(metadata(after(2)), (Some(200), None), "all that was read is done, and there is more");
    let at_tip = reading.now_millis();
    read(vec![record(3)], 0);
    assert_eq!(metadata(after(2)), (Some(200), None), "one is not done");
    assert_eq!(metadata(after(3)), (Some(300), Some(at_tip)));
    read(vec![record(4)], 0);
    assert_eq!(metadata(after(3)), (Some(300), Some(at_tip)), "caught up then, not now");
}

#[tokio::test(start_paused = true)]
async fn c2_a_reader_that_was_replaced_hands_nothing_on() {
    let reading = reading();
    let read = |number: u128| ReadResponse {
        records: vec![Record::new(number.into(), "k", "d", 1)],
        ..ReadResponse::default()
    };
    let (first, _) = reading.begin();
    assert!(reading.answered(first, &read(1), 5, Position::TrimHorizon));
    let (second, from) = reading.begin();
    assert_eq!(from, Position::after(1_u128.into()));
    // Its answer was under way: the one that replaces it reads the same records again.
    assert!(!reading.answered(first, &read(2), 5, Position::TrimHorizon), "both would hand them on");
    assert!(reading.answered(second, &read(2), 5, Position::TrimHorizon));
    assert_eq!(reading.begin().1, Position::after(2_u128.into()));
}
