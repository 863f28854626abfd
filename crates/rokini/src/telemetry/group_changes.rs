//! What changed in a group between two listings, for who is no worker of it and hears no events. Pure.

use std::collections::BTreeMap;

use rokini_lease::{GroupView, LeaseKey, LeaseRow, WorkerId, WorkerName, WorkerRow, WorkerState};

/// Something that is different between two listings of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupChange {
    /// A stable word: `joined`, `leaving`, `fenced`, `left`, `not-ready`, `ready`, `order`, `lease-made`, `owner`, `paused`, `resumed`, `pinned`,
    /// `unpinned`, `sought`, `ended`, `stalled` or `recovered`.
    pub code: &'static str,
    /// The shard that it is about.
    pub key: Option<LeaseKey>,
    /// The worker that it is about, or the one that has the shard now.
    pub worker: Option<WorkerName>,
    /// What the shard, the worker or else the group does, in words that stand behind its name: `goes from a to b`.
    pub what: String,
}

impl GroupChange {
    fn of_worker(id: &WorkerId, code: &'static str, what: &str) -> Self {
        Self { code, key: None, worker: Some(id.name.clone()), what: what.to_owned() }
    }

    fn of_shard(row: &LeaseRow, code: &'static str, what: String) -> Self {
        let worker = row.owner.as_ref().map(|owner| owner.name.clone());
        Self { code, key: Some(row.key.clone()), worker, what }
    }
}

/// What is different: workers first, then orders, then shards.
#[must_use]
pub fn group_changes(before: &GroupView, now: &GroupView) -> Vec<GroupChange> {
    let mut changes = of_workers(before, now);
    let orders = now.group.orders.iter().filter(|order| !before.group.orders.contains(order));
    changes.extend(orders.map(|order| GroupChange {
        code: "order",
        key: None,
        worker: None,
        what: format!("has an order: {} {} ({})", order.kind.name(), order.what, order.id),
    }));
    let leases: BTreeMap<&LeaseKey, &LeaseRow> = before.leases.iter().map(|row| (&row.key, row)).collect();
    for row in &now.leases {
        let Some(old) = leases.get(&row.key) else {
            changes.push(GroupChange::of_shard(row, "lease-made", format!("begins at {}", row.position)));
            continue;
        };
        of_lease(old, row, (before, now), &mut changes);
    }
    changes
}

fn of_workers(before: &GroupView, now: &GroupView) -> Vec<GroupChange> {
    let mut changes = Vec::new();
    for row in &now.workers {
        let old = before.workers.iter().find(|old| old.id == row.id).map(|old| old.state);
        let change = match (old, row.state) {
            (None, WorkerState::Alive) => ("joined", "takes part"),
            (Some(old), WorkerState::Leaving) if old != row.state => ("leaving", "gives up its shards"),
            (Some(old), WorkerState::Fenced) if old != row.state => ("fenced", "was declared dead"),
            (Some(_), WorkerState::Alive) => {
                changes.extend(of_troubles(before, row));
                continue;
            }
            _ => continue,
        };
        changes.push(GroupChange::of_worker(&row.id, change.0, change.1));
    }
    let gone = before.workers.iter().filter(|row| !now.workers.iter().any(|other| other.id == row.id));
    changes.extend(gone.map(|row| GroupChange::of_worker(&row.id, "left", "is gone")));
    changes
}

/// What a worker says that keeps it from doing its part, where it says something else than before.
fn of_troubles(before: &GroupView, row: &WorkerRow) -> Option<GroupChange> {
    let old = before.workers.iter().find(|old| old.id == row.id)?;
    let codes = |row: &WorkerRow| -> Vec<String> {
        row.report.troubles.iter().map(|trouble| trouble.code.clone()).collect()
    };
    if codes(old) == codes(row) {
        return None;
    }
    let said: Vec<&str> = row.report.troubles.iter().map(|trouble| trouble.message.as_str()).collect();
    Some(match said.is_empty() {
        true => GroupChange::of_worker(&row.id, "ready", "does its part again"),
        false => GroupChange::of_worker(&row.id, "not-ready", &format!("is not ready: {}", said.join("; "))),
    })
}

fn of_lease(
    old: &LeaseRow,
    row: &LeaseRow,
    (before, now): (&GroupView, &GroupView),
    changes: &mut Vec<GroupChange>,
) {
    let mut change = |code, what: String| changes.push(GroupChange::of_shard(row, code, what));
    if old.owner != row.owner {
        let name = |row: &'_ LeaseRow| {
            row.owner.as_ref().map_or_else(|| "nobody".to_owned(), |owner| owner.name.to_string())
        };
        change("owner", format!("goes from {} to {}", name(old), name(row)));
    }
    match (old.paused, row.paused) {
        (false, true) => change("paused", "was paused by an operator".to_owned()),
        (true, false) => change("resumed", "was resumed by an operator".to_owned()),
        _ => {}
    }
    match &row.pin {
        Some(pin) if old.pin != row.pin => {
            change("pinned", format!("is kept with {} by an operator", pin.name));
        }
        None if old.pin.is_some() => change("unpinned", "is no longer kept with a worker".to_owned()),
        _ => {}
    }
    if old.order != row.order {
        change("sought", format!("was moved from {} to {}", old.position, row.position));
    }
    if !old.position.is_shard_end() && row.position.is_shard_end() {
        change("ended", "is read to its end".to_owned());
    }
    match (progress(before, old), progress(now, row)) {
        (was, Progress::None(cause)) if was != Progress::None(cause.clone()) => {
            change("stalled", format!("makes no progress: {cause}"));
        }
        (Progress::None(cause), Progress::Some) => {
            change("recovered", format!("makes progress again; it was: {cause}"));
        }
        _ => {}
    }
}

