use super::*;
use crate::types::record::Record;
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

fn progress() -> ReadProgress {
    let id = rokini_lease::StreamId::new("s@1").unwrap();
    let key = rokini_lease::LeaseKey::new(id, "shardId-000000000000".parse().unwrap());
    ReadProgress::new(&LeaseRow::new(key, Position::TrimHorizon), Duration::from_secs(6), Instant::now())
}

fn after(number: u128) -> Position {
    Position::after(number.into())
}

#[tokio::test(start_paused = true)]
async fn o2_what_goes_to_the_lease_is_the_last_arrival_done_and_when_nothing_was_behind() {
    const NOW: u64 = 100_000;
    let mut progress = progress();
    let record = |number: u128| Record::new(number.into(), "k", "d", 100 * number as u64);
    let reader = progress.begin_reader();
    let read = |progress: &mut ReadProgress, records: Vec<Record>, behind: u64| {
        let fetched = ReadResponse { records, millis_behind_latest: behind, ..ReadResponse::default() };
        assert!(progress.answered(reader, &fetched, 0, NOW, Instant::now()));
    };
    let metadata = |progress: &mut ReadProgress, done: Position| {
        progress.settle(done);
        let metadata = progress.metadata(Instant::now());
        (metadata.record_arrival_millis, metadata.caught_up_millis)
    };
    let progress = &mut progress;
    assert_eq!(metadata(progress, Position::TrimHorizon), (None, None), "nothing is known");
    read(progress, vec![record(1), record(2)], 3_000);
    assert_eq!(metadata(progress, after(1)), (Some(100), None), "one is not done");
    assert_eq!(
        metadata(progress, after(2)),
        (Some(200), None),
        "all that was read is done, and there is more"
    );
    read(progress, vec![record(3)], 0);
    assert_eq!(metadata(progress, after(2)), (Some(200), None), "one is not done");
    assert_eq!(metadata(progress, after(3)), (Some(300), Some(NOW)));
    read(progress, vec![record(4)], 0);
    assert_eq!(metadata(progress, after(3)), (Some(300), Some(NOW)), "caught up then, not now");
}

#[tokio::test(start_paused = true)]
async fn c2_a_reader_that_was_replaced_hands_nothing_on() {
    let mut progress = progress();
    let read = |progress: &mut ReadProgress, reader: u64, number: u128| {
        let records = vec![Record::new(number.into(), "k", "d", 1)];
        progress.answered(reader, &ReadResponse { records, ..ReadResponse::default() }, 5, 10, Instant::now())
    };
    let progress = &mut progress;
    let first = progress.begin_reader();
    assert!(read(progress, first, 1));
    let (second, from) = (progress.begin_reader(), progress.place());
    assert_eq!(from, after(1));
    // Its answer was under way: the one that replaces it reads the same records again.
    assert!(!read(progress, first, 2), "both would hand them on");
    assert!(read(progress, second, 2));
    assert_eq!(progress.place(), after(2));
}
