use proptest::prelude::*;
use rokini_wire::partition_key_hash;

use super::*;
use crate::config::KplHashRange;
use crate::source::deaggregate::Deaggregator;
use crate::types::record::Record;

fn shard(number: usize, start: u128, end: u128) -> ShardDescription {
    let id = ShardId::new(format!("shard-{number}")).unwrap();
    ShardDescription { id, parents: Vec::new(), hash_range: Some(HashRange { start, end }), closed: false }
}

/// This many shards of equal size.
fn shards(count: usize) -> Vec<ShardDescription> {
    let width = u128::MAX / count as u128;
    let end = |number: usize| if number + 1 == count { u128::MAX } else { width * (number as u128 + 1) - 1 };
    (0..count).map(|number| shard(number, width * number as u128, end(number))).collect()
}

fn record(key: &str, data: &str) -> UserRecord {
    let data = Bytes::copy_from_slice(data.as_bytes());
    UserRecord { partition_key: key.to_owned(), explicit_hash_key: None, data }
}

fn at(explicit_hash_key: u128, data: &str) -> UserRecord {
    UserRecord { explicit_hash_key: Some(explicit_hash_key), ..record("k", data) }
}

/// The user records of what was put, as a consumer gets them: keys, explicit hash keys, data.
fn read(put: &StreamRecord) -> Vec<UserRecord> {
    let read = Record::new(1_u128.into(), &put.partition_key, &put.data, 0);
    let unpacked = Deaggregator::default().unpack(vec![read]);
    assert_eq!(unpacked.malformed, None);
    let user_record = |record: &Record| UserRecord {
        partition_key: record.partition_key().unwrap().to_owned(),
        explicit_hash_key: record.explicit_hash_key().map(|text| text.parse().unwrap()),
        data: record.data_bytes(),
    };
    unpacked.records.iter().map(user_record).collect()
}

