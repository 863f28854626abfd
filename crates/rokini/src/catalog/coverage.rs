//! Which partition-key hashes nobody reads. Pure.

use rokini_lease::{HashRange, LeaseRow};

use crate::source::stream_source::ShardDescription;

/// The hashes that no unfinished lease covers, in order, as the fewest ranges. None where a lease does not say what
/// it covers.
pub(crate) fn holes<'a>(leases: impl IntoIterator<Item = &'a LeaseRow>) -> Vec<HashRange> {
    let unfinished = leases.into_iter().filter(|row| !row.position.is_shard_end());
    let Some(mut covered) = unfinished.map(|row| row.hash_range).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    covered.sort_by_key(|range| range.start);
    let mut holes = Vec::new();
    // The first hash not known to be covered; `None` past the last one.
    let mut next = Some(0);
    for range in covered {
        let Some(from) = next else { break };
        if range.start > from {
            holes.push(HashRange { start: from, end: range.start - 1 });
        }
        next = range.end.checked_add(1).map(|after| after.max(from));
    }
    holes.extend(next.map(|from| HashRange { start: from, end: u128::MAX }));
    holes
}

/// Whether each hash of a range is in one of the others.
pub(crate) fn is_covered(range: HashRange, by: &[HashRange]) -> bool {
    let mut by = by.to_vec();
    by.sort_by_key(|part| part.start);
    // The first hash not known to be covered; `None` past the last one there is.
    let mut next = Some(range.start);
    for part in by {
        match next {
            Some(from) if part.start <= from && part.end >= from => next = part.end.checked_add(1),
            _ => {}
        }
    }
    next.is_none_or(|next| next > range.end)
}

/// The open shards that take records with these hashes.
pub(crate) fn open_shards_over<'a>(
    holes: &[HashRange],
    listing: &'a [ShardDescription],
) -> Vec<&'a ShardDescription> {
    let overlaps =
        |range: HashRange| holes.iter().any(|hole| range.start <= hole.end && hole.start <= range.end);
    listing.iter().filter(|shard| !shard.closed && shard.hash_range.is_some_and(overlaps)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rokini_lease::{LeaseKey, Position, ShardId, StreamId};

    fn lease(range: Option<(u128, u128)>, position: Position) -> LeaseRow {
        let mut row =
            LeaseRow::new(LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new("a").unwrap()), position);
        row.hash_range = range.map(|(start, end)| HashRange { start, end });
        row
    }

    fn found(ranges: &[(u128, u128)]) -> Vec<(u128, u128)> {
        let rows: Vec<_> = ranges.iter().map(|range| lease(Some(*range), Position::TrimHorizon)).collect();
        holes(&rows).iter().map(|hole| (hole.start, hole.end)).collect()
    }

    #[test]
    fn holes_lie_before_between_and_after() {
        const MAX: u128 = u128::MAX;
        for (ranges, expected) in [
            (vec![], vec![(0, MAX)]),
            (vec![(0, MAX)], vec![]),
            (vec![(0, 9), (10, MAX)], vec![]),
            (vec![(10, MAX), (0, 9)], vec![]),
            (vec![(0, 9), (11, MAX)], vec![(10, 10)]),
            (vec![(5, 9), (20, 30)], vec![(0, 4), (10, 19), (31, MAX)]),
            // A parent beside its children, as with `ignore_shard_order`.
            (vec![(0, MAX), (0, 9), (10, MAX)], vec![]),
            (vec![(0, 20), (5, 9), (30, MAX)], vec![(21, 29)]),
        ] {
            assert_eq!(found(&ranges), expected, "{ranges:?}");
        }
    }

    #[test]
    fn a5_children_that_leave_a_hash_out_are_not_all() {
        const MAX: u128 = u128::MAX;
        for (range, by, covered) in [
            ((0, MAX), vec![(0, MAX)], true),
            ((0, MAX), vec![(10, MAX), (0, 9)], true),
            ((5, 9), vec![(0, 20)], true),
            ((0, MAX), vec![(0, 9)], false),
            ((0, MAX), vec![(10, MAX)], false),
            ((0, MAX), vec![(0, 8), (10, MAX)], false),
            ((0, MAX), vec![], false),
        ] {
            let range_of = |(start, end)| HashRange { start, end };
            let parts: Vec<_> = by.iter().copied().map(range_of).collect();
            assert_eq!(is_covered(range_of(range), &parts), covered, "{range:?} by {by:?}");
        }
    }

    #[test]
    fn finished_leases_cover_nothing_and_unknown_ranges_say_nothing() {
        let ended = lease(Some((0, u128::MAX)), Position::ShardEnd);
        assert_eq!(holes([&ended]).len(), 1);
        let unknown = lease(None, Position::TrimHorizon);
        assert!(holes([&unknown, &lease(Some((5, 6)), Position::TrimHorizon)]).is_empty());
    }

    proptest! {
        #[test]
        fn r1_a_hash_is_in_a_hole_if_and_only_if_no_range_has_it(
            ranges in proptest::collection::vec((0u128..64, 0u128..64), 0..8),
            probe in 0u128..70,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let covered = ranges.iter().any(|(start, end)| (*start..=*end).contains(&probe));
            let in_hole = found(&ranges).iter().any(|(start, end)| (*start..=*end).contains(&probe));
            prop_assert_eq!(in_hole, !covered);
        }
    }
}
