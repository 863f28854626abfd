//! What keeps records in order among each other.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rokini_lease::SequenceNumber;

use crate::types::record::Record;

/// Records of one key go through user code one after the other: those with the same partition key, and each record without
/// one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrderKey {
    /// The partition key.
    Partition(Arc<str>),
    /// The sequence number of a record without a partition key.
    Record(SequenceNumber),
}

impl OrderKey {
    pub(crate) fn of(record: &Record) -> Self {
        match record.partition_key() {
            Some(key) => Self::Partition(key.into()),
            None => Self::Record(record.sequence_number),
        }
    }

    pub(crate) fn is_of(&self, record: &Record) -> bool {
        match (self, record.partition_key()) {
            (Self::Partition(key), Some(of)) => **key == *of,
            (Self::Record(number), None) => *number == record.sequence_number,
            _ => false,
        }
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(key) => f.write_str(key),
            Self::Record(number) => write!(f, "record {number}"),
        }
    }
}

/// The lane of a record: for one key the same for as long as there are as many lanes.
pub(crate) fn lane_of(record: &Record, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match record.partition_key() {
        Some(key) => key.hash(&mut hasher),
        None => record.sequence_number.hash(&mut hasher),
    }
    // The upper bits of a product spread evenly, and cost no division.
    ((u128::from(hasher.finish()) * lanes as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: Option<&str>, number: u128) -> Record {
        match key {
            Some(key) => Record::new(number.into(), key, "data", 0),
            None => Record::without_key(number.into(), "data", 0),
        }
    }

    #[test]
    fn e1_a_record_without_a_partition_key_is_a_key_of_its_own() {
        let records = [record(Some("1"), 1), record(Some("1"), 2), record(None, 1), record(None, 2)];
        for (at, one) in records.iter().enumerate() {
            let of = records.iter().map(|other| OrderKey::of(one).is_of(other)).collect::<Vec<_>>();
            let same = |other: usize| other == at || (at < 2 && other < 2);
            assert_eq!(of, (0..4).map(same).collect::<Vec<_>>(), "{one:?}");
        }
    }

    proptest! {
        #[test]
        fn p8_keys_spread_over_lanes_and_stay_there(lanes in 1..64usize) {
            let mut counts = vec![0_usize; lanes];
            for key in 0..lanes * 200 {
                let lane = lane_of(&record(Some(&key.to_string()), 1), lanes);
                prop_assert_eq!(lane, lane_of(&record(Some(&key.to_string()), 2), lanes));
                counts[lane] += 1;
            }
            prop_assert!(counts.iter().all(|count| (130..270).contains(count)), "{:?}", counts);
        }

        #[test]
        fn e1_records_without_a_partition_key_spread_by_their_numbers(lanes in 1..64usize) {
            let mut counts = vec![0_usize; lanes];
            for number in 0..lanes as u128 * 200 {
                counts[lane_of(&record(None, number), lanes)] += 1;
            }
            prop_assert!(counts.iter().all(|count| (130..270).contains(count)), "{:?}", counts);
        }
    }
}
