//! `rokini group events`: what changes in a group, as its rows show it.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::format_time;
use rokini::lease::{GroupView, LeaseKey, LeaseRow, Listing, WallClock, WorkerId, WorkerState};
use serde::Serialize;
use tokio::time::sleep;

use super::group_handle::GroupArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Show what happens in a group: workers that come and go, shards that move, stop and end, orders
///
/// As the rows of the group show it, looked at every second, whichever worker did it. The events of a single worker are in its log.
/// Ends after the time of --for; with --follow it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Go on until interrupted
    #[arg(long, short, conflicts_with = "length")]
    follow: bool,
    /// For how long to watch
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = crate::args::duration_with_unit)]
    length: Duration,
}

const EXAMPLES: &str = "\
Examples:
  rokini group events billing --follow
  rokini group events billing --for 1m --json";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct GroupEvent {
    at: String,
    group: String,
    /// A stable word.
    code: &'static str,
    worker: Option<String>,
    stream: Option<String>,
    shard: Option<String>,
    what: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let output = Output::stdout()?;
    let begun = tokio::time::Instant::now();
    let mut before = handle.view.clone();
    while args.follow || begun.elapsed() < args.length {
        sleep(PAUSE).await;
        let now = handle.table.list(&handle.group, Listing::All).await?;
        let at = format_time(WallClock::system().millis());
        for change in changes(&before, &now) {
            let event = GroupEvent { at: at.clone(), group: handle.group.to_string(), ..change };
            match context.json {
                true => output.json(&event).await?,
                false => output.write(line(&event).into_bytes()).await?,
            }
        }
        before = now;
    }
    Ok(Status::DONE)
}

fn line(event: &GroupEvent) -> String {
    let about = event.shard.as_deref().or(event.worker.as_deref()).unwrap_or(&event.group);
    format!("{} {about} {}: {}\n", event.at, event.code, event.what)
}

/// What is different. Pure.
fn changes(before: &GroupView, now: &GroupView) -> Vec<GroupEvent> {
    let mut changes = Vec::new();
    let event = |code, what: String| GroupEvent {
        at: String::new(),
        group: String::new(),
        code,
        worker: None,
        stream: None,
        shard: None,
        what,
    };
    let of_worker = |id: &WorkerId, code, what: &str| GroupEvent {
        worker: Some(id.name.to_string()),
        ..event(code, what.to_owned())
    };
    for row in &now.workers {
        let old = before.workers.iter().find(|old| old.id == row.id);
        match (old.map(|old| old.state), row.state) {
            (None, WorkerState::Alive) => changes.push(of_worker(&row.id, "joined", "it takes part")),
            (Some(old), WorkerState::Leaving) if old != row.state => {
                changes.push(of_worker(&row.id, "leaving", "it gives up its shards"));
            }
            (Some(old), WorkerState::Fenced) if old != row.state => {
                changes.push(of_worker(&row.id, "fenced", "it was declared dead"));
            }
            _ => {}
        }
    }
    for row in before.workers.iter().filter(|row| !now.workers.iter().any(|other| other.id == row.id)) {
        changes.push(of_worker(&row.id, "left", "its row is gone"));
    }
    for order in now.group.orders.iter().filter(|order| !before.group.orders.contains(order)) {
        changes.push(event("order", format!("{} {} ({})", order.kind.name(), order.what, order.id)));
    }
    let leases: BTreeMap<&LeaseKey, &LeaseRow> = before.leases.iter().map(|row| (&row.key, row)).collect();
    for row in &now.leases {
        let of_shard = |code, what: String| GroupEvent {
            stream: Some(row.key.stream.to_string()),
            shard: Some(row.key.shard.to_string()),
            worker: row.owner.as_ref().map(|owner| owner.name.to_string()),
            ..event(code, what)
        };
        let Some(old) = leases.get(&row.key) else {
            changes.push(of_shard("lease-made", format!("at {}", row.position)));
            continue;
        };
        if old.owner != row.owner {
            let name = |owner: &Option<WorkerId>| {
                owner.as_ref().map_or_else(|| "nobody".to_owned(), |owner| owner.name.to_string())
            };
            changes.push(of_shard("owner", format!("from {} to {}", name(&old.owner), name(&row.owner))));
        }
        if old.paused != row.paused {
            changes
                .push(of_shard(if row.paused { "paused" } else { "resumed" }, "by an operator".to_owned()));
        }
        if old.order != row.order {
            changes.push(of_shard("sought", format!("from {} to {}", old.position, row.position)));
        }
        if !old.position.is_shard_end() && row.position.is_shard_end() {
            changes.push(of_shard("ended", "it is read to its end".to_owned()));
        }
        let (was, is) = (stalled(before, &row.key), stalled(now, &row.key));
        match (was, is) {
            (was, Some(cause)) if was.as_ref() != Some(&cause) => changes.push(of_shard("stalled", cause)),
            (Some(cause), None) => changes.push(of_shard("recovered", format!("it was {cause}"))),
            _ => {}
        }
    }
    changes
}

/// The cause that the owner of a shard tells.
fn stalled(view: &GroupView, key: &LeaseKey) -> Option<String> {
    let reports = view.workers.iter().flat_map(|row| &row.report.shards);
    reports.filter(|report| report.key == *key).find_map(|report| report.stalled.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::{Position, ShardHealth, WorkerRow};

    #[test]
    fn changes_are_told_once() {
        let mut before = GroupView::default();
        before.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        before.leases.push(LeaseRow::new("s@1#a".parse().unwrap(), Position::TrimHorizon));
        let codes =
            |now: &GroupView| changes(&before, now).iter().map(|change| change.code).collect::<Vec<_>>();
        assert!(codes(&before).is_empty());
        let mut now = before.clone();
        now.leases[0].owner = Some("w#1".parse().unwrap());
        now.leases[0].position = Position::ShardEnd;
        let key = now.leases[0].key.clone();
        let mut report = ShardHealth::new(key, "handling", Duration::ZERO);
        report.stalled = Some("handler".to_owned());
        now.workers[0].report.shards.push(report);
        now.workers[0].state = WorkerState::Leaving;
        now.workers.push(WorkerRow::joining("x#2".parse().unwrap(), None));
        assert_eq!(codes(&now), ["leaving", "joined", "owner", "ended", "stalled"]);
        now.workers.remove(0);
        assert!(codes(&now).contains(&"left"));
    }
}
