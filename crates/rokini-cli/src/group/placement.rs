//! `rokini group move` and `drain`.

use std::time::Duration;

use rokini::lease::{GroupView, Listing, WorkerName, WorkerState};
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

/// A worker that sends no heartbeat carries out no order. Those that the group does not have the order itself refuses.
async fn refuse_silent(handle: &GroupHandle, name: &WorkerName, so: &str) -> Result<(), CliError> {
    let rows: Vec<_> = handle.view.workers.iter().filter(|row| row.id.name == *name).cloned().collect();
    let watched = liveness::watch(&handle.table, &handle.group, &rows).await?;
    let silent = !watched.liveness.is_empty()
        && watched.liveness.values().all(|liveness| matches!(liveness, Liveness::Silent | Liveness::Fenced));
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
    order: rokini::lease::OrderId,
    done: bool,
    said: &str,
    asked: &str,
) -> Result<Status, CliError> {
    let group = &handle.group;
    let shown = serde_json::json!({ "group": group.to_string(), "order": order, "done": done });
    context.show(&shown, || format!("{}\n", if done { said } else { asked })).await?;
    if !done && !context.json {
        context.ui.warn(format_args!(
            "it is not done yet: handlers finish what they have in hand; `rokini group show {group}` shows how it gets on"
        ));
    }
    Ok(if done { Status::DONE } else { Status::FAILED })
}