fn aggregator(bytes: usize, records: usize, count: usize) -> Aggregator {
    let mut aggregator =
        Aggregator::new(AggregateLimits { bytes, records, wait: Duration::from_millis(100) });
    assert!(aggregator.set_shards(&shards(count)).is_empty());
    aggregator
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_closes_by_count_by_size_and_by_time() {
    let now = Instant::now();
    let mut by_count = aggregator(1_000, 3, 1);
    assert!(
        by_count.push(record("a", "0"), now).is_empty() && by_count.push(record("b", "1"), now).is_empty()
    );
    let put = by_count.push(record("a", "2"), now);
    assert_eq!((put.len(), by_count.waiting()), (1, 0));
    assert_eq!(read(&put[0]), [record("a", "0"), record("b", "1"), record("a", "2")]);

    let mut by_size = aggregator(1_000, usize::MAX, 1);
    let mut sizes = Vec::new();
    for _ in 0..30 {
        sizes.extend(by_size.push(record("a", &"x".repeat(100)), now).iter().map(|put| put.data.len()));
    }
    assert!(sizes.len() == 3 && sizes.iter().all(|size| (900..=1_000).contains(size)), "{sizes:?}");

    let mut by_time = aggregator(1_000, usize::MAX, 2);
    by_time.push(at(0, "low"), now);
    by_time.push(at(u128::MAX, "high"), now + Duration::from_millis(50));
    by_time.push(at(1, "low"), now + Duration::from_millis(60));
    assert_eq!(by_time.next_due(), Some(now + Duration::from_millis(100)));
    assert!(by_time.take_due(now + Duration::from_millis(99)).is_empty());
    let put = by_time.take_due(now + Duration::from_millis(100));
    assert_eq!((put.len(), put[0].user_records.len(), by_time.waiting()), (1, 2, 1));
    assert_eq!(by_time.next_due(), Some(now + Duration::from_millis(150)));
    assert_eq!((by_time.flush().len(), by_time.next_due()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_alone_or_too_large_is_put_as_it_is_in_its_turn() {
    let now = Instant::now();
    let mut aggregator = aggregator(200, usize::MAX, 1);
    aggregator.push(at(7, "first"), now);
    let put = aggregator.flush();
    assert_eq!(
        (&put[0].data[..], put[0].explicit_hash_key, &put[0].partition_key[..]),
        (&b"first"[..], Some(7), "k")
    );
    aggregator.push(record("a", "0"), now);
    aggregator.push(record("a", "1"), now);
    let large = "x".repeat(300);
    let put = aggregator.push(record("a", &large), now);
    assert_eq!(put.iter().map(|put| put.user_records.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(put[1].data, large);
}

#[tokio::test(start_paused = true)]
async fn a4_records_of_a_shard_that_was_split_do_not_wait_for_those_of_its_children() {
    let now = Instant::now();
    let mut aggregator = aggregator(1_000, usize::MAX, 1);
    let half = u128::MAX / 2;
    aggregator.push(at(1, "low"), now);
    aggregator.push(at(half + 1, "high"), now);
    let mut parent = shards(1);
    parent[0].closed = true;
    let split = [parent[0].clone(), shard(1, 0, half), shard(2, half + 1, u128::MAX)];
    let closed = aggregator.set_shards(&split);
    assert_eq!((closed.len(), closed[0].shard.as_ref().map(ShardId::as_str)), (1, Some("shard-0")));
    assert!(aggregator.is_misplaced(&closed[0], &split[1].id), "one of them belongs to the other child");
    assert!(!aggregator.is_misplaced(&closed[0], &split[0].id), "it landed before the split");
    for record in closed[0].user_records.clone() {
        aggregator.push(record, now);
    }
    assert_eq!(aggregator.set_shards(&split), [], "nothing changed");
    let again = aggregator.flush();
    assert_eq!(
        again.iter().map(|put| put.shard.as_ref().unwrap().as_str()).collect::<Vec<_>>(),
        ["shard-1", "shard-2"]
    );
    assert!(!aggregator.is_misplaced(&again[0], &split[2].id), "what is alone is placed by its own key");
    // A hash that no listed shard takes.
    aggregator.set_shards(&split[1..2]);
    let put = aggregator.push(at(u128::MAX, "lost"), now);
    assert_eq!((put.len(), put[0].shard.as_ref()), (1, None));
}

proptest! {
    /// Whatever is put and however the stream is split meanwhile: nothing is lost or added, each key keeps its order within
    /// the aggregates of a shard, aggregates keep the limits, and no record is in an aggregate of another shard.
    #[test]
    fn a4_aggregates_hold_records_of_one_shard_in_order(
        keys in prop::collection::vec((0..12_u8, prop::option::of(any::<u128>()), 0..200_usize), 1..200),
        steps in prop::collection::vec((1..40_usize, 1..7_usize), 1..8),
        most in 1..20_usize,
    ) {
        let now = Instant::now();
        let mut aggregator = aggregator(1_000, most, 2);
        let (mut put, mut expected): (Vec<(usize, StreamRecord)>, Vec<UserRecord>) = (Vec::new(), Vec::new());
        let (mut count, mut steps) = (2, steps.into_iter());
        let mut next_change = steps.next();
        for (n, (key, explicit_hash_key, length)) in keys.into_iter().enumerate() {
            let data = format!("{n}:{}", "x".repeat(length));
            let record = UserRecord { explicit_hash_key, ..record(&format!("key-{key}"), &data) };
            expected.push(record.clone());
            put.extend(aggregator.push(record, now).into_iter().map(|put| (count, put)));
            if next_change.is_some_and(|(after, _)| n % 40 == after) {
                let (_, to) = next_change.unwrap_or_default();
                put.extend(aggregator.set_shards(&shards(to)).into_iter().map(|put| (count, put)));
                (count, next_change) = (to, steps.next());
            }
        }
        put.extend(aggregator.flush().into_iter().map(|put| (count, put)));
        let mut found = Vec::new();
        for (count, put) in &put {
            let user_records = if put.user_records.len() == 1 { put.user_records.clone() } else { read(put) };
            prop_assert_eq!(&user_records, &put.user_records);
            prop_assert!(put.user_records.len() <= most);
            prop_assert!(put.data.len() <= 1_000 || put.user_records.len() == 1);
            let home = shards(*count).into_iter().find(|shard| Some(&shard.id) == put.shard.as_ref()).unwrap();
            let stream_record = Record::new(1_u128.into(), &put.partition_key, &put.data, 0);
            let unpacked = Deaggregator::default()
                .hash_range(home.hash_range.unwrap(), KplHashRange::Drop)
                .unpack(vec![stream_record]);
            prop_assert_eq!((unpacked.foreign, unpacked.records.len()), (0, put.user_records.len()));
            // It is placed by its own keys there too.
            let hash = put.explicit_hash_key.unwrap_or_else(|| partition_key_hash(&put.partition_key));
            let range = home.hash_range.unwrap();
            prop_assert!((range.start..=range.end).contains(&hash));
            found.extend(user_records);
        }
        let number = |record: &UserRecord| {
            String::from_utf8_lossy(&record.data).split(':').next().unwrap().parse::<usize>().unwrap()
        };
        for key in 0..12 {
            let of_key = |record: &&UserRecord| {
                record.partition_key == format!("key-{key}") && record.explicit_hash_key.is_none()
            };
            let numbers: Vec<_> = found.iter().filter(of_key).map(number).collect();
            prop_assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
        found.sort_by_key(number);
        prop_assert_eq!(found, expected);
    }
}
