//! `rokini group move` and `drain`.

use std::time::Duration;

use rokini::lease::{
    AssignmentPolicy, GroupView, LeaseKey, Listing, OrderId, WorkerId, WorkerName, WorkerState, pins, plan,
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

/// Move a shard to another worker, and keep it there
///
/// Its owner finishes what it has in hand, stores the position and hands the shard over. The worker that gets it must live, and
/// keeps it for as long as it takes part and can read the stream: the group spreads its other shards, which may move to make up
/// for it. That ends when the worker does, with another move, with `group undo`, and with --unpin; the children of the shard go
/// where there is room. To empty a worker, use `group drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = MOVE_EXAMPLES)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// The shard, by its id or its number
    shard: ShardName,
    /// The name of the worker that is to have it
    #[arg(required_unless_present = "unpin")]
    worker: Option<WorkerName>,
    /// Keep it with no worker any more: it stays where it is until the group moves it, to spread its shards
    #[arg(long, conflicts_with_all = ["worker", "wait"])]
    unpin: bool,
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
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// How long to wait until it is done; 0 gives the order and ends
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::args::duration)]
    wait: Duration,
}

const MOVE_EXAMPLES: &str = "\
Examples:
  rokini group move billing 3 worker-2
  rokini group move billing 3 --unpin";

const DRAIN_EXAMPLES: &str = "\
Examples:
  rokini group drain billing worker-2 --wait 2m";

pub(crate) async fn move_shard(args: MoveArgs, context: &Context) -> Result<Status, CliError> {
    let mut handle = args.group.open().await?;
    handle.scope.stream = args.stream;
    handle.scope.shards = vec![args.shard];
    let key = handle.leases()?[0].key.clone();
    let Some(worker) = args.worker else { return unpin(context, &handle, key, args.wait.dry_run).await };
    refuse_silent(&handle, &worker, "takes no shard").await?;
    let operator = handle.operator();
    let from = operator.move_plan(&key, &worker).await.map_err(|error| handle.refusal(error))?;
    match what_follows(&handle.view, &key, &worker) {
        Follows::Undone(why) => context.ui.warn(why),
        Follows::Moves(what) if !context.json => context.ui.info(what),
        _ => {}
    }
    if args.wait.dry_run {
        let said = match from.name == worker {
            true => format!("would keep {} with {worker}, which has it", key.shard),
            false => format!("would move {} from {} to {worker}", key.shard, from.name),
        };
        return tell_plan(context, &handle, &said, vec![key]).await;
    }
    let order = operator.move_lease(&key, &worker).await.map_err(|error| handle.refusal(error))?;
    let done = wait(&handle, args.wait.wait, |view| {
        let owner = view.leases.iter().find(|row| row.key == key).and_then(|row| row.owner.as_ref());
        owner.is_some_and(|owner| owner.name == worker)
    });
    let done = done.await?;
    let what = format!("{} to {worker}", key.shard);
    let order = Order { id: order, leases: vec![key] };
    tell(context, &handle, order, done, &format!("moved {what}"), &format!("asked to move {what}")).await
}

async fn unpin(
    context: &Context,
    handle: &GroupHandle,
    key: LeaseKey,
    dry_run: bool,
) -> Result<Status, CliError> {
    let operator = handle.operator();
    let pin = operator.unpin_plan(&key).await.map_err(|error| handle.refusal(error))?;
    if dry_run {
        let said = format!("would no longer keep {} with {}", key.shard, pin.name);
        return tell_plan(context, handle, &said, vec![key]).await;
    }
    let order = operator.unpin(&key).await.map_err(|error| handle.refusal(error))?;
    let said = format!("no longer keeps {} with {}", key.shard, pin.name);
    tell(context, handle, Order { id: order, leases: vec![key] }, true, &said, "").await
}

pub(crate) async fn drain(args: DrainArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    refuse_silent(&handle, &args.worker, "gives up no shard in order").await?;
    if args.wait.dry_run {
        let (worker, keys) =
            handle.operator().drain_plan(&args.worker).await.map_err(|error| handle.refusal(error))?;
        let said = format!("would empty {} of {}", worker.name, count(keys.len(), "shard"));
        return tell_plan(context, &handle, &said, keys).await;
    }
    let (order, worker) =
        handle.operator().drain(&args.worker).await.map_err(|error| handle.refusal(error))?;
    let held = handle.view.leases.iter().filter(|row| row.owner.as_ref() == Some(&worker));
    let leases: Vec<LeaseKey> = held.map(|row| row.key.clone()).collect();
    let done = wait(&handle, args.wait.wait, |view| {
        let gone = !view.workers.iter().any(|row| row.id == worker && row.state == WorkerState::Alive);
        gone && view.leases.iter().all(|row| row.owner.as_ref() != Some(&worker))
    });
    let done = done.await?;
    let of = format!("{} of {}", count(leases.len(), "shard"), args.worker);
    let order = Order { id: order, leases };
    tell(context, &handle, order, done, &format!("gave {of} to others"), &format!("asked for {of}")).await
}

/// An order that was given, and the leases that it is about.
struct Order {
    id: OrderId,
    leases: Vec<LeaseKey>,
}

