//! `rokini group delete`.

use super::confirm::confirm;
use super::opened::GroupArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Delete everything a group has in the table: positions, start positions, workers
///
/// The records stay in the streams: a group of the same name begins anew at its start position. Refuses while a worker
/// is alive, which it watches for up to the failover time.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also while workers are alive: they lose their leases, and begin anew when they join again
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  rokini group delete billing
  rokini group delete billing --yes --json";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let (group, view) = (&opened.group, &opened.view);
    let question = format!(
        "Delete group {group} with the positions of {} shards in {} streams? They cannot be brought back.",
        view.leases.len(),
        view.streams.len()
    );
    let force = if args.force { " --force" } else { "" };
    let next = format!("`rokini group delete {group}{force} --yes` does it");
    confirm(context, args.yes, &question, &next).await?;
    context.talk.progress("looking whether its workers live ...");
    let deleted = opened.operator().delete_group(args.force).await;
    context.talk.progress_done();
    let report = deleted.map_err(|error| opened.refused(error))?;
    for row in &report.left {
        context.talk.warn(format_args!("left alone: {row}"));
    }
    let output = Output::stdout()?;
    if context.json {
        let left: Vec<_> = report.left.iter().map(|row| row.row.clone()).collect();
        let shown = serde_json::json!({
            "group": group.to_string(), "workers": report.workers, "leases": report.leases, "streams": report.streams,
            "left": left,
        });
        output.json(&shown).await?;
    } else {
        let text = format!(
            "deleted group {group}: {} leases, {} streams, {} workers\n",
            report.leases, report.streams, report.workers
        );
        output.write(text.into_bytes()).await?;
    }
    Ok(if report.left.is_empty() { Status::DONE } else { Status::FAILED })
}
