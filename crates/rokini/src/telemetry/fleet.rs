//! What the lease table says about the group. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rokini_lease::{GroupView, LeaseRow, StreamId, WorkerState};

use crate::catalog::coverage;
use crate::source::stream_identity::is_older;

/// What is known of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamFacts {
    /// Shards that are not finished and do not wait for their parents.
    pub(crate) active: usize,
    /// Those of them that no worker of the listing has.
    pub(crate) unheld: Vec<LeaseRow>,
    /// Parts of the hash range that no unfinished lease covers.
    pub(crate) holes: usize,
}

/// The number of live workers, and what is known of each stream.
pub(crate) fn facts(view: &GroupView) -> (usize, BTreeMap<StreamId, StreamFacts>) {
    let there: BTreeSet<_> =
        view.workers.iter().filter(|row| row.state != WorkerState::Fenced).map(|row| &row.id).collect();
    let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive).count();
    let mut streams: BTreeMap<StreamId, StreamFacts> = BTreeMap::new();
    let unfinished: BTreeSet<_> =
        view.leases.iter().filter(|row| !row.position.is_shard_end()).map(|row| &row.key).collect();
    for row in &view.leases {
        let stream = streams.entry(row.key.stream.clone()).or_default();
        if row.position.is_shard_end() {
            continue;
        }
        let waits = row.parents.iter().any(|parent| {
            unfinished.contains(&rokini_lease::LeaseKey::new(row.key.stream.clone(), parent.clone()))
        });
        if waits {
            continue;
        }
        stream.active += 1;
        if !row.owner.as_ref().is_some_and(|owner| there.contains(owner)) {
            stream.unheld.push(row.clone());
        }
    }
    for (id, stream) in &mut streams {
        stream.holes = coverage::holes(view.leases.iter().filter(|row| row.key.stream == *id)).len();
    }
    (alive, streams)
}

/// Drops those of which there is a later one of the same name.
pub(crate) fn drop_outdated(streams: &mut BTreeMap<StreamId, StreamFacts>) {
    let mut latest: BTreeMap<String, StreamId> = BTreeMap::new();
    for id in streams.keys() {
        let Some((name, _)) = id.as_str().rsplit_once('@') else { continue };
        let known = latest.entry(name.to_owned()).or_insert_with(|| id.clone());
        if is_older(known, id) {
            known.clone_from(id);
        }
    }
    let last = |id: &StreamId| latest.get(id.as_str().rsplit_once('@')?.0);
    streams.retain(|id, _| !last(id).is_some_and(|last| is_older(id, last)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini_lease::{Incarnation, LeaseKey, Position, ShardId, WorkerId, WorkerName, WorkerRow};

    #[test]
    fn a_shard_is_unheld_when_no_live_worker_has_it() {
        let worker = |name: &str| WorkerId::new(WorkerName::new(name).unwrap(), Incarnation::new(1));
        let (here, dead, gone) = (worker("here"), worker("dead"), worker("gone"));
        let stream = StreamId::new("orders@1").unwrap();
        let lease = |number: u32, owner: Option<&WorkerId>| {
            let shard = ShardId::new(format!("shardId-{number:012}")).unwrap();
            let mut row = LeaseRow::new(LeaseKey::new(stream.clone(), shard), Position::TrimHorizon);
            row.owner = owner.cloned();
            row
        };
        let mut fenced = WorkerRow::joining(dead.clone(), None);
        fenced.state = WorkerState::Fenced;
        let mut ended = lease(5, None);
        ended.position = Position::ShardEnd;
        let mut waits = lease(6, None);
        waits.parents = vec![lease(0, None).key.shard, lease(5, None).key.shard];
        let mut ready = lease(7, None);
        ready.parents = vec![ended.key.shard.clone()];
        let view = GroupView {
            workers: vec![WorkerRow::joining(here.clone(), None), fenced],
            leases: vec![
                lease(0, Some(&here)),
                lease(1, Some(&dead)),
                lease(2, Some(&gone)),
                lease(3, None),
                ended,
                waits,
                ready,
            ],
            ..GroupView::default()
        };
        let (alive, streams) = facts(&view);
        let found = &streams[&stream];
        let unheld: Vec<_> = found.unheld.iter().map(|row| row.key.shard.as_str().chars().last()).collect();
        assert_eq!((alive, found.active), (1, 5));
        assert_eq!(unheld, ['1', '2', '3', '7'].map(Some));
    }
}