/// What the owner of a shard tells of it.
#[derive(PartialEq)]
enum Progress {
    /// It makes progress, or nobody has it.
    Some,
    /// It makes none, for this cause.
    None(String),
    /// Its owner does not say.
    Untold,
}

fn progress(view: &GroupView, row: &LeaseRow) -> Progress {
    let Some(owner) = view.workers.iter().find(|worker| Some(&worker.id) == row.owner.as_ref()) else {
        return Progress::Some;
    };
    match owner.report.of_shard(&row.key) {
        Some(told) => told.and_then(|health| health.stalled).map_or(Progress::Some, Progress::None),
        None => Progress::Untold,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use rokini_lease::{Position, ShardHealth, WorkerTrouble};

    #[test]
    fn changes_are_told_once() {
        let mut before = GroupView::default();
        before.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        before.leases.push(LeaseRow::new("s@1#a".parse().unwrap(), Position::TrimHorizon));
        let codes = |before: &GroupView, now: &GroupView| -> Vec<&'static str> {
            group_changes(before, now).iter().map(|change| change.code).collect()
        };
        assert!(codes(&before, &before).is_empty());
        let mut troubled = before.clone();
        troubled.workers[0].report.troubles.push(WorkerTrouble::new("coordination-stalled", "for 10 s"));
        assert_eq!(codes(&before, &troubled), ["not-ready"]);
        let mut longer = before.clone();
        longer.workers[0].report.troubles.push(WorkerTrouble::new("coordination-stalled", "for 14 s"));
        assert!(codes(&troubled, &longer).is_empty(), "it was told");
        assert_eq!(codes(&longer, &before), ["ready"]);
        let mut now = before.clone();
        now.leases[0].owner = Some("w#1".parse().unwrap());
        now.leases[0].position = Position::ShardEnd;
        let mut report = ShardHealth::new(now.leases[0].key.clone(), "handling", Duration::ZERO);
        report.stalled = Some("handler".to_owned());
        now.workers[0].report.shards.push(report);
        now.workers[0].state = WorkerState::Leaving;
        now.workers.push(WorkerRow::joining("x#2".parse().unwrap(), None));
        assert_eq!(codes(&before, &now), ["leaving", "joined", "owner", "ended", "stalled"]);
        let owner = &group_changes(&before, &now)[2];
        assert_eq!(owner.what, "goes from nobody to w");
        assert_eq!(owner.key.as_ref().unwrap().shard.as_str(), "a");
        assert_eq!(owner.worker.as_ref().unwrap().as_str(), "w");

        let mut other_cause = now.clone();
        other_cause.workers[0].report.shards[0].stalled = Some("reads".to_owned());
        assert_eq!(codes(&now, &other_cause), ["stalled"]);
        other_cause.workers[0].report.shards.clear();
        assert_eq!(codes(&now, &other_cause), ["recovered"]);
        now.workers.remove(0);
        assert!(codes(&before, &now).contains(&"left"));
    }

    #[test]
    fn a_stall_that_the_row_has_no_room_for_is_neither_over_nor_new() {
        let mut told = GroupView::default();
        told.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        told.leases.push(LeaseRow::new("s@1#a".parse().unwrap(), Position::TrimHorizon));
        told.leases[0].owner = Some("w#1".parse().unwrap());
        let mut summarized = told.clone();
        let mut report = ShardHealth::new(told.leases[0].key.clone(), "handling", Duration::ZERO);
        report.stalled = Some("handler".to_owned());
        told.workers[0].report.shards.push(report);
        let report = &mut summarized.workers[0].report;
        report.untold = 1;
        let mut untold = summarized.clone();
        summarized.workers[0].report.summaries =
            vec!["stalled=handler lasting=1 lag=1 leases=s@1#:a".parse().unwrap()];
        assert_eq!(group_changes(&told, &summarized), []);
        assert_eq!(group_changes(&summarized, &told), []);
        assert_eq!(group_changes(&told, &untold), [], "nobody says that it is over");
        untold.workers[0].report.untold = 0;
        assert_eq!(group_changes(&summarized, &untold)[0].code, "recovered");
    }

    #[test]
    fn a_pause_and_an_order_are_told() {
        let mut before = GroupView::default();
        before.leases.push(LeaseRow::new("s@1#a".parse().unwrap(), Position::TrimHorizon));
        let mut now = before.clone();
        now.leases[0].paused = true;
        let what = |before: &GroupView, now: &GroupView| {
            let changes = group_changes(before, now);
            changes.iter().map(|change| format!("{}: {}", change.code, change.what)).collect::<Vec<_>>()
        };
        assert_eq!(what(&before, &now), ["paused: was paused by an operator"]);
        assert_eq!(what(&now, &before), ["resumed: was resumed by an operator"]);
        (now.leases[0].paused, now.leases[0].pin) = (false, Some("w#1".parse().unwrap()));
        assert_eq!(what(&before, &now), ["pinned: is kept with w by an operator"]);
        assert_eq!(what(&now, &before), ["unpinned: is no longer kept with a worker"]);
    }
}
