//! Which shards may be read now, parents before children, and whether each that ended has shards that go on from it.

use std::collections::{BTreeMap, BTreeSet};

use rokini::ShardDescription;
use rokini::lease::{HashRange, ShardId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Waiting,
    Reading,
    Ended,
}

#[derive(Debug)]
struct Followed {
    parents: Vec<ShardId>,
    range: Option<HashRange>,
    state: ReadState,
}

/// The shards that are followed.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    followed: BTreeMap<ShardId, Followed>,
    /// Those that the stream had when it was listed first, followed or not: they come from none that is followed.
    old: BTreeSet<ShardId>,
}

impl Lineage {
    /// `listed`: all shards of the stream before the first of those that are followed has ended.
    pub(super) fn new(listed: impl IntoIterator<Item = ShardId>) -> Self {
        Self { followed: BTreeMap::new(), old: listed.into_iter().collect() }
    }

    /// Takes shards in; those that are known stay as they are.
    pub(super) fn add(&mut self, shards: impl IntoIterator<Item = ShardDescription>) {
        for shard in shards {
            let followed =
                Followed { parents: shard.parents, range: shard.hash_range, state: ReadState::Waiting };
            self.followed.entry(shard.id).or_insert(followed);
        }
    }

    pub(super) fn ended(&mut self, shard: &ShardId) {
        if let Some(shard) = self.followed.get_mut(shard) {
            shard.state = ReadState::Ended;
        }
    }

    /// The hashes of a shard that is followed.
    pub(super) fn range(&self, shard: &ShardId) -> Option<HashRange> {
        self.followed.get(shard)?.range
    }

    /// Those of a listing that go on from shards that are followed: as they say by their parents, and also those that are new
    /// and name none that the listing has. Servers exist that tell no parents.
    pub(super) fn successors(&self, listed: Vec<ShardDescription>) -> Vec<ShardDescription> {
        let there: BTreeSet<ShardId> = listed.iter().map(|shard| shard.id.clone()).collect();
        let follows = |shard: &ShardDescription| {
            let is_new = !self.old.contains(&shard.id);
            shard.parents.iter().any(|parent| self.followed.contains_key(parent))
                || (is_new && !shard.parents.iter().any(|parent| there.contains(parent)))
        };
        listed.into_iter().filter(follows).collect()
    }

    /// Whether each hash of a shard that ended belongs to one that is read, or is going to be.
    pub(super) fn goes_on(&self, ended: &ShardId) -> bool {
        let Some(range) = self.range(ended) else {
            return self.followed.values().any(|shard| shard.parents.contains(ended));
        };
        let mut ranges: Vec<HashRange> = self
            .followed
            .values()
            .filter(|shard| shard.state != ReadState::Ended)
            .filter_map(|shard| shard.range)
            .collect();
        ranges.sort_by_key(|range| range.start);
        let mut next = range.start;
        for found in ranges {
            if found.start > next || next > range.end {
                break;
            }
            match found.end.checked_add(1) {
                Some(after) => next = next.max(after),
                None => return true,
            }
        }
        next > range.end
    }

    /// Takes those that can be read now: every parent that is followed has ended.
    pub(super) fn take_ready(&mut self) -> Vec<ShardId> {
        let open = |parent: &ShardId| {
            self.followed.get(parent).is_some_and(|parent| parent.state != ReadState::Ended)
        };
        let ready: Vec<_> = self
            .followed
            .iter()
            .filter(|(_, shard)| shard.state == ReadState::Waiting && !shard.parents.iter().any(open))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &ready {
            if let Some(shard) = self.followed.get_mut(id) {
                shard.state = ReadState::Reading;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ShardDescription {
        let parents = parents.iter().map(|id| id.parse().unwrap());
        ShardDescription::new(id.parse().unwrap(), parents.collect())
    }

    fn ranged(id: &str, parents: &[&str], start: u128, end: u128) -> ShardDescription {
        shard(id, parents).hash_range(HashRange { start, end })
    }

    fn ready(lineage: &mut Lineage) -> Vec<String> {
        lineage.take_ready().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn parents_before_children() {
        let mut lineage = Lineage::default();
        lineage.add([shard("a", &["gone"]), shard("b", &[]), shard("ab", &["a", "b"])]);
        assert_eq!(ready(&mut lineage), ["a", "b"], "a parent that is not followed is not waited for");
        assert!(ready(&mut lineage).is_empty());
        lineage.ended(&"a".parse().unwrap());
        lineage.add([shard("ab", &["a", "b"])]);
        assert!(ready(&mut lineage).is_empty(), "a merge waits for both");
        lineage.ended(&"b".parse().unwrap());
        assert_eq!(ready(&mut lineage), ["ab"]);
        lineage.add([shard("a", &[])]);
        assert!(ready(&mut lineage).is_empty(), "what has ended stays ended");
    }

    #[test]
    fn successors_are_found_also_where_they_name_no_parents() {
        let old = ["before", "a"].map(|id| id.parse().unwrap());
        let mut lineage = Lineage::new(old);
        lineage.add([shard("a", &["before"])]);
        let found = |listed: &[ShardDescription]| -> Vec<String> {
            lineage.successors(listed.to_vec()).iter().map(|shard| shard.id.to_string()).collect()
        };
        let (before, a) = (shard("before", &[]), shard("a", &["before"]));
        assert_eq!(found(&[before.clone(), a.clone()]), [""; 0], "nothing is new");
        assert_eq!(found(&[before.clone(), a.clone(), shard("b", &["a"])]), ["b"]);
        assert_eq!(found(&[before.clone(), a.clone(), shard("b", &[])]), ["b"]);
        assert_eq!(found(&[before, a, shard("b", &["a"]), shard("c", &["b"])]), ["b"], "in its turn");
        assert_eq!(found(&[shard("b", &["a"])]), ["b"], "whose parent is not kept");
    }

    #[test]
    fn a_shard_goes_on_when_its_hashes_do() {
        let mut lineage = Lineage::default();
        let a: ShardId = "a".parse().unwrap();
        lineage.add([ranged("a", &[], 0, 99), ranged("z", &[], 100, u128::MAX)]);
        lineage.take_ready();
        lineage.ended(&a);
        assert!(!lineage.goes_on(&a));
        lineage.add([ranged("b", &[], 0, 49)]);
        assert!(!lineage.goes_on(&a), "half of it");
        lineage.add([ranged("c", &[], 50, 99)]);
        assert!(lineage.goes_on(&a));
        lineage.ended(&"b".parse().unwrap());
        assert!(!lineage.goes_on(&"b".parse().unwrap()) && lineage.goes_on(&"z".parse().unwrap()));
        lineage.add([ranged("all", &["b"], 0, u128::MAX)]);
        assert!(lineage.goes_on(&"b".parse().unwrap()));
        let mut unranged = Lineage::default();
        unranged.add([shard("a", &[])]);
        unranged.ended(&a);
        assert!(!unranged.goes_on(&a));
        unranged.add([shard("b", &["a"])]);
        assert!(unranged.goes_on(&a));
    }
}
