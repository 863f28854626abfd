use super::*;
use proptest::prelude::*;
use rokini_lease::{Progress, SequenceNumber};

fn after(number: u64) -> Position {
    Position::after(SequenceNumber::from(u128::from(number)))
}

/// Records with the sequence numbers 1, 2, 3, ...; that of the record of number n is n + 1.
fn records(from: u64, count: u64) -> Vec<Record> {
    (from..from + count)
        .map(|number| Record::new(SequenceNumber::from(u128::from(number) + 1), "k", "data", 0))
        .collect()
}

fn filled(sizes: &[u64]) -> Tracker {
    let mut tracker = Tracker::new(Position::TrimHorizon);
    let mut from = 0;
    for size in sizes {
        let range = tracker.add(records(from, *size), 4 * *size as usize, *size, None, Instant::now());
        assert_eq!(range, RecordRange { from, to: from + size });
        from += size;
    }
    tracker
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_let_go_response_by_response() {
    let mut tracker = filled(&[2, 0, 3]);
    assert_eq!((tracker.outstanding_records(), tracker.outstanding_bytes()), (5, 20));
    tracker.mark_done(RecordRange { from: 1, to: 4 });
    assert_eq!(
        (tracker.position(), tracker.outstanding_records(), tracker.outstanding_bytes()),
        (Position::TrimHorizon, 5, 20)
    );
    tracker.mark_done(RecordRange::one(0));
    assert_eq!(
        (tracker.position(), tracker.outstanding_records(), tracker.outstanding_bytes()),
        (after(4), 1, 12)
    );
    assert_eq!(tracker.first_open().map(Record::position), Some(after(5)));
    tracker.mark_done(RecordRange { from: 0, to: 99 });
    assert_eq!(
        (tracker.position(), tracker.outstanding_records(), tracker.outstanding_bytes()),
        (after(5), 0, 0)
    );
    assert!(tracker.first_open().is_none());
}

#[tokio::test(start_paused = true)]
async fn p1_a_response_is_let_go_of_with_its_last_record_although_an_earlier_one_is_not_done() {
    let mut tracker = Tracker::new(Position::TrimHorizon);
    let holds: Vec<Arc<()>> = (0..3).map(|_| Arc::default()).collect();
    for (at, hold) in holds.iter().enumerate() {
        let hold: Hold = Box::new(Arc::clone(hold));
        tracker.add(records(2 * at as u64, 2), 8, 0, Some(hold), Instant::now());
    }
    let held = || holds.iter().map(|hold| Arc::strong_count(hold) > 1).collect::<Vec<_>>();
    tracker.mark_done(RecordRange { from: 1, to: 3 });
    assert_eq!(held(), [true; 3]);
    tracker.mark_done(RecordRange::one(3));
    assert_eq!(held(), [true, false, true]);
    // A position inside of what is gone, and one past it.
    tracker.mark_done_through(after(3));
    assert_eq!((tracker.position(), held()), (after(4), vec![false, false, true]));
    tracker.mark_done(RecordRange::one(5));
    tracker.mark_done(RecordRange::one(4));
    assert_eq!((tracker.position(), held()), (after(6), vec![false; 3]));
}

#[tokio::test(start_paused = true)]
async fn records_in_a_row_of_one_response_are_shared_and_others_gathered() {
    let tracker = filled(&[3, 3]);
    let shared = tracker.slice(&RecordRanges::from(RecordRange { from: 4, to: 6 }));
    assert_eq!((shared.range.clone(), shared.records.len(), shared.millis_behind_latest), (1..3, 3, 3));
    for numbers in [vec![0, 2], vec![2, 3], vec![1, 3, 4]] {
        let taken = tracker.slice(&numbers.iter().copied().collect());
        let found: Vec<_> = taken.records[taken.range].iter().map(Record::position).collect();
        assert_eq!(found, numbers.iter().map(|number| after(number + 1)).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_covers_the_records_up_to_it() {
    let mut tracker = filled(&[3, 3]);
    tracker.mark_done_through(Position::TrimHorizon);
    assert_eq!(tracker.position(), Position::TrimHorizon);
    tracker.mark_done_through(after(4));
    assert_eq!((tracker.position(), tracker.outstanding_records()), (after(4), 2));
    tracker.mark_done_through(after(2));
    assert_eq!(tracker.position(), after(4), "it never falls");
}

proptest! {
    #[test]
    fn c4_position_is_the_end_of_the_contiguous_done_prefix(
        sizes in proptest::collection::vec(0..9u64, 1..6),
        acks in proptest::collection::vec((0..45u64, 1..6u64), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut tracker = filled(&sizes);
        let all: u64 = sizes.iter().sum();
        let mut done = vec![false; usize::try_from(all).unwrap()];
        for (from, count) in acks {
            for number in from..(from + count).min(all) {
                done[usize::try_from(number).unwrap()] = true;
            }
            let before = tracker.position();
            tracker.mark_done(RecordRange { from, to: from + count });
            let prefix = done.iter().take_while(|done| **done).count() as u64;
            let expected = if prefix == 0 { Position::TrimHorizon } else { after(prefix) };
            prop_assert_eq!(tracker.position(), expected);
            prop_assert!(tracker.position() >= before);
            prop_assert_eq!(tracker.outstanding_records() as u64, all - prefix);
            for number in 0..all {
                prop_assert_eq!(tracker.is_done(number), done[usize::try_from(number).unwrap()], "{}", number);
                prop_assert_eq!(tracker.record(number).is_some(), {
                    // Kept with its response until all of that is done.
                    let mut end = 0;
                    let mut responses = sizes.iter().map(|size| { end += size; end - size..end });
                    let response = responses.find(|response| response.contains(&number)).unwrap();
                    response.into_iter().any(|number| !done[usize::try_from(number).unwrap()])
                });
            }
        }
    }
}

/// Those of one stream record have its sequence number; only the one that was done is passed.
#[tokio::test(start_paused = true)]
async fn c4_a_user_record_passes_no_other_of_its_stream_record() {
    let mut tracker = Tracker::new(Position::TrimHorizon);
    let part = |sub| {
        let mut record = records(6, 1).remove(0);
        record.sub_sequence_number = Some(sub);
        record
    };
    tracker.add((0..3).map(part).collect(), 12, 0, None, Instant::now());
    let through = |sub| Position::Sequence(SequenceNumber::from(7), Progress::Through(sub));
    tracker.mark_done(RecordRange::one(0));
    assert_eq!(tracker.position(), through(0));
    tracker.mark_done_through(through(1));
    assert_eq!(
        (tracker.position(), tracker.first_open().map(Record::position)),
        (through(1), Some(through(2)))
    );
    assert!(tracker.position() < after(7));
}
