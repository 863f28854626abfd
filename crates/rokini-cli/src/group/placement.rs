//! `rokini group move` and `drain`.

use std::time::Duration;

use rokini::lease::{
    GroupView, LeaseKey, LeaseRow, Listing, OrderId, WorkerId, WorkerName, WorkerRow, WorkerState,
};
use tokio::time::{Instant, sleep};

use super::group_handle::{GroupArgs, GroupHandle};
use super::liveness::{self, Liveness};
use crate::args::ShardName;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Between two looks at the group.
const PAUSE: Duration = Duration::from_millis(500);

/// Move a shard to another worker
///
/// Its owner finishes what it has in hand, stores the position and hands the shard over. The worker that gets it must live.
/// The group goes on spreading its shards: where workers then differ by two or more, it moves one back within half a minute.
/// To empty a worker, use `group drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = MOVE_EXAMPLES)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// The shard, by its id or its number
    shard: ShardName,
    /// The name of the worker that is to have it
    worker: WorkerName,
    /// Of which stream, where several have such a shard: by its name, id or ARN
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Empty a worker, before maintenance: it gives up its shards in order, and takes no more
///
/// Its process goes on without work until it is stopped. Started anew it takes part again, and so it does where the order is
/// taken back (`rokini group undo`).
#[derive(Debug, clap::Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// The name of the worker
    worker: WorkerName,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, clap::Args)]
struct WaitArgs {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long to wait until it is done; 0 gives the order and ends
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::args::duration)]
    wait: Duration,
}

const MOVE_EXAMPLES: &str = "\
Examples:
  rokini group move billing 3 worker-2";

const DRAIN_EXAMPLES: &str = "\
Examples:
  rokini group drain billing worker-2 --wait 2m";

pub(crate) async fn move_shard(args: MoveArgs, context: &Context) -> Result<Status, CliError> {
    let mut handle = args.group.open().await?;
    handle.scope.stream = args.stream;
    handle.scope.shards = vec![args.shard];
    let key = handle.leases()?[0].key.clone();
    refuse_silent(&handle, &args.worker, "takes no shard").await?;
    let operator = handle.operator();
    let from = operator.move_plan(&key, &args.worker).await.map_err(|error| handle.refusal(error))?;
    if let Some(warning) = uneven(&handle.view, &from, &args.worker) {
        context.ui.warn(warning);
    }
    if args.wait.dry_run {
        let said = format!("would move {} from {} to {}", key.shard, from.name, args.worker);
        return tell_plan(context, &handle, &said, &[key]).await;
    }
    let order = operator.move_lease(&key, &args.worker).await.map_err(|error| handle.refusal(error))?;
    let done = wait(&handle, args.wait.wait, |view| {
        let owner = view.leases.iter().find(|row| row.key == key).and_then(|row| row.owner.as_ref());
        owner.is_some_and(|owner| owner.name == args.worker)
    });
    let done = done.await?;
    let what = format!("{} to {}", key.shard, args.worker);
    tell(context, &handle, order, done, &format!("moved {what}"), &format!("asked to move {what}")).await
}

pub(crate) async fn drain(args: DrainArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    refuse_silent(&handle, &args.worker, "gives up no shard in order").await?;
    if args.wait.dry_run {
        let (worker, keys) =
            handle.operator().drain_plan(&args.worker).await.map_err(|error| handle.refusal(error))?;
        let said = format!("would empty {} of {}", worker.name, count(keys.len(), "shard"));
        return tell_plan(context, &handle, &said, &keys).await;
    }
    let (order, worker) =
        handle.operator().drain(&args.worker).await.map_err(|error| handle.refusal(error))?;
    let held = handle.view.leases.iter().filter(|row| row.owner.as_ref() == Some(&worker)).count();
    let done = wait(&handle, args.wait.wait, |view| {
        let gone = !view.workers.iter().any(|row| row.id == worker && row.state == WorkerState::Alive);
        gone && view.leases.iter().all(|row| row.owner.as_ref() != Some(&worker))
    });
    let done = done.await?;
    let of = format!("{} of {}", count(held, "shard"), args.worker);
    tell(context, &handle, order, done, &format!("gave {of} to others"), &format!("asked for {of}")).await
}

