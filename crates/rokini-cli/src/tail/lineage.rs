//! Which shards may be read now: parents before children.

use std::collections::BTreeMap;

use rokini::ShardDescription;
use rokini::lease::ShardId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Waiting,
    Reading,
    Ended,
}

/// The shards that are followed.
#[derive(Debug, Default)]
pub(super) struct Lineage(BTreeMap<ShardId, (Vec<ShardId>, ReadState)>);

impl Lineage {
    /// Takes shards in; those that are known stay as they are.
    pub(super) fn add(&mut self, shards: impl IntoIterator<Item = ShardDescription>) {
        for shard in shards {
            self.0.entry(shard.id).or_insert((shard.parents, ReadState::Waiting));
        }
    }

    pub(super) fn ended(&mut self, shard: &ShardId) {
        if let Some((_, state)) = self.0.get_mut(shard) {
            *state = ReadState::Ended;
        }
    }

    /// Takes those that can be read now: every parent that is followed has ended.
    pub(super) fn take_ready(&mut self) -> Vec<ShardId> {
        let open = |parent: &ShardId| self.0.get(parent).is_some_and(|(_, state)| *state != ReadState::Ended);
        let ready: Vec<_> = self
            .0
            .iter()
            .filter(|(_, (parents, state))| *state == ReadState::Waiting && !parents.iter().any(open))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &ready {
            if let Some((_, state)) = self.0.get_mut(id) {
                *state = ReadState::Reading;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ShardDescription {
        ShardDescription {
            id: id.parse().unwrap(),
            parents: parents.iter().map(|id| id.parse().unwrap()).collect(),
            hash_range: None,
            closed: false,
        }
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
}
