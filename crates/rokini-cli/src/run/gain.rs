//! How many shards a worker is about to get from others.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use rokini::lease::{DynamoStore, GroupId, GroupView, LeaseStore, Listing, Position, WorkerId, WorkerState};
use rokini::{ConsumerConfig, Handle};
use tokio::time::sleep;

use crate::aws::Aws;

/// The share that falls to a worker which joins now, of the shards that others have. Where nobody can say it is none: it is only
/// for what is done ahead of need.
pub(super) async fn expected(config: &ConsumerConfig, aws: &Aws, group: &GroupId) -> usize {
    let store = DynamoStore::new(&aws.config, config.table.as_str());
    let view = store.list(group, Listing::All).await.unwrap_or_default();
    of(&view, config.worker.as_ref().map(|name| name.as_str()), config.max_leases)
}

/// Whoever has the name of this worker is the one that it replaces. What workers that leave still have goes to those that stay.
fn of(view: &GroupView, name: Option<&str>, limit: Option<NonZeroU32>) -> usize {
    let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive);
    let others: Vec<_> = alive.map(|row| &row.id).filter(|id| Some(id.name.as_str()) != name).collect();
    let leaving = view.workers.iter().filter(|row| row.state == WorkerState::Leaving);
    let leaving: Vec<_> = leaving.map(|row| &row.id).collect();
    let is_theirs = |lease: &&rokini::lease::LeaseRow| {
        lease.position != Position::ShardEnd
            && lease.owner.as_ref().is_some_and(|owner| others.contains(&owner) || leaving.contains(&owner))
    };
    let held = view.leases.iter().filter(is_theirs).count();
    let share = held.div_ceil(others.len() + 1);
    limit.map_or(share, |limit| share.min(usize::try_from(limit.get()).unwrap_or(usize::MAX)))
}

/// Between two looks at what the worker has seen of its group anyway: they cost no call.
const LOOK: Duration = Duration::from_secs(1);

/// Says how many shards fall to this worker should another one leave, whenever a member has come or gone: at a deploy one change
/// follows another. Never returns.
pub(super) async fn watch(
    handle: &Handle,
    limit: Option<NonZeroU32>,
    mut prepare: impl AsyncFnMut(usize),
) -> Infallible {
    let mut members = BTreeSet::new();
    loop {
        sleep(LOOK).await;
        let status = handle.status();
        let Some(me) = status.worker else { continue };
        let now = alive(&status.fleet);
        // Before its first listing it knows not even itself.
        if now.contains(&me) && now != members {
            members = now;
            prepare(when_one_leaves(&status.fleet, &me, limit)).await;
        }
    }
}

fn alive(view: &GroupView) -> BTreeSet<WorkerId> {
    view.workers.iter().filter(|row| row.state == WorkerState::Alive).map(|row| row.id.clone()).collect()
}

/// The share that falls to this worker when the one leaves that has most.
fn when_one_leaves(view: &GroupView, me: &WorkerId, limit: Option<NonZeroU32>) -> usize {
    let held_by = |worker: &WorkerId| {
        let held = view.leases.iter().filter(|row| row.position != Position::ShardEnd);
        held.filter(|row| row.owner.as_ref() == Some(worker)).count()
    };
    let others: Vec<_> = alive(view).into_iter().filter(|worker| worker != me).collect();
    let most = others.iter().map(held_by).max().unwrap_or_default();
    // As many stay as there are others now: all but one of them, and this one.
    let share = most.div_ceil(others.len().max(1));
    limit.map_or(share, |limit| {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        share.min(limit.saturating_sub(held_by(me)))
    })
}

#[cfg(test)]
mod tests {
    use rokini::lease::{LeaseRow, WorkerId, WorkerRow};

    use super::*;

    #[test]
    fn the_share_is_even_and_of_what_others_hold() {
        let id = |name: &str| -> WorkerId { format!("{name}#1").parse().unwrap() };
        let mut view = GroupView::default();
        assert_eq!(of(&view, Some("w"), None), 0);
        view.workers = ["a", "b"].map(|name| WorkerRow::joining(id(name), None)).into();
        view.leases = (0..21)
            .map(|n| {
                let key = format!("orders@1#shardId-{n:012}").parse().unwrap();
                let mut lease = LeaseRow::new(key, Position::TrimHorizon);
                lease.owner = Some(id(if n % 2 == 0 { "a" } else { "b" }));
                lease
            })
            .collect();
        assert_eq!(of(&view, Some("w"), None), 7);
        assert_eq!(of(&view, None, NonZeroU32::new(3)), 3);
        // It replaces `b`: of what `a` has it is half.
        assert_eq!(of(&view, Some("b"), None), 6);
        // One goes as this one comes: half of all that there is.
        view.workers[1].state = WorkerState::Leaving;
        assert_eq!(of(&view, Some("w"), None), 11);
        view.workers[0].state = WorkerState::Fenced;
        view.workers[1].state = WorkerState::Fenced;
        assert_eq!(of(&view, Some("b"), None), 0);
        for lease in &mut view.leases {
            lease.position = Position::ShardEnd;
        }
        assert_eq!(of(&view, Some("w"), None), 0);
    }
    #[test]
    fn what_falls_to_a_worker_when_another_one_leaves_is_its_share_of_the_largest() {
        let id = |name: &str| -> WorkerId { format!("{name}#1").parse().unwrap() };
        // `a` has 4, `b` 7, `c` 1, and one is ended.
        let leases = (0..13)
            .map(|n| {
                let key = format!("orders@1#shardId-{n:012}").parse().unwrap();
                let position = if n == 12 { Position::ShardEnd } else { Position::TrimHorizon };
                let mut lease = LeaseRow::new(key, position);
                lease.owner = Some(id(if n < 4 {
                    "a"
                } else if n < 11 {
                    "b"
                } else {
                    "c"
                }));
                lease
            })
            .collect();
        let workers = ["a", "b", "c"].map(|name| WorkerRow::joining(id(name), None)).into();
        let mut view = GroupView { workers, leases, ..GroupView::default() };
        assert_eq!(when_one_leaves(&view, &id("a"), None), 4, "half of 7");
        assert_eq!(when_one_leaves(&view, &id("b"), None), 2, "half of 4");
        assert_eq!(when_one_leaves(&view, &id("a"), NonZeroU32::new(6)), 2, "it has 4 of 6");
        view.workers[1].state = WorkerState::Leaving;
        assert_eq!(when_one_leaves(&view, &id("a"), None), 1, "one other is left");
        view.workers[2].state = WorkerState::Fenced;
        assert_eq!(when_one_leaves(&view, &id("a"), None), 0);
    }
}
