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

#[tokio::test(start_paused = true)]
async fn c2_a_reader_that_was_replaced_hands_nothing_on() {
    let bench = crate::source::testing::Bench::new(1);
    let id = rokini_lease::StreamId::new("s@1").unwrap();
    let source = Arc::new(bench.source());
    let stream = Arc::new(OpenStream::new(id.clone(), "s".to_owned(), Position::TrimHorizon, source, DAY));
    let key = rokini_lease::LeaseKey::new(id, crate::source::testing::shard(0));
    let row = LeaseRow::new(key, Position::TrimHorizon);
    let reading = Reading::new(stream, WallClock::from_fn(|| 5), &row);
    let read = |number: u128| Fetched {
        records: vec![Record::new(number.into(), "k", "d", 1)],
        ..Fetched::default()
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
