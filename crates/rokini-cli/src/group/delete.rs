//! `rokini group delete`.

use rokini::lease::{Listing, OperatorError};
use rokini::{KinesisSource, Settings, StreamSource};

use super::group_handle::{GroupArgs, GroupHandle};
use super::liveness;
use crate::aws::Service;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::{count, first_names};

/// Delete everything a group has in the table: positions, start positions, workers
///
/// Where the group registered with its streams for fan-out, that is taken back first; registrations that it found are left.
/// The records stay in the streams: a group of the same name starts anew, at its start position. Refuses while a worker
/// is alive, which takes up to the failover time to find out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Also while workers are alive: they lose their leases, and start anew when they join again
    #[arg(long)]
    force: bool,
    /// Leave the group registered for fan-out, which AWS bills on
    #[arg(long)]
    keep_consumers: bool,
}

const EXAMPLES: &str = "\
Examples:
  rokini group delete billing
  rokini group delete billing --yes --json";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let (group, view) = (&handle.group, &handle.view);
    let action = format!(
        "delete group {group} for good, with the positions of {} in {}",
        count(view.leases.len(), "shard"),
        count(view.streams.len(), "stream")
    );
    let force = if args.force { " --force" } else { "" };
    let next = format!("`rokini group delete {group}{force} --yes` does it without asking");
    confirm(context, args.yes, &action, &next).await?;
    context.ui.progress("watching whether workers are alive ...");
    let operator = handle.operator();
    let watched = if args.force { Ok(None) } else { operator.wait_for_no_heartbeats().await.map(Some) };
    context.ui.progress_done();
    let watched = match watched {
        Ok(watched) => watched,
        // The first that was seen ends the watch.
        Err(OperatorError::Alive { workers, .. }) => {
            return Err(handle.live_workers(&alive(&handle, workers).await?));
        }
        Err(error) => return Err(handle.refusal(error)),
    };
    // Before the rows, which say that they are the group's own.
    let consumers = if args.keep_consumers { Vec::new() } else { deregister(&handle).await? };
    let deleted = match &watched {
        Some(silent) => operator.delete_watched(silent).await,
        None => operator.delete_group(true).await,
    };
    let report = deleted.map_err(|error| handle.refusal(error))?;
    for row in &report.left {
        context.ui.warn(format_args!("not deleted: {row}"));
    }
    let left: Vec<_> = report.left.iter().map(|row| row.row.clone()).collect();
    let (leases, streams, workers) = (report.leases, report.streams, report.workers);
    let shown = serde_json::json!({
        "group": group.to_string(), "workers": workers, "leases": leases, "streams": streams,
        "consumers": consumers, "left": left,
    });
    let (leases, streams, workers) =
        (count(leases, "lease"), count(streams, "stream"), count(workers, "worker"));
    let deregistered: String =
        consumers.iter().map(|consumer| format!("deregistered consumer {consumer}\n")).collect();
    let text = || format!("{deregistered}deleted group {group}: {leases}, {streams}, {workers}\n");
    context.show(&shown, text).await?;
    Ok(if report.left.is_empty() { Status::DONE } else { Status::FAILED })
}

/// The names of all that live, of which one was seen.
async fn alive(handle: &GroupHandle, seen: String) -> Result<String, CliError> {
    let rows = handle.table.list(&handle.group, Listing::Workers).await?.workers;
    let watched = liveness::watch(&handle.table, &handle.group, &rows).await?;
    let alive: Vec<&str> = watched.alive().map(|id| id.name.as_str()).collect();
    Ok(if alive.is_empty() { seen } else { first_names(alive.into_iter()) })
}

/// Takes back what the group registered for fan-out. The consumers, as `<stream>/<name>`.
async fn deregister(handle: &GroupHandle) -> Result<Vec<String>, CliError> {
    let mut gone = Vec::new();
    for row in &handle.view.streams {
        let Some(consumer) = row.consumer.as_ref().filter(|consumer| consumer.owned) else { continue };
        let explain = |error| {
            handle.table.aws.explain(error, Service::Kinesis).next(format!(
                "the group is as it was; `--keep-consumers` deletes it and leaves consumer `{}` of stream `{}` registered",
                consumer.name, row.name
            ))
        };
        let reference = handle.reference(row).map_err(explain)?;
        let source = KinesisSource::new(&handle.table.aws.config, reference, &Settings::default(), 0)
            .map_err(explain)?;
        let Some(fan_out) = source.fan_out() else { continue };
        if fan_out.deregister_consumer(&consumer.name).await.map_err(explain)? {
            gone.push(format!("{}/{}", row.name, consumer.name));
        }
    }
    Ok(gone)
}
