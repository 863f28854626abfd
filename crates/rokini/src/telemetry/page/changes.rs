//! What changed in a group between two listings, for who is no worker of it and hears no events. Pure.

use std::collections::BTreeMap;

use rokini_lease::{GroupView, LeaseKey, LeaseRow, WorkerState};
use serde_json::{Value, json};

/// What is different, in the form of events.
pub(super) fn changes(before: &GroupView, now: &GroupView, at_millis: u64) -> Vec<Value> {
    let mut changes = Vec::new();
    let mut tell = |code: &str, text: String, key: Option<&LeaseKey>| {
        changes.push(json!({
            "at": at_millis,
            "code": code,
            "text": text,
            "stream": key.map(|key| key.stream.as_str()),
            "shard": key.map(|key| key.shard.as_str()),
            "detail": "",
        }));
    };
    for row in &now.workers {
        let name = &row.id.name;
        let old = before.workers.iter().find(|old| old.id == row.id).map(|old| old.state);
        match (old, row.state) {
            (None, WorkerState::Alive) => tell("joined", format!("{name} takes part"), None),
            (Some(old), WorkerState::Leaving) if old != row.state => {
                tell("leaving", format!("{name} gives up its shards"), None);
            }
            (Some(old), WorkerState::Fenced) if old != row.state => {
                tell("fenced", format!("{name} was declared dead"), None);
            }
            _ => {}
        }
    }
    for row in before.workers.iter().filter(|row| !now.workers.iter().any(|other| other.id == row.id)) {
        tell("left", format!("{} is gone", row.id.name), None);
    }
    for order in now.group.orders.iter().filter(|order| !before.group.orders.contains(order)) {
        tell("order", format!("{} {}", order.kind.name(), order.what), None);
    }
    let leases: BTreeMap<&LeaseKey, &LeaseRow> = before.leases.iter().map(|row| (&row.key, row)).collect();
    for row in &now.leases {
        let key = Some(&row.key);
        let Some(old) = leases.get(&row.key) else {
            tell("lease-made", format!("at {}", row.position), key);
            continue;
        };
        if old.owner != row.owner {
            let to = row.owner.as_ref().map_or("nobody", |owner| owner.name.as_str());
            tell("owner", format!("goes to {to}"), key);
        }
        if old.paused != row.paused {
            tell(if row.paused { "paused" } else { "resumed" }, "by an operator".to_owned(), key);
        }
        if !old.position.is_shard_end() && row.position.is_shard_end() {
            tell("ended", "is read to its end".to_owned(), key);
        }
        match (stalled(before, &row.key), stalled(now, &row.key)) {
            (None, Some(cause)) => tell("stalled", cause.to_owned(), key),
            (Some(cause), None) => tell("recovered", format!("it was {cause}"), key),
            _ => {}
        }
    }
    changes
}

/// The cause that the owner of a shard tells.
fn stalled<'a>(view: &'a GroupView, key: &LeaseKey) -> Option<&'a str> {
    let mut reports = view.workers.iter().flat_map(|row| &row.report.shards);
    reports.find(|report| report.key == *key)?.stalled.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini_lease::{Position, WorkerRow};

    #[test]
    fn changes_are_told_once() {
        let mut before = GroupView::default();
        before.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        before.leases.push(LeaseRow::new("s@1#a".parse().unwrap(), Position::TrimHorizon));
        let codes = |now: &GroupView| -> Vec<String> {
            changes(&before, now, 5)
                .iter()
                .map(|change| change["code"].as_str().unwrap().to_owned())
                .collect()
        };
        assert!(codes(&before).is_empty());
        let mut now = before.clone();
        now.leases[0].owner = Some("w#1".parse().unwrap());
        now.leases[0].position = Position::ShardEnd;
        now.workers[0].state = WorkerState::Leaving;
        now.workers.push(WorkerRow::joining("x#2".parse().unwrap(), None));
        assert_eq!(codes(&now), ["leaving", "joined", "owner", "ended"]);
        now.workers.remove(0);
        assert!(codes(&now).contains(&"left".to_owned()));
        assert_eq!(changes(&before, &now, 5)[2]["shard"], "a");
    }
}
