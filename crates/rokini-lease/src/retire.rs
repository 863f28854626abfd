//! Which rows of ended shards may go: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use crate::position::Position;
use crate::row::LeaseRow;
use crate::types::ShardId;

/// The ended leases of one stream whose rows nothing needs any more, parents before their children: in this order
/// they can be removed, each under the epoch it has here.
///
/// A row may go when the stream does not `list` its shard any more, no parent of it has a row that stays, and each
/// child is past its start, or gone by the same rule. Then neither the shard nor an ancestor is ever taken for one
/// that was forgotten: nothing listed leads to it, and its children know where to go on.
#[must_use]
pub fn retirable<'a>(
    leases: &'a BTreeMap<ShardId, LeaseRow>,
    listed: &BTreeSet<ShardId>,
) -> Vec<&'a LeaseRow> {
    let mut born: BTreeMap<&ShardId, BTreeSet<&ShardId>> = BTreeMap::new();
    for row in leases.values() {
        born.entry(&row.key.shard).or_default().extend(&row.children);
        for parent in &row.parents {
            born.entry(parent).or_default().insert(&row.key.shard);
        }
    }
    let is_past = |row: &LeaseRow| matches!(row.position, Position::Sequence(..) | Position::ShardEnd);
    let child_needs_it = |child: &ShardId| match leases.get(child) {
        Some(row) => !is_past(row),
        // Listed without a lease: about to get one, for which its parents are looked at.
        None => listed.contains(child),
    };
    let may_go = |row: &LeaseRow| {
        let children = born.get(&row.key.shard);
        row.position.is_shard_end()
            && row.owner.is_none()
            && !listed.contains(&row.key.shard)
            && !children.into_iter().flatten().any(|child| child_needs_it(child))
    };
    let mut going: BTreeSet<&ShardId> = BTreeSet::new();
    let mut retired = Vec::new();
    loop {
        let next: Vec<&LeaseRow> = leases
            .values()
            .filter(|row| !going.contains(&row.key.shard) && may_go(row))
            .filter(|row| {
                row.parents.iter().all(|parent| !leases.contains_key(parent) || going.contains(parent))
            })
            .collect();
        if next.is_empty() {
            return retired;
        }
        going.extend(next.iter().map(|row| &row.key.shard));
        retired.extend(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LeaseKey, StreamId};

    fn id(name: &str) -> ShardId {
        ShardId::new(name).unwrap()
    }

    /// `parent>child:position`, with `_` for no parent; position `E` for ended, `B` for begun, `N` for new.
    fn leases(text: &str) -> BTreeMap<ShardId, LeaseRow> {
        let row = |word: &str| {
            let (lineage, position) = word.split_once(':').unwrap();
            let (parents, name) = lineage.split_once('>').unwrap();
            let position = match position {
                "E" => Position::ShardEnd,
                "B" => Position::after(7u128.into()),
                _ => Position::TrimHorizon,
            };
            let parents = parents.split('+').filter(|parent| *parent != "_").map(id).collect();
            let key = LeaseKey::new(StreamId::new("s").unwrap(), id(name));
            (id(name), LeaseRow::new(key, position).with_parents(parents))
        };
        text.split_whitespace().map(row).collect()
    }

    fn retired(text: &str, listed: &str) -> String {
        let listed = listed.split_whitespace().map(id).collect();
        let leases = leases(text);
        let rows = retirable(&leases, &listed);
        rows.iter().map(|row| row.key.shard.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn r6_a_row_goes_only_when_nothing_can_bring_its_shard_back() {
        for (leases, listed, expected) in [
            ("_>a:E a>b:B a>c:B", "b c", "a"),
            // The stream still lists it.
            ("_>a:E a>b:B a>c:B", "a b c", ""),
            // A child has not begun: its start is told by its parents.
            ("_>a:E a>b:B a>c:N", "b c", ""),
            // Not ended, whatever the stream says.
            ("_>a:B", "", ""),
            // Generations go oldest first.
            ("_>a:E a>b:E b>c:B", "c", "a b"),
            ("_>a:E a>b:E b>c:B", "b c", "a"),
            ("_>a:E a>b:E b>c:B", "a c", ""),
            // A merge waits for both.
            ("_>a:E _>b:E a+b>c:B", "c", "a b"),
            ("_>a:E _>b:E a+b>c:B", "a c", "b"),
            // Nothing came of it, and nobody knows it.
            ("_>a:E", "", "a"),
        ] {
            assert_eq!(retired(leases, listed), expected, "{leases} listed {listed}");
        }
    }

    #[test]
    fn r6_a_child_that_should_get_a_lease_keeps_its_parent() {
        let mut rows = leases("_>a:E");
        rows.get_mut(&id("a")).unwrap().children = vec![id("b")];
        assert!(retirable(&rows, &[id("b")].into()).is_empty());
        assert_eq!(retirable(&rows, &BTreeSet::new()).len(), 1, "the child is gone too");
    }

    #[test]
    fn a_row_that_somebody_holds_stays() {
        let mut rows = leases("_>a:E");
        rows.get_mut(&id("a")).unwrap().owner = Some("w#0000000000000001".parse().unwrap());
        assert!(retirable(&rows, &BTreeSet::new()).is_empty());
    }
}