/// What the group does about it where workers that read the shard's stream then differ by more than one shard.
fn uneven(view: &GroupView, from: &WorkerId, to: &WorkerName) -> Option<String> {
    let moved = |row: &WorkerRow, held: usize| match &row.id {
        id if id == from => held.saturating_sub(1),
        id if id.name == *to => held + 1,
        _ => held,
    };
    let has = |row: &WorkerRow| {
        let active = |lease: &&LeaseRow| !lease.position.is_shard_end();
        view.leases.iter().filter(active).filter(|lease| lease.owner.as_ref() == Some(&row.id)).count()
    };
    let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive);
    let held: Vec<(usize, &WorkerName)> = alive.map(|row| (moved(row, has(row)), &row.id.name)).collect();
    let (most, least) = (held.iter().max()?, held.iter().min()?);
    (most.0 >= least.0 + 2 && most.1 == to).then(|| {
        format!(
            "{} then has {} and {} has {}: within half a minute the group moves one back; `rokini group drain` empties a \
             worker for good",
            most.1,
            count(most.0, "shard"),
            least.1,
            count(least.0, "shard")
        )
    })
}

/// What an order would do.
async fn tell_plan(
    context: &Context,
    handle: &GroupHandle,
    said: &str,
    keys: &[LeaseKey],
) -> Result<Status, CliError> {
    let leases: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let (group, order) = (handle.group.to_string(), None::<OrderId>);
    let shown = serde_json::json!({
        "group": group, "order": order, "done": false, "dry_run": true, "leases": leases,
    });
    context.show(&shown, || format!("{said}\n")).await?;
    if !context.json {
        context.ui.info("this was a dry run: nothing was done");
    }
    Ok(Status::DONE)
}

/// A worker that sends no heartbeat carries out no order. Those that the group does not have the order itself refuses.
async fn refuse_silent(handle: &GroupHandle, name: &WorkerName, so: &str) -> Result<(), CliError> {
    let rows: Vec<_> = handle.view.workers.iter().filter(|row| row.id.name == *name).cloned().collect();
    let watched = liveness::watch(&handle.table, &handle.group, &rows).await?;
    // Whoever comes meanwhile is watched, too.
    let mut named = watched.liveness.iter().filter(|(id, _)| id.name == *name).peekable();
    let silent = named.peek().is_some()
        && named.all(|(_, liveness)| matches!(liveness, Liveness::Silent | Liveness::Fenced));
    if !silent {
        return Ok(());
    }
    let group = &handle.group;
    Err(CliError::new(
        Status::FAILED,
        format!("worker `{name}` has no heartbeat, so it {so}: it is dead, frozen, or cut off from the table"),
    )
    .next(format!(
        "a live worker takes its shards over within the failover time: `rokini group show {group}` shows whether there \
         is one"
    )))
}

async fn wait(
    handle: &GroupHandle,
    limit: Duration,
    is_done: impl Fn(&GroupView) -> bool + Send + Sync,
) -> Result<bool, CliError> {
    let begun = Instant::now();
    loop {
        if is_done(&handle.table.list(&handle.group, Listing::All).await?) {
            return Ok(true);
        }
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

async fn tell(
    context: &Context,
    handle: &GroupHandle,
    order: OrderId,
    done: bool,
    said: &str,
    asked: &str,
) -> Result<Status, CliError> {
    let group = &handle.group;
    let shown =
        serde_json::json!({ "group": group.to_string(), "order": order, "done": done, "dry_run": false });
    context.show(&shown, || format!("{}\n", if done { said } else { asked })).await?;
    if !done && !context.json {
        context.ui.warn(format_args!(
            "it is not done yet: handlers finish what they have in hand; `rokini group show {group}` shows how it gets on"
        ));
    }
    Ok(if done { Status::DONE } else { Status::FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::Position;

    #[test]
    fn a_move_that_the_group_takes_back_is_warned_of() {
        let id = |name: &str| -> WorkerId { format!("{name}#1").parse().unwrap() };
        let view = |held: &[(&str, usize)]| {
            let mut view = GroupView::default();
            for (name, leases) in held {
                view.workers.push(WorkerRow::joining(id(name), None));
                for _ in 0..*leases {
                    let key = format!("s@1#{}", view.leases.len()).parse().unwrap();
                    let mut lease = LeaseRow::new(key, Position::TrimHorizon);
                    lease.owner = Some(id(name));
                    view.leases.push(lease);
                }
            }
            view
        };
        let warned = |held: &[(&str, usize)]| uneven(&view(held), &id("a"), &id("b").name);
        assert!(warned(&[("a", 2), ("b", 2)]).unwrap().contains("b then has 3 shards and a has 1 shard"));
        assert_eq!(warned(&[("a", 2), ("b", 1)]), None, "they only change places");
        assert_eq!(warned(&[("a", 3), ("b", 1)]), None);
        assert!(warned(&[("a", 2), ("b", 2), ("c", 1)]).unwrap().contains("a has 1 shard"));
        let mut ended = view(&[("a", 2), ("b", 2)]);
        ended.leases[3].position = Position::ShardEnd;
        assert_eq!(uneven(&ended, &id("a"), &id("b").name), None, "what is read to its end is no load");
    }
}
