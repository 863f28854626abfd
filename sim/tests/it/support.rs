//! What the scenarios share.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_lease::{Epoch, LeaseKey, LeaseRow, WorkerId, WorkerName};
use sim::{StreamProfile, Summary, WorkerSpec, World};

/// A world of streams with so many shards each.
pub(crate) fn world(shards: &[i32]) -> World {
    World::new(1, shards, StreamProfile::default()).unwrap()
}

/// One more worker of the first stream, quick and without faults.
pub(crate) async fn join(world: &mut World) -> u32 {
    world.join(&WorkerSpec::default()).await.unwrap()
}

/// Every check of a run holds.
pub(crate) async fn well(world: &mut World) -> Summary {
    let summary = world.check_all(Duration::from_secs(20)).await;
    assert_eq!(summary.violations, vec![], "{}", world.recorder.log());
    summary
}

/// Passes time until the leases of the first stream are so.
pub(crate) async fn until(world: &mut World, are: impl Fn(&[LeaseRow]) -> bool + Send + Sync) {
    for _ in 0..12_000 {
        if are(&world.view(0).await.leases) {
            return;
        }
        world.run_for(Duration::from_millis(10)).await;
    }
    panic!("two minutes in vain\n{}", world.recorder.log());
}

/// Who holds which lease of the first stream, since when.
pub(crate) async fn owners(world: &World) -> BTreeMap<LeaseKey, (Option<WorkerId>, Epoch)> {
    world.view(0).await.leases.into_iter().map(|row| (row.key, (row.owner, row.epoch))).collect()
}

/// How many unfinished leases of the first stream each worker has that has any.
pub(crate) async fn active(world: &World) -> BTreeMap<WorkerName, usize> {
    let mut loads = BTreeMap::new();
    for row in world.view(0).await.leases.into_iter().filter(|row| !row.position.is_shard_end()) {
        if let Some(owner) = row.owner {
            *loads.entry(owner.name).or_default() += 1;
        }
    }
    loads
}
