//! `rokini group list`: the groups of a lease table.

use futures::{StreamExt, TryStreamExt, stream};
use rokini::format_time;
use rokini::lease::{GroupId, Listing};
use serde::Serialize;

use super::group_handle::TableArgs;
use super::liveness;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text_table::TextTable;

/// Groups listed at a time.
const CONCURRENT: usize = 8;

/// List the groups of a table
///
/// Reads the whole table (Scan), which workers never do, and watches for the time of two heartbeats which workers live: only
/// those are counted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group list
  rokini group list --table positions --json | jq -r '.groups[].group'";

#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    streams: Vec<String>,
    workers: usize,
    leases: usize,
    free: usize,
    ended: usize,
    paused_at: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let table = args.table.open().await?;
    let groups = table.store.groups().await.map_err(|error| table.explain(error))?;
    let rows = groups.into_iter().map(|group: GroupId| {
        let table = &table;
        async move {
            let view = table.list(&group, Listing::All).await?;
            let workers = liveness::watch(table, &group, &view.workers).await?;
            let unfinished = view.leases.iter().filter(|row| !row.position.is_shard_end());
            Ok::<_, CliError>(GroupRow {
                group: group.to_string(),
                streams: view.streams.iter().map(|row| row.name.clone()).collect(),
                workers: workers.alive().count(),
                leases: view.leases.len(),
                free: unfinished.filter(|row| row.owner.is_none()).count(),
                ended: view.leases.iter().filter(|row| row.position.is_shard_end()).count(),
                paused_at: view.group.paused_at.map(format_time),
            })
        }
    });
    let groups: Vec<GroupRow> =
        stream::iter(rows.collect::<Vec<_>>()).buffered(CONCURRENT).try_collect().await?;
    if groups.is_empty() && !context.json {
        context.ui.info(format_args!("table `{}` has no group yet", table.config.table));
    }
    let mut text = TextTable::new(["GROUP", "WORKERS", "SHARDS", "FREE", "ENDED", "PAUSED", "STREAMS"]);
    for group in &groups {
        text.row([
            group.group.clone(),
            group.workers.to_string(),
            group.leases.to_string(),
            group.free.to_string(),
            group.ended.to_string(),
            group.paused_at.clone().unwrap_or_else(|| "-".to_owned()),
            group.streams.join(", "),
        ]);
    }
    let shown = serde_json::json!({ "table": table.config.table.as_str(), "groups": groups });
    context.show(&shown, || text.text(context.ui.stdout_colors())).await?;
    Ok(Status::DONE)
}
