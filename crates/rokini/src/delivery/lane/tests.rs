use rokini_lease::{Position, SequenceNumber};

use super::*;
use crate::types::record::Record;

const ANY: BatchLimits = BatchLimits { records: usize::MAX, bytes: usize::MAX, wait: Duration::ZERO };

/// A tracker with records of these keys and sizes.
fn tracker(records: &[(&str, usize)]) -> Tracker {
    let mut tracker = Tracker::new(Position::TrimHorizon);
    let record = |(number, (key, size)): (usize, &(&str, usize))| {
        Record::new(SequenceNumber::from(number as u128 + 1), *key, vec![0; *size], 0)
    };
    let bytes = records.iter().map(|(_, size)| size).sum();
    tracker.add(records.iter().enumerate().map(record).collect(), bytes, 0, None, Instant::now());
    tracker
}

fn batches(lane: &mut Lane, tracker: &Tracker, limits: &BatchLimits) -> Vec<Vec<u64>> {
    std::iter::from_fn(|| {
        let taken = lane.take(tracker, limits);
        (!taken.is_empty()).then(|| taken.numbers().collect())
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_records_and_bytes_and_a_large_record_goes_alone() {
    let tracker = tracker(&[("a", 3), ("a", 3), ("a", 9), ("a", 1), ("a", 0), ("a", 4)]);
    for (records, bytes, expected) in [
        (usize::MAX, usize::MAX, vec![vec![0, 1, 2, 3, 4, 5]]),
        (4, usize::MAX, vec![vec![0, 1, 2, 3], vec![4, 5]]),
        (usize::MAX, 5, vec![vec![0], vec![1], vec![2], vec![3, 4, 5]]),
        (2, 6, vec![vec![0, 1], vec![2], vec![3, 4], vec![5]]),
    ] {
        let limits = BatchLimits { records, bytes, ..ANY };
        let mut lane = Lane::default();
        lane.push(RecordRange { from: 0, to: 6 }, &tracker, &limits);
        assert_eq!(batches(&mut lane, &tracker, &limits), expected, "{limits:?}");
        assert_eq!((lane.records, lane.bytes), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_until_it_is_full_or_its_time_is_up() {
    let (tracker, wait, begun) = (tracker(&[("a", 5); 4]), Duration::from_secs(1), Instant::now());
    let mut lane = Lane::default();
    let limits = BatchLimits { records: 3, bytes: 1_000, wait };
    assert_eq!(lane.ready(&tracker, &limits, begun), None);
    lane.push(RecordRange { from: 0, to: 2 }, &tracker, &limits);
    assert_eq!(lane.ready(&tracker, &limits, begun), Some(begun + wait));
    assert_eq!(lane.ready(&tracker, &ANY, begun), Some(begun));
    lane.push(RecordRange { from: 2, to: 3 }, &tracker, &limits);
    assert_eq!(lane.ready(&tracker, &limits, begun), Some(begun));
    let _ = lane.take(&tracker, &limits);
    let small = BatchLimits { bytes: 5, ..limits };
    lane.push(RecordRange { from: 3, to: 4 }, &tracker, &small);
    assert_eq!(lane.ready(&tracker, &small, begun), Some(begun));
}

#[tokio::test(start_paused = true)]
async fn records_of_a_parked_key_wait_in_their_order() {
    let tracker = tracker(&[("a", 1), ("b", 1), ("a", 1), ("b", 1), ("a", 1), ("a", 1)]);
    let mut lane = Lane::default();
    lane.push(RecordRange { from: 1, to: 4 }, &tracker, &ANY);
    let key = OrderKey::Partition("a".into());
    assert!(lane.park(&key, &tracker, &ANY));
    assert!(!lane.park(&key, &tracker, &ANY));
    lane.push(RecordRange { from: 4, to: 6 }, &tracker, &ANY);
    lane.put_back_parked(&key, &RecordRanges::from(RecordRange::one(0)));
    assert_eq!(batches(&mut lane, &tracker, &ANY), [[1, 3]]);
    let two = BatchLimits { records: 2, ..ANY };
    let next = |lane: &mut Lane| lane.release(&two).map(|(_, ranges)| ranges.numbers().collect::<Vec<_>>());
    let batch = FailedBatch {
        key: Some(key.clone()),
        ..FailedBatch::new(RecordRange::one(0).into(), Instant::now())
    };
    lane.add_failed(batch, &tracker);
    assert_eq!(next(&mut lane), None, "one has failed again");
    lane.failed().clear();
    assert_eq!(next(&mut lane), Some(vec![0, 2]));
    assert!(!lane.unpark(&key) && !lane.is_idle());
    assert_eq!(next(&mut lane), Some(vec![4, 5]));
    assert_eq!(lane.parked_keys(), 1);
    assert_eq!((next(&mut lane), lane.unpark(&key), lane.parked_keys()), (None, true, 0));
}

/// A batch that failed before a key was parked, or records put back after, take nothing of the key with them.
#[tokio::test(start_paused = true)]
async fn what_is_put_back_keeps_its_order_and_parked_keys_have_batches_of_their_own() {
    let (tracker, now) = (tracker(&[("a", 1), ("b", 1), ("a", 1), ("b", 1), ("a", 1)]), Instant::now());
    let mut lane = Lane::default();
    for numbers in [[4, 4], [2, 3], [0, 0]] {
        lane.put_back(
            &numbers.into_iter().collect::<std::collections::BTreeSet<u64>>().into_iter().collect(),
            &tracker,
            &ANY,
        );
    }
    assert_eq!(batches(&mut lane, &tracker, &ANY), [[0, 2, 3, 4]]);
    lane.add_failed(FailedBatch::new([0, 1, 3].into_iter().collect(), now), &tracker);
    let key = OrderKey::Partition("a".into());
    assert!(lane.park(&key, &tracker, &ANY));
    lane.add_failed(FailedBatch::new([2].into_iter().collect(), now), &tracker);
    let failed = lane.failed().iter().map(|batch| (batch.key.is_some(), batch.records.numbers().collect()));
    assert_eq!(
        failed.collect::<Vec<(bool, Vec<u64>)>>(),
        [(true, vec![0]), (false, vec![1, 3]), (true, vec![2])]
    );
    lane.push(RecordRange::one(4), &tracker, &ANY);
    lane.put_back(&RecordRanges::from(RecordRange::one(2)), &tracker, &ANY);
    lane.failed().clear();
    assert_eq!(lane.release(&ANY).map(|(_, ranges)| ranges.numbers().collect()), Some(vec![2, 4]));
}
