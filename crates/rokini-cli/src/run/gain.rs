//! How many shards a worker is about to get from others.

use std::num::NonZeroU32;

use rokini::ConsumerConfig;
use rokini::lease::{DynamoStore, GroupId, GroupView, LeaseStore, Listing, Position, WorkerState};

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
}
