//! A listing that lags behind, row by row.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::row::GroupView;

/// Shows each row as of one of the views, chosen for each row on its own.
pub(super) fn mix(views: &VecDeque<Arc<GroupView>>, rng: &mut SmallRng) -> GroupView {
    GroupView {
        workers: pick(views, rng, |view| &view.workers, |row| &row.id),
        leases: pick(views, rng, |view| &view.leases, |row| &row.key),
        streams: pick(views, rng, |view| &view.streams, |row| &row.id),
        group: views[rng.random_range(0..views.len())].group.clone(),
        unreadable: views[rng.random_range(0..views.len())].unreadable.clone(),
    }
}

fn pick<R: Clone, K: Ord + Clone>(
    views: &VecDeque<Arc<GroupView>>,
    rng: &mut SmallRng,
    rows: impl Fn(&GroupView) -> &Vec<R>,
    key: impl Fn(&R) -> &K,
) -> Vec<R> {
    // A row by the views that have it.
    let mut versions: BTreeMap<K, Vec<Option<&R>>> = BTreeMap::new();
    for (at, view) in views.iter().enumerate() {
        for row in rows(view) {
            versions.entry(key(row).clone()).or_insert_with(|| vec![None; views.len()])[at] = Some(row);
        }
    }
    let chosen = versions.into_values().filter_map(|versions| versions[rng.random_range(0..versions.len())]);
    chosen.cloned().collect()
}
