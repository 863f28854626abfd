//! `rokini group delete`.

use super::group_handle::GroupArgs;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Delete everything a group has in the table: positions, start positions, workers
///
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
    let deleted = handle.operator().delete_group(args.force).await;
    context.ui.progress_done();
    let report = deleted.map_err(|error| handle.refusal(error))?;
    for row in &report.left {
        context.ui.warn(format_args!("not deleted: {row}"));
    }
    let left: Vec<_> = report.left.iter().map(|row| row.row.clone()).collect();
    let (leases, streams, workers) = (report.leases, report.streams, report.workers);
    let shown = serde_json::json!({
        "group": group.to_string(), "workers": workers, "leases": leases, "streams": streams, "left": left,
    });
    let (leases, streams, workers) =
        (count(leases, "lease"), count(streams, "stream"), count(workers, "worker"));
    context.show(&shown, || format!("deleted group {group}: {leases}, {streams}, {workers}\n")).await?;
    Ok(if report.left.is_empty() { Status::DONE } else { Status::FAILED })
}
