//! How the model makes its sequence numbers.
//!
//! The layout is the one seen in numbers of the real service: 186 bits, hence 56 decimal digits. From the top: `2`, the
//! second in which the shard was created (36 bits), the shard's low four bits, a counter (64), a zero byte, the second of
//! arrival (36), the shard (32), and the version `2` (4). A child shard is created in a later second than its parents,
//! so its numbers are greater than all of theirs.

use rokini_wire::SequenceNumber;

/// The counter in the last number a closed shard can hold.
pub(crate) const LAST_OFFSET: u64 = 0x7fff_ffff_ffff_ffff;

const SECONDS: u64 = (1 << 36) - 1;
/// The latest second a record is said to arrive in: one is left for a number right after it.
pub(crate) const LAST_ARRIVAL: u64 = SECONDS - 1;
/// The latest second a shard is said to be created in, in the year 4011: what 36 bits hold, less one for every shard there can
/// be, so that a child has a later second than its parents whatever the clock says.
pub(crate) const LAST_CREATION: u64 = SECONDS - u32::MAX as u64;
const VERSION: u128 = 2;

/// What a sequence number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceParts {
    /// Second in which the shard was created.
    pub(crate) created: u64,
    /// Offset in the shard.
    pub(crate) offset: u64,
    /// Second of arrival.
    pub(crate) arrived: u64,
    /// Number of the shard.
    pub(crate) shard: u32,
}

pub(crate) fn compose(parts: SequenceParts) -> SequenceNumber {
    let SequenceParts { created, offset, arrived, shard } = parts;
    let low = VERSION
        | (u128::from(shard) << 4)
        | (u128::from(arrived & SECONDS) << 36)
        | (u128::from(offset) << 80);
    let high = (offset >> 48) | (u64::from(shard & 0xf) << 16) | ((created & SECONDS) << 20) | (2 << 56);
    SequenceNumber::from_limbs([high, (low >> 64) as u64, low as u64])
}

pub(crate) fn parse(number: SequenceNumber) -> Option<SequenceParts> {
    let [high, mid, low] = number.limbs();
    let low = (u128::from(mid) << 64) | u128::from(low);
    let parts = SequenceParts {
        created: (high >> 20) & SECONDS,
        offset: ((high & 0xffff) << 48) | (low >> 80) as u64,
        arrived: (low >> 36) as u64 & SECONDS,
        shard: (low >> 4) as u32,
    };
    (compose(parts) == number && parts.offset <= LAST_OFFSET).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_look_like_those_of_the_service() {
        // A starting number as the service's documentation shows it for shardId-000000000000.
        let documented: SequenceNumber =
            "49543463076548007577105092703039560359975228518395012686".parse().unwrap();
        let ours =
            compose(SequenceParts { created: 1_700_000_000, offset: 1, arrived: 1_700_000_001, shard: 0 });
        assert_eq!(ours.to_string().len(), documented.to_string().len());
        assert_eq!(&ours.to_string()[..2], "49");
    }

    #[test]
    fn readers_find_the_time_of_arrival_in_them() {
        let parts = SequenceParts { created: 1_700_000_000, offset: 1, arrived: 1_700_000_001, shard: 23 };
        assert_eq!(compose(parts).arrival_second(), Some(1_700_000_001));
    }

    #[test]
    fn foreign_numbers_are_not_ours() {
        for text in ["0", "12345", "49543463076548007577105092703039560359975228518395012686"] {
            assert_eq!(parse(text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_survive_and_order_goes_by_creation_then_offset(
            created in 0..SECONDS, offset in 0..LAST_OFFSET, arrived in 0..SECONDS, shard: u32, other in 0..LAST_OFFSET,
        ) {
            let parts = SequenceParts { created, offset, arrived, shard };
            prop_assert_eq!(parse(compose(parts)), Some(parts));
            let next = SequenceParts { offset: other, ..parts };
            prop_assert_eq!(compose(next).cmp(&compose(parts)), other.cmp(&offset));
            let child = SequenceParts { created: created + 1, offset: 0, arrived: 0, shard: 0 };
            let last = SequenceParts { offset: LAST_OFFSET, ..parts };
            prop_assert!(compose(child) > compose(last));
        }
    }
}