/// What is printed as JSON of an order; `None` for one that was only to be shown.
fn shown(handle: &GroupHandle, order: Option<OrderId>, keys: &[LeaseKey], done: bool) -> serde_json::Value {
    let leases: Vec<String> = keys.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "group": handle.group.to_string(), "order": order, "done": done, "dry_run": order.is_none(), "leases": leases,
    })
}

/// What the group does about a move.
#[derive(Debug, PartialEq, Eq)]
enum Follows {
    Nothing,
    /// It moves others, to even loads out.
    Moves(String),
    /// It may take the move back.
    Undone(String),
}

/// What follows from the plan that the group's workers have, as far as its rows tell.
fn what_follows(view: &GroupView, key: &LeaseKey, to: &WorkerName) -> Follows {
    let alive = |view: &GroupView, id: &WorkerId| {
        view.workers.iter().any(|row| row.id == *id && row.state == WorkerState::Alive)
    };
    let mut after = view.clone();
    let target = view.workers.iter().map(|row| &row.id).find(|id| id.name == *to && alive(view, id));
    let (Some(target), Some(row)) = (target, after.leases.iter_mut().find(|row| row.key == *key)) else {
        return Follows::Nothing;
    };
    (row.owner, row.pin, row.claim) = (Some(target.clone()), Some(target.clone()), None);
    if !pins(&after).contains_key(key) {
        return Follows::Undone(format!(
            "{to} does not keep it: a worker of the group is of an earlier release, or {to} is kept as many shards with as its \
             `max_leases` allows; where that leaves loads uneven, the group moves it on within half a minute"
        ));
    }
    let policies = view.workers.iter().filter(|row| row.state == WorkerState::Alive);
    if policies.clone().any(|row| row.report.plan.policy != AssignmentPolicy::Even.name()) {
        return Follows::Nothing;
    }
    let moves: Vec<String> = plan(&after, &AssignmentPolicy::Even)
        .iter()
        .filter(|to_do| to_do.from.as_ref() == Some(target))
        .map(|to_do| format!("{} to {}", to_do.key.shard, to_do.to.name))
        .collect();
    match moves.is_empty() {
        true => Follows::Nothing,
        false => Follows::Moves(format!("to even that out, the group then moves {}", moves.join(", "))),
    }
}

/// What an order would do.
async fn tell_plan(
    context: &Context,
    handle: &GroupHandle,
    said: &str,
    keys: Vec<LeaseKey>,
) -> Result<Status, CliError> {
    context.show(&shown(handle, None, &keys, false), || format!("{said}\n")).await?;
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
    order: Order,
    done: bool,
    said: &str,
    asked: &str,
) -> Result<Status, CliError> {
    let group = &handle.group;
    let result = shown(handle, Some(order.id), &order.leases, done);
    context.show(&result, || format!("{}\n", if done { said } else { asked })).await?;
    if !done && !context.json {
        context.ui.warn(format_args!(
            "it is not done yet: handlers finish what they have in hand; `rokini group show {group}` shows how it gets on"
        ));
    }
    if !context.json {
        context.ui.info(format_args!("`rokini group undo {group} {}` takes this back", order.id));
    }
    Ok(if done { Status::DONE } else { Status::FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::{LeaseRow, PLAN_VERSION, PlanId, Position, WorkerRow};

    #[test]
    fn what_a_move_leads_to_is_said() {
        let id = |name: &str| -> WorkerId { format!("{name}#1").parse().unwrap() };
        let view = |held: &[(&str, usize)]| {
            let mut view = GroupView::default();
            for (name, leases) in held {
                let mut worker = WorkerRow::joining(id(name), None);
                worker.report.plan = PlanId { policy: "even".to_owned(), version: PLAN_VERSION };
                view.workers.push(worker);
                for _ in 0..*leases {
                    let key = format!("s@1#{}", view.leases.len()).parse().unwrap();
                    let mut lease = LeaseRow::new(key, Position::TrimHorizon);
                    lease.owner = Some(id(name));
                    view.leases.push(lease);
                }
            }
            view
        };
        let of_first = |view: &GroupView| what_follows(view, &view.leases[0].key, &id("b").name);
        let Follows::Moves(moves) = of_first(&view(&[("a", 2), ("b", 2)])) else { panic!("one comes back") };
        assert_eq!(moves, "to even that out, the group then moves 2 to a");
        assert_eq!(of_first(&view(&[("a", 2), ("b", 1)])), Follows::Nothing, "they only change places");
        assert_eq!(of_first(&view(&[("a", 3), ("b", 1)])), Follows::Nothing);
        let mut ended = view(&[("a", 2), ("b", 2)]);
        ended.leases[3].position = Position::ShardEnd;
        assert_eq!(of_first(&ended), Follows::Nothing, "what is read to its end is no load");
        let mut old = view(&[("a", 2), ("b", 2)]);
        old.workers[0].report.plan.version = 2;
        assert!(matches!(of_first(&old), Follows::Undone(_)));
        let mut weighted = view(&[("a", 2), ("b", 2)]);
        weighted.workers[0].report.plan.policy = "throughput".to_owned();
        assert_eq!(of_first(&weighted), Follows::Nothing, "rates are not known here");
    }
}
